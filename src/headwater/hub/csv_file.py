"""A table as a CSV file that is safe to open.

Spreadsheets run what begins like a formula, and the cells are what strangers typed. Such a cell
gets an apostrophe before it, which spreadsheets take for "this is text" (OWASP, CSV injection);
every cell is quoted, so that none can end and begin another.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from starlette.responses import Response

_BEGINS_FORMULA = frozenset("=+-@|%＝＋－＠")  # somewhere; full-width forms included


def safe_cell(text: str) -> str:
    """The text, never a formula. Blanks and what is not shown are looked past: programs skip them,
    some this and some that."""
    first = next((char for char in text if char.isprintable() and not char.isspace()), "")
    return f"'{text}" if first in _BEGINS_FORMULA else text


def csv_file(rows: Iterable[Iterable[str]], name: str, headers: Mapping[str, str]) -> Response:
    """Rows of text as a download called `name` (ASCII)."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    for row in rows:
        writer.writerow([safe_cell(cell) for cell in row])
    return Response(
        out.getvalue().encode(),
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            **headers,
        },
    )
