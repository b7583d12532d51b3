"""Real uploads side by side, and as far as the file that people then read by any protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from headwater.hub.routes import table
from hub.xet_kit import Answer, Cas, serve, weights

pytestmark = pytest.mark.clients


@pytest.fixture
def cas() -> Iterator[Cas]:
    with serve(table) as served:
        yield served


def commit(cas: Cas, token: str, full: str, *files: bytes) -> Answer:
    """Commit uploaded files as 0.bin, 1.bin and so on, by their SHA-256 alone."""
    lines = [{"key": "header", "value": {"summary": "x"}}]
    for number, data in enumerate(files):
        value = {"path": f"{number}.bin", "algo": "sha256", "size": len(data)}
        lines.append({"key": "lfsFile", "value": value | {"oid": sha256(data)}})
    body = "\n".join(map(json.dumps, lines)).encode()
    return cas.ask("POST", f"/api/models/{full}/commit/main", token=token, body=body)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_from_the_upload_to_every_way_of_reading(cas: Cas) -> None:
    ann, bob = cas.user("ann"), cas.user("bob")
    cas.repo("ann/m")
    data = weights(1_500_000)
    (name,) = cas.upload(ann, "ann/m", data).hashes
    assert cas.ask("GET", "/ann/m/resolve/main/0.bin").status == 404, "not before its commit"
    assert commit(cas, ann, "ann/m", data).status == 200

    head = cas.ask("HEAD", "/ann/m/resolve/main/0.bin")
    assert (head.status, head.headers["X-Xet-Hash"]) == (200, name)
    assert head.headers["X-Linked-ETag"] == f'"{sha256(data)}"'
    assert head.headers["X-Linked-Size"] == head.headers["Content-Length"] == str(len(data))
    links = head.headers["Link"]
    assert f"<{cas.url}/api/models/ann/m/xet-read-token/" in links
    assert 'rel="xet-auth"' in links

    assert cas.ask("GET", "/ann/m/resolve/main/0.bin").body == data
    part = cas.ask("GET", "/ann/m/resolve/main/0.bin", headers={"Range": "bytes=99999-1200000"})
    assert (part.status, part.body) == (206, data[99_999:1_200_001])
    assert cas.download(bob, "ann/m", name, len(data)) == data
    tree = cas.ask("GET", "/api/models/ann/m/tree/main").json
    (entry,) = [entry for entry in tree if entry["path"] == "0.bin"]
    assert (entry["xetHash"], entry["lfs"]["oid"]) == (name, sha256(data))


def test_one_file_from_four_at_once(cas: Cas) -> None:
    """Nobody fails, nobody is told of the others, and one copy is kept."""
    data = weights(1_000_000)
    people = []
    for number in range(4):
        token = cas.user(f"user{number}")
        cas.repo(f"user{number}/m", private=True)
        people.append((token, f"user{number}/m"))
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda who: cas.upload(*who, data), people))
    assert len({tuple(one.hashes) for one in sent}) == 1
    for token, full in people:
        assert commit(cas, token, full, data).status == 200
        assert cas.ask("GET", f"/{full}/resolve/main/0.bin", token=token).body == data
    assert len(list(cas.hub.store.blobs())) == 1
    kept = sum(size for _, _, size in cas.hub.store.xorbs())
    assert kept < len(data) * 1.1
    assert not list(cas.hub.store.check(data=True))


def test_many_small_files_in_one_session(cas: Cas) -> None:
    """They share xorbs, and each is its own file."""
    ann = cas.user("ann")
    cas.repo("ann/m")
    files = [weights(1 + 977 * number, number) for number in range(40)]
    sent = cas.upload(ann, "ann/m", *files)
    assert commit(cas, ann, "ann/m", *files).status == 200
    assert len(list(cas.hub.store.xorbs())) < 5
    for number in range(0, 40, 7):
        got = cas.ask("GET", f"/ann/m/resolve/main/{number}.bin")
        assert got.body == files[number]
        assert got.headers["X-Xet-Hash"] == sent.hashes[number]


def test_an_upload_is_not_a_commit(cas: Cas) -> None:
    """Others neither commit what she sent nor see it, and hear what they would hear anyway."""
    ann, bob = cas.user("ann"), cas.user("bob")
    cas.repo("ann/m")
    cas.repo("bob/m")
    data, other = weights(100_000, 1), weights(100_000, 2)
    cas.upload(ann, "ann/m", data)
    answers = [commit(cas, bob, "bob/m", some) for some in (data, other)]
    assert [answer.status for answer in answers] == [400, 400]
    said = [
        answer.json["error"].replace(sha256(some), "HASH")
        for answer, some in zip(answers, (data, other), strict=True)
    ]
    assert said[0] == said[1]
    assert commit(cas, ann, "ann/m", data).status == 200


def test_where_xet_is_not_offered_its_uploads_still_serve() -> None:
    """Clients of today upload by Xet whatever the hub says; downloads then go by plain HTTP."""
    with serve(table, xet=False) as cas:
        ann = cas.user("ann")
        cas.repo("ann/m")
        data = weights(200_000)
        cas.upload(ann, "ann/m", data)
        assert commit(cas, ann, "ann/m", data).status == 200
        got = cas.ask("GET", "/ann/m/resolve/main/0.bin")
        assert got.body == data
        assert got.headers["X-Xet-Hash"] is None
        assert got.headers["Link"] is None
        assert b"xetHash" not in cas.ask("GET", "/api/models/ann/m/tree/main").body


def test_a_key_holds_for_one_repo(cas: Cas) -> None:
    """What is sent with a key for one repo may be committed to another of one's own: it is the
    person who has shown the bytes. Reading it through a third one's repo is another matter."""
    ann, bob = cas.user("ann"), cas.user("bob")
    for full in ("ann/a", "ann/b", "bob/m"):
        cas.repo(full)
    data = weights(100_000)
    (name,) = cas.upload(ann, "ann/a", data).hashes
    assert commit(cas, ann, "ann/b", data).status == 200
    for token, full, status in [(bob, "ann/b", 200), (bob, "ann/a", 404), (bob, "bob/m", 404)]:
        base, key = cas.key(token, full, "read")
        answer = cas.ask("GET", f"{base}/v2/reconstructions/{name}", token=key)
        assert answer.status == status, full
