"""Git's two directions, below HTTP, on both databases; real git judges every pack."""

import random
import subprocess
import tempfile
import threading
import tracemalloc
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from catalog_kit import again, contents_of, org, person, repo, upload
from catalog_kit import commit as api_commit
from real_git import Git, bare_repository
from sqlalchemy import select

from headwater.catalog import git_scratch
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.db_errors import ConnectionLost
from headwater.catalog.git_lacking import Progress, Want
from headwater.catalog.git_push import NOTHING, Command, Outcome
from headwater.catalog.git_quarantine import Limits
from headwater.catalog.models import Repo
from headwater.errors import Corrupt, Forbidden, NoSpace, NotFound
from headwater.formats.git_pack import PackFile
from headwater.formats.lfs_pointer import encode_pointer
from packs import commit, history, oid_of, pack, tag, tree, whole

MAIN = "refs/heads/main"
LIMITS = Limits(10_000_000, 1 << 30)
MB = 2**20


def push(
    catalog: Catalog,
    actor: Actor,
    where: Repo,
    entries: Iterable[bytes],
    *commands: tuple[str, str, str],
    atomic: bool = False,
) -> Outcome:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
        file.write(pack(list(entries)))
        file.flush()
        asked = [Command(*command) for command in commands]
        return catalog.git_push.run(
            lambda: actor, where, asked, PackFile(file, 0), Path(folder), LIMITS, atomic=atomic
        )


def fetched(catalog: Catalog, where: Repo, want: Want) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        pieces = catalog.git_fetch.pack(where, want, Path(folder))
        return b"".join(piece for piece in pieces if not isinstance(piece, Progress))


def count(data: bytes) -> int:
    return int.from_bytes(data[8:12], "big")


def take(git: Git, data: bytes, wants: Iterable[str]) -> None:
    """Into a real repository; git says whether all that the wants need is there and right."""
    git("index-pack", "--stdin", "--strict", stdin=data)
    git("rev-list", "--objects", "--quiet", *wants)


def pool(random_: random.Random) -> dict[bytes, bytes]:
    """A few of the same few files: histories share blobs and trees."""
    names = random_.sample([b"a", b"b", b"c", b"d"], random_.randint(1, 4))
    return {name: b"content %d\n" % random_.randint(0, 5) for name in names}


@pytest.mark.parametrize("seed", range(4))
def test_a_client_gets_what_it_lacks(catalog: Catalog, seed: int) -> None:
    """Any wants, any haves, over a history with merges and roots of its own."""
    chance = random.Random(seed)
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    made: list[str] = []
    entries: dict[str, bytes] = {}
    for number in range(40):
        parents = chance.sample(made[-6:], min(len(made), chance.choice([0, 1, 1, 1, 2])))
        files = pool(chance)
        inner = tree(*(("100644", n, oid_of("blob", d)) for n, d in sorted(files.items())))
        root = tree(("40000", b"dir", oid_of("tree", inner)))
        for kind, body in [*(("blob", d) for d in files.values()), ("tree", inner), ("tree", root)]:
            entries[oid_of(kind, body)] = whole(kind, body)
        body = commit(oid_of("tree", root), *parents, message=b"%d\n" % number)
        made.append(oid_of("commit", body))
        entries[made[-1]] = whole("commit", body)
    refs = [(f"refs/heads/b{n}", NOTHING, oid) for n, oid in enumerate(made)]
    assert push(catalog, ann, where, entries.values(), *refs).refused == {}
    for _ in range(6):
        haves = chance.sample(made, chance.randint(0, 3))
        wants = chance.sample(made, chance.randint(1, 3))
        with bare_repository() as git:
            if haves:
                take(git, fetched(catalog, where, Want(haves)), haves)
            take(git, fetched(catalog, where, Want(wants, haves)), wants)
            git("fsck", "--strict", "--full", "--no-dangling")


def test_no_more_than_what_is_new(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    api_commit(catalog, ann, where, {f"d/{n}.txt": b"%d" % n for n in range(50)})
    first = api_commit(catalog, ann, where, {"a/x.txt": b"one"}).oid
    second = api_commit(catalog, ann, where, {"a/x.txt": b"two"}).oid
    assert count(fetched(catalog, where, Want([second], [first]))) == 4  # commit, 2 trees, blob
    assert count(fetched(catalog, where, Want([first], [second]))) == 0
    assert count(fetched(catalog, where, Want([second], [second]))) == 0
    none = fetched(catalog, where, Want([second], blob_bytes_max=0))
    everything = fetched(catalog, where, Want([second]))
    assert count(everything) - count(none) == 53


def test_tags_come_along(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    head = str(catalog.refs.head(where))
    body = tag(head)
    of_tag = tag(oid_of("tag", body), "tag")
    done = push(
        catalog, ann, where, [whole("tag", body), whole("tag", of_tag)],
        ("refs/tags/two", NOTHING, oid_of("tag", of_tag)),
    )  # fmt: skip
    assert done.refused == {}
    plain = fetched(catalog, where, Want([head]))
    assert count(fetched(catalog, where, Want([head], include_tags=True))) == count(plain) + 2
    with bare_repository() as git:
        take(git, fetched(catalog, where, Want([oid_of("tag", of_tag)])), [oid_of("tag", of_tag)])


def test_a_shallow_history(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    made = [str(api_commit(catalog, ann, where, {"x": b"%d" % n}).oid) for n in range(6)]
    inside, cut = catalog.git_fetch.depth(where, [made[-1]], 2)
    assert (inside, cut) == ({made[-1], made[-2]}, {made[-2]})
    everything, none = catalog.git_fetch.depth(where, [made[-1]], 2**31 - 1)
    assert len(everything) == 7
    assert none == set()
    data = fetched(catalog, where, Want([made[-1]], grafts=frozenset(cut)))
    with bare_repository() as git:
        Path(git.folder, "shallow").write_text("".join(f"{oid}\n" for oid in cut))
        take(git, data, [made[-1]])
        assert git("rev-list", made[-1]).decode().split() == [made[-1], made[-2]]


def test_damage_is_not_sent(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    head = api_commit(catalog, ann, where, {"x": b"right"}).oid
    with catalog.db.write() as conn:
        conn.execute(
            s.git_object.update()
            .where(s.git_object.c.oid == oid_of("blob", b"right"))
            .values(data=zlib.compress(b"wrong"))
        )
    with pytest.raises(Corrupt, match="no longer matches"):
        fetched(catalog, where, Want([head]))
    with catalog.db.write() as conn:
        conn.execute(s.git_object.delete().where(s.git_object.c.oid == oid_of("blob", b"right")))
    with pytest.raises(NotFound, match="missing from this repo"):
        fetched(catalog, where, Want([head]))


def test_memory_does_not_grow_with_the_repo(catalog: Catalog) -> None:
    """80 MB of files, and a folder of 5,000: in pieces, both ways."""
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    chance = random.Random(1)
    for number in range(10):
        api_commit(catalog, ann, where, {f"{number}.bin": chance.randbytes(8 * MB)})
    head = str(catalog.refs.head(where))
    new, entries = history({b"%06d" % n: b"%d" % n for n in range(5_000)}, head)
    data = pack(entries)
    del entries
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            command = Command(MAIN, head, new)
            done = catalog.git_push.run(
                lambda: ann, where, [command], PackFile(file, 0), Path(folder), LIMITS,
                atomic=False,
            )  # fmt: skip
            assert done.refused == {}
            pieces = catalog.git_fetch.pack(where, Want([new]), Path(folder))
            sent = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        assert sent > 80 * MB
        assert tracemalloc.get_traced_memory()[1] < 75 * MB
    finally:
        tracemalloc.stop()


def test_a_push_is_one_audit_row_and_one_event(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    head = str(catalog.refs.head(where))
    new, entries = history({b"a": b"1"}, head)
    push(catalog, ann, where, entries, (MAIN, head, new), ("refs/heads/x", NOTHING, new))
    push(catalog, ann, where, [], (MAIN, new, head), ("refs/heads/x", new, NOTHING))
    push(catalog, ann, where, [], (MAIN, new, head))  # refused: nothing to tell
    with catalog.db.read() as conn:
        audits = conn.execute(select(s.audit).where(s.audit.c.action == "repo.push")).all()
        told = conn.execute(select(s.event.c.payload).where(s.event.c.scope == "repo.content"))
        events = told.scalars().all()
    assert len(audits) == len(events) == 2
    assert "forced" not in audits[0].detail
    assert audits[1].detail.count('"forced":true') == 1
    assert f'"oldSha":"{new}","newSha":"{head}"' in events[1]
    assert f'"oldSha":"{new}","newSha":null' in events[1]


def test_of_many_pushes_and_commits_one_wins_each_round(catalog: Catalog) -> None:
    """Eight threads with git and two with the API on one branch: every success is in the end."""
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    kept: list[str] = []
    failures: list[BaseException] = []

    def by_git(number: int) -> None:
        done = tries = 0
        while done < 3 and (tries := tries + 1) < 500:
            head = str(catalog.refs.head(where))
            files = {
                path.encode(): data for path, data in contents_of(catalog, where, head).items()
            }
            name = f"git-{number}-{done}"
            new, entries = history({**files, name.encode(): b"x"}, head)
            outcome = push(catalog, ann, where, entries, (MAIN, head, new))
            assert outcome.refused in ({}, {MAIN: "fetch first"}), outcome
            if not outcome.refused:
                kept.append(name)
                done += 1
        assert done == 3

    def by_api(number: int) -> None:
        for turn in range(5):
            api_commit(catalog, ann, where, {f"api-{number}-{turn}": b"y"})
            kept.append(f"api-{number}-{turn}")

    def caught(work: object, number: int) -> None:
        try:
            work(number)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=caught, args=(by_git, n)) for n in range(8)]
    threads += [threading.Thread(target=caught, args=(by_api, n)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(kept) == 34
    assert set(kept) <= set(contents_of(catalog, where))
    assert len(catalog.git_fetch.depth(where, [str(catalog.refs.head(where))], 10**6)[0]) == 35
    assert catalog.sweep.sweep_objects(where.id, 2**60) >= 0
    with bare_repository() as git:
        head = str(catalog.refs.head(where))
        take(git, fetched(catalog, where, Want([head])), [head])


def test_rights_are_asked_again_when_the_refs_move(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    org(catalog, "lab", ann="write")
    ann = again(catalog, ann)
    where = repo(catalog, ann, "lab/m")
    head = str(catalog.refs.head(where))
    new, entries = history({b"a": b"1"}, head)
    asked = 0

    def now() -> Actor:
        nonlocal asked
        asked += 1
        if asked == 2:
            catalog.accounts.set_role("lab", "ann", "read")
        return again(catalog, ann)

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
        file.write(pack(entries))
        file.flush()
        with pytest.raises(Forbidden):
            catalog.git_push.run(
                now, where, [Command(MAIN, head, new)], PackFile(file, 0), Path(folder), LIMITS,
                atomic=False,
            )  # fmt: skip
    assert catalog.refs.head(where) == head


def test_an_lfs_object_belongs_to_who_brought_it(catalog: Catalog) -> None:
    ann, bob = person(catalog, "ann"), person(catalog, "bob")
    secret, public = repo(catalog, ann, "ann/m", private=True), repo(catalog, bob, "bob/m")
    data = b"weights" * 99
    oid = upload(catalog, ann, data)
    pointer = encode_pointer(oid, len(data))

    def pushed(who: Actor, where: Repo) -> Outcome:
        head = str(catalog.refs.head(where))
        new, entries = history({b"w.bin": pointer}, head)
        return push(catalog, who, where, entries, (MAIN, head, new))

    assert "was not uploaded" in pushed(bob, public).refused[MAIN]
    assert pushed(ann, secret).refused == {}
    assert catalog.blobs.in_repo(secret, oid) == len(data)
    assert "was not uploaded" in pushed(bob, public).refused[MAIN]
    assert catalog.blobs.in_repo(public, oid) is None
    # Text that is there already stays text, whoever pushes it again.
    api_commit(catalog, bob, public, {"w.bin": pointer})
    head = str(catalog.refs.head(public))
    new, entries = history({b"moved.bin": pointer}, head)
    assert push(catalog, bob, public, entries, (MAIN, head, new)).refused == {}
    assert catalog.blobs.in_repo(public, oid) is None
    catalog.repos.set(ann, "model", "ann/m", private=False)
    head = str(catalog.refs.head(public))
    new, entries = history({b"proven.bin": pointer}, head)
    assert push(catalog, bob, public, entries, (MAIN, head, new)).refused == {}
    assert catalog.blobs.in_repo(public, oid) == len(data)


def test_a_full_disk_is_said(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scratch file cannot grow: 507, and nothing has happened."""
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    settings = git_scratch._SETTINGS + "PRAGMA max_page_count=20;"
    monkeypatch.setattr(git_scratch, "_SETTINGS", settings)
    head = str(catalog.refs.head(where))
    new, entries = history({b"a": random.Random(1).randbytes(MB)}, head)
    with pytest.raises(NoSpace):
        push(catalog, ann, where, entries, (MAIN, head, new))
    assert catalog.refs.head(where) == head


def test_what_git_packs_we_unpack(catalog: Catalog, tmp_path: Path) -> None:
    """A repository packed by git itself with long chains of differences, and packed thin."""
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    chance = random.Random(3)
    with bare_repository() as git:
        text = [b"line %d\n" % chance.randint(0, 999) for _ in range(2000)]
        parent: list[str] = []
        for _ in range(60):
            text[chance.randrange(2000)] = b"changed %d\n" % chance.randint(0, 99)
            new, entries = history({b"t.txt": b"".join(text)}, *parent)
            git("unpack-objects", "-q", stdin=pack(entries))
            parent = [new]
        git.point({"refs/heads/main": new})
        older = git("rev-parse", "main~30").decode().strip()
        for old, tip, revisions in ((NOTHING, older, older), (older, new, f"{new}\n^{older}")):
            packed = subprocess.run(
                ["git", "-C", git.folder, "pack-objects", "--revs", "--stdout", "--thin",
                 "--delta-base-offset", "--depth=50", "-q"],
                input=revisions.encode() + b"\n", capture_output=True, check=True,
            ).stdout  # fmt: skip
            with tempfile.TemporaryFile() as file:
                file.write(packed)
                file.flush()
                done = catalog.git_push.run(
                    lambda: ann, where, [Command("refs/heads/x", old, tip)],
                    PackFile(file, 0), tmp_path, LIMITS, atomic=False,
                )  # fmt: skip
            assert (done.unpack, done.refused) == (None, {})
    assert contents_of(catalog, where, "x") == {"t.txt": b"".join(text)}


def test_an_answer_that_was_lost_is_given_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refs moved, the connection broke: the second look finds them moved, and says ok."""
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    head = str(catalog.refs.head(where))
    new, entries = history({b"a": b"1"}, head)
    real = catalog.git_push._move_once
    tries: list[bool] = []

    def lost(*args: object, again: bool, **more: object) -> dict[str, str]:
        tries.append(again)
        answer = real(*args, again=again, **more)  # type: ignore[arg-type]
        if not again:
            raise ConnectionLost("cut")
        return answer

    monkeypatch.setattr(catalog.git_push, "_move_once", lost)
    done = push(
        catalog, ann, where, entries,
        (MAIN, head, new), ("refs/heads/x", "1" * 40, new), ("refs/pr/1", NOTHING, new),
    )  # fmt: skip
    assert tries == [False, True]
    assert set(done.refused) == {"refs/heads/x", "refs/pr/1"}
    with catalog.db.read() as conn:
        told = conn.execute(select(s.audit.c.id).where(s.audit.c.action == "repo.push")).all()
    assert len(told) == 1
