"""What people type: `hf` on a terminal, against a live hub, command by command.

Every group of commands that a hub answers: repos, branches, tags, discussions, collections,
buckets, cache, webhooks. The newest release; older ones are driven from Python (test_matrix).
"""

import json
import re
from pathlib import Path

import pytest
from clientrun import ClientFailed, client_environ, run_client
from content import CARD, MB, noise, text, written
from terminal import Terminal

from live import LiveHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

NEWEST = "hub24"


def terminal_of(hub: LiveHub, user: str, home: Path) -> Terminal:
    return Terminal(client_environ(hub, hub.token(user), home), NEWEST)


def published(screen: Terminal, repo: str, folder: Path) -> dict[str, bytes]:
    """A model made and filled from the command line; its files."""
    files = {
        "README.md": CARD.format(seed=repo).encode(),
        "config.json": b'{"model_type": "tiny"}',
        "notes/n.txt": text(repo),
        "weights.bin": noise(repo, 2 * MB),
    }
    screen.hf("repos", "create", repo)
    screen.hf("upload", repo, written(files, folder))
    return files


def test_repos(live_hub: LiveHub, tmp_path: Path) -> None:
    screen = terminal_of(live_hub, "term-repos", tmp_path / "home")
    repo = "term-repos/model"
    files = published(screen, repo, tmp_path / "source")
    assert repo in screen.hf("repos", "ls")
    assert repo in screen.hf("repos", "ls", "--type", "model", "--search", "mod")
    screen.hf("repos", "create", repo, fails=True)
    screen.hf("repos", "create", repo, "--exist-ok")
    for kind in ("dataset", "kernel"):
        screen.hf("repos", "create", f"term-repos/{kind}", "--type", kind)

    screen.hf("repos", "branch", "create", repo, "dev")
    screen.hf("repos", "branch", "create", repo, "dev", "--exist-ok")
    screen.hf("repos", "tag", "create", repo, "v1", "-m", "The first")
    assert "v1" in screen.hf("repos", "tag", "list", repo)
    screen.hf("repos", "tag", "delete", repo, "v1", "--yes")
    screen.hf("repos", "branch", "delete", repo, "dev")

    copy = "term-repos/copy"
    screen.hf("repos", "duplicate", repo, copy)
    screen.hf("repos", "duplicate", repo, copy, "--exist-ok")
    target = tmp_path / "copy"
    screen.hf("download", copy, "--local-dir", target)
    for path, data in files.items():
        assert (target / path).read_bytes() == data, path

    screen.hf("repos", "delete-files", repo, "notes/")
    screen.hf("repos", "cp", f"hf://{repo}/weights.bin", f"hf://{copy}/again.bin")
    screen.hf("repos", "cp", f"hf://{copy}/again.bin", tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == files["weights.bin"]

    screen.hf("repos", "settings", repo, "--private")
    screen.hf("repos", "settings", repo, "--gated", "manual")
    screen.hf("repos", "move", repo, "term-repos/moved")
    assert "moved" in screen.hf("models", "info", "term-repos/moved")
    screen.hf("repos", "delete", "term-repos/moved", answers={"[y/N]": "y"})
    screen.hf("models", "info", "term-repos/moved", fails=True)


def test_discussions(live_hub: LiveHub, tmp_path: Path) -> None:
    screen = terminal_of(live_hub, "term-talk", tmp_path / "home")
    repo = "term-talk/model"
    published(screen, repo, tmp_path / "source")
    screen.hf("discussions", "create", repo, "--title", "A question", "--body", "Why **this**?")
    screen.hf("discussions", "create", repo, "--title", "A change", "--body", "Soon", "--pr")
    assert "A question" in screen.hf("discussions", "list", repo)
    assert "A question" not in screen.hf("discussions", "list", repo, "--kind", "pull_request")
    screen.hf("discussions", "comment", repo, "1", "--body", "Because.")
    info = json.loads(screen.hf("discussions", "info", repo, "1", "--json"))
    comments = re.findall(r'"id": "([0-9a-f]{24})"', json.dumps(info))
    screen.hf("discussions", "edit", repo, "1", comments[-1], "--body", "Because of that.")
    assert "Because of that." in screen.hf("discussions", "info", repo, "1", "--json")
    screen.hf("discussions", "rename", repo, "1", "A better question")
    screen.hf("discussions", "close", repo, "1", "--comment", "Answered", answers={"[y/N]": "y"})
    assert "A better question" in screen.hf("discussions", "list", repo, "--status", "closed")
    screen.hf("discussions", "reopen", repo, "1", "--yes")

    new = written({"added.txt": b"added by a pull request\n"}, tmp_path / "new")
    screen.hf("upload", repo, new / "added.txt", "added.txt", "--revision", "refs/pr/2")
    assert "+added by a pull request" in screen.hf("discussions", "diff", repo, "2")
    screen.hf("discussions", "reopen", repo, "2", "--yes")  # a draft becomes open
    screen.hf("discussions", "merge", repo, "2", "--yes")
    screen.hf("discussions", "merge", repo, "2", "--yes", fails=True)
    screen.hf("download", repo, "added.txt", "--local-dir", tmp_path / "merged")
    assert (tmp_path / "merged/added.txt").read_bytes() == b"added by a pull request\n"


def test_collections(live_hub: LiveHub, tmp_path: Path) -> None:
    screen = terminal_of(live_hub, "term-list", tmp_path / "home")
    repo = "term-list/model"
    screen.hf("repos", "create", repo)
    screen.hf("collections", "create", "Good Models", "--description", "Those we use")
    slug = screen.hf("collections", "ls", "--owner", "term-list", "-q").split()[-1]
    assert slug.startswith("term-list/good-models-")
    screen.hf("collections", "add-item", slug, repo, "model", "--note", "the best")
    screen.hf("collections", "add-item", slug, repo, "model", fails=True)
    screen.hf("collections", "add-item", slug, repo, "model", "--exists-ok")
    shown = json.loads(screen.hf("collections", "info", slug, "--json"))
    (item,) = shown["items"]
    item_id = item.get("item_object_id") or item["_id"]
    screen.hf("collections", "update-item", slug, item_id, "--note", "still the best")
    screen.hf("collections", "update", slug, "--title", "Better Models", "--theme", "green")
    assert "Better Models" in screen.hf("collections", "info", slug, "--json")
    screen.hf("collections", "delete-item", slug, item_id)
    screen.hf("collections", "delete", slug)
    screen.hf("collections", "info", slug, fails=True)


def test_buckets(live_hub: LiveHub, tmp_path: Path) -> None:
    screen = terminal_of(live_hub, "term-bucket", tmp_path / "home")
    bucket, at = "term-bucket/b", "hf://buckets/term-bucket/b"
    data = noise(bucket, 2 * MB)
    source = written({"w.bin": data, "logs/1.txt": b"1", "logs/2.txt": b"2"}, tmp_path / "source")
    screen.hf("buckets", "create", bucket)
    screen.hf("buckets", "cp", source / "w.bin", f"{at}/w.bin")
    screen.hf("buckets", "sync", source / "logs", f"{at}/logs")
    assert bucket in screen.hf("buckets", "list")
    listed = screen.hf("buckets", "list", bucket, "-R")
    assert all(path in listed for path in ("w.bin", "logs/1.txt", "logs/2.txt"))
    assert "logs" in screen.hf("buckets", "list", bucket, "--tree", "-h")
    screen.hf("buckets", "cp", f"{at}/w.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == data
    screen.hf("buckets", "info", bucket)
    screen.hf("buckets", "rm", f"{bucket}/logs", "--recursive", answers={"[y/N]": "y"})
    assert "logs" not in screen.hf("buckets", "list", bucket, "-R")
    screen.hf("buckets", "settings", bucket, "--private")
    screen.hf("buckets", "move", bucket, "term-bucket/c")
    screen.hf("buckets", "delete", "term-bucket/c", "--yes")
    assert "term-bucket/c" not in screen.hf("buckets", "list")


def test_cache_verify(live_hub: LiveHub, tmp_path: Path) -> None:
    """What was downloaded is what the hub says, until somebody changes a byte of it."""
    screen = terminal_of(live_hub, "term-cache", tmp_path / "home")
    repo = "term-cache/model"
    published(screen, repo, tmp_path / "source")
    screen.hf("download", repo)
    screen.hf("cache", "verify", repo, "--fail-on-missing-files", "--fail-on-extra-files")
    local = tmp_path / "local"
    screen.hf("download", repo, "--local-dir", local)
    screen.hf("cache", "verify", repo, "--local-dir", local)
    for path in ("weights.bin", "config.json"):
        whole = (local / path).read_bytes()
        (local / path).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert path in screen.hf("cache", "verify", repo, "--local-dir", local, fails=True)
        (local / path).write_bytes(whole)
    assert repo in screen.hf("cache", "ls")


def test_webhooks(live_hub: LiveHub, tmp_path: Path) -> None:
    screen = terminal_of(live_hub, "term-hooks", tmp_path / "home")
    made = ["--url", "https://hooks.example.com/in", "--watch", "user:term-hooks"]
    screen.hf("webhooks", "create", *made, "--domain", "repo", "--secret", "quiet")
    hook = screen.hf("webhooks", "ls", "-q").split()[-1]
    assert "hooks.example.com" in screen.hf("webhooks", "info", hook)
    screen.hf("webhooks", "update", hook, "--watch", "model:term-hooks/m")
    screen.hf("webhooks", "disable", hook)
    screen.hf("webhooks", "enable", hook)
    screen.hf("webhooks", "delete", hook, answers={"[y/N]": "y"})
    assert hook not in screen.hf("webhooks", "ls")


def test_access_requests(live_hub: LiveHub, tmp_path: Path) -> None:
    """`hf` has no command for them: the same terminal, the client's own functions."""
    owner = client_environ(live_hub, live_hub.token("term-gate"), tmp_path / "owner")
    guest = client_environ(live_hub, live_hub.token("term-guest"), tmp_path / "guest")
    screen = Terminal(owner, NEWEST)
    repo = "term-gate/model"
    published(screen, repo, tmp_path / "source")
    screen.hf("repos", "settings", repo, "--gated", "manual")
    visitor = Terminal(guest, NEWEST)
    fetch = f"from huggingface_hub import snapshot_download; snapshot_download({repo!r})"
    assert "requires approval" in visitor.hf("download", repo, fails=True)
    with pytest.raises(ClientFailed, match="restricted and you are not in the authorized list"):
        run_client(NEWEST, ["-c", fetch], guest)
    ask = (
        "import os, urllib.request as r; "
        f"r.urlopen(r.Request(os.environ['HF_ENDPOINT'] + '/{repo}/ask-access', data=b'', "
        "headers={'Authorization': 'Bearer ' + os.environ['HF_TOKEN'], "
        "'Accept': 'application/json'}))"
    )
    run_client(NEWEST, ["-c", ask], guest)
    with pytest.raises(ClientFailed, match="awaiting a review from the repo authors"):
        run_client(NEWEST, ["-c", fetch], guest)
    pending = (
        f"from huggingface_hub import HfApi; api = HfApi(); repo = {repo!r}; "
        "print([r.username for r in api.list_pending_access_requests(repo)]); "
        "api.accept_access_request(repo, 'term-guest'); "
        "print([r.username for r in api.list_accepted_access_requests(repo)])"
    )
    assert run_client(NEWEST, ["-c", pending], owner).split("\n")[:2] == ["['term-guest']"] * 2
    visitor.hf("download", repo, "--local-dir", tmp_path / "got")
    assert (tmp_path / "got/config.json").is_file()
