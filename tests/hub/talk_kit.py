"""What the tests of discussions share: a repo over HTTP, and those who look at it."""

from __future__ import annotations

import json
from typing import Any

from headwater.names import RepoPath
from hub.xet_kit import Answer, Cas


class World:
    """A repo of alice's, and three who look at it."""

    def __init__(self, cas: Cas, number: int) -> None:
        self.cas = cas
        self.full = f"alice/m{number}"
        self.alice, self.bob, self.carol = (cas.user(n) for n in ("alice", "bob", "carol"))
        self.reader = cas.user("bob", "read")
        self.repo = cas.repo(self.full)
        self.at = f"/api/models/{self.full}/discussions"

    def post(self, token: str | None, path: str, body: object = None) -> Answer:
        raw = b"" if body is None else json.dumps(body).encode()
        return self.cas.ask("POST", path, token=token, body=raw)

    def opened(self, token: str, **more: object) -> int:
        answer = self.post(token, self.at, {"title": "A title", "description": "why", **more})
        assert answer.status == 200, answer.body
        num: int = answer.json["num"]
        assert answer.json["url"] == f"{self.cas.url}/{self.full}/discussions/{num}"
        return num

    def one(self, token: str | None, num: int, diff: bool = True) -> dict[str, Any]:
        answer = self.cas.ask("GET", f"{self.at}/{num}{'?diff=1' * diff}", token=token)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def commit(self, token: str, path: str, data: str, rev: str = "main", **more: object) -> Answer:
        lines = [
            {"key": "header", "value": {"summary": "Propose", "description": "in words"}},
            {"key": "file", "value": {"path": RepoPath(path), "content": data}},
        ]
        raw = b"\n".join(json.dumps(line).encode() for line in lines)
        query = "?create_pr=1" if more.get("create_pr") else ""
        rev = rev.replace("/", "%2F")
        return self.cas.ask(
            "POST", f"/api/models/{self.full}/commit/{rev}{query}", token=token, body=raw
        )

    def proposed(self, token: str, path: str, data: str) -> int:
        answer = self.commit(token, path, data, create_pr=True)
        assert answer.status == 200, answer.body
        return int(answer.json["pullRequestUrl"].rsplit("/", 1)[1])
