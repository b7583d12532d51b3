"""What the replays share: a repo with all that the clients look at, and its facts."""

import hashlib
from dataclasses import dataclass

import httpx
import pytest

from live import LiveHub
from raw import Raw

SMALL = b'{"model_type": "tiny"}'
LARGE = b"GGUF" + hashlib.shake_256(b"weights").digest(300_000)
LARGE_PATH = "tiny-Q4_K_M.gguf"


@dataclass(frozen=True, slots=True)
class Scene:
    url: str
    owner: str
    repo: str
    token: str
    commit: str
    large_oid: str
    made: tuple[str, ...]  # paths

    def client(self, token: bool = True, **headers: str) -> httpx.Client:
        """Follows no redirect: there must be none that leads elsewhere."""
        if token:
            headers["Authorization"] = f"Bearer {self.token}"
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def scene(live_hub: LiveHub, request: pytest.FixtureRequest) -> Scene:
    """A private repo of this module's own user, on `main`, a branch with a slash, and a tag."""
    owner = request.module.__name__.rpartition("test_")[2].replace("_", "-") + "-user"
    repo, token = f"{owner}/tiny", live_hub.token(owner)
    with Raw(live_hub.url, token) as raw:
        assert raw.create(repo, private=True).status == 200
        oid, _ = raw.lfs(repo, LARGE)
        small = {
            "config.json": SMALL,
            "README.md": b"---\nlicense: mit\n---\n",
            "sub/a b.txt": b"x",
        }
        made = raw.commit(repo, small, {LARGE_PATH: (oid, len(LARGE))})
        assert made.status == 200
        at = f"/api/models/{repo}"
        assert raw.http.post(f"{at}/branch/feature%2Fone", json={}).status_code == 200
        assert raw.http.post(f"{at}/tag/main", json={"tag": "v1"}).status_code == 200
        commit = raw.head(repo)
    return Scene(live_hub.url, owner, repo, token, commit, oid, (*small, LARGE_PATH))
