"""Start Debian's git and git-lfs as a user would: a home of its own, a token in a helper.

    git = GitUser(hub, hub.token("ann"), home)     None for a token: somebody without an account
    git("clone", git.url("ann/m"), folder)         stdout; GitFailed, with what it said, if it fails
    git.fails("push", cwd=folder)                  what git said when it must not succeed

Nothing of the caller's own configuration reaches it, and no prompt ever waits for a person.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from live import LiveHub

SECONDS_MAX = 240
SAID_CHARS_MAX = 4000
HAS_LFS = shutil.which("git-lfs") is not None
_HELPER = '!f() {{ echo "username=anybody"; echo "password={token}"; }}; f'


class GitFailed(AssertionError):
    """git did not end as it should; the message holds what it said."""


class GitUser:
    def __init__(self, hub: LiveHub, token: str | None, home: Path, *, version: int = 2) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.hub = hub
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LFS_SKIP_SMUDGE": "0",
            "LC_ALL": "C.UTF-8",
            "NO_PROXY": "127.0.0.1",
        }
        self("config", "--global", "user.name", "Ann", cwd=home)
        self("config", "--global", "user.email", "ann@example.org", cwd=home)
        self("config", "--global", "init.defaultBranch", "main", cwd=home)
        self("config", "--global", "protocol.version", str(version), cwd=home)
        self("config", "--global", "gc.auto", "0", cwd=home)
        if token is not None:
            self("config", "--global", "credential.helper", _HELPER.format(token=token), cwd=home)
        if HAS_LFS:
            self("lfs", "install", "--skip-repo", cwd=home)

    def url(self, repo: str, *, suffix: str = "") -> str:
        return f"{self.hub.url}/{repo}{suffix}"

    def run(self, *args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *map(str, args)], cwd=cwd, env=self.environ, text=True, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_MAX,
        )  # fmt: skip

    def __call__(self, *args: str | Path, cwd: Path) -> str:
        done = self.run(*args, cwd=cwd)
        if done.returncode:
            raise GitFailed(f"git {args} exited {done.returncode}:\n{_said(done)}")
        return done.stdout

    def fails(self, *args: str | Path, cwd: Path) -> str:
        done = self.run(*args, cwd=cwd)
        if not done.returncode:
            raise GitFailed(f"git {args} succeeded:\n{_said(done)}")
        return _said(done)

    def commit(self, folder: Path, files: dict[str, bytes], message: str = "change") -> str:
        """Write files, commit them; the commit's id."""
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        self("add", "--all", cwd=folder)
        self("commit", "--quiet", "-m", message, cwd=folder)
        return self("rev-parse", "HEAD", cwd=folder).strip()


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout + done.stderr)[-SAID_CHARS_MAX:]
