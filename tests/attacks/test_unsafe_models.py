"""Never "safe" of a file that imports and calls something (scoreboard row S23, faults B16 to B19).

The corpus is built of opcodes and never loaded; one test holds Python itself to that.
"""

from __future__ import annotations

import json
import pickletools
import sys
import zlib
from typing import Any

import pickles
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.formats import pickle_listing
from headwater.formats.gguf import read_gguf
from headwater.formats.inspection import IMPORTS_KEPT_MAX, Verdict, inspect
from headwater.formats.json_dangers import look_at_json
from headwater.formats.pickle_listing import OPS_MAX, STREAMS_MAX, list_pickle
from headwater.formats.safetensors import read_header

HOSTILE = pickles.hostile()
BENIGN = pickles.benign()


def verdict(data: bytes) -> Verdict:
    return inspect(lambda start, stop: data[start:stop], len(data))


def as_shown(data: bytes, path: str = "pytorch_model.bin") -> str:
    """The word that a page would show for it, under the name it would have."""
    from headwater.catalog.models import Entry
    from headwater.hub.security import level_of
    from headwater.names import GitOid, RepoPath

    entry = Entry(RepoPath(path), "file", GitOid("0" * 40), len(data))
    return level_of(entry, verdict(data))[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_imports_and_calls_is_never_called_safe(name: str) -> None:
    assert verdict(HOSTILE[name]).status in ("flagged", "unverified")
    for path in ("pytorch_model.bin", "model.pkl", "weights", "notes.txt", "model.safetensors"):
        assert as_shown(HOSTILE[name], path) in ("unsafe", "suspicious", "caution")


def test_the_corpus_is_as_large_as_promised_and_really_pickles() -> None:
    assert len(HOSTILE) >= 100
    raw = [data for name, data in HOSTILE.items() if "protocol" in name]
    for data in raw:
        names = [op.name for op, _, _ in pickletools.genops(data)]
        assert names[-1] == "STOP"
        assert "REDUCE" in names


@pytest.mark.parametrize("name", BENIGN)
def test_what_torch_and_numpy_write_is_not_flagged(name: str) -> None:
    found = verdict(BENIGN[name])
    assert (found.status, found.level) == ("ok", "safe"), found


@pytest.mark.parametrize("name", pickles.polyglots())
def test_a_valid_file_of_another_kind_that_is_a_pickle_too(name: str) -> None:
    """Each is what its reader takes it for, and a pickle that calls something (fault B14)."""
    data = pickles.polyglots()[name]
    if name == "gguf":
        read_gguf(lambda start, stop: data[start:stop], len(data))
    else:
        read_header(lambda start, stop: data[start:stop], len(data))
    names = [op.name for op, _, _ in pickletools.genops(data)]
    assert ("REDUCE" in names, names[-1]) == (True, "STOP")
    found = verdict(data)
    assert (found.status, found.imports[0]) == ("flagged", ("os", "getcwd", "dangerous"))


def test_what_may_go_on_for_ever_is_not_verified() -> None:
    """A text of 40 MB without a line's end: whether it is a pickle, its beginning does not say."""
    data = b"V" + bytes(40 * 2**20)
    assert verdict(data).status == "unverified"
    assert verdict(data[: 2**20]).status == "plain"


def test_names_are_listed_with_the_worst_first() -> None:
    found = verdict(HOSTILE["a zip with it elsewhere"])
    assert found.imports[0] == ("os", "getcwd", "dangerous")
    assert ("torch", "FloatStorage", "innocuous") in found.imports


def test_nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python tells of every global that an unpickler looks up: there is none."""
    seen: list[str] = []
    listening = True

    def hook(event: str, args: Any) -> None:
        if listening and event in ("pickle.find_class", "import"):
            seen.append(f"{event} {args}")

    verdict(HOSTILE["a packed zip"])  # what the parser itself imports is here now
    verdict(b"{}")
    sys.addaudithook(hook)
    for data in HOSTILE.values():
        verdict(data)
    listening = False
    assert seen == []


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_no_mutation_makes_it_safe_without_removing_the_name(data: st.DataObject) -> None:
    """A byte changed anywhere: while the opcodes still name `os.getcwd`, it is not harmless."""
    base = bytearray(HOSTILE[data.draw(st.sampled_from(sorted(HOSTILE)))])
    at = data.draw(st.integers(0, len(base) - 1))
    base[at] = data.draw(st.integers(0, 255))
    found = verdict(bytes(base))
    if found.status == "ok":
        assert all(safety == "innocuous" for _, _, safety in found.imports)


def test_a_member_without_a_name() -> None:
    """Its name begins with a NUL, at which a zip's names end."""
    for data in HOSTILE.values():
        if data[:2] == b"PK":
            name = data[data.index(b"PK\x01\x02") + 46 :]
            assert verdict(data.replace(name[:4], b"\0" + name[1:4])).status != "ok"


@settings(max_examples=examples(300), deadline=None)
@given(junk=st.binary(max_size=400))
@example(b"\x80\x04" + b"(" * 300)
@example(b"\x80\x02h\x00.")
@example(b"\x80\x04\x8e" + b"\xff" * 8)
def test_junk_ends_in_an_answer(junk: bytes) -> None:
    for data in (junk, b"\x80\x04" + junk, b"PK\x03\x04" + junk, b"\x93NUMPY\x01\x00" + junk):
        assert isinstance(verdict(data), Verdict)


def test_a_mark_is_not_a_value() -> None:
    """An unpickler stops where a mark is taken for a value: so does the follower."""
    for data in (b"\x80\x04(\x94.", b"\x80\x042.", b"\x80\x04((\x86."):
        assert not list_pickle(data).complete


def test_what_is_too_long_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list_pickle(b"\x80\x02" + b"N0" * (OPS_MAX // 2 + 1) + b"N.").complete
    assert not list_pickle(b"\x80\x02N." * (STREAMS_MAX + 1)).complete
    assert list_pickle(b"\x80\x02N." * STREAMS_MAX).complete
    assert not list_pickle(b"\x80\x02N.", more_bytes=5).complete
    monkeypatch.setattr(pickle_listing, "IMPORTS_MAX", 3)
    many = b"\x80\x02" + b"".join(b"ca\nb%d\n0" % n for n in range(9)) + b"N."
    assert not list_pickle(many).complete


def test_the_kept_names_are_bounded_and_sayable() -> None:
    many = b"\x80\x02" + b"".join(b"ca\nb%d\n0" % n for n in range(900)) + b"N."
    assert len(verdict(many).imports) == IMPORTS_KEPT_MAX
    half = b"\x80\x04\x8c\x03\xed\xa0\x80" + pickles.short("x") + b"\x93."
    for module, name, _ in verdict(half).imports:
        (module + name).encode()


@pytest.mark.parametrize(
    "text",
    [
        "class Net(Module):\n    x = 1\n", "col1\nabc\ndef\n", "col1,col2\n1,2\n3,4\n",
        "config\nmore\n(a list)\n", "import os\nos.getcwd()\n", "(some text)\n",
        "In the beginning\nthere was\n", "0.5\n0.6\n", "from a import b\nc\n", "]}\n",
        "N", ".", "c", "# title\n", "Version: 1\n", "tR.\n", "S'a'\n.",
    ],
)  # fmt: skip
def test_ordinary_text_is_no_pickle(text: str) -> None:
    assert verdict(text.encode()) == Verdict("other", "plain", "unscanned")


def test_code_inside_an_archive_is_no_pickle() -> None:
    members = {"archive/data.pkl": pickles.benign_state(), "archive/notes": b"class A:\n  pass\n"}
    assert verdict(pickles.zipped(members)).status == "ok"


def test_a_zip_bomb_is_not_unpacked() -> None:
    bomb = pickles.zipped({"archive/data.pkl": bytes(80 * 2**20)}, 8)
    found = verdict(bomb)
    assert (found.status, len(bomb) < 2**20) == ("unverified", True)


def test_a_model_of_thousands_of_tensors_is_verified_cheaply() -> None:
    members = {"archive/data.pkl": pickles.benign_state()}
    members |= {f"archive/data/{n}": bytes(20_000) for n in range(3_000)}
    data, asked = pickles.zipped(members), 0

    def read(start: int, stop: int) -> bytes:
        nonlocal asked
        asked += stop - start
        return data[start:stop]

    assert inspect(read, len(data)).status == "ok"
    assert asked < len(data) / 10


def test_a_million_members_are_not_looked_at() -> None:
    """The directory is what bounds it: 12,000 members are refused before the first is opened."""
    many = pickles.zipped({f"a/{n}": b"" for n in range(12_000)})
    assert verdict(many).status == "unverified"


@pytest.mark.parametrize(
    ("config", "level"),
    [
        ({"model_type": "bert"}, "plain"),
        ({"auto_map": {"AutoModel": "modeling_x.Model"}}, "caution"),
        ({"auto_map": {"AutoModel": "other/repo--modeling_x.Model"}}, "suspicious"),
        ({"auto_map": {"AutoTokenizer": ["a/b--c.D", None]}}, "suspicious"),
        ({"text_config": {"auto_map": {"AutoModel": "o/r--m.M"}}}, "suspicious"),
        ({"_attn_implementation_internal": "some/kernel"}, "suspicious"),
        ({"attn_implementation": "some/kernel"}, "suspicious"),
        ({"attn_implementation": "sdpa"}, "plain"),
        ({"sub": [{"trust_remote_code": True}]}, "suspicious"),
        ({"trust_remote_code": False}, "plain"),
        ({"weight_map": {"a": "../../etc/x"}}, "suspicious"),
        ({"weight_map": {"a": "/etc/x"}}, "suspicious"),
        ({"weight_map": {"a": "model-00001.safetensors"}}, "plain"),
        ({"cells": [], "nbformat": 4}, "caution"),
    ],
)
def test_dangers_of_config_files(config: dict[str, Any], level: str) -> None:
    assert look_at_json(json.dumps(config).encode())[1] == level


def test_odd_json_is_no_trouble() -> None:
    assert look_at_json(b'{"a": 1, "a": 2}')[1] == "suspicious"
    assert look_at_json(b"[" * 200_000)[:2] == ("text", "plain")
    assert look_at_json(b"{" + b'"a":{' * 90_000)[:2] == ("text", "plain")
    assert look_at_json(b"\xff\xfe{}")[:2] == ("text", "plain")
    wide = b"[" + b"0," * 600_000 + b"0]"
    assert look_at_json(wide)[1] == "caution"


@pytest.mark.parametrize(
    ("path", "data", "word"),
    [
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "caution"),
        (
            "model.keras",
            pickles.zipped({"config.json": b"{}", "model.weights.h5": b"x"}),
            "caution",
        ),
        ("model.onnx", b"\x08\x07\x12\x04test" + bytes(50), "caution"),
        ("run.ipynb", b'{"cells": [], "nbformat": 4}', "caution"),
        ("model.pt", b"not a pickle", "caution"),
        ("model.joblib", zlib.compress(HOSTILE["os.getcwd, protocol 4"]), "caution"),
        ("model.safetensors", b"not one", "caution"),
        ("model.gguf", b"not one", "caution"),
        ("tool", b"\x7fELF" + bytes(60), "caution"),
        ("data.parquet", b"PAR1" + bytes(60), "unscanned"),
        ("README.md", b"# hello", "unscanned"),
        ("config.json", b"{}", "unscanned"),
    ],
)
def test_what_a_name_promises(path: str, data: bytes, word: str) -> None:
    assert as_shown(data, path) == word
