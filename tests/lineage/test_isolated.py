"""Comparing models in a process that may be killed: the same answers, and hostile bytes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kin_kit import base, each, int8, pruned, trained
from safetensors.numpy import save

from effort import examples
from headwater.errors import Corrupt
from headwater.lineage.isolated import Bytes, Isolated, Stopped
from headwater.lineage.model import File
from headwater.lineage.parents import trace
from headwater.lineage.sketch import sketch_of
from headwater.lineage.subject import Subject

HOSTILE = (
    "from headwater.lineage import worker as w\n"
    "import os, time\n"
    "def run(job, subjects):\n"
    "    reads = subjects._reads\n"
    "    {}\n"
    "w.run = run\n"
    "w.main()"
)


def model(name: str, data: bytes) -> Bytes:
    return Bytes(name, ((f"{name}.safetensors", len(data), lambda a, b: data[a:b]),))


def subject(data: bytes) -> Subject:
    return Subject.of([File("x.safetensors", len(data), lambda a, b: data[a:b])])


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    with Isolated() as made:
        yield made


def test_it_says_what_is_said_without_it(isolated: Isolated) -> None:
    root = base()
    files = {
        "root": save(root), "child": save(trained(root, 5)), "int8": save(each(root, int8)),
        "stranger": save(base(9)), "pruned": save(each(root, pruned)),
    }  # fmt: skip
    order = list(files)
    sketched = isolated.sketch(model("child", files["child"]))
    assert sketched.sketch == sketch_of(subject(files["child"]).model).pack()
    assert sketched.layers == 2
    for name in ("child", "int8", "pruned"):
        others = [other for other in order if other != name]
        there = isolated.trace(
            model(name, files[name]), [model(o, files[o]) for o in others], ["root"], {}
        )
        here = trace(subject(files[name]), {o: subject(files[o]) for o in others}, ["root"])
        assert there == here
        assert [link.parent for link in there.links] == ["root"]
    again = isolated.trace(
        model("int8", files["int8"]), [model("root", files["root"])], [], there.relations
    )
    assert again.relations["root"] == there.relations["root"], "what is known is not asked again"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("while True: pass", "more than 1 s"),
        ("time.sleep(60)", "more than 1 s"),
        ("os._exit(1)", "ended by a limit"),
        ("return bytearray(2**40)", "ended by a limit"),
        ("return reads('y', 0, 0, 1)", "went wrong"),
        ("return reads('x', 0, 0, 2**40)", "too much at once"),
        ("return reads('x', 0, 5, 1)", "too much at once"),
        ("os.write(1, b'\\x00\\x00\\x00\\x03abc')", "went wrong"),
        ("os.write(1, b'\\xff\\xff\\xff\\xff')", "went wrong"),
    ],
)
def test_a_worker_that_goes_astray_is_ended(
    monkeypatch: pytest.MonkeyPatch, line: str, why: str
) -> None:
    real = subprocess.Popen
    made: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], **options: object) -> object:
        made.append(real([command[0], "-c", HOSTILE.format(line)], **options))  # type: ignore[call-overload]
        return made[-1]

    data = save(base())
    with Isolated(sketch_s=1.0) as isolated:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess, "Popen", start)
            patch.setattr("headwater.lineage.isolated.START_S", 5.0)
            with pytest.raises(Stopped, match=why):
                isolated.sketch(model("x", data))
        assert made[0].poll() is not None, "no process is left"
        assert isolated.sketch(model("x", data)).layers == 2, "the next one is as usual"


def test_errors_of_reading_go_through_and_leave_no_process() -> None:
    def broken(start: int, stop: int) -> bytes:
        raise Corrupt("it is damaged")

    with Isolated() as isolated:
        with pytest.raises(Corrupt):
            isolated.sketch(Bytes("x", (("x", 100, broken),)))
        assert isolated._worker is None


def test_it_cannot_see_the_hub_s_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://secret")
    with Isolated() as isolated:
        isolated.sketch(model("x", save(base())))
        assert isolated._worker is not None
        path = f"/proc/{isolated._worker.process.pid}/environ"
        with open(os.fspath(path), "rb") as file:
            assert b"secret" not in file.read()


@settings(max_examples=examples(120), deadline=None)
@given(
    st.binary(max_size=400),
    st.integers(0, 600),
    st.sampled_from([b"", b"GGUF", b"PK\x03\x04", b"\x80\x02", b"\x08\x07"]),
)
def test_hostile_bytes_give_an_answer_or_a_reason(noise: bytes, at: int, head: bytes) -> None:
    whole = save(base())
    for data in (head + noise, whole[:at] + noise + whole[at + len(noise) :], whole[: at * 100]):
        reason, layers = "", -1
        try:
            layers = SHARED.sketch(model(f"x{hash(data)}", data)).layers
        except Stopped as stopped:
            reason = str(stopped)
        assert reason or layers >= 0


SHARED = Isolated()
