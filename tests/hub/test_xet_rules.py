"""What the CAS refuses, and what it lets nobody know: requests that no real client would send."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from headwater.errors import NoSpace, Unavailable
from headwater.formats.xet_hash import chunk_hash, dedup_hash, range_hash
from headwater.formats.xet_shard import ShardFile, ShardXorb, Term, build_shard, parse_shard
from headwater.hub import xet_shards
from headwater.names import Digest, XetHash
from headwater.store import Store
from hub.xet_kit import Answer, Cas, serve
from store.store_kit import MadeFile, MadeXorb, decoded, digest, flip

UNKNOWN = XetHash("ab" * 32)
WORDLESS = ("x-request-id", "date")


@pytest.fixture
def cas() -> Iterator[Cas]:
    with serve() as served:
        yield served


def made(count: int = 6, seed: int = 0, size: int = 2000) -> MadeXorb:
    rng = random.Random(seed)
    return MadeXorb.of([rng.randbytes(size + n) for n in range(count)])


def proofs(file: MadeFile) -> list[bytes]:
    return [
        range_hash([chunk_hash(chunk) for chunk in xorb.chunks[start:stop]])
        for xorb, start, stop in file.runs
    ]


def described(xorb: MadeXorb) -> ShardXorb:
    return ShardXorb.of(xorb.hash, [chunk_hash(chunk) for chunk in xorb.chunks], xorb.lengths)


def shard_of(
    file: MadeFile,
    *,
    name: XetHash | None = None,
    terms: list[Term] | None = None,
    ranges: list[bytes] | bool | None = True,
    sha256: Digest | bool | None = True,
    xorbs: list[ShardXorb] | None = None,
) -> bytes:
    """A shard of one file: right where nothing else is said."""
    listed = [described(xorb) for xorb in {xorb.hash: xorb for xorb, _, _ in file.runs}.values()]
    block = ShardFile.of(
        name or file.hash,
        file.terms if terms is None else terms,
        proofs(file) if ranges is True else ranges or None,
        file.oid if sha256 is True else sha256 or None,
    )
    return build_shard([block], listed if xorbs is None else xorbs)


class Person:
    """Someone with a repo and a write token for it."""

    def __init__(self, cas: Cas, name: str, *, private: bool = False) -> None:
        self.cas = cas
        self.token = cas.user(name)
        self.full = f"{name}/m"
        self.repo = cas.repo(self.full, private=private)
        self.base, self.key = cas.key(self.token, self.full, "write")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        return self.cas.ask(method, self.base + path, token=self.key, body=body, headers=headers)

    def post_xorb(self, xorb: MadeXorb, name: XetHash | None = None) -> Answer:
        return self.ask("POST", f"/v1/xorbs/default/{name or xorb.hash}", xorb.body)

    def post_shard(self, shard: bytes) -> Answer:
        return self.ask("POST", "/v1/shards", shard)

    def send(self, file: MadeFile) -> None:
        for xorb, _, _ in file.runs:
            assert self.post_xorb(xorb).json == {"was_inserted": True}
        answer = self.post_shard(shard_of(file))
        assert answer.json == {"result": 1}, answer.body

    def plan(self, file: MadeFile, version: int = 2, **headers: str) -> Answer:
        return self.ask("GET", f"/v{version}/reconstructions/{file.hash}", **headers)


@pytest.fixture
def ann(cas: Cas) -> Person:
    return Person(cas, "ann")


def refused(answer: Answer, status: int, word: str) -> None:
    assert answer.status == status, answer.body
    assert word in answer.json["error"]
    assert answer.headers["X-Error-Code"] == answer.json["errorCode"]
    assert answer.headers["X-Request-Id"] == answer.json["requestId"]


def bare(answer: Answer, name: str = "-") -> dict[str, object]:
    """An answer without what differs each time, and without the name that was asked for."""
    heads = {k.lower(): v.replace(name, "NAME") for k, v in answer.headers.items()}
    body = json.loads(answer.body.decode().replace(name, "NAME"))
    for word in WORDLESS:
        del heads[word]
    del body["requestId"]
    return {"status": answer.status, "headers": heads, "body": body}


# Xorbs


def test_a_xorb_of_another_name_is_refused(ann: Person) -> None:
    xorb = made()
    refused(ann.post_xorb(xorb, UNKNOWN), 400, "hash mismatch")
    refused(ann.ask("POST", "/v1/xorbs/default/nonsense", b"x"), 400, "not a Xet hash")
    refused(ann.ask("POST", f"/v1/xorbs/default/{xorb.hash}", xorb.body[:-1]), 400, "ends inside")
    assert not list(ann.cas.hub.store.xorbs())


def test_whether_a_xorb_was_known_is_not_told(cas: Cas, ann: Person) -> None:
    bob = Person(cas, "bob")
    xorb = made()
    first, again, others = ann.post_xorb(xorb), ann.post_xorb(xorb), bob.post_xorb(xorb)
    assert first.body == again.body == others.body == b'{"was_inserted":true}'
    for person in (ann, bob):
        known = person.ask("HEAD", f"/v1/xorbs/default/{xorb.hash}")
        assert known.status == 404  # no file has it yet, so there is nothing to build upon
    file = MadeFile(((xorb, 0, 6),))
    assert ann.post_shard(shard_of(file)).status == 200
    known = ann.ask("HEAD", f"/v1/xorbs/default/{xorb.hash}")
    assert (known.status, known.headers["Content-Length"]) == (200, str(len(xorb.body)))
    assert bob.ask("HEAD", f"/v1/xorbs/default/{xorb.hash}").status == 404
    assert bob.ask("HEAD", f"/v1/xorbs/default/{UNKNOWN}").status == 404


def test_a_xorb_with_a_footer_is_taken_without_it(ann: Person) -> None:
    xorb = made()
    body = xorb.body + b"XETBLOB\x01" + bytes(400)
    assert ann.ask("POST", f"/v1/xorbs/default/{xorb.hash}", body).status == 200
    index = ann.cas.hub.store.xorb(xorb.hash)
    assert index is not None
    assert index.stored_bytes == len(xorb.body)


# Shards


def test_every_claim_of_a_shard_is_checked(ann: Person) -> None:
    xorb = made()
    file = MadeFile(((xorb, 1, 3), (xorb, 4, 6)))
    ann.post_xorb(xorb)
    right = proofs(file)
    longer = [term._replace(raw_bytes=term.raw_bytes + 1) for term in file.terms]
    past = [Term(xorb.hash, 5000, 4, 99), file.terms[1]]
    other = described(made(seed=1))
    foreign = ShardXorb.of(xorb.hash, other.hashes, other.raw_lengths)
    for shard, word in [
        (shard_of(file, ranges=[right[1], right[0]]), "not with the chunks"),
        (shard_of(file, ranges=[right[0], bytes(32)]), "not with the chunks"),
        (shard_of(file, ranges=None), "without verification"),
        (shard_of(file, terms=longer), "not with the chunks"),
        (shard_of(file, terms=past), "not with the chunks"),
        (shard_of(file, xorbs=[foreign]), "not with the chunks"),
        (shard_of(file, xorbs=[other]), "not with the chunks"),
        (shard_of(file, name=UNKNOWN), "file hash mismatch"),
        (shard_of(file, sha256=digest(b"other")), "sha256 mismatch"),
        (b"no shard", "not a Xet shard"),
    ]:
        refused(ann.post_shard(shard), 400, word)
        event = json.loads(ann.ask("POST", "/v2/shards", shard).body.splitlines()[-1])
        assert event["type"] == "error"
        assert word in event["message"]
        assert event["retryable"] is False
    assert not list(ann.cas.hub.store.blobs())
    assert ann.plan(file).status == 404
    assert ann.post_shard(shard_of(file)).json == {"result": 1}


def test_a_xorb_is_of_no_use_to_one_who_only_knows_its_name(cas: Cas, ann: Person) -> None:
    """And the refusal does not tell whether it is stored."""
    xorb, absent = made(), made(seed=9)
    ann.send(MadeFile(((xorb, 0, 6),)))
    bob = Person(cas, "bob")
    answers = []
    for target in (xorb, absent):
        forged = [dedup_hash(b"k" * 32, target.hash.raw)]  # anything but the true one
        shard = shard_of(MadeFile(((target, 0, 6),)), ranges=forged, xorbs=[])
        answers.append(bob.post_shard(shard))
    assert bare(answers[0], xorb.hash) == bare(answers[1], absent.hash)
    refused(answers[0], 400, "not stored here, or not with the chunks")


def test_the_bytes_of_another_one_file_are_not_to_be_had_by_its_hash(cas: Cas, ann: Person) -> None:
    file = MadeFile(((made(), 0, 6),))
    ann.send(file)
    bob = Person(cas, "bob")
    for method, path in [
        ("GET", "/v1/reconstructions/{}"),
        ("GET", "/v2/reconstructions/{}"),
        ("GET", "/v1/reconstructions?file_id={}"),
    ]:
        foreign = bob.ask(method, path.format(file.hash))
        unknown = bob.ask(method, path.format(UNKNOWN))
        refused(foreign, 404, "No file")
        assert bare(foreign, file.hash) == bare(unknown, UNKNOWN)
        assert ann.ask(method, path.format(file.hash)).status == 200
    assert bob.ask("HEAD", f"/v1/files/{file.hash}").status == 404
    # In a repo that he may read it is found with a token for that repo, and with no other.
    cas.hold(ann.full, file.hash)
    assert bob.plan(file).status == 404
    base, key = cas.key(bob.token, ann.full, "read")
    assert cas.ask("GET", f"{base}/v2/reconstructions/{file.hash}", token=key).status == 200


def test_work_on_a_shard_is_shown_as_it_goes(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xet_shards, "EVENT_EVERY_S", 0.005)
    xorb = made(200)
    ann.post_xorb(xorb)
    files = [MadeFile(((xorb, n, n + 1),)) for n in range(200)]
    blocks = [ShardFile.of(f.hash, f.terms, proofs(f), f.oid) for f in files]
    answer = ann.ask("POST", "/v2/shards", build_shard(blocks, [described(xorb)]))
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    *going, last = map(json.loads, answer.body.splitlines())
    assert last == {"type": "result", "result": 1}
    assert {event["type"] for event in going} == {"validating"}
    assert {event["total"] for event in going} <= {0, 201}
    assert going == sorted(going, key=lambda event: event["verified"])
    assert len(list(ann.cas.hub.store.blobs())) == 200


def test_work_ends_when_nobody_listens(cas: Cas, monkeypatch: pytest.MonkeyPatch) -> None:
    """With v2; a v1 client hangs up out of impatience, and finds the work done when it is back."""
    monkeypatch.setattr(xet_shards, "EVENT_EVERY_S", 0.02)
    begun, ended = threading.Event(), threading.Event()

    def endless(*_: object, progress: Callable[[int], None], **__: object) -> None:
        begun.set()
        try:
            while True:
                time.sleep(0.005)
                progress(0)
        finally:
            ended.set()

    monkeypatch.setattr(Store, "write_chunked", endless)
    ann = Person(cas, "ann")
    xorb = made()
    ann.post_xorb(xorb)
    shard = shard_of(MadeFile(((xorb, 0, 6),)))
    head = f"POST {ann.base}/v2/shards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ann.key}\r\n"
    with socket.create_connection(("127.0.0.1", cas.port)) as client:
        client.sendall(f"{head}Content-Length: {len(shard)}\r\n\r\n".encode() + shard)
        assert begun.wait(10)
        assert b"validating" in client.recv(10_000) + client.recv(10_000)
        assert not ended.is_set()
    assert ended.wait(10)


def test_one_shard_cannot_ask_for_years_of_work() -> None:
    """Every file is small enough, all together are not; those known already cost nothing."""
    with serve(file_bytes_max=30_000) as cas:
        ann = Person(cas, "ann")
        xorb = made()
        ann.post_xorb(xorb)
        files = [MadeFile(((xorb, 0, 6), (xorb, n, n + 1))) for n in range(3)]
        shards = [
            build_shard([ShardFile.of(f.hash, f.terms, proofs(f), f.oid) for f in some], [])
            for some in (files, files[:2], files)
        ]
        refused(ann.post_shard(shards[0]), 413, "too large together")
        assert [ann.post_shard(shard).status for shard in shards[1:]] == [200, 200]
        large = MadeFile(((xorb, 0, 6), (xorb, 0, 6), (xorb, 0, 6)))
        refused(ann.post_shard(shard_of(large)), 413, "the limit is 30000")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [(NoSpace("Not enough storage."), 507, False), (Unavailable("Try again."), 503, True)],
)
def test_a_full_disk_and_a_busy_one(
    ann: Person,
    monkeypatch: pytest.MonkeyPatch,
    error: NoSpace,
    status: int,
    retryable: bool,
    version: int,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    xorb = made()
    ann.post_xorb(xorb)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_chunked", fail)
        answer = ann.ask("POST", f"/v{version}/shards", shard_of(MadeFile(((xorb, 0, 6),))))
    if version == 1:
        assert answer.status == status
        assert ("Retry-After" in answer.headers) == retryable
    else:
        assert json.loads(answer.body) == {
            "type": "error",
            "message": error.message,
            "retryable": retryable,
        }
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_xorb", fail)
        assert ann.post_xorb(xorb).status == status
    ann.send(MadeFile(((xorb, 0, 6),)))


def test_too_much_is_refused_before_it_is_read(ann: Person) -> None:
    huge = {"Content-Length": str(10**12)}
    for path in (f"/v1/xorbs/default/{UNKNOWN}", "/v1/shards", "/v2/shards", "/v1/telemetry"):
        refused(ann.ask("POST", path, b"", **huge), 413, "limit")


# Data


def ranges_of(answer: Answer) -> list[tuple[str, int, int]]:
    return [
        (part["url"], piece["bytes"]["start"], piece["bytes"]["end"])
        for parts in answer.json["xorbs"].values()
        for part in parts
        for piece in part["ranges"]
    ]


def fetch(cas: Cas, url: str, *spans: tuple[int, int]) -> Answer:
    text = ",".join(f"{first}-{last}" for first, last in spans)
    return cas.ask("GET", url, headers={"Range": f"bytes={text}"} if spans else {})


def test_an_address_gives_the_records_of_its_file_and_no_others(cas: Cas, ann: Person) -> None:
    xorb = made(8)
    file, rest = MadeFile(((xorb, 1, 3), (xorb, 5, 6))), MadeFile(((xorb, 0, 8),))
    ann.send(rest)
    ann.send(file)
    borders = xorb.borders
    (url, first, last), (other, *_) = ranges_of(ann.plan(file))
    assert (first, last) == (borders[1], borders[3] - 1)
    assert url == other
    answer = fetch(cas, url, (first, last))
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(xorb.body)}"
    assert answer.body == xorb.body[first : last + 1]
    assert decoded(answer.body) == b"".join(xorb.chunks[1:3])
    # A part of a run is a run; everything else of the xorb is not for this address.
    assert fetch(cas, url, (borders[2], borders[3] - 1)).status == 206
    for span in [
        (borders[0], borders[1] - 1),
        (borders[0], borders[3] - 1),
        (borders[1], borders[6] - 1),
        (borders[3], borders[5] - 1),
        (borders[6], len(xorb.body) - 1),
    ]:
        refused(fetch(cas, url, span), 403, "not for these bytes")
    refused(fetch(cas, url, (first, last), (borders[6], borders[7] - 1)), 403, "not for these")
    refused(fetch(cas, url), 403, "not for these bytes")
    refused(fetch(cas, url, (first, last + 10**9)), 400, "as the reconstruction names them")
    refused(fetch(cas, url, (first + 1, last)), 400, "cut a chunk")
    # The whole xorb is all that the other file consists of.
    ((whole, first, last),) = ranges_of(ann.plan(rest))
    assert fetch(cas, whole, (first, last)).body == fetch(cas, whole).body == xorb.body
    assert cas.ask("POST", whole, body=b"").status == 405


def test_many_ranges_in_one_request(cas: Cas, ann: Person) -> None:
    xorb = made(9)
    ann.send(file := MadeFile(tuple((xorb, n, n + 1) for n in range(0, 9, 2))))
    found = ranges_of(ann.plan(file))
    spans = [(first, last) for _, first, last in found]
    answer = fetch(cas, found[0][0], *spans)
    assert answer.status == 206
    kind, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.body.split(f"\r\n--{boundary}".encode())
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    for (first, last), part in zip(spans, parts[1:-1], strict=True):
        head, _, body = part.partition(b"\r\n\r\n")
        assert f"Content-Range: bytes {first}-{last}/{len(xorb.body)}".encode() in head
        assert body == xorb.body[first : last + 1]
    # Neither twice nor backwards: no request brings more than the xorb.
    for odd in (spans[::-1], [spans[0], spans[0]], [spans[0]] * 300):
        refused(fetch(cas, found[0][0], *odd), 400, "ascending")


def test_an_address_that_is_old_or_forged(cas: Cas, ann: Person) -> None:
    xorb = made()
    file = MadeFile(((xorb, 0, 6),))
    ann.send(file)
    ((url, first, last),) = ranges_of(ann.plan(file))
    path, token = urlsplit(url).path.rsplit("/", 1)
    payload = cas.hub.signer.open("xet-data", token)
    signed = cas.hub.signer.sign
    swapped = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
    for bad in (
        swapped,
        "x" * 60,
        ann.key,  # signed here, for another purpose
        signed("xet-data", payload, -1),
        signed("xet-data", {**payload, "form": payload["form"] + 1}, 60),
        signed("xet-data", {**payload, "oid": digest(b"nothing")}, 60),
        signed("xet-data", {**payload, "xorb": UNKNOWN}, 60),
    ):
        assert fetch(cas, f"{path}/{bad}", (first, last)).status == 403
    later = url.replace("/cas/g1/", "/cas/g7/")
    assert fetch(cas, later, (first, last)).status == 206  # it was signed: any generation will do
    assert fetch(cas, url.replace("/cas/g1/", "/cas/x1/"), (first, last)).status == 404


def test_rot_is_told_and_not_served(cas: Cas, ann: Person) -> None:
    xorb = made()
    file = MadeFile(((xorb, 0, 6),))
    ann.send(file)
    ((url, first, last),) = ranges_of(ann.plan(file))
    (path,) = (cas.folder / "data" / "store" / "xorbs").rglob(f"*{xorb.hash[4:]}*")
    flip(path, 100)
    answer = fetch(cas, url, (first, last))
    assert (answer.status, answer.headers["X-Error-Code"]) == (500, "BlobCorrupt")
    assert file.oid in answer.json["error"]
    # Sent once more, it is whole again.
    ann.post_xorb(xorb)
    assert fetch(cas, url, (first, last)).body == xorb.body


# Reconstructions


def test_ranges_past_the_end(ann: Person) -> None:
    file = MadeFile(((made(), 0, 6),))
    ann.send(file)
    size = len(file.data)
    answer = ann.plan(file, Range=f"bytes={size}-{size + 9}")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    last = ann.plan(file, Range=f"bytes={size - 1}-{size + 9}").json
    assert [term["range"] for term in last["terms"]] == [{"start": 5, "end": 6}]
    assert last["offset_into_first_range"] == len(file.chunks[5]) - 1
    refused(ann.plan(file, Range="bytes=0-1,9000-9001"), 400, "one range")


def test_an_empty_file(ann: Person) -> None:
    file = MadeFile(())
    assert ann.post_shard(shard_of(file, xorbs=[])).json == {"result": 1}
    assert ann.plan(file, Range="bytes=0-9").json["terms"] == []
    assert ann.ask("HEAD", f"/v1/files/{file.hash}").headers["Content-Length"] == "0"


def test_several_files_at_once(ann: Person) -> None:
    xorb = made()
    files = [MadeFile(((xorb, 0, 2),)), MadeFile(((xorb, 2, 6),))]
    for file in files:
        ann.send(file)
    asked = "&".join(f"file_id={file.hash}" for file in files)
    got = ann.ask("GET", f"/v1/reconstructions?{asked}").json
    assert set(got["files"]) == {file.hash for file in files}
    assert [entry["range"] for entry in got["fetch_info"][xorb.hash]] == [
        {"start": 0, "end": 2},
        {"start": 2, "end": 6},
    ]
    body = json.dumps([{"prefix": "default", "hash": file.hash} for file in files])
    posted = ann.ask("POST", "/v1/reconstructions", body.encode()).json
    assert posted["files"] == got["files"]
    many = "&".join(["file_id=" + "0" * 64] * 101)
    refused(ann.ask("GET", f"/v1/reconstructions?{many}"), 400, "at most")


# Dedup


def test_a_dedup_answer_shows_chunks_only_to_those_who_have_them(cas: Cas, ann: Person) -> None:
    xorb = made()
    file = MadeFile(((xorb, 0, 6),))
    ann.send(file)
    first = XetHash.of_raw(chunk_hash(xorb.chunks[0]))
    answer = ann.ask("GET", f"/v1/chunks/default/{first}")
    assert answer.status == 200
    (offered,) = parse_shard(answer.body).xorbs
    footer = answer.body[-200:]
    key = footer[72:104]
    created_s, expiry_s = (int.from_bytes(footer[at : at + 8], "little") for at in (104, 112))
    assert offered.hash == xorb.hash
    assert offered.hashes == [dedup_hash(key, chunk_hash(chunk)) for chunk in xorb.chunks]
    assert key != bytes(32)
    assert abs(created_s - time.time()) < 60
    assert expiry_s - created_s == 21 * 24 * 3600
    assert ann.ask("GET", f"/v1/chunks/default-merkledb/{first}").body[-128:-96] == key
    assert ann.ask("GET", f"/v1/chunks/default/{UNKNOWN}").status == 404
    # Somebody else hears nothing of it, in the words for a chunk that nobody has.
    bob = Person(cas, "bob")
    foreign = bob.ask("GET", f"/v1/chunks/default/{first}")
    unknown = bob.ask("GET", f"/v1/chunks/default/{UNKNOWN}")
    assert bare(foreign) == bare(unknown)
    # Once it is public he does, under a key of his own.
    cas.hold(ann.full, file.hash)
    answer = bob.ask("GET", f"/v1/chunks/default/{first}")
    assert answer.status == 200
    assert answer.body[-128:-96] != key


def test_a_dedup_answer_hides_the_chunks_of_other_files(cas: Cas, ann: Person) -> None:
    """One xorb, a public file and a private one: of the private one's chunks nothing is told."""
    xorb = made()
    public, private = MadeFile(((xorb, 0, 3),)), MadeFile(((xorb, 3, 6),))
    ann.send(public)
    ann.send(private)
    cas.hold(ann.full, public.hash)
    first = XetHash.of_raw(chunk_hash(xorb.chunks[0]))
    answer = Person(cas, "bob").ask("GET", f"/v1/chunks/default/{first}")
    (offered,) = parse_shard(answer.body).xorbs
    key = answer.body[-128:-96]
    true = [dedup_hash(key, chunk_hash(chunk)) for chunk in xorb.chunks]
    assert offered.hashes[:3] == true[:3]
    assert not set(offered.hashes[3:]) & set(true)
    # Ann, who has both, is told of both.
    answer = ann.ask("GET", f"/v1/chunks/default/{first}")
    (offered,) = parse_shard(answer.body).xorbs
    key = answer.body[-128:-96]
    assert offered.hashes == [dedup_hash(key, chunk_hash(chunk)) for chunk in xorb.chunks]


def test_what_is_offered_is_kept_for_as_long(cas: Cas, ann: Person) -> None:
    xorb = made()
    ann.send(MadeFile(((xorb, 0, 6),)))
    later = time.time()
    first = XetHash.of_raw(chunk_hash(xorb.chunks[0]))
    ann.ask("GET", f"/v1/chunks/default/{first}")
    ((_, touched_s, _),) = cas.hub.store.xorbs()
    assert touched_s >= later - 0.1
