"""The table of rights, walked: every row x every kind of caller x every visibility.

What a caller should hear is computed here from the words of docs/protocol.md. A row whose right no
rule knows fails, so that no route goes without one. A refusal changes nothing; whatever changes
something writes one audit row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from effort import sample as some
from headwater.catalog.actors import OPERATOR
from headwater.hub.routing import Route
from headwater.names import RepoId
from hub.rights_world import ACTORS, VISIBILITIES, Caller, Visibility, World, sample

ALLOWED = "allowed"
UNKNOWN = "401"  # to whoever is not signed in, whatever the reason
# What rights answer with. Any other answer means that the caller got past them.
REFUSALS = frozenset({"RepoNotFound", "GatedRepo", "Forbidden", "Unauthorized"})
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
VARIABLES = {
    "T": "models", "prefix": "", "rev": "main", "path": "w.bin", "num": "1", "branch": "dev",
    "org": "lab", "generation": "g1", "domain": "default", "user": "stranger", "name": "dev",
    "tag": "v1", "part": "1", "ref": "main", "status": "pending", "revs": "main..dev",
}  # fmt: skip
NDJSON = (
    b'{"key":"header","value":{"summary":"s"}}\n'
    b'{"key":"file","value":{"path":"new.txt","content":"x"}}\n'
)
FORM = {"content_type": "application/x-www-form-urlencoded"}
FETCH = {"content_type": "application/x-git-upload-pack-request"}
PUSH = {"content_type": "application/x-git-receive-pack-request"}
# Rows whose request the struct alone does not make: (body, query, headers).
REQUESTS: dict[tuple[str, str], tuple[Any, str, dict[str, str]]] = {
    ("POST", "/api/{T}/{id}/commit/{rev}"): (NDJSON, "", {}),
    ("POST", "/api/buckets/{namespace}/{name}/batch"): (
        b'{"type":"deleteFile","path":"x"}\n',
        "",
        {},
    ),
    ("POST", "/api/{T}/{id}/paths-info/{rev}"): (b"paths=w.bin", "", FORM),
    ("POST", "/{prefix}{id}/ask-access"): (b"", "", FORM | {"accept": "application/json"}),
    ("POST", "/oauth/verify"): (b"decision=later", "", FORM | {"origin": "http://hub.example"}),
    ("POST", "/api/{T}/{id}/user-access-request/handle"): (
        {"user": "reader", "status": "accepted"},
        "",
        {},
    ),
    **{
        ("GET", f"/{{prefix}}{{id}}{git}/info/refs"): (None, "?service=git-upload-pack", {})
        for git in ("", ".git")
    },
    **{
        ("POST", f"/{{prefix}}{{id}}{git}/git-upload-pack"): (b"0000", "", FETCH)
        for git in ("", ".git")
    },
    **{
        ("POST", f"/{{prefix}}{{id}}{git}/git-receive-pack"): (b"0000", "", PUSH)
        for git in ("", ".git")
    },
}
# Rows named by the body: which field holds the repo.
IN_BODY: dict[tuple[str, str], Any] = {
    ("DELETE", "/api/repos/delete"): lambda full: {"name": full},
    ("POST", "/api/repos/move"): lambda full: {"fromRepo": full, "toRepo": f"{full}-moved"},
    ("POST", "/api/repos/create"): lambda full: {"name": f"{full}-new"},
    ("POST", "/api/{T}/{id}/lfs-files/duplicate"): lambda full: {
        "target": {"type": "model", "name": full},
        "files": [],
    },
    ("POST", "/api/collections"): lambda full: {"title": full.split("/")[1], "namespace": "lab"},
}
# Writes that note something about bytes or the caller, not about what is published: no audit row.
UNAUDITED = re.compile(r"/lfs/|/cas/|/preupload/|telemetry|/oauth/")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rights"))
    yield made
    made.close()


def expected(right: str, caller: Caller, visibility: Visibility, *, member: bool) -> str:
    """`allowed`, or the code that the caller should hear. `member`: their role still counts."""
    if right == "anyone":
        return ALLOWED
    if caller.token == "revoked":
        return UNKNOWN
    anonymous = caller.token == "none"
    role = "admin" if caller.admin else caller.role if member else None
    narrow = caller.token == "narrow"
    private, gated = visibility.endswith("private"), visibility.startswith("gated")
    if right in ("own", "own, read", "any write"):
        if anonymous:
            return UNKNOWN
        too_narrow = narrow and right != "any write"
        too_low = caller.token == "read" and right != "own, read"
        return "Forbidden" if too_narrow or too_low else ALLOWED
    sees = not private or (role is not None and not narrow)
    if right == "signed in":
        return UNKNOWN if anonymous else ALLOWED
    if right == "member":
        if anonymous:
            return UNKNOWN
        return ALLOWED if role else "Forbidden"
    if right == "admin":
        if anonymous:
            return UNKNOWN
        return ALLOWED if caller.admin else "Forbidden"
    if right == "keep":
        if anonymous:
            return UNKNOWN
        may = role in ("admin", "write") and caller.token == "write"
        return ALLOWED if may else "Forbidden"
    if right == "create":
        if anonymous:
            return UNKNOWN
        may = role in ("admin", "write", "contributor") and caller.token == "write"
        return ALLOWED if may else "Forbidden"
    if not sees:
        return UNKNOWN if anonymous else "RepoNotFound"
    if right == "see":
        return ALLOWED
    if right == "see, signed in":
        if anonymous:
            return UNKNOWN
        return ALLOWED if caller.token == "write" else "Forbidden"
    if right == "bytes and propose":
        first = expected("bytes", caller, visibility, member=member)
        return expected("propose", caller, visibility, member=member) if first == ALLOWED else first
    if right == "bytes":
        if not gated or (role and not narrow):
            return ALLOWED
        if anonymous:
            return UNKNOWN
        return "Forbidden" if role else "GatedRepo"
    if anonymous:
        return UNKNOWN
    if right == "author":
        return "Forbidden"  # nobody here wrote it
    if right == "propose":
        return ALLOWED if caller.token == "write" else "Forbidden"
    if right in ("write", "manage"):
        may = role in ("admin", "write") and caller.token == "write"
        return ALLOWED if may else "Forbidden"
    raise AssertionError(f"no rule for the right {right!r}")


def right_of(row: Route) -> str:
    """The right that the sample request needs: it writes to main, or downloads."""
    usual = {
        "write or propose": "write",
        "propose or write": "write",  # what others wrote is for the repo's writers to change
        "bytes or propose": "bytes",
        "bytes or write": "bytes",
    }
    return usual.get(row.right, row.right)


def is_about_a_repo(row: Route) -> bool:
    return (
        "{id}" in row.template
        or "/buckets/{namespace}/{name}" in row.template
        or ((row.method, row.template) in IN_BODY)
    )


def request_of(world: World, row: Route, full: str) -> tuple[str, bytes | None, dict[str, str]]:
    """(address, body, headers) of a plausible request to this row, about the repo `full`."""
    key = (row.method, row.template)
    values = VARIABLES | {"id": full, "namespace": full.split("/")[0]}
    if row.right == "keep":
        values |= dict(zip(("ns", "slug", "item"), full.split("/"), strict=True))
    if "{cid}" in row.template:
        values["cid"] = world.comment(full)
    if "{namespace}/{name}" in row.template:
        values["name"] = full.split("/")[1]
    address = re.sub(
        r"\{(\w+)\*?\}", lambda found: quote(values.get(found[1], "1" * 24), safe="/"), row.template
    )
    body, query, headers = REQUESTS.get(key, (None, "", {}))
    if key in IN_BODY:
        body = IN_BODY[key](full)
    elif body is None and row.body is bytes:
        body = b"{}"
    elif body is None and row.body is not None:
        body = sample(row.body)
    if body is not None and not isinstance(body, bytes):
        body = msgspec.json.encode(body)
    if body is None and row.method in WRITES:
        body = b"{}"
    return address + query, body, headers


def subject(world: World, row: Route, visibility: Visibility) -> str:
    """Something that the row can be about, and that nobody touched yet."""
    if row.right == "keep":
        return world.collection()
    return world.fresh(visibility, "bucket" if "buckets/" in row.template else "model")


def heard(world: World, caller: Caller, row: Route, full: str) -> tuple[str, int]:
    """What the row says to the caller about this repo: `allowed` or its code, and the status."""
    address, body, headers = request_of(world, row, full)
    answer = world.ask(caller.name, row.method, address, body, **headers)
    assert answer.status < 500, (row.method, address, caller.name, answer.body)
    code = answer.headers.get("x-error-code", "")
    if answer.status < 400 or code not in REFUSALS:
        return ALLOWED, answer.status
    return (UNKNOWN if answer.status == 401 else code), answer.status


def rows_of(world: World) -> list[Route]:
    return [row for row in world.rows if row.right not in ("token", "signed")]


def test_every_right_has_a_rule(world: World) -> None:
    for row in rows_of(world):
        for caller in ACTORS:
            expected(right_of(row), caller, "public", member=True)


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_who_may(world: World, visibility: Visibility) -> None:
    wrong = []
    for row in rows_of(world):
        if "/cas/" in row.template:
            continue  # opened by a Xet token only: test_xet_access
        bucket = "buckets/" in row.template
        if bucket and visibility.startswith("gated"):
            continue  # buckets have no gate
        full = subject(world, row, visibility)
        for caller in some(ACTORS, 2):
            wanted = expected(right_of(row), caller, visibility, member=True)
            before = world.mark()
            got, status = heard(world, caller, row, full)
            changed, audited = world.changed(before)
            if status == 404 and row.right.startswith("own"):
                continue  # what is not there is nobody's
            if got != wanted and not (row.right == "anyone" and caller.token == "revoked"):
                wrong.append(f"{row.method} {row.template}, {caller.name}: {got}, not {wanted}")
            if got != ALLOWED and changed:
                wrong.append(f"{row.method} {row.template}, {caller.name}: refused, yet it wrote")
            writes = changed and row.method in WRITES  # reads may keep what they found out
            if got == ALLOWED and writes and not UNAUDITED.search(row.template) and audited != 1:
                wrong.append(
                    f"{row.method} {row.template}, {caller.name}: changed something "
                    f"(status {status}), {audited} audit rows"
                )
            if changed:
                full = subject(world, row, visibility)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("visibility", ["public", "private", "gated"])
def test_after_a_transfer(world: World, visibility: Visibility) -> None:
    """A repo that moved to another organisation is no longer the old one's, by any name."""
    wrong = []
    for row in rows_of(world):
        if (
            not is_about_a_repo(row)
            or "buckets/" in row.template
            or row.right in ("create", "keep")
        ):
            continue
        old = world.fresh(visibility)
        new = f"elsewhere/{old.split('/')[1]}"
        world.catalog.repos.move(OPERATOR, "model", old, RepoId.parse("model", new))
        for caller in some(ACTORS, 2):
            if caller.admin:
                continue
            for full in (old, new):
                wanted = expected(right_of(row), caller, visibility, member=False)
                if full == old and row.template.startswith("/api/repos/") and wanted == "Forbidden":
                    wanted = "RepoNotFound"  # by its old name nothing is deleted or moved
                got, _ = heard(world, caller, row, full)
                if got != wanted:
                    wrong.append(f"{row.method} {row.template}, {caller.name}: {got}, not {wanted}")
    assert not wrong, "\n".join(wrong)


def test_samples_reach_the_rights(world: World) -> None:
    """The requests made here are taken: an owner hears no complaint about a body's shape."""
    refused = []
    for row in rows_of(world):
        if "/cas/" in row.template or row.body is None:
            continue
        full = subject(world, row, "public")
        address, body, headers = request_of(world, row, full)
        answer = world.ask("owner", row.method, address, body, **headers)
        if answer.status == 400 and b"does not fit" in answer.body:
            refused.append(f"{row.method} {row.template}: {answer.body.decode()}")
    assert not refused, "\n".join(refused)


def test_the_world_is_what_it_says(tmp_path: Path) -> None:
    """The watch sees a write of another connection, and only that."""
    world = World(tmp_path)
    try:
        before = world.mark()
        assert world.changed(before) == (False, 0)
        full = world.fresh("public")
        changed, audited = world.changed(before)
        assert changed
        assert audited > 0
        assert world.ask("stranger", "GET", f"/api/models/{full}").status == 200
    finally:
        world.close()
