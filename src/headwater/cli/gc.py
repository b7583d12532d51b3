"""`headwater gc`: give back the space of what nothing names any more."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from headwater.app import Floors
from headwater.catalog.clock import now_ms
from headwater.cli.common import Data, opened
from headwater.errors import BadRequest, Unavailable
from headwater.store.blob import Blob
from headwater.store.store import Store


def gc(
    grace_s: Annotated[
        int | None, typer.Option(help="Seconds that unnamed bytes are kept. Default: gc_grace_s.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would go; change nothing.")] = False,
    data: Data = None,
) -> None:
    """Drop blobs, xorbs, tensors and git objects that nothing names, older than the grace.

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
    """What went (or would), by kind. Git objects go first, since they keep blobs alive, and blobs
    before xorbs, since a recipe keeps those, and tensors last, with the blobs that only a virtual
    xorb kept; a dry run cannot see what would only then be free."""
    store, sweep = floors.store, floors.catalog.sweep
    before_ms = now_ms() - grace_s * 1000
    before_s = time.time() - grace_s
    gone = {"blobs": 0, "xorbs": 0, "tensors": 0, "git objects": 0, "bytes": 0}

    def blob_goes(blob: Blob, forget: Callable[[Callable[[], bool]], bool]) -> None:
        remove = partial(store.delete_blob, blob.oid, unless_written_since_s=before_s)
        if dry_run or forget(remove):
            gone["blobs"] += 1
            gone["bytes"] += blob.size_bytes if blob.layout == "plain" else 0

    if not dry_run:
        for repo_id in sweep.repo_ids():
            gone["git objects"] += sweep.sweep_objects(repo_id, before_ms)
    for oid in sweep.dead_blobs(before_ms):
        blob = store.find(oid)
        if blob is not None:
            blob_goes(blob, partial(sweep.forget_blob, oid, before_ms))
        elif not dry_run:
            sweep.forget_blob(oid, before_ms, lambda: True)

    def strays_go() -> None:
        for blob in list(store.blobs()):
            if sweep.is_stray(blob.oid):
                blob_goes(blob, partial(sweep.forget_stray, blob.oid))

    strays_go()
    for xorb, used_s, size_bytes in list(store.xorbs()):
        remove = partial(store.delete_xorb, xorb, unless_used_since_s=before_s)
        if used_s < before_s and (
            sweep.is_unused(xorb) if dry_run else sweep.forget_xorb(xorb, remove)
        ):
            gone["xorbs"] += 1
            gone["bytes"] += size_bytes
    _sweep_tensors(store, before_s, gone, dry_run)
    if not dry_run:
        strays_go()
        store.sweep_tmp(grace_s)
    return gone


def _sweep_tensors(store: Store, before_s: float, gone: dict[str, int], dry_run: bool) -> None:
    """Tensors that nothing names; what a packing job needs just now is left to the next run."""
    try:
        tensors, size_bytes = store.sweep_tensors(before_s, dry_run=dry_run)
    except Unavailable as error:
        print(f"headwater: tensors are left to the next gc: {error.message}", file=sys.stderr)
        return
    gone["tensors"] += tensors
    gone["bytes"] += size_bytes
