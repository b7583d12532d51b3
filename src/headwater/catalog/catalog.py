"""The catalog: mutable names over immutable bytes, its rooms put together once.

    catalog = Catalog.open(url, upload_ttl_s=…, secret=…)
    catalog.repos, .refs, .files, .commits, .history, .listing   what is published
    catalog.accounts, .tokens                                     who
    catalog.blobs, .sweep                                         the bytes behind the names
    catalog.counting, .discussions
    catalog.may_read_bytes(actor, repo)                           the one question about content

All methods may be called from any thread.
"""

from __future__ import annotations

from headwater.catalog import migrate, rights
from headwater.catalog.accounts import Accounts
from headwater.catalog.actors import Actor
from headwater.catalog.blobs import Blobs
from headwater.catalog.commits import Commits
from headwater.catalog.counting import Counting
from headwater.catalog.db import Db
from headwater.catalog.discussions import Discussions
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.history import History
from headwater.catalog.listing import Listing
from headwater.catalog.models import Repo
from headwater.catalog.refs import Refs
from headwater.catalog.repos import Repos
from headwater.catalog.sweep import Sweep
from headwater.catalog.tokens import Tokens


class Catalog:
    def __init__(self, db: Db, *, upload_ttl_s: int, secret: bytes) -> None:
        self.db = db
        self.git = GitObjects(db)
        self.accounts = Accounts(db)
        self.tokens = Tokens(db)
        self.repos = Repos(db, self.git)
        self.refs = Refs(db, self.git)
        self.files = Files(db, self.git)
        self.history = History(db, self.git, self.files)
        self.commits = Commits(db, self.git, self.refs, self.files)
        self.listing = Listing(db)
        self.blobs = Blobs(db, upload_ttl_s)
        self.counting = Counting(db, secret)
        self.discussions = Discussions(db)
        self.sweep = Sweep(db, self.git)

    @classmethod
    def open(cls, url: str, *, upload_ttl_s: int, secret: bytes) -> Catalog:
        """Connect, and bring the schema up to this version; Refused when it is of a later one."""
        db = Db(url)
        try:
            migrate.upgrade(db)
        except BaseException:
            db.close()
            raise
        return cls(db, upload_ttl_s=upload_ttl_s, secret=secret)

    def may_read_bytes(self, actor: Actor, repo: Repo) -> bool:
        """Whether file contents, and hashes that stand for them, may go to `actor`."""
        return rights.allowed(actor, repo, "bytes")

    def close(self) -> None:
        self.counting.flush()
        self.db.close()
