"""Stores of every format there was, as releases left them: each byte still comes out, forever.

Read by the store of this release and, for what it can decode, by the decoder in docs/format.md,
which shares no code with it.
"""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from headwater.store import Store

HERE = Path(__file__).resolve().parent
PAGE = (HERE.parents[1] / "docs" / "format.md").read_text("utf-8")
BLOBS = {"store-1": 3, "store-2": 24}


@pytest.fixture(params=sorted(BLOBS))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, since opening a store makes its lock file."""
    return shutil.copytree(HERE / request.param, tmp_path / request.param)


def names(root: Path, suffix: str) -> list[str]:
    return sorted(path.stem for path in root.glob(f"blobs/*/*/*{suffix}"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_byte_comes_out(golden: Path) -> None:
    store = Store.open(golden)
    blobs = list(store.blobs())
    assert len(blobs) == BLOBS[golden.name]
    for blob in blobs:
        data = b"".join(store.read(blob.oid))
        assert len(data) == blob.size_bytes
        assert sha256(data) == blob.oid
        middle = b"".join(store.read(blob.oid, len(data) // 3, len(data) // 2))
        assert middle == data[len(data) // 3 : len(data) // 2]
    for xorb, _, _ in store.xorbs():
        index = store.xorb(xorb)
        assert index is not None
        assert list(store.read_xorb(xorb, 0, index.stored_bytes))
    assert list(store.check(data=True)) == []


def test_the_decoder_of_the_format_page_agrees(golden: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    page: dict[str, Any] = {}
    exec("\n".join(blocks), page)
    decoded = 0
    for oid in names(golden, ".packed"):
        try:
            data = page["read"](golden, oid)
        except AssertionError:  # a formula: the page tells of it, its decoder does not know it
            continue
        assert sha256(data) == oid
        decoded += 1
    assert decoded >= 0.8 * len(names(golden, ".packed"))
    for kind in ("plain", "chunked", "packed", "tensor", "virtual", "xorb"):
        for path in golden.rglob(f"*.{kind}"):
            assert page["verify"](path) == (kind, path.stem)


def test_every_form_is_among_them() -> None:
    """What this release can read, it has once written into the newest store."""
    root = HERE / "store-2"
    kinds = {path.suffix for path in root.rglob("*.*")}
    assert kinds == {".plain", ".chunked", ".packed", ".held", ".tensor", ".virtual", ".xorb"}
