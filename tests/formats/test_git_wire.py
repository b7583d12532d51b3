"""pkt-lines, packs and objects from strangers: read right, or refused as ours, never otherwise."""

import contextlib
import io
import subprocess
import tempfile
import zlib
from collections.abc import Callable

import pytest
from dulwich.objects import Commit as DulwichCommit
from dulwich.pack import apply_delta as dulwich_apply
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.errors import HeadwaterError, Malformed, TooLarge
from headwater.formats.git_object import check, read_commit, read_tag, read_tree
from headwater.formats.git_pack import KINDS, PackFile, apply_delta, delta_size, entry_head
from headwater.formats.pkt_line import BAND_BYTES_MAX, FLUSH, Mark, band, pkt, read_pkt, read_text
from packs import commit, copy, delta, insert, oid_of, pack, sealed, tag, tree, whole

ONE = "1" * 40


def opened(data: bytes) -> tuple[PackFile, io.BufferedRandom]:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        file.write(data)
        file.flush()
        return PackFile(file, 0), file  # type: ignore[arg-type,return-value]
    except BaseException:
        file.close()
        raise


def read_all(data: bytes) -> list[tuple[str | None, bytes]]:
    made, file = opened(data)
    with file:
        made.check_sum()
        return [(entry.kind, inflater.body()) for entry, inflater in made.entries()]


@given(lines=st.lists(st.binary(max_size=200)))
def test_packets_come_back(lines: list[bytes]) -> None:
    stream = io.BytesIO(b"".join(map(pkt, lines)) + FLUSH)
    assert [read_pkt(stream.read) for _ in lines] == lines
    assert read_pkt(stream.read) is Mark.FLUSH


@given(data=st.binary(max_size=300), size=st.sampled_from([1, 7, BAND_BYTES_MAX]))
def test_a_band_is_cut_into_packets(data: bytes, size: int) -> None:
    whole_ = b"".join(band(1, data, size))
    stream = io.BytesIO(whole_)
    out = b""
    while stream.tell() < len(whole_):
        line = read_pkt(stream.read)
        assert isinstance(line, bytes)
        assert line[:1] == b"\1"
        assert len(line) <= size + 1
        out += line[1:]
    assert out == data
    assert b"".join(band(1, data, 0)) == data
    assert b"".join(band(2, data, 0)) == b""


@pytest.mark.parametrize("data", [b"", b"00", b"0003", b"000g", b"ffff", b"+005a", b"0008abc"])
def test_bad_packets(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_pkt(io.BytesIO(data).read)


def test_text_is_utf8() -> None:
    with pytest.raises(Malformed):
        read_text(io.BytesIO(pkt(b"\xff")).read)
    assert read_text(io.BytesIO(pkt("é\n")).read) == "é"


@given(bodies=st.lists(st.tuples(st.sampled_from(sorted(KINDS.values())), st.binary(max_size=400))))
def test_a_pack_comes_back(bodies: list[tuple[str, bytes]]) -> None:
    assert read_all(pack([whole(kind, body) for kind, body in bodies])) == bodies


def test_a_large_object_comes_back_in_pieces() -> None:
    body = bytes(range(256)) * 20_000
    assert read_all(pack([whole("blob", body), whole("blob", b"")]))[0] == ("blob", body)
    assert entry_head("blob", 2**40)


@given(junk=st.binary(max_size=200), at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_pack_is_refused_as_ours(junk: bytes, at: int, flip: int) -> None:
    """With a right checksum: what a stranger may send on purpose."""
    data = bytearray(pack([whole("blob", b"hello" * 9), whole("tree", b"")])[:-20])
    data[at % len(data)] ^= flip
    for bad in (sealed(bytes(data)), sealed(b"PACK\0\0\0\2\0\0\0\1" + junk), junk):
        with contextlib.suppress(HeadwaterError):
            read_all(bad)


@st.composite
def differences(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """(base, difference, result)"""
    base = draw(st.binary(min_size=1, max_size=500))
    orders, result = [], b""
    for _ in range(draw(st.integers(1, 8))):
        if draw(st.booleans()):
            piece = draw(st.binary(min_size=1, max_size=127))
            orders.append(insert(piece))
        else:
            start = draw(st.integers(0, len(base) - 1))
            piece = base[start : start + draw(st.integers(1, 300))]
            orders.append(copy(start, len(piece)))
        result += piece
    return base, delta(len(base), len(result), *orders), result


@given(case=differences())
def test_a_difference_makes_what_dulwich_makes(case: tuple[bytes, bytes, bytes]) -> None:
    base, diff, result = case
    assert apply_delta(base, diff, len(result)) == result
    assert b"".join(dulwich_apply(base, diff)) == result
    assert delta_size(diff) == len(result)
    with pytest.raises(TooLarge):
        apply_delta(base, diff, len(result) - 1)


@given(base=st.binary(max_size=50), diff=st.binary(max_size=80))
def test_any_difference_is_made_or_refused(base: bytes, diff: bytes) -> None:
    with contextlib.suppress(HeadwaterError):
        assert len(apply_delta(base, diff, 1000)) <= 1000


def test_a_copy_of_length_nothing_is_64_kib() -> None:
    base = bytes(70_000)
    assert apply_delta(base, delta(70_000, 0x10000, b"\x80"), 2**20) == bytes(0x10000)


def test_a_commit_is_read_as_dulwich_reads_it() -> None:
    body = commit(ONE, "2" * 40, "3" * 40, message="Grüße\n\nmore\n".encode())
    body = body.replace(b"\n\n", b"\nencoding UTF-8\ngpgsig -----BEGIN\n line\n -----END\n\n", 1)
    said, theirs = read_commit(body), DulwichCommit.from_string(body)
    assert said.tree == theirs.tree.decode()
    assert said.parents == tuple(p.decode() for p in theirs.parents)
    assert said.message == theirs.message.decode()
    assert said.at_s == theirs.commit_time
    assert said.author == "Ann"


def test_a_tag_is_read() -> None:
    assert read_tag(tag(ONE)).target == ONE
    assert read_tag(tag(ONE, "blob")).kind == "blob"
    for bad in (b"", tag(ONE)[:30], tag(ONE).replace(b"tagger Ann", b"tagger"), tag(ONE) + b"\0",
                tag(ONE).replace(b"\n\nsaid", b"\nodd\n\nsaid")):  # fmt: skip
        with pytest.raises(Malformed):
            read_tag(bad)


_MADE: list[tuple[str, bytes]] = [
    ("commit", commit(ONE, "2" * 40)),
    ("commit", commit(ONE, message=b"")),
    ("tag", tag(ONE)),
    ("tree", tree(("100644", b"a", ONE), ("40000", b"b", ONE), ("100755", b"c", ONE))),
]


def git_takes(kind: str, body: bytes) -> bool:
    done = subprocess.run(
        ["git", "hash-object", "-t", kind, "--stdin"], input=body, capture_output=True
    )
    return done.returncode == 0


@settings(max_examples=examples(60), deadline=None)
@given(
    made=st.sampled_from(_MADE),
    at=st.integers(0, 400),
    change=st.sampled_from([b"", b"\n", b"\0", b" ", b"0", b"<", b"x", b"\n\n"]),
    cut=st.integers(0, 3),
)
def test_what_we_take_git_takes(made: tuple[str, bytes], at: int, change: bytes, cut: int) -> None:
    """We may be stricter than git, never laxer."""
    kind, body = made
    at %= len(body) + 1
    body = body[:at] + change + body[at + cut :]
    try:
        check(kind, body)
    except Malformed:
        return
    assert git_takes(kind, body), body


@pytest.mark.parametrize(("kind", "body"), _MADE)
def test_what_git_writes_we_take(kind: str, body: bytes) -> None:
    assert git_takes(kind, body)
    check(kind, body)


@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    readers: list[Callable[[], object]] = [
        lambda: read_commit(body), lambda: read_commit(body, strict=False),
        lambda: read_tag(body), lambda: list(read_tree(body)),
    ]  # fmt: skip
    for reader in readers:
        with contextlib.suppress(Malformed):
            reader()


def test_the_judge_agrees_on_names() -> None:
    assert oid_of("blob", b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert zlib.decompress(whole("blob", b"x")[1:]) == b"x"
