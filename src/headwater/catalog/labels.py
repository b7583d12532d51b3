"""Labels: what an inspection found in some bytes, kept by their hash.

    labels.of(oids)               -> {oid: Verdict} of today's rules
    labels.put({oid: verdict})    kept; a later verdict takes the place of an earlier one
    labels.unlooked(limit)        repos whose weights on `main` nobody has summed up yet
    labels.set_weights(…)         the summary, kept beside the repo
    labels.pushed(after)          repos whose refs moved since

A label says nothing of who may see the bytes; a caller asks for those of files that it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, exists, func, literal, select, update

from headwater.catalog import schema as s
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN
from headwater.formats.inspection import RULES, Verdict
from headwater.names import GitOid

SCANNER = "content"
PARAMETERS_MAX = 2**63 - 1
DIGEST_CHARS = 64
_decode = msgspec.json.Decoder(Verdict).decode


class Labels:
    def __init__(self, db: Db) -> None:
        self.db = db

    def of(self, oids: Iterable[str]) -> dict[str, Verdict]:
        """The verdicts there are on these bytes; older rules do not count."""
        wanted = sorted(set(oids))
        found: dict[str, Verdict] = {}
        with self.db.read() as conn:
            for at in range(0, len(wanted), IN_MAX):
                query = select(s.label.c.oid, s.label.c.detail).where(
                    s.label.c.oid.in_(wanted[at : at + IN_MAX]),
                    s.label.c.scanner == SCANNER,
                    s.label.c.version == RULES,
                )
                found.update({row.oid: _decode(row.detail) for row in conn.execute(query)})
        return found

    def put(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep them; of two processes that looked at one file the later wins."""
        if not verdicts:
            return
        with self.db.write() as conn:
            for oid, verdict in verdicts.items():
                values = {
                    "version": RULES,
                    "status": verdict.status,
                    "detail": msgspec.json.encode(verdict).decode(),
                    "at_ms": now_ms(),
                }
                statement = self.db.upsert(s.label, ["oid", "scanner"], values)
                conn.execute(statement, {"oid": oid, "scanner": SCANNER, **values})

    def forget_unheld(self) -> int:
        """Drop labels of large files that no repo holds any more; how many."""
        held = exists().where(s.repo_blob.c.oid == s.label.c.oid)
        large = func.length(s.label.c.oid) == DIGEST_CHARS
        with self.db.write() as conn:
            return conn.execute(delete(s.label).where(large, ~held)).rowcount

    # Weights of a repo

    def unlooked(self, limit: int) -> list[tuple[Repo, GitOid]]:
        """Repos whose weights were not summed up at the commit that `main` has, by these rules."""
        sign = literal('{"at":"').concat(s.ref.c.commit).concat(f'/{RULES}"%')
        query = (
            select(s.repo, s.ref.c.commit)
            .join(s.ref, (s.ref.c.repo_id == s.repo.c.id) & (s.ref.c.name == MAIN))
            .where(s.repo.c.weights.not_like(sign))
            .order_by(s.repo.c.updated_ms.desc(), s.repo.c.id)
            .limit(limit)
        )
        with self.db.read() as conn:
            return [(Repo.of(row), GitOid(row[-1])) for row in conn.execute(query)]

    def unlooked_among(self, repo_ids: Iterable[int]) -> list[tuple[Repo, GitOid]]:
        """Of these repos, those that `unlooked` would name."""
        found = []
        for repo_id in sorted(set(repo_ids)):
            query = (
                select(s.repo, s.ref.c.commit)
                .join(s.ref, (s.ref.c.repo_id == s.repo.c.id) & (s.ref.c.name == MAIN))
                .where(s.repo.c.id == repo_id)
            )
            with self.db.read() as conn:
                row = conn.execute(query).one_or_none()
            if row is not None and not is_of(row.weights, row[-1]):
                found.append((Repo.of(row), GitOid(row[-1])))
        return found

    def set_weights(
        self, repo: Repo, commit: GitOid, summary: Mapping[str, Any], parameters: int | None
    ) -> None:
        """Keep what the weights of `main` come to, unless `main` has moved on since."""
        text = msgspec.json.encode({"at": f"{commit}/{RULES}", **summary}).decode()
        if parameters is not None and not 0 <= parameters <= PARAMETERS_MAX:
            parameters = None
        head = exists().where(
            s.ref.c.repo_id == repo.id, s.ref.c.name == MAIN, s.ref.c.commit == commit
        )
        with self.db.write() as conn:
            conn.execute(
                update(s.repo)
                .where(s.repo.c.id == repo.id, head)
                .values(weights=text, parameters=parameters)
            )

    def last_event(self) -> int:
        with self.db.read() as conn:
            return int(conn.execute(select(func.coalesce(func.max(s.event.c.id), 0))).scalar_one())

    def pushed(self, after: int, limit: int = 1_000) -> tuple[int, set[int]]:
        """(the last event seen, the repos whose refs moved) of the events behind `after`."""
        query = (
            select(s.event.c.id, s.event.c.repo_id)
            .where(s.event.c.id > after, s.event.c.scope == "repo.content")
            .order_by(s.event.c.id)
            .limit(limit)
        )
        with self.db.read() as conn:
            rows = conn.execute(query).all()
        return (rows[-1].id if rows else after), {row.repo_id for row in rows if row.repo_id}


def is_of(weights: str, commit: str) -> bool:
    """Whether this summary was made at `commit`, by today's rules."""
    return weights.startswith(f'{{"at":"{commit}/{RULES}"')
