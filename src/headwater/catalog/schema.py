"""Tables of the catalog: mutable names over immutable bytes.

    account, member, token      who
    repo, redirect, repo_tag    what there is, by which names, with which tags
    ref, git_object             real git: refs move, objects never change
    blob, repo_blob, upload     which bytes exist, which repo holds them, who just brought them
    xorb_blob, dedup            which blobs use a xorb; which chunk is found where
    commit_key                  so that a retried commit is one commit
    discussion                  pull requests (and, later, talk)
    download_day, download_seen counts, raw and deduplicated
    audit                       one row for every state change, in the same transaction

Times are milliseconds since 1970. `key` columns are lower-cased names: what must be unique.
Row ids are never used twice (`sqlite_autoincrement`; PostgreSQL's sequences never do): a signed
address or a cache that outlives its repo must not come to mean another one.
Changes go through `migrations/`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# Named constraints, so that a migration on either database can name what it changes.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


def _owned(name: str, target: str, **kw: object) -> Column[int]:
    return Column(name, Integer, ForeignKey(target, ondelete="CASCADE"), nullable=False, **kw)  # type: ignore[arg-type]


meta = Table(
    "meta", metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)  # fmt: skip

account = Table(
    "account", metadata,
    _id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    Column("kind", String(8), nullable=False),  # user | org
    Column("name", String(96), nullable=False),
    Column("key", String(96), nullable=False, unique=True),
    Column("skeleton", String(96), nullable=False, unique=True),  # equal means: looks alike
    Column("fullname", String(200), nullable=False),
    Column("email", String(320)),
    Column("is_admin", Boolean, nullable=False, default=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),  # a tombstone: the name is never given out again
    sqlite_autoincrement=True,
)  # fmt: skip

member = Table(
    "member", metadata,
    _owned("org_id", "account.id", primary_key=True),
    _owned("user_id", "account.id", primary_key=True, index=True),
    Column("role", String(16), nullable=False),  # admin | write | contributor | read
)  # fmt: skip

token = Table(
    "token", metadata,
    _id(),
    _owned("user_id", "account.id", index=True),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256; the token is not kept
    Column("name", String(100), nullable=False),
    Column("role", String(16), nullable=False),  # read | write | fineGrained
    Column("scopes", Text, nullable=False, default="[]"),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    UniqueConstraint("user_id", "name"),
    sqlite_autoincrement=True,
)  # fmt: skip

repo = Table(
    "repo", metadata,
    _id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    Column("type", String(8), nullable=False),
    _owned("owner_id", "account.id", index=True),
    Column("namespace", String(96), nullable=False),
    Column("name", String(96), nullable=False),
    Column("key", String(200), nullable=False),
    Column("creator_id", Integer, ForeignKey("account.id")),
    Column("private", Boolean, nullable=False, default=False),
    Column("gated", String(8), nullable=False, default=""),  # "" | auto | manual
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("sdk", String(32)),
    Column("pipeline_tag", String(96)),
    Column("library_name", String(96)),
    Column("card", Text, nullable=False, default="{}"),
    Column("config", Text, nullable=False, default="{}"),
    Column("tags", Text, nullable=False, default="[]"),  # as in repo_tag, ready for a listing
    Column("downloads", BigInteger, nullable=False, default=0),  # last 30 days, by the raw rule
    Column("downloads_all", BigInteger, nullable=False, default=0),
    Column("likes", BigInteger, nullable=False, default=0),
    UniqueConstraint("type", "key"),
    Index("ix_repo_type_updated", "type", "updated_ms", "id"),
    Index("ix_repo_type_created", "type", "created_ms", "id"),
    Index("ix_repo_type_downloads", "type", "downloads", "id"),
    Index("ix_repo_type_likes", "type", "likes", "id"),
    sqlite_autoincrement=True,
)  # fmt: skip

redirect = Table(
    "redirect", metadata,
    Column("type", String(8), primary_key=True),
    Column("key", String(200), primary_key=True),
    _owned("repo_id", "repo.id", index=True),
)  # fmt: skip

repo_tag = Table(
    "repo_tag", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("tag", String(200), primary_key=True),
    Index("ix_repo_tag_tag", "tag", "repo_id"),
)  # fmt: skip

ref = Table(
    "ref", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("name", String(300), primary_key=True),  # refs/heads/… refs/tags/… refs/pr/N
    Column("target", String(40), nullable=False),  # a commit, or a tag object
    Column("commit", String(40), nullable=False),  # the commit it comes to
    Column("updated_ms", BigInteger, nullable=False),
)  # fmt: skip

git_object = Table(
    "git_object", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("oid", String(40), primary_key=True),
    Column("kind", String(6), nullable=False),  # commit | tree | blob | tag
    Column("size_bytes", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),  # zlib of the object's body
    # Set only when the bytes behind the pointer were proven to be the committer's: a pointer
    # text that came as an ordinary file is text and is never followed.
    Column("lfs_oid", String(64)),
    Column("lfs_bytes", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
)  # fmt: skip

blob = Table(
    "blob", metadata,
    Column("oid", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("xet_hash", String(64), unique=True),
    Column("created_ms", BigInteger, nullable=False),
)  # fmt: skip

repo_blob = Table(
    "repo_blob", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("oid", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_repo_blob_oid", "oid"),
)  # fmt: skip

upload = Table(
    "upload", metadata,
    _owned("user_id", "account.id", primary_key=True),
    Column("oid", String(64), primary_key=True),
    Column("expires_ms", BigInteger, nullable=False),
    Index("ix_upload_oid", "oid"),
)  # fmt: skip

xorb_blob = Table(
    "xorb_blob", metadata,
    Column("xorb", String(64), primary_key=True),
    Column("oid", String(64), primary_key=True),
    Index("ix_xorb_blob_oid", "oid"),
)  # fmt: skip

dedup = Table(
    "dedup", metadata,
    Column("chunk", LargeBinary(32), primary_key=True),
    Column("xorb", String(64), primary_key=True),
    Index("ix_dedup_xorb", "xorb"),
)  # fmt: skip

commit_key = Table(
    "commit_key", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("commit", String(40), primary_key=True),
    Column("parent", String(40), nullable=False),
    Column("pr", Integer),  # the pull request that it opened
    Column("created_ms", BigInteger, nullable=False),
)  # fmt: skip

discussion = Table(
    "discussion", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("num", Integer, primary_key=True, autoincrement=False),
    Column("is_pr", Boolean, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("status", String(8), nullable=False),  # open | closed | merged | draft
    Column("author_id", Integer, ForeignKey("account.id")),
    Column("target_ref", String(300)),
    Column("created_ms", BigInteger, nullable=False),
)  # fmt: skip

download_day = Table(
    "download_day", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("raw", BigInteger, nullable=False),  # query-file requests
    Column("marked", BigInteger, nullable=False),  # requests the client marked
    Column("dedup", BigInteger, nullable=False),  # once a caller, repo and day
)  # fmt: skip

download_seen = Table(
    "download_seen", metadata,
    _owned("repo_id", "repo.id", primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("caller", LargeBinary(16), primary_key=True),  # keyed hash: no address is kept
)  # fmt: skip

audit = Table(
    "audit", metadata,
    _id(),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String(96), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("detail", Text, nullable=False, default="{}"),
    sqlite_autoincrement=True,
)  # fmt: skip
