"""Steps about operations on whole repos: squash, duplicate, large files for good, checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from content import noise, scratch, sha256, text
from huggingface_hub import CommitOperationCopy
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from stepkit import Context, Facts, check, refused, same, same_bytes, same_set, step

SIZE = 300_000  # of a large file: small enough to be quick, large enough to be one


def lacking(context: Context, *methods: str) -> Facts:
    """What a step says that this release has no method for; empty when it has them all."""
    missing = [name for name in methods if not hasattr(context.api, name)]
    return {"skipped": f"this release has no {', '.join(missing)}"} if missing else {}


def filled(context: Context, name: str) -> tuple[str, dict[str, bytes]]:
    """A new repo with two versions of a large file and a small one; (its id, its files now)."""
    api, repo = context.api, context.repo(name)
    api.create_repo(repo)
    for version in ("old", "new"):
        files = {
            "notes.txt": text(f"{context.seed}/{name}/{version}"),
            "ckpt/w.bin": noise(f"{context.seed}/{name}/{version}", SIZE),
        }
        for path, data in files.items():
            api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo)
    return repo, files


def all_there(context: Context, repo: str, files: dict[str, bytes], **options: Any) -> None:
    for path, data in files.items():
        same_bytes(context.fetched(repo, path, **options), data, f"{path} of {repo}")


@step
def super_squash(context: Context) -> Facts:
    if skipped := lacking(context, "super_squash_history"):
        return skipped
    api = context.api
    repo, files = filled(context, "squashed")
    api.create_branch(repo, branch="side/x")
    api.create_tag(repo, tag="v1")
    api.super_squash_history(repo, commit_message="All in one")
    (only,) = api.list_repo_commits(repo)
    same(only.title, "All in one", "title of the squashed commit")
    all_there(context, repo, files)
    check(len(api.list_repo_commits(repo, revision="side/x")) > 2, "another branch has its history")
    api.super_squash_history(repo, branch="side/x")
    same(len(api.list_repo_commits(repo, revision="side/x")), 1, "commits of the squashed branch")
    all_there(context, repo, files, revision="v1")
    commit = api.upload_file(
        path_or_fileobj=b"more", path_in_repo="more.txt", repo_id=repo, create_pr=True
    )
    api.super_squash_history(repo, branch=commit.pr_revision)
    same(len(api.list_repo_commits(repo, revision=commit.pr_revision)), 1, "commits of the PR")
    refused(RevisionNotFoundError, api.super_squash_history, repo, branch="nowhere")
    refused(BadRequestError, api.super_squash_history, repo, branch="v1")
    return {}


@step
def lfs_files(context: Context) -> Facts:
    """Take the old version out of the history, then the new one out of the repo alone."""
    if skipped := lacking(context, "list_lfs_files", "permanently_delete_lfs_files"):
        return skipped
    api = context.api
    repo, files = filled(context, "cleaned")
    old = noise(f"{context.seed}/cleaned/old", SIZE)
    listed = {each.file_oid: each for each in api.list_lfs_files(repo)}
    same_set(listed, [sha256(old), sha256(files["ckpt/w.bin"])], "large files of the history")
    same({each.filename for each in listed.values()}, {"ckpt/w.bin"}, "their names")
    same({each.size for each in listed.values()}, {SIZE}, "their sizes")
    titles = [commit.title for commit in api.list_repo_commits(repo)]
    api.permanently_delete_lfs_files(repo, [listed[sha256(old)]])
    same([commit.title for commit in api.list_repo_commits(repo)], titles, "titles after rewriting")
    all_there(context, repo, files)
    (left,) = api.list_lfs_files(repo)
    head = api.repo_info(repo).sha
    api.permanently_delete_lfs_files(repo, [left], rewrite_history=False)
    same(api.repo_info(repo).sha, head, "the head, when history is not rewritten")
    same(list(api.list_lfs_files(repo)), [], "large files left")
    check("ckpt/w.bin" in api.list_repo_files(repo), "the tree still names the deleted file")
    refused(EntryNotFoundError, context.fetched, repo, "ckpt/w.bin", status=410)
    same_bytes(context.fetched(repo, "notes.txt"), files["notes.txt"], "notes.txt")
    api.upload_file(path_or_fileobj=files["ckpt/w.bin"], path_in_repo="ckpt/w.bin", repo_id=repo)
    all_there(context, repo, files)
    stranger = context.other(context.stranger)
    refused(HfHubHTTPError, stranger.list_lfs_files, repo, status=403)
    return {}


@step
def duplicate(context: Context) -> Facts:
    if skipped := lacking(context, "duplicate_repo"):
        return skipped
    api = context.api
    repo, files = filled(context, "original")
    api.create_tag(repo, tag="v1", tag_message="The first")
    made = api.duplicate_repo(repo, context.repo("copy"))
    same(made.repo_id, context.repo("copy"), "id of the copy")
    check(not getattr(made, "files_copy_pending", False), "no file is pending")
    all_there(context, made.repo_id, files, revision="v1")
    same(
        [commit.commit_id for commit in api.list_repo_commits(made.repo_id)],
        [commit.commit_id for commit in api.list_repo_commits(repo)],
        "history of the copy",
    )
    again = api.duplicate_repo(repo, context.repo("copy"), exist_ok=True)
    same(again.repo_id, made.repo_id, "id of a copy that exists")
    refused(HfHubHTTPError, api.duplicate_repo, repo, context.repo("copy"), status=409)
    hidden = api.duplicate_repo(repo, context.repo("hidden-copy"), private=True)
    check(api.repo_info(hidden.repo_id).private, "a copy made private is private")
    twice = api.duplicate_repo(hidden.repo_id, context.repo("copy-of-hidden"))
    check(api.repo_info(twice.repo_id).private, "the copy of a private repo is private")
    stranger = context.other(context.stranger)
    refused(RepositoryNotFoundError, stranger.duplicate_repo, hidden.repo_id)
    return {}


@step
def copy_across_repos(context: Context) -> Facts:
    """Small files are sent anew by the client; large ones are linked, if they came by Xet."""
    if "src_repo_id" not in CommitOperationCopy.__dataclass_fields__:
        return {"skipped": "this release copies inside one repo only"}
    api = context.api
    repo, files = filled(context, "giver")
    target = context.repo("taker")
    api.create_repo(target, private=True)
    names = list(files) if context.xet else ["notes.txt"]
    operations = [
        CommitOperationCopy(path, f"from/{path}", src_repo_id=repo, src_repo_type="model")
        for path in names
    ]
    api.create_commit(target, operations, commit_message="Copy")
    all_there(context, target, {f"from/{path}": files[path] for path in names})
    if context.xet:
        api.copy_files(f"hf://{repo}/ckpt/w.bin", f"hf://{target}/again.bin")
        same_bytes(context.fetched(target, "again.bin"), files["ckpt/w.bin"], "again.bin")
    return {"copied": len(names)}


@step
def verify_checksums(context: Context) -> Facts:
    """`hf cache verify`: ordinary and large files, before and after a squash."""
    if skipped := lacking(context, "verify_repo_checksums", "super_squash_history"):
        return skipped
    api = context.api
    repo, files = filled(context, "verified")
    with scratch(context.work) as folder:
        for _ in range(2):
            cache = Path(folder, api.repo_info(repo).sha)
            api.snapshot_download(repo, cache_dir=cache)
            found = api.verify_repo_checksums(repo, cache_dir=cache)
            same(found.checked_count, len(files) + 1, "files looked at")
            same((found.mismatches, found.missing_paths), ([], []), "what is wrong with a snapshot")
            api.super_squash_history(repo)
        local = Path(folder, "local")
        api.snapshot_download(repo, local_dir=local)
        (local / "ckpt/w.bin").write_bytes(files["notes.txt"])
        (local / "notes.txt").write_bytes(files["ckpt/w.bin"])
        found = api.verify_repo_checksums(repo, local_dir=local)
        same_set(
            (each["path"] for each in found.mismatches), ["ckpt/w.bin", "notes.txt"], "swapped"
        )
    return {}
