"""Debian's git and git-lfs against a live hub: what people type, and what must be refused.

The judge is git itself: what it cloned passes `git fsck --strict` and holds the very bytes.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from clientrun import client_environ, run_client
from content import MB, noise
from gitrun import HAS_LFS, GitUser

from live import LiveHub
from pg import NoServer, cluster
from raw import Raw

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]
needs_lfs = pytest.mark.skipif(not HAS_LFS, reason="git-lfs is not installed (Debian: git-lfs)")
PUSHERS = 8
BIG_BYTES = 200_000_000


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


class People(Protocol):
    def __call__(self, name: str, *, version: int = 2) -> tuple[GitUser, Raw]: ...


@pytest.fixture
def people(live_hub: LiveHub, tmp_path: Path) -> Iterator[People]:
    """A person, made on first use: with git, and with plain requests."""
    with ExitStack() as stack:

        def person(name: str, *, version: int = 2) -> tuple[GitUser, Raw]:
            token = live_hub.token(name)
            git = GitUser(live_hub, token, tmp_path / f"home-{name}-{version}", version=version)
            return git, stack.enter_context(Raw(live_hub.url, token))

        yield person


@pytest.mark.parametrize("suffix", ["", ".git"])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_clone_fetch_push_pull(
    live_hub: LiveHub, people: People, work: Path, version: int, suffix: str
) -> None:
    user = f"git{version}{suffix.replace('.', '-')}"
    git, api = people(user, version=version)
    assert api.create(f"{user}/m").status == 200
    api.commit(f"{user}/m", {"README.md": b"# first\n", "a/b/c.txt": b"deep\n"})
    mine, theirs = work / "mine", work / "theirs"
    git("clone", git.url(f"{user}/m", suffix=suffix), mine, cwd=work)
    git("clone", git.url(f"{user}/m", suffix=suffix), theirs, cwd=work)
    assert (mine / "a/b/c.txt").read_bytes() == b"deep\n"
    assert git("symbolic-ref", "HEAD", cwd=mine).strip() == "refs/heads/main"

    (mine / "run.sh").write_bytes(b"#!/bin/sh\n")
    (mine / "run.sh").chmod(0o755)
    made = git.commit(mine, {"a/b/c.txt": b"deeper\n", "Wörter.txt": "ü".encode()})
    git("push", cwd=mine)
    assert api.head(f"{user}/m") == made
    assert api.get(f"{user}/m", "a/b/c.txt").content == b"deeper\n"
    git("pull", "--ff-only", cwd=theirs)
    assert (theirs / "Wörter.txt").read_bytes() == "ü".encode()
    assert os.access(theirs / "run.sh", os.X_OK)

    # Many commits on each side: the negotiation takes more than one request.
    for number in range(40):
        git.commit(theirs, {f"theirs/{number}.txt": str(number).encode()})
    git("push", "origin", "HEAD:refs/heads/side/branch", cwd=theirs)
    for number in range(40):
        git.commit(mine, {f"mine/{number}.txt": str(number).encode()})
    git("fetch", cwd=mine)
    git("merge", "--quiet", "-m", "both", "origin/side/branch", cwd=mine)
    git("push", cwd=mine)
    git("pull", "--ff-only", "origin", "main", cwd=theirs)
    for folder in (mine, theirs):
        git("fsck", "--strict", "--full", cwd=folder)
    assert git("rev-parse", "HEAD", cwd=mine) == git("rev-parse", "HEAD", cwd=theirs)
    assert "forced" not in str(live_hub.log_tail())


def test_branches_tags_and_their_end(
    live_hub: LiveHub, people: People, tmp_path: Path, work: Path
) -> None:
    git, api = people("gitrefs")
    api.create("gitrefs/m")
    mine = work / "mine"
    git("clone", git.url("gitrefs/m"), mine, cwd=work)
    first = git.commit(mine, {"a.txt": b"1"})
    git("tag", "light", cwd=mine)
    git("tag", "-a", "heavy", "-m", "said", cwd=mine)
    git("tag", "-a", "twice", "-m", "a tag of a tag", "heavy", cwd=mine)
    git("branch", "dev/one", cwd=mine)
    git("push", "origin", "main", "dev/one", "--tags", cwd=mine)
    refs = api.http.get("/api/models/gitrefs/m/refs").json()
    assert {b["name"]: b["targetCommit"] for b in refs["branches"]}["dev/one"] == first
    assert {t["name"]: t["targetCommit"] for t in refs["tags"]} == dict.fromkeys(
        ("light", "heavy", "twice"), first
    )
    assert api.get("gitrefs/m", "a.txt", "heavy").content == b"1"
    git("clone", "--branch", "twice", git.url("gitrefs/m"), "tagged", cwd=work)
    assert git("cat-file", "-t", "heavy", cwd=work / "tagged").strip() == "tag"
    git("fsck", "--strict", cwd=work / "tagged")

    git("push", "origin", "--delete", "dev/one", "light", cwd=mine)
    assert "main cannot be deleted" in git.fails("push", "origin", "--delete", "main", cwd=mine)
    listed = git("ls-remote", "origin", cwd=mine)
    assert "dev/one" not in listed
    assert "light" not in listed
    assert "refs/tags/heavy^{}" in listed
    said = git.fails("push", "origin", "main:refs/pr/1", cwd=mine)
    assert "pull requests are changed through the API" in said
    assert "only branches" in git.fails("push", "origin", "main:refs/notes/x", cwd=mine)

    # Backwards only by force; a lease that does not hold is refused.
    git("reset", "--hard", "HEAD~1", cwd=mine)
    git.fails("push", "origin", "main", cwd=mine)
    git("push", "--force", "origin", "main", cwd=mine)
    assert api.head("gitrefs/m") != first
    # All or none.
    git.commit(mine, {"b.txt": b"2"})
    os.symlink("b.txt", mine / "link")
    git("checkout", "--quiet", "-b", "bad", cwd=mine)
    git.commit(mine, {})
    before = api.head("gitrefs/m")
    said = git.fails("push", "--atomic", "origin", "main", "bad", cwd=mine)
    assert "symbolic link" in said
    assert api.head("gitrefs/m") == before
    said = git.fails("push", "origin", "main", "bad", cwd=mine)
    assert "symbolic link" in said
    assert api.head("gitrefs/m") != before


@pytest.mark.parametrize("version", [0, 2])
def test_shallow_and_filtered_clones(
    live_hub: LiveHub, people: People, work: Path, version: int
) -> None:
    user = f"gitshallow{version}"
    git, api = people(user, version=version)
    api.create(f"{user}/m")
    for number in range(6):
        api.commit(f"{user}/m", {f"{number}.txt": str(number).encode(), "v.txt": b"%d" % number})
    url = git.url(f"{user}/m")
    git("clone", "--depth", "1", url, "one", cwd=work)
    one = work / "one"
    assert git("rev-list", "--count", "HEAD", cwd=one).strip() == "1"
    git("fetch", "--depth", "3", cwd=one)
    assert git("rev-list", "--count", "origin/main", cwd=one).strip() == "3"
    git("fetch", "--deepen", "1", cwd=one)
    assert git("rev-list", "--count", "origin/main", cwd=one).strip() == "4"
    git("clone", "--shallow-since", "2020-01-01", url, "since", cwd=work)
    assert git("rev-list", "--count", "HEAD", cwd=work / "since").strip() == "7"
    git.commit(one, {"from-shallow.txt": b"x"})
    git("push", cwd=one)
    api.commit(f"{user}/m", {"later.txt": b"y"})
    git("pull", "--ff-only", cwd=one)
    assert (one / "later.txt").read_bytes() == b"y"
    git("fetch", "--unshallow", cwd=one)
    assert git("rev-list", "--count", "HEAD", cwd=one).strip() == "9"
    git("fsck", "--strict", cwd=one)

    git("clone", "--filter=blob:none", "--no-checkout", url, "lazy", cwd=work)
    lazy = work / "lazy"
    missing = git("rev-list", "--objects", "--all", "--missing=print", cwd=lazy)
    assert missing.count("\n?") > 6
    git("checkout", "main", cwd=lazy)
    assert (lazy / "v.txt").read_bytes() == b"5"
    assert "not served" in git.fails("clone", "--filter=tree:0", url, "treeless", cwd=work)
    # One commit by its id, as build systems fetch.
    wanted = git("rev-parse", "HEAD~2", cwd=one).strip()
    git("init", "--quiet", "single", cwd=work)
    git("fetch", "--depth", "1", url, wanted, cwd=work / "single")
    assert git("rev-parse", "FETCH_HEAD", cwd=work / "single").strip() == wanted


@needs_lfs
def test_a_large_file_goes_by_lfs(
    live_hub: LiveHub, people: People, tmp_path: Path, work: Path
) -> None:
    """200 MB, gated and private too; whoever may not read the repo gets neither git nor LFS."""
    git, api = people("gitlfs")
    api.create("gitlfs/m", private=True)
    mine = work / "mine"
    git("clone", git.url("gitlfs/m"), mine, cwd=work)
    big = os.urandom(BIG_BYTES)
    git.commit(mine, {"weights.safetensors": big, "small.txt": b"text"})
    assert "filter=lfs" in (mine / ".gitattributes").read_text()
    git("push", cwd=mine)
    head = api.http.head("/gitlfs/m/resolve/main/weights.safetensors")
    assert head.headers["x-linked-size"] == str(BIG_BYTES)
    git("clone", git.url("gitlfs/m", suffix=".git"), "again", cwd=work)
    assert (work / "again/weights.safetensors").read_bytes() == big
    del big
    # Moved and copied: no upload again, and no new bytes in the store.
    git("mv", "weights.safetensors", "moved.safetensors", cwd=mine)
    git.commit(mine, {"copy.bin": (mine / "moved.safetensors").read_bytes()})
    git("push", cwd=mine)
    stored = sum(f.stat().st_size for f in (live_hub.store / "blobs").rglob("*") if f.is_file())
    assert stored < 2 * BIG_BYTES + 100 * MB

    stranger, _ = people("gitstranger")
    nobody = GitUser(live_hub, None, tmp_path / "home-nobody")
    for who in (stranger, nobody):
        hidden = who.fails("clone", who.url("gitlfs/m"), "hidden", cwd=work)
        missing = who.fails("clone", who.url("gitlfs/none"), "hidden", cwd=work)
        assert hidden.replace("gitlfs/m", "?") == missing.replace("gitlfs/none", "?")

    api.http.put("/api/models/gitlfs/m/settings", json={"private": False, "gated": "manual"})
    assert "restricted" in stranger.fails("clone", stranger.url("gitlfs/m"), "gated", cwd=work)
    git("clone", git.url("gitlfs/m"), "mine-again", cwd=work)


@needs_lfs
def test_lfs_objects_of_others_are_refused(
    live_hub: LiveHub, people: People, tmp_path: Path, work: Path
) -> None:
    """A pointer to bytes that one never had gives nothing: not from a private repo, not at all."""
    owner, api = people("gitowner")
    api.create("gitowner/secret", private=True)
    secret = noise("gitowner", 3 * MB)
    oid, _ = api.lfs("gitowner/secret", secret)
    assert api.commit("gitowner/secret", lfs={"w.bin": (oid, len(secret))}).status == 200

    thief, mine = people("gitthief")
    mine.create("gitthief/m")
    thief("clone", thief.url("gitthief/m"), "m", cwd=work)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(secret)}\n"
    thief("lfs", "uninstall", cwd=work)
    thief.commit(work / "m", {"dir/stolen.txt": pointer.encode()})
    said = thief.fails("push", cwd=work / "m")
    assert f"its LFS object {oid} was not uploaded" in said
    assert "dir/stolen.txt" in said
    assert mine.get("gitthief/m", "dir/stolen.txt").status_code == 404
    # The owner may: the bytes are in a repo that they can read.
    owner("lfs", "uninstall", cwd=work)
    api.create("gitowner/second")
    owner("clone", owner.url("gitowner/second"), "second", cwd=work)
    owner.commit(work / "second", {"w.txt": pointer.encode()})
    owner("push", cwd=work / "second")
    assert api.get("gitowner/second", "w.txt").content == secret


def test_what_is_refused_says_why(
    live_hub: LiveHub, people: People, tmp_path: Path, work: Path
) -> None:
    git, api = people("gitrules")
    api.create("gitrules/m")
    folder = work / "m"
    git("clone", git.url("gitrules/m"), folder, cwd=work)

    def refused() -> str:
        said = git.fails("push", cwd=folder)
        assert "remote rejected" in said
        git("reset", "--hard", "origin/main", cwd=folder)
        return said

    (folder / "sub").mkdir()
    os.symlink("/etc/passwd", folder / "sub/link")
    git.commit(folder, {})
    assert "'sub/link' is a symbolic link" in refused()

    git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},deps/lib", cwd=folder)
    git("commit", "--quiet", "-m", "submodule", cwd=folder)
    assert "'deps/lib' is a submodule" in refused()

    git.commit(folder, {"data/large.txt": noise("large", 11 * MB)})
    said = refused()
    assert "'data/large.txt' has" in said
    assert "git-lfs" in said

    git.commit(folder, {"Readme.txt": b"1", "README.txt": b"2"})
    assert "differ only in letter case" in refused()

    git.commit(folder, {"a\\b.txt": b"1"})
    assert "is refused" in refused()

    git.commit(folder, {"fine.txt": b"1"})
    git("push", cwd=folder)

    reader = GitUser(live_hub, live_hub.token("gitrules", "read"), tmp_path / "home-reader")
    reader("clone", reader.url("gitrules/m"), "r", cwd=work)
    reader.commit(work / "r", {"x.txt": b"1"})
    assert "403" in reader.fails("push", cwd=work / "r")
    stranger = GitUser(live_hub, live_hub.token("gitother"), tmp_path / "home-other")
    stranger("clone", stranger.url("gitrules/m"), "s", cwd=work)
    stranger.commit(work / "s", {"x.txt": b"1"})
    assert "no right to write" in stranger.fails("push", cwd=work / "s")
    revoked = GitUser(live_hub, "hf_" + "a" * 36, tmp_path / "home-bad")
    assert "Authentication failed" in revoked.fails(
        "push", revoked.url("gitrules/m"), "main", cwd=work / "s"
    )


def test_the_api_and_git_interleaved_lose_nothing(
    live_hub: LiveHub, people: People, tmp_path: Path, work: Path
) -> None:
    """huggingface_hub commits while git pushes, 20 each: every file is there in the end."""
    git, api = people("gitmix")
    api.create("gitmix/m")
    folder = work / "m"
    git("clone", git.url("gitmix/m"), folder, cwd=work)
    script = work / "commits.py"
    script.write_text(
        "from huggingface_hub import HfApi\n"
        "for n in range(20):\n"
        "    HfApi().upload_file(path_or_fileobj=b'api %d' % n, path_in_repo=f'api/{n}.txt',\n"
        "                        repo_id='gitmix/m')\n"
    )
    environ = client_environ(live_hub, live_hub.token("gitmix"), tmp_path / "hf", xet=False)
    other = threading.Thread(target=run_client, args=("hub24", [script], environ))
    other.start()
    tries = 0
    for number in range(20):
        git.commit(folder, {f"git/{number}.txt": b"git %d" % number})
        while git.run("push", cwd=folder).returncode:
            git("pull", "--rebase", "--quiet", cwd=folder)
            tries += 1
            assert tries < 500
    other.join()
    git("pull", "--rebase", "--quiet", cwd=folder)
    for number in range(20):
        for who in ("api", "git"):
            wanted = b"%s %d" % (who.encode(), number)
            assert (folder / who / f"{number}.txt").read_bytes() == wanted
            assert api.get("gitmix/m", f"{who}/{number}.txt").content == wanted
    assert git("rev-list", "--count", "HEAD", cwd=folder).strip() == "41"
    git("fsck", "--strict", cwd=folder)
    assert live_hub.cli("check").returncode == 0


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_eight_pushers_at_once(tmp_path: Path, work: Path, database: str) -> None:
    """Two worker processes, eight people on one branch and on branches of their own."""
    hub = LiveHub(tmp_path / "hub")
    try:
        with cluster() as postgres:
            if database == "postgresql":
                hub.data.mkdir(parents=True)
                url = postgres.database("git")
                (hub.data / "headwater.toml").write_text(f'database_url = "{url}"\n')
            hub.start(workers=2)
            try:
                _eight(hub, tmp_path, work)
                hub.stop()
            finally:
                hub.kill()
    except NoServer as missing:
        pytest.skip(str(missing))


def _eight(hub: LiveHub, tmp_path: Path, work: Path) -> None:
    token = hub.token("crowd")
    with Raw(hub.url, token) as api:
        assert api.create("crowd/m").status == 200

    def push(number: int) -> int:
        git = GitUser(hub, token, tmp_path / f"home-{number}")
        folder = work / str(number)
        git("clone", "--quiet", git.url("crowd/m"), folder, cwd=work)
        retries = 0
        for turn in range(3):
            git.commit(folder, {f"{number}/{turn}.txt": f"{number} {turn}".encode()})
            while (done := git.run("push", cwd=folder)).returncode:
                assert "fetch first" in done.stderr or "rejected" in done.stderr, done.stderr
                git("pull", "--rebase", "--quiet", cwd=folder)
                retries += 1
                assert retries < 200
            git("push", "origin", f"HEAD:refs/heads/own-{number}", "--force", cwd=folder)
        return retries

    with ThreadPoolExecutor(PUSHERS) as threads:
        list(threads.map(push, range(PUSHERS)))
    git = GitUser(hub, None, tmp_path / "home-judge")
    git("clone", git.url("crowd/m"), "judge", cwd=work)
    judge = work / "judge"
    for number in range(PUSHERS):
        for turn in range(3):
            found = (judge / f"{number}/{turn}.txt").read_bytes()
            assert found == f"{number} {turn}".encode()
    assert git("rev-list", "--count", "HEAD", cwd=judge).strip() == str(1 + 3 * PUSHERS)
    assert len(git("ls-remote", "--heads", "origin", cwd=judge).splitlines()) == 1 + PUSHERS
    git("fsck", "--strict", cwd=judge)
    assert hub.cli("check").returncode == 0


@needs_lfs
def test_a_dataset_with_a_reader_and_a_gate(
    live_hub: LiveHub, people: People, tmp_path: Path, work: Path
) -> None:
    """Datasets have their own addresses; a read token clones what is gated, and its LFS files."""
    git, api = people("gitdata")
    api.create("gitdata/d", type="dataset")
    folder = work / "d"
    git("clone", git.url("datasets/gitdata/d"), folder, cwd=work)
    table = noise("parquet", 2 * MB)
    git.commit(folder, {"train.parquet": table, "README.md": b"---\nlicense: mit\n---\n"})
    git("push", cwd=folder)
    assert "license:mit" in api.http.get("/api/datasets/gitdata/d").json()["tags"]
    api.http.put("/api/datasets/gitdata/d/settings", json={"gated": "auto"})
    reader = GitUser(live_hub, live_hub.token("gitdata", "read"), tmp_path / "home-read")
    reader("clone", reader.url("datasets/gitdata/d"), "r", cwd=work)
    assert (work / "r/train.parquet").read_bytes() == table
    nobody = GitUser(live_hub, None, tmp_path / "home-nobody")
    nobody.fails("clone", nobody.url("datasets/gitdata/d"), "n", cwd=work)
    # A file that is on the hub already, under another name and in another repo of the same person.
    api.create("gitdata/copy")
    git("clone", git.url("gitdata/copy"), "copy", cwd=work)
    git.commit(work / "copy", {"again.bin": table})
    git("push", cwd=work / "copy")
    assert api.get("gitdata/copy", "again.bin").content == table
