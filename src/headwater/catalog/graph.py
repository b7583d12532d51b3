"""The graph of commits: where two histories parted."""

from __future__ import annotations

import heapq

from sqlalchemy import Connection

from headwater.catalog.git import GitObjects
from headwater.errors import Unprocessable
from headwater.names import GitOid

COMMITS_LOOKED_AT_MAX = 20_000  # some seconds, when none of them is remembered
_BOTH = 3  # reached from either side
_BELOW = 4  # reached from a common ancestor: not the best one


def merge_base(
    conn: Connection, git: GitObjects, repo_id: int, a: GitOid, b: GitOid
) -> GitOid | None:
    """The best common ancestor of two commits, each being its own; None when there is none.

    Walks from both, youngest first, as git does. Of several best ones (branches that were merged
    crosswise) the youngest is taken. Unprocessable when they parted too long ago.
    """
    marks: dict[GitOid, int] = {a: 1}
    marks[b] = marks.get(b, 0) | 2
    queue = [(-git.commit(conn, repo_id, oid).at_ms, oid) for oid in marks]
    heapq.heapify(queue)
    found: list[GitOid] = []
    seen = 0
    while any(not marks[oid] & _BELOW for _, oid in queue):
        seen += 1
        if seen > COMMITS_LOOKED_AT_MAX:
            raise Unprocessable(
                f"these two have no common commit among the last {COMMITS_LOOKED_AT_MAX}"
            )
        oid = heapq.heappop(queue)[1]
        mark = marks[oid]
        if mark & _BOTH == _BOTH and not mark & _BELOW:
            if oid not in found:
                found.append(oid)
            mark |= _BELOW
        for parent in git.commit(conn, repo_id, oid).parents:
            if marks.get(parent, 0) | mark != marks.get(parent, 0):
                marks[parent] = marks.get(parent, 0) | mark
                heapq.heappush(queue, (-git.commit(conn, repo_id, parent).at_ms, parent))
    return next((oid for oid in found if not marks[oid] & _BELOW), None)
