"""Small questions about a repo's objects that fetches and pushes both ask.

kinds(conn, repo_id, oids)       which are here, and what they are
step(git, conn, repo_id, tag)    what a tag names
peel(git, conn, repo_id, oid)    what an object comes to when tags are followed
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import IN_MAX
from headwater.catalog.git import GitObjects
from headwater.formats.git_object import read_tag


def kinds(conn: Connection, repo_id: int, oids: Iterable[str]) -> dict[str, str]:
    """The kind of each object that a repo has, by id."""
    found: dict[str, str] = {}
    for part in parts(list(dict.fromkeys(map(str, oids)))):
        query = select(s.git_object.c.oid, s.git_object.c.kind).where(
            s.git_object.c.repo_id == repo_id, s.git_object.c.oid.in_(part)
        )
        found.update((row.oid, row.kind) for row in conn.execute(query))
    return found


def parts(oids: list[str]) -> Iterator[list[str]]:
    """In lists that one query takes."""
    for at in range(0, len(oids), IN_MAX):
        yield oids[at : at + IN_MAX]


def step(git: GitObjects, conn: Connection, repo_id: int, tag: str) -> tuple[str, str]:
    """What a tag object names: (id, kind)."""
    found = read_tag(git.read(conn, repo_id, tag, "tag"))
    return found.target, found.kind


def peel(git: GitObjects, conn: Connection, repo_id: int, oid: str) -> tuple[str, str]:
    """(id, kind) of what an object comes to when tags are followed; ("", "") when it is absent."""
    kind = kinds(conn, repo_id, [oid]).get(oid, "")
    while kind == "tag":
        oid, kind = step(git, conn, repo_id, oid)
    return oid, kind


def commits_of(
    git: GitObjects, conn: Connection, repo_id: int, oids: Iterable[str]
) -> list[tuple[str, str]]:
    """(id, commit) of those that are commits or tags that lead to one."""
    found = []
    for oid, kind in kinds(conn, repo_id, oids).items():
        commit, kind = peel(git, conn, repo_id, oid) if kind == "tag" else (oid, kind)
        if kind == "commit":
            found.append((oid, commit))
    return found
