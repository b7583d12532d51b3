"""docs/protocol.md and the route tables say the same: every row stands there, and no other.

python tests/hub/test_routes_documented.py    prints the table as the document should have it
"""

import re
import tempfile
from pathlib import Path

from headwater.catalog.catalog import Catalog
from headwater.hub.context import Hub
from headwater.hub.routes import table
from headwater.hub.signing import Signer
from headwater.settings import Settings
from headwater.store.store import Store

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
SECRET = bytes(32)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ROW = re.compile(
    r"^\| `(?P<method>[A-Z]+)(?P<head>, HEAD)?` \| `(?P<template>/[^`|]*)` \| (?P<right>[^|]+) \|",
    re.MULTILINE,
)
LIKE_A_ROW = re.compile(r"^\|\s*`?(?:" + "|".join(METHODS) + r")\b", re.MULTILINE)

Row = tuple[str, str, str, bool]


def served() -> list[Row]:
    """(method, template, right, answers HEAD too) of every route, in the order of the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = Settings(data=root)
        catalog = Catalog.open(
            settings.catalog_url, upload_ttl_s=settings.upload_ttl_s, secret=SECRET
        )
        try:
            hub = Hub(settings, catalog, Store.open(root / "store"), Signer(SECRET))
            return [(row.method, row.template, row.right, row.head) for row in table(hub)]
        finally:
            catalog.close()


def documented(text: str) -> list[Row]:
    """The same, as the document's tables say."""
    return [
        (found["method"], found["template"], found["right"].strip(), bool(found["head"]))
        for found in ROW.finditer(text)
    ]


def test_every_route_is_documented_and_every_documented_route_is_served() -> None:
    """Neither a secret door nor a promised one that is not there."""
    rows, said = served(), documented(DOCUMENT.read_text("utf-8"))
    assert set(rows) - set(said) == set(), "served, and not in docs/protocol.md"
    assert set(said) - set(rows) == set(), "in docs/protocol.md, and not served"
    assert len(said) == len(set(said)), "a row stands twice in docs/protocol.md"


def test_no_row_of_the_document_escapes_the_comparison() -> None:
    """A row that is written a little differently must not go unread."""
    text = DOCUMENT.read_text("utf-8")
    assert len(LIKE_A_ROW.findall(text)) == len(documented(text))


if __name__ == "__main__":
    for method, template, right, head in served():
        print(f"| `{method}{', HEAD' if head else ''}` | `{template}` | {right} |")
