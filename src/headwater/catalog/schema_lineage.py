"""Tables of what weights say of their origin.

    model_unit        the models of a repo: the files of weights on its `main`
    sketch            what is kept of a model's weights to find its relatives, by its files' hash
    kinship           what two models are to each other, once it was found
    ancestry          that a model was traced, among whom
    ancestry_link     whom it comes from
    lineage_look      which commit of a repo was looked at, and how the repo stood

Edges lead from bytes to bytes; who may hear of one is asked of the repos that hold them. `scope`
says among whom a model was traced: 0 what is public, the id of an account that and what is its own,
-1 everything, for packing alone. The conventions are those of `schema`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from headwater.catalog.schema import PATH
from headwater.catalog.schema_base import metadata, own_id, owned

model_unit = Table(
    "model_unit", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("path", PATH, primary_key=True),  # of its file, or its first shard
    Column("key", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("came_ms", BigInteger, nullable=False),  # when its last file came to the repo
    Column("files", Text, nullable=False),  # JSON: [[path, SHA-256, bytes], …], as this repo has it
    Index("ix_model_unit_key", "key"),
)  # fmt: skip

sketch = Table(
    "sketch", metadata,
    own_id(),  # rises: who keeps the signs in memory asks for what came since
    Column("key", String(64), nullable=False),
    Column("state", String(8), nullable=False),  # made | none: no layers | failed
    Column("reason", Text),  # of a failure
    Column("rules", Integer, nullable=False),  # older ones are made anew
    Column("files", Text, nullable=False),  # JSON: [[SHA-256, bytes], …]; names are each repo's
    Column("signs", LargeBinary, nullable=False),  # 240 bytes to search by
    Column("body", LargeBinary, nullable=False),
    Column("shapes", String(64), nullable=False),  # hash of all tensors' shapes
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("key"),
    Index("ix_sketch_shapes", "shapes"),
    sqlite_autoincrement=True,
)  # fmt: skip

kinship = Table(
    "kinship", metadata,
    Column("one", String(64), primary_key=True),
    Column("other", String(64), primary_key=True),
    Column("rules", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the relation, MessagePack
    Index("ix_kinship_other", "other"),
)  # fmt: skip

ancestry = Table(
    "ancestry", metadata,
    Column("key", String(64), primary_key=True),
    Column("scope", Integer, primary_key=True, autoincrement=False),
    Column("rules", Integer, nullable=False),
    Column("failed", Text),  # why it could not be traced
    Column("evidence", Text, nullable=False),  # JSON lines on all links together
    Column("at_ms", BigInteger, nullable=False),
)  # fmt: skip

ancestry_link = Table(
    "ancestry_link", metadata,
    Column("key", String(64), primary_key=True),
    Column("scope", Integer, primary_key=True, autoincrement=False),
    Column("parent", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("decided", Boolean, nullable=False),
    Column("weight", Float, nullable=False),  # of the parent in a merge
    Index("ix_ancestry_link_parent", "parent", "scope"),
)  # fmt: skip

lineage_look = Table(
    "lineage_look", metadata,
    owned("repo_id", "repo.id", primary_key=True),
    Column("commit", String(40), nullable=False),
    Column("private", Boolean, nullable=False),  # these three as they were then
    Column("disabled", Boolean, nullable=False),
    Column("owner_id", Integer, nullable=False),
    Column("rules", Integer, nullable=False),  # 0: to be looked at again
    Column("at_ms", BigInteger, nullable=False),
)  # fmt: skip
