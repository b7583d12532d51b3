"""The promise to users: unmodified Hugging Face clients, old and new, with and without Xet.

One test is one client release in one mode, running the whole scenario in one process against
the live hub, in a namespace of its own. Then: what one release uploads, every other reads.
"""

import json
from pathlib import Path

import pytest
from clientrun import client_environ, run_client, run_scenario
from content import CARD, MB, noise, text, written
from envs import ENVS

from live import LiveHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]  # the first run also builds venvs

RELEASES = ("hub036", "hub116", "hub24")
MODES = ("xet", "noxet")
NEWEST = "hub24"
NEW_SHARE_MAX = 0.10  # of an edited copy's bytes that may reach the store: DESIGN's Xet promise
KEPT_SHARE_MIN = 0.30  # less than this of incompressible content means we measure the wrong place
PLAIN_SHARE_MAX = 1.15  # an upload leaves one copy behind, not also a temporary one
DAMAGE_FREE = 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("release", RELEASES)
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
    for release in RELEASES:
        for mode in MODES:
            owner = f"shares-{release}-{mode}"
            home = tmp_path / owner
            run_scenario(live_hub, release, owner, home, ["share"], xet=mode == "xet")
            owners.append(owner)
    for release in RELEASES:
        for mode in MODES:
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


def test_the_matrix_covers_every_hub_release() -> None:
    """A release added to the environments is also run."""
    assert set(RELEASES) == {name for name in ENVS if name.startswith("hub")}
