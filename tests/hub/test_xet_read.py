"""Real clients read files that no client would have cut so: any chunks, any runs, any range.

What `test_xet_reconstruct` shows of the JSON alone is shown here of the whole way, with `hf_xet`
at the far end: it looks at lengths and never at hashes, so the server alone keeps bytes right.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from headwater.catalog.actors import OPERATOR
from headwater.formats.xet_hash import chunk_hash, range_hash
from headwater.formats.xet_shard import ShardFile, build_shard
from headwater.hub.signing import Signer
from hub.xet_kit import Answer, Cas, serve
from store.store_kit import MadeFile, MadeXorb, flip

pytestmark = pytest.mark.clients


@pytest.fixture
def cas() -> Iterator[Cas]:
    with serve() as served:
        served.user("ann")
        served.repo("ann/m")
        yield served


def any_file(seed: int, xorbs: int = 4, runs: int = 12) -> MadeFile:
    """Runs that overlap, touch, repeat and run backwards, over a few xorbs."""
    rng = random.Random(seed)
    texts = [bytes(range(256)), bytes(4), b"word "]
    made = []
    for _ in range(xorbs):
        chunks = [
            rng.randbytes(rng.randint(1, 9000)) if rng.random() < 0.6
            else rng.choice(texts) * rng.randint(1, 300)
            for _ in range(rng.randint(1, 20))
        ]  # fmt: skip
        made.append(MadeXorb.of(chunks))
    terms = []
    for _ in range(runs):
        xorb = rng.choice(made)
        start = rng.randrange(len(xorb.chunks))
        terms.append((xorb, start, rng.randint(start + 1, len(xorb.chunks))))
    return MadeFile(tuple(terms))


def keep(cas: Cas, token: str, file: MadeFile, **paths: str) -> tuple[str, str]:
    """Upload by plain requests; the CAS's path and the key."""
    at = {"xorb": "/v1/xorbs/default/{}", "shard": "/v1/shards", "method": "POST"} | paths
    base, key = cas.key(token, "ann/m", "write")
    for xorb in {xorb.hash: xorb for xorb, _, _ in file.runs}.values():
        path = base + at["xorb"].format(xorb.hash)
        assert cas.ask("POST", path, token=key, body=xorb.body).status == 200
    proofs = [
        range_hash([chunk_hash(chunk) for chunk in xorb.chunks[start:stop]])
        for xorb, start, stop in file.runs
    ]
    shard = build_shard([ShardFile.of(file.hash, file.terms, proofs, file.oid)], [])
    answer = cas.ask(at["method"], base + at["shard"], token=key, body=shard + bytes(400))
    assert answer.json == {"result": 1}, answer.body
    return base, key


CLIENTS: list[dict[str, Any]] = [
    {"client.reconstruction_api_version": 1},
    {"client.reconstruction_api_version": 2},
    {"client.reconstruction_api_version": 2, "client.enable_multirange_fetching": True},
]


@pytest.mark.parametrize("config", CLIENTS, ids=["v1", "v2", "multirange"])
@pytest.mark.parametrize("seed", range(3))
def test_any_range_of_any_file(cas: Cas, config: dict[str, Any], seed: int) -> None:
    ann = cas.user("ann")
    file = any_file(seed)
    keep(cas, ann, file)
    data, rng = file.data, random.Random(seed)
    size = len(data)
    asked = [(0, size), (size - 1, size), (0, 1)]
    borders = [0, *(len(b"".join(file.chunks[:n])) for n in range(1, len(file.chunks)))]
    for _ in range(6):  # on, before and after borders of chunks, where mistakes are
        start = max(rng.choice(borders) + rng.randint(-1, 1), 0)
        stop = min(max(rng.choice(borders) + rng.randint(-1, 1), start + 1), size)
        asked.append((min(start, size - 1), max(stop, min(start, size - 1) + 1)))
    for start, stop in asked:
        got = cas.download(ann, "ann/m", file.hash, size, start, stop, **config)
        assert got == data[start:stop], (start, stop)


OLDER = {
    "1.1": {"xorb": "/xorb/default/{}", "shard": "/shard/default/" + "0" * 64, "method": "PUT",
            "read": "/reconstruction/{}", "chunk": "/chunk/default/{}"},
    "1.2": {"xorb": "/xorbs/default/{}", "shard": "/shards",
            "read": "/reconstructions/{}", "chunk": "/chunks/default/{}"},
    "1.5": {"xorb": "/v1/xorbs/default/{}", "shard": "/shards",
            "read": "/v1/reconstructions/{}", "chunk": "/v1/chunks/default/{}"},
    "1.8": {"xorb": "/v1/xorbs/default/{}", "shard": "/v1/shards",
            "read": "/v1/reconstructions/{}", "chunk": "/v1/chunks/default-merkledb/{}"},
}  # fmt: skip


@pytest.mark.parametrize("version", OLDER)
def test_the_whole_way_by_the_paths_of_each_version(cas: Cas, version: str) -> None:
    """Up, asked for, planned, fetched: with the words that this `hf_xet` uses."""
    paths = OLDER[version]
    file = any_file(7)
    put = {name: paths[name] for name in ("xorb", "shard", "method") if name in paths}
    base, key = keep(cas, cas.user("ann"), file, **put)
    plan = cas.ask("GET", base + paths["read"].format(file.hash), token=key).json
    for entries in plan["fetch_info"].values():
        for entry in entries:
            where = entry["url_range"]
            span = f"bytes={where['start']}-{where['end']}"
            assert cas.ask("GET", entry["url"], headers={"Range": span}).status == 206
    first, *_ = file.chunks
    chunk = file.runs[0][0].hash.of_raw(chunk_hash(first))
    assert cas.ask("GET", base + paths["chunk"].format(chunk), token=key).status == 200


def test_a_client_asks_again_when_its_addresses_are_old(
    cas: Cas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """403 at the data door sends it back to the reconstruction, and nobody notices."""
    ann = cas.user("ann")
    file = any_file(3)
    keep(cas, ann, file)
    sign, made = Signer.sign, []

    def old_at_first(self: Signer, purpose: str, payload: Any, ttl_s: int) -> str:
        if purpose == "xet-data":
            made.append(purpose)
            ttl_s = -1 if len(made) <= len(payload_xorbs) else ttl_s
        return sign(self, purpose, payload, ttl_s)

    payload_xorbs = {xorb.hash for xorb, _, _ in file.runs}
    monkeypatch.setattr(Signer, "sign", old_at_first)
    assert cas.download(ann, "ann/m", file.hash, len(file.data)) == file.data
    plans = [line for line in cas.requests if "/reconstructions/" in line]
    assert len(plans) > 1


@pytest.mark.parametrize("seed", range(4))
def test_rot_reaches_no_client(cas: Cas, seed: int) -> None:
    """One flipped bit somewhere in a xorb: the client gets right bytes, or fails. Never others."""
    ann = cas.user("ann")
    file = any_file(seed, xorbs=1, runs=3)
    keep(cas, ann, file)
    ((xorb, *_),) = {run[0].hash: run for run in file.runs}.values()
    (path,) = (cas.folder / "data" / "store" / "xorbs").rglob(f"*{xorb.hash[4:]}*")
    rng, refused = random.Random(seed), 0
    for _ in range(3):
        at, mask = rng.randrange(path.stat().st_size), 1 << rng.randrange(8)
        flip(path, at, mask)
        try:
            got = cas.download(ann, "ann/m", file.hash, len(file.data))
        except Exception:  # the client's own kinds are not public
            refused += 1
        else:
            assert got == file.data, at
        flip(path, at, mask)
    assert refused
    assert cas.download(ann, "ann/m", file.hash, len(file.data)) == file.data


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers["X-Error-Code"]


def test_reading_ends_when_the_repo_closes(cas: Cas) -> None:
    """For one who reads it because all may: at the next call, gated, private or deleted (T5)."""
    file = any_file(5)
    keep(cas, cas.user("ann"), file)
    cas.hold("ann/m", file.hash)
    repos = cas.hub.catalog.repos
    base, key = cas.key(cas.user("bob"), "ann/m", "read")
    plan = f"{base}/v2/reconstructions/{file.hash}"
    assert cas.ask("GET", plan, token=key).status == 200
    repos.set(OPERATOR, "model", "ann/m", gated="manual")
    assert told(cas.ask("GET", plan, token=key)) == (403, "GatedRepo")
    repos.set(OPERATOR, "model", "ann/m", gated="", private=True)
    assert told(cas.ask("GET", plan, token=key)) == (404, "RepoNotFound")
    repos.set(OPERATOR, "model", "ann/m", private=False)
    assert cas.ask("GET", plan, token=key).status == 200
    repos.delete(OPERATOR, "model", "ann/m")
    assert told(cas.ask("GET", plan, token=key)) == (404, "RepoNotFound")


def test_an_address_is_for_five_minutes_and_says_no_name(cas: Cas) -> None:
    """It is all that outlives a right: so it is short, for one xorb, and of one store (T5)."""
    file = any_file(6)
    base, key = keep(cas, cas.user("ann"), file)
    answer = cas.ask("GET", f"{base}/v2/reconstructions/{file.hash}", token=key)
    addresses = [part["url"] for parts in answer.json["xorbs"].values() for part in parts]
    later = Signer(b"xet tests: thirty-two bytes or more", now=lambda: time.time() + 301)
    for address in addresses:
        token = urlsplit(address).path.rsplit("/", 1)[1]
        payload = cas.hub.signer.open("xet-data", token)
        assert set(payload) == {"xorb", "oid", "form", "part"}
        with pytest.raises(Exception, match="expired"):
            later.open("xet-data", token)
        assert "ann" not in json.dumps(payload)
