"""Steps about people and finding: likes, followers, profiles, collections, tags, filters."""

from __future__ import annotations

import json
import time
import urllib.request
from inspect import signature
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from stepkit import Context, Facts, check, refused, same, same_set, step

CARD = """---
license: mit
language: en
library_name: peft
pipeline_tag: text-generation
tags: [{mark}]
datasets: [squad]
---
A model.
"""
SPACE = """---
title: Painter of {mark}
sdk: static
models: [{model}]
datasets: [squad]
---
"""
DATA = """---
license: mit
language: [en]
multilinguality: [monolingual]
size_categories: [n<1K]
task_categories: [fill-mask]
task_ids: [masked-language-modeling]
language_creators: [found]
tags: ["benchmark:official"]
---
"""


def call(context: Context, method: str, path: str) -> Any:
    """A request that no method of the client makes: liking and following are done on pages."""
    request = urllib.request.Request(
        f"{context.endpoint}{path}",
        method=method,
        headers={"Authorization": f"Bearer {context.api.token}"},
    )
    with urllib.request.urlopen(request) as reply:
        return json.loads(reply.read())


def put(context: Context, name: str, card: str, kind: str = "model", **options: Any) -> str:
    """A repo with this card."""
    repo = context.repo(name)
    context.api.create_repo(repo, repo_type=kind, **options)
    context.api.upload_file(
        path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo, repo_type=kind
    )
    return repo


@step
def likes(context: Context) -> Facts:
    api = context.api
    mark = f"mark-{context.user}"
    model = put(context, "liked", CARD.format(mark=mark))
    space = put(context, "painter", SPACE.format(mark=mark, model=model), "space",
                space_sdk="static")  # fmt: skip
    put(context, "words", DATA, "dataset")
    hidden = put(context, "liked-secret", CARD.format(mark=mark), private=True)
    for path in (f"models/{model}", f"spaces/{space}", f"models/{hidden}"):
        call(context, "POST", f"/api/{path}/like")
        call(context, "POST", f"/api/{path}/like")
    same(api.model_info(model).likes, 1, "likes of the model")
    same([each.username for each in api.list_repo_likers(model)], [context.user], "likers")
    mine = api.list_liked_repos()
    same_set(mine.models, [model, hidden], "models that I like")
    same_set(mine.spaces, [space], "spaces that I like")
    theirs = context.other(context.stranger).list_liked_repos(context.user)
    same_set(theirs.models, [model], "what a stranger sees of my likes")
    refused(RepositoryNotFoundError, context.other(False).list_repo_likers, hidden)
    api.unlike(hidden)
    api.unlike(hidden)
    same_set(api.list_liked_repos().models, [model], "models that I like after all")
    return {}


@step
def profiles(context: Context) -> Facts:
    api = context.api
    if not hasattr(api, "list_user_followers"):
        return {"skipped": "this release has no profiles"}
    call(context, "POST", "/api/users/stranger/follow")
    same([each.username for each in api.list_user_following(context.user)], ["stranger"],
         "whom I follow")  # fmt: skip
    followers = [each.username for each in api.list_user_followers("stranger")]
    check(context.user in followers, f"I am among {followers}")
    me = api.get_user_overview(context.user)
    other = context.other(context.stranger).get_user_overview(context.user)
    same((me.username, me.num_likes, me.num_following), (context.user, 2, 1), "my profile")
    for seen, who in ((me, api), (other, context.other(context.stranger))):
        same(seen.num_models, len(list(who.list_models(author=context.user))), "models counted")
    check(other.num_models < me.num_models, "a stranger does not count private models")
    same((other.num_datasets, other.num_spaces), (me.num_datasets, me.num_spaces), "public ones")
    check(api.get_user_overview("stranger").is_following, "I follow the stranger")
    call(context, "DELETE", "/api/users/stranger/follow")
    same(list(api.list_user_following(context.user)), [], "whom I follow after all")
    refused(HfHubHTTPError, api.get_user_overview, "nobody-of-that-name", status=404)
    if hasattr(api, "get_organization_overview"):
        refused(HfHubHTTPError, api.get_organization_overview, context.user, status=404)
    return {}


@step
def collections(context: Context) -> Facts:
    api, stranger = context.api, context.other(context.stranger)
    model, space, hidden = (context.repo(name) for name in ("liked", "painter", "liked-secret"))
    made = api.create_collection(title="My things", description="some")
    check(made.slug.startswith(f"{context.user}/my-things-"), made.slug)
    refused(HfHubHTTPError, api.create_collection, "My things", status=409)
    same(api.create_collection("My things", exists_ok=True).slug, made.slug, "the one there is")
    api.add_collection_item(made.slug, model, "model", note="good")
    api.add_collection_item(made.slug, hidden, "model")
    full = api.add_collection_item(made.slug, space, "space")
    refused(HfHubHTTPError, api.add_collection_item, made.slug, model, "model", status=409)
    api.add_collection_item(made.slug, model, "model", exists_ok=True)
    refused(HfHubHTTPError, api.add_collection_item, made.slug, context.repo("none"), "model",
            status=404)  # fmt: skip
    refused(HfHubHTTPError, api.add_collection_item, made.slug, "2311.12983", "paper", status=400)
    refused(HfHubHTTPError, stranger.add_collection_item, made.slug, model, "model", status=403)
    same([(item.item_id, item.note) for item in full.items],
         [(model, "good"), (hidden, None), (space, None)], "items")  # fmt: skip
    seen = stranger.get_collection(made.slug)
    same([(item.item_id, item.position) for item in seen.items], [(model, 0), (space, 1)],
         "what a stranger sees")  # fmt: skip
    last = full.items[2].item_object_id
    api.update_collection_item(made.slug, last, position=0, note="best")
    same([item.item_id for item in api.get_collection(made.slug).items], [space, model, hidden],
         "after the move")  # fmt: skip
    api.delete_collection_item(made.slug, last)
    refused(HfHubHTTPError, api.delete_collection_item, made.slug, last, status=404)
    api.delete_collection_item(made.slug, last, missing_ok=True)
    new = api.update_collection_metadata(
        made.slug, title="Renamed", description="d", position=0, private=False, theme="green"
    )
    same((new.title, new.theme, new.position), ("Renamed", "green", 0), "metadata")
    same(api.get_collection(made.slug).slug, new.slug, "the old slug leads to the new one")
    inner = api.create_collection("Inner", private=True)
    api.add_collection_item(new.slug, inner.slug, "collection")
    same([i.item_id for i in api.get_collection(new.slug).items], [model, hidden, inner.slug],
         "a collection in a collection")  # fmt: skip
    refused(HfHubHTTPError, stranger.get_collection, inner.slug, status=404)
    listed = [each.slug for each in api.list_collections(owner=context.user)]
    same_set(listed, [new.slug, inner.slug], "my collections")
    holding = [each.slug for each in stranger.list_collections(item=f"models/{model}", limit=5)]
    same(holding, [new.slug], "collections that hold the model")
    same(list(stranger.list_collections(item=f"models/{hidden}")), [], "those of a hidden one")
    for sort in ("lastModified", "trending", "upvotes"):
        found = list(stranger.list_collections(owner=[context.user], sort=sort))
        same([each.slug for each in found], [new.slug], f"by {sort}")
    if hasattr(api, "update_collection_resource_group"):
        group = "0" * 24
        refused(HfHubHTTPError, api.update_collection_resource_group, new.slug, group, status=422)
        api.update_collection_resource_group(new.slug, None)
    refused(HfHubHTTPError, stranger.delete_collection, new.slug, status=403)
    for slug in (new.slug, inner.slug):
        api.delete_collection(slug)
    refused(HfHubHTTPError, api.delete_collection, new.slug, status=404)
    api.delete_collection(new.slug, missing_ok=True)
    return {}


@step
def tags_by_type(context: Context) -> Facts:
    time.sleep(1.1)  # an answer is kept for a second, and somebody may just have asked
    models, datasets = context.api.get_model_tags(), context.api.get_dataset_tags()
    check({"id": "license:mit", "label": "mit", "type": "license"} in models["license"], "mit")
    check("text-generation" in [each["id"] for each in models["pipeline_tag"]], "the task")
    check(datasets["task_categories"], "tasks of datasets")
    return {}


@step
def filters(context: Context) -> Facts:
    """Every parameter of the listings of this release is taken and means what it says."""
    api, me = context.api, context.user
    model, space, words = (context.repo(name) for name in ("liked", "painter", "words"))

    def models(**asked: Any) -> list[str]:
        known = signature(api.list_models).parameters
        if missing := [name for name in asked if name not in known]:
            return [f"no {name}" for name in missing]
        return [each.id for each in context.other(False).list_models(author=me, **asked)]

    mark = f"mark-{me}"
    for asked in (
        {"filter": mark},
        {"filter": [mark, "license:mit", "en", "peft"]},
        {"filter": mark, "pipeline_tag": "text-generation"},
        {"filter": mark, "trained_dataset": "squad"},
        {"search": "LIKED"},
        {"filter": mark, "gated": False},
    ):
        if (found := models(**asked)) != ["no trained_dataset"]:
            same(found, [model], f"models by {asked}")
    for asked in ({"inference": "warm"}, {"inference_provider": "all"}, {"apps": "vllm"},
                  {"num_parameters": "min:1B,max:500B"}, {"gated": True}):  # fmt: skip
        if (found := models(**asked)) and not found[0].startswith("no "):
            same(found, [], f"models by {asked}")
    for sort in ("created_at", "downloads", "last_modified", "likes", "trending_score"):
        check(model in models(sort=sort), f"the model by {sort}")
    refused(HfHubHTTPError, api.list_models, sort="nonsense", status=400)
    of_data = {
        "language": "en", "language_creators": "found", "multilinguality": "monolingual",
        "size_categories": "n<1K", "task_categories": "fill-mask",
        "task_ids": "masked-language-modeling",
    }  # fmt: skip
    if "benchmark" in signature(api.list_datasets).parameters:
        of_data["benchmark"] = "official"
    for name, value in of_data.items():
        found = [each.id for each in api.list_datasets(author=me, **{name: value})]
        check(words in found, f"the dataset by {name}")
        check(not list(api.list_datasets(author=me, **{name: "none"})), f"nothing by {name}")
    for asked in ({"models": model}, {"datasets": ["squad"], "models": [model]}, {"linked": True}):
        same([s.id for s in api.list_spaces(author=me, **asked)], [space], f"spaces by {asked}")
    same(list(api.list_spaces(author=me, models="x/none")), [], "spaces of no model")
    return {}


@step
def search_spaces(context: Context) -> Facts:
    if not hasattr(context.api, "search_spaces"):
        return {"skipped": "this release does not search spaces"}
    space = context.repo("painter")
    found = list(context.api.search_spaces(f"painter of mark-{context.user}"))
    same(found[0].id, space, "the best space")
    check(found[0].title.startswith("Painter of"), found[0].title)
    check(0 < (found[0].semantic_relevancy_score or 0) <= 1, "a score")
    check(not list(context.api.search_spaces("painter", sdk="gradio")), "none of another SDK")
    return {}


@step
def user_repos(context: Context) -> Facts:
    if not hasattr(context.api, "list_user_repos"):
        return {"skipped": "this release does not list one's own repos"}
    mine = {(each.id, each.type): each for each in context.api.list_user_repos()}
    check((context.repo("words"), "dataset") in mine, "the dataset is there")
    same(mine[context.repo("liked-secret"), "model"].visibility, "private", "visibility")
    return {}
