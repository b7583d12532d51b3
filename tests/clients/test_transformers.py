"""transformers and datasets, unmodified: push from one process, load in another, all equal.

The loading process has a home of its own and reaches nothing but the loopback, so whatever it
gets, it got from the hub.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from clientrun import CLIENTS, ClientFailed, client_environ, run_client

from live import LiveHub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.clients,
    pytest.mark.timeout(1500),  # the first run also builds a venv with torch
]

ENV = "tf"
SECONDS_MAX = 180  # importing torch cold takes half a minute on a slow disk


def run(hub: LiveHub, home: Path, *args: str) -> dict[str, Any]:
    """Run transformers_script.py confined to the loopback; the JSON that it printed."""
    environ = client_environ(hub, hub.token("tf"), home)
    environ["PYTHONPATH"] = os.fspath(CLIENTS / "loopback_only")
    output = run_client(
        ENV, [CLIENTS / "transformers_script.py", *args], environ, seconds_max=SECONDS_MAX
    )
    facts: dict[str, Any] = json.loads(output.splitlines()[-1])
    return facts


@pytest.mark.parametrize("kind", ["bert", "llama", "dataset"])
def test_what_is_pushed_is_what_loads(live_hub: LiveHub, tmp_path: Path, kind: str) -> None:
    pushed = run(live_hub, tmp_path / "pusher", "push", f"tf/{kind}", kind)
    loaded = run(live_hub, tmp_path / "loader", "load", f"tf/{kind}", kind)
    assert len(pushed) > 1
    assert loaded == pushed


def test_the_loader_reaches_nothing_but_the_hub(live_hub: LiveHub, tmp_path: Path) -> None:
    """The guard of the tests above guards: another loopback address is refused."""
    environ = client_environ(live_hub, live_hub.token("tf"), tmp_path)
    environ["PYTHONPATH"] = os.fspath(CLIENTS / "loopback_only")
    code = "import socket; socket.create_connection(('127.0.0.2', 9), timeout=1)"
    with pytest.raises(ClientFailed, match=r"may only reach 127\.0\.0\.1"):
        run_client(ENV, ["-c", code], environ)
