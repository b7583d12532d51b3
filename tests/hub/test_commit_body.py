"""Commit bodies that are wrong: refused with the line named, and nothing is saved.

Against the whole hub over HTTP; the numbers in parentheses are those of the list of bad inputs.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from headwater.catalog.actors import OPERATOR
from headwater.hub import commit_body
from headwater.hub.routes import table
from hub.xet_kit import Answer, Cas, serve
from store.store_kit import digest

INLINE_MAX = 60_000  # small, so that the limits are cheap to meet
COMMIT_MAX = 400_000
UPLOADED = b"sent by ann and not committed yet"
FOREIGN = b"sent by bob"
MINE = digest(UPLOADED)
NOBODYS = digest(b"nobody has this")
WRITE = "/api/models/ann/m/commit/"


class Desk:
    """Ann at her repo, which holds one file and one upload that waits for its commit."""

    def __init__(self, cas: Cas) -> None:
        self.cas = cas
        self.token = cas.user("ann")
        self.repo = cas.repo("ann/m")
        assert self.commit(HEADER, file("kept.txt"), file("folder/x")).status == 200
        blobs = cas.hub.catalog.blobs
        blobs.uploaded(cas.actor(self.token), digest(UPLOADED), len(UPLOADED))
        blobs.uploaded(cas.actor(cas.user("bob")), digest(FOREIGN), len(FOREIGN))

    def send(self, body: bytes, rev: str = "main") -> Answer:
        return self.cas.ask("POST", WRITE + rev, token=self.token, body=body)

    def commit(self, *lines: bytes, rev: str = "main") -> Answer:
        return self.send(b"\n".join(lines), rev)

    def state(self) -> tuple[object, ...]:
        """All that a commit could have changed."""
        catalog = self.cas.hub.catalog
        head = catalog.refs.resolve(self.repo, "main")
        entries = catalog.files.list(self.repo, head.tree, recursive=True)
        refs = self.cas.ask("GET", "/api/models/ann/m/refs?include_prs=1", token=self.token).json
        held = [catalog.blobs.in_repo(self.repo, digest(d)) for d in (UPLOADED, FOREIGN)]
        return head.commit, tuple(entries), json.dumps(refs), tuple(held)

    def read(self, path: str) -> bytes:
        return self.cas.ask("GET", f"/ann/m/resolve/main/{path}", token=self.token).body


def line(key: str, **value: Any) -> bytes:
    return json.dumps({"key": key, "value": value}).encode()


def file(path: str, content: str = "text", **more: Any) -> bytes:
    return line("file", path=path, content=content, encoding="utf-8", **more)


def lfs(path: str = "w.bin", oid: Any = MINE, **more: Any) -> bytes:
    return line("lfsFile", path=path, oid=oid, **{"algo": "sha256", "size": len(UPLOADED)} | more)


HEADER = line("header", summary="a change")
GOOD = file("good.txt")


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with serve(table, regular_bytes_max=INLINE_MAX, commit_bytes_max=COMMIT_MAX) as cas:
        yield Desk(cas)


def raw(value: bytes, key: bytes = b"file") -> bytes:
    return b'{"key":"' + key + b'","value":' + value + b"}"


# (name, lines after which nothing may be saved, number of the line that is wrong, status)
WRONG: list[tuple[str, list[bytes], int, int]] = [
    # B1: lines
    ("no header", [GOOD], 1, 400),
    ("two headers", [HEADER, HEADER, GOOD], 2, 400),
    ("a late header", [HEADER, GOOD, HEADER], 3, 400),
    ("a header without summary", [line("header", description="x"), GOOD], 1, 400),
    ("a summary that is no text", [line("header", summary=7), GOOD], 1, 400),
    ("not UTF-8", [HEADER, GOOD, raw(b'{"path":"a\xff","content":""}')], 3, 400),
    ("not UTF-8 where nobody looks", [HEADER, raw(b'{"path":"a","content":"","x":"\xff"}')],
     2, 400),
    ("half a surrogate", [HEADER, raw(b'{"path":"a","content":"\\ud800"}')], 2, 400),
    ("half a surrogate, then more", [HEADER, raw(b'{"path":"a","content":"\\ud800xyz"}')],
     2, 400),
    ("a list", [HEADER, GOOD, b"[1]"], 3, 400),
    ("a number", [HEADER, b"1"], 2, 400),
    ("null", [HEADER, b"null"], 2, 400),
    ("a value that is no object", [HEADER, raw(b"[]")], 2, 400),
    ("no value", [HEADER, b'{"key":"file"}'], 2, 400),
    ("no key", [HEADER, b'{"value":{}}'], 2, 400),
    ("an unknown key", [HEADER, GOOD, line("files", path="x")], 3, 400),
    ("a truncated last line", [HEADER, GOOD, file("x")[:-9]], 3, 400),
    ("two objects in a line", [HEADER, GOOD + GOOD], 2, 400),
    ("a byte order mark", [b"\xef\xbb\xbf" + HEADER, GOOD], 1, 400),
    ("a NUL", [HEADER, GOOD + b"\0"], 2, 400),
    ("UTF-16", [HEADER, GOOD.decode().encode("utf-16-le")], 2, 400),
    ("one key twice", [HEADER, raw(b'{"path":"a","path":"b","content":""}')], 2, 400),
    ("a blank line", [HEADER, b"", GOOD], 2, 400),
    ("a line of spaces", [HEADER, GOOD, b"  \t"], 3, 400),
    ("a blank line at the end", [HEADER, GOOD, b"", b""], 3, 400),
    ("CR LF", [HEADER + b"\r", GOOD + b"\r"], 1, 400),
    ("CR LF once", [HEADER, GOOD + b"\r", GOOD], 2, 400),
    ("two kinds in a line", [HEADER, b'{"key":"file","key":"deletedFile","value":{"path":"x"}}'],
     2, 400),
    # B2: bombs
    ("depth", [HEADER, raw(b"[" * 60_000 + b"]" * 60_000)[:2000]], 2, 400),
    ("depth where nobody looks",
     [HEADER, raw(b'{"path":"a","content":"","x":' + b"[" * 4000 + b"]" * 4000 + b"}")], 2, 400),
    ("a long number",
     [HEADER, raw(b'{"path":"a","oid":"","size":' + b"9" * 5000 + b"}", b"lfsFile")], 2, 400),
    ("a long number where nobody looks",
     [HEADER, raw(b'{"path":"a","content":"","x":' + b"9" * 5000 + b"}")], 2, 400),
    ("NaN", [HEADER, raw(b'{"path":"a","oid":"","size":NaN}', b"lfsFile")], 2, 400),
    ("infinity", [HEADER, raw(b'{"path":"a","oid":"","size":1e400}', b"lfsFile")], 2, 400),
    # B3: contents
    ("not base64", [HEADER, line("file", path="a", content="a b=", encoding="base64")], 2, 400),
    ("base64 with junk", [HEADER, line("file", path="a", content="dGV4\ndA==", encoding="base64")],
     2, 400),
    ("base64 cut short", [HEADER, line("file", path="a", content="dGV4dA", encoding="base64")],
     2, 400),
    ("base64 that is not ASCII",
     [HEADER, line("file", path="a", content="dGV4dÄ==", encoding="base64")], 2, 400),
    ("an unknown encoding", [HEADER, line("file", path="a", content="", encoding="latin-1")],
     2, 400),
    ("a long unknown encoding", [HEADER, line("file", path="a", content="", encoding="x" * 9000)],
     2, 400),
    ("a content that is no text", [HEADER, line("file", path="a", content=[1])], 2, 400),
    ("too large inline", [HEADER, GOOD, file("a", "x" * (INLINE_MAX + 1))], 3, 413),
    ("too large inline, in base64",
     [HEADER, line("file", path="a", encoding="base64",
                   content=base64.b64encode(bytes(INLINE_MAX + 1)).decode())], 2, 413),
    # B24, B25: paths, one for each door
    ("a path that climbs", [HEADER, GOOD, file("../x")], 3, 400),
    ("a reserved path", [HEADER, file(".git/config")], 2, 400),
    ("no path", [HEADER, line("file", content="x")], 2, 400),
    ("an empty path", [HEADER, file("")], 2, 400),
    ("an LFS path that climbs", [HEADER, lfs("a/../../x")], 2, 400),
    ("a removal that climbs", [HEADER, line("deletedFile", path="../kept.txt")], 2, 400),
    ("the whole tree removed", [HEADER, line("deletedFolder", path="/")], 2, 400),
    ("a rename from nowhere legal", [HEADER, file("a", oldPath="../kept.txt")], 2, 400),
    # B5: parents
    ("a parent of words", [line("header", summary="x", parentCommit="main~1"), GOOD], 1, 400),
    ("a parent of few digits", [line("header", summary="x", parentCommit="abcd"), GOOD], 1, 400),
    ("a parent too long", [line("header", summary="x", parentCommit="a" * 41), GOOD], 1, 400),
    # B7: LFS
    ("an oid too short", [HEADER, lfs(oid="abc")], 2, 400),
    ("an oid in capitals", [HEADER, lfs(oid=MINE.upper())], 2, 400),
    ("an oid that is a path", [HEADER, lfs(oid="../" * 21 + "x")], 2, 400),
    ("an oid and a newline", [HEADER, lfs(oid=MINE + "\n")], 2, 400),
    ("an oid that is no text", [HEADER, lfs(oid=7)], 2, 400),
    ("another algorithm", [HEADER, lfs(algo="sha1")], 2, 400),
    ("a negative size", [HEADER, lfs(size=-1)], 2, 400),
    ("a size of 2^63", [HEADER, lfs(size=2**63)], 2, 400),
    ("a size of 2^64", [HEADER, lfs(size=2**64)], 2, 400),
    ("a size with a fraction", [HEADER, lfs(size=32.5)], 2, 400),
    ("a size in words", [HEADER, lfs(size="33")], 2, 400),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "number", "status"),
    [pytest.param(*case[1:], id=case[0]) for case in WRONG],
)
def test_a_wrong_line_is_named(desk: Desk, lines: list[bytes], number: int, status: int) -> None:
    before = desk.state()
    answer = desk.commit(*lines)
    assert answer.status == status, answer.body
    assert answer.json["error"].lower().startswith(f"line {number}"), answer.body
    assert len(answer.body) < 1000, "a refusal does not repeat what it refuses"
    assert desk.state() == before


# Lines that are right each for itself and wrong for this repo: the path is named.
UNFIT: list[tuple[str, list[bytes], int, str]] = [
    ("a file where a folder is", [file("folder")], 400, "folder"),
    ("a folder where a file is", [file("kept.txt/x")], 400, "kept.txt"),
    ("both at once", [file("new"), file("new/x")], 400, "new"),
    ("two that differ in case", [file("new"), file("NEW")], 400, "NEW"),
    ("a twin of one that is here", [file("KEPT.txt")], 400, "kept.txt"),
    ("removed and not there", [line("deletedFile", path="absent")], 404, "absent"),
    ("a folder removed as a file", [line("deletedFile", path="folder")], 404, "folder"),
    ("a file removed as a folder", [line("deletedFolder", path="kept.txt")], 404, "file"),
    ("removed twice", [line("deletedFile", path="kept.txt")] * 2, 404, "kept.txt"),
    ("unknown bytes", [lfs(oid=NOBODYS)], 400, "w.bin"),
    ("another one's bytes", [lfs(oid=digest(FOREIGN), size=len(FOREIGN))], 400, "w.bin"),
    ("another one's bytes, copied", [lfs(oid=digest(FOREIGN), size=None)], 400, "w.bin"),
    ("another size", [lfs(size=len(UPLOADED) + 1)], 400, "w.bin"),
]


@pytest.mark.parametrize(
    ("lines", "status", "word"), [pytest.param(*case[1:], id=case[0]) for case in UNFIT]
)
def test_what_does_not_fit_the_repo(desk: Desk, lines: list[bytes], status: int, word: str) -> None:
    """The good file before it and the good one after it are not saved, either."""
    before = desk.state()
    answer = desk.commit(HEADER, GOOD, *lines, file("after.txt"))
    assert answer.status == status, answer.body
    assert word in answer.json["error"]
    assert desk.state() == before


@pytest.mark.parametrize("size", [len(FOREIGN), None, 1])
def test_foreign_bytes_and_unknown_ones_sound_the_same(desk: Desk, size: int | None) -> None:
    said = []
    for oid in (digest(FOREIGN), NOBODYS):
        answer = desk.commit(HEADER, lfs(oid=oid, size=size))
        said.append((answer.status, answer.json["error"].replace(oid, "HASH")))
    assert said[0] == said[1]


def test_a_parent_that_is_not_the_head(desk: Desk) -> None:
    """Unknown, of another branch, or no longer the head: 412 (B5)."""
    old = desk.cas.hub.catalog.refs.resolve(desk.repo, "main").commit
    branch = "/api/models/ann/m/branch/side"
    assert desk.cas.ask("POST", branch, token=desk.token, body=b"{}").status == 200
    side = desk.commit(HEADER, file("side.txt"), rev="side").json["commitOid"]
    assert desk.commit(HEADER, file("moved.txt")).status == 200
    before = desk.state()
    for parent in (old, side, "0" * 40, old[:7], side[:5]):
        answer = desk.commit(line("header", summary="x", parentCommit=parent), GOOD)
        assert (answer.status, answer.headers["X-Error-Code"]) == (412, "StaleParent"), parent
    assert desk.state() == before


@pytest.mark.parametrize("digits", [40, 7, 5])
def test_a_parent_by_its_first_digits(desk: Desk, digits: int) -> None:
    """Clients take five to forty digits for a commit, in either case."""
    head = desk.cas.hub.catalog.refs.resolve(desk.repo, "main").commit
    for number, parent in enumerate((head[:digits].upper(), "")):
        header = line("header", summary="x", parentCommit=parent)
        answer = desk.commit(header, file(f"by-{digits}-{number}.txt", "x"))
        assert answer.status == 200, answer.body


def test_messages(desk: Desk) -> None:
    """Too long or with a NUL: refused. What only looks strange is kept as it is (B6)."""
    before = desk.state()
    for summary, status in (("x" * 300_000, 413), ("x" * 70_000, 400), ("a\0b", 400)):
        answer = desk.commit(line("header", summary=summary), GOOD)
        assert answer.status == status, answer.body
        assert desk.state() == before
    strange = "\u202eabc\x07 <b>"
    answer = desk.commit(line("header", summary=strange), file("strange.txt"))
    assert answer.status == 200
    listed = desk.cas.ask("GET", "/api/models/ann/m/commits/main", token=desk.token)
    assert listed.json[0]["title"] == strange
    assert listed.body.isascii() or "\u202e".encode() in listed.body


def test_nothing_to_do_is_no_commit(desk: Desk) -> None:
    """As Hugging Face answers: 200, and the head stays (B6)."""
    before = desk.state()
    for lines in ([HEADER], [HEADER, file("kept.txt")], [HEADER, b""]):
        answer = desk.commit(*lines)
        assert (answer.status, answer.json["commitOid"]) == (200, before[0])
    assert desk.state() == before


@pytest.mark.parametrize(
    ("body", "word"), [(b"", "header"), (b"\n", "line 1: "), (b" \r\n\n", "line 1: ")]
)
def test_no_lines_at_all(desk: Desk, body: bytes, word: str) -> None:
    before = desk.state()
    answer = desk.send(body)
    assert answer.status == 400
    assert word in answer.json["error"]
    assert desk.state() == before


def test_one_line_end_after_the_last_line_is_usual(desk: Desk) -> None:
    """As huggingface_hub sends it; CR LF inside a file is the file's."""
    assert desk.send(HEADER + b"\n" + file("crlf.txt", "one\r\n") + b"\n").status == 200
    assert desk.read("crlf.txt") == b"one\r\n"


def test_of_two_contents_for_one_path_the_last_is_kept(desk: Desk) -> None:
    """And an upload that the same commit overwrites is not linked by its path."""
    lines = [HEADER, file("twice.txt", "one"), lfs("twice.txt"), file("twice.txt", "two")]
    assert desk.commit(*lines).status == 200
    assert desk.read("twice.txt") == b"two"
    moved = [HEADER, line("deletedFile", path="twice.txt"), file("twice.txt/x", "three")]
    assert desk.commit(*moved).status == 200
    assert desk.read("twice.txt/x") == b"three"


def test_a_line_without_an_end(desk: Desk) -> None:
    """Refused when it grows too long, not when it has all come: the rest is never sent (B2)."""
    before = desk.state()
    head = (
        f"POST {WRITE}main HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {desk.token}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    start = HEADER + b'\n{"key":"file","value":{"path":"a","content":"' + b"x" * 120_000
    with socket.create_connection(("127.0.0.1", desk.cas.port), timeout=20) as client:
        client.sendall(head.encode() + b"%x\r\n" % len(start) + start + b"\r\n")
        answer = client.recv(10_000)
    assert b" 413 " in answer.splitlines()[0]
    assert b"Line 2 of the body" in answer
    assert desk.state() == before


def test_many_lines_have_limits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes in all, of operations, both told with 413 (B2)."""
    before = desk.state()
    lines = [HEADER, *(file(f"{number}.txt", "x" * 900) for number in range(500))]
    answer = desk.commit(*lines)
    assert (answer.status, "limit of 400000" in answer.json["error"]) == (413, True)
    monkeypatch.setattr(commit_body, "OPERATIONS_MAX", 3)
    answer = desk.commit(HEADER, *(file(f"{number}.txt") for number in range(4)))
    assert answer.status == 413
    assert answer.json["error"].startswith("line 5: ")
    assert desk.state() == before


def test_the_limit_of_a_line_is_not_that_of_the_body(desk: Desk) -> None:
    """Many files that are each small enough make a commit that is much larger than a line."""
    lines = [HEADER, *(file(f"many/{number}.txt", f"{number} " * 200) for number in range(350))]
    assert sum(map(len, lines)) > 2 * INLINE_MAX * 4 // 3
    assert desk.commit(*lines).status == 200
    assert desk.read("many/349.txt") == b"349 " * 200


def test_a_body_that_breaks_off(desk: Desk) -> None:
    """Every line that came was right, and the length says that more were to come."""
    before = desk.state()
    body = HEADER + b"\n" + GOOD + b"\n"
    head = (
        f"POST {WRITE}main HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {desk.token}\r\n"
        f"Content-Length: {len(body) + 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", desk.cas.port), timeout=20) as client:
        client.sendall(head.encode() + body)
        client.shutdown(socket.SHUT_WR)
        client.recv(10_000)
    assert desk.state() == before


def test_a_pointer_as_an_ordinary_file_is_not_followed(desk: Desk) -> None:
    """Whoever writes a pointer to foreign bytes reads a pointer (B8)."""
    text = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest(FOREIGN)}\n"
        f"size {len(FOREIGN)}\n"
    )
    assert desk.commit(HEADER, file("pointer.bin", text)).status == 200
    assert desk.read("pointer.bin") == text.encode()
    assert desk.cas.hub.catalog.blobs.in_repo(desk.repo, digest(FOREIGN)) is None
    paths = desk.cas.ask(
        "POST", "/api/models/ann/m/paths-info/main", token=desk.token, body=b"paths=pointer.bin"
    )
    assert "lfs" not in paths.json[0]


def test_the_operator_sees_one_commit_for_each_that_was_told(desk: Desk) -> None:
    """After all that was refused above, the history holds only what was answered with 200."""
    repo = desk.cas.hub.catalog.repos.find(OPERATOR, "model", "ann/m")
    before = desk.cas.hub.catalog.refs.resolve(repo, "main").commit
    assert desk.commit(HEADER, GOOD, b"{").status == 400
    made = desk.commit(HEADER, file("last.txt", "last")).json["commitOid"]
    newest = desk.cas.ask("GET", "/api/models/ann/m/commits/main", token=desk.token).json
    assert [commit["id"] for commit in newest[:2]] == [made, before]
