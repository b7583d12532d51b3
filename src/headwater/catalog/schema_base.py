"""What all tables share: one metadata, and how ids and owners are spelled."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, MetaData

# Named constraints, so that a migration on either database can name what it changes.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def own_id() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


def owned(name: str, target: str, **kw: object) -> Column[int]:
    return Column(name, Integer, ForeignKey(target, ondelete="CASCADE"), nullable=False, **kw)  # type: ignore[arg-type]
