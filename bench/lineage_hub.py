"""The same question as `lineage.py`, asked of a hub: are parents right that its jobs found?

    python bench/lineage_hub.py [--cache DIR] [--seed N] [--families N …]

Publishes the zoo, family by turns, each model as a repo without a card; after every one the job of
its repo runs, in this process, with its worker and the store below. Then each repo is asked for its
parents as anybody sees them. Prints right parents and relations, false edges, CPU seconds a model
with all that is traced anew for it, and the memory of worker and hub at their peak.
"""

import argparse
import hashlib
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from kin_zoo import BASES, DEFAULT, MEMBERS, build, path_of

from headwater import app
from headwater.catalog.actors import OPERATOR, Actor
from headwater.catalog.commits import Plan, PutLfs
from headwater.jobs.jobs import Jobs
from headwater.names import Digest, RepoId, RepoPath
from headwater.settings import Settings
from headwater.work.lineage import LineageWork
from lineage import AIMS, judge, name_of

PIECE_BYTES = 2**20


def publish(floors: app.Floors, actor: Actor, name: str, path: Path) -> None:
    repo = floors.catalog.repos.create(actor, RepoId.parse("model", name))
    hasher, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file, floors.store.write_plain(size) as writer:
        while piece := file.read(PIECE_BYTES):
            hasher.update(piece)
            writer.write(piece)
        writer.finish(Digest(hasher.hexdigest()), size)
    oid = Digest(hasher.hexdigest())
    floors.catalog.blobs.uploaded(actor, oid, size)
    lfs = PutLfs(RepoPath(path.name), oid, size)
    floors.catalog.commits.apply(actor, repo, Plan("main", (lfs,), "add"))


def spent_s() -> float:
    """CPU of this process and of workers that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=DEFAULT)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--families", type=int, nargs="+", default=list(range(len(BASES))))
    args = parser.parse_args()
    if not all(
        path_of(args.cache, args.seed, n, m.name).exists() for n in args.families for m in MEMBERS
    ):
        build(args.cache.absolute(), args.seed, args.jobs)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        floors = app.build(Settings(data=Path(folder)))
        jobs = Jobs(floors.settings.jobs_url, Path(folder) / "jobs", threads=1)
        work = LineageWork(floors.settings, floors.catalog, floors.store, jobs)
        actors = {}
        for number in args.families:
            owner = f"{BASES[number][0]}-{number}"
            floors.catalog.accounts.create(owner)
            token = floors.catalog.tokens.create(owner, "bench", "write")
            actors[number] = floors.catalog.tokens.actor(token)
        names, began, wall = [], spent_s(), time.monotonic()
        for member in MEMBERS:
            for number in args.families:
                name = name_of(number, member.name)
                path = path_of(args.cache, args.seed, number, member.name)
                publish(floors, actors[number], name, path)
                names.append(name)
                for one in floors.catalog.ancestry.unlooked(10):
                    work.look(one.repo, one.commit)
        work.rest()
        took_s, wall_s = spent_s() - began, time.monotonic() - wall
        found = {}
        for name in names:
            repo = floors.catalog.repos.find(OPERATOR, "model", name)
            edges = floors.catalog.families.of(OPERATOR, repo).parents(name)
            found[name] = [(edge.parent, edge.kind) for edge in edges]
        floors.close()
    score = judge(found, args.families)
    print(f"\n{len(names)} models of {len(args.families)} families, seed {args.seed}")
    print("| parents | relation | false edges | CPU s a model | wall s a model | MB hub | worker |")
    print("|---|---|---|---|---|---|---|")
    hub_mb, worker_mb = (resource.getrusage(who).ru_maxrss / 1e3
                         for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    right = " | ".join(f"{score.share(what):.1%}" for what in ("parents", "relation"))
    each = f"{took_s / len(names):.1f} | {wall_s / len(names):.1f}"
    print(f"| {right} | {len(score.false)} | {each} | {hub_mb:.0f} | {worker_mb:.0f} |")
    for line in (*score.wrong, *(f"false: {one}" for one in score.false)):
        print(line)
    good = all(score.share(what) >= AIMS[what] for what in ("parents", "relation"))
    return 0 if good and not score.false else 1


if __name__ == "__main__":
    sys.exit(main())
