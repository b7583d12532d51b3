"""Bundles that were damaged, cut, or made by a liar: refused, clearly; nothing appears."""

import hashlib
import json
import random
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from bundle_kit import Members, edited, into, joined, members, repo_names, sealed
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.app import Floors
from headwater.errors import HeadwaterError, NotFound, Refused


def refused(target: Floors, path: Path, data: bytes, dry_run: bool = False) -> HeadwaterError:
    """What an import of these bytes says; nothing may appear."""
    path.write_bytes(data)
    with pytest.raises(HeadwaterError) as caught:
        into(target, path, dry_run=dry_run)
    assert repo_names(target) == set()
    assert list((target.store.root / "tmp").iterdir()) == []
    assert caught.value.status < 500 or isinstance(caught.value, Refused), caught.value.message
    return caught.value


@pytest.fixture(scope="module")
def parts(bundle: Path) -> Members:
    return members(bundle)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """A hub that only refuses, for the many examples of a property."""
    from bundle_kit import hub

    floors = hub(tmp_path_factory.mktemp("judge"), "ann")
    yield floors
    floors.close()


def test_the_kit_makes_bundles_that_are_taken(bundle: Path, parts: Members, target: Floors) -> None:
    """Or every refusal below would prove nothing."""
    assert joined(parts) == bundle.read_bytes()
    path = bundle.with_name("again.tar")
    path.write_bytes(edited(parts, {}))
    assert len(into(target, path).repos) == 3


@given(at=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@settings(max_examples=examples(150), deadline=None)
def test_any_flipped_byte_is_refused(bundle: Path, judge: Floors, at: float, mask: int) -> None:
    data = bytearray(bundle.read_bytes())
    data[int(at * len(data))] ^= mask
    refused(judge, judge.settings.data / "flip.tar", bytes(data))


def test_every_byte_of_the_beginning_and_the_end(bundle: Path, judge: Floors) -> None:
    """Headers, manifest, sums, the last padding: all of it is looked at."""
    data = bundle.read_bytes()
    path = judge.settings.data / "flip.tar"
    places = [*range(0, 512, 3), *range(512, 9000, 131), *range(len(data) - 1100, len(data), 37)]
    for at in places:
        refused(judge, path, data[:at] + bytes([data[at] ^ 32]) + data[at + 1 :])


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=examples(40), deadline=None)
def test_any_cut_is_refused(bundle: Path, judge: Floors, share: float) -> None:
    data = bundle.read_bytes()
    error = refused(judge, judge.settings.data / "cut.tar", data[: int(share * len(data))])
    assert "cut" in error.message


def test_what_is_behind_the_end(bundle: Path, judge: Floors) -> None:
    path, data = judge.settings.data / "long.tar", bundle.read_bytes()
    for more in (b"\0", b"\0" * 512, data):
        refused(judge, path, data + more)


def first_of(parts: Members, suffix: str) -> str:
    return next(name for name, _ in parts if name.endswith(suffix))


def test_members_moved_doubled_left_out_and_added(parts: Members, judge: Floors) -> None:
    path = judge.settings.data / "members.tar"
    tensor, plain = first_of(parts, ".tensor"), first_of(parts, ".plain")
    body = dict(parts)
    swapped = [*parts]
    swapped[-1], swapped[-2] = swapped[-2], swapped[-1]
    cases = {
        "swapped": joined(swapped),
        "doubled": joined([*parts, (tensor, body[tensor])]),
        "added": joined([*parts, ("tensors/" + "0" * 64 + ".tensor", b"x" * 200)]),
        "left out": joined([part for part in parts if part[0] != plain]),
        "renamed": joined([(n.replace(tensor, "../" + tensor[3:]), d) for n, d in parts]),
        "other bytes": joined([(n, d[::-1] if n == plain else d) for n, d in parts]),
        "empty": b"",
        "zeros": bytes(10_240),
        "no sums": joined([part for part in parts if part[0] != "manifest.sha256"]),
    }
    for name, data in cases.items():
        assert refused(judge, path, data).message, name


NAMES = ["../../etc/passwd", "/etc/passwd", "git/../x.bundle", "blobs/x.plain", "git/0.bundle\n",
             "tensors/" + "A" * 64 + ".tensor", "README.md", "",
             "blobs/" + "0" * 64 + ".chunked"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_names_only_what_a_bundle_has(parts: Members, judge: Floors, name: str) -> None:
    said = json.loads(dict(parts)["manifest.json"])
    said["members"].append({"path": name, "bytes": 1, "sha256": "0" * 64})
    data = sealed(said, parts[2:])
    assert "no bundle has" in refused(judge, judge.settings.data / "n.tar", data).message


def test_tricks_of_tar(parts: Members, judge: Floors) -> None:
    """Links, devices, folders, sparse files, long names, PAX headers, owners, huge sizes."""
    path = judge.settings.data / "tricks.tar"

    def with_first(change: Callable[[tarfile.TarInfo], bytes]) -> bytes:
        """The member behind the manifest replaced by what `change` makes of its header."""
        name, data = parts[2]
        info = tarfile.TarInfo(name)
        info.size = len(data)
        head = change(info)
        rest = data + bytes(-len(data) % 512)
        before = joined(parts[:2])[:-1024]
        return before + head + rest + joined(parts[3:])

    def link(kind: bytes) -> Callable[[tarfile.TarInfo], bytes]:
        def change(info: tarfile.TarInfo) -> bytes:
            info.type, info.linkname = kind, "/etc/passwd"
            return info.tobuf(tarfile.USTAR_FORMAT)

        return change

    def long_name(info: tarfile.TarInfo) -> bytes:
        info.name = "git/" + "a" * 300
        return info.tobuf(tarfile.GNU_FORMAT)

    def pax(info: tarfile.TarInfo) -> bytes:
        info.pax_headers = {"path": "/etc/passwd", "size": "5"}
        return info.tobuf(tarfile.PAX_FORMAT)

    def huge(info: tarfile.TarInfo) -> bytes:
        info.size = 2**60
        return info.tobuf(tarfile.GNU_FORMAT)

    def negative(info: tarfile.TarInfo) -> bytes:
        info.size = -1
        return info.tobuf(tarfile.GNU_FORMAT)

    def owned(info: tarfile.TarInfo) -> bytes:
        info.uname, info.mode = "root", 0o4755
        return info.tobuf(tarfile.USTAR_FORMAT)

    def absolute(info: tarfile.TarInfo) -> bytes:
        info.name = "/etc/passwd"
        return info.tobuf(tarfile.USTAR_FORMAT)

    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE,
             tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE, tarfile.AREGTYPE)  # fmt: skip
    changes = [link(kind) for kind in kinds]
    for change in [*changes, long_name, pax, huge, negative, owned, absolute]:
        refused(judge, path, with_first(change))
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        made = BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=format) as tar:
            for name, data in parts:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
        refused(judge, path, made.getvalue())
    big = tarfile.TarInfo("manifest.json")
    big.size = 2**33
    refused(judge, path, big.tobuf(tarfile.GNU_FORMAT) + bytes(2048))


def test_a_manifest_that_lies(parts: Members, judge: Floors) -> None:
    path = judge.settings.data / "lies.tar"
    said = json.loads(dict(parts)["manifest.json"])
    base, child, notes = said["repos"]

    def repos(*rows: dict[str, object]) -> bytes:
        return sealed({**said, "repos": list(rows)}, parts[2:])

    lies = {
        "two of one name": repos(base, {**child, "name": "Ann/BASE"}, notes),
        "a history less": repos(base, child),
        "no repos": repos(),
        "another type": repos({**base, "type": "bucket"}, child, notes),
        "a path for a name": repos({**base, "name": "ann/../x"}, child, notes),
        "a reserved name": repos({**base, "name": "api/x"}, child, notes),
        "a gate there is not": repos({**base, "gated": "maybe"}, child, notes),
        "a field": repos({**base, "token": "x"}, child, notes),
        "an sdk": repos({**base, "sdk": "x" * 99}, child, notes),
        "a size": repos({**base, "files": [{**base["files"][0], "bytes": 7}]}, child, notes),
        "a file too many": repos(
            {**base, "files": [*base["files"], {"oid": "0" * 64, "bytes": 1}]}, child, notes
        ),
        "a file less": repos(base, {**child, "files": []}, notes),
        "gone that is no hash": repos({**base, "gone": ["x"]}, child, notes),
        "signed": sealed({**said, "signed": True}, parts[2:]),
        "no JSON": joined([("manifest.json", b"{"), *parts[1:]]),
        "a list": joined([("manifest.json", b"[]"), *parts[1:]]),
        "another file": sealed({**said, "format": "tar"}, parts[2:]),
        "deep": joined([("manifest.json", b"[" * 100_000), *parts[1:]]),
    }
    for name, data in lies.items():
        error = refused(judge, path, data)
        assert error.message, name
        assert not isinstance(error, Refused), name
    later = refused(judge, path, sealed({**said, "version": 2}, parts[2:]))
    assert isinstance(later, Refused)


def test_what_is_not_there(judge: Floors, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        into(judge, tmp_path / "nothing.tar")
    with pytest.raises(HeadwaterError):
        into(judge, tmp_path)


def test_random_edits_of_whole_members(parts: Members, judge: Floors) -> None:
    """The liar keeps every hash right: what is inside the containers must give him away. (What he
    calls a branch is his own to say: git's part has its test below.)"""
    path, random_ = judge.settings.data / "inside.tar", random.Random(7)
    for name, data in [part for part in parts[2:] if not part[0].startswith("git/")]:
        for _ in range(6):
            at = random_.randrange(len(data))
            changed = data[:at] + bytes([data[at] ^ random_.randint(1, 255)]) + data[at + 1 :]
            refused(judge, path, edited(parts, {name: changed}))
        for changed in (data[:-1], data + b"\0", data[: len(data) // 2], b"x"):
            refused(judge, path, edited(parts, {name: changed}))


def test_containers_under_other_names(parts: Members, judge: Floors) -> None:
    """A sound container in the place of another one."""
    path = judge.settings.data / "names.tar"
    for suffix in (".tensor", ".packed"):
        names = [name for name, _ in parts if name.endswith(suffix)]
        body = dict(parts)
        refused(judge, path, edited(parts, {names[0]: body[names[1]]}))
    assert hashlib.sha256(body[names[0]]).hexdigest() not in names[0]


def test_git_histories_of_a_liar(parts: Members, target: Floors) -> None:
    """Any byte of a history changed: refused, or another history that is sound in itself."""
    path, random_ = target.settings.data / "git.tar", random.Random(3)
    name = "git/1.bundle"
    data = dict(parts)[name]
    pack_at = data.index(b"PACK")
    for at in [*random_.sample(range(pack_at, len(data)), 30), *range(0, 17, 3)]:
        changed = data[:at] + bytes([data[at] ^ random_.randint(1, 255)]) + data[at + 1 :]
        refused(target, path, edited(parts, {name: changed}))
    head = data[:pack_at]
    for other in (
        head.replace(b"refs/heads/dev", b"refs/pr/1"),
        head.replace(b"refs/heads/dev", b"refs/heads/a..b"),
        head.replace(b"refs/heads/dev", b"refs/heads/v1/x/../y"),
        head.replace(b"refs/heads/main", b"refs/heads/mine"),
        head.replace(b" HEAD", b" HEAD2"),
        head.replace(b"# v2", b"# v3"),
        head.replace(b"\n\n", b"\n-" + b"0" * 40 + b" x\n\n"),
        head[:-1],
    ):
        refused(target, path, edited(parts, {name: other + data[pack_at:]}))
    missing = head.replace(head[17:57], b"0" * 40)
    refused(target, path, edited(parts, {name: missing + data[pack_at:]}))


def test_a_pointer_is_no_way_to_what_did_not_come(parts: Members, target: Floors) -> None:
    """Naming a hash gives nothing (T1): not in git, not in a recipe, not in an empty container."""
    assert len(into(target, _written(target, joined(parts))).repos) == 3
    said = json.loads(dict(parts)["manifest.json"])
    base = said["repos"][0]
    only = {"repos": [{**base, "name": "ann/thief", "git": "git/0.bundle", "files": []}]}
    history = [("git/0.bundle", dict(parts)["git/0.bundle"])]
    before = repo_names(target)
    for repo in (only["repos"][0], {**only["repos"][0], "files": base["files"]}):
        rest = [] if not repo["files"] else [
            (f"blobs/{base['files'][0]['oid']}.plain", b"x" * 500)
        ]  # fmt: skip
        body = [*history, *rest]
        rows = [
            {"path": n, "bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in body
        ]
        data = sealed({**said, "repos": [repo], "members": rows}, body)
        with pytest.raises(HeadwaterError):
            into(target, _written(target, data))
        assert repo_names(target) == before
    packed = f"blobs/{base['files'][0]['oid']}.packed"
    body = [*history, (packed, dict(parts)[packed])]
    rows = [{"path": n, "bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in body]
    repo = {**only["repos"][0], "files": base["files"]}
    with pytest.raises(HeadwaterError, match="did not come"):
        into(target, _written(target, sealed({**said, "repos": [repo], "members": rows}, body)))
    assert repo_names(target) == before


def _written(target: Floors, data: bytes) -> Path:
    path = target.settings.data / "written.tar"
    path.write_bytes(data)
    return path
