"""Start a client release as its user would: a process of its own with an environment of its own.

client_environ(hub, token, home)  -> environment: the hub, the token, a fresh home, no telemetry
run_client(name, args, environ)   -> stdout; ClientFailed with both outputs unless it exits 0
run_scenario(...)                 -> {step: facts}; ClientFailed names every failed step
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs import python_of

from live import LiveHub

CLIENTS = Path(__file__).resolve().parent
SCENARIO_SECONDS_MAX = 240
OUTPUT_CHARS_MAX = 4000
# OPENBLAS: where set, numpy would crash without it.
PASSED_ON = ("PATH", "LANG", "TMPDIR", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_SYMLINKS_WARNING": "1",
    "HF_HUB_DISABLE_SHARED_BLOBS": "1",  # a download must come from the hub, not from a neighbour
    "NO_PROXY": "127.0.0.1,localhost",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class ClientFailed(AssertionError):
    """A client process did not end well; the message holds what it said."""


def client_environ(hub: LiveHub, token: str, home: Path, *, xet: bool = True) -> dict[str, str]:
    """The environment of a user of `hub` whose whole state lies in `home`."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        **QUIET,
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": token,
        **({} if xet else {"HF_HUB_DISABLE_XET": "1"}),
    }


def run_client(
    env_name: str,
    args: Sequence[str | Path],
    environ: Mapping[str, str],
    *,
    program: str = "python",
    seconds_max: float = SCENARIO_SECONDS_MAX,
) -> str:
    """Run `program` of the client venv with `args` and give its stdout."""
    command = [str(python_of(env_name).with_name(program)), *map(str, args)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=dict(environ),
            cwd=environ["HOME"],
            timeout=seconds_max,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")[-OUTPUT_CHARS_MAX:]
        raise ClientFailed(f"{env_name}: not done in {seconds_max} s; it said\n{said}") from None
    if done.returncode:
        raise ClientFailed(
            f"{env_name}: {program} exited {done.returncode}\n{_failures(done.stdout)}"
            f"stderr: …{done.stderr[-OUTPUT_CHARS_MAX:]}"
        )
    return done.stdout


def run_scenario(
    hub: LiveHub,
    env_name: str,
    user: str,
    home: Path,
    steps: Sequence[str],
    *,
    xet: bool,
    owners: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Run `steps` of scenario.py as `user` (made if need be); facts of each step by its name."""
    args: list[str | Path] = [CLIENTS / "scenario.py", "--user", user, "--seed", user]
    args += ["--work", home / "work", "--store", hub.store]
    args += ["--stranger", hub.token("stranger"), "--owners", ",".join(owners), *steps]
    environ = client_environ(hub, hub.token(user), home, xet=xet)
    try:
        output = run_client(env_name, args, environ)
    except ClientFailed as error:
        raise ClientFailed(f"{error}\nhub log: …{hub.log_tail()}") from None
    return {line["step"]: line for line in map(json.loads, output.splitlines())}


def _failures(output: str) -> str:
    """The failed steps of a scenario's output, readable; the plain output of anything else."""
    try:
        lines = [json.loads(line) for line in output.splitlines()]
        failed = [line for line in lines if not line["ok"]]
    except (ValueError, TypeError, KeyError):
        return f"stdout: …{output[-OUTPUT_CHARS_MAX:]}\n"
    return "".join(f"step {each['step']}: {each['error']}\n{each['trace']}\n" for each in failed)
