"""Import: a bundle taken into a hub, of which nothing is believed.

    importing = Importing(store, catalog, limits, scratch)
    importing.run(path, target=…, verify_key=…, dry_run=…)  -> Report

In this order: the manifest and its signature; names and rights; every member in its place, of its
size and hash; every container decoded to the bytes that it is named by (`store.arrival`); every
history looked at as a push is (`catalog.imports`). Only then do repos appear. A bundle that is
refused at any step has left nothing but what gc sweeps; an interrupted import is run again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headwater.bundle import manifest as m
from headwater.bundle import signing
from headwater.bundle.tar import TarReader, tar_bytes
from headwater.catalog.actors import OPERATOR
from headwater.catalog.catalog import Catalog
from headwater.catalog.git_quarantine import Limits
from headwater.catalog.git_verify import Brought
from headwater.catalog.imports import Arriving, Imported
from headwater.catalog.repos import MAIN
from headwater.errors import BadRequest, DigestMismatch, Forbidden, Malformed, NotFound, TooLarge
from headwater.formats.git_bundle import read_bundle_head
from headwater.formats.git_pack import PackFile
from headwater.names import Digest, RepoId, TensorId, shown
from headwater.store.arrival import Arrival
from headwater.store.files import writing
from headwater.store.store import Store

Progress = Callable[[str, int, int], None]  # (what is done, bytes done of it, bytes in all)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, and what became of it."""

    manifest: m.Manifest
    verified: bool  # its signature, by the key that was given
    repos: tuple[Imported, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Where repos go: as they are called (both None), into another namespace, under one name."""

    namespace: str | None = None
    name: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> Target:
        """From `NAMESPACE` or `NAMESPACE/NAME`."""
        namespace, _, name = (text or "").partition("/")
        return cls(namespace or None, name or None)

    def of(self, rid: RepoId) -> RepoId:
        full = f"{self.namespace or rid.namespace}/{self.name or rid.name}"
        return RepoId.parse(rid.type, full)


@dataclass(frozen=True, slots=True)
class _Spooled:
    """The git history of one repo, on disk."""

    file: BinaryIO
    refs: dict[str, str]
    pack_at: int


@dataclass(frozen=True, slots=True)
class _Head:
    """The manifest, its SHA-256, and how long the members before the content are."""

    manifest: m.Manifest
    sha256: str
    sizes: list[int]


class Importing:
    """For one hub. `limits` are those of a push, `scratch` a folder for what is on its way."""

    def __init__(
        self, store: Store, catalog: Catalog, limits: Limits, file_bytes_max: int, scratch: Path
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._limits = limits
        self._file_bytes_max = file_bytes_max
        self._scratch = scratch

    def run(
        self,
        path: Path,
        *,
        target: Target = Target(),
        verify_key: Path | None = None,
        dry_run: bool = False,
        progress: Progress = lambda *_: None,
    ) -> Report:
        """Malformed, DigestMismatch, TooLarge for a bundle that is not right; Forbidden when its
        signature does not hold; Conflict when a repo is here with another history; NotFound for a
        namespace that nobody has. With `dry_run` all of this, and nothing is kept."""
        with _opened(path) as file, ExitStack() as stack:
            reader = TarReader(file)
            head = _head(reader, verify_key)
            manifest = head.manifest
            sizes = [*head.sizes, *(member.bytes for member in manifest.members)]
            total = tar_bytes(sizes)
            here = os.fstat(file.fileno()).st_size
            if here != total:
                raise Malformed(f"the bundle has {here} bytes and should have {total}: was it cut?")
            rids = self._names(manifest, target)
            arrival = stack.enter_context(self._store.travel.arrival(keep=not dry_run))
            arrival.need_space(total)
            spooled = self._members(manifest, reader, arrival, stack, total, progress)
            reader.end()
            self._finish(manifest, arrival, progress)
            if not dry_run:
                self._note(manifest)
            done = self._repos(head, rids, spooled, dry_run=dry_run)
        return Report(manifest, verify_key is not None, tuple(done))

    @staticmethod
    def _finish(manifest: m.Manifest, arrival: Arrival, progress: Progress) -> None:
        """Every packed blob decoded and compared."""
        sizes = {file.oid: file.bytes for part in manifest.repos for file in part.files}
        kinds = (m.kind_of(member.path) for member in manifest.members)
        total, done = sum(sizes[name] for kind, name in kinds if kind == m.PACKED), 0

        def decoded(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            progress("comparing", done, total)

        arrival.finish(decoded)

    def _names(self, manifest: m.Manifest, target: Target) -> list[RepoId]:
        """What each repo will be called; refused before anything large is read."""
        if target.name is not None and len(manifest.repos) > 1:
            raise BadRequest(
                f"the bundle has {len(manifest.repos)} repos: name only a namespace for them"
            )
        rids = [target.of(part.rid) for part in manifest.repos]
        if len({(rid.type, rid.key) for rid in rids}) < len(rids):
            raise BadRequest(f"two repos of the bundle would have one name in {target.namespace}")
        for rid in rids:
            self._catalog.imports.demand_room(rid)
        for part in manifest.repos:
            for file in part.files:
                if file.bytes > self._file_bytes_max:
                    raise TooLarge(
                        f"a file of {file.bytes} bytes in {part.name}; file_bytes_max of this hub "
                        f"is {self._file_bytes_max}"
                    )
        return rids

    def _members(
        self,
        manifest: m.Manifest,
        reader: TarReader,
        arrival: Arrival,
        stack: ExitStack,
        total: int,
        progress: Progress,
    ) -> list[_Spooled]:
        """Every member to where it belongs; the histories."""
        sizes = {file.oid: file.bytes for part in manifest.repos for file in part.files}
        spooled: list[_Spooled] = []
        done = 0
        for member in manifest.members:
            kind, name = m.kind_of(member.path)
            pieces = _checked(reader, member)
            if kind == m.GIT:
                spooled.append(self._spool(pieces, stack))
            elif kind == m.PACKED:
                arrival.packed(Digest(name), sizes[name], pieces)
            elif kind == m.PLAIN:
                arrival.plain(Digest(name), sizes[name], pieces)
            else:
                arrival.tensor(TensorId(name), pieces)
            done += member.bytes
            progress("verifying", done, total)
        return spooled

    def _spool(self, pieces: Iterator[bytes], stack: ExitStack) -> _Spooled:
        """A git history, in a file that has no name any more."""
        with writing("git history"):
            self._scratch.mkdir(parents=True, exist_ok=True)
            path = self._scratch / f"git-{secrets.token_hex(12)}.bundle"
            file = stack.enter_context(open(path, "x+b"))  # noqa: SIM115
            path.unlink()
        for piece in pieces:
            with writing("git history"):
                file.write(piece)
        with writing("git history"):
            file.flush()
        file.seek(0)
        refs = read_bundle_head(file)
        if refs.pop("HEAD", None) != refs.get(MAIN):
            raise Malformed("a git history's HEAD is not its branch main")
        return _Spooled(file, refs, file.tell())

    def _note(self, manifest: m.Manifest) -> None:
        """The operator has brought these bytes."""
        files = {file.oid: file.bytes for part in manifest.repos for file in part.files}
        for oid, size_bytes in files.items():
            self._catalog.blobs.uploaded(OPERATOR, Digest(oid), size_bytes)

    def _repos(
        self, head: _Head, rids: list[RepoId], spooled: list[_Spooled], *, dry_run: bool
    ) -> list[Imported]:
        """All are looked at before the first appears."""
        arriving = [
            Arriving(
                rid,
                part.private,
                part.gated,
                part.sdk,
                history.refs,
                PackFile(history.file, history.pack_at),
                Brought(
                    {Digest(file.oid): file.bytes for file in part.files},
                    frozenset(map(Digest, part.gone)),
                    frozenset(part.texts),
                ),
                head.sha256,
            )
            for part, rid, history in zip(head.manifest.repos, rids, spooled, strict=True)
        ]
        found = [
            self._repo(one, history, dry_run=True)
            for one, history in zip(arriving, spooled, strict=True)
        ]
        if dry_run:
            return found
        return [
            self._repo(one, history, dry_run=False)
            for one, history in zip(arriving, spooled, strict=True)
        ]

    def _repo(self, arriving: Arriving, history: _Spooled, *, dry_run: bool) -> Imported:
        pack_bytes = os.fstat(history.file.fileno()).st_size  # it lies here already
        limits = Limits(self._limits.blob_bytes_max, max(self._limits.pack_bytes_max, pack_bytes))
        return self._catalog.imports.run(arriving, self._scratch, limits, dry_run=dry_run)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}") from None
    with file:
        yield file


def _head(reader: TarReader, verify_key: Path | None) -> _Head:
    """The manifest, its sums and signature checked."""
    raw = reader.small(m.NAME, m.MANIFEST_BYTES_MAX)
    said = reader.small(m.SUMS, 1024)
    manifest = m.read(raw)
    signature = reader.small(m.SIGNATURE, m.SIGNATURE_BYTES_MAX) if manifest.signed else None
    if said != m.sums(raw, signature):
        raise DigestMismatch("the manifest or its signature was damaged: it is not what it was")
    if verify_key is not None:
        if signature is None:
            raise Forbidden("the bundle is not signed; without --verify-key it would be taken so")
        signing.verify(raw, signature, verify_key)
    parts = [raw, said, *([signature] if signature is not None else [])]
    return _Head(manifest, hashlib.sha256(raw).hexdigest(), [len(part) for part in parts])


def _checked(reader: TarReader, member: m.Member) -> Iterator[bytes]:
    """The bytes of a member; DigestMismatch behind the last one when they are not its own."""
    sha256 = hashlib.sha256()
    for piece in reader.member(member.path, member.bytes):
        sha256.update(piece)
        yield piece
    if sha256.hexdigest() != member.sha256:
        raise DigestMismatch(f"{shown(member.path)} of the bundle was damaged or changed")
