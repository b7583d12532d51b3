"""Intake: an uploaded shard, from bytes that claim to files that are kept.

    Intake(hub).take(actor, data, note)

A shard says which chunks make which file. Nothing in it is believed: every xorb it names must be
stored, with exactly the chunks it lists; for every term it must prove, by a hash over the chunks'
own hashes, that its sender knows them (dedup replies give those away to nobody who lacks the
data); the file hash is made again, and the SHA-256 by decoding every byte. Only then a file is
kept: first in the store, durable, then in the catalog, then the caller answers.

A xorb that is missing and one that the sender cannot prove are told apart by no word of the answer.
A xorb of a single chunk has that chunk's hash for its name, so its name alone is the proof; names
of xorbs are told only to those who may read a file that is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from headwater.catalog.actors import Actor
from headwater.errors import BadRequest, Corrupt, Malformed, TooLarge
from headwater.formats.xet_hash import is_dedup_eligible, range_hash
from headwater.formats.xet_shard import ShardFile, ShardXorb, parse_shard
from headwater.hub.context import Hub
from headwater.names import Digest, XetHash
from headwater.store import ChunkedFile, XorbIndex

# Clients ask for the first chunk of a file and then for about one chunk in 64 MB. A third of all
# xorbs holds none that may be asked for, so an answer brings those that follow in the file, too.
NEIGHBOURS_OF_FIRST = 32  # 2 GB of file
NEIGHBOURS = 4  # of five xorbs in a row all lack an eligible chunk in one case of 150

Note = Callable[[int, int], None]  # (entries done, entries in all)


class Intake:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def take(self, actor: Actor, data: bytes, note: Note) -> None:
        """Check the shard and keep its files, durable when it returns.

        Malformed, BadRequest, DigestMismatch or TooLarge say what is wrong with it; files before
        the wrong one may have been kept. `note` is called often, and may raise to stop the work.
        """
        shard = parse_shard(data)
        total = len(shard.xorbs) + len(shard.files)
        for xorb in shard.xorbs:
            self._check_xorb(xorb)
        for file in shard.files:
            self._check_file(file)
        note(len(shard.xorbs), total)
        # A few records can name the same chunks over and over: years of work in one shard.
        left_bytes = self.hub.settings.file_bytes_max
        for number, file in enumerate(shard.files, len(shard.xorbs) + 1):
            held = self._held(actor, file)
            left_bytes -= 0 if held else file.raw_bytes
            if left_bytes < 0:
                raise TooLarge("the new files of this shard are too large together; send fewer")
            self._keep(actor, file, held, partial(note, number - 1, total))
            note(number, total)

    def _check_xorb(self, xorb: ShardXorb) -> None:
        """The listed chunks are those that are stored."""
        index = self.hub.store.xorb(xorb.hash)
        if (
            index is None
            or b"".join(xorb.hashes) != index.hash_bytes
            or xorb.raw_lengths != index.raw_lengths.tolist()
        ):
            raise _unknown(xorb.hash)

    def _check_file(self, file: ShardFile) -> None:
        """Every term is a run of a stored xorb, and its sender knows the chunks in it."""
        if file.raw_bytes > self.hub.settings.file_bytes_max:
            raise TooLarge(
                f"file {file.hash} of {file.raw_bytes} bytes; "
                f"the limit is {self.hub.settings.file_bytes_max}"
            )
        terms, proofs = file.terms, file.range_hashes
        if proofs is None and terms:
            raise Malformed(f"file {file.hash} comes without verification hashes")
        indexes = self._indexes(term.xorb for term in terms)
        for term, index, proof in zip(terms, indexes, proofs or (), strict=True):
            if (
                index is None
                or term.stop > len(index)
                or term.raw_bytes != index.raw_range_bytes(term.start, term.stop)
                or proof != range_hash(index.chunk_hash_bytes(term.start, term.stop))
            ):
                raise _unknown(term.xorb)

    def _held(self, actor: Actor, file: ShardFile) -> Digest | None:
        """The SHA-256 of this very file, if the actor may link it already: it was made here."""
        known = self.hub.catalog.blobs.by_xet_hash(file.hash)
        if known is None or file.sha256 not in (None, known):
            return None
        return known if known in self.hub.catalog.blobs.held(actor, [known]) else None

    def _keep(
        self, actor: Actor, file: ShardFile, held: Digest | None, tick: Callable[[], None]
    ) -> None:
        blobs, store = self.hub.catalog.blobs, self.hub.store
        blob = store.write_chunked(
            file.hash,
            file.terms,
            oid=held or file.sha256,
            trusted=held is not None,
            progress=lambda _bytes: tick(),
        )
        recipe = store.file(blob.oid)  # as kept: it may be an older one of the same bytes
        if recipe is None:
            raise Corrupt(f"blob {blob.oid} vanished while it was uploaded; upload it again")
        blobs.uploaded(
            actor,
            blob.oid,
            blob.size_bytes,
            xet_hash=recipe.file_hash,
            xorbs=recipe.xorbs(),
            eligible=self._offers(recipe),
        )

    def _offers(self, recipe: ChunkedFile) -> set[tuple[bytes, XetHash]]:
        """Which chunk leads to which xorbs of this file when a later upload asks for it."""
        terms = recipe.terms
        order = list(dict.fromkeys(term.xorb for term in terms))
        place = {xorb: number for number, xorb in enumerate(order)}
        offers: set[tuple[bytes, XetHash]] = set()
        for number, (term, index) in enumerate(
            zip(terms, self._indexes(term.xorb for term in terms), strict=True)
        ):
            if index is None:
                raise Corrupt(f"blob {recipe.oid} is damaged: its xorb {term.xorb} is missing")
            at = place[term.xorb]
            run = index.chunk_hash_bytes(term.start, term.stop)
            if number == 0:
                offers.update((run[:32], xorb) for xorb in order[at : at + NEIGHBOURS_OF_FIRST])
            for chunk in _eligible(run):
                offers.update((chunk, xorb) for xorb in order[at : at + 1 + NEIGHBOURS])
        return offers

    def _indexes(self, xorbs: Iterable[XetHash]) -> Iterator[XorbIndex | None]:
        """The index of each; a file mostly stays in one xorb for many terms."""
        last: tuple[XetHash, XorbIndex | None] | None = None
        for xorb in xorbs:
            if last is None or last[0] != xorb:
                last = xorb, self.hub.store.xorb(xorb)
            yield last[1]


def _eligible(run: bytes) -> Iterator[bytes]:
    for at in range(0, len(run), 32):
        if is_dedup_eligible(run[at : at + 32]):
            yield run[at : at + 32]


def _unknown(xorb: XetHash) -> BadRequest:
    return BadRequest(
        f"xorb {xorb} is not stored here, or not with the chunks that this shard describes. "
        "Upload it first."
    )
