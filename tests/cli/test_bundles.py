"""`headwater export` and `headwater import` between two hubs that serve all the while."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from live import LiveHub
from raw import Raw

BYTES = random.Random(2).randbytes(400_000)
CARD = b"---\nbase_model: ann/base\n---\n# Child\n"


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveHub, LiveHub]]:
    here, there = (LiveHub(tmp_path_factory.mktemp(name)) for name in ("here", "there"))
    here.start()
    there.start()
    with Raw(here.url, here.token("ann")) as raw:
        for repo, card in (("ann/base", b"# Base\n"), ("ann/child", CARD)):
            raw.create(repo)
            oid, _ = raw.lfs(repo, BYTES + repo.encode())
            size = len(BYTES) + len(repo)
            files = {"README.md": card, "a/b.txt": b"b"}
            assert raw.commit(repo, files, {"w.bin": (oid, size)}).status == 200
    there.user("ann")
    yield here, there
    here.stop()
    there.stop()


def test_from_one_hub_to_another(hubs: tuple[LiveHub, LiveHub], tmp_path: Path) -> None:
    here, there = hubs
    file = tmp_path / "family.tar"
    said = here.cli_ok("export", "ann/child", "--family", "-o", str(file))
    assert "ann/base" in said
    assert file.stat().st_mode & 0o777 == 0o600
    dry = there.cli_ok("import", str(file), "--dry-run")
    assert "would be new" in dry
    with Raw(there.url, there.token("ann")) as raw:
        assert raw.get("ann/child", "w.bin").status_code == 404
        assert "new" in there.cli_ok("import", str(file))
        with Raw(here.url, here.token("ann")) as source:
            for repo in ("ann/base", "ann/child"):
                assert raw.head(repo) == source.head(repo)
                for path in ("README.md", "a/b.txt", "w.bin", ".gitattributes"):
                    got = raw.get(repo, path)
                    assert got.status_code == 200
                    assert got.content == source.get(repo, path).content
        assert raw.commit("ann/child", {"mine.txt": b"mine"}).status == 200
    assert there.cli("check", "--bytes").returncode == 0
    assert "was here" in there.cli_ok("import", str(file))


def test_signed(hubs: tuple[LiveHub, LiveHub], tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="the extra `signing` is not installed")
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    here, there = hubs
    key = ec.generate_private_key(ec.SECP384R1())
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    private.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    )
    file = str(tmp_path / "signed.tar")
    here.cli_ok("export", "ann/base", "-o", file, "--sign-key", str(private))
    there.cli_ok("org", "add", "lab", "--owner", "ann")
    into = ("import", file, "--as", "lab/renamed", "--verify-key")
    assert "signature verified" in there.cli_ok(*into, str(public))
    with Raw(there.url, there.token("ann")) as raw:
        assert raw.get("lab/renamed", "w.bin").content == BYTES + b"ann/base"


def test_mistakes_are_one_clear_line(hubs: tuple[LiveHub, LiveHub], tmp_path: Path) -> None:
    here, there = hubs
    file = tmp_path / "m.tar"
    here.cli_ok("export", "ann/base", "-o", str(file))
    cut = tmp_path / "cut.tar"
    cut.write_bytes(file.read_bytes()[:-600])
    for hub, args, code, words in (
        (here, ("export", "ann/nothing", "-o", str(tmp_path / "x")), 3, "not found"),
        (here, ("export", "ann/base", "-o", str(file)), 4, "exists already"),
        (here, ("export", "ann/base", "-o", str(tmp_path / "no" / "x")), 3, "no folder"),
        (there, ("import", str(tmp_path / "nothing")), 3, "no file"),
        (there, ("import", str(cut)), 2, "cut"),
        (there, ("import", str(file), "--as", "nobody/x"), 3, "No user or organisation"),
        (there, ("import", str(file), "--as", "a b"), 2, "letters"),
        (there, ("import", __file__), 2, "no bundle"),
    ):
        done = hub.cli(*args)
        assert (done.returncode, done.stdout) == (code, ""), (args, done.stderr)
        assert words in done.stderr
        assert done.stderr.startswith("headwater: ")
        assert done.stderr.count("\n") == 1


def test_a_quarantined_relative_stays_and_is_named(
    hubs: tuple[LiveHub, LiveHub], tmp_path: Path
) -> None:
    here, _ = hubs
    with Raw(here.url, here.token("ann")) as raw:
        raw.create("ann/bad")
        assert raw.commit("ann/bad", {"README.md": CARD}).status == 200
    with closing(sqlite3.connect(here.data / "catalog.sqlite")) as db, db:
        db.execute("UPDATE repo SET disabled = 1 WHERE key = 'ann/bad'")
    file = str(tmp_path / "family.tar")
    said = here.cli_ok("export", "ann/base", "--family", "-o", file).splitlines()
    assert "ann/bad\tquarantined, left out" in said
    assert sum(line.startswith("ann/child\t") for line in said) == 1
    done = here.cli("export", "ann/bad", "-o", str(tmp_path / "bad.tar"))
    assert (done.returncode, done.stderr.count("quarantined")) == (77, 1)
