"""Who only knows a hash gets no byte for it, at any door, and hears what a random hash hears.

One hidden file, sent by Xet and committed, so that it has every kind of name: SHA-256, file hash,
xorb, chunk. Bob knows them all, and its place. At each door he asks for it and for something that
never existed; the answers are compared byte by byte, with the names themselves taken out. The
same doors open for the owner, or the test would prove nothing (safety rules T1, T2, T5).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass

import pytest
from sqlalchemy import update

from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR
from headwater.catalog.models import Repo
from headwater.formats.lfs_pointer import encode_pointer
from headwater.formats.pkt_line import FLUSH, pkt
from headwater.formats.xet_hash import chunk_hash, range_hash
from headwater.formats.xet_shard import ShardFile, build_shard
from headwater.hub.routes import table
from headwater.names import Digest, XetHash
from hub.xet_kit import Answer, Cas, serve
from packs import commit, oid_of, pack, tree, whole
from store.store_kit import MadeFile, MadeXorb

CHUNKS, CHUNK_BYTES = 6, 3000
VARYING = ("x-request-id", "date")
SIGNED = re.compile(rb"/lfs/[A-Za-z0-9_-]{40,}")


def made(seed: int) -> MadeFile:
    rng = random.Random(seed)
    xorb = MadeXorb.of([rng.randbytes(CHUNK_BYTES) for _ in range(CHUNKS)])
    return MadeFile(((xorb, 0, CHUNKS),))


SECRET, RANDOM = made(1), made(2)


@dataclass(frozen=True)
class Known:
    """A file as somebody knows it who has none of its bytes: its names, its size, its place."""

    file: MadeFile
    place: str

    @property
    def oid(self) -> str:
        return self.file.oid

    @property
    def size(self) -> int:
        return len(self.file.data)

    @property
    def xorb(self) -> XetHash:
        return self.file.runs[0][0].hash

    @property
    def chunk(self) -> XetHash:
        return XetHash.of_raw(chunk_hash(self.file.chunks[0]))

    @property
    def names(self) -> list[str]:
        return [self.oid, self.file.hash, self.xorb, self.chunk, self.place]


class Person:
    """Someone with a write token and a repo of their own."""

    def __init__(self, cas: Cas, name: str, full: str, *, private: bool = False) -> None:
        self.cas = cas
        self.name = name
        self.token = cas.user(name)
        self.full = full
        cas.repo(full, private=private)
        self.base, self.key = cas.key(self.token, full, "write")

    def at(self, full: str) -> Person:
        """The same person, asking at another repo."""
        other = copy(self)
        other.full = full
        return other

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        return self.cas.ask(method, path, token=self.token, body=body)

    def post(self, path: str, **body: object) -> Answer:
        return self.ask("POST", path, json.dumps(body).encode())

    def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """A call to the CAS."""
        return self.cas.ask(method, self.base + path, token=self.key, body=body)

    def commit(self, *lines: dict[str, object], query: str = "") -> Answer:
        header = {"key": "header", "value": {"summary": "x"}}
        body = "\n".join(json.dumps(line) for line in (header, *lines))
        return self.ask("POST", f"/api/models/{self.full}/commit/main{query}", body.encode())

    def send(self, file: MadeFile) -> None:
        """Upload by Xet, and commit."""
        ((xorb, *_),) = file.runs
        assert self.call("POST", f"/v1/xorbs/default/{xorb.hash}", xorb.body).status == 200
        proof = range_hash([chunk_hash(chunk) for chunk in file.chunks])
        assert self.call("POST", "/v1/shards", shard(file, proof)).status == 200
        assert self.commit(lfs_line(Known(file, ""), size=len(file.data))).status == 200


def shard(file: MadeFile, proof: bytes) -> bytes:
    return build_shard([ShardFile.of(file.hash, file.terms, [proof], file.oid)], [])


def lfs_line(known: Known, **size: int) -> dict[str, object]:
    value = {"path": "w.bin", "algo": "sha256", "oid": known.oid, **size}
    return {"key": "lfsFile", "value": value}


def batch(who: Person, known: Known, operation: str, *transfers: str) -> Answer:
    return who.post(
        f"/{who.full}.git/info/lfs/objects/batch",
        operation=operation,
        transfers=transfers or ("basic",),
        objects=[{"oid": known.oid, "size": known.size}],
    )


def bucket_line(who: Person, known: Known, **more: str) -> Answer:
    """A batch of one file in a bucket of one's own, by its Xet hash."""
    full = who.full.split("/")[0] + "/bucket"
    who.post(f"/api/buckets/{full}")  # there it is, or there it was
    line = {"type": "addFile", "path": "w.bin", "xetHash": known.file.hash, "mtime": 1} | more
    return who.ask("POST", f"/api/buckets/{full}/batch", json.dumps(line).encode())


def bucket_copy(who: Person, known: Known) -> Answer:
    source = {"sourceRepoType": "model", "sourceRepoId": known.place}
    return bucket_line(who, known, type="copyFile", **source)


def git_push(who: Person, known: Known) -> Answer:
    """A branch of its own with one commit, whose only file is a pointer to these bytes."""
    blob = encode_pointer(Digest(known.oid), known.size)
    root = tree(("100644", b"w.bin", oid_of("blob", blob)))
    head = commit(oid_of("tree", root))
    command = f"{NO_COMMIT} {oid_of('commit', head)} refs/heads/probe\0report-status"
    sent = [whole("blob", blob), whole("tree", root), whole("commit", head)]
    headers = {"Content-Type": "application/x-git-receive-pack-request"}
    return who.cas.ask(
        "POST",
        f"/{who.full}.git/git-receive-pack",
        token=who.token,
        body=pkt(command) + FLUSH + pack(sent),
        headers=headers,
    )


def verify(who: Person, known: Known) -> Answer:
    return who.post(f"/{who.full}.git/info/lfs/verify", oid=known.oid, size=known.size)


DOORS: dict[str, Callable[[Person, Known], Answer]] = {
    "lfs upload": lambda who, known: batch(who, known, "upload"),
    "lfs upload, multipart": lambda who, known: batch(who, known, "upload", "multipart"),
    "lfs upload, xet": lambda who, known: batch(who, known, "upload", "xet"),
    "lfs download": lambda who, known: batch(who, known, "download"),
    "lfs verify": verify,
    "commit": lambda who, known: who.commit(lfs_line(known, size=known.size)),
    "commit of another size": lambda who, known: who.commit(lfs_line(known, size=1)),
    "copy": lambda who, known: who.commit(lfs_line(known)),
    "copy in a pull request": lambda who, known: who.commit(lfs_line(known), query="?create_pr=1"),
    "bucket": bucket_line,
    "git push": git_push,
    "bucket, copy": bucket_copy,
    "reconstruction v1": lambda who, known: who.call(
        "GET", f"/v1/reconstructions/{known.file.hash}"
    ),
    "reconstruction v2": lambda who, known: who.call(
        "GET", f"/v2/reconstructions/{known.file.hash}"
    ),
    "reconstructions, many": lambda who, known: who.call(
        "GET", f"/v1/reconstructions?file_id={known.file.hash}"
    ),
    "file size": lambda who, known: who.call("HEAD", f"/v1/files/{known.file.hash}"),
    "dedup query": lambda who, known: who.call("GET", f"/v1/chunks/default/{known.chunk}"),
    "xorb": lambda who, known: who.call("HEAD", f"/v1/xorbs/default/{known.xorb}"),
    "shard, guessed": lambda who, known: who.call(
        "POST", "/v1/shards", shard(known.file, b"\1" * 32)
    ),
    "resolve": lambda who, known: who.ask("GET", f"/{known.place}/resolve/main/w.bin"),
    "resolve, head": lambda who, known: who.ask("HEAD", f"/{known.place}/resolve/main/w.bin"),
    "resolve-cache": lambda who, known: who.ask(
        "GET", f"/api/resolve-cache/models/{known.place}/main/w.bin"
    ),
    "raw": lambda who, known: who.ask("GET", f"/{known.place}/raw/main/w.bin"),
    "xet token": lambda who, known: who.ask(
        "GET", f"/api/models/{known.place}/xet-read-token/main"
    ),
    "copy across repos": lambda who, known: who.post(
        f"/api/models/{known.place}/lfs-files/duplicate",
        target={"type": "model", "name": who.full},
        files=[{"sha256": known.oid, "xetHash": known.file.hash, "filename": "w.bin"}],
    ),
    "duplicate": lambda who, known: who.post(
        f"/api/models/{known.place}/duplicate", repository=f"{who.name}/copy"
    ),
}
NO_COMMIT = "0" * 40
BY_SOURCE = ("bucket, copy",)  # these name a hash and a place; a gate is told of any hash alike
BY_PLACE = (
    "resolve", "resolve, head", "resolve-cache", "raw", "xet token", "copy across repos",
    "duplicate",
)  # fmt: skip


# What hides the file. The owner's notes that she uploaded it are used up by her commit.


def private(cas: Cas, vault: Repo) -> None:
    cas.hub.catalog.repos.set(OPERATOR, "model", vault.full, private=True)


def gated(cas: Cas, vault: Repo) -> None:
    cas.hub.catalog.repos.set(OPERATOR, "model", vault.full, gated="manual")


def deleted(cas: Cas, vault: Repo) -> None:
    cas.hub.catalog.repos.delete(OPERATOR, "model", vault.full)


def left(cas: Cas, vault: Repo) -> None:
    """Private, and Bob was a member until now."""
    private(cas, vault)
    cas.hub.catalog.accounts.set_role("lab", "bob", "write")
    cas.hub.catalog.accounts.set_role("lab", "bob", None)


def quarantined(cas: Cas, vault: Repo) -> None:
    """Private, and taken out of service by the operator."""
    private(cas, vault)
    with cas.hub.catalog.db.write() as conn:
        conn.execute(update(s.repo).where(s.repo.c.id == vault.id).values(disabled=True))


STATES = (private, gated, deleted, left, quarantined)


@dataclass(frozen=True)
class World:
    cas: Cas
    ann: Person
    bob: Person
    vault: Repo


@pytest.fixture
def world() -> Iterator[World]:
    with serve(table, lfs_multipart_bytes_min=1000, lfs_part_bytes=5000) as cas:
        accounts = cas.hub.catalog.accounts
        cas.user("ann")
        accounts.create("lab", "org")
        accounts.set_role("lab", "ann", "admin")
        ann = Person(cas, "ann", "lab/vault")
        ann.send(SECRET)
        bob = Person(cas, "bob", "bob/m")
        vault = cas.hub.catalog.repos.find(OPERATOR, "model", "lab/vault")
        yield World(cas, ann, bob, vault)


def bare(answer: Answer, known: Known) -> tuple[int, dict[str, str], bytes]:
    """An answer without what differs each time, and without what was asked for."""
    heads = {name.lower(): value for name, value in answer.headers.items()}
    request_id = heads["x-request-id"]
    for name in VARYING:
        del heads[name]
    body = SIGNED.sub(b"/lfs/TOKEN", answer.body.replace(request_id.encode(), b"ID"))
    for name in known.names:
        heads = {head: value.replace(name, "NAME") for head, value in heads.items()}
        body = body.replace(name.encode(), b"NAME")
    return answer.status, heads, body


@pytest.mark.parametrize("hide", STATES)
def test_a_hash_opens_no_door_and_tells_nothing(
    world: World, hide: Callable[[Cas, Repo], None]
) -> None:
    hide(world.cas, world.vault)
    hidden = Known(SECRET, "lab/vault")
    for door, knock in DOORS.items():
        got = knock(world.bob, hidden)
        assert not any(chunk[:64] in got.body for chunk in SECRET.chunks), door
        if hide is gated and door in BY_PLACE:  # the page is public: its gate may be told
            assert (got.status, got.headers["X-Error-Code"]) == (403, "GatedRepo"), door
            continue
        at_the_gate = hide is gated and door in BY_SOURCE
        absent = Known(RANDOM, "lab/vault" if at_the_gate else "lab/vaulx")
        assert bare(got, hidden) == bare(knock(world.bob, absent), absent), door
        if door.startswith("lfs upload"):
            assert (b'"actions"' in got.body) == ("xet" not in door), "he is to upload it himself"
        elif door == "lfs download":
            assert got.json["objects"][0]["error"]["code"] == 404
        elif door == "git push":
            assert b"ng refs/heads/probe" in got.body, "git reads refusals in the report"
        else:
            assert got.status in (400, 404, 422), door
    assert held(world, "bob/m") == set()


def held(world: World, full: str) -> set[str]:
    """The files of a repo that someone committed."""
    catalog = world.cas.hub.catalog
    repo = catalog.repos.find(OPERATOR, "model", full)
    tree = catalog.refs.resolve(repo, "main").tree
    return {entry.path for entry in catalog.files.list(repo, tree, recursive=True) if entry.lfs}


def test_the_same_doors_open_for_the_owner(world: World) -> None:
    """Or the test above would pass on a hub that answers nobody."""
    private(world.cas, world.vault)
    known = Known(SECRET, "lab/vault")
    for door, knock in DOORS.items():
        got = knock(world.ann, known)
        if door in ("commit of another size", "shard, guessed"):
            assert got.status == 400, door
        else:
            assert got.status == 200, (door, got.body)
        if door in ("lfs upload", "lfs upload, multipart"):
            assert "actions" not in got.json["objects"][0], "she need not send it again"
        if door == "resolve":
            assert got.body == SECRET.data


@pytest.mark.parametrize("hide", STATES)
def test_one_who_has_the_bytes_may_link_them(
    world: World, hide: Callable[[Cas, Repo], None]
) -> None:
    """Sent in full, they are his, whoever hides them: and he cannot tell that somebody does."""
    hide(world.cas, world.vault)
    world.bob.send(SECRET)
    assert held(world, "bob/m") == {"w.bin"}
    assert world.bob.ask("GET", "/bob/m/resolve/main/w.bin").body == SECRET.data


@pytest.mark.parametrize("hide", [private, deleted, left, quarantined])
def test_without_a_token_it_is_the_same(world: World, hide: Callable[[Cas, Repo], None]) -> None:
    hide(world.cas, world.vault)
    hidden, absent = Known(SECRET, "lab/vault"), Known(RANDOM, "lab/vaulx")
    nobody = Nobody(world.cas)
    for door in BY_PLACE:
        knock = DOORS[door]
        got = knock(nobody, hidden)
        assert got.status == 401, door
        assert bare(got, hidden) == bare(knock(nobody, absent), absent), door


class Nobody(Person):
    """Anonymous: there is nothing to set up."""

    def __init__(self, cas: Cas) -> None:
        self.cas = cas
        self.name, self.full = "nobody", "nobody/m"

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        return self.cas.ask(method, path, body=body)


GATED_PAGES = [
    ("GET", "/api/models/lab/vault?blobs=true", None),
    ("GET", "/api/models/lab/vault/revision/main?blobs=true", None),
    ("GET", "/api/models/lab/vault/tree/main?recursive=true&expand=true", None),
    ("POST", "/api/models/lab/vault/paths-info/main", b"paths=w.bin&expand=true"),
    ("GET", "/api/models/lab/vault/commits/main", None),
    ("GET", "/api/models?author=lab&full=true", None),
    (
        "POST",
        "/api/models/lab/vault/preupload/main?create_pr=1",
        json.dumps({"files": [{"path": "w.bin", "size": 9, "sample": "AAAA"}]}).encode(),
    ),
]


@pytest.mark.parametrize(("method", "path", "body"), GATED_PAGES)
def test_the_page_of_a_gated_repo_tells_no_hash(
    world: World, method: str, path: str, body: bytes | None
) -> None:
    """Names and sizes are public there; what names the bytes is behind the gate with them."""
    before = world.bob.ask(method, path, body)
    gated(world.cas, world.vault)
    got = world.bob.ask(method, path, body)
    assert before.status == got.status == 200, got.body
    for name in Known(SECRET, "").names[:4]:
        assert name.encode() not in got.body
        assert name not in str(got.headers)
    told = [name.encode() in before.body for name in Known(SECRET, "").names[:4]]
    within = world.ann.ask(method, path, body)
    assert [name.encode() in within.body for name in Known(SECRET, "").names[:4]] == told


def test_rights_end_with_their_reason(world: World) -> None:
    """What was opened while he was a member closes at the next call (safety rule T5)."""
    cas, bob = world.cas, world.bob
    private(cas, world.vault)
    cas.hub.catalog.accounts.set_role("lab", "bob", "read")
    base, key = cas.key(bob.token, "lab/vault", "read")
    plan = f"{base}/v2/reconstructions/{SECRET.hash}"
    assert cas.ask("GET", plan, token=key).status == 200
    found = bob.post(
        "/lab/vault.git/info/lfs/objects/batch",
        operation="download",
        objects=[{"oid": SECRET.oid, "size": len(SECRET.data)}],
    ).json["objects"][0]
    address = found["actions"]["download"]["href"]
    assert cas.ask("GET", address).body == SECRET.data
    assert batch(bob, Known(SECRET, ""), "upload").json["objects"][0].get("actions") is None

    cas.hub.catalog.accounts.set_role("lab", "bob", None)
    assert cas.ask("GET", plan, token=key).status == 404
    assert cas.ask("GET", address).status == 404
    assert "actions" in batch(bob, Known(SECRET, ""), "upload").json["objects"][0]


@pytest.mark.parametrize("transfer", ["basic", "multipart"])
@pytest.mark.parametrize("hide", [private, deleted, left])
def test_upload_addresses_end_with_the_right_to_propose(
    world: World, hide: Callable[[Cas, Repo], None], transfer: str
) -> None:
    """Bob may send to a public repo of others, for a pull request; then it is closed to him."""
    asked = batch(world.bob.at(world.vault.full), Known(RANDOM, ""), "upload", transfer)
    upload = asked.json["objects"][0]["actions"]["upload"]
    address = upload["header"]["00001"] if transfer == "multipart" else upload["href"]
    piece = RANDOM.data[: 5000 if transfer == "multipart" else None]
    assert world.cas.ask("PUT", address, body=piece).status == 200
    hide(world.cas, world.vault)
    answer = world.cas.ask("PUT", address, body=piece)
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_a_deleted_person_may_nothing_more(world: World) -> None:
    """Their token, their access token and their signed addresses end with the account."""
    cas = world.cas
    cas.hub.catalog.accounts.create("temp", "user")
    token = cas.hub.catalog.tokens.create("temp", "t", "write")
    base, key = cas.key(token, "lab/vault", "read")
    plan = f"{base}/v2/reconstructions/{SECRET.hash}"
    asked = json.dumps(
        {"operation": "download", "objects": [{"oid": SECRET.oid, "size": len(SECRET.data)}]}
    ).encode()
    reply = cas.ask("POST", "/lab/vault.git/info/lfs/objects/batch", token=token, body=asked)
    address = reply.json["objects"][0]["actions"]["download"]["href"]
    assert cas.ask("GET", plan, token=key).status == cas.ask("GET", address).status == 200
    cas.hub.catalog.accounts.delete("temp")
    assert cas.access(token, "lab/vault", "read").status == 401
    assert cas.ask("GET", plan, token=key).status == 401
    assert cas.ask("GET", address).status == 401
