"""Ordering: lists that people arrange, of which some readers see only a part.

    moved(order, seen, what, to)   the whole order after `what` went to place `to` of those seen
    renumber(conn, column, …)      write an order back, only the rows that changed

Places are 0, 1, 2 … without gaps, for each reader among what that reader sees: a gap would tell
that something private stands there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Table, bindparam, update


def moved(order: Sequence[int], seen: Collection[int], what: int, to: int) -> list[int]:
    """`order` with `what` at place `to` (clamped) among the `seen`; the others keep their order.

    What the caller cannot see stays where it is, as close as may be: `what` goes right before
    the seen row that then follows it, or to the very end.
    """
    rest = [row for row in order if row != what]
    shown = [row for row in rest if row in seen]
    to = max(0, to)
    if to >= len(shown):
        return [*rest, what]
    at = rest.index(shown[to])
    return [*rest[:at], what, *rest[at:]]


def renumber(conn: Connection, table: Table, order: Sequence[tuple[int, int]]) -> None:
    """Give rows of `table` the positions 0, 1, …: `order` holds (row id, position so far)."""
    changes = [
        {"at": row_id, "place": place}
        for place, (row_id, before) in enumerate(order)
        if before != place
    ]
    if changes:
        statement = update(table).where(table.c.id == bindparam("at"))
        conn.execute(statement.values(position=bindparam("place")), changes)
