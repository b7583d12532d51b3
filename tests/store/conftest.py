"""Puts the helpers of this folder within reach of its tests, and starts what they need.

    pytest tests/store                             stores on a local disk
    HEADWATER_TEST_STORE=s3 pytest tests/store     the same tests in a bucket of a real radosgw

Tests marked `s3` are about the bucket itself and start radosgw in either case; those marked
`local_disk` are about files and system calls, and are left out in a bucket.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import store_kit  # noqa: E402  (it lies in the folder that was just added)
from rgw import Ceph, NotHere, ceph  # noqa: E402

from effort import FULL  # noqa: E402
from headwater.store import Store  # noqa: E402


@pytest.fixture(scope="session")
def server() -> Iterator[Ceph]:
    """A running radosgw, for all tests of this run."""
    try:
        with ceph() as running:
            os.environ.update(running.env)
            yield running
    except NotHere as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session", autouse=True)
def where(request: pytest.FixtureRequest) -> None:
    """Before any store is opened: the bucket that all are in, if they are to be in one."""
    if store_kit.IN_BUCKET:
        store_kit.BUCKET[0] = request.getfixturevalue("server").bucket()


@pytest.fixture(autouse=True)
def only_local(request: pytest.FixtureRequest) -> None:
    if store_kit.IN_BUCKET and request.node.get_closest_marker("local_disk"):
        pytest.skip("about files and system calls of a local disk")
    if store_kit.IN_BUCKET and not FULL and request.node.get_closest_marker("coding"):
        pytest.skip("about what forms come to, wherever they lie: with HEADWATER_TEST_FULL only")


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty store, gone after the test."""
    with store_kit.fresh_store() as made:
        yield made


@pytest.fixture(scope="session")
def made_bucket(server: Ceph) -> str:
    return server.bucket()


@pytest.fixture
def url(made_bucket: str) -> str:
    """A place where nothing is yet."""
    return f"s3://{made_bucket}/{os.urandom(6).hex()}"
