"""Squash: one commit without parents in the place of a branch's history.

    commit = squash.apply(actor, repo, "main", message)

The files stay as they are, object by object. What only the old commits led to goes with the next
gc, and so do the bytes of large files that only they named.
"""

from __future__ import annotations

from headwater.catalog import audit, events, pull_requests, refs
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects, checked_message, new_commit
from headwater.catalog.models import Repo
from headwater.catalog.refs import Refs, no_revision
from headwater.catalog.repos import find
from headwater.errors import BadRequest
from headwater.names import GitOid, shown


class Squash:
    def __init__(self, db: Db, git: GitObjects, refs: Refs) -> None:
        self.db = db
        self.git = git
        self.refs = refs

    def apply(self, actor: Actor, repo: Repo, revision: str, message: str) -> GitOid:
        """Squash a branch, or `refs/pr/N`; the commit that it now consists of.

        RevisionNotFound: no such branch. BadRequest: it is a tag. Squashed already, with this
        message, it stays as it is: a retry whose first answer was lost changes nothing.
        """
        checked_message(message)
        with self.db.write() as conn:
            verb = pull_requests.verb_for(conn, actor, repo, revision)
            repo = find(conn, actor, repo.type, repo.full, verb)
            name, head = self.refs.lookup(conn, repo.id, revision)
            if name is None:
                raise no_revision(revision)
            if not name.startswith(("refs/heads/", "refs/pr/")):
                raise BadRequest(
                    f"Invalid reference for a branch: {shown(name)}. Only branches and pull "
                    "requests can be squashed."
                )
            before = self.git.commit(conn, repo.id, head)
            if not before.parents and before.message == message:
                return GitOid(head)
            at_s = max(now_ms(), before.at_ms) // 1000  # a branch's times never run backwards
            commit = new_commit(before.tree, [], message, actor.audit_name, at_s)
            self.git.put(conn, repo.id, [commit])
            pull_requests.committed(conn, actor, repo, name, message, commit.oid)
            refs.swap(conn, repo.id, name, GitOid(head), commit.oid)
            subject = repo.prefix + repo.full
            audit.record(
                conn, actor.audit_name, "ref.squash", subject, ref=name, was=head, to=commit.oid
            )
            events.refs_moved(conn, actor, repo, (name, head, commit.oid))
            return commit.oid
