"""Download counting: what counts, and how often.

Three figures are kept apart, because they answer different questions:

    raw     requests for a *query file*, the one file that loading a repo always asks for: Hugging
            Face's rule (config.json and four siblings unless the library says otherwise, every
            GGUF file, every GET and HEAD), comparable with the public hub's figures
    marked  file requests that the client itself marks with `X-HF-Download-Counter`
    dedup   callers that downloaded by either rule, at most once a repo and day: nearer to people

A caller is a keyed hash of token owner or address; addresses themselves are not kept. Counts are
gathered in memory and written each second: a crash loses at most that second, and no promise.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from headwater.catalog import schema as s
from headwater.catalog.clock import day_of, now_ms
from headwater.catalog.db import Db
from headwater.catalog.models import Repo

FLUSH_S = 1.0
PENDING_MAX = 50_000  # distinct (repo, day, caller) waiting; beyond it dedup runs low
WINDOW_DAYS = 30
SEEN_DAYS = 2  # how long a caller's hash is kept; a day is over everywhere after two

DEFAULT_QUERY_FILES = frozenset(
    {"config.json", "config.yaml", "hyperparams.yaml", "params.json", "meta.yaml"}
)
# Libraries whose repos have another first file. Facts of the public hub's rule table; those with
# no row use the default.
LIBRARY_QUERY_FILES: dict[str, frozenset[str]] = {
    "adapter-transformers": frozenset({"adapter_config.json"}),
    "peft": frozenset({"adapter_config.json"}),
    "asteroid": frozenset({"pytorch_model.bin"}),
    "diffusers": frozenset({"model_index.json"}),
    "sentence-transformers": frozenset({"config.json"}),
    "timm": frozenset({"pytorch_model.bin", "model.safetensors"}),
    "open_clip": frozenset({"open_clip_pytorch_model.bin", "open_clip_model.safetensors"}),
    "nemo": frozenset({"model_config.yaml"}),
    "keras": frozenset({"config.json", "keras_metadata.pb"}),
    "sklearn": frozenset({"sklearn_model.joblib"}),
    "stable-baselines3": frozenset({"config.json"}),
    "mlx": frozenset({"config.json"}),
}


def is_query_file(repo: Repo, path: str) -> bool:
    """Whether a request for `path` is, by the public hub's rule, a download of `repo`."""
    if path.endswith(".gguf") or repo.type != "model":
        return True  # datasets and spaces have no query file: each file asked for counts
    return path in LIBRARY_QUERY_FILES.get(repo.library_name or "", DEFAULT_QUERY_FILES)


@dataclass(frozen=True, slots=True)
class Downloads:
    raw: int
    marked: int
    dedup: int


class Counting:
    def __init__(self, db: Db, secret: bytes) -> None:
        self.db = db
        self._key = hashlib.sha256(b"download caller" + secret).digest()
        self._lock = threading.Lock()
        self._raw: Counter[tuple[int, int]] = Counter()
        self._marked: Counter[tuple[int, int]] = Counter()
        self._seen: set[tuple[int, int, bytes]] = set()

    def note(self, repo: Repo, path: str, caller: str, *, marked: bool) -> None:
        """One request for a file, if it counts; cheap, in memory."""
        by_rule = is_query_file(repo, path)
        if not (by_rule or marked):
            return
        day = day_of(now_ms())
        mark = hashlib.blake2b(caller.encode(), key=self._key, digest_size=16).digest()
        with self._lock:
            self._raw[(repo.id, day)] += by_rule
            self._marked[(repo.id, day)] += marked
            if len(self._seen) < PENDING_MAX:
                self._seen.add((repo.id, day, mark))

    def flush(self) -> None:
        """Write what was noted. Called each second, and at the end."""
        with self._lock:
            raw, self._raw = self._raw, Counter()
            marked, self._marked = self._marked, Counter()
            seen, self._seen = self._seen, set()
        if not raw:
            return
        with self.db.write() as conn:
            alive = set(
                conn.execute(
                    select(s.repo.c.id).where(s.repo.c.id.in_({repo for repo, _ in raw}))
                ).scalars()
            )
            fresh: Counter[tuple[int, int]] = Counter()
            for repo_id, day, caller in seen:
                if repo_id in alive:
                    done = conn.execute(
                        self.db.insert_new(s.download_seen),
                        {"repo_id": repo_id, "day": day, "caller": caller},
                    )
                    fresh[(repo_id, day)] += done.rowcount
            for (repo_id, day), number in raw.items():
                if repo_id not in alive:
                    continue
                add, by_client = fresh[(repo_id, day)], marked[(repo_id, day)]
                columns = s.download_day.c
                conn.execute(
                    self.db.upsert(
                        s.download_day,
                        ["repo_id", "day"],
                        {
                            "raw": columns.raw + number,
                            "marked": columns.marked + by_client,
                            "dedup": columns.dedup + add,
                        },
                    ),
                    {
                        "repo_id": repo_id,
                        "day": day,
                        "raw": number,
                        "marked": by_client,
                        "dedup": add,
                    },
                )
                conn.execute(
                    update(s.repo)
                    .where(s.repo.c.id == repo_id)
                    .values(
                        downloads=s.repo.c.downloads + number,
                        downloads_all=s.repo.c.downloads_all + number,
                    )
                )

    def roll(self) -> None:
        """Take days that left the window out of the 30-day figure. Called once an hour."""
        today = day_of(now_ms())
        window = (
            select(func.coalesce(func.sum(s.download_day.c.raw), 0))
            .where(
                s.download_day.c.repo_id == s.repo.c.id,
                s.download_day.c.day > today - WINDOW_DAYS,
            )
            .scalar_subquery()
        )
        with self.db.write() as conn:
            conn.execute(delete(s.download_seen).where(s.download_seen.c.day < today - SEEN_DAYS))
            conn.execute(update(s.repo).where(s.repo.c.downloads > 0).values(downloads=window))

    def of(self, repo: Repo, days: int | None = WINDOW_DAYS) -> Downloads:
        """Counts of the last `days`, or of all time."""
        query = select(
            func.coalesce(func.sum(s.download_day.c.raw), 0),
            func.coalesce(func.sum(s.download_day.c.marked), 0),
            func.coalesce(func.sum(s.download_day.c.dedup), 0),
        ).where(s.download_day.c.repo_id == repo.id)
        if days is not None:
            query = query.where(s.download_day.c.day > day_of(now_ms()) - days)
        with self.db.read() as conn:
            return Downloads(*map(int, conn.execute(query).one()))
