"""What likes, profiles and collections look like in JSON: Hugging Face's shapes.

Bodies that clients send are structs, replies are made here from the catalog's records.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from headwater.catalog.clock import iso
from headwater.catalog.collection_items import Item
from headwater.catalog.collection_list import Collection
from headwater.catalog.likes import Like
from headwater.catalog.models import Repo
from headwater.catalog.persons import Person
from headwater.catalog.profiles import Profile
from headwater.hub.wire import Wire


class ItemRef(Wire, frozen=True, kw_only=True):
    id: str
    type: str


class CreateCollection(Wire, frozen=True, kw_only=True):
    title: str
    namespace: str | None = None
    description: str = ""
    private: bool = False
    resource_group_id: str | None = None


class ChangeCollection(Wire, frozen=True, kw_only=True):
    title: str | None = None
    description: str | None = None
    private: bool | None = None
    theme: str | None = None
    position: int | None = None


class AddItem(Wire, frozen=True, kw_only=True):
    item: ItemRef
    note: str | None = None


class ChangeItem(Wire, frozen=True, kw_only=True):
    note: str | None = None
    position: int | None = None


class ResourceGroup(Wire, frozen=True, kw_only=True):
    resource_group_id: str | None = None


def avatar(base: str, name: str) -> str:
    return f"{base}/avatars/{name}.svg"


def person(who: Person, base: str) -> dict[str, Any]:
    """One of a list of people; an organisation has a `name` too, a member perhaps a `role`."""
    body: dict[str, Any] = {
        "_id": who.hub_id,
        "user": who.name,
        "fullname": who.fullname,
        "avatarUrl": avatar(base, who.name),
        "isPro": False,
        "isFollowing": who.followed,
        "type": who.kind,
    }
    if who.kind == "org":
        body["name"] = who.name
    if who.role is not None:
        body["role"] = who.role
    return body


def org(who: Person, base: str) -> dict[str, Any]:
    """An organisation where only organisations stand."""
    return {
        "_id": who.hub_id,
        "name": who.name,
        "fullname": who.fullname,
        "avatarUrl": avatar(base, who.name),
        "isVerified": False,
        "isFollowing": who.followed,
        "type": "org",
    }


def user_overview(profile: Profile, base: str) -> dict[str, Any]:
    return {
        **person(profile.person, base),
        **_counts(profile),
        "details": None,
        "createdAt": iso(profile.created_ms),
        "numDiscussions": profile.discussions,
        "numUpvotes": 0,
        "numLikes": profile.likes,
        "numFollowing": profile.following,
        "orgs": [org(who, base) for who in profile.orgs],
    }


def org_overview(profile: Profile, base: str) -> dict[str, Any]:
    return {
        **org(profile.person, base),
        **_counts(profile),
        "details": None,
        "createdAt": iso(profile.created_ms),
        "numUsers": profile.members,
        "plan": None,
    }


def _counts(profile: Profile) -> dict[str, int]:
    return {
        "numModels": profile.repos.get("model", 0),
        "numDatasets": profile.repos.get("dataset", 0),
        "numSpaces": profile.repos.get("space", 0),
        "numKernels": profile.repos.get("kernel", 0),
        "numBuckets": profile.repos.get("bucket", 0),
        "numPapers": 0,
        "numFollowers": profile.followers,
    }


def like(each: Like) -> dict[str, Any]:
    repo = {"_id": each.hub_id, "name": each.full, "type": each.type}
    return {"createdAt": iso(each.created_ms), "repo": repo}


def collection(found: Collection, base: str) -> dict[str, Any]:
    """`position` is not in lists: there the client counts by itself."""
    body: dict[str, Any] = {
        "slug": found.full_slug,
        "title": found.title,
        "description": found.description,
        "owner": {
            "name": found.owner,
            "fullname": found.owner_fullname,
            "type": found.owner_kind,
            "avatarUrl": avatar(base, found.owner),
        },
        "items": [_item(item) for item in found.items],
        "lastUpdated": iso(found.updated_ms),
        "private": found.private,
        "theme": found.theme,
        "upvotes": found.upvotes,
        "isUpvotedByUser": False,
    }
    if found.position is not None:
        body["position"] = found.position
    return body


def _item(item: Item) -> dict[str, Any]:
    body: dict[str, Any] = {"_id": item.hub_id, "position": item.position}
    if item.note:
        body["note"] = {"text": item.note, "html": escape(item.note)}
    if isinstance(item.target, Repo):
        return body | repo_card(item.target)
    other = item.target
    return body | {
        "id": other.hub_id,
        "type": "collection",
        "slug": other.full_slug,
        "title": other.title,
        "lastUpdated": iso(other.updated_ms),
        "private": other.private,
    }


def repo_card(repo: Repo) -> dict[str, Any]:
    """A repo among others, in few words."""
    body: dict[str, Any] = {
        "id": repo.full,
        "type": repo.type,
        "author": repo.namespace,
        "private": repo.private,
        "gated": repo.gated or False,
        "lastModified": iso(repo.updated_ms),
        "downloads": repo.downloads,
        "likes": repo.likes,
    }
    if repo.pipeline_tag:
        body["pipeline_tag"] = repo.pipeline_tag
    return body


def people(rows: Sequence[Person], base: str) -> list[dict[str, Any]]:
    return [person(who, base) for who in rows]
