"""Small hubs below HTTP, families of weights in them, and bundles between them."""

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headwater.app import Floors, build
from headwater.bundle.exporting import Exported, export
from headwater.bundle.importing import Importing, Report, Target
from headwater.bundle.tar import header, padding
from headwater.catalog.actors import OPERATOR
from headwater.catalog.commits import Change, Plan, PutFile, PutLfs
from headwater.catalog.git_quarantine import Limits
from headwater.catalog.inspection import inspect
from headwater.catalog.models import Repo
from headwater.names import Digest, RepoId, RepoPath, RepoType
from headwater.settings import Settings

Members = list[tuple[str, bytes]]


def hub(folder: Path, *users: str) -> Floors:
    """A data folder of its own, with these users."""
    floors = build(Settings(data=folder))
    for name in users:
        floors.catalog.accounts.create(name)
    return floors


def weights(seed: int, count: int = 40_000) -> np.ndarray:
    """BF16 values of a freshly made model."""
    values = np.random.default_rng(seed).standard_normal(count).astype(np.float32) * 0.02
    return (values.view(np.uint32) >> 16).astype("<u2")


def moved(values: np.ndarray, seed: int) -> np.ndarray:
    """A third of the values a step away, as a fine-tune leaves them."""
    rng = np.random.default_rng(seed)
    made = values.copy()
    which = rng.random(len(made)) < 0.3
    made[which] += rng.integers(0, 2, int(which.sum())).astype(np.uint16)
    return made


def safetensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a file of BF16 tensors."""
    head: dict[str, object] = {}
    at = 0
    for name, values in tensors.items():
        size = 2 * len(values)
        head[name] = {"dtype": "BF16", "shape": [len(values)], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(values.tobytes() for values in tensors.values())
    return len(text).to_bytes(8, "little") + text + body


def make_repo(
    floors: Floors, full: str, *, type: RepoType = "model", private: bool = False, base: str = ""
) -> Repo:
    """A repo with a card."""
    repo = floors.catalog.repos.create(OPERATOR, RepoId.parse(type, full), private=private)
    card = f"---\nlicense: mit\n{f'base_model: {base}' if base else ''}\n---\n# {full}\n"
    put(floors, repo, {"README.md": card.encode()})
    return repo


def put(floors: Floors, repo: Repo, files: Mapping[str, bytes], revision: str = "main") -> None:
    """Commit ordinary files."""
    oids = floors.catalog.commits.stage(repo, list(files.values()))
    changes: tuple[Change, ...] = tuple(
        PutFile(RepoPath(path), oid) for path, oid in zip(files, oids, strict=True)
    )
    floors.catalog.commits.apply(OPERATOR, repo, Plan(revision, changes, "files"))


def put_large(
    floors: Floors, repo: Repo, path: str, data: bytes, *bases: Digest, pack: bool = True
) -> Digest:
    """Commit a large file; packed against `bases`, unless it should stay plain."""
    with floors.store.write_plain() as writer:
        writer.write(data)
        blob = writer.finish()
    floors.catalog.blobs.uploaded(OPERATOR, blob.oid, len(data))
    changes: tuple[Change, ...] = (PutLfs(RepoPath(path), blob.oid, len(data)),)
    floors.catalog.commits.apply(OPERATOR, repo, Plan("main", changes, f"add {path}"))
    if pack:
        assert floors.store.pack(blob.oid, bases) is not None
    return blob.oid


def family(floors: Floors) -> list[Repo]:
    """ann/base, ann/child coded against it, and ann/notes, a data set with noise."""
    base = make_repo(floors, "ann/base")
    child = make_repo(floors, "ann/child", base="ann/base")
    notes = make_repo(floors, "ann/notes", type="dataset")
    first = {f"layer.{n}": weights(n) for n in range(4)}
    oid = put_large(floors, base, "model.safetensors", safetensors(first))
    second = {name: moved(values, 9) for name, values in first.items()}
    put_large(floors, child, "model.safetensors", safetensors(second), oid)
    put_large(floors, notes, "noise.bin", random.Random(1).randbytes(300_000), pack=False)
    put(floors, child, {"folder/deep/a.txt": b"a", "b.txt": b"b"})
    floors.catalog.refs.create_branch(OPERATOR, child, "dev")
    put(floors, child, {"c.txt": b"only in dev"}, "dev")
    floors.catalog.refs.create_tag(OPERATOR, child, "v1", "main", "first")
    floors.catalog.refs.create_tag(OPERATOR, child, "light", "main", "")
    return [base, child, notes]


def out(floors: Floors, repos: list[Repo], path: Path, key: Path | None = None) -> Exported:
    return export(
        floors.store,
        floors.catalog,
        repos,
        path,
        scratch=floors.settings.data / "tmp",
        sign_key=key,
    )


def into(
    floors: Floors,
    path: Path,
    *,
    target: str | None = None,
    key: Path | None = None,
    dry_run: bool = False,
) -> Report:
    limits = Limits(10**7, 2**30)
    importing = Importing(floors.store, floors.catalog, limits, 2**40, floors.settings.data / "tmp")
    return importing.run(path, target=Target.parse(target), verify_key=key, dry_run=dry_run)


def find(floors: Floors, full: str, type: RepoType = "model") -> Repo:
    return floors.catalog.repos.find(OPERATOR, type, full)


def refs_of(floors: Floors, repo: Repo) -> list[tuple[str, str, str]]:
    """(name, target, commit): equal ids are equal histories."""
    return floors.catalog.git_fetch.refs(repo)


def contents(floors: Floors, repo: Repo, revision: str = "main") -> dict[str, bytes]:
    """Every file of a revision, large ones as the store gives them."""
    tree = floors.catalog.refs.resolve(repo, revision).tree
    found = {}
    for entry in floors.catalog.files.list(repo, tree, recursive=True):
        if entry.kind == "file" and entry.lfs is None:
            found[str(entry.path)] = floors.catalog.files.read(repo, entry)
        elif entry.lfs is not None:
            assert floors.catalog.blobs.in_repo(repo, entry.lfs.oid) == entry.size_bytes
            found[str(entry.path)] = b"".join(floors.store.read(entry.lfs.oid))
    return found


def problems(floors: Floors) -> list[object]:
    """What `headwater check --bytes` would say."""
    catalog = floors.catalog
    return [
        *floors.store.check(data=True),
        *inspect(catalog.db, catalog.git, floors.store, data=True),
    ]


def repo_names(floors: Floors) -> set[str]:
    from sqlalchemy import select

    from headwater.catalog import schema as s

    with floors.catalog.db.read() as conn:
        return set(conn.execute(select(s.repo.c.key)).scalars())


def members(path: Path) -> Members:
    """The members of a bundle, read without the code under test's own reader."""
    import tarfile

    with tarfile.open(path) as tar:
        found = []
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            found.append((info.name, file.read()))
        return found


def joined(parts: Members) -> bytes:
    """The bundle that these members make, whatever the manifest says of them."""
    body = b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in parts)
    return body + bytes(1024)


def edited(parts: Members, change: dict[str, bytes | None], **manifest: object) -> bytes:
    """The same bundle with some members changed, or gone, and a manifest that says so: what a
    liar writes who knows the format. `manifest` replaces fields of it."""
    kept = [
        (name, change.get(name, data)) for name, data in parts if not name.startswith("manifest")
    ]
    body = [(name, data) for name, data in kept if data is not None]
    body += [
        (name, data) for name, data in change.items() if data is not None and name not in dict(body)
    ]
    said = json.loads(dict(parts)["manifest.json"])
    said["members"] = [
        {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in body
    ]
    said.update(signed=False, **manifest)
    return sealed(said, body)


def sealed(said: dict[str, object], body: Members) -> bytes:
    """A manifest, its sums, and the members behind it."""
    raw = json.dumps(said).encode()
    sums = f"{hashlib.sha256(raw).hexdigest()}  manifest.json\n".encode()
    return joined([("manifest.json", raw), ("manifest.sha256", sums), *body])
