"""Where things lie below the store's root, and what may lie there.

    blobs/ab/cd/<sha256>.plain | .chunked     xorbs/ab/cd/<xet hash>.xorb
    tmp/                                      FORMAT

`blob_files` and `xorb_files` walk what is there; a name that no one here would have written is
told apart as stray, never touched. Paths are `str`: they are made from checked names only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from headwater.errors import Unavailable
from headwater.names import Digest, XetHash
from headwater.store.files import Folders

Files = Iterator[tuple[str, str, str]]
Unreadable = Callable[[OSError], None]

_BLOB = re.compile(r"([0-9a-f]{64})\.(plain|chunked)\Z")
_XORB = re.compile(r"([0-9a-f]{64})\.xorb\Z")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store."""

    root: str
    folders: Folders = field(repr=False)

    @property
    def tmp(self) -> str:
        return os.path.join(self.root, "tmp")

    @property
    def parts(self) -> str:
        return os.path.join(self.root, "tmp", "parts")

    def plain(self, oid: Digest) -> str:
        return f"{self.root}/blobs/{oid[:2]}/{oid[2:4]}/{oid}.plain"

    def chunked(self, oid: Digest) -> str:
        return f"{self.root}/blobs/{oid[:2]}/{oid[2:4]}/{oid}.chunked"

    def xorb(self, name: XetHash) -> str:
        return f"{self.root}/xorbs/{name[:2]}/{name[2:4]}/{name}.xorb"

    def drop_other(self, oid: Digest, kept: Literal["plain", "chunked"]) -> None:
        """After a blob was published in one layout: remove it in the other, if it is there."""
        with suppress(OSError):  # both are right; `check` names the one that is left over
            os.unlink(self.chunked(oid) if kept == "plain" else self.plain(oid))

    def blob_files(self, unreadable: Unreadable | None = None) -> Files:
        """(path, name, 'plain' or 'chunked') of each blob file, (path, '', '') of each stray.

        A folder that cannot be read is given to `unreadable`; without it, Unavailable is raised:
        who deletes what nothing needs must not take a folder it cannot see for an empty one.
        """
        return self._walk("blobs", _BLOB, unreadable)

    def xorb_files(self, unreadable: Unreadable | None = None) -> Files:
        """(path, name, 'xorb') of each xorb file, else as `blob_files`."""
        return self._walk("xorbs", _XORB, unreadable)

    def _walk(self, top: str, pattern: re.Pattern[str], unreadable: Unreadable | None) -> Files:
        base = f"{self.root}/{top}"
        for folder, inner, names in os.walk(base, onerror=unreadable or _give_up):
            inner.sort()
            for name in sorted(names):
                path = f"{folder}/{name}"
                match = pattern.match(name)
                if match and folder == f"{base}/{name[:2]}/{name[2:4]}":
                    yield path, match[1], name.rpartition(".")[2]
                else:
                    yield path, "", ""


def _give_up(error: OSError) -> None:
    raise Unavailable(f"folder {error.filename} cannot be read: {error.strerror}") from error
