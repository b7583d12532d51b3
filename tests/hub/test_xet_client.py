"""The real `hf_xet` against a real server: what goes in comes out, and what is hidden stays so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import hf_xet
import numpy as np
import pytest

from headwater.names import Digest, XetHash
from hub.xet_kit import Cas, serve, weights

pytestmark = pytest.mark.clients

MB = 10**6


@pytest.fixture
def cas() -> Iterator[Cas]:
    with serve() as served:
        yield served


def noise(size_bytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size_bytes)


def sound(cas: Cas) -> bool:
    return not list(cas.hub.store.check(data=True))


def test_files_of_every_kind_come_back(cas: Cas) -> None:
    ann = cas.user("ann")
    cas.repo("ann/m")
    files = [weights(3_000_000), noise(1_000_001), b"x", b"line of text\n" * 30_000, bytes(700_000)]
    sent = cas.upload(ann, "ann/m", *files)
    for data, name in zip(files, sent.hashes, strict=True):
        assert cas.download(ann, "ann/m", name, len(data)) == data
        oid = cas.hub.catalog.blobs.by_xet_hash(XetHash(name))
        assert oid == hashlib.sha256(data).hexdigest()
    assert sound(cas)


def test_ranges(cas: Cas) -> None:
    ann = cas.user("ann")
    cas.repo("ann/m")
    data = weights(5_000_000)
    (name,) = cas.upload(ann, "ann/m", data).hashes
    size = len(data)
    for start, stop in [(0, 1), (1, 2), (0, size), (999_999, 7_000_001), (size - 1, size)]:
        assert cas.download(ann, "ann/m", name, size, start, stop) == data[start:stop]


def test_the_sha256_is_made_here_when_the_client_sends_none(cas: Cas) -> None:
    ann = cas.user("ann")
    cas.repo("ann/m")
    data = weights(200_000)
    cas.upload(ann, "ann/m", data, sha256=hf_xet.SKIP_SHA256)
    blob = cas.hub.store.find(Digest(hashlib.sha256(data).hexdigest()))
    assert blob is not None
    assert blob.size_bytes == len(data)


def test_a_wrong_sha256_is_refused_and_the_person_told(cas: Cas) -> None:
    ann = cas.user("ann")
    cas.repo("ann/m")
    with pytest.raises(Exception, match="sha256 mismatch"):
        cas.upload(ann, "ann/m", weights(200_000), sha256="1" * 64)
    assert not list(cas.hub.store.blobs())


def test_an_edited_copy_sends_only_what_changed(cas: Cas) -> None:
    ann = cas.user("ann")
    cas.repo("ann/m")
    data = weights(10_000_000)
    cas.upload(ann, "ann/m", data)
    before = stored_bytes(cas)
    edited = data[: 9 * MB] + b"edited" + data[9 * MB :]
    sent = cas.upload(ann, "ann/m", edited)
    assert sent.deduped_bytes > 19 * MB
    assert stored_bytes(cas) - before < MB
    assert cas.download(ann, "ann/m", sent.hashes[0], len(edited)) == edited


def stored_bytes(cas: Cas) -> int:
    return sum(size for _, _, size in cas.hub.store.xorbs())


def test_what_others_publish_is_deduped_against_and_what_they_hide_is_not(cas: Cas) -> None:
    ann, bob = cas.user("ann"), cas.user("bob")
    cas.repo("ann/open")
    cas.repo("ann/hidden", private=True)
    cas.repo("bob/m")
    shown, hidden = weights(4_000_000, 1), weights(4_000_000, 2)
    for full, data in (("ann/open", shown), ("ann/hidden", hidden)):
        (name,) = cas.upload(ann, full, data).hashes
        cas.hold(full, name)
    assert cas.upload(bob, "bob/m", shown).deduped_bytes == len(shown)
    sent = cas.upload(bob, "bob/m", hidden)
    assert sent.deduped_bytes == 0
    assert cas.download(bob, "bob/m", sent.hashes[0], len(hidden)) == hidden
    # What he sent once is his to build upon, whoever else has it.
    assert cas.upload(bob, "bob/m", hidden).deduped_bytes == len(hidden)


def test_one_question_brings_the_whole_of_a_large_file(cas: Cas) -> None:
    """A third of all xorbs has no chunk that clients ask for: the first chunk leads to all."""
    ann, bob = cas.user("ann"), cas.user("bob")
    cas.repo("ann/open")
    cas.repo("bob/m")
    data = weights(80_000_000)  # three xorbs
    (name,) = cas.upload(ann, "ann/open", data).hashes
    cas.hold("ann/open", name)
    sent = cas.upload(bob, "bob/m", data + b"more")
    assert sent.deduped_bytes > 159 * MB


def test_a_file_of_scattered_pieces(cas: Cas) -> None:
    """Many ranges of one xorb, fetched one by one and all at once."""
    ann = cas.user("ann")
    cas.repo("ann/m")
    data = noise(20 * MB)
    cas.upload(ann, "ann/m", data)
    pieces = [data[at : at + 1_500_000] for at in range(0, len(data), 2 * MB)]
    mixed = data[:300_000] + b"".join(pieces[::-1])  # the first chunk is what clients ask for
    sent = cas.upload(ann, "ann/m", mixed)
    assert sent.deduped_bytes > 9 * MB
    for multirange in (False, True):
        config = {"client.enable_multirange_fetching": multirange}
        got = cas.download(ann, "ann/m", sent.hashes[0], len(mixed), **config)
        assert got == mixed


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_of_the_protocol(cas: Cas, version: int) -> None:
    ann = cas.user("ann")
    cas.repo("ann/m")
    data = weights(1_000_000)
    config = {
        "client.shard_api_version": version,
        "client.reconstruction_api_version": version,
        "client.legacy_direct_xorb_upload": version == 1,
    }
    (name,) = cas.upload(ann, "ann/m", data, **config).hashes
    assert cas.download(ann, "ann/m", name, len(data), **config) == data


def test_upload_grants() -> None:
    with serve(xet_grants=True) as cas:
        ann = cas.user("ann")
        cas.repo("ann/m")
        data = weights(2_000_000)
        (name,) = cas.upload(ann, "ann/m", data).hashes
        assert cas.download(ann, "ann/m", name, len(data)) == data
        assert any("/grants/" in line for line in cas.requests)
        assert not any("POST" in line and "/v1/xorbs/" in line for line in cas.requests)


def test_anonymous_readers_of_a_public_repo(cas: Cas) -> None:
    ann = cas.user("ann")
    cas.repo("ann/m")
    data = weights(300_000)
    (name,) = cas.upload(ann, "ann/m", data).hashes
    cas.hold("ann/m", name)
    assert cas.download(None, "ann/m", name, len(data)) == data


def test_an_upload_that_is_only_proposed(cas: Cas) -> None:
    """Someone without the right to write sends a file for a pull request."""
    cas.user("ann")
    bob = cas.user("bob")
    cas.repo("ann/m")
    data = weights(300_000)
    sent = cas.upload(bob, "ann/m", data, rev="None?create_pr=1")
    assert cas.hub.catalog.blobs.by_xet_hash(XetHash(sent.hashes[0]))


def test_a_client_hears_why_it_may_not(cas: Cas) -> None:
    cas.user("ann")
    bob = cas.user("bob")
    cas.repo("ann/m")
    with pytest.raises(Exception, match=r"403|[Ff]orbidden|denied|auth"):
        cas.upload(bob, "ann/m", weights(1000))


def test_nothing_is_sent_twice_after_a_lost_reply(cas: Cas) -> None:
    """The same shard again: the file is known to be its sender's, and nothing is decoded."""
    ann = cas.user("ann")
    cas.repo("ann/m")
    data = weights(500_000)
    sent: list[Any] = [cas.upload(ann, "ann/m", data) for _ in range(2)]
    assert sent[0].hashes == sent[1].hashes
    assert len(list(cas.hub.store.blobs())) == 1
