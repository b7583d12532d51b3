"""The commands, against a hub that is serving: what an operator does in a first week."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import LiveHub, clean_environ
from raw import Raw
from receiver import receiver


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    hub = LiveHub(tmp_path_factory.mktemp("cli"))
    hub.start()
    yield hub
    hub.stop()


def stored(hub: LiveHub) -> set[str]:
    return {p.name for p in hub.store.rglob("*") if p.suffix in (".plain", ".chunked", ".xorb")}


def publish(hub: LiveHub, owner: str, repo: str, data: bytes, *, commit: bool = True) -> str:
    with Raw(hub.url, hub.token(owner)) as raw:
        raw.create(repo)
        oid, status = raw.lfs(repo, data)
        assert status == 200
        if commit:
            assert raw.commit(repo, lfs={"w.bin": (oid, len(data))}).status == 200
    return oid


def test_the_first_start_shows_a_token_once(hub: LiveHub) -> None:
    assert hub.admin_token
    with Raw(hub.url, hub.admin_token) as raw:
        assert raw.http.get("/api/whoami-v2").json()["name"] == "admin"
    assert hub.log.read_text().count(hub.admin_token) == 1


def test_users_organisations_and_tokens(hub: LiveHub) -> None:
    assert hub.process("user", "add", "vera", "--fullname", "Vera V.").returncode == 0
    assert hub.process("user", "add", "vera").returncode == 4
    assert hub.cli("org", "add", "lake", "--owner", "vera").returncode == 0
    assert hub.cli("user", "add", "wim").returncode == 0
    assert hub.cli("org", "member", "lake", "wim", "--role", "read").returncode == 0
    assert hub.cli("org", "members", "lake").stdout.split() == ["vera", "admin", "wim", "read"]
    token = hub.process("token", "create", "wim", "--name", "pc", "--role", "write").stdout.strip()
    with Raw(hub.url, token) as raw:
        who = raw.http.get("/api/whoami-v2").json()
        assert [(org["name"], org["roleInOrg"]) for org in who["orgs"]] == [("lake", "read")]
        assert raw.create("lake/m").status == 403
    assert "pc\twrite" in hub.cli("token", "list", "wim").stdout
    assert hub.cli("token", "revoke", "wim", "pc").returncode == 0
    with Raw(hub.url, token) as raw:
        reply = raw.http.get("/api/whoami-v2")
        assert reply.status_code == 401
        assert reply.headers["X-Error-Message"] == "Invalid credentials in Authorization header"


def test_an_organisation_may_hide_its_new_repos(hub: LiveHub) -> None:
    """By default only: who says what they want gets it."""
    hub.cli_ok("org", "add", "pond", "--owner", hub.user("uma"), "--private-by-default")
    hub.cli_ok("org", "add", "river", "--owner", "uma")
    with Raw(hub.url, hub.token("uma")) as raw:

        def is_private(repo: str, **more: object) -> bool:
            assert raw.create(repo, **more).status == 200
            return bool(raw.http.get(f"/api/models/{repo}").json()["private"])

        assert is_private("pond/a")
        assert not is_private("pond/b", visibility="public")
        assert not is_private("river/a")
        assert "private" in hub.cli_ok("org", "set", "river", "--private-by-default")
        assert is_private("river/b")
        assert "public" in hub.cli_ok("org", "set", "river", "--no-private-by-default")
        assert not is_private("river/c")
    assert hub.cli("org", "set", "nowhere", "--private-by-default").returncode == 3


def test_a_token_for_gates_is_for_oneself(hub: LiveHub) -> None:
    create = ("token", "create", hub.user("ines"), "--role", "fineGrained", "--name")
    mine, other = "user:ines=canReadGatedRepos", "user:admin=canReadGatedRepos"
    assert hub.cli(*create, "mine", "--scope", mine).returncode == 0
    assert hub.cli(*create, "other", "--scope", other).returncode == 2


def test_a_fine_grained_token_does_what_its_lines_say(hub: LiveHub) -> None:
    publish(hub, "ines", "ines/open-to-it", b"1" * 100)
    with Raw(hub.url, hub.token("ines")) as raw:
        raw.create("ines/closed", visibility="private")
    token = hub.cli(
        "token", "create", "ines", "--name", "ci", "--role", "fineGrained",
        "--scope", "model:ines/open-to-it=repo.content.read+repo.write",
    ).stdout.strip()  # fmt: skip
    with Raw(hub.url, token) as raw:
        assert raw.commit("ines/open-to-it", {"a.txt": b"a"}).status == 200
        assert raw.http.get("/api/models/ines/closed").status_code == 404
        assert raw.create("ines/new").status == 403


def test_a_token_revoked_while_a_commit_arrives_commits_nothing(hub: LiveHub) -> None:
    publish(hub, "rea", "rea/m", b"2" * 100)
    token = hub.cli("token", "create", "rea", "--name", "late", "--role", "write").stdout.strip()

    def body() -> Iterator[bytes]:
        yield b'{"key": "header", "value": {"summary": "late"}}\n'
        assert hub.cli("token", "revoke", "rea", "late").returncode == 0
        yield b'{"key": "file", "value": {"path": "late.txt", "content": "bGF0ZQ==",'
        yield b' "encoding": "base64"}}\n'

    with Raw(hub.url, token) as raw:
        assert raw.http.post("/api/models/rea/m/commit/main", content=body()).status_code == 401
    with Raw(hub.url, hub.token("rea")) as raw:
        assert raw.get("rea/m", "late.txt").status_code == 404


def test_mistakes_are_one_clear_line(hub: LiveHub, tmp_path: Path) -> None:
    for args, code, words in (
        (("token", "create", "nobody"), 3, "no user"),
        (("token", "create", "admin", "--name", "x", "--role", "boss"), 2, "not one of"),
        (("org", "add", "api", "--owner", "admin"), 2, "reserved"),
        (("user", "add", "a b"), 2, "letters, digits"),
        (("gc", "--grace-s", "-1"), 2, "negative"),
    ):
        done = hub.cli(*args)
        assert (done.returncode, done.stdout) == (code, ""), args
        assert words in done.stderr
        assert done.stderr.startswith("headwater: ")
        assert done.stderr.count("\n") == 1


def test_gc_drops_what_nothing_names_and_nothing_else(hub: LiveHub) -> None:
    rng = random.Random(3)
    kept = publish(hub, "gil", "gil/kept", rng.randbytes(50_000))
    waiting = publish(hub, "gil", "gil/kept", rng.randbytes(50_000), commit=False)
    dropped = publish(hub, "gil", "gil/gone", rng.randbytes(50_000))
    with Raw(hub.url, hub.token("gil")) as raw:
        body = {"name": "gone", "organization": "gil"}
        assert raw.http.request("DELETE", "/api/repos/delete", json=body).status_code == 200
    before = stored(hub)
    assert {f"{oid}.plain" for oid in (kept, waiting, dropped)} <= before
    assert hub.cli("gc").returncode == 0  # four weeks of grace: nothing is old enough
    assert stored(hub) == before
    assert hub.cli("gc", "--grace-s", "0", "--dry-run").returncode == 0
    assert stored(hub) == before
    done = hub.cli("gc", "--grace-s", "0")
    assert done.returncode == 0, done.stderr
    assert before - stored(hub) == {f"{dropped}.plain"}, "an upload still waits for its commit"
    assert hub.cli("check", "--bytes").returncode == 0
    with Raw(hub.url, hub.token("gil")) as raw:
        assert raw.get("gil/kept", "w.bin").status_code == 200
        late = {"late.bin": (waiting, 50_000)}
        assert raw.commit("gil/kept", lfs=late).status == 200
        assert raw.get("gil/kept", "late.bin").status_code == 200


def test_a_setting_that_does_not_exist_is_refused(hub: LiveHub) -> None:
    file = hub.data / "headwater.toml"
    file.write_text("prot = 80\n")
    try:
        done = hub.cli("check")
        assert done.returncode == 2
        assert "prot" in done.stderr
    finally:
        file.unlink()


def test_a_worker_takes_the_jobs_of_a_hub_that_takes_none(tmp_path: Path) -> None:
    """`job_threads = 0` in the server; `headwater worker` beside it tells the webhook."""
    hub = LiveHub(tmp_path)
    hub.data.mkdir()
    toml = 'job_threads = 0\noutbound_allow = "127.0.0.1"\n'
    (hub.data / "headwater.toml").write_text(toml)
    hub.start()
    command = [sys.executable, "-m", "headwater", "worker", "--data", str(hub.data)]
    try:
        with receiver() as got, Raw(hub.url, hub.token("ada")) as raw:
            watched = [{"type": "user", "name": "ada"}]
            body = {"url": got.url, "watched": watched}
            assert raw.http.post("/api/settings/webhooks", json=body).status_code == 200
            raw.create("ada/m")
            time.sleep(3)
            assert got.requests == [], "a server with no job threads took a job"
            with subprocess.Popen([*command, "--threads", "2"], env=clean_environ()) as worker:
                try:
                    assert got.wait_for(1)[0].json["repo"]["name"] == "ada/m"
                finally:
                    worker.terminate()
                assert worker.wait(20) == 0
        hub.stop()
    finally:
        hub.kill()
