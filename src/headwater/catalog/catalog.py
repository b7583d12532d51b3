"""The catalog: mutable names over immutable bytes, its rooms put together once.

    catalog = Catalog.open(url, upload_ttl_s=…, secret=…)
    catalog.repos, .refs, .files, .commits, .history, .listing   what is published
    catalog.accounts, .tokens, .devices, .sessions                who
    catalog.blobs, .sweep                                         the bytes behind the names
    catalog.packing, .holdings                                    what was packed, what repos hold
    catalog.access                                                who may pass a gate
    catalog.counting, .discussions
    catalog.likes, .follows, .profiles, .collections              people and what they keep
    catalog.vocabulary, .quick_search, .space_search, .trending   finding things
    catalog.squash, .lfs_files, .duplicate                        operations on whole repos
    catalog.discussions, .pull_requests, .merging, .diffs         what people say and propose
    catalog.counting, .attachments
    catalog.labels, .bases, .recards                              what is known of files and cards
    catalog.sketches, .ancestry, .families                        who descends from whom
    catalog.webhooks, .outbox, .deliveries                        who is told of what happened
    catalog.git_fetch, .git_push                                  what git itself asks for
    catalog.exports, .imports                                     repos that travel by bundle
    catalog.may_read_bytes(actor, repo)                           the one question about content

All methods may be called from any thread.
"""

from __future__ import annotations

from headwater.catalog import migrate, rights
from headwater.catalog.access import Access
from headwater.catalog.accounts import Accounts
from headwater.catalog.actors import Actor
from headwater.catalog.ancestry import Ancestries
from headwater.catalog.attachments import Attachments
from headwater.catalog.bases import BaseEdges
from headwater.catalog.blobs import Blobs
from headwater.catalog.buckets import Buckets
from headwater.catalog.collections import Collections
from headwater.catalog.commits import Commits
from headwater.catalog.counting import Counting
from headwater.catalog.db import Db
from headwater.catalog.deliveries import Deliveries
from headwater.catalog.devices import Devices
from headwater.catalog.diffs import Diffs
from headwater.catalog.discussions import Discussions
from headwater.catalog.duplicate import Duplicate
from headwater.catalog.exports import Exports
from headwater.catalog.families import Families
from headwater.catalog.files import Files
from headwater.catalog.follows import Follows
from headwater.catalog.git import GitObjects
from headwater.catalog.git_fetch import Fetch
from headwater.catalog.git_push import Push
from headwater.catalog.history import History
from headwater.catalog.holdings import Holdings
from headwater.catalog.imports import Imports
from headwater.catalog.labels import Labels
from headwater.catalog.lfs_files import LfsFiles
from headwater.catalog.likes import Likes
from headwater.catalog.listing import Listing
from headwater.catalog.merging import Merging
from headwater.catalog.models import Repo
from headwater.catalog.outbox import Outbox
from headwater.catalog.packing import Packing
from headwater.catalog.profiles import Profiles
from headwater.catalog.pull_requests import PullRequests
from headwater.catalog.quick_search import QuickSearch
from headwater.catalog.recards import Recards
from headwater.catalog.refs import Refs
from headwater.catalog.repos import Repos
from headwater.catalog.sealing import Sealer
from headwater.catalog.sessions import Sessions
from headwater.catalog.sketches import Sketches
from headwater.catalog.space_search import SpaceSearch
from headwater.catalog.squash import Squash
from headwater.catalog.sweep import Sweep
from headwater.catalog.tokens import Tokens
from headwater.catalog.trending import Trending
from headwater.catalog.vocabulary import Vocabulary
from headwater.catalog.webhooks import Webhooks


class Catalog:
    def __init__(self, db: Db, *, upload_ttl_s: int, secret: bytes) -> None:
        self.db = db
        self.git = GitObjects(db)
        self.accounts = Accounts(db)
        self.tokens = Tokens(db)
        self.devices = Devices(db, secret)
        self.sessions = Sessions(db)
        self.repos = Repos(db, self.git)
        self.access = Access(db)
        self.refs = Refs(db, self.git)
        self.files = Files(db, self.git)
        self.history = History(db, self.git, self.files)
        self.commits = Commits(db, self.git, self.refs, self.files)
        self.listing = Listing(db)
        self.buckets = Buckets(db)
        self.blobs = Blobs(db, upload_ttl_s)
        self.counting = Counting(db, secret)
        self.discussions = Discussions(db)
        self.pull_requests = PullRequests(db)
        self.diffs = Diffs(db, self.git)
        self.merging = Merging(db, self.git, self.files, self.diffs)
        self.attachments = Attachments(db)
        self.sweep = Sweep(db, self.git)
        self.likes = Likes(db)
        self.follows = Follows(db)
        self.profiles = Profiles(db)
        self.collections = Collections(db)
        self.vocabulary = Vocabulary(db)
        self.quick_search = QuickSearch(db)
        self.space_search = SpaceSearch(db)
        self.trending = Trending(db)
        self.squash = Squash(db, self.git, self.refs)
        self.lfs_files = LfsFiles(db, self.git, self.files)
        self.duplicate = Duplicate(db, self.git, self.files, self.sweep, upload_ttl_s)
        self.labels = Labels(db)
        self.bases = BaseEdges(db)
        self.sketches = Sketches(db)
        self.ancestry = Ancestries(db)
        self.families = Families(db, self.sketches, self.ancestry)
        self.recards = Recards(db, self.git, self.files)
        self.webhooks = Webhooks(db, Sealer(secret))
        self.packing = Packing(db, self.git)
        self.holdings = Holdings(db, self.git)
        self.outbox = Outbox(db)
        self.deliveries = Deliveries(db, self.webhooks)
        self.git_fetch = Fetch(db, self.git)
        self.git_push = Push(db, self.git, self.files)
        self.exports = Exports(db, self.git)
        self.imports = Imports(db, self.git, self.files)

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
