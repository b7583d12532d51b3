"""what was packed"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "packing",
        sa.Column("oid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("bases", sa.String(length=32), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("looked_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("oid", name=op.f("pk_packing")),
    )
    with op.batch_alter_table("packing", schema=None) as batch_op:
        batch_op.create_index("ix_packing_looked_ms", ["looked_ms"], unique=False)
        batch_op.create_index("ix_packing_at_ms", ["at_ms"], unique=False)

    with op.batch_alter_table("repo_blob", schema=None) as batch_op:
        batch_op.create_index("ix_repo_blob_created_ms", ["created_ms"], unique=False)
