"""A terminal with a user in front of it: `hf` run on a pseudo-terminal, questions answered.

    Terminal(environ).hf("repos", "delete", repo, answers={"[y/N]": "y"}) -> what the screen showed

On a terminal `hf` shows tables, colours and questions that it leaves out in a pipe.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from clientrun import ClientFailed
from envs import python_of

COLUMNS, ROWS = 200, 50
SECONDS_MAX = 120.0
READ_BYTES = 65536
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")


class Terminal:
    def __init__(self, environ: Mapping[str, str], release: str) -> None:
        self.environ = {
            **environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS),
        }  # fmt: skip
        self.program = python_of(release).with_name("hf")

    def hf(
        self, *args: str | Path, answers: Mapping[str, str] | None = None, fails: bool = False
    ) -> str:
        """Run `hf` and give what it showed, without control sequences. Each question in `answers`
        is answered once, when it is seen. ClientFailed when it fails, or, with `fails`, does not.
        """
        shown, status = self._run([str(self.program), *map(str, args)], dict(answers or {}))
        if bool(status) != fails:
            raise ClientFailed(f"hf {' '.join(map(str, args))}: exit {status}\n{shown[-4000:]}")
        return shown

    def _run(self, command: list[str], answers: dict[str, str]) -> tuple[str, int]:
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                command,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=self.environ,
                cwd=self.environ["HOME"],
                start_new_session=True,
                close_fds=True,
            )
            os.close(theirs)
            return self._watch(ours, process, answers)
        finally:
            os.close(ours)

    def _watch(
        self, ours: int, process: subprocess.Popen[bytes], answers: dict[str, str]
    ) -> tuple[str, int]:
        raw, seen, limit = b"", 0, time.monotonic() + SECONDS_MAX
        while True:
            if time.monotonic() > limit:
                process.kill()
                raise ClientFailed(f"not done in {SECONDS_MAX} s; it showed\n{_plain(raw)[-4000:]}")
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    piece = os.read(ours, READ_BYTES)
                except OSError:  # the other end of a pseudo-terminal is closed
                    piece = b""
                if not piece:
                    return _plain(raw), process.wait()
                raw += piece
            fresh = _plain(raw[seen:])
            for question in [q for q in answers if q in fresh]:
                os.write(ours, f"{answers.pop(question)}\n".encode())
                seen = len(raw)


def _plain(raw: bytes) -> str:
    return _CONTROL.sub("", raw.decode("utf-8", "replace"))
