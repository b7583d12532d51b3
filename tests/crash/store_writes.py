"""Run under strace by the tests beside it: every kind of write of the store, each acknowledged.

    python store_writes.py ROOT [BUG]

An acknowledgement is the word `ack` on standard output. BUG takes one step out of the order, so
that the lint can be seen to catch it.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from headwater.formats.xet_hash import chunk_hash, file_hash, xorb_hash
from headwater.formats.xet_shard import Term
from headwater.formats.xorb import encode_chunk
from headwater.names import Digest
from headwater.store import Store

root, bug = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""

real_fsync, real_rename = os.fsync, os.rename


def is_folder(fd: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{fd}")


def fsync_of_folders_only(fd: int) -> None:
    if is_folder(fd):
        real_fsync(fd)


def fsync_of_files_only(fd: int) -> None:
    if not is_folder(fd):
        real_fsync(fd)


def write_late(path: str) -> None:
    """A byte that was there already, so that the rest of the script goes on."""
    with open(path, "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(first)


def rename_then_bytes(source: str, target: str) -> None:
    real_rename(source, target)
    write_late(target)


def bytes_then_rename(source: str, target: str) -> None:
    write_late(source)
    real_rename(source, target)


def ack() -> None:
    os.write(1, b"ack\n")


BUGS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "no file fsync": lambda: setattr(os, "fsync", fsync_of_folders_only),
    "no folder fsync": lambda: setattr(os, "fsync", fsync_of_files_only),
    "bytes after fsync": lambda: setattr(os, "rename", bytes_then_rename),
    "bytes after rename": lambda: setattr(os, "rename", rename_then_bytes),
}


def plain() -> None:
    with store.write_plain() as writer:
        writer.write(b"plain" * 200_000)
        writer.finish()


def xorb_then_chunked() -> None:
    chunks = [b"first chunk", bytes(5000)]
    hashes, lengths = [chunk_hash(chunk) for chunk in chunks], [len(chunk) for chunk in chunks]
    name = xorb_hash(hashes, lengths)
    with store.write_xorb(name) as writer:
        writer.write(b"".join(map(encode_chunk, chunks)))
        writer.finish()
    ack()
    oid = Digest(hashlib.sha256(b"".join(chunks)).hexdigest())
    term = Term(name, sum(lengths), 0, len(chunks))
    store.write_chunked(file_hash(hashes, lengths), [term], oid=oid)


def parts() -> None:
    upload = f"up-{os.getpid()}"  # whoever begins again takes a new id, as clients do
    store.start_parts(upload, 10, 6)
    etags = []
    for number, data in ((1, b"012345"), (2, b"6789")):
        with store.write_part(upload, number) as writer:
            writer.write(data)
            etags.append((number, writer.finish()))
    store.finish_parts(upload, Digest(hashlib.sha256(b"0123456789").hexdigest()), etags)


store = Store.open(root)
ack()
BUGS[bug]()
for write in (plain, xorb_then_chunked, parts, plain):
    write()
    ack()
