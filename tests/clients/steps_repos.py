"""Steps about whole repos: datasets and spaces, moving, privacy, deletion."""

from __future__ import annotations

from content import MB, noise, text
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from stepkit import Context, Facts, check, refused, same, same_bytes, same_set, step

DATASET_CARD = b"""---
license: cc-by-4.0
task_categories: [text-classification]
size_categories: [n<1K]
---
A dataset.
"""
SPACE_CARD = b"""---
title: A space
sdk: static
---
"""


@step
def dataset(context: Context) -> Facts:
    api, repo = context.api, context.repo("data")
    api.create_repo(repo, repo_type="dataset")
    files = {
        "README.md": DATASET_CARD,
        "train.csv": b"text,label\nyes,1\nno,0\n",
        "blob.bin": noise(f"{context.seed}/dataset", MB),
    }
    for path, data in files.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo, repo_type="dataset")
        same_bytes(context.fetched(repo, path, repo_type="dataset"), data, f"{path} of a dataset")
    info = api.dataset_info(repo)
    same(info.id, repo, "id of the dataset")
    check("task_categories:text-classification" in info.tags, f"its task among {info.tags}")
    found = [each.id for each in api.list_datasets(author=context.user)]
    same_set(found, [repo], "datasets of the user")
    by_task = api.list_datasets(author=context.user, task_categories="text-classification")
    same_set((each.id for each in by_task), [repo], "datasets by task")
    refused(RepositoryNotFoundError, api.model_info, repo)
    return {}


@step
def space(context: Context) -> Facts:
    api, repo = context.api, context.repo("app")
    api.create_repo(repo, repo_type="space", space_sdk="static")
    for path, data in {"README.md": SPACE_CARD, "index.html": b"<p>hi</p>"}.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo, repo_type="space")
        same_bytes(context.fetched(repo, path, repo_type="space"), data, f"{path} of a space")
    info = api.space_info(repo)
    same(info.id, repo, "id of the space")
    same(info.sdk, "static", "sdk of the space")
    found = [each.id for each in api.list_spaces(author=context.user)]
    same_set(found, [repo], "spaces of the user")
    return {}


@step
def move(context: Context) -> Facts:
    """After a move both names lead to the files: scripts that hold the old one go on working."""
    api, old, new = context.api, context.repo("before"), context.repo("after")
    files = {"a.txt": text(f"{context.seed}/move"), "a.bin": noise(f"{context.seed}/move", MB)}
    api.create_repo(old)
    for path, data in files.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=old)
    refused(HfHubHTTPError, api.move_repo, from_id=old, to_id=context.repo("basic"))
    api.move_repo(from_id=old, to_id=new)
    for repo in (new, old):
        for path, data in files.items():
            same_bytes(context.fetched(repo, path), data, f"{path} of {repo} after the move")
        same(api.repo_info(repo).id, new, f"id of {repo} after the move")
    listed = [model.id for model in api.list_models(author=context.user)]
    check(new in listed and old not in listed, f"only the new name among {listed}")
    return {}


@step
def settings(context: Context) -> Facts:
    api, repo = context.api, context.repo("after")
    nobody = context.other(False)
    data = text(f"{context.seed}/move")
    api.update_repo_settings(repo, private=True)
    same(api.repo_info(repo).private, True, "private after the change")
    refused(RepositoryNotFoundError, nobody.repo_info, repo)
    refused(RepositoryNotFoundError, context.fetched, repo, "a.txt", api=nobody)
    same_bytes(context.fetched(repo, "a.txt"), data, "a.txt for its owner")
    if hasattr(api, "update_repo_visibility"):  # until 0.x
        api.update_repo_visibility(repo, private=False)
    else:
        api.update_repo_settings(repo, visibility="public")
    same(api.repo_info(repo).private, False, "private after the change back")
    same_bytes(context.fetched(repo, "a.txt", api=nobody), data, "a.txt for everybody")
    return {}


@step
def delete_repo(context: Context) -> Facts:
    api = context.api
    for name, kind in (("list-a", "model"), ("after", "model"), ("app", "space")):
        repo = context.repo(name)
        api.delete_repo(repo, repo_type=kind)
        check(not api.repo_exists(repo, repo_type=kind), f"deleted {kind} {repo} does not exist")
        refused(RepositoryNotFoundError, api.delete_repo, repo, repo_type=kind)
        api.delete_repo(repo, repo_type=kind, missing_ok=True)
    refused(RepositoryNotFoundError, context.fetched, context.repo("after"), "a.txt")
    return {}
