"""Tables of the catalog: mutable names over immutable bytes.

    account, member, token      who
    repo, redirect, repo_tag    what there is, by which names, with which tags
    tombstone                   names of repos that were deleted
    base_edge                   what a card says its model was made from
    bucket_file, bucket_change  files of a bucket, and what changed lately
    label                       what an inspection found in some bytes
    event                       what happened, until all who asked have been told
    ref, git_object             real git: refs move, objects never change
    blob, repo_blob, upload     which bytes exist, which repo holds them, who just brought them
    withdrawn                   bytes that were taken out of a repo for good
    xorb_blob, dedup            which blobs use a xorb; which chunk is found where
    packing                     what packing made of a blob, and against what
    commit_key                  so that a retried commit is one commit
    download_day, download_seen counts, raw and deduplicated
    audit                       one row for every state change, in the same transaction

What people say and agree about repos is in `schema_social`.
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
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from headwater.catalog.schema_base import metadata, own_id, owned

# A path that SQL sorts: by its bytes on either database, whatever the server's language.
PATH = String(1024).with_variant(String(1024, collation="C"), "postgresql")

meta = Table(
    "meta", metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)  # fmt: skip

account = Table(
    "account", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    Column("kind", String(8), nullable=False),  # user | org
    Column("name", String(96), nullable=False),
    Column("key", String(96), nullable=False, unique=True),
    Column("skeleton", String(96), nullable=False, unique=True),  # equal means: looks alike
    Column("fullname", String(200), nullable=False),
    Column("email", String(320)),
    Column("is_admin", Boolean, nullable=False, default=False),
    Column("created_ms", BigInteger, nullable=False),
    # Whether new repos of an organisation are private when their maker does not say.
    Column("repos_private", Boolean, nullable=False, default=False, server_default=false()),
    Column("deleted_ms", BigInteger),  # a tombstone: the name is never given out again
    sqlite_autoincrement=True,
)  # fmt: skip

member = Table(
    "member", metadata,
    owned("org_id", "account.id", primary_key=True),
    owned("user_id", "account.id", primary_key=True, index=True),
    Column("role", String(16), nullable=False),  # admin | write | contributor | read
)  # fmt: skip

token = Table(
    "token", metadata,
    own_id(),
    owned("user_id", "account.id", index=True),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256; the token is not kept
    Column("name", String(100), nullable=False),
    Column("role", String(16), nullable=False),  # read | write | fineGrained
    Column("scopes", Text, nullable=False, default="[]"),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("session_id", Integer, index=True),  # oauth_session: signed in by a browser
    UniqueConstraint("user_id", "name"),
    sqlite_autoincrement=True,
)  # fmt: skip

repo = Table(
    "repo", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    Column("type", String(8), nullable=False),
    owned("owner_id", "account.id", index=True),
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
    Column("trending", BigInteger, nullable=False, default=0, server_default="0"),
    Column("parameters", BigInteger),  # of the weights on `main`, when their headers say
    Column("weights", Text, nullable=False, default="{}", server_default="{}"),  # JSON summaries
    UniqueConstraint("type", "key"),
    Index("ix_repo_type_updated", "type", "updated_ms", "id"),
    Index("ix_repo_type_created", "type", "created_ms", "id"),
    Index("ix_repo_type_downloads", "type", "downloads", "id"),
    Index("ix_repo_type_likes", "type", "likes", "id"),
    Index("ix_repo_type_trending", "type", "trending", "id"),
    sqlite_autoincrement=True,
)  # fmt: skip

tombstone = Table(
    "tombstone", metadata,
    Column("type", String(8), primary_key=True),
    Column("key", String(200), primary_key=True),  # a repo name that was deleted
    owned("owner_id", "account.id"),  # who had it: nobody else gets it
    Column("creator_id", Integer, ForeignKey("account.id")),  # who in there had made it
    Column("deleted_ms", BigInteger, nullable=False),
)  # fmt: skip

redirect = Table(
    "redirect", metadata,
    Column("type", String(8), primary_key=True),
    Column("key", String(200), primary_key=True),
    owned("repo_id", "repo.id", index=True),
)  # fmt: skip

repo_tag = Table(
    "repo_tag", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("tag", String(200), primary_key=True),
    Index("ix_repo_tag_tag", "tag", "repo_id"),
)  # fmt: skip

ref = Table(
    "ref", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("name", String(300), primary_key=True),  # refs/heads/… refs/tags/… refs/pr/N
    Column("target", String(40), nullable=False),  # a commit, or a tag object
    Column("commit", String(40), nullable=False),  # the commit it comes to
    Column("updated_ms", BigInteger, nullable=False),
)  # fmt: skip

git_object = Table(
    "git_object", metadata,
    owned("repo_id", "repo.id", primary_key=True),
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
    owned("repo_id", "repo.id", primary_key=True),
    Column("oid", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_repo_blob_oid", "oid"),
    Index("ix_repo_blob_created_ms", "created_ms"),  # what came lately may be packed soon
)  # fmt: skip

# A pointer in old commits may go on naming them: that file is gone, and nothing is damaged.
withdrawn = Table(
    "withdrawn", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("oid", String(64), primary_key=True),
    Column("deleted_ms", BigInteger, nullable=False),
)  # fmt: skip

upload = Table(
    "upload", metadata,
    owned("user_id", "account.id", primary_key=True),
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

packing = Table(
    "packing", metadata,
    Column("oid", String(64), primary_key=True),
    Column("state", String(8), nullable=False),  # packed | kept | failed | unpacked
    Column("bases", String(32), nullable=False),  # fingerprint of those that it was packed against
    Column("error", Text),
    Column("at_ms", BigInteger, nullable=False),
    Column("looked_ms", BigInteger, nullable=False),  # when its bases were last looked up
    Index("ix_packing_looked_ms", "looked_ms"),
    Index("ix_packing_at_ms", "at_ms"),
)  # fmt: skip

commit_key = Table(
    "commit_key", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("commit", String(40), primary_key=True),
    Column("parent", String(40), nullable=False),
    Column("pr", Integer),  # the pull request that it opened
    Column("created_ms", BigInteger, nullable=False),
)  # fmt: skip

download_day = Table(
    "download_day", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("raw", BigInteger, nullable=False),  # query-file requests
    Column("marked", BigInteger, nullable=False),  # requests the client marked
    Column("dedup", BigInteger, nullable=False),  # once a caller, repo and day
    Index("ix_download_day_day", "day"),  # what is trending asks for the last days of all repos
)  # fmt: skip

download_seen = Table(
    "download_seen", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("caller", LargeBinary(16), primary_key=True),  # keyed hash: no address is kept
)  # fmt: skip

base_edge = Table(
    "base_edge", metadata,
    owned("repo_id", "repo.id", primary_key=True),  # the child
    Column("base_key", String(200), primary_key=True),  # the parent's name in lower case
    Column("base", String(200), nullable=False),  # as the card spells it; it need not be here
    Column("relation", String(16), nullable=False),  # finetune | adapter | quantized | merge
    Index("ix_base_edge_base_key", "base_key", "relation"),
)  # fmt: skip

bucket_file = Table(
    "bucket_file", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("path", PATH, primary_key=True),
    Column("oid", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("xet_hash", String(64), nullable=False),
    Column("content_type", String(200)),
    Column("mtime_ms", BigInteger, nullable=False),  # of the file where it came from
    Column("uploaded_ms", BigInteger, nullable=False),
    Index("ix_bucket_file_oid", "repo_id", "oid"),
)  # fmt: skip

bucket_change = Table(
    "bucket_change", metadata,
    own_id(),
    owned("repo_id", "repo.id"),
    Column("path", PATH, nullable=False),
    Column("op", String(8), nullable=False),  # add | update | delete
    Column("size_bytes", BigInteger),
    Column("xet_hash", String(64)),
    Column("mtime_ms", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_bucket_change_repo_id", "repo_id", "id"),
    sqlite_autoincrement=True,
)  # fmt: skip

label = Table(
    "label", metadata,
    Column("oid", String(64), primary_key=True),  # SHA-256, or git's id of an ordinary file
    Column("scanner", String(32), primary_key=True),
    Column("version", Integer, nullable=False),  # of its rules: older verdicts are made anew
    Column("status", String(16), nullable=False),  # ok | flagged | unverified
    Column("detail", Text, nullable=False, default="{}"),
    Column("at_ms", BigInteger, nullable=False),
)  # fmt: skip

event = Table(
    "event", metadata,
    own_id(),
    Column("at_ms", BigInteger, nullable=False),
    Column("scope", String(24), nullable=False),  # repo | repo.content | repo.config | discussion…
    Column("action", String(8), nullable=False),  # create | update | delete | move
    Column("repo_id", Integer),  # no foreign key: a deleted repo's last event outlives it
    Column("owner_id", Integer, nullable=False),
    Column("actor_id", Integer),
    Column("payload", Text, nullable=False),  # JSON, as it was at that moment
    Column("done_ms", BigInteger),  # when its deliveries became jobs
    Index("ix_event_done_ms", "done_ms", "id"),
    sqlite_autoincrement=True,
)  # fmt: skip

audit = Table(
    "audit", metadata,
    own_id(),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String(96), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("detail", Text, nullable=False, default="{}"),
    sqlite_autoincrement=True,
)  # fmt: skip
