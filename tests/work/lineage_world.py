"""A hub whose models are looked at when a test says so, and asked over its routes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.app import Floors, build
from headwater.catalog.actors import Actor
from headwater.catalog.commits import Change, Plan, PutFile, PutLfs
from headwater.catalog.models import Repo
from headwater.hub.context import Hub
from headwater.hub.routes import table
from headwater.hub.signing import Signer
from headwater.jobs.jobs import Jobs
from headwater.names import Digest, RepoId, RepoPath
from headwater.settings import Settings
from headwater.work.lineage import LineageWork
from hub.http_kit import Answer, ask


class LineageWorld:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(data=folder, **settings)
        self.floors: Floors = build(self.settings)
        self.catalog, self.store = self.floors.catalog, self.floors.store
        self.hub = Hub(self.settings, self.catalog, self.store, Signer(self.floors.secret))
        self.rows = table(self.hub)
        jobs = Jobs(self.settings.jobs_url, folder / "jobs", threads=1)
        self.work = LineageWork(self.settings, self.catalog, self.store, jobs)
        self.tokens: dict[str, str] = {}

    def close(self) -> None:
        self.work.rest()
        self.hub.labelling.close()
        self.floors.close()

    def actor(self, name: str) -> Actor:
        if name not in self.tokens:
            self.catalog.accounts.create(name)
            self.tokens[name] = self.catalog.tokens.create(name, "t", "write")
        return self.catalog.tokens.actor(self.tokens[name])

    def publish(
        self, full: str, files: Mapping[str, bytes], card: str = "", *, private: bool = False
    ) -> Repo:
        """A model, or another commit to it."""
        actor = self.actor(full.partition("/")[0])
        if full not in {f"{r.namespace}/{r.name}" for r in self.mine(actor)}:
            self.catalog.repos.create(actor, RepoId.parse("model", full), private=private)
        repo = self.catalog.repos.find(actor, "model", full)
        changes: list[Change] = []
        for path, data in files.items():
            oid = Digest(hashlib.sha256(data).hexdigest())
            with self.store.write_plain(len(data)) as writer:
                writer.write(data)
                writer.finish(oid, len(data))
            self.catalog.blobs.uploaded(actor, oid, len(data))
            changes.append(PutLfs(RepoPath(path), oid, len(data)))
        if card:
            (staged,) = self.catalog.commits.stage(repo, [card.encode()])
            changes.append(PutFile(RepoPath("README.md"), staged))
        self.catalog.commits.apply(actor, repo, Plan("main", tuple(changes), "add"))
        return self.catalog.repos.find(actor, "model", full)

    def mine(self, actor: Actor) -> list[Repo]:
        with self.catalog.db.read() as conn:
            from sqlalchemy import select

            from headwater.catalog import schema as s

            rows = conn.execute(select(s.repo).where(s.repo.c.owner_id == actor.user_id)).all()
        return [Repo.of(row) for row in rows]

    def look(self) -> int:
        """Do what the jobs would: every repo that waits, in order. How many there were."""
        count = 0
        while waiting := self.catalog.ancestry.unlooked(1_000):
            for one in sorted(waiting, key=lambda one: (one.repo.updated_ms, one.repo.id)):
                self.work.look(one.repo, one.commit)
                count += 1
        return count

    def get(self, path: str, user: str = "") -> Answer:
        headers = {"authorization": f"Bearer {self.tokens[user]}"} if user else {}
        return ask(self.rows, "GET", path.encode(), headers, settings=self.settings)

    def lineage(self, full: str, user: str = "", rest: str = "") -> dict[str, Any]:
        answer = self.get(f"/api/models/{full}/lineage{rest}", user)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def parents(self, full: str, user: str = "") -> list[tuple[str, str]]:
        """(parent, kind) as that user hears it."""
        return [(edge["parent"], edge["kind"]) for edge in self.lineage(full, user)["parents"]]
