"""Steps about refusals: what is missing, what is private, what is not one's own."""

from __future__ import annotations

from content import noise, text
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from stepkit import Context, Facts, refused, same_bytes, step


@step
def missing(context: Context) -> Facts:
    """Every kind of missing thing has its own error, by every way of asking."""
    api, repo, nothing = context.api, context.repo("basic"), context.repo("nothing")
    refused(RepositoryNotFoundError, context.fetched, nothing, "a.txt")
    refused(RepositoryNotFoundError, api.repo_info, nothing, status=404)
    refused(RepositoryNotFoundError, api.list_repo_tree, nothing)
    refused(
        RepositoryNotFoundError,
        api.upload_file,
        path_or_fileobj=b"x",
        path_in_repo="x",
        repo_id=nothing,
    )
    refused(RevisionNotFoundError, context.fetched, repo, "notes.txt", revision="no")
    refused(RevisionNotFoundError, api.repo_info, repo, status=404, revision="no")
    refused(RevisionNotFoundError, api.list_repo_tree, repo, revision="no")
    refused(RevisionNotFoundError, api.snapshot_download, repo, revision="no")
    refused(
        RevisionNotFoundError,
        api.upload_file,
        path_or_fileobj=b"x",
        path_in_repo="x",
        repo_id=repo,
        revision="no",
    )
    refused(EntryNotFoundError, context.fetched, repo, "no.txt")
    refused(EntryNotFoundError, context.fetched, repo, "notes.txt/under")
    refused(EntryNotFoundError, api.delete_file, "no.txt", repo)
    return {}


@step
def private(context: Context) -> Facts:
    """A private repo and a missing one look the same to a stranger and to nobody."""
    api, repo = context.api, context.repo("secret")
    files = {"s.txt": text(f"{context.seed}/s"), "s.bin": noise(f"{context.seed}/s", 500_000)}
    for path, data in files.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo)
        same_bytes(context.fetched(repo, path), data, f"{path} for its owner")
    for token, status in ((context.stranger, 404), (False, 401)):
        other = context.other(token)
        refused(RepositoryNotFoundError, other.repo_info, repo, status=status)
        for path in files:
            refused(RepositoryNotFoundError, context.fetched, repo, path, api=other)
        refused(RepositoryNotFoundError, other.list_repo_tree, repo)
        refused(RepositoryNotFoundError, other.list_repo_refs, repo)
    stranger = context.other(context.stranger)
    refused(
        RepositoryNotFoundError,
        stranger.upload_file,
        path_or_fileobj=b"x",
        path_in_repo="x",
        repo_id=repo,
    )
    refused(RepositoryNotFoundError, stranger.delete_repo, repo)
    return {}


@step
def not_ones_own(context: Context) -> Facts:
    """A stranger reads what is public and changes nothing."""
    repo, stranger = context.repo("basic"), context.other(context.stranger)
    wanted = text(context.seed)
    same_bytes(context.fetched(repo, "notes.txt", api=stranger), wanted, "a public file")
    for data in (b"x", noise(f"{context.seed}/foreign", 100_000)):
        refused(
            HfHubHTTPError,
            stranger.upload_file,
            status=403,
            path_or_fileobj=data,
            path_in_repo="x",
            repo_id=repo,
        )
    refused(HfHubHTTPError, stranger.delete_file, "notes.txt", repo, status=403)
    refused(HfHubHTTPError, stranger.create_branch, repo, status=403, branch="mine")
    refused(HfHubHTTPError, stranger.delete_repo, repo, status=403)
    refused(HfHubHTTPError, stranger.create_repo, context.repo("theirs"), status=403)
    same_bytes(context.fetched(repo, "notes.txt"), wanted, "the public file, unchanged")
    return {}
