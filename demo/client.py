"""A person with the real `hf` command: an environment of its own, a home folder of its own.

    env = ClientEnv(folder)
    env.build()                                  the newest client from the package index
    maya = Person(env, home, url)
    maya.hf("upload", "riverlab/m", "m", ".")    runs it, as typed into a terminal

Nothing of the caller's Hugging Face settings, tokens or caches reaches a person, nor the other way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from demo import DemoFailed

# `huggingface_hub` brings hf_xet along on most machines; named, so that its absence is an error.
REQUIREMENTS = ("huggingface_hub", "hf_xet", "safetensors", "numpy")
MARKER = "demo-ready"
_WANTED = f"{sys.version}\n{' '.join(REQUIREMENTS)}\n"  # what the marker says
OUTPUT_TAIL_CHARS = 3000
COMMAND_SECONDS_MAX = 600.0

INDEX_HELP = """Is the Python package index reachable from here? The demo needs it once.
   Behind a proxy:       export HTTPS_PROXY=http://proxy:3128
   With a mirror:        export PIP_INDEX_URL=https://mirror.example/simple
   With neither:         on another machine, `pip download {packages}`, then here
                         export PIP_FIND_LINKS=/folder/with/those/files
   Then run `make demo` again; what was fetched already is kept."""


@dataclass(frozen=True, slots=True)
class ClientEnv:
    """A virtual environment that holds the client, and nothing of Headwater."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        return self.bin / "python"

    @property
    def ready(self) -> bool:
        """Whether it is complete, and made for what is wanted now."""
        marker = self.folder / MARKER
        return marker.is_file() and marker.read_text() == _WANTED

    def build(self) -> None:
        """Make it anew, with the newest client that the package index has."""
        shutil.rmtree(self.folder, ignore_errors=True)  # what an interrupted build left
        _run([sys.executable, "-m", "venv", str(self.folder)], "a virtual environment")
        self.pip("install", *REQUIREMENTS)
        (self.folder / MARKER).write_text(_WANTED)

    def pip(self, verb: str, *arguments: str) -> None:
        """pip, with the caller's own settings: those know the proxy and the mirror."""
        command = [str(self.python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        packages = [argument for argument in arguments if not argument.startswith("-")]
        _run([*command, verb, *arguments], " ".join(packages), INDEX_HELP)

    def versions(self) -> str:
        code = (
            "from importlib.metadata import version as v; "
            "print('huggingface_hub', v('huggingface_hub') + ', hf_xet', v('hf_xet'))"
        )
        return _run([str(self.python), "-c", code], "the client's versions").strip()


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    exit: int
    output: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a terminal. Their token lies where `hf auth login` would have put it."""

    env: ClientEnv
    home: Path
    url: str

    @property
    def token_file(self) -> Path:
        return self.home / "hf" / "token"

    def forget(self) -> None:
        """A new machine: no cache, no token, nothing known of earlier uploads."""
        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / "hf").mkdir(parents=True)

    def hf(self, *arguments: str, url: str = "", may_fail: bool = False) -> Ran:
        """Run `hf ARGUMENTS` against `url` (default: the hub). DemoFailed when it fails."""
        return self._ran([str(self.env.bin / "hf"), *arguments], url or self.url, may_fail)

    def python(self, *arguments: str) -> str:
        """Run Python with the client's libraries; what it printed. DemoFailed when it fails."""
        # -P: the demo's own modules beside a script are not the client's.
        return self._ran([str(self.env.python), "-P", *arguments], self.url).output.strip()

    def _ran(self, command: list[str], url: str, may_fail: bool = False) -> Ran:
        shown = " ".join([Path(command[0]).name, *command[1:]])
        began = time.perf_counter()
        try:
            done = subprocess.run(  # noqa: S603  (a full path into our own environment, no shell)
                command,
                capture_output=True,
                text=True,
                env=self._environ(url),
                timeout=COMMAND_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"`{shown}` did not end in {COMMAND_SECONDS_MAX:.0f} s") from None
        ran = Ran(done.returncode, done.stdout + done.stderr, time.perf_counter() - began)
        if ran.exit and not may_fail:
            raise DemoFailed(f"`{shown}` failed:\n{ran.output[-OUTPUT_TAIL_CHARS:].strip()}")
        return ran

    def _environ(self, url: str) -> dict[str, str]:
        return {
            "PATH": f"{self.env.bin}{os.pathsep}{os.defpath}",
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "HF_ENDPOINT": url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_COLOR": "1",
            "LANG": "C.UTF-8",
        }


def _run(command: list[str], what: str, help: str = "") -> str:
    # A PYTHONPATH of the caller's would make pip believe that things are installed already.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(  # noqa: S603  (a full path, no shell)
        command, capture_output=True, text=True, env=env, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout)[-OUTPUT_TAIL_CHARS:].strip()
        raise DemoFailed(f"could not get {what}:\n{said}\n{help.format(packages=what)}".rstrip())
    return done.stdout
