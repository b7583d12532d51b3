"""Metrics: counted right, summed over workers, for admins only, and without a word of a user."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from live import LiveHub
from raw import Raw

DATA = b"0123456789" * 400_000  # large enough that the reply writes to the socket itself
LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def numbers(hub: LiveHub) -> dict[tuple[str, str], float]:
    """(name, labels as text) -> value."""
    reply = httpx.get(f"{hub.url}/metrics", headers=admin(hub), trust_env=False)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain")
    return {(name, labels): float(value) for name, labels, value in LINE.findall(reply.text)}


def admin(hub: LiveHub) -> dict[str, str]:
    return {"Authorization": f"Bearer {hub.admin_token}"}


def total(found: dict[tuple[str, str], float], name: str, *labels: str) -> float:
    return sum(v for (n, text), v in found.items() if n == name and all(x in text for x in labels))


@pytest.fixture(scope="module", params=[1, 2])
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveHub]:
    hub = LiveHub(tmp_path_factory.mktemp(f"metrics-{request.param}"))
    hub.start(workers=request.param)
    yield hub
    hub.kill()


def test_requests_and_bytes_are_counted(hub: LiveHub) -> None:
    """Every worker counts, on connections of its own; the answer of any is the sum."""
    with Raw(hub.url, hub.token("meg")) as raw:
        assert raw.create("meg/m").status == 200
        oid, _ = raw.lfs("meg/m", DATA)
        assert raw.commit("meg/m", {}, {"w.bin": (oid, len(DATA))}).status == 200
    before = numbers(hub)
    for _ in range(20):
        reply = httpx.get(f"{hub.url}/meg/m/resolve/main/w.bin", trust_env=False)
        assert reply.content == DATA
        assert httpx.get(f"{hub.url}/meg/m/resolve/main/no", trust_env=False).status_code == 404
    resolve = 'route="/{prefix}{id}/resolve/{rev}/{path*}"'

    def since(name: str, *labels: str) -> float:
        return total(after, name, *labels) - total(before, name, *labels)

    deadline = time.monotonic() + 10
    while True:  # the last is counted when its connection has been told, not when we have read it
        after = numbers(hub)
        if since("headwater_http_requests_total", resolve) >= 40:
            break
        assert time.monotonic() < deadline
    for status, times in (("2xx", 20), ("4xx", 20)):
        labels = (resolve, 'method="GET"', f'status="{status}"')
        assert since("headwater_http_requests_total", *labels) == times
    assert since("headwater_http_sent_bytes_total", resolve, 'status="2xx"') == 20 * len(DATA)
    assert since("headwater_http_request_seconds_count", resolve) == 40
    assert total(after, "headwater_workers") == hub.workers
    assert total(after, "headwater_resident_memory_bytes") > 20e6 * hub.workers
    assert total(after, "headwater_cpu_seconds") > 0
    assert total(after, "headwater_http_requests_running") >= 1, "this very one"


def test_no_label_holds_what_a_user_wrote(hub: LiveHub) -> None:
    with httpx.Client(base_url=hub.url, trust_env=False) as client:
        client.get("/secret-owner/secret-repo/resolve/secret-rev/secret-path?secret=secret")
        client.get("/api/secret/secret")
        client.request(
            "PROPFIND", "/secret", headers={"User-Agent": "secret", "X-Request-Id": "s3"}
        )
        text = client.get("/metrics", headers=admin(hub)).text
    assert "secret" not in text
    assert "PROPFIND" not in text
    assert 'route="none"' in text


def test_admins_only(hub: LiveHub) -> None:
    assert httpx.get(f"{hub.url}/metrics", trust_env=False).status_code == 401
    meg = {"Authorization": f"Bearer {hub.token('meg')}"}
    assert httpx.get(f"{hub.url}/metrics", headers=meg, trust_env=False).status_code == 403


def test_from_this_machine_when_the_settings_say_so(tmp_path: Path) -> None:
    """But not by a proxy of ours on behalf of somebody else."""
    hub = LiveHub(tmp_path)
    hub.data.mkdir()
    (hub.data / "headwater.toml").write_text("metrics_loopback = true\n")
    hub.start()
    try:
        assert httpx.get(f"{hub.url}/metrics", trust_env=False).status_code == 200
        behind = {"X-Forwarded-For": "203.0.113.9"}
        reply = httpx.get(f"{hub.url}/metrics", headers=behind, trust_env=False)
        assert reply.status_code == 401
    finally:
        hub.kill()
