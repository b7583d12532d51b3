"""A catalog, a store and Alice: families of weights are published in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalog.catalog_kit import commit, person, repo
from headwater.app import Floors, build
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutLfs
from headwater.names import Digest, RepoPath
from headwater.settings import Settings
from headwater.store.store import Store
from headwater.work.pack_file import Packer
from store.pack_kit import Arrays, safetensors


@dataclass
class World:
    catalog: Catalog
    store: Store
    alice: Actor
    packer: Packer

    def publish(
        self, full: str, arrays: Arrays | bytes, base: str = "", *, private: bool = False
    ) -> Digest:
        """A model of one file; its card names a base."""
        data = arrays if isinstance(arrays, bytes) else safetensors(arrays)
        made = repo(self.catalog, self.alice, full, private=private)
        if base:
            self.name(full, base)
        with self.store.write_plain(len(data)) as writer:
            writer.write(data)
            blob = writer.finish(None, len(data))
        self.catalog.blobs.uploaded(self.alice, blob.oid, blob.size_bytes)
        plan = Plan("main", (PutLfs(RepoPath("model.safetensors"), blob.oid, None),), "add")
        self.catalog.commits.apply(self.alice, made, plan)
        return blob.oid

    def name(self, full: str, base: str) -> None:
        where = self.catalog.repos.find(self.alice, "model", full)
        card = f"---\nbase_model: {base}\n---\n".encode()
        commit(self.catalog, self.alice, where, {"README.md": card})

    def means(self, oid: Digest) -> dict[str, int]:
        usage = self.store.usage(oid)
        assert usage is not None
        return usage.means

    def state(self, oid: Digest) -> str | None:
        look = self.catalog.packing.look(oid)
        return look.row.state if look and look.row else None

    def bytes_of(self, oid: Digest) -> bytes:
        return b"".join(self.store.read(oid))


@contextmanager
def opened(data: Path) -> Iterator[World]:
    """The world over a data folder, which a hub or a command may use at the same time."""
    floors: Floors = build(Settings(data=data))
    alice = person(floors.catalog, "alice")
    try:
        packer = Packer(floors.catalog, floors.store)
        yield World(floors.catalog, floors.store, alice, packer)
    finally:
        floors.close()
