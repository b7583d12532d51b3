"""What the catalog's tests are made of: people, repos, commits in one line each."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import event

from headwater.catalog.accounts import Account
from headwater.catalog.actors import Actor, Scope, TokenRole
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Change, Committed, Plan, PutFile, PutLfs, Remove
from headwater.catalog.models import Entry, Repo
from headwater.names import Digest, RepoId, RepoPath, RepoType

UPLOAD_TTL_S = 3600


def open_catalog(url: str) -> Catalog:
    return Catalog.open(url, upload_ttl_s=UPLOAD_TTL_S, secret=b"s" * 32)


def person(
    catalog: Catalog, name: str, role: TokenRole = "write", *scopes: Scope, admin: bool = False
) -> Actor:
    """A user, made when there is none of that name, signed in with a token of its own."""
    if name not in {account.name for account in catalog.accounts.list("user")}:
        catalog.accounts.create(name, is_admin=admin)
    number = len(catalog.tokens.list(name))
    return catalog.tokens.actor(catalog.tokens.create(name, f"t{number}", role, scopes=scopes))


@contextmanager
def statements(catalog: Catalog) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    said: list[str] = []

    def hear(_c: object, _cu: object, statement: str, *_more: object) -> None:
        said.append(statement)

    event.listen(catalog.db.engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(catalog.db.engine, "before_cursor_execute", hear)


def again(catalog: Catalog, actor: Actor) -> Actor:
    """The same person with a new request: today's roles."""
    return catalog.tokens.actor_of(actor.user_id or 0, actor.token_role)


def org(catalog: Catalog, name: str, **roles: str) -> Account:
    made = catalog.accounts.create(name, "org")
    for user, role in roles.items():
        catalog.accounts.set_role(name, user, role)  # type: ignore[arg-type]
    return made


def repo(
    catalog: Catalog, actor: Actor, full: str, type: RepoType = "model", *, private: bool = False
) -> Repo:
    return catalog.repos.create(actor, RepoId.parse(type, full), private=private)


def digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def upload(catalog: Catalog, actor: Actor, data: bytes) -> Digest:
    """Show possession of `data`, as an upload that was just hashed does."""
    catalog.blobs.uploaded(actor, digest(data), len(data))
    return digest(data)


def changes(catalog: Catalog, where: Repo, files: Mapping[str, bytes | None]) -> tuple[Change, ...]:
    """Put each path's bytes as an ordinary file; None removes it, a folder when it ends in /."""
    kept = {path: data for path, data in files.items() if data is not None}
    oids = dict(zip(kept, catalog.commits.stage(where, list(kept.values())), strict=True))
    return tuple(
        PutFile(RepoPath(path), oids[path])
        if path in oids
        else Remove(RepoPath(path.rstrip("/")), path.endswith("/"))
        for path in files
    )


def commit(
    catalog: Catalog,
    actor: Actor,
    where: Repo,
    files: Mapping[str, bytes | None],
    message: str = "change",
    *,
    revision: str = "main",
    parent: str | None = None,
    create_pr: bool = False,
) -> Committed:
    """Commit ordinary files and removals."""
    made = changes(catalog, where, files)
    plan = Plan(revision, made, message, parent=parent, create_pr=create_pr)
    return catalog.commits.apply(actor, where, plan)


def commit_lfs(
    catalog: Catalog, actor: Actor, where: Repo, path: str, data: bytes, revision: str = "main"
) -> Committed:
    """Upload `data`, then commit it as a large file."""
    oid = upload(catalog, actor, data)
    plan = Plan(revision, (PutLfs(RepoPath(path), oid, len(data)),), f"add {path}")
    return catalog.commits.apply(actor, where, plan)


def link(
    catalog: Catalog, actor: Actor, where: Repo, oid: Digest, path: str = "w.bin"
) -> Committed:
    """Commit a large file by its hash alone: allowed to those who hold its bytes."""
    plan = Plan("main", (PutLfs(RepoPath(path), oid, None),), "link")
    return catalog.commits.apply(actor, where, plan)


def files_of(catalog: Catalog, where: Repo, revision: str = "main") -> dict[str, Entry]:
    """Every file of a revision by path."""
    tree = catalog.refs.resolve(where, revision).tree
    entries = catalog.files.list(where, tree, recursive=True)
    return {entry.path: entry for entry in entries if entry.kind == "file"}


def contents_of(catalog: Catalog, where: Repo, revision: str = "main") -> dict[str, bytes]:
    """Every file's bytes; of a large one those of its pointer."""
    found = files_of(catalog, where, revision)
    return {path: catalog.files.read(where, entry) for path, entry in found.items()}
