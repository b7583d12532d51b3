"""Where things lie, and what may lie there: keys on the shelf, paths below the local root.

    blobs/ab/cd/<sha256>.plain | .chunked | .packed    xorbs/ab/cd/<xet hash>.xorb | .virtual
    tensors/ab/cd/<blake3>.tensor                      FORMAT
    tmp/, hot/ab/cd/<sha256>.plain                     (always local)

`blob_files`, `xorb_files` and `tensor_files` walk what is there; a name that no one here would
have written is told apart as stray, never touched. Keys are `str`: they are made from checked names
only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from headwater.errors import Unavailable
from headwater.names import Digest, TensorId, XetHash
from headwater.store.files import Folders
from headwater.store.shelf import Kept, Shelf, Unreadable

Files = Iterator[tuple[str, str, str]]

_BLOB = re.compile(r"([0-9a-f]{64})\.(plain|chunked|packed|held)\Z")
_XORB = re.compile(r"([0-9a-f]{64})\.(xorb|virtual)\Z")
_TENSOR = re.compile(r"([0-9a-f]{64})\.tensor\Z")


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one store, its shelf, and its folders on the local disk."""

    root: str
    folders: Folders = field(repr=False)
    shelf: Shelf = field(repr=False)

    @property
    def tmp(self) -> str:
        return os.path.join(self.root, "tmp")

    @property
    def parts(self) -> str:
        return os.path.join(self.root, "tmp", "parts")

    def plain(self, oid: Digest) -> str:
        return f"blobs/{oid[:2]}/{oid[2:4]}/{oid}.plain"

    def chunked(self, oid: Digest) -> str:
        return f"blobs/{oid[:2]}/{oid[2:4]}/{oid}.chunked"

    def packed(self, oid: Digest) -> str:
        return f"blobs/{oid[:2]}/{oid[2:4]}/{oid}.packed"

    def held(self, oid: Digest) -> str:
        """An empty file: while it is there, a virtual xorb needs the blob's bytes."""
        return f"blobs/{oid[:2]}/{oid[2:4]}/{oid}.held"

    def tensor(self, name: TensorId) -> str:
        return f"tensors/{name[:2]}/{name[2:4]}/{name}.tensor"

    def virtual(self, name: XetHash) -> str:
        return f"xorbs/{name[:2]}/{name[2:4]}/{name}.virtual"

    def xorb(self, name: XetHash) -> str:
        return f"xorbs/{name[:2]}/{name[2:4]}/{name}.xorb"

    def drop_other(self, oid: Digest, kept: Literal["plain", "chunked"]) -> None:
        """After a blob was published in one layout: remove it in the other, if it is there. A plain
        one that a virtual xorb is read out of stays."""
        with suppress(OSError, Unavailable):  # both are right; `check` names what is left over
            plain, chunked, packed = self.plain(oid), self.chunked(oid), self.packed(oid)
            if kept == "plain":
                self.shelf.drop(chunked, plain)
                self.shelf.drop(packed, plain)
            else:
                self.shelf.drop(plain, chunked, self.held(oid))

    def blob_files(self, unreadable: Unreadable | None = None) -> Files:
        """(key, name, 'plain', 'chunked', 'packed' or 'held') of each blob file, (key, '', '') of
        each stray.

        A folder that cannot be read is given to `unreadable`; without it, Unavailable is raised:
        who deletes what nothing needs must not take a folder it cannot see for an empty one.
        """
        keys = self.shelf.keys("blobs", unreadable or _give_up)
        return (_told(key, "blobs", _BLOB) for key in keys)

    def xorb_files(self, unreadable: Unreadable | None = None) -> Files:
        """(key, name, 'xorb' or 'virtual') of each xorb file, else as `blob_files`."""
        keys = self.shelf.keys("xorbs", unreadable or _give_up)
        return (_told(key, "xorbs", _XORB) for key in keys)

    def tensor_files(self, unreadable: Unreadable | None = None) -> Files:
        """(key, name, 'tensor') of each tensor file, else as `blob_files`."""
        keys = self.shelf.keys("tensors", unreadable or _give_up)
        return (_told(key, "tensors", _TENSOR) for key in keys)

    def tensors_kept(self) -> Iterator[tuple[str, Kept]]:
        """The name of each tensor, and its age and size."""
        for key, kept in self.shelf.list("tensors", _give_up):
            _, name, _ = _told(key, "tensors", _TENSOR)
            if name:
                yield name, kept

    def xorbs_kept(self) -> Iterator[tuple[str, Kept]]:
        """The name of each xorb, and its age and size."""
        for key, kept in self.shelf.list("xorbs", _give_up):
            _, name, _ = _told(key, "xorbs", _XORB)
            if name:
                yield name, kept


def _told(key: str, top: str, pattern: re.Pattern[str]) -> tuple[str, str, str]:
    """A key, and its name and kind if it lies where the store puts such a name."""
    folder, _, name = key.rpartition("/")
    match = pattern.match(name)
    if match and folder == f"{top}/{name[:2]}/{name[2:4]}":
        return key, match[1], name.rpartition(".")[2]
    return key, "", ""


def _give_up(error: OSError) -> None:
    raise Unavailable(f"folder {error.filename} cannot be read: {error.strerror}") from error
