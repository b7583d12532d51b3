"""A hub killed while git pushes: a branch is where it was or where it should be, never between."""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from gitrun import GitUser

from effort import FULL
from live import LiveHub
from raw import Raw

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]
ROUNDS = 4 if FULL else 2


def test_a_killed_push_is_all_or_nothing(tmp_path: Path) -> None:
    hub = LiveHub(tmp_path / "hub")
    chance = random.Random(7)
    try:
        hub.start()
        token = hub.token("ann")
        git = GitUser(hub, token, tmp_path / "home")
        with Raw(hub.url, token) as api:
            api.create("ann/m")
        folder = tmp_path / "m"
        git("clone", git.url("ann/m"), folder, cwd=tmp_path)
        before = git("rev-parse", "HEAD", cwd=folder).strip()
        cut = 0
        for number in range(ROUNDS):
            files = {f"{number}/{n}.txt": os.urandom(50_000) for n in range(200)}
            after = git.commit(folder, files)
            push = subprocess.Popen(
                ["git", "push", "--quiet"], cwd=folder, env=git.environ,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(chance.uniform(0.1, 1.0))
            hub.kill()
            said = push.wait()
            hub.start()
            with Raw(hub.url, token) as api:
                head = api.head("ann/m")
            assert head in (before, after)
            assert said != 0 or head == after, "git was told that it is kept"
            cut += head == before
            git("push", cwd=folder)
            before = after
        assert cut, "no push was cut short: kill earlier"
        git("clone", "--quiet", git.url("ann/m"), "judge", cwd=tmp_path)
        git("fsck", "--strict", cwd=tmp_path / "judge")
        assert hub.cli("check").returncode == 0
        assert list((hub.data / "tmp").iterdir()) == []
    finally:
        hub.kill()
