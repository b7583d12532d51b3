"""Discussions and pull requests: talk about a repo, and changes that somebody proposes.

    page, find, events                      who may see the repo may read
    open, comment, rename, set_status       to write takes the right `propose`, and more where a
    edit, hide                              rule below says so

A pull request is a discussion with a ref of its own, `refs/pr/N`; `pull_requests` opens it and
`merging` merges it. The title and the status belong to the author and to those who may write to
the repo, a comment's text to its author alone; to hide one, writers may, too.
"""

from __future__ import annotations

import builtins

from sqlalchemy import Connection, func, select, update

from headwater.catalog import audit, rights
from headwater.catalog import discussion_events as log
from headwater.catalog import discussion_rows as rows
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.discussion_events import Details, Event, Past
from headwater.catalog.discussion_rows import Discussion, checked_text, checked_title
from headwater.catalog.models import Repo
from headwater.catalog.repos import find
from headwater.errors import BadRequest, Conflict, Forbidden, NotFound

PAGE_ROWS = 50
PAGES_MAX = 10**6  # beyond it every page is empty, and numbers still fit the database
EDITS_MAX = 100  # of one comment: each keeps the text before it
# As the public hub files them: a draft is open still, a merged one is closed.
STATUSES = {"open": ("open", "draft"), "closed": ("closed", "merged")}
TYPES = {"discussion": False, "pull_request": True}


class Discussions:
    def __init__(self, db: Db) -> None:
        self.db = db

    def page(
        self,
        repo: Repo,
        page: int,
        *,
        type: str = "all",
        status: str = "all",
        author: str | None = None,
    ) -> tuple[int, builtins.list[Discussion]]:
        """(how many there are, those of this page, newest first). Pages are counted from 0.

        `type`: all, discussion or pull_request; `status`: all, open or closed; `author`: a user's
        name. BadRequest for another word.
        """
        table = so.discussion.c
        wanted = [table.repo_id == repo.id]
        if type != "all":
            if type not in TYPES:
                raise BadRequest("type must be 'all', 'discussion' or 'pull_request'")
            wanted.append(table.is_pr.is_(TYPES[type]))
        if status != "all":
            if status not in STATUSES:
                raise BadRequest("status must be 'all', 'open' or 'closed'")
            wanted.append(table.status.in_(STATUSES[status]))
        if author is not None:
            key = author.lower().replace("\0", " ")  # PostgreSQL would not even compare it
            wanted.append(
                table.author_id.in_(
                    select(s.account.c.id).where(
                        s.account.c.key == key, s.account.c.deleted_ms.is_(None)
                    )
                )
            )
        with self.db.read() as conn:
            count = conn.execute(
                select(func.count()).select_from(so.discussion).where(*wanted)
            ).scalar_one()
            found = conn.execute(
                rows.query()
                .where(*wanted)
                .order_by(table.num.desc())
                .limit(PAGE_ROWS)
                .offset(max(0, min(page, PAGES_MAX)) * PAGE_ROWS)
            )
            return count, [rows.discussion(row) for row in found]

    def find(self, repo: Repo, num: int) -> Discussion:
        """The discussion or pull request of that number, or NotFound."""
        with self.db.read() as conn:
            return rows.get(conn, repo, num)

    def events(self, repo: Repo, num: int) -> builtins.list[Event]:
        """What happened in it, oldest first. Hidden texts are among them: see `shown_to`."""
        with self.db.read() as conn:
            return log.list(conn, repo.id, num)

    def open(self, actor: Actor, repo: Repo, title: str, description: str) -> int:
        """A discussion, whose first comment is `description`; its number."""
        title, description = checked_title(title), checked_text(description)
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "propose")
            num = rows.insert_new(conn, actor, repo, title, description, is_pr=False, status="open")
            audit.record(conn, actor.audit_name, "discussion.open", _subject(repo), num=num)
            return num

    def comment(self, actor: Actor, repo: Repo, num: int, text: str) -> Event:
        """Add a comment. Forbidden on a closed one but for its author and the repo's writers."""
        text = checked_text(text, "a comment")
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "propose")
            found = rows.get(conn, repo, num)
            if found.status == "closed" and not rows.is_theirs(actor, repo, found):
                raise Forbidden(f"discussion {num} is closed; its author can open it again")
            made = rows.say(conn, actor, repo, num, text)
            audit.record(
                conn, actor.audit_name, "discussion.comment", _subject(repo), num=num, event=made.id
            )
            return made

    def rename(self, actor: Actor, repo: Repo, num: int, title: str) -> Event:
        """Change the title: its author and the repo's writers may."""
        title = checked_title(title)
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "propose")
            found = rows.get(conn, repo, num)
            rows.demand_theirs(actor, repo, found)
            rows.change(conn, repo, num, title=title)
            details = Details(old=found.title, new=title)
            made = log.add(conn, actor, repo, num, "title-change", details=details)
            audit.record(conn, actor.audit_name, "discussion.title", _subject(repo), num=num)
            log.tell(conn, actor, repo, "discussion", "update", num)
            return made

    def set_status(self, actor: Actor, repo: Repo, num: int, status: str, text: str = "") -> Event:
        """Open (a draft, too) or close it: its author and the repo's writers may. With `text` a
        comment goes before the change. Conflict when it is so already, or merged."""
        if status not in ("open", "closed"):
            raise BadRequest("status must be 'open' or 'closed'")
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "propose")
            found = rows.get(conn, repo, num)
            rows.demand_theirs(actor, repo, found)
            if found.status == "merged":
                raise Conflict(f"pull request {num} is merged: that cannot be undone")
            if found.status == status:
                raise Conflict(f"discussion {num} is {status} already")
            if text.strip():
                rows.say(conn, actor, repo, num, checked_text(text, "a comment"))
            made = rows.change_status(conn, actor, repo, num, status)
            audit.record(
                conn, actor.audit_name, "discussion.status", _subject(repo), num=num, to=status
            )
            return made

    def edit(self, actor: Actor, repo: Repo, num: int, id: str, text: str) -> Event:
        """Change a comment's text; what it said before stays in its history. Its author may."""
        text = checked_text(text, "a comment")
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "propose")
            found, comment = rows.get(conn, repo, num), _comment(conn, repo, num, id)
            if not actor.user_id or comment.author_id != actor.user_id:
                raise Forbidden("only its author can edit a comment")
            if found.status == "closed" and not rows.is_theirs(actor, repo, found):
                raise Forbidden(f"discussion {num} is closed")
            if comment.hidden:
                raise Conflict("a hidden comment cannot be edited")
            if len(comment.details.history) >= EDITS_MAX:
                raise Conflict(f"a comment is edited at most {EDITS_MAX} times; write a new one")
            past = Past(comment.content, comment.edited_ms or comment.created_ms)
            details = Details(history=(*comment.details.history, past))
            log.make_room(conn, repo, num, 0, len(text))
            _set_event(conn, id, content=text, data=log.encoded(details), edited_ms=now_ms())
            made = log.one(conn, repo, num, id)
            audit.record(
                conn, actor.audit_name, "discussion.edit", _subject(repo), num=num, event=id
            )
            log.tell(conn, actor, repo, "discussion.comment", "update", num, made)
            return made

    def hide(self, actor: Actor, repo: Repo, num: int, id: str) -> Event:
        """Take a comment out of sight for good: its author and the repo's writers may."""
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "propose")
            rows.get(conn, repo, num)
            comment = _comment(conn, repo, num, id)
            mine = bool(actor.user_id) and comment.author_id == actor.user_id
            if not mine and not rights.allowed(actor, repo, "write"):
                raise Forbidden("only its author and the repo's writers can hide a comment")
            if comment.hidden:
                return comment
            _set_event(conn, id, hidden=True)
            made = log.one(conn, repo, num, id)
            audit.record(
                conn, actor.audit_name, "discussion.hide", _subject(repo), num=num, event=id
            )
            log.tell(conn, actor, repo, "discussion.comment", "update", num, made)
            return made


def shown_to(actor: Actor, repo: Repo, event: Event) -> bool:
    """Whether an event's text is for this reader: a hidden comment's is for its author and for
    those who may write to the repo."""
    if not event.hidden:
        return True
    mine = bool(actor.user_id) and event.author_id == actor.user_id
    return mine or rights.allowed(actor, repo, "write")


def _set_event(conn: Connection, id: str, **values: object) -> None:
    table = so.discussion_event
    conn.execute(update(table).where(table.c.hub_id == id).values(**values))


def _comment(conn: Connection, repo: Repo, num: int, id: str) -> Event:
    found = log.one(conn, repo, num, id)
    if found.kind != "comment":
        raise NotFound(f"{id} is no comment of discussion {num} of {repo.full}")
    return found


def _subject(repo: Repo) -> str:
    return repo.prefix + repo.full
