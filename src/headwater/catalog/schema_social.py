"""Tables of what people say and agree about repos.

    discussion, discussion_event   talk and pull requests, and what happened in them
    attachment                     pictures in comments
    repo_like, follow              who likes what, who follows whom
    collection, collection_item    lists of repos that somebody keeps
    access_request                 who asked to pass a gate, and the answer
    device_code, device_guess      a sign-in that waits for its owner's word; wrong codes
    oauth_session, oauth_refresh   sign-ins that were granted, and what renews their tokens
    webhook, webhook_delivery      who wants to be told of what, and what was told

The conventions are those of `schema`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from headwater.catalog.schema_base import metadata, own_id, owned

discussion = Table(
    "discussion", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("num", Integer, primary_key=True, autoincrement=False),
    Column("is_pr", Boolean, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("status", String(8), nullable=False),  # open | closed | merged | draft
    Column("author_id", Integer, ForeignKey("account.id")),
    Column("target_ref", String(300)),
    Column("merge_commit", String(40)),
    Column("base_commit", String(40)),  # where the target stood when it was merged
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger),
)  # fmt: skip

discussion_event = Table(
    "discussion_event", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    Column("repo_id", Integer, nullable=False),
    Column("num", Integer, nullable=False),
    Column("kind", String(16), nullable=False),  # comment | status-change | title-change | commit
    Column("author_id", Integer, ForeignKey("account.id")),
    Column("content", Text, nullable=False, default=""),  # of a comment, as it was written
    Column("data", Text, nullable=False, default="{}"),  # JSON: what else the kind needs
    Column("hidden", Boolean, nullable=False, default=False),
    Column("edited_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["repo_id", "num"], ["discussion.repo_id", "discussion.num"], ondelete="CASCADE"
    ),
    Index("ix_discussion_event_place", "repo_id", "num", "id"),
    sqlite_autoincrement=True,
)  # fmt: skip

attachment = Table(
    "attachment", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    owned("user_id", "account.id", index=True),
    Column("oid", String(64), nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content_type", String(100), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

repo_like = Table(
    "repo_like", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    owned("user_id", "account.id", primary_key=True, index=True),
    Column("created_ms", BigInteger, nullable=False, index=True),
)  # fmt: skip

follow = Table(
    "follow", metadata,
    owned("account_id", "account.id", primary_key=True),  # who is followed
    owned("user_id", "account.id", primary_key=True, index=True),  # by whom
    Column("created_ms", BigInteger, nullable=False),
)  # fmt: skip

collection = Table(
    "collection", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    owned("owner_id", "account.id", index=True),
    Column("slug", String(100), nullable=False),  # the title's part of its address
    Column("title", String(100), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("private", Boolean, nullable=False, default=False),
    Column("theme", String(16), nullable=False, default="orange"),
    Column("position", Integer, nullable=False, default=0),
    Column("upvotes", Integer, nullable=False, default=0),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False, index=True),
    sqlite_autoincrement=True,
)  # fmt: skip

collection_item = Table(
    "collection_item", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    owned("collection_id", "collection.id"),
    Column("type", String(16), nullable=False),  # a repo's type, or collection
    Column("repo_id", Integer, ForeignKey("repo.id", ondelete="CASCADE"), index=True),
    Column("other_id", Integer, ForeignKey("collection.id", ondelete="CASCADE")),
    Column("note", Text),
    Column("position", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("collection_id", "repo_id"),
    UniqueConstraint("collection_id", "other_id"),
    sqlite_autoincrement=True,
)  # fmt: skip

access_request = Table(
    "access_request", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    owned("repo_id", "repo.id"),
    owned("user_id", "account.id", index=True),
    Column("status", String(8), nullable=False),  # pending | accepted | rejected
    Column("asked", Boolean, nullable=False),  # by the user; else an owner let them in unasked
    Column("fields", Text, nullable=False, default="{}"),  # JSON: the form, as it was filled in
    Column("reason", Text, nullable=False, default=""),  # of a rejection
    Column("decided_by", Integer, ForeignKey("account.id")),
    Column("decided_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("repo_id", "user_id"),
    Index("ix_access_request_status", "repo_id", "status", "id"),
    sqlite_autoincrement=True,
)  # fmt: skip

device_code = Table(
    "device_code", metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the code the client polls with
    Column("user_code", String(64), nullable=False, unique=True),  # keyed hash of what is typed
    Column("client_id", String(100), nullable=False),
    Column("caller", String(32), nullable=False, index=True),  # keyed hash of the network
    Column("status", String(8), nullable=False),  # pending | granted | denied | used
    Column("user_id", Integer, ForeignKey("account.id", ondelete="CASCADE")),
    Column("token_id", Integer),  # the token it was granted with, which must still hold
    Column("polled_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)  # fmt: skip

device_guess = Table(
    "device_guess", metadata,
    owned("user_id", "account.id", primary_key=True),
    Column("misses", Integer, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)  # fmt: skip

oauth_session = Table(
    "oauth_session", metadata,
    own_id(),
    owned("user_id", "account.id", index=True),
    Column("client_id", String(100), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    sqlite_autoincrement=True,
)  # fmt: skip

oauth_refresh = Table(
    "oauth_refresh", metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256; the token is not kept
    owned("session_id", "oauth_session.id", index=True),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),  # a second use means that it was stolen
)  # fmt: skip

webhook = Table(
    "webhook", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    owned("user_id", "account.id", index=True),
    Column("url", Text, nullable=False),
    Column("watched", Text, nullable=False),  # JSON: [{"type", "name"}]
    Column("domains", Text, nullable=False),  # JSON: ["repo", "discussion"]
    Column("secret", Text, nullable=False, default=""),  # sealed: a dump does not tell it
    Column("disabled", Boolean, nullable=False, default=False),
    Column("disabled_reason", Text),  # when the hub did it
    Column("failures", Integer, nullable=False, default=0),  # deliveries given up in a row
    Column("failing_since_ms", BigInteger),  # the first attempt that failed since the last success
    Column("base_url", Text, nullable=False, default=""),  # the hub, as its owner called it
    Column("after_event", Integer, nullable=False, default=0),  # it hears of later ones
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

webhook_delivery = Table(
    "webhook_delivery", metadata,
    own_id(),
    Column("hub_id", String(24), nullable=False, unique=True),
    owned("webhook_id", "webhook.id"),
    Column("event_id", Integer),  # no foreign key: events are forgotten; null for a replay
    Column("event", Text, nullable=False),  # JSON: what the outbox held, until it is told
    Column("body", Text),  # JSON: what is sent, made at the first attempt
    Column("status", String(9), nullable=False),  # pending | delivered | failed
    Column("attempts", Integer, nullable=False, default=0),
    Column("reply_status", Integer),  # of the last attempt, when there was a reply
    Column("error", Text),
    Column("due_ms", BigInteger, nullable=False),  # not tried before
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    UniqueConstraint("webhook_id", "event_id"),  # an event is told once
    Index("ix_webhook_delivery_queue", "webhook_id", "status", "id"),
    Index("ix_webhook_delivery_due", "status", "due_ms"),
    sqlite_autoincrement=True,
)  # fmt: skip
