"""Steps that put files into repos: identity, creation, uploads of every kind, deletions."""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path

from content import (
    BIG,
    MB,
    disk_bytes,
    edited,
    folder,
    found,
    noise,
    scratch,
    sha256,
    shared,
    text,
    weights,
    written,
)
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from stepkit import (
    Context,
    Facts,
    check,
    extra_step,
    refused,
    same,
    same_bytes,
    same_set,
    step,
)

OID = re.compile(r"[0-9a-f]{40}\Z")
GIT_ATTRIBUTES = ".gitattributes"  # the hub's own first commit adds it
EDITED = "edited.bin"


@step
def whoami(context: Context) -> Facts:
    me = context.api.whoami()
    same(me["name"], context.user, "whoami name")
    same(me["type"], "user", "whoami type")
    same(me["auth"]["accessToken"]["role"], "write", "role of the token")
    # 0.x raises the error class of requests here; both releases' errors are OSErrors
    refused(OSError, context.other("hf_" + "x" * 34).whoami, status=401)
    return {}


@step
def create(context: Context) -> Facts:
    api = context.api
    for name in ("basic", "tree"):
        url = api.create_repo(context.repo(name))
        same(url.repo_id, context.repo(name), "id of the created repo")
    again = api.create_repo(context.repo("basic"), exist_ok=True)
    same(again.repo_id, context.repo("basic"), "id of the repo created once more")
    refused(HfHubHTTPError, api.create_repo, context.repo("basic"), status=409)
    api.create_repo(context.repo("secret"), private=True)
    api.create_repo(context.repo("secret"), private=True, exist_ok=True)
    same(api.repo_info(context.repo("secret")).private, True, "private of a private repo")
    same(api.repo_info(context.repo("basic")).private, False, "private of a public repo")
    return {}


@step
def upload_file(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    files = {"notes.txt": text(context.seed), "data.bin": noise(f"{context.seed}/5", 5 * MB)}
    with scratch(context.work) as local:
        root = written(files, Path(local))
        for path, data in files.items():
            # The same bytes twice: the second upload must not make a commit.
            for _ in range(2):
                commit = api.upload_file(
                    path_or_fileobj=root / path, path_in_repo=path, repo_id=repo
                )
            check(OID.match(commit.oid), f"commit id {commit.oid!r} has 40 hex digits")
            check(commit.commit_url.startswith(context.endpoint), "commit url is on the endpoint")
            same_bytes(context.fetched(repo, path), data, path)
    titles = [commit.title for commit in api.list_repo_commits(repo)]
    same(len(titles), 3, f"commits after two uploads, each repeated ({titles})")
    return {}


@step
def upload_folder(context: Context) -> Facts:
    api, repo = context.api, context.repo("tree")
    files = folder(context.seed)
    before = disk_bytes(context.store)
    with scratch(context.work) as local:
        api.upload_folder(folder_path=written(files, Path(local)), repo_id=repo)
    grown = disk_bytes(context.store) - before
    same_set(api.list_repo_files(repo), [*files, GIT_ATTRIBUTES], "files after upload_folder")
    if context.xet:
        home = Path(os.environ["HF_HOME"])
        check(any((home / "xet").rglob("*.mdb")), "the upload went through Xet (shards are cached)")
    return {"size_bytes": sum(map(len, files.values())), "grown_bytes": grown}


@step
def snapshot(context: Context) -> Facts:
    api, repo = context.api, context.repo("tree")
    files = folder(context.seed)
    later = {GIT_ATTRIBUTES, EDITED}
    with scratch(context.work) as local:
        cache, target = f"{local}/cache", f"{local}/target"
        path = Path(api.snapshot_download(repo, cache_dir=cache))
        got = dict(found(path))
        same_set(got.keys() - later, files, "files of a snapshot")
        for name, data in files.items():
            same_bytes(got[name], data, name)
        same(path.name, api.repo_info(repo).sha, "a snapshot is named after its commit")
        offline = api.snapshot_download(repo, cache_dir=cache, local_files_only=True)
        same(offline, str(path), "the snapshot from the cache alone")
        shutil.rmtree(cache)

        patterns = ["nested/1/**", "*.md", "données/*", "odd/*"]
        api.snapshot_download(repo, local_dir=target, allow_patterns=patterns)
        starts = ("nested/1/", "README.md", "données/", "odd/")
        some = {name: data for name, data in files.items() if name.startswith(starts)}
        got = dict(found(Path(target)))
        same_set(got, some, "files of a snapshot with patterns")
        for name, data in some.items():
            same_bytes(got[name], data, f"{name} in a local folder")
    return {"files": len(files)}


@step
def reupload_edited(context: Context) -> Facts:
    """A lightly edited copy of a big file: by Xet, only its new chunks may reach the store."""
    api, repo = context.api, context.repo("tree")
    data = edited(context.seed)
    before = disk_bytes(context.store)
    with scratch(context.work) as local:
        path = written({EDITED: data}, Path(local)) / EDITED
        api.upload_file(path_or_fileobj=str(path), path_in_repo=EDITED, repo_id=repo)
    grown = disk_bytes(context.store) - before
    same_bytes(context.fetched(repo, EDITED), data, EDITED)
    same_bytes(context.fetched(repo, BIG), weights(context.seed), f"{BIG} beside its edited copy")
    return {"size_bytes": len(data), "grown_bytes": grown}


@step
def upload_bytesio(context: Context) -> Facts:
    """A file object: the client never sends it by Xet, so LFS must take it."""
    data = noise(f"{context.seed}/stream", 20 * MB)
    context.api.upload_file(
        path_or_fileobj=io.BytesIO(data),
        path_in_repo="stream/a.bin",
        repo_id=context.repo("basic"),
    )
    same_bytes(context.fetched(context.repo("basic"), "stream/a.bin"), data, "stream/a.bin")
    return {}


@step
def create_commit(context: Context) -> Facts:
    """Several operations at once, bytes given in memory, and copies within the repo."""
    api, repo = context.api, context.repo("basic")
    files = {f"many/{i}.txt": text(f"{context.seed}/{i}") for i in range(3)}
    files["many/raw.bin"] = noise(f"{context.seed}/raw", 300_000)
    adds = [CommitOperationAdd(path, data) for path, data in files.items()]
    commit = api.create_commit(
        repo, adds, commit_message="Add many", commit_description="Four of them."
    )
    for path, data in files.items():
        same_bytes(context.fetched(repo, path), data, path)
    newest = api.list_repo_commits(repo)[0]
    same(newest.commit_id, commit.oid, "newest commit")
    same(newest.title, "Add many", "title of the newest commit")
    check("Four of them." in newest.message, "the description is part of the message")
    mixed = [
        CommitOperationCopy("many/raw.bin", "many/copy.bin"),
        CommitOperationCopy("many/1.txt", "many/copy.txt"),
        CommitOperationDelete("many/2.txt"),
    ]
    api.create_commit(repo, mixed, commit_message="Copy and delete")
    same_bytes(context.fetched(repo, "many/copy.bin"), files["many/raw.bin"], "a copied LFS file")
    same_bytes(context.fetched(repo, "many/copy.txt"), files["many/1.txt"], "a copied text file")
    check(not api.file_exists(repo, "many/2.txt"), "many/2.txt is deleted")
    return {}


@step
def delete_file(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    api.delete_file("many/copy.txt", repo)
    check(not api.file_exists(repo, "many/copy.txt"), "a deleted file does not exist")
    check(api.file_exists(repo, "many/1.txt"), "its neighbour still exists")
    refused(EntryNotFoundError, context.fetched, repo, "many/copy.txt")
    refused(EntryNotFoundError, api.delete_file, "many/copy.txt", repo)
    return {}


@step
def delete_folder(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    api.delete_folder("many", repo)
    left = api.list_repo_files(repo)
    check(not any(path.startswith("many/") for path in left), "a deleted folder is empty")
    same_set(
        left, [GIT_ATTRIBUTES, "notes.txt", "data.bin", "stream/a.bin"], "files outside the folder"
    )
    return {}


@extra_step
def share(context: Context) -> Facts:
    """Upload what other releases will read."""
    files = shared(context.seed)
    context.api.create_repo(context.repo("shared"))
    with scratch(context.work) as local:
        context.api.upload_folder(
            folder_path=written(files, Path(local)), repo_id=context.repo("shared")
        )
    return {"files": {path: sha256(data) for path, data in files.items()}}


@extra_step
def read_shared(context: Context) -> Facts:
    """Download what every owner shared; an owner's name is also the seed of its content."""
    for owner in context.owners:
        files = shared(owner)
        with scratch(context.work) as cache:
            got = dict(
                found(Path(context.api.snapshot_download(f"{owner}/shared", cache_dir=cache)))
            )
        same_set(got.keys() - {GIT_ATTRIBUTES}, files, f"files shared by {owner}")
        for path, data in files.items():
            same_bytes(got[path], data, f"{path} shared by {owner}")
    return {"owners": len(context.owners)}
