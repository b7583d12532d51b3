"""Zip archives as torch, numpy and Keras write them: the pickles inside, listed, nothing unpacked.

    look_into_zip(read, size_bytes) -> ZipSeen(kind, imports, doubts)

Members are read one at a time, within bounds of bytes, ratio and number; each that looks like a
pickle or is named like one is listed; of the raw storages of torch, which no loader takes for
pickles, the first are peeked into. Whatever cannot be read is a doubt, and an archive with a
doubt is never called harmless: encrypted members, wrong checksums, archives in archives, names
twice, TorchScript, which is code by design.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from headwater.errors import TooLarge
from headwater.formats.pickle_listing import (
    PICKLE_BYTES_MAX,
    Import,
    list_pickle,
    looks_pickled,
)
from headwater.names import shown

MEMBERS_MAX = 10_000  # a sharded state dict has one per tensor, up to some thousands
READ_BYTES_MAX = 96 * 2**20  # of the archive, in all
PLAIN_BYTES_MAX = 64 * 2**20  # unpacked, in all
PEEKS_MAX = 256  # of raw storages of a torch archive, which nothing loads as a pickle
WINDOW_BYTES = 2**13  # a model has thousands of members far apart: little of each is wanted
DOUBTS_MAX = 20
_STORAGE = re.compile(r"/data/\d{1,9}\Z", re.ASCII)
_PICKLE_ENDINGS = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".p")


@dataclass(frozen=True, slots=True)
class ZipSeen:
    kind: str  # torch | torchscript | npz | keras | zip
    imports: tuple[Import, ...]
    doubts: tuple[str, ...]


class _RangeFile(io.RawIOBase):
    """The archive as a file to seek in, which stops at `READ_BYTES_MAX` bytes read."""

    def __init__(self, read: Callable[[int, int], bytes], size_bytes: int) -> None:
        self._read = read
        self._size_bytes = size_bytes
        self._at = 0
        self._spent = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._size_bytes)[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        stop = min(self._at + len(buffer), self._size_bytes)
        if stop <= self._at:
            return 0
        self._spent += stop - self._at
        if self._spent > READ_BYTES_MAX:
            raise TooLarge(f"more than {READ_BYTES_MAX} bytes to read")
        data = self._read(self._at, stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Looker:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.imports: dict[tuple[str, str], Import] = {}
        self.doubts: list[str] = []
        self.left_bytes = PLAIN_BYTES_MAX
        self.left_peeks = PEEKS_MAX

    def doubt(self, text: str) -> None:
        if len(self.doubts) < DOUBTS_MAX and text not in self.doubts:
            self.doubts.append(text)

    def look(self, info: zipfile.ZipInfo) -> None:
        name = shown(info.filename, 60)
        if _STORAGE.search(info.filename):
            self.left_peeks -= 1
            if self.left_peeks < 0:
                return None
        if info.flag_bits & 0x1:
            return self.doubt(f"{name} is encrypted")
        try:
            with self.archive.open(info) as member:
                head = member.read(8)
                named = info.filename.lower().endswith(_PICKLE_ENDINGS)
                if head.startswith(b"PK\x03\x04"):
                    return self.doubt(f"{name} is an archive itself")
                if head.startswith(b"\x93NUMPY"):
                    return self._array(member, head, name)
                if named or looks_pickled(head) or head[:1] in (b"(", b"c"):
                    self._pickle(head + self._rest(member), info.filename, named)
        except TooLarge:
            raise
        except Exception as error:  # zipfile and zlib raise what the bytes make them raise
            self.doubt(f"{name} cannot be read: {str(error) or type(error).__name__}"[:160])

    def _rest(self, member: object) -> bytes:
        rest: bytes = member.read(min(PICKLE_BYTES_MAX, self.left_bytes) + 1)  # type: ignore[attr-defined]
        self.left_bytes -= len(rest)
        if self.left_bytes < 0 or len(rest) > PICKLE_BYTES_MAX:
            raise TooLarge(f"more than {PLAIN_BYTES_MAX} bytes of pickles inside")
        return rest

    def _array(self, member: object, head: bytes, name: str) -> None:
        """A numpy array: one of objects holds a pickle."""
        data = head + member.read(65_536)  # type: ignore[attr-defined]
        wide = 2 if data[6:7] == b"\x01" else 4
        length = int.from_bytes(data[8 : 8 + wide], "little")
        text = data[8 + wide : 8 + wide + length].upper().replace(b"FORTRAN_ORDER", b"")
        if len(text) < 10 or b"O" in text:
            self._pickle(data[8 + wide + length :] + self._rest(member), name, True)

    def _pickle(self, data: bytes, name: str, named: bool) -> None:
        listing = list_pickle(data)
        if not (named or looks_pickled(data) or listing.is_likely):
            return  # a text that begins like one, say with "class"
        for each in listing.imports:
            self.imports[each.module, each.name] = each
        # A tensor's bytes may begin like a pickle by chance; nothing loads them as one.
        if not listing.complete and (named or listing.imports):
            self.doubt(f"{shown(name, 60)}: {listing.reason}")


def look_into_zip(read: Callable[[int, int], bytes], size_bytes: int) -> ZipSeen:
    """What the pickles of an archive name. BadZipFile, TooLarge and others when it is not read."""
    raw = io.BufferedReader(_RangeFile(read, size_bytes), WINDOW_BYTES)
    with zipfile.ZipFile(raw) as archive:
        infos = archive.infolist()
        if len(infos) > MEMBERS_MAX:
            raise TooLarge(f"{len(infos)} members; up to {MEMBERS_MAX} are looked at")
        names = [info.filename for info in infos]
        looker = _Looker(archive)
        if len(set(names)) < len(names):
            looker.doubt("two members have one name")
        kind = _kind(names)
        if kind == "torchscript":
            looker.doubt("TorchScript: it is code by design")
        if kind == "keras":
            looker.doubt("Keras: layers may hold code")
        if kind == "zip":
            looker.doubt("an archive of no known kind")
        for info in infos:
            if not info.filename.endswith("/"):  # is_dir() fails on an empty name
                looker.look(info)
    return ZipSeen(kind, tuple(looker.imports.values()), tuple(looker.doubts))


def _kind(names: list[str]) -> str:
    below = {name.partition("/")[2] for name in names}
    if any(part.startswith("code/") for part in below) or "constants.pkl" in below:
        return "torchscript"
    if "data.pkl" in below:
        return "torch"
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"
