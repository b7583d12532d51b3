"""Pull requests as refs: a discussion with `refs/pr/N` beside the branch it wants to change.

opened(conn, …)      by a commit with `create_pr`; PullRequests.draft opens one without any
committed(conn, …)   a commit to `refs/pr/N` is noted in its discussion
verb(conn, …)        what somebody needs who commits: an author adds to what is theirs
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from headwater.catalog import audit, events, refs, rights
from headwater.catalog import discussion_events as log
from headwater.catalog import discussion_rows as rows
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.db import Db
from headwater.catalog.discussion_events import Details
from headwater.catalog.models import Repo
from headwater.catalog.plans import Plan
from headwater.catalog.repos import MAIN, find
from headwater.errors import Conflict
from headwater.names import GitOid

PREFIX = "refs/pr/"
NUMBER_DIGITS_MAX = 9  # below what the column holds
UNMERGED = ("open", "draft")


class PullRequests:
    def __init__(self, db: Db) -> None:
        self.db = db

    def draft(self, actor: Actor, repo: Repo, title: str, description: str) -> int:
        """A pull request at the head of `main` that waits for its first commit; its number."""
        title, description = rows.checked_title(title), rows.checked_text(description)
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "propose")
            query = select(s.ref.c.commit).where(s.ref.c.repo_id == repo.id, s.ref.c.name == MAIN)
            head = conn.execute(query).scalar_one_or_none()
            if head is None:
                raise refs.no_revision("main")
            num = rows.insert_new(
                conn, actor, repo, title, description, is_pr=True, status="draft", target_ref=MAIN
            )
            refs.create(conn, repo.id, f"{PREFIX}{num}", GitOid(head))
            subject = repo.prefix + repo.full
            audit.record(conn, actor.audit_name, "discussion.open", subject, num=num, pr=True)
            events.refs_moved(conn, actor, repo, (f"{PREFIX}{num}", None, head))
            return num


def opened(
    conn: Connection, actor: Actor, repo: Repo, target: str, plan: Plan, commit: GitOid
) -> int:
    """A pull request for `target` that begins with a commit made of `plan`; its number."""
    num = rows.insert_new(
        conn,
        actor,
        repo,
        rows.title_of(plan.summary),
        plan.description[: rows.COMMENT_CHARS_MAX],
        is_pr=True,
        status="open",
        target_ref=target,
    )
    refs.create(conn, repo.id, f"{PREFIX}{num}", commit)
    _note(conn, actor, repo, num, plan.summary, commit)
    return num


def committed(
    conn: Connection, actor: Actor, repo: Repo, ref: str, subject: str, commit: GitOid
) -> None:
    """Note a commit to `ref`, if that is a pull request; Conflict when it is closed or merged."""
    num = number(ref)
    if num is None:
        return
    found = rows.get(conn, repo, num)
    if found.status not in UNMERGED:
        raise Conflict(f"pull request {num} is {found.status}: nothing can be added to it")
    _note(conn, actor, repo, num, subject, commit)


def _note(
    conn: Connection, actor: Actor, repo: Repo, num: int, subject: str, commit: GitOid
) -> None:
    details = Details(subject=rows.title_of(subject), oid=commit)
    if log.has_room(conn, repo, num, 1, 0):  # the commit counts, not the note of it
        log.add(conn, actor, repo, num, "commit", details=details)
    rows.change(conn, repo, num)


def verb(conn: Connection, actor: Actor, repo: Repo, plan: Plan) -> rights.Verb:
    """A pull request needs less than a push."""
    return "propose" if plan.create_pr else verb_for(conn, actor, repo, plan.revision)


def verb_for(conn: Connection, actor: Actor, repo: Repo, revision: str) -> rights.Verb:
    """The right to move a ref: the author of a pull request may, while it is open."""
    num = number(revision)
    if num is not None and actor.user_id:
        author = select(so.discussion.c.author_id).where(
            so.discussion.c.repo_id == repo.id,
            so.discussion.c.num == num,
            so.discussion.c.status.in_(UNMERGED),
        )
        if conn.execute(author).scalar_one_or_none() == actor.user_id:
            return "propose"
    return "write"


def number(ref: str) -> int | None:
    """N of `refs/pr/N`, or None for any other ref."""
    text = ref.removeprefix(PREFIX)
    if text == ref or not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        return None
    return int(text)
