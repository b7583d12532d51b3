"""Quarantine: the objects of a push, unpacked and checked one by one, outside of the catalog.

    unpack(pack, quarantine, outside, limits)    every object whole, under its own id
    quarantine.facts(oids), .body(oid)           what there is
    quarantine.reach(oids), .staged()            what the refs will lead to, ready to be inserted

A push that is refused has left nothing: only objects that a new ref reaches leave the quarantine,
after all of them were looked at (`git_verify`). Differences are resolved against objects of the
pack or of the repo (`outside`), each result being kept whole, so that the length of a chain costs
nothing; the sum of all bytes that a pack inflates to is limited.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from headwater.catalog.db import IN_MAX
from headwater.catalog.git import object_id
from headwater.errors import Malformed, TooLarge
from headwater.formats import git_object
from headwater.formats.git_object import SHORT_OBJECT_BYTES_MAX, TREE_BYTES_MAX
from headwater.formats.git_pack import Entry, Inflater, PackFile, apply_delta, delta_size
from headwater.formats.lfs_pointer import POINTER_BYTES_MAX, parse_pointer
from headwater.names import Digest
from headwater.store.cache import Cache

PACK_OBJECTS_MAX = 500_000  # a history of some 100,000 files and commits
INFLATED_TIMES = 8  # all bytes of a pack, beside the limit of the body: text packs five to one
DELTA_DEPTH_MAX = 4095  # git writes no longer chain
WAITING_MAX = 50_000  # differences whose base comes later; git writes bases first
BODIES_CACHE_BYTES = 32 * 2**20
STAGED_BYTES = 8 * 2**20  # inserted in one transaction
_ZLIB_LEVEL = 1

TABLES = """
    CREATE TABLE object (
        n INTEGER PRIMARY KEY, oid TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
        size INTEGER NOT NULL, lfs_oid TEXT, lfs_bytes INTEGER,
        reached INTEGER NOT NULL DEFAULT 0, proven INTEGER NOT NULL DEFAULT 0, data BLOB
    );
    CREATE TABLE outside (oid TEXT PRIMARY KEY, kind TEXT NOT NULL) WITHOUT ROWID;
"""

Outside = Callable[[str], tuple[str, bytes] | None]


@dataclass(frozen=True, slots=True)
class Facts:
    kind: str
    size_bytes: int
    lfs: tuple[Digest, int] | None


@dataclass(frozen=True, slots=True)
class Row:
    """An object as the catalog keeps it."""

    oid: str
    kind: str
    size_bytes: int
    data: bytes  # zlib


class Quarantine:
    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def add(self, oid: str, kind: str, body: bytes, data: bytes | None = None) -> None:
        """Keep an object; `data` is its zlib form, if that is at hand."""
        pointer = None
        if kind == "blob" and len(body) <= POINTER_BYTES_MAX:
            pointer = parse_pointer(body)
        packed = data if data is not None else zlib.compress(body, _ZLIB_LEVEL)
        self._insert(oid, kind, len(body), packed, pointer)

    def add_huge(self, oid: str, size_bytes: int) -> None:
        """Note a blob that is too large to be kept: its path will be named in the refusal."""
        self._insert(oid, "blob", size_bytes, None, None)

    def _insert(
        self, oid: str, kind: str, size: int, data: bytes | None, lfs: tuple[Digest, int] | None
    ) -> None:
        lfs_oid, lfs_bytes = (str(lfs[0]), lfs[1]) if lfs else (None, None)
        self.db.execute(
            "INSERT OR IGNORE INTO object (oid, kind, size, data, lfs_oid, lfs_bytes) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (oid, kind, size, data, lfs_oid, lfs_bytes),
        )

    def facts(self, oids: Sequence[str]) -> dict[str, Facts]:
        """Those of `oids` that are here."""
        found: dict[str, Facts] = {}
        for at in range(0, len(oids), IN_MAX):
            part = oids[at : at + IN_MAX]
            marks = ",".join("?" * len(part))
            query = f"SELECT oid, kind, size, lfs_oid, lfs_bytes FROM object WHERE oid IN ({marks})"  # noqa: S608
            for oid, kind, size, lfs_oid, lfs_bytes in self.db.execute(query, part):
                lfs = (Digest(lfs_oid), int(lfs_bytes)) if lfs_oid else None
                found[oid] = Facts(kind, size, lfs)
        return found

    def kind(self, oid: str) -> str | None:
        row = self.db.execute("SELECT kind FROM object WHERE oid = ?", (oid,)).fetchone()
        return row[0] if row else None

    def body(self, oid: str) -> bytes:
        """The body of an object that is here and not huge."""
        row = self.db.execute("SELECT data FROM object WHERE oid = ?", (oid,)).fetchone()
        return zlib.decompress(row[0])

    def reach(self, oids: Iterable[str]) -> None:
        """Note that a new ref leads to these, as far as they are here."""
        self.db.executemany("UPDATE object SET reached = 1 WHERE oid = ?", [(oid,) for oid in oids])

    def prove(self, oids: Iterable[str]) -> None:
        """Note that the bytes behind these pointers are the pusher's."""
        self.db.executemany("UPDATE object SET proven = 1 WHERE oid = ?", [(oid,) for oid in oids])

    def lean_on(self, objects: Iterable[tuple[str, str]]) -> None:
        """Note (id, kind) of what new trees name and the repo has already."""
        self.db.executemany("INSERT OR IGNORE INTO outside VALUES (?, ?)", objects)

    def needed(self) -> Iterator[list[tuple[str, str]]]:
        """Those, and what was staged, in parts: all that must be in the repo when its refs move,
        since gc may have come by."""
        cursor = self.db.execute(
            "SELECT oid, kind FROM outside UNION ALL "
            "SELECT oid, kind FROM object WHERE reached AND NOT proven"
        )
        while part := cursor.fetchmany(IN_MAX):
            yield part

    def staged(self) -> Iterator[list[Row]]:
        """Everything reached but proven pointers, in parts of some megabytes."""
        some: list[Row] = []
        some_bytes = 0
        cursor = self.db.execute(
            "SELECT oid, kind, size, data FROM object WHERE reached AND NOT proven ORDER BY n"
        )
        for row in cursor:
            some.append(Row(*row))
            some_bytes += len(row[3])
            if len(some) >= IN_MAX or some_bytes >= STAGED_BYTES:
                yield some
                some, some_bytes = [], 0
        if some:
            yield some

    def reached(self) -> tuple[int, int]:
        """(how many objects new refs lead to, their bytes as kept)."""
        query = "SELECT count(*), COALESCE(SUM(LENGTH(data)), 0) FROM object WHERE reached"
        count, size_bytes = self.db.execute(query).fetchone()
        return int(count), int(size_bytes)

    def pointers(self) -> Iterator[list[tuple[Digest, int]]]:
        """The large files behind proven and reached pointers, in parts."""
        cursor = self.db.execute(
            "SELECT lfs_oid, lfs_bytes FROM object WHERE reached AND proven ORDER BY n"
        )
        while part := cursor.fetchmany(IN_MAX):
            yield [(Digest(oid), size) for oid, size in part]


@dataclass(frozen=True, slots=True)
class Limits:
    blob_bytes_max: int  # larger files go by LFS
    pack_bytes_max: int


class _Unpack:
    def __init__(
        self, pack: PackFile, quarantine: Quarantine, outside: Outside, limits: Limits
    ) -> None:
        self.pack = pack
        self.quarantine = quarantine
        self.outside = outside
        self.blob_bytes_max = limits.blob_bytes_max
        self.body_bytes_max = max(limits.blob_bytes_max, TREE_BYTES_MAX)
        self.left_bytes = limits.pack_bytes_max * INFLATED_TIMES
        # Where each resolved object lies, its id and the length of its chain: 30 bytes an object.
        self.offsets = array("Q")
        self.oids = bytearray()
        self.depths = array("H")
        self.late: dict[int, tuple[str, int]] = {}  # the same of those that had to wait
        self.fresh: list[tuple[int, str]] = []  # resolved, and perhaps waited for
        self.cache: Cache[str, tuple[str, bytes]] = Cache(BODIES_CACHE_BYTES)
        self.waiting: dict[int | str, list[int]] = {}  # offsets, by the base that has not come yet
        self.waiting_count = 0

    def run(self) -> None:
        if self.pack.count > PACK_OBJECTS_MAX:
            raise TooLarge(
                f"the pack has {self.pack.count} objects; the limit is {PACK_OBJECTS_MAX}. "
                "Push the history in parts"
            )
        self.pack.check_sum()
        for entry, inflater in self.pack.entries():
            if entry.kind is not None:
                self._whole(entry, inflater)
            else:
                self._delta(entry, inflater)
            while self.fresh:
                for key in self.fresh.pop():  # its offset, its id
                    for offset in self.waiting.pop(key, ()):
                        self.waiting_count -= 1
                        entry = self.pack.entry(offset)
                        self._delta(entry, Inflater(self.pack, entry))
        if self.waiting_count:
            raise Malformed("the pack lacks the base of a difference, and the repo has none either")

    def _whole(self, entry: Entry, inflater: Inflater) -> None:
        kind = str(entry.kind)
        self._spend(entry.size_bytes)
        if kind == "blob" and entry.size_bytes > self.blob_bytes_max:
            sha = hashlib.sha1(f"blob {entry.size_bytes}\0".encode(), usedforsecurity=False)
            for piece in inflater.pieces():
                sha.update(piece)
            self.quarantine.add_huge(sha.hexdigest(), entry.size_bytes)
            self._resolved(entry.offset, sha.hexdigest(), 0)
            return
        self._small(entry.size_bytes)
        body = inflater.body()
        self._keep(entry.offset, kind, body, 0, self.pack.raw(entry, inflater.end))

    def _delta(self, entry: Entry, inflater: Inflater) -> None:
        base = entry.base
        assert base is not None, "a difference has a base"
        self._spend(entry.size_bytes)
        self._small(entry.size_bytes)
        delta = inflater.body()
        found = self._base(base)
        if found is None:
            self.waiting.setdefault(base, []).append(entry.offset)
            self.waiting_count += 1
            if self.waiting_count > WAITING_MAX:
                raise TooLarge("the pack is out of order: too many differences before their base")
            return
        kind, body, depth = found
        if depth >= DELTA_DEPTH_MAX:
            raise Malformed(f"a chain of differences is longer than {DELTA_DEPTH_MAX}")
        self._small(delta_size(delta))
        self._spend(delta_size(delta))
        made = apply_delta(body, delta, self.body_bytes_max)
        self._keep(entry.offset, kind, made, depth + 1, None)

    def _base(self, base: int | str) -> tuple[str, bytes, int] | None:
        """(kind, body, depth) of a base, None when it has not come yet."""
        depth = 0
        if isinstance(base, str):
            oid = base
        elif base in self.late:
            oid, depth = self.late[base]
        else:
            at = bisect_left(self.offsets, base)
            if at == len(self.offsets) or self.offsets[at] != base:
                return None
            oid, depth = self.oids[at * 20 : at * 20 + 20].hex(), self.depths[at]
        if (cached := self.cache.get(oid)) is not None:
            return *cached, depth
        facts = self.quarantine.facts([oid]).get(oid)
        if facts is not None:
            if facts.kind == "blob" and facts.size_bytes > self.blob_bytes_max:
                raise TooLarge(
                    f"a file of {facts.size_bytes} bytes is in the pack; files over "
                    f"{self.blob_bytes_max} bytes go by git-lfs"
                )
            found: tuple[str, bytes] | None = (facts.kind, self.quarantine.body(oid))
        else:
            found = self.outside(oid) if isinstance(base, str) else None
        if found is None:
            return None
        self.cache.put(oid, found, len(found[1]) + 100)
        return *found, depth

    def _keep(self, offset: int, kind: str, body: bytes, depth: int, data: bytes | None) -> None:
        limit = {"tree": TREE_BYTES_MAX, "blob": self.blob_bytes_max}.get(
            kind, SHORT_OBJECT_BYTES_MAX
        )
        if kind != "blob" and len(body) > limit:
            raise TooLarge(f"a {kind} of {len(body)} bytes; the limit is {limit}")
        oid = object_id(kind, body)
        try:
            git_object.check(kind, body)
        except Malformed as error:
            raise Malformed(f"{kind} {oid}: {error.message}") from None
        if len(body) > limit:
            self.quarantine.add_huge(oid, len(body))
        else:
            self.quarantine.add(oid, kind, body, data)
            self.cache.put(oid, (kind, body), len(body) + 100)
        self._resolved(offset, oid, depth)

    def _resolved(self, offset: int, oid: str, depth: int) -> None:
        """Note where an object lies, for those that are made from it."""
        if self.offsets and offset < self.offsets[-1]:
            self.late[offset] = (oid, depth)
        else:
            self.offsets.append(offset)
            self.oids += bytes.fromhex(oid)
            self.depths.append(depth)
        if self.waiting:
            self.fresh.append((offset, oid))

    def _small(self, size_bytes: int) -> None:
        if size_bytes > self.body_bytes_max:
            raise TooLarge(
                f"a packed object has {size_bytes} bytes; the limit is {self.body_bytes_max}. "
                "Large files go by git-lfs"
            )

    def _spend(self, size_bytes: int) -> None:
        self.left_bytes -= size_bytes
        if self.left_bytes < 0:
            raise TooLarge("the pack inflates to too many bytes; push the history in parts")


def unpack(pack: PackFile, quarantine: Quarantine, outside: Outside, limits: Limits) -> None:
    """Fill the quarantine. Malformed or TooLarge says what is wrong with the pack."""
    _Unpack(pack, quarantine, outside, limits).run()
