"""Puts the helpers of this folder within reach of its tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from store_kit import fresh_store  # noqa: E402  (it lies in the folder that was just added)

from headwater.store import Store  # noqa: E402


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty store, gone after the test."""
    with fresh_store() as made:
        yield made
