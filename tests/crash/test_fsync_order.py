"""The store keeps the order of syscalls, and the lint that says so sees every bug it is for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fsync_order import Violation, strace, violations

SCRIPT = Path(__file__).with_name("store_writes.py")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def traced(tmp_path: Path, bug: str = "") -> list[Violation]:
    trace, root = tmp_path / "trace", tmp_path / "store"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [*strace(str(trace)), sys.executable, str(SCRIPT), str(root), bug]
    subprocess.run(command, check=True, env=env, timeout=60, stdout=subprocess.DEVNULL)
    return violations(trace.read_text().splitlines(), root, reply='"ack')


@needs_strace
def test_every_write_is_durable_before_it_is_acknowledged(tmp_path: Path) -> None:
    assert traced(tmp_path) == []
    assert len(list((tmp_path / "store").glob("blobs/*/*/*"))) == 3
    assert len(list((tmp_path / "store").glob("xorbs/*/*/*"))) == 1


@needs_strace
@pytest.mark.parametrize(
    ("bug", "rule"),
    [
        ("no file fsync", "unsynced"),
        ("no folder fsync", "unlinked"),
        ("bytes after fsync", "unsynced"),
        ("bytes after rename", "in-place"),
    ],
)
def test_seeded_bugs_are_caught(tmp_path: Path, bug: str, rule: str) -> None:
    found = traced(tmp_path, bug)
    assert {violation.rule for violation in found} == {rule}
    files = {violation.path for violation in found if Path(violation.path).suffix}
    assert len(files) == 4  # plain, xorb, chunked and the one that came in parts


ROOT = "/s"
OPEN = '7 openat(AT_FDCWD</x>, "/s/tmp/1", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</s/tmp/1>'
WRITE = '7 write(3</s/tmp/1>, "bytes", 5) = 5'
SYNC = "7 fsync(3</s/tmp/1>) = 0"
RENAME = '7 rename("/s/tmp/1", "/s/blobs/1") = 0'
SYNC_FOLDER = "7 fsync(4</s/blobs>) = 0"
REPLY = '7 sendto(9<socket:[1]>, "HTTP/1.1 200 OK\\r\\n"..., 99, 0, NULL, 0) = 99'
GOOD = [OPEN, WRITE, SYNC, RENAME, SYNC_FOLDER, REPLY]


def rules(lines: list[str]) -> list[str]:
    return [violation.rule for violation in violations(lines, ROOT)]


def test_the_right_order() -> None:
    assert rules(GOOD) == []
    assert rules([line.removeprefix("7 ") for line in GOOD]) == []
    assert rules([line.replace("7 ", "[pid  7] ", 1) for line in GOOD]) == []
    assert rules([]) == []


def test_each_step_is_needed_where_it_is() -> None:
    assert rules([OPEN, WRITE, RENAME, SYNC_FOLDER, REPLY]) == ["unsynced"]
    assert rules([OPEN, SYNC, WRITE, RENAME, SYNC_FOLDER, REPLY]) == ["unsynced"]
    assert rules([OPEN, WRITE, SYNC, RENAME, REPLY, SYNC_FOLDER]) == ["unlinked"]
    assert rules([OPEN, WRITE, SYNC, SYNC_FOLDER, RENAME, REPLY]) == ["unlinked"]
    assert rules([OPEN, WRITE, SYNC, RENAME]) == ["never"]
    assert rules([*GOOD, '7 write(3</s/blobs/1>, "more", 4) = 4']) == ["in-place"]


def test_folders_and_links_are_names_too() -> None:
    made = ['7 mkdir("/s/blobs/ab", 0700) = 0']
    assert rules([*made, REPLY]) == ["unlinked"]
    assert rules([*made, SYNC_FOLDER, REPLY]) == []
    assert rules(['7 mkdir("/s/tmp/ab", 0700) = 0', REPLY]) == []
    assert rules(['7 mkdir("/elsewhere/ab", 0700) = 0', REPLY]) == []
    link = '7 linkat(AT_FDCWD</x>, "/s/tmp/1", AT_FDCWD</x>, "/s/blobs/1", 0) = 0'
    assert rules([OPEN, WRITE, link, SYNC_FOLDER, REPLY]) == ["unsynced"]
    moved = '7 renameat2(AT_FDCWD</x>, "/s/tmp/1", AT_FDCWD</x>, "/s/blobs/1", 0) = 0'
    assert rules([OPEN, WRITE, SYNC, moved, SYNC_FOLDER, REPLY]) == []


def test_calls_that_failed_did_nothing() -> None:
    failed = SYNC.replace("= 0", "= -1 EIO (Input/output error)")
    assert rules([OPEN, WRITE, failed, RENAME, SYNC_FOLDER, REPLY]) == ["unsynced"]
    failed = RENAME.replace("= 0", "= -1 ENOSPC (No space left on device)")
    assert rules([OPEN, WRITE, failed, REPLY]) == []


def test_calls_of_several_threads() -> None:
    """A sync promises only what was written before it began; it has promised once it ended."""
    sync = ["7 fsync(3</s/tmp/1> <unfinished ...>", "7 <... fsync resumed>) = 0"]
    assert rules([OPEN, WRITE, *sync, RENAME, SYNC_FOLDER, REPLY]) == []
    late = WRITE.replace("7 ", "8 ", 1)
    assert rules([OPEN, WRITE, sync[0], late, sync[1], RENAME, SYNC_FOLDER, REPLY]) == ["unsynced"]
    other = RENAME.replace("7 ", "8 ", 1)
    assert rules([OPEN, WRITE, sync[0], other, sync[1], SYNC_FOLDER, REPLY]) == ["unsynced"]
    folder = ["8 fsync(4</s/blobs> <unfinished ...>", "8 <... fsync resumed>) = 0"]
    assert rules([OPEN, WRITE, SYNC, folder[0], RENAME, folder[1], REPLY]) == ["unlinked"]
    assert rules([OPEN, WRITE, SYNC, RENAME, folder[0], REPLY, folder[1]]) == ["unlinked"]


def test_only_replies_are_replies() -> None:
    """A thread that wakes another writes to a socket, too."""
    wake = '7 sendto(5<socket:[2]>, "\\0", 1, 0, NULL, 0) = 1'
    assert rules([OPEN, WRITE, SYNC, RENAME, wake, SYNC_FOLDER, REPLY]) == []
    vector = '7 writev(9<socket:[1]>, [{iov_base="HTTP/1.1 200 OK", iov_len=15}], 1) = 15'
    assert rules([OPEN, WRITE, SYNC, RENAME, vector, SYNC_FOLDER]) == ["unlinked"]
