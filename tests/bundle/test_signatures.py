"""Signed bundles: the key proves every byte; each of the eight ways to tamper is told (S24)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_kit import (
    Members,
    contents,
    edited,
    find,
    into,
    joined,
    members,
    out,
    problems,
    repo_names,
)
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from headwater.app import Floors
from headwater.bundle import signing
from headwater.bundle.manifest import sums
from headwater.errors import BadRequest, Forbidden, HeadwaterError, Refused

pytest.importorskip("model_signing", reason="the extra `signing` is not installed")

GOLDEN = Path(__file__).parent / "golden"
FORMAT = Path(__file__).parents[2] / "docs" / "format.md"


def key(folder: Path, name: str) -> Path:
    """A new P-256 key: `name.pem`, and its public half in `name.pub`."""
    made = ec.generate_private_key(ec.SECP256R1())
    private = made.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    public = made.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)
    return folder / f"{name}.pem"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    key(folder, "ours")
    key(folder, "theirs")
    return folder


@pytest.fixture(scope="module")
def signed(source: Floors, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signed") / "signed.tar"
    out(source, [find(source, "ann/base"), find(source, "ann/child")], path, keys / "ours.pem")
    return path


def test_the_right_key_proves_it(signed: Path, keys: Path, target: Floors) -> None:
    report = into(target, signed, key=keys / "ours.pub")
    assert report.verified
    assert repo_names(target) == {"ann/base", "ann/child"}


def refused(target: Floors, path: Path, data: bytes, key: Path) -> HeadwaterError:
    path.write_bytes(data)
    with pytest.raises(HeadwaterError) as caught:
        into(target, path, key=key)
    assert repo_names(target) == set()
    return caught.value


def test_eight_ways_to_tamper(signed: Path, keys: Path, target: Floors, tmp_path: Path) -> None:
    """Whoever changes something and puts all hashes right still lacks the key."""
    parts: Members = members(signed)
    body, path, ours = dict(parts), tmp_path / "t.tar", keys / "ours.pub"
    said, signature = json.loads(body["manifest.json"]), body["manifest.sig"]
    rest = [part for part in parts if not part[0].startswith("manifest")]
    tensor = next(name for name in body if name.endswith(".tensor"))

    def resealed(manifest: dict[str, object], members_: Members) -> bytes:
        raw = json.dumps(manifest).encode()
        heads = [("manifest.json", raw), ("manifest.sha256", sums(raw, signature))]
        return joined([*heads, ("manifest.sig", signature), *members_])

    def rows(change: Members) -> list[dict[str, object]]:
        import hashlib

        return [
            {"path": n, "bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in change
        ]

    flipped = [(n, bytes([d[0] ^ 1]) + d[1:] if n == tensor else d) for n, d in rest]
    renamed = [{**said["repos"][0], "name": "ann/Renamed"}, said["repos"][1]]
    fewer = [part for part in rest if part[0] != tensor]
    more = [*rest, ("tensors/" + "0" * 64 + ".tensor", b"x" * 200)]
    closed = [{**repo, "private": True} for repo in said["repos"]]
    cases = {
        "a member changed": resealed({**said, "members": rows(flipped)}, flipped),
        "a repo renamed": resealed({**said, "repos": renamed}, rest),
        "a member taken out": resealed({**said, "members": rows(fewer)}, fewer),
        "a member added": resealed({**said, "members": rows(more)}, more),
        "another manifest": resealed({**said, "created": "2020-01-01T00:00:00Z"}, rest),
        "settings changed": resealed({**said, "repos": closed}, rest),
        "the signature taken off": edited(parts, {}),
        "another's signature": joined(
            [
                ("manifest.json", body["manifest.json"]),
                ("manifest.sha256", sums(body["manifest.json"], _by(keys, body, "theirs"))),
                ("manifest.sig", _by(keys, body, "theirs")),
                *rest,
            ]
        ),
    }
    assert len(cases) == 8
    for name, data in cases.items():
        error = refused(target, path, data, ours)
        assert isinstance(error, Forbidden | BadRequest), name
        assert "sign" in error.message, (name, error.message)


def _by(keys: Path, body: dict[str, bytes], name: str) -> bytes:
    return signing.sign(body["manifest.json"], keys / f"{name}.pem")


def test_the_wrong_key_and_no_key(signed: Path, keys: Path, bundle: Path, target: Floors) -> None:
    with pytest.raises(Forbidden, match="does not hold"):
        into(target, signed, key=keys / "theirs.pub")
    with pytest.raises(Forbidden, match="not signed"):
        into(target, bundle, key=keys / "ours.pub")
    with pytest.raises(BadRequest, match="cannot verify"):
        into(target, signed, key=keys / "missing.pub")
    with pytest.raises(BadRequest, match="cannot verify"):
        into(target, signed, key=keys / "ours.pem")
    assert repo_names(target) == set()
    assert into(target, signed).verified is False


def test_keys_that_cannot_sign(source: Floors, keys: Path, tmp_path: Path) -> None:
    other = rsa.generate_private_key(65537, 2048)
    text = other.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    (tmp_path / "rsa.pem").write_bytes(text)
    (tmp_path / "no.pem").write_bytes(b"no key")
    for path in (
        tmp_path / "rsa.pem",
        tmp_path / "no.pem",
        tmp_path / "missing",
        keys / "ours.pub",
    ):
        with pytest.raises(BadRequest, match="cannot sign"):
            out(source, [find(source, "ann/base")], tmp_path / "x.tar", path)
    assert not (tmp_path / "x.tar").exists()


def test_a_signature_of_something_else(keys: Path) -> None:
    """A signature by the right key that covers nothing, or more, is none."""
    from model_signing import hashing
    from model_signing import signing as theirs

    raw = b'{"a": 1}'
    for extra in ("ignored", "more"):
        with signing._laid_out(raw) as folder:
            config = theirs.Config().use_elliptic_key_signer(private_key=keys / "ours.pem")
            if extra == "ignored":
                ignoring = hashing.Config().set_ignored_paths(paths=["manifest.json"])
                config.set_hashing_config(ignoring)
            else:
                (folder / "bundle" / "other").write_bytes(b"x")
            config.sign(folder / "bundle", folder / "sig")
            said = "does not cover" if extra == "ignored" else "does not hold"
            with pytest.raises(Forbidden, match=said):
                signing.verify(raw, (folder / "sig").read_bytes(), keys / "ours.pub")


def test_garbage_for_a_signature(keys: Path) -> None:
    for text in (b"", b"{}", b"[]", b"\xff", b'{"dsseEnvelope": 1}', b"[" * 50_000):
        with pytest.raises(Forbidden):
            signing.verify(b"{}", text, keys / "ours.pub")


def test_the_document_verifies_a_bundle_without_us(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    """Its very commands: tar, sha256sum, git and model_signing, none of them ours."""
    page = FORMAT.read_text("utf-8").partition("To verify a bundle without Headwater:\n\n")[2]
    script = "\n".join(line[4:] for line in page.partition("\n\n")[0].splitlines())
    assert script.count("\n") == 5
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    quiet = {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_LFS_SKIP_SMUDGE": "1"}

    def run(data: bytes, name: str) -> int:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "family.tar").write_bytes(data)
        shutil.copyfile(keys / "ours.pub", folder / "key.pub")
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder, env=quiet,
            capture_output=True,
        )  # fmt: skip
        return done.returncode

    data = signed.read_bytes()
    assert run(data, "sound") == 0
    assert (tmp_path / "sound/0/README.md").read_bytes().startswith(b"---")
    at = len(data) - 3000
    assert run(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "flipped") != 0
    parts = dict(members(signed))
    other = parts["manifest.json"] + b" "
    parts |= {"manifest.json": other, "manifest.sha256": sums(other, parts["manifest.sig"])}
    assert run(joined(list(parts.items())), "rewritten") != 0


def test_golden_bundles_of_past_releases(target: Floors) -> None:
    """What an earlier release wrote and signed is still taken, by its key, byte by byte."""
    found = sorted(GOLDEN.iterdir())
    assert found
    for folder in found:
        report = into(target, folder / "bundle.tar", key=folder / "key.pub")
        assert report.verified
        (repo,) = report.repos
        files = contents(target, find(target, repo.rid.full))
        assert files["w.bin"] == b"golden" * 1000
    assert problems(target) == []


def test_without_the_extra_it_is_said(monkeypatch: pytest.MonkeyPatch, keys: Path) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(Refused, match=r"headwater\[signing\]"):
        signing.sign(b"{}", keys / "ours.pem")
