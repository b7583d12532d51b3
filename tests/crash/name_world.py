"""The hub that test_every_name.py kills, and what can be seen of it."""

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.bucket_batch import Put
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutFile, PutLfs
from headwater.catalog.inspection import inspect
from headwater.names import Digest, RepoId, RepoPath, XetHash
from headwater.store import Store

SECRET = b"s" * 32
FIRST_LARGE, SECOND_LARGE = b"first" * 2000, b"second" * 1500


def digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def opened(root: Path) -> tuple[Catalog, Store]:
    """As at every start."""
    url = f"sqlite:///{root}/catalog.sqlite"
    return Catalog.open(url, upload_ttl_s=3600, secret=SECRET), Store.open(root / "store")


def make(root: Path) -> None:
    """Ann with a model (a large file, replaced once; a pull request) and a bucket."""
    root.mkdir()
    catalog, store = opened(root)
    catalog.accounts.create("ann")
    ann = catalog.tokens.actor(catalog.tokens.create("ann", "t", "write"))
    where = catalog.repos.create(ann, RepoId.parse("model", "ann/m"))
    catalog.repos.create(ann, RepoId.parse("bucket", "ann/b"))
    for data in (FIRST_LARGE, SECOND_LARGE):
        with store.write_plain() as writer:
            writer.write(data)
            writer.finish()
        xet = XetHash(digest(b"xet" + data))
        catalog.blobs.uploaded(ann, digest(data), len(data), xet_hash=xet)
        put = PutLfs(RepoPath("w.bin"), digest(data), len(data))
        catalog.commits.apply(ann, where, Plan("main", (put,), "large"))
    xet = XetHash(digest(b"xet" + FIRST_LARGE))
    assert catalog.buckets.apply(ann, "ann/b", [Put(RepoPath("old"), xet, 1)]) == []
    (oid,) = catalog.commits.stage(where, [b"proposed"])
    plan = Plan("main", (PutFile(RepoPath("new.txt"), oid),), "propose", create_pr=True)
    catalog.commits.apply(ann, where, plan)
    catalog.close()


def person(catalog: Catalog) -> Actor:
    """Ann, who does everything here."""
    with catalog.db.read() as conn:
        user_id = conn.execute(select(s.account.c.id).where(s.account.c.key == "ann")).scalar_one()
    return catalog.tokens.actor_of(user_id, "write")


def seen(root: Path) -> dict[str, Any]:
    """What anybody could tell of it, but for ids and times."""
    catalog, _ = opened(root)
    try:
        ann = person(catalog)
        with catalog.db.read() as conn:
            fulls = conn.execute(select(s.repo.c.name).where(s.repo.c.type == "model")).scalars()
            names = sorted(fulls)
            audits = conn.execute(select(func.count()).select_from(s.audit)).scalar_one()
        found: dict[str, Any] = {"audit": audits}
        for name in names:
            repo = catalog.repos.find(ann, "model", f"ann/{name}")
            for ref in catalog.refs.list(repo):
                tree = catalog.refs.resolve(repo, ref.name).tree
                files = {
                    entry.path: (
                        catalog.files.read(repo, entry),
                        entry.lfs and entry.lfs.gone,
                        entry.lfs and catalog.blobs.in_repo(repo, entry.lfs.oid),
                    )
                    for entry in catalog.files.list(repo, tree, recursive=True)
                    if entry.kind == "file"
                }
                titles = [c.title for c in catalog.history.list(repo, ref.commit, 99)]
                found[f"{name} {ref.name}"] = (files, titles)
            found[f"{name} talks"] = [d.status for d in catalog.discussions.page(repo, 0)[1]]
        bucket = catalog.repos.find(ann, "bucket", "ann/b")
        listed = catalog.buckets.tree(bucket, "", recursive=True, after=None, limit=99)
        found["bucket"] = {file.path: getattr(file, "oid", None) for file in listed}
        return found
    finally:
        catalog.close()


def damage(root: Path) -> list[object]:
    """What `headwater check --bytes` says."""
    catalog, store = opened(root)
    try:
        found: list[object] = list(store.check(data=True))
        return found + list(inspect(catalog.db, catalog.git, store, data=True))
    finally:
        catalog.close()
