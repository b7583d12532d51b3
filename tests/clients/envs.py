"""Client venvs: one folder for each Hugging Face client release, built once and kept.

    python_of("hub24") -> Path of that venv's python; builds the venv first if need be
    python tests/clients/envs.py [NAME ...]           builds ahead: all of them, or those named

The clients under test never share an environment with the server or with pytest. A venv is named
after the hash of what was asked for, so a changed pin is a new folder. Venvs cannot be renamed
(their scripts hold absolute paths), so a build is made atomic by a marker file that is written
last, and a file lock lets parallel test workers wait for one build and then share it.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT_VARIABLE = "HEADWATER_TEST_ENVS"
MARKER = "headwater-env-ready"
BUILD_SECONDS_MAX = 1200  # torch on a cold disk takes about four minutes; five times that is stuck


@dataclass(frozen=True, slots=True)
class ClientEnv:
    """What a venv holds: install steps in order, each one call of the installer."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    pip_only: bool = False  # the CPU build of torch may lie in a folder that only pip is told of

    @property
    def key(self) -> str:
        wanted = repr((sys.version_info[:2], self.steps)).encode()
        return f"{self.name}-{hashlib.sha256(wanted).hexdigest()[:10]}"


# Each release gets the hf_xet of its own months, because the three generations of the wheel use
# different CAS routes: 1.2 posts to /xorbs and /shards, 1.5 to /v1/xorbs and /shards, 1.8 asks
# for a grant and then posts to /v1/xorbs and /v2/shards.
ENVS = {
    env.name: env
    for env in (
        ClientEnv("hub036", (("huggingface_hub[hf_xet]==0.36.2", "hf_xet==1.2.0"),)),
        ClientEnv("hub116", (("huggingface_hub[hf_xet]==1.16.4", "hf_xet==1.5.0"),)),
        ClientEnv("hub24", (("huggingface_hub[hf_xet]==2.4.0", "hf_xet==1.8.0"),)),
        ClientEnv(
            "tf",
            (("torch==2.13.0",), ("transformers==5.23.0", "datasets==5.2.0")),
            pip_only=True,
        ),
    )
}


def envs_root() -> Path:
    """The folder that holds all venvs: $HEADWATER_TEST_ENVS, else `.venvs` of the checkout."""
    default = Path(__file__).resolve().parents[2] / ".venvs"
    return Path(os.environ.get(ROOT_VARIABLE) or default)


def python_of(name: str) -> Path:
    """The python of the client venv `name`, ready to run. KeyError for an unknown name."""
    env = ENVS[name]
    folder = envs_root() / env.key
    if not (folder / MARKER).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{env.key}.lock")):
            if not (folder / MARKER).exists():  # another worker may have built it meanwhile
                _build(env, folder)
    return folder / "bin" / "python"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(env: ClientEnv, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted build left behind
    uv = None if env.pip_only else _uv()
    python = folder / "bin" / "python"
    if uv:
        _run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        install = [*uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
        install = [str(python), "-m", "pip", "install", "--quiet"]
    for step in env.steps:
        _run([*install, *step])
    (folder / MARKER).write_text("\n".join(" ".join(step) for step in env.steps) + "\n")


def _uv() -> list[str] | None:
    """How to call uv, or None where there is none."""
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else None


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False
    )
    if done.returncode:
        tail = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{tail}")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or list(ENVS):
        print(wanted, python_of(wanted), flush=True)
