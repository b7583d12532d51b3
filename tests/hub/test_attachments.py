"""Attachments over HTTP: pictures go up and come back, and nothing else ever does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from headwater.catalog import attachments
from headwater.catalog.actors import Scope
from headwater.hub.routes import table
from hub.talk_kit import World
from hub.xet_kit import Answer, Cas, serve

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 100
_numbers = iter(range(1000))


@pytest.fixture(scope="module")
def cas() -> Iterator[Cas]:
    with serve(table) as running:
        yield running


@pytest.fixture
def world(cas: Cas) -> World:
    return World(cas, next(_numbers))


def upload(world: World, token: str | None, kind: str = "image/png", data: bytes = PNG) -> Answer:
    return world.cas.ask("POST", "/uploads", token=token, body=data, headers={"Content-Type": kind})


def test_a_picture_goes_up_and_comes_back(world: World) -> None:
    sent = upload(world, world.bob)
    assert sent.status == 200, sent.body
    url = sent.body.decode()
    assert url.startswith(f"{world.cas.url}/uploads/")
    assert url.endswith(".png")
    got = world.cas.ask("GET", url)
    assert (got.status, got.body) == (200, PNG)
    assert got.headers["Content-Type"] == "image/png"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    part = world.cas.ask("GET", url, headers={"Range": "bytes=0-3"})
    assert (part.status, part.body) == (206, PNG[:4])
    assert world.cas.ask("HEAD", url).headers["Content-Length"] == str(len(PNG))
    assert upload(world, world.carol).body != sent.body  # each has an address of its own
    for wrong in (
        url[:-4],
        url[:-3] + "html",
        url[:-3] + "svg",
        url.replace("uploads/", "uploads/x"),
    ):
        assert world.cas.ask("GET", wrong).status == 404


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("image/svg+xml", b"<svg onload='alert(1)'/>", 400),
        ("text/html", b"<script>", 400),
        ("", PNG, 400),
        ("image/png", b"<!DOCTYPE html><script>alert(1)</script>", 400),
        ("image/png", b"", 400),
        ("image/png", b"GIF89a......", 400),
        ("image/png", PNG + b"x" * 10**7, 413),
        ("video/mp4", b"<html>ftyp", 400),
    ],
)
def test_what_is_no_picture_is_not_kept(world: World, kind: str, data: bytes, status: int) -> None:
    before = {blob.oid for blob in world.cas.hub.store.blobs()}
    answer = upload(world, world.bob, kind, data)
    assert answer.status == status, answer.body
    assert {blob.oid for blob in world.cas.hub.store.blobs()} == before


def test_who_may_attach(world: World) -> None:
    assert upload(world, None).status == 401
    assert upload(world, world.reader).status == 403
    tokens = world.cas.hub.catalog.tokens
    for permission, status in (("repo.content.read", 403), ("repo.write", 200)):
        scope = Scope("user", "bob", (permission,))
        narrow = tokens.create("bob", f"{world.full}-{permission}", "fineGrained", scopes=[scope])
        assert upload(world, narrow).status == status


def test_an_attachment_gives_nobody_the_right_to_link_its_bytes(world: World) -> None:
    """Who knows the hash of a picture has not shown that the bytes are theirs."""
    secret = PNG + b"only bob has sent this"
    assert upload(world, world.bob, data=secret).status == 200
    oid = hashlib.sha256(secret).hexdigest()
    body = {"operation": "upload", "objects": [{"oid": oid, "size": len(secret)}]}
    answers = [
        world.post(world.carol, f"/{world.full}.git/info/lfs/objects/batch", what).json["objects"][
            0
        ]
        for what in (body, {**body, "objects": [{"oid": "0" * 64, "size": len(secret)}]})
    ]
    assert all("actions" in answer for answer in answers)


def test_attachments_of_a_day_have_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    dora = world.cas.user("dora")
    assert upload(world, dora).status == 200
    monkeypatch.setattr(attachments, "DAILY_MAX", 1)
    assert upload(world, dora).status == 413
