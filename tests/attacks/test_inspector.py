"""The worker in which hostile bytes are looked at: it is killed, limited, and replaced."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pickles
import pytest

from headwater.errors import Corrupt
from headwater.formats.inspection import Verdict
from headwater.hub.inspector import JOBS_MAX, READ_BYTES_MAX, Inspector

PICKLE = pickles.call("os", "getcwd")


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    made = Inspector()
    yield made
    made.close()


def look(inspector: Inspector, data: bytes) -> Verdict:
    return inspector.inspect(lambda start, stop: data[start:stop], len(data))


def pid_of(inspector: Inspector) -> int:
    assert inspector._worker is not None
    return inspector._worker.process.pid


def patched(inspector: Inspector, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """The next worker runs `program` in place of the real one."""
    import subprocess

    real = subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        return real([command[0], "-c", program], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", start)


def test_one_worker_serves_many_jobs(inspector: Inspector) -> None:
    assert look(inspector, PICKLE).level == "unsafe"
    first = pid_of(inspector)
    for _ in range(20):
        assert look(inspector, b"plain").status == "plain"
    assert pid_of(inspector) == first
    inspector.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert look(inspector, PICKLE).level == "unsafe"


def test_a_worker_that_was_killed_is_replaced(inspector: Inspector) -> None:
    look(inspector, PICKLE)
    first = pid_of(inspector)
    os.kill(first, signal.SIGKILL)
    found = look(inspector, PICKLE)
    assert found.level in ("unsafe", "caution")  # it may have looked alive a moment longer
    assert look(inspector, PICKLE).level == "unsafe"
    assert pid_of(inspector) != first


def test_a_worker_is_replaced_after_many_jobs(inspector: Inspector) -> None:
    look(inspector, b"x")
    first = pid_of(inspector)
    assert inspector._worker is not None
    inspector._worker.jobs = JOBS_MAX
    assert look(inspector, PICKLE).level == "unsafe"
    assert pid_of(inspector) != first


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(600)",  # never answers
        "while True: pass",
        "",  # ends at once
        "import os; os.write(1, b'\\xff\\xff\\xff\\xff')",  # promises four gigabytes
        "import os; os.write(1, b'\\0\\0\\0\\x02{}')",  # says nothing
        "import os; os.write(1, b'\\0\\0\\0\\x04junk')",
        "import os; os.write(1, b'\\0\\0\\0\\x0f{\"read\":[5,-1]}')",
        "import os; os.write(1, b'\\0\\0\\0\\x10{\"read\":[0,999]}')",  # past the end
        "import os\nwhile True: os.write(1, b'\\0\\0\\0\\x0e{\"read\":[0,4]}')",  # never ends
    ],
)
def test_a_worker_gone_wrong_verifies_nothing(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    inspector = Inspector(wall_s=1.0)
    monkeypatch.setattr("headwater.hub.inspector.START_S", 1.0)
    monkeypatch.setattr("headwater.hub.inspector.READS_MAX", 50)
    patched(inspector, monkeypatch, program)
    try:
        found = look(inspector, b"abcd")
        assert (found.status, found.level) == ("unverified", "caution")
        assert inspector._worker is None
        monkeypatch.undo()
        assert look(inspector, PICKLE).level == "unsafe"
    finally:
        inspector.close()


def test_memory_is_limited(inspector: Inspector) -> None:
    """A job that takes all it can get ends without a verdict, and the next one gets its own."""
    program = (
        "from headwater.formats import inspect_worker as w\n"
        "def greedy(read, size): return bytearray(2**31)\n"
        "w.inspect = greedy\n"
        "w.main()"
    )
    with pytest.MonkeyPatch.context() as patch:
        patched(inspector, patch, program)
        found = look(inspector, b"abcd")
        assert (found.status, "memory" in found.reason) == ("unverified", True)
    inspector.close()
    assert look(inspector, PICKLE).level == "unsafe"


def test_a_parser_s_own_bug_is_not_harmless(inspector: Inspector) -> None:
    program = (
        "from headwater.formats import inspect_worker as w\n"
        "def broken(read, size): raise KeyError('x')\n"
        "w.inspect = broken\n"
        "w.main()"
    )
    with pytest.MonkeyPatch.context() as patch:
        patched(inspector, patch, program)
        assert look(inspector, b"abcd").status == "unverified"


def test_the_worker_cannot_write_files(inspector: Inspector, tmp_path: Path) -> None:
    target = tmp_path / "written"
    program = (
        "from headwater.formats import inspect_worker as w\n"
        f"def writes(read, size): open({str(target)!r}, 'w').write('x' * 100)\n"
        "w.inspect = writes\n"
        "w.main()"
    )
    with pytest.MonkeyPatch.context() as patch:
        patched(inspector, patch, program)
        assert look(inspector, b"abcd").status == "unverified"
    assert not target.exists() or target.stat().st_size == 0


def test_the_worker_s_environment_holds_no_secret(
    monkeypatch: pytest.MonkeyPatch, inspector: Inspector
) -> None:
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://secret")
    look(inspector, b"x")
    environ = Path(f"/proc/{pid_of(inspector)}/environ").read_bytes()
    assert b"secret" not in environ


def test_damage_in_the_store_is_told_and_the_worker_replaced(inspector: Inspector) -> None:
    def broken(start: int, stop: int) -> bytes:
        raise Corrupt("a damaged blob")

    with pytest.raises(Corrupt):
        inspector.inspect(broken, 100)
    assert look(inspector, PICKLE).level == "unsafe"


def test_a_very_large_pickle_is_read_only_in_part(inspector: Inspector) -> None:
    """A terabyte behind a harmless beginning: little of it is asked for, nothing is promised."""
    asked = 0

    def read(start: int, stop: int) -> bytes:
        nonlocal asked
        asked += stop - start
        return (b"\x80\x02N." if start == 0 else b"").ljust(stop - start, b"N")

    found = inspector.inspect(read, 2**40)
    assert found.status == "unverified"
    assert asked < READ_BYTES_MAX


def test_threads_take_turns(inspector: Inspector) -> None:
    found: list[str] = []

    def work() -> None:
        for _ in range(5):
            found.append(look(inspector, PICKLE).level)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["unsafe"] * 30
