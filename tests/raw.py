"""Plain requests to a hub: what a client sends, byte by byte, without a client's retries.

Tests that count acknowledgements need to know exactly which reply arrived.
"""

import base64
import hashlib
import json
from dataclasses import dataclass

import httpx

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: dict


class Raw:
    """One signed-in caller of one hub, on one connection pool. Not for use by many threads."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def create(self, repo: str, type: str = "model", **more: object) -> Reply:
        organization, name = repo.split("/")
        body = {"name": name, "organization": organization, "type": type, **more}
        return _reply(self.http.post("/api/repos/create", json=body))

    def head(self, repo: str, revision: str = "main") -> str:
        return str(self.http.get(f"/api/models/{repo}/revision/{revision}").json()["sha"])

    def lfs(self, repo: str, data: bytes) -> tuple[str, int]:
        """Upload by LFS; (SHA-256, status of the PUT, or 200 when the hub has it from us)."""
        oid = hashlib.sha256(data).hexdigest()
        batch = self.http.post(
            f"/{repo}.git/info/lfs/objects/batch",
            json={"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256",
                  "objects": [{"oid": oid, "size": len(data)}]},
        )  # fmt: skip
        batch.raise_for_status()
        actions = batch.json()["objects"][0].get("actions")
        if actions is None:
            return oid, 200
        put = httpx.put(actions["upload"]["href"], content=data, timeout=TIMEOUT_S)
        return oid, put.status_code

    def commit(
        self,
        repo: str,
        files: dict[str, bytes] | None = None,
        lfs: dict[str, tuple[str, int]] | None = None,
        *,
        parent: str | None = None,
        message: str = "change",
        revision: str = "main",
    ) -> Reply:
        """Commit inline `files` and already uploaded `lfs` ones: path -> (SHA-256, size)."""
        header = {"summary": message, "description": "", "parentCommit": parent}
        lines = [{"key": "header", "value": {k: v for k, v in header.items() if v is not None}}]
        for path, data in (files or {}).items():
            content = base64.b64encode(data).decode()
            value = {"path": path, "content": content, "encoding": "base64"}
            lines.append({"key": "file", "value": value})
        for path, (oid, size) in (lfs or {}).items():
            value = {"path": path, "algo": "sha256", "oid": oid, "size": size}
            lines.append({"key": "lfsFile", "value": value})
        body = "\n".join(json.dumps(line) for line in lines)
        return _reply(
            self.http.post(
                f"/api/models/{repo}/commit/{revision}",
                content=body.encode(),
                headers={"Content-Type": "application/x-ndjson"},
            )
        )

    def get(self, repo: str, path: str, revision: str = "main") -> httpx.Response:
        return self.http.get(f"/{repo}/resolve/{revision}/{path}")


def _reply(response: httpx.Response) -> Reply:
    try:
        body = response.json()
    except ValueError:
        body = {"text": response.text}
    return Reply(response.status_code, body)
