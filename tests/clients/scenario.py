"""One client release against a live hub: runs inside that release's venv, as its users would.

    python scenario.py --user NAME --seed TEXT --work DIR --store DIR [--stranger TOKEN]
                       [--owners NAME,NAME] all | STEP ...

HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_DISABLE_XET come from the environment. Prints one JSON
line for each step: {"step", "ok", "seconds", and the step's facts or "error"}. A failed step
does not stop the later ones, so that one run shows all that is wrong. Exit 0 when all passed,
1 when one failed, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

from huggingface_hub import HfApi
from stepkit import EXTRA_STEPS, STEPS, Context, Facts

# Importing an area registers its steps; they run in this order.
AREAS = (
    "files", "history", "read", "repos", "repoops", "rights", "buckets", "social", "discussions",
    "access", "labels", "webhooks", "rest",
)  # fmt: skip
for area in AREAS:
    importlib.import_module(f"steps_{area}")
TRACE_CHARS_MAX = 3000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", required=True, help="namespace of HF_TOKEN's owner")
    parser.add_argument("--seed", required=True, help="names the content; one for each scenario")
    parser.add_argument("--work", required=True, type=Path, help="folder for local files")
    parser.add_argument("--store", required=True, type=Path, help="the server's store folder")
    parser.add_argument("--stranger", default="", help="token of another user")
    parser.add_argument("--owners", default="", help="users whose shared repos are read")
    parser.add_argument("steps", nargs="+", metavar="STEP", help="all, or names")
    return parser.parse_args()


def report(step: str, context: Context) -> bool:
    """Run one step, print its line, tell whether it passed."""
    began = time.monotonic()
    try:
        facts: Facts = {"ok": True, **(STEPS | EXTRA_STEPS)[step](context)}
    except Exception as error:
        trace = traceback.format_exc()[-TRACE_CHARS_MAX:]
        facts = {"ok": False, "error": f"{type(error).__name__}: {error}", "trace": trace}
    seconds = round(time.monotonic() - began, 2)
    print(json.dumps({"step": step, "seconds": seconds, **facts}), flush=True)
    return bool(facts["ok"])


def main() -> int:
    args = arguments()
    wanted = list(STEPS) if args.steps == ["all"] else args.steps
    if unknown := [step for step in wanted if step not in STEPS | EXTRA_STEPS]:
        print(f"no such step: {', '.join(unknown)}; there are {', '.join(STEPS)}", file=sys.stderr)
        return 2
    args.work.mkdir(parents=True, exist_ok=True)
    endpoint = os.environ["HF_ENDPOINT"]
    context = Context(
        api=HfApi(endpoint=endpoint, token=os.environ["HF_TOKEN"]),
        endpoint=endpoint,
        user=args.user,
        seed=args.seed,
        work=args.work,
        store=args.store,
        stranger=args.stranger,
        owners=tuple(filter(None, args.owners.split(","))),
        xet=os.environ.get("HF_HUB_DISABLE_XET") != "1",
    )
    failed = [step for step in wanted if not report(step, context)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
