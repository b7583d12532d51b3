"""The promise to users: unmodified Hugging Face clients, old and new, with and without Xet.

One test is one client release in one mode, running the whole scenario in one process against
the live hub, in a namespace of its own. Then: what one release uploads, every other reads.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from clientrun import ClientFailed, client_environ, run_client, run_scenario
from content import CARD, MB, PIXEL, noise, text, written
from envs import ENVS

from effort import FULL
from live import LiveHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]  # the first run also builds venvs

RELEASES = ("hub036", "hub116", "hub24")
MODES = ("xet", "noxet")
NEWEST = "hub24"
NEW_SHARE_MAX = 0.10  # of an edited copy's bytes that may reach the store: DESIGN's Xet promise
KEPT_SHARE_MIN = 0.30  # less than this of incompressible content means we measure the wrong place
PLAIN_SHARE_MAX = 1.15  # an upload leaves one copy behind, not also a temporary one
DAMAGE_FREE = 0


def in_turn(release: str) -> tuple[str, ...]:
    """The modes that a release is run in today: the older ones in one, another each day."""
    if FULL or release == NEWEST:
        return MODES
    return (MODES[(date.today().toordinal() + RELEASES.index(release)) % len(MODES)],)


TODAY = [(release, mode) for release in RELEASES for mode in in_turn(release)]


@pytest.mark.parametrize(("release", "mode"), TODAY)
def test_scenario(live_hub: LiveHub, tmp_path: Path, release: str, mode: str) -> None:
    """Everything a user of this release does, byte for byte; then the store is still sound."""
    user = f"{release}-{mode}"
    facts = run_scenario(live_hub, release, user, tmp_path, ["all"], xet=mode == "xet")

    folder, copy = facts["upload_folder"], facts["reupload_edited"]
    assert KEPT_SHARE_MIN * folder["size_bytes"] < folder["grown_bytes"], folder
    assert folder["grown_bytes"] < PLAIN_SHARE_MAX * folder["size_bytes"], folder
    share_max = NEW_SHARE_MAX if mode == "xet" else PLAIN_SHARE_MAX
    assert copy["grown_bytes"] < share_max * copy["size_bytes"], copy

    checked = live_hub.cli("check")
    assert checked.returncode == DAMAGE_FREE, checked.stdout + checked.stderr


def test_each_release_reads_what_the_others_uploaded(live_hub: LiveHub, tmp_path: Path) -> None:
    owners = []
    for release, mode in TODAY:
        owner = f"shares-{release}-{mode}"
        run_scenario(live_hub, release, owner, tmp_path / owner, ["share"], xet=mode == "xet")
        owners.append(owner)
    for release, mode in TODAY:
        reader = f"reads-{release}-{mode}"
        home = tmp_path / reader
        facts = run_scenario(
            live_hub, release, reader, home, ["read_shared"], xet=mode == "xet", owners=owners
        )
        assert facts["read_shared"]["owners"] == len(owners)
    checked = live_hub.cli("check", "--bytes")
    assert checked.returncode == DAMAGE_FREE, checked.stdout + checked.stderr


@pytest.mark.parametrize("mode", MODES)
def test_hf_command_line(live_hub: LiveHub, tmp_path: Path, mode: str) -> None:
    """The newest `hf` program: create, upload, list, download, delete."""
    user = f"cli-{mode}"
    repo = f"{user}/model"
    environ = client_environ(live_hub, live_hub.token(user), tmp_path / "home", xet=mode == "xet")
    files = {
        "README.md": CARD.format(seed=user).encode(),
        "données/ü.txt": text(user),
        "weights.bin": noise(user, 3 * MB),
    }
    source = written(files, tmp_path / "source")

    def hf(*args: str) -> str:
        return run_client(NEWEST, args, environ, program="hf")

    def listed(*args: str) -> list[str]:
        return [item["id"] for item in json.loads(hf(*args, "--json"))]

    assert user in hf("auth", "whoami")
    hf("repos", "create", repo)
    hf("upload", repo, str(source))
    assert repo in listed("models", "ls", "--author", user)
    assert repo in listed("repos", "ls")
    hf("download", repo, "--local-dir", str(tmp_path / "target"))
    for path, data in files.items():
        assert (tmp_path / "target" / path).read_bytes() == data, path
    hf("repos", "delete", repo, "--yes")
    assert repo not in listed("models", "ls", "--author", user)


def test_hf_collections(live_hub: LiveHub, tmp_path: Path) -> None:
    """`hf collections`: all its commands, and the filters of `hf models ls`."""
    user = "cli-collections"
    environ = client_environ(live_hub, live_hub.token(user), tmp_path / "home")

    def hf(*args: str) -> str:
        return run_client(NEWEST, args, environ, program="hf")

    def get(*args: str) -> Any:
        return json.loads(hf(*args, "--json"))

    for name in ("a", "b"):
        hf("repos", "create", f"{user}/{name}")
    slug = get("collections", "create", "My models", "--description", "some")["slug"]
    assert get("collections", "create", "My models", "--exists-ok")["slug"] == slug
    hf("collections", "add-item", slug, f"{user}/a", "model", "--note", "good")
    hf("collections", "add-item", slug, f"{user}/b", "model")
    hf("collections", "add-item", slug, f"{user}/b", "model", "--exists-ok")
    items = get("collections", "info", slug)["items"]
    assert [(each["item_id"], each.get("note")) for each in items] == [
        (f"{user}/a", "good"), (f"{user}/b", None),
    ]  # fmt: skip
    hf("collections", "update-item", slug, items[1]["item_object_id"], "--position", "0")
    hf("collections", "delete-item", slug, items[0]["item_object_id"])
    new = get("collections", "update", slug, "--title", "Others", "--theme", "blue")["slug"]
    found = get("collections", "info", new)
    assert [each["item_id"] for each in found["items"]] == [f"{user}/b"]
    assert (found["title"], found["theme"]) == ("Others", "blue")
    for more in ((), ("--item", f"models/{user}/b"), ("--sort", "upvotes")):
        listed = get("collections", "ls", "--owner", user, *more)
        assert [each["slug"] for each in listed] == [new]
    hf("collections", "delete", new)
    assert get("collections", "ls", "--owner", user) == []
    by = ("--author", user, "--sort", "trending_score", "--num-parameters", "min:1B")
    assert get("models", "ls", *by) == []


def test_the_matrix_covers_every_hub_release() -> None:
    """A release added to the environments is also run."""
    assert set(RELEASES) == {name for name in ENVS if name.startswith("hub")}


def test_hf_command_line_on_whole_repos(live_hub: LiveHub, tmp_path: Path) -> None:
    """`hf repos duplicate`, `hf cp` between repos, `hf cache verify`."""
    user = "cli-whole"
    environ = client_environ(live_hub, live_hub.token(user), tmp_path / "home")
    files = {"notes.txt": text(user), "weights.bin": noise(user, MB)}
    source = written(files, tmp_path / "source")

    def hf(*args: str) -> str:
        return run_client(NEWEST, args, environ, program="hf")

    hf("repos", "create", f"{user}/model")
    hf("upload", f"{user}/model", str(source))
    hf("repos", "duplicate", f"{user}/model", f"{user}/twin", "--private")
    hf("repos", "duplicate", f"{user}/model", f"{user}/twin", "--exist-ok")
    hf("repos", "create", f"{user}/other")
    for path in files:
        hf("cp", f"hf://{user}/twin/{path}", f"hf://{user}/other/copied/{path}")
    hf("download", f"{user}/other")
    hf("cache", "verify", f"{user}/other", "--fail-on-missing-files")
    hf("download", f"{user}/twin", "--local-dir", str(tmp_path / "twin"))
    hf("cache", "verify", f"{user}/twin", "--local-dir", str(tmp_path / "twin"))
    for path, data in files.items():
        assert (tmp_path / "twin" / path).read_bytes() == data, path
    (tmp_path / "twin" / "notes.txt").write_bytes(b"changed")
    with pytest.raises(ClientFailed, match=r"notes\.txt"):
        hf("cache", "verify", f"{user}/twin", "--local-dir", str(tmp_path / "twin"))


def test_hf_discussions(live_hub: LiveHub, tmp_path: Path) -> None:
    """`hf discussions`: what the command line does with a talk and a pull request."""
    user = "cli-talk"
    repo = f"{user}/model"
    environ = client_environ(live_hub, live_hub.token(user), tmp_path / "home", xet=False)
    (tmp_path / "pixel.png").write_bytes(PIXEL)

    def hf(*args: str | Path) -> str:
        return run_client(NEWEST, args, environ, program="hf")

    def info(num: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(hf("discussions", "info", repo, str(num), "--json"))
        return found

    def listed(*args: str) -> list[int]:
        found = json.loads(hf("discussions", "list", repo, *args, "--json"))
        return [item["num"] for item in found]

    hf("repos", "create", repo)
    hf("discussions", "create", repo, "--title", "It fails", "--body", "Why?")
    hf("discussions", "comment", repo, "1", "--body", "See", "--attach", tmp_path / "pixel.png")
    shown = info(1)["events"][-1]
    assert f"![pixel]({live_hub.url}/uploads/" in shown["content"]
    hf("discussions", "edit", repo, "1", shown["id"], "--body", "Never mind")
    hf("discussions", "rename", repo, "1", "It works")
    hf("discussions", "close", repo, "1", "--comment", "Done", "--yes")
    assert (info(1)["title"], info(1)["status"]) == ("It works", "closed")
    assert (listed(), listed("--status", "closed")) == ([], [1])
    hf("discussions", "reopen", repo, "1", "--yes")
    hf("discussions", "create", repo, "--title", "Add a file", "--pull-request")
    source = written({"new.txt": b"new\n"}, tmp_path / "source")
    hf("upload", repo, source, "--revision", "refs/pr/2")
    assert "+new\n" in hf("discussions", "diff", repo, "2")
    assert listed("--status", "draft") == [2]
    hf("discussions", "reopen", repo, "2", "--yes")
    hf("discussions", "merge", repo, "2", "--comment", "Thanks", "--yes")
    assert listed("--status", "merged") == [2]
    assert listed("--kind", "discussion") == [1]
    hf("download", repo, "new.txt", "--local-dir", tmp_path / "target")
    assert (tmp_path / "target" / "new.txt").read_bytes() == b"new\n"
