"""What all tests share: one live hub for each test worker, started when the first test asks."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Tests are imported by path, not as a package; helpers beside them are found through these.
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "clients")]

from effort import examples  # noqa: E402  (it lies in the folder that was just added)
from live import LiveHub  # noqa: E402

# How fast cases are made or end is no property of ours: a slow machine fails neither.
SLOW = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile(
    "effort", max_examples=examples(), deadline=None, suppress_health_check=SLOW
)
hypothesis.settings.load_profile("effort")


@pytest.fixture(scope="session")
def live_hub(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[LiveHub]:
    """A running hub, shared by the tests of this worker: each test takes users of its own."""
    folder = tmp_path_factory.mktemp("live-hub")
    hub = LiveHub(folder)
    hub.start()
    try:
        yield hub
        hub.stop()
    finally:
        hub.kill()
        if not request.session.testsfailed:
            shutil.rmtree(folder, ignore_errors=True)  # gigabytes; kept only to explain a failure


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that the workers end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
