"""Steps about who gets in: gates and those who ask, and repos by the names they once had."""

from __future__ import annotations

import base64
import inspect
import itertools
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from content import noise, scratch, sha256, text
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from stepkit import Context, Facts, check, refused, same, same_bytes, step

GATED_CARD = b"""---
extra_gated_prompt: Do no harm.
extra_gated_fields:
  Company: text
  I agree: checkbox
---
A model behind a gate.
"""
ANSWERS = {"Company": "=1+1", "I agree": True}
SECONDS_MAX = 30


def posted(context: Context, path: str, body: object, token: str, scheme: str = "Bearer") -> Any:
    """What no client release has a method for: a plain request, as curl sends it."""
    if scheme == "Basic":  # as git-lfs does
        token = base64.b64encode(f"user:{token}".encode()).decode()
    request = urllib.request.Request(
        context.endpoint + path,
        json.dumps(body).encode(),
        {"Authorization": f"{scheme} {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS_MAX) as reply:
        return json.loads(reply.read())


def asked(context: Context, repo: str) -> str:
    """The stranger asks for access; the status."""
    path = f"/api/models/{repo}/user-access-request"
    status: str = posted(context, path, {"fields": ANSWERS}, context.stranger)["status"]
    return status


def _takes(method: Callable[..., object], parameter: str) -> bool:
    """Whether this release's method has that parameter."""
    return parameter in inspect.signature(method).parameters


@step
def gate(context: Context) -> Facts:
    """A gate by hand: refused, asked, waiting, accepted, taken back, rejected, granted."""
    api, repo = context.api, context.repo("gated")
    stranger, data = context.other(context.stranger), noise(f"{context.seed}/gated", 300_000)
    api.create_repo(repo)
    for path, content in {"README.md": GATED_CARD, "w.bin": data, "c.txt": b"small"}.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo)
    api.update_repo_settings(repo, gated="manual")
    same(api.model_info(repo).gated, "manual", "the gate in the info")

    def shut(words: str) -> None:
        for path in ("w.bin", "c.txt"):
            refused(GatedRepoError, context.fetched, repo, path, api=stranger)
        refused(GatedRepoError, stranger.auth_check, repo, status=403)
        refused(GatedRepoError, stranger.snapshot_download, repo, cache_dir=context.work / "no")
        try:
            stranger.auth_check(repo)
        except GatedRepoError as error:
            check(words in str(error), f"{words!r} in {error}")

    def opened() -> None:
        stranger.auth_check(repo)
        same_bytes(context.fetched(repo, "w.bin", api=stranger), data, "a file behind the gate")
        with scratch(context.work) as cache:
            folder = stranger.snapshot_download(repo, cache_dir=cache)
            same_bytes((Path(folder) / "w.bin").read_bytes(), data, "the same, by snapshot")

    shut(f"Access to model {repo} is restricted and you are not in the authorized list")
    same_bytes(context.fetched(repo, "README.md", api=stranger), GATED_CARD, "the card")
    refused(HfHubHTTPError, stranger.list_pending_access_requests, repo, status=403)
    refused(HfHubHTTPError, api.accept_access_request, repo, "stranger", status=404)

    same(asked(context, repo), "pending", "status after asking")
    same(asked(context, repo), "pending", "status after asking again")
    shut(f"Your request to access model {repo} is awaiting a review")
    (request,) = api.list_pending_access_requests(repo)
    same((request.username, request.status), ("stranger", "pending"), "the request")
    same(request.fields, ANSWERS, "its answers")
    check(request.timestamp.tzinfo, "its time has a zone")

    api.accept_access_request(repo, "stranger")
    opened()
    same([r.username for r in api.list_accepted_access_requests(repo)], ["stranger"], "accepted")
    refused(HfHubHTTPError, api.accept_access_request, repo, "stranger", status=404)
    refused(HfHubHTTPError, api.grant_access, repo, "stranger", status=400)
    api.cancel_access_request(repo, "stranger")
    shut("is awaiting a review")
    api.reject_access_request(repo, "stranger", rejection_reason="not you")
    shut(f"Your request to access model {repo} has been rejected by the repo's authors.")
    same([r.username for r in api.list_rejected_access_requests(repo)], ["stranger"], "rejected")
    api.grant_access(repo, "stranger")
    opened()
    api.update_repo_settings(repo, gated=False)
    opened()
    api.delete_repo(repo)
    return {}


@step
def gate_by_itself(context: Context) -> Facts:
    """An automatic gate; and a private repo, which lets in nobody who was accepted.

    Releases before 2.0 know neither `visibility` nor `auth_check(write=True)`: they say `private`,
    and skip the check.
    """
    api, repo = context.api, context.repo("auto")
    stranger, data = context.other(context.stranger), text(f"{context.seed}/auto")
    api.create_repo(repo)
    for path, content in {"README.md": GATED_CARD, "t.txt": data}.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo)
    api.update_repo_settings(repo, gated="auto")
    refused(GatedRepoError, context.fetched, repo, "t.txt", api=context.other(False))
    same(asked(context, repo), "accepted", "status at an automatic gate")
    same_bytes(context.fetched(repo, "t.txt", api=stranger), data, "a file at once")
    checks_writing = _takes(api.auth_check, "write")
    if checks_writing:
        api.auth_check(repo, write=True)
        refused(HfHubHTTPError, stranger.auth_check, repo, status=403, write=True)
    says_visibility = _takes(api.update_repo_settings, "visibility")
    hidden = {"visibility": "private"} if says_visibility else {"private": True}
    shown = {"visibility": "public"} if says_visibility else {"private": False}
    api.update_repo_settings(repo, **hidden)
    refused(RepositoryNotFoundError, context.fetched, repo, "t.txt", api=stranger)
    api.update_repo_settings(repo, **shown)
    same_bytes(context.fetched(repo, "t.txt", api=stranger), data, "a file again")
    api.delete_repo(repo)
    return {"checked_writing": checks_writing, "said_visibility": says_visibility}


@step
def old_names(context: Context) -> Facts:
    """A repo that moved twice works by every name it had, for reading and for writing."""
    api, names = context.api, [context.repo(f"named-{n}") for n in ("first", "second", "third")]
    data = noise(f"{context.seed}/named", 400_000)
    api.create_repo(names[0])
    api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=names[0])
    for source, target in itertools.pairwise(names):
        api.move_repo(source, target)
    for name in (*names, names[0].upper().replace(context.user.upper(), context.user)):
        same(api.model_info(name).id, names[2], f"id by the name {name}")
        same_bytes(context.fetched(name, "w.bin"), data, f"a file by the name {name}")
        with scratch(context.work) as cache:
            folder = api.snapshot_download(name, cache_dir=cache)
            same_bytes((Path(folder) / "w.bin").read_bytes(), data, f"a snapshot by {name}")
    for number, size in ((0, 100), (1, 500_000)):
        late = noise(f"{context.seed}/late{number}", size)
        api.upload_file(path_or_fileobj=late, path_in_repo=f"late{number}", repo_id=names[number])
        same_bytes(context.fetched(names[2], f"late{number}"), late, "what came by an old name")

    batch = {
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": sha256(data), "size": len(data)}],
    }
    path = f"/{names[0]}.git/info/lfs/objects/batch"
    token = context.api.token
    (found,) = posted(context, path, batch, token, "Basic")["objects"]
    with urllib.request.urlopen(found["actions"]["download"]["href"], timeout=SECONDS_MAX) as reply:
        same_bytes(reply.read(), data, "a file by git-lfs's batch and the old name")

    stranger = context.other(context.stranger)
    refused(HfHubHTTPError, stranger.create_repo, names[0], status=403)
    refused(RepositoryNotFoundError, api.delete_repo, names[0])  # deleting wants the real name
    api.create_repo(names[0])  # its owner may end the old name
    same(api.model_info(names[0]).id, names[0], "id of the new repo")
    same(api.model_info(names[1]).id, names[2], "id by the other old name")
    for name in (names[0], names[2]):
        api.delete_repo(name)
    refused(RepositoryNotFoundError, api.model_info, names[1])
    api.create_repo(names[1])  # a buried name goes back to its owner
    api.delete_repo(names[1])
    return {}
