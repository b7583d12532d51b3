"""How quick are git clone and push, against git's own server on the same machine?

    python bench/git.py [--files 5000] [--commits 200] [--rounds 3]

One repo of many small files and a history is pushed to the hub, then cloned from it; the same to
and from a bare repo behind `git daemon`, in the same run, by turns. Prints seconds, the best of the
rounds, and the ratio (git daemon's time over ours: 1 is as fast), with machine and load. git daemon
asks for no token, keeps packs that it hands on as they lie, and syncs no database: it is the bound,
not a goal. Exit 1 when a clone or push differs from what it should be.
"""

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests/clients", "tests")]

from gitrun import GitUser

from live import HOST, LiveHub, free_port


def history(git: GitUser, folder: Path, files: int, commits: int) -> None:
    """A repo on `main`: `files` small files, then commits that change one each."""
    folder.mkdir()
    git("init", cwd=folder)
    rng = random.Random(7)
    for n in range(files):
        path = folder / f"d{n % 50}" / f"f{n}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rng.randbytes(600).hex().encode())
    git("add", "-A", cwd=folder)
    git("commit", "-qm", "all files", cwd=folder)
    for n in range(commits):
        (folder / "d0" / f"f{50 * (n % (files // 50))}.txt").write_text(f"changed {n}\n")
        git("commit", "-qam", f"change {n}", cwd=folder)


@contextmanager
def git_daemon(folder: Path):
    """Its address; serves and takes bare repos below `folder`."""
    port = free_port()
    command = ["git", "daemon", "--reuseaddr", f"--listen={HOST}", f"--port={port}", "--export-all",
               "--enable=receive-pack", f"--base-path={folder}", str(folder)]  # fmt: skip
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"git://{HOST}:{port}"
    finally:
        daemon.terminate()
        daemon.wait()


def timed(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as text:
        root = Path(text)
        hub = LiveHub(root / "hub")
        hub.start()
        git = GitUser(hub, hub.token("bench"), root / "home")
        history(git, root / "work", args.files, args.commits)
        wanted = git("rev-parse", "HEAD", cwd=root / "work").strip()
        served = root / "served"
        served.mkdir()
        with git_daemon(served) as daemon:
            time.sleep(1)
            for number in range(args.rounds):
                git("init", "-q", "--bare", served / f"m{number}", cwd=root)
                made = httpx.post(
                    f"{hub.url}/api/repos/create",
                    json={"name": f"m{number}"},
                    headers={"Authorization": f"Bearer {hub.token('bench')}"},
                )
                made.raise_for_status()
                for name, url in (
                    ("headwater", f"{hub.url}/bench/m{number}"),
                    ("git daemon", f"{daemon}/m{number}"),
                ):
                    push = ("push", "-qf", url, "main")
                    seconds.setdefault((name, "push"), []).append(
                        timed(lambda push=push: git(*push, cwd=root / "work"))
                    )
                    target = root / f"clone-{name.replace(' ', '-')}-{number}"
                    clone = ("clone", "-q", "-b", "main", url, target)
                    seconds.setdefault((name, "clone"), []).append(
                        timed(lambda clone=clone: git(*clone, cwd=root))
                    )
                    if git("rev-parse", "HEAD", cwd=target).strip() != wanted:
                        print(f"{name}: the clone is not what was pushed")
                        return 1
        hub.stop()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
          f"{args.files} files, {args.commits + 1} commits, best of {args.rounds}")  # fmt: skip
    for what in ("push", "clone"):
        ours, theirs = (min(seconds[name, what]) for name in ("headwater", "git daemon"))
        print(f"{what:6} headwater {ours:6.2f} s   git daemon {theirs:6.2f} s   "
              f"ratio {theirs / ours:.2f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
