"""Every name at every door: kept in one form, or refused as InvalidPath, by all of them alike.

The doors that write (commit inline and large, delete, preupload, a bucket's batch, git push) and
those that read (tree, paths-info, resolve, raw, a bucket's files). The server runs under strace:
no name of the corpus is ever opened as a file (safety rules B24-B28, T13).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from path_corpus import CORPUS, Name

from effort import sample
from headwater.formats.pkt_line import FLUSH, pkt
from live import HOST, LiveHub
from packs import commit, oid_of, pack, tree
from packs import whole as whole_object

REFUSED = [name for name in CORPUS if name.refused]
KEPT = [name for name in CORPUS if not name.refused]
MODEL, BUCKET = "alice/m", "alice/b"
BATCH = 50  # names at once where a door takes many
LARGE = b"a large file"


class Doors:
    """One connection of one person."""

    def __init__(self, hub: LiveHub) -> None:
        self.token = hub.token("alice")
        self.connection = http.client.HTTPConnection(HOST, hub.port, timeout=60)
        self.ask("POST", "/api/repos/create", {"name": MODEL})
        self.ask("POST", f"/api/buckets/{BUCKET}", {})
        self.oid = self._upload()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str, bytes]:
        """(status, X-Error-Code, body); never a server's fault."""
        reply, data = self._ask(method, path, body)
        return reply.status, reply.headers.get("X-Error-Code", ""), data

    def _ask(self, method: str, path: str, body: Any) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self.connection.request(method, path, raw, headers)
        reply = self.connection.getresponse()
        data = reply.read()
        assert reply.status < 500, (method, path, body, data)
        return reply, data

    def listed(self, path: str) -> list[dict[str, Any]]:
        """All pages of a list."""
        rows: list[dict[str, Any]] = []
        while True:
            reply, data = self._ask("GET", path, None)
            rows += json.loads(data)
            link = reply.headers.get("Link")
            if link is None:
                return rows
            path = "/" + link.split(">")[0].split("/", 3)[3]

    def _upload(self) -> str:
        oid = hashlib.sha256(LARGE).hexdigest()
        ask = {"operation": "upload", "objects": [{"oid": oid, "size": len(LARGE)}]}
        _, _, said = self.ask("POST", f"/{MODEL}.git/info/lfs/objects/batch", ask)
        actions = json.loads(said)["objects"][0].get("actions")
        if actions:  # else an earlier test brought it
            href = actions["upload"]["href"]
            assert self.ask("PUT", "/" + href.split("/", 3)[3], LARGE)[0] == 200
        return oid

    def commit(self, key: str, *values: dict[str, Any]) -> tuple[int, str, bytes]:
        lines: list[Any] = [{"key": "header", "value": {"summary": "s"}}]
        lines += [{"key": key, "value": value} for value in values]
        body = "\n".join(map(json.dumps, lines)).encode()
        return self.ask("POST", f"/api/models/{MODEL}/commit/main", body)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    live = LiveHub(tmp_path_factory.mktemp("paths"))
    live.start()
    yield live
    live.stop()


@pytest.fixture
def doors(hub: LiveHub) -> Iterator[Doors]:
    made = Doors(hub)
    yield made
    made.connection.close()


def escaped(path: str) -> str:
    return quote(path, safe="/")


def whole(path: str) -> str:
    return quote(path, safe="")


def parts(names: Sequence[Name]) -> Iterator[Sequence[Name]]:
    for at in range(0, len(names), BATCH):
        yield names[at : at + BATCH]


def test_there_are_enough() -> None:
    assert len(CORPUS) >= 500
    assert len(KEPT) > 150
    assert len(REFUSED) > 250


def test_what_is_refused_is_refused_by_every_writing_door(doors: Doors) -> None:
    wrong = []
    before = doors.listed(f"/api/models/{MODEL}/tree/main?recursive=true")
    for name in REFUSED:
        path = name.path
        large = {"path": path, "oid": doors.oid, "algo": "sha256"}
        preupload = {"files": [{"path": path, "size": 1, "sample": "eA=="}]}
        answers = {
            "inline": doors.commit("file", {"path": path, "content": "x"}),
            "large": doors.commit("lfsFile", large),
            "delete": doors.commit("deletedFile", {"path": path}),
            "delete folder": doors.commit("deletedFolder", {"path": path}),
            "preupload": doors.ask("POST", f"/api/models/{MODEL}/preupload/main", preupload),
        }
        for door, (status, code, body) in answers.items():
            said = json.loads(body).get("error", "")
            if door == "delete folder" and path.endswith("/") and status == 404:
                continue  # a folder may be named with its slash
            if (status, code) != (400, "InvalidPath") or str(name.refused) not in said:
                wrong.append(f"{door} {path!r}: {status} {code} {said}")
    assert not wrong, "\n".join(wrong[:40])
    assert doors.listed(f"/api/models/{MODEL}/tree/main?recursive=true") == before


def test_a_bucket_refuses_the_same(doors: Doors) -> None:
    for some in parts(REFUSED):
        lines: list[dict[str, Any]] = [
            {"type": "addFile", "path": name.path, "xetHash": "1" * 64, "mtime": 1} for name in some
        ]
        lines += [{"type": "deleteFile", "path": name.path} for name in some]
        body = "\n".join(map(json.dumps, lines)).encode()
        status, _, said = doors.ask("POST", f"/api/buckets/{BUCKET}/batch", body)
        assert status == 422
        failed = json.loads(said)["failed"]
        for name, failure in zip((*some, *some), failed, strict=True):
            assert str(name.refused) in failure["error"], name


def test_what_is_kept_is_found_by_every_reading_door(doors: Doors) -> None:
    for some in parts(KEPT):
        values = [{"path": name.path, "content": f"is {name.kept_as}"} for name in some]
        status, _, said = doors.commit("file", *values)
        assert status == 200, said
    listed = doors.listed(f"/api/models/{MODEL}/tree/main?recursive=true")
    assert {entry["path"] for entry in listed} >= {name.kept_as for name in KEPT}
    for name in KEPT:
        for spelled in {escaped(name.path), escaped(name.kept_as), whole(name.kept_as)}:
            for door in ("resolve", "raw"):
                status, _, body = doors.ask("GET", f"/{MODEL}/{door}/main/{spelled}")
                assert (status, body.decode()) == (200, f"is {name.kept_as}"), (door, name)
        found = doors.listed(f"/api/models/{MODEL}/tree/main/{whole(name.kept_as)}")
        assert [entry["path"] for entry in found] == [name.kept_as]
    for some in parts(KEPT):
        ask = {"paths": [name.path for name in some]}
        _, _, body = doors.ask("POST", f"/api/models/{MODEL}/paths-info/main", ask)
        assert [entry["path"] for entry in json.loads(body)] == [name.kept_as for name in some]


def test_reading_a_refused_name_finds_nothing(doors: Doors) -> None:
    """400 or 404, never another file, never 5xx; addresses are sent as they are, unnormalised."""
    readers = (
        f"/{MODEL}/resolve/main/", f"/{MODEL}/raw/main/", f"/api/models/{MODEL}/tree/main/",
        f"/api/resolve-cache/models/{MODEL}/main/", f"/buckets/{BUCKET}/resolve/",
    )  # fmt: skip
    for name in REFUSED:
        for reader in readers:
            for spelled in {escaped(name.path), whole(name.path)} - {""}:
                status, code, body = doors.ask("GET", reader + spelled)
                assert status in (400, 404), (reader, name, body[:200])
                assert code in ("InvalidPath", "EntryNotFound", "NotFound", "RepoNotFound"), name


def pushed(paths: Sequence[str], doors: Doors, branch: str) -> str:
    """What git is told of a push of these files to a new branch."""
    blob = whole_object("blob", b"pushed")
    entries, tops = [blob], {}
    for path in paths:
        *folders, name = path.encode("utf-8", "surrogatepass").split(b"/")
        row = ("100644", name, oid_of("blob", b"pushed"))
        for folder in reversed(folders):
            body = tree(row)
            entries.append(whole_object("tree", body))
            row = ("40000", folder, oid_of("tree", body))
        tops[row[1]] = row
    root = tree(*(tops[name] for name in sorted(tops, key=lambda n: n + b"/" * _is_tree(tops[n]))))
    entries.append(whole_object("tree", root))
    head = commit(oid_of("tree", root))
    entries.append(whole_object("commit", head))
    made = oid_of("commit", head)
    command = f"{'0' * 40} {made} refs/heads/{branch}\0report-status"
    kind = "application/x-git-receive-pack-request"
    sent = {"Authorization": f"Bearer {doors.token}", "Content-Type": kind}
    body = pkt(command) + FLUSH + pack(list(dict.fromkeys(entries)))
    doors.connection.request("POST", f"/{MODEL}.git/git-receive-pack", body, sent)
    reply = doors.connection.getresponse()
    said = reply.read().decode("utf-8", "replace")
    assert reply.status == 200, (paths, said)
    return said


def _is_tree(row: tuple[str, bytes, str]) -> bool:
    return row[0] == "40000"


def test_git_push_refuses_the_same(doors: Doors) -> None:
    """Also what no git would write: these trees are made by hand."""
    for number, name in enumerate(REFUSED):
        said = pushed([name.path], doors, f"refused-{number}")
        assert "ng refs/heads/refused" in said or "unpack ok" not in said, (name, said)


def test_git_push_keeps_the_same(doors: Doors) -> None:
    """But for what is not in NFC: a tree cannot be repaired, since its bytes are its name."""
    composed = [name.path for name in KEPT if name.path == name.kept_as]
    folders = {path.split("/")[0]: path for path in composed}  # one file in each top folder
    assert "ok refs/heads/kept" in pushed(list(folders.values()), doors, "kept")
    for path in folders.values():
        status, _, body = doors.ask("GET", f"/{MODEL}/resolve/kept/{escaped(path)}")
        assert (status, body) == (200, b"pushed"), path
    apart = [name for name in KEPT if name.path != name.kept_as]
    assert apart
    for number, name in enumerate(apart):
        assert "ng refs/heads/apart" in pushed([name.path], doors, f"apart-{number}"), name


@pytest.mark.parametrize(
    "raw",
    ["%ff", "%c0%ae%c0%ae", "%ed%a0%80", "a%00b", "%", "%2", "%zz", "%e2%82", "a%", "%f5%80%80%80"],
)
def test_bytes_that_are_no_text(doors: Doors, raw: str) -> None:
    """B26: never taken for another name."""
    for reader in (f"/{MODEL}/resolve/main/", f"/buckets/{BUCKET}/resolve/"):
        status, code, _ = doors.ask("GET", reader + raw)
        assert (status, code) == (400, "InvalidPath"), reader


@pytest.mark.parametrize("path", ["\ud800", "a/\udfff/b", "\ud800\udc00x\ud800"])
def test_half_a_character(doors: Doors, path: str) -> None:
    """JSON can carry what no text can."""
    status, _, said = doors.commit("file", {"path": path, "content": "x"})
    assert status == 400, said


def test_twins_in_one_folder(doors: Doors) -> None:
    """B27: what a case-insensitive or normalising file system takes for one name, is one."""
    pairs = [("Twin", "tWIN"), ("stra\u00dfe", "STRASSE"), ("\u212aelvin", "kelvin")]
    for first, second in pairs:
        assert doors.commit("file", {"path": f"t/{first}", "content": "1"})[0] == 200
        status, code, _ = doors.commit("file", {"path": f"t/{second}", "content": "2"})
        assert (status, code) == (400, "PathCollision"), (first, second)
    composed, apart = "t/r\u00e9sum\u00e9", unicodedata.normalize("NFD", "t/r\u00e9sum\u00e9")
    assert doors.commit("file", {"path": apart, "content": "1"})[0] == 200
    assert doors.commit("file", {"path": composed, "content": "2"})[0] == 200
    assert doors.ask("GET", f"/{MODEL}/resolve/main/{escaped(apart)}")[2] == b"2"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_name_reaches_the_file_system(tmp_path: Path) -> None:
    """The server opens what it made itself and its own code: nothing that a client named."""
    trace = tmp_path / "trace"
    live = LiveHub(tmp_path / "hub")
    live.wrapper = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-e",
        "trace=%file",
        "-s",
        "4096",
        "-o",
        str(trace),
    ]
    live.start()
    try:
        doors = Doors(live)
        for name in sample(CORPUS):
            honest = bool(name.path) and name.path[0] not in "/."
            marked = f"zq7{name.path}" if honest else name.path
            doors.commit("file", {"path": marked, "content": "x"})
            for reader in (f"/{MODEL}/resolve/main/", f"/buckets/{BUCKET}/resolve/"):
                doors.ask("GET", reader + (escaped(marked) or "x"))
        doors.connection.close()
    finally:
        live.stop()
    text = trace.read_text("utf-8", "replace")
    assert "catalog.sqlite" in text, "the trace shows what the server opens"
    for mark in ("zq7", "etc/passwd/", "\\\\server", "....//"):
        assert mark not in text
    assert not re.search(r'"\.\./|/\.\./\.\./etc', text)
