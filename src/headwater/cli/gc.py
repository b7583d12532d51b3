"""`headwater gc`: give back the space of what nothing names any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from headwater.app import Floors
from headwater.catalog.clock import now_ms
from headwater.cli.common import Data, opened
from headwater.errors import BadRequest
from headwater.store.blob import Blob


def gc(
    grace_s: Annotated[
        int | None, typer.Option(help="Seconds that unnamed bytes are kept. Default: gc_grace_s.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would go; change nothing.")] = False,
    data: Data = None,
) -> None:
    """Drop blobs, xorbs and git objects that nothing names and that are older than the grace.

    Safe while the hub serves: each is looked at again, under the lock, before it goes.
    """
    if grace_s is not None and grace_s < 0:
        raise BadRequest("the grace time cannot be negative")
    with opened(data) as floors:
        grace = floors.settings.gc_grace_s if grace_s is None else grace_s
        print(
            "\t".join(
                f"{number} {what}" for what, number in collect(floors, grace, dry_run).items()
            )
        )


def collect(floors: Floors, grace_s: int, dry_run: bool) -> dict[str, int]:
    """What went (or would), by kind. Blobs before xorbs: a recipe keeps its xorbs alive."""
    store, sweep = floors.store, floors.catalog.sweep
    before_ms = now_ms() - grace_s * 1000
    before_s = time.time() - grace_s
    gone = {"blobs": 0, "xorbs": 0, "git objects": 0, "bytes": 0}

    def blob_goes(blob: Blob, forget: Callable[[Callable[[], bool]], bool]) -> None:
        remove = partial(store.delete_blob, blob.oid, unless_written_since_s=before_s)
        if dry_run or forget(remove):
            gone["blobs"] += 1
            gone["bytes"] += blob.size_bytes if blob.layout == "plain" else 0

    for oid in sweep.dead_blobs(before_ms):
        blob = store.find(oid)
        if blob is not None:
            blob_goes(blob, partial(sweep.forget_blob, oid, before_ms))
        elif not dry_run:
            sweep.forget_blob(oid, before_ms, lambda: True)
    for blob in list(store.blobs()):
        if sweep.is_stray(blob.oid):
            blob_goes(blob, partial(sweep.forget_stray, blob.oid))
    for xorb, used_s, size_bytes in list(store.xorbs()):
        remove = partial(store.delete_xorb, xorb, unless_used_since_s=before_s)
        if used_s < before_s and (
            sweep.is_unused(xorb) if dry_run else sweep.forget_xorb(xorb, remove)
        ):
            gone["xorbs"] += 1
            gone["bytes"] += size_bytes
    if not dry_run:
        for repo_id in sweep.repo_ids():
            gone["git objects"] += sweep.sweep_objects(repo_id, before_ms)
        store.sweep_tmp(grace_s)
    return gone
