"""A push that meets a full disk: said as such, nothing half there, and all well afterwards (F8).

`/dev/full` is a disk without room: the kernel itself answers ENOSPC.
"""

import os
from collections.abc import Iterator
from typing import IO

import pytest
from git_kit import NOTHING, GitHub, git_hub

from headwater.catalog import git_scratch
from headwater.formats.pkt_line import FLUSH, pkt
from headwater.hub import spool
from packs import history, pack

MAIN = "refs/heads/main"


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with git_hub() as made:
        yield made


def no_room(**_: object) -> IO[bytes]:
    return open("/dev/full", "w+b")


@pytest.mark.parametrize("size", [10, 300_000])  # within one buffer of the file, and beyond
def test_the_body_has_no_room(hub: GitHub, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    head = hub.head
    new, entries = history({b"a": bytes(range(10)) * (size // 10)}, head)
    command = pkt(f"{head} {new} {MAIN}\0report-status") + FLUSH
    # A body that does not shrink: the pack is larger than the file's own buffer.
    body = command + pack(entries) + b"\0" * size
    before = hub.objects(), hub.audits()
    with monkeypatch.context() as patched:
        patched.setattr(spool.tempfile, "TemporaryFile", no_room)
        answer = hub.post("git-receive-pack", body)
    assert answer.status == 507, answer
    assert b"Not enough storage" in answer.body
    assert (hub.head, hub.objects(), hub.audits()) == (head, *before)
    assert hub.push_main(entries, new) == ["unpack ok", f"ok {MAIN}"]


def test_the_scratch_has_no_room(hub: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """git shows what the report says: it reads no body of a 507."""
    head = hub.head
    new, entries = history({b"a": os.urandom(500_000)}, head)
    before = hub.objects(), hub.audits()
    with monkeypatch.context() as patched:
        settings = git_scratch._SETTINGS + "PRAGMA max_page_count=20;"
        patched.setattr(git_scratch, "_SETTINGS", settings)
        said = hub.push_main(entries, new)
    assert said[0].startswith("unpack Not enough storage on the hub")
    assert (hub.head, hub.objects(), hub.audits()) == (head, *before)
    assert hub.push_main(entries, new) == ["unpack ok", f"ok {MAIN}"]
    assert NOTHING != hub.head == new
