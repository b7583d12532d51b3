"""Steps about buckets: files without history, over Xet, with the releases that know them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from content import noise, scratch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from stepkit import Context, Facts, check, refused, same, same_set, step

try:
    from huggingface_hub.errors import BucketNotFoundError
except ImportError:  # before 2.0
    BucketNotFoundError = HfHubHTTPError  # type: ignore[assignment, misc]

KNOWS_BUCKETS = hasattr(HfApi, "create_bucket") and hasattr(HfApi, "copy_files")
SKIPPED: Facts = {"skipped": "this release has no buckets, or uploads are made without Xet"}
FOLLOW_S_MAX = 20.0


@step
def buckets(context: Context) -> Facts:
    """Made, found, filled, listed, read back, changed, moved, deleted."""
    if not (KNOWS_BUCKETS and context.xet):
        return SKIPPED
    api, name = context.api, context.repo("bucket")
    same(api.create_bucket("bucket").bucket_id, name, "a bucket of one's own namespace")
    api.create_bucket(name, exist_ok=True)
    refused(HfHubHTTPError, api.create_bucket, name, status=409)
    large = noise(f"{context.seed}/bucket", 3_000_000)
    files = {"a/b/large.bin": large, "hello.txt": b"hello", "empty.txt": b"", "a.txt": b"beside a"}
    api.batch_bucket_files(name, add=[(data, path) for path, data in files.items()])
    info = api.bucket_info(name)
    same((info.total_files, info.size), (4, sum(map(len, files.values()))), "totals")
    same_set((bucket.id for bucket in api.list_buckets()), [name], "one's own buckets")
    same_set(_paths(api, name, recursive=True), files, "all files")
    same_set(_paths(api, name), ["a", "a.txt", "hello.txt", "empty.txt"], "the first level")
    same_set(_paths(api, name, prefix="a/b"), ["a/b/large.bin"], "a folder")
    known = api.get_bucket_paths_info(name, ["hello.txt", "nothing"])
    same([(file.path, file.size) for file in known], [("hello.txt", 5)], "paths info")
    same(api.get_bucket_file_metadata(name, "a/b/large.bin").size, len(large), "metadata")
    with scratch(context.work) as made:
        folder = Path(made)
        wanted = [(path, str(folder / path)) for path in files]
        api.download_bucket_files(name, wanted)
        for path, data in files.items():
            check((folder / path).read_bytes() == data, f"{path} comes back as it was")
    api.batch_bucket_files(name, add=[(b"changed", "hello.txt")], delete=["empty.txt"])
    same(next(iter(api.get_bucket_paths_info(name, ["hello.txt"]))).size, 7, "overwritten")
    refused(HfHubHTTPError, api.batch_bucket_files, name, delete=["nothing"])
    if not hasattr(api, "update_bucket_settings"):  # 1.x
        api.delete_bucket(name)
        api.create_bucket(name, private=True)
    else:
        api.update_bucket_settings(name, private=True)
        same(api.bucket_info(name).total_files, 3, "files after the change")
    for token in (context.stranger, False):
        refused(BucketNotFoundError, context.other(token).bucket_info, name)
    moved = context.repo("bucket-moved")
    api.move_bucket(name, moved)
    same(api.bucket_info(moved).private, True, "the bucket under its new name")
    api.delete_bucket(moved)
    refused(BucketNotFoundError, api.bucket_info, moved)
    api.delete_bucket(moved, missing_ok=True)
    return {}


@step
def bucket_copies(context: Context) -> Facts:
    """From a repo and another bucket, without sending the bytes again; a folder kept in step."""
    if not (KNOWS_BUCKETS and context.xet):
        return SKIPPED
    api, name, model = context.api, context.repo("copies"), context.repo("copied")
    data = noise(f"{context.seed}/copied", 1_500_000)
    api.create_repo(model)
    api.upload_file(path_or_fileobj=data, path_in_repo="w/w.bin", repo_id=model)
    api.upload_file(path_or_fileobj=b"# card", path_in_repo="w/README.md", repo_id=model)
    api.create_bucket(name)
    api.copy_files(f"hf://{model}/w/", f"hf://buckets/{name}/from/")
    api.copy_files(f"hf://buckets/{name}/from", f"hf://buckets/{name}/again")
    same_set(
        _paths(api, name, recursive=True),
        [f"{folder}/{file}" for folder in ("from", "again") for file in ("w.bin", "README.md")],
        "copies",
    )
    with scratch(context.work) as made:
        folder = Path(made)
        (folder / "up").mkdir()
        (folder / "up" / "one.txt").write_text("1")
        api.sync_bucket(str(folder / "up"), f"hf://buckets/{name}/sync", quiet=True)
        api.sync_bucket(f"hf://buckets/{name}/again", str(folder / "down"), quiet=True)
        check((folder / "down" / "w.bin").read_bytes() == data, "a synced folder")
    check(f"{name}/sync/one.txt" in _found(context, f"{name}/sync"), "the file system sees it")
    api.delete_bucket(name)
    return {}


@step
def bucket_follower(context: Context) -> Facts:
    """The client's own follower hears of a change without listing again."""
    if not (KNOWS_BUCKETS and context.xet):
        return SKIPPED
    try:
        from huggingface_hub._bucket_live_follow import BucketEventsUnavailable, _follow_events
    except ImportError:
        return {"skipped": "this release does not follow buckets"}
    api, name = context.api, context.repo("followed")
    api.create_bucket(name)
    heard: list[Any] = []
    ready, done = threading.Event(), threading.Event()

    def follow() -> None:
        try:
            events = _follow_events(context.endpoint, name, api.token, None, done.is_set)
            for event in events:
                heard.append(event)
                ready.set()
                if hasattr(event, "changes"):
                    done.set()
                    return
        except BucketEventsUnavailable as error:
            heard.append(error)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    check(ready.wait(FOLLOW_S_MAX), "the stream begins")
    api.batch_bucket_files(name, add=[(b"news", "n.txt")])
    limit = time.monotonic() + FOLLOW_S_MAX
    while not done.is_set() and time.monotonic() < limit:
        time.sleep(0.05)
    changes = [change for event in heard for change in getattr(event, "changes", ())]
    same([(c.op, c.path, c.size) for c in changes], [("add", "n.txt", 4)], "what was heard")
    api.delete_bucket(name)
    return {}


def _paths(api: Any, name: str, **options: Any) -> list[str]:
    return [entry.path for entry in api.list_bucket_tree(name, **options)]


def _found(context: Context, folder: str) -> list[str]:
    from huggingface_hub import HfFileSystem

    system = HfFileSystem(endpoint=context.endpoint, token=context.api.token)
    return [path.removeprefix("buckets/") for path in system.ls(f"buckets/{folder}", detail=False)]
