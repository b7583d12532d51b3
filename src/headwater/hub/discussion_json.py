"""Discussions as clients read them, and the bodies that change them.

A comment's `html` is its text, escaped, in paragraphs: nothing that a stranger wrote is markup.
"""

from __future__ import annotations

import html
from typing import Any, Literal

from headwater.catalog.actors import Actor
from headwater.catalog.clock import iso
from headwater.catalog.discussion_events import Event, Person
from headwater.catalog.discussion_rows import Discussion
from headwater.catalog.discussions import shown_to
from headwater.catalog.models import Repo
from headwater.hub.wire import Wire

HIDDEN = "This comment has been hidden"  # the public hub's words


class OpenDiscussion(Wire, frozen=True, kw_only=True):
    title: str
    description: str = ""
    pull_request: bool = False


class NewComment(Wire, frozen=True, kw_only=True):
    comment: str


class NewTitle(Wire, frozen=True, kw_only=True):
    title: str


class NewStatus(Wire, frozen=True, kw_only=True):
    status: Literal["open", "closed"]
    comment: str = ""


class MergeWish(Wire, frozen=True, kw_only=True):
    comment: str = ""


class EditedComment(Wire, frozen=True, kw_only=True):
    content: str


def item(repo: Repo, one: Discussion) -> dict[str, Any]:
    """A row of a listing; what a whole discussion begins with."""
    return {
        "num": one.num,
        "title": one.title,
        "status": one.status,
        "isPullRequest": one.is_pr,
        "createdAt": iso(one.created_ms),
        "author": _author(one.author),
        "repo": {"name": repo.full, "type": repo.type},
    }


def event(actor: Actor, repo: Repo, one: Event) -> dict[str, Any]:
    """An event, as `actor` may see it."""
    return {
        "id": one.id,
        "type": one.kind,
        "createdAt": iso(one.created_ms),
        "author": _author(one.author),
        "data": _data(actor, repo, one),
    }


def _data(actor: Actor, repo: Repo, one: Event) -> dict[str, Any]:
    details = one.details
    match one.kind:
        case "status-change":
            return {"status": details.status}
        case "title-change":
            return {"from": details.old, "to": details.new}
        case "commit":
            return {"subject": details.subject, "oid": details.oid}
        case _:
            shown = shown_to(actor, repo, one)
            history = [_version(past.raw, past.at_ms, one) for past in details.history]
            return {
                "edited": bool(details.history),
                "hidden": one.hidden,
                "latest": _version(
                    one.content if shown else HIDDEN, one.edited_ms or one.created_ms, one
                ),
                "history": history if shown else [],
                "numEdits": len(history),
            }


def _version(raw: str, at_ms: int, one: Event) -> dict[str, Any]:
    """One state of a comment; only its author can have written it."""
    return {
        "raw": raw,
        "html": rendered(raw),
        "updatedAt": iso(at_ms),
        "author": _author(one.author),
    }


def rendered(raw: str) -> str:
    """Plain text as HTML: a paragraph for each block of lines."""
    blocks = [block.strip("\n") for block in raw.replace("\r\n", "\n").split("\n\n")]
    return "\n".join(f"<p>{html.escape(block)}</p>" for block in blocks if block.strip())


def _author(person: Person) -> dict[str, str]:
    return {"name": person.name, "fullname": person.fullname, "type": "user"}
