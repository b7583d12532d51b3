"""Export: repos written as one bundle.

    export(store, catalog, repos, out, …)  -> Exported

Everything is read and proven first, so that the manifest, with the hash of every byte, can stand at
the beginning; then it is copied and hashed again. The file appears under its name whole and synced,
or not at all.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from headwater import __version__
from headwater.bundle import signing
from headwater.bundle.manifest import (
    FORMAT,
    MANIFEST_BYTES_MAX,
    NAME,
    REPOS_MAX,
    SIGNATURE,
    SUMS,
    VERSION,
    File,
    Manifest,
    Member,
    RepoPart,
    sums,
)
from headwater.bundle.tar import TarWriter, tar_bytes
from headwater.catalog.catalog import Catalog
from headwater.catalog.exports import History
from headwater.catalog.git_lacking import Want
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN
from headwater.errors import BadRequest, Conflict, NotFound, TooLarge, Unavailable
from headwater.formats.git_bundle import bundle_head
from headwater.names import GIT_TYPES, Digest
from headwater.store.containers import PIECE_BYTES
from headwater.store.files import FOLDER_MODE, Temp, disk_error, need_space, sync_folder, writing
from headwater.store.store import Store
from headwater.store.travel import Piece

Progress = Callable[[str, int, int], None]  # (what is done, bytes done of it, bytes in all)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    manifest: Manifest
    size_bytes: int
    file_bytes: int  # of the large files, as they were committed


def export(
    store: Store,
    catalog: Catalog,
    repos: Sequence[Repo],
    out: Path,
    *,
    scratch: Path,
    sign_key: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Exported:
    """Write `repos` to `out`, which must not exist. Conflict when it does, Forbidden for a
    quarantined repo, BadRequest for one without git, Corrupt when something stored is damaged,
    Unavailable when the hub changed underneath: try again. `scratch`: for git's lists."""
    if out.exists():
        raise Conflict(f"{out} exists already; choose another name or remove it")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"there is no folder {out.absolute().parent}")
    if len(repos) > REPOS_MAX:
        raise TooLarge(f"a bundle has at most {REPOS_MAX} repos, not {len(repos)}")
    for repo in repos:
        if repo.type not in GIT_TYPES:
            raise BadRequest(f"{repo.full} is a {repo.type}: only what has a history is exported")
    with _folder(store) as folder, store.travel.still():
        histories = [catalog.exports.history(repo) for repo in repos]
        files: dict[Digest, int] = {}
        for history in histories:
            files |= history.files
        pieces = [
            _history(
                catalog, repo, history, f"{folder}/{number}.bundle", f"git/{number}.bundle", scratch
            )
            for number, (repo, history) in enumerate(zip(repos, histories, strict=True))
        ]
        total, done = sum(files.values()), 0

        def proven(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            progress("reading", done, total)

        pieces += store.travel.pieces(files, f"{folder}/alone", proven)
        manifest = _manifest(repos, histories, pieces, signed=sign_key is not None)
        raw = _encoded(manifest)
        size_bytes = _write(raw, pieces, out, sign_key, progress)
    catalog.exports.note(repos, hashlib.sha256(raw).hexdigest())
    return Exported(manifest, size_bytes, total)


@contextmanager
def _folder(store: Store) -> Iterator[str]:
    """A folder for what is made on the way."""
    folder = f"{store.travel.folder}/export-{secrets.token_hex(8)}"
    with writing("export"):
        os.mkdir(folder, FOLDER_MODE)
        os.mkdir(f"{folder}/alone", FOLDER_MODE)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _history(
    catalog: Catalog, repo: Repo, history: History, path: str, name: str, scratch: Path
) -> Piece:
    """The git bundle of a repo, written to `path`."""
    refs = [*history.refs]
    refs += [("HEAD", target) for ref, target in history.refs if ref == MAIN]
    sha256, size_bytes = hashlib.sha256(), 0
    with writing(name), open(path, "xb") as file:

        def add(data: bytes) -> None:
            nonlocal size_bytes
            file.write(data)
            sha256.update(data)
            size_bytes += len(data)

        add(bundle_head(refs))
        want = Want([target for _, target in history.refs])
        for piece in catalog.git_fetch.pack(repo, want, scratch):
            if isinstance(piece, bytes):
                add(piece)
    return Piece(name, size_bytes, sha256.hexdigest(), partial(_read, path))


def _read(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while data := file.read(PIECE_BYTES):
            yield data


def _manifest(
    repos: Sequence[Repo], histories: Sequence[History], pieces: Sequence[Piece], *, signed: bool
) -> Manifest:
    parts = tuple(
        RepoPart(
            type=repo.type,
            name=repo.full,
            private=repo.private,
            gated=repo.gated,
            sdk=repo.sdk,
            git=f"git/{number}.bundle",
            files=tuple(File(oid=oid, bytes=size) for oid, size in history.files.items()),
            gone=tuple(history.gone),
            texts=history.texts,
        )
        for number, (repo, history) in enumerate(zip(repos, histories, strict=True))
    )
    return Manifest(
        format=FORMAT,
        version=VERSION,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=f"headwater {__version__}",
        signed=signed,
        repos=parts,
        members=tuple(
            Member(path=piece.path, bytes=piece.size_bytes, sha256=piece.sha256) for piece in pieces
        ),
    )


def _encoded(manifest: Manifest) -> bytes:
    """As JSON that a person can read."""
    raw = msgspec.json.format(msgspec.json.encode(manifest, enc_hook=str), indent=1) + b"\n"
    if len(raw) > MANIFEST_BYTES_MAX:
        raise TooLarge("a bundle of so many tensors cannot be described; export fewer repos")
    return raw


def _write(
    raw: bytes, pieces: Sequence[Piece], out: Path, key: Path | None, progress: Progress
) -> int:
    """The file, whole or not at all; its size in bytes."""
    signature = signing.sign(raw, key) if key is not None else None
    heads = [(NAME, raw), (SUMS, sums(raw, signature))]
    heads += [(SIGNATURE, signature)] if signature is not None else []
    total = tar_bytes([*(len(data) for _, data in heads), *(p.size_bytes for p in pieces)])
    folder = os.path.abspath(out.parent)
    with writing(str(out)):
        need_space(folder, total)
    with Temp(folder, ".part", str(out)) as temp:
        tar = TarWriter(temp.write)
        for name, data in heads:
            tar.add(name, len(data), [data])
        for piece in pieces:
            tar.add(piece.path, piece.size_bytes, _same(piece))
            progress("writing", temp.size_bytes, total)
        tar.end()
        try:
            os.fsync(temp.fd)
            os.link(temp.path, out)  # unlike a rename, it never replaces
            sync_folder(folder)
        except FileExistsError:
            raise Conflict(f"{out} exists already; choose another name or remove it") from None
        except OSError as error:
            raise disk_error(error, str(out)) from error
        return temp.size_bytes


def _same(piece: Piece) -> Iterator[bytes | memoryview]:
    """The bytes of a piece, as long as they are those that were proven."""
    sha256, left = hashlib.sha256(), piece.size_bytes
    for data in piece.read():
        sha256.update(data)
        left -= len(data)
        if left < 0:
            break
        yield data
    if left or sha256.hexdigest() != piece.sha256:
        raise Unavailable(f"{piece.path} changed while it was exported; try again")
