"""How many parameters a model has, read from its safetensors headers: `{"parameters", "total"}`.

Headers are read with our own bounded parser, through the same verified door as downloads, and
remembered by content: a blob never changes. A file that is not valid counts for nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import Any

from headwater.catalog.models import Entry
from headwater.errors import HeadwaterError
from headwater.formats.safetensors import read_header
from headwater.names import Digest
from headwater.store.store import Store

FILES_MAX = 512  # shards of one model; the largest published has fewer
HEADER_BYTES_MAX = 8 * 2**20  # real ones are under 3 MB; a reader of a page does not wait longer
REMEMBERED_MAX = 4096  # blobs; some hundred bytes each


class Weights:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted = lru_cache(REMEMBERED_MAX)(self._count)

    def summary(self, entries: list[Entry]) -> dict[str, Any] | None:
        """Of the safetensors files among `entries`; None when there are none to count."""
        total: Counter[str] = Counter()
        files = [e for e in entries if e.lfs and e.path.endswith(".safetensors")]
        for entry in files[:FILES_MAX]:
            assert entry.lfs is not None
            total.update(dict(self._counted(entry.lfs.oid, entry.lfs.size_bytes)))
        if not total:
            return None
        return {"parameters": dict(total), "total": sum(total.values())}

    def _count(self, oid: Digest, size_bytes: int) -> tuple[tuple[str, int], ...]:
        def read(start: int, stop: int) -> bytes:
            return b"".join(bytes(piece) for piece in self._store.read(oid, start, stop))

        try:
            header = read_header(read, size_bytes, header_bytes_max=HEADER_BYTES_MAX)
        except HeadwaterError:
            return ()
        counts: Counter[str] = Counter()
        for tensor in header.tensors:
            counts[tensor.dtype] += math.prod(tensor.shape)
        return tuple(counts.items())
