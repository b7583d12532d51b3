"""`hf auth login` as it is without arguments: a code, a page in a browser, a token that is kept.

The newest client, unmodified; the browser is the form of the page, sent as a browser would.
"""

import json
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from clientrun import client_environ, run_client
from envs import python_of

from live import LiveHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]  # the first run also builds venvs

NEWEST = "hub24"
WAIT_S = 60.0
CODE = re.compile(r"[A-Z]{4}-[A-Z]{4}")
AGE = """
import configparser, os, sys, time
path = os.path.join(os.environ["HF_HOME"], "stored_tokens")
config = configparser.ConfigParser()
config.read(path)
for name in config.sections():
    config[name]["expires_at"] = str(int(time.time()) + 60)
config.write(open(path, "w"))
"""


def approve(hub: LiveHub, code: str, token: str, decision: str = "approve") -> httpx.Response:
    return httpx.post(
        f"{hub.url}/oauth/verify",
        data={"user_code": code, "token": token, "decision": decision},
        headers={"Origin": hub.url},
        trust_env=False,
    )


def shown_code(process: subprocess.Popen[str], output: Path) -> str:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := CODE.search(output.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no code was shown: {output.read_text()}")


def login(hub: LiveHub, environ: dict[str, str], output: Path, decision: str) -> int:
    """Run `hf auth login`, decide on the page, and give its exit status."""
    hf = python_of(NEWEST).with_name("hf")
    with output.open("w") as said:
        process = subprocess.Popen(
            [hf, "auth", "login", "--force"], env=environ, cwd=environ["HOME"], text=True,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            code = shown_code(process, output)
            assert approve(hub, code, hub.token("browser-user"), decision).status_code == 200
            return process.wait(WAIT_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def sessions_of(hub: LiveHub, user: str) -> set[str]:
    """The names of the tokens that signing in through a browser gave."""
    hub.token(user)
    listed = hub.cli_ok("token", "list", user)
    return {line.split("\t")[0] for line in listed.splitlines() if line.startswith("oauth-hf-")}


def test_hf_auth_login(live_hub: LiveHub, tmp_path: Path) -> None:
    hub = live_hub
    environ = client_environ(hub, "", tmp_path / "home")
    del environ["HF_TOKEN"]
    said = tmp_path / "said"
    others = sessions_of(hub, "browser-user")  # of the other tests here: the hub is shared
    assert login(hub, environ, said, "approve") == 0, said.read_text()
    assert "browser-user" in run_client(NEWEST, ["auth", "whoami"], environ, program="hf")
    run_client(NEWEST, ["repos", "create", "browser-user/m"], environ, program="hf")

    # A month later the client renews by itself, at the first call, and keeps what it got.
    tokens = Path(environ["HF_HOME"]) / "stored_tokens"
    before = tokens.read_text()
    run_client(NEWEST, ["-c", AGE], environ)
    assert "browser-user" in run_client(NEWEST, ["auth", "whoami"], environ, program="hf")
    assert tokens.read_text() != before
    names = sessions_of(hub, "browser-user") - others
    assert len(names) == 2

    hub.cli_ok("token", "revoke", "browser-user", min(names))  # one of a session ends all of it
    with pytest.raises(AssertionError, match=r"401|Invalid|Not logged in"):
        run_client(NEWEST, ["auth", "whoami"], environ, program="hf")
    assert hub.token("browser-user") not in hub.log.read_text()


def test_a_denied_login_says_so(live_hub: LiveHub, tmp_path: Path) -> None:
    environ = client_environ(live_hub, "", tmp_path / "home")
    del environ["HF_TOKEN"]
    said = tmp_path / "said"
    assert login(live_hub, environ, said, "deny") != 0
    assert "denied" in said.read_text()


def test_a_program_signs_in_with_the_library(live_hub: LiveHub, tmp_path: Path) -> None:
    """The functions beneath the command, and what they give."""
    environ = client_environ(live_hub, "", tmp_path / "home")
    script = """
import json, sys
from huggingface_hub.utils._oauth_device import request_device_code, poll_device_token
info = request_device_code()
print(json.dumps(info), flush=True)
print(json.dumps(poll_device_token(info)), flush=True)
"""
    del environ["HF_TOKEN"]
    process = subprocess.Popen(
        [python_of(NEWEST), "-c", script], env=environ, cwd=environ["HOME"], text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        info = json.loads(process.stdout.readline())
        token = live_hub.token("browser-user")
        assert approve(live_hub, info["user_code"], token).status_code == 200
        granted = json.loads(process.stdout.readline())
        assert granted["expires_in"] > 24 * 3600  # the client renews a day before the end
        assert process.wait(WAIT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
