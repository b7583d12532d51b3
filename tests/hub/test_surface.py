"""The public hub's surface, address by address: each is served, or named as out of scope.

The list was made from the newest client's own source and the notes on what clients need. It is
kept apart from the route table on purpose: a row that vanishes, or a template that stops matching
what clients send, fails here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import HeadwaterError
from headwater.hub.routing import Table
from hub.rights_world import World

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
SHA, HEX24 = "0" * 40, "0" * 24

SERVED = f"""
GET /api/whoami-v2
POST /oauth/device
POST /oauth/token
GET /api/agent-harnesses
HEAD /api/telemetry/hf_hub
POST /v1/telemetry
GET /api/models/a/b/auth-check
GET /api/datasets/a/b/auth-check/write
POST /api/repos/create
DELETE /api/repos/delete
POST /api/repos/move
PUT /api/spaces/a/b/settings
POST /api/models/a/b/duplicate
GET /api/settings/repositories
GET /api/organizations/lab/settings/repositories
POST /api/validate-yaml
GET /api/models/a/b
GET /api/kernels/a/b
GET /api/models/gpt2
GET /api/models/a/b/revision/refs%2Fpr%2F1
GET /api/models/a/b/tree/main
GET /api/datasets/a/b/tree/main/x%2Fy%2Fz
POST /api/models/a/b/paths-info/main
GET /api/models/a/b/refs
GET /api/kernels/a/b/refs
GET /api/models/a/b/commits/main
GET /api/models/a/b/compare/main..dev
POST /api/models/a/b/branch/feature%2Fx
DELETE /api/models/a/b/branch/dev
POST /api/models/a/b/tag/main
DELETE /api/models/a/b/tag/v1
POST /api/models/a/b/super-squash/main
GET /api/models/a/b/lfs-files
POST /api/models/a/b/lfs-files/batch
POST /api/models/a/b/lfs-files/duplicate
GET /api/models/a/b/safetensors-metadata/model.safetensors
POST /api/models/a/b/preupload/main
POST /api/kernels/a/b/preupload/main
POST /api/models/a/b/commit/main
POST /a/b.git/info/lfs/objects/batch
POST /datasets/a/b.git/info/lfs/objects/batch
POST /a/b.git/info/lfs/verify
POST /a/b.git/info/lfs/locks/verify
GET /a/b.git/info/lfs/locks
HEAD /a/b/resolve/main/config.json
GET /datasets/a/b/resolve/refs%2Fconvert%2Fparquet/x/y.parquet
GET /kernels/a/b/resolve/main/x
GET /a/b/raw/main/w.bin
GET /api/resolve-cache/models/a/b/{SHA}/config.json
GET /api/models/a/b/xet-read-token/main
GET /api/models/a/b/xet-write-token/None
GET /cas/g1/v1/chunks/default-merkledb/{"0" * 64}
POST /cas/g1/v1/xorb-grants/default/{"0" * 64}
POST /cas/g1/v1/xorbs/default/{"0" * 64}
POST /cas/g1/v2/shards
POST /cas/g1/v1/shards
POST /cas/g1/shards
GET /cas/g1/v2/reconstructions/{"0" * 64}
GET /cas/g1/v1/reconstructions/{"0" * 64}
GET /cas/g1/v1/reconstructions
GET /api/models
GET /api/datasets
GET /api/spaces
GET /api/kernels
GET /api/spaces/semantic-search
GET /api/models-tags-by-type
GET /api/datasets-tags-by-type
GET /api/tasks
GET /api/quicksearch
POST /api/models/a/b/like
DELETE /api/models/a/b/like
GET /api/models/a/b/likers
GET /api/users/alice/likes
GET /api/users/alice/overview
GET /api/users/alice/followers
GET /api/users/alice/following
GET /api/organizations/lab/overview
GET /api/organizations/lab/members
GET /api/organizations/lab/followers
GET /api/collections
POST /api/collections
GET /api/collections/a/title-{HEX24}
PATCH /api/collections/a/title-{HEX24}
DELETE /api/collections/a/title-{HEX24}
POST /api/collections/a/title-{HEX24}/items
PATCH /api/collections/a/title-{HEX24}/items/{HEX24}
DELETE /api/collections/a/title-{HEX24}/items/{HEX24}
POST /api/collections/a/title-{HEX24}/resource-group
GET /api/models/a/b/discussions
POST /api/models/a/b/discussions
GET /api/models/a/b/discussions/1
POST /api/models/a/b/discussions/1/comment
POST /api/models/a/b/discussions/1/title
POST /api/models/a/b/discussions/1/status
POST /api/models/a/b/discussions/1/merge
POST /api/models/a/b/discussions/1/comment/{HEX24}/edit
POST /api/models/a/b/discussions/1/comment/{HEX24}/hide
POST /uploads
GET /api/models/a/b/user-access-request/pending
GET /api/datasets/a/b/user-access-request/accepted
GET /api/models/a/b/user-access-request/rejected
POST /api/models/a/b/user-access-request/handle
POST /api/models/a/b/user-access-request/grant
POST /api/models/a/b/user-access-request/cancel
POST /a/b/ask-access
GET /a/b/user-access-report
GET /api/settings/webhooks
POST /api/settings/webhooks
GET /api/settings/webhooks/{HEX24}
POST /api/settings/webhooks/{HEX24}
DELETE /api/settings/webhooks/{HEX24}
POST /api/settings/webhooks/{HEX24}/enable
POST /api/settings/webhooks/{HEX24}/disable
GET /a/b/info/refs
GET /a/b.git/info/refs
POST /a/b.git/git-upload-pack
POST /a/b/git-receive-pack
POST /datasets/a/b.git/git-receive-pack
GET /api/buckets/me
POST /api/buckets/me/b
GET /api/buckets/a/b
DELETE /api/buckets/a/b
PUT /api/buckets/a/b/settings
GET /api/buckets/a/b/tree
GET /api/buckets/a/b/tree/x%2Fy
POST /api/buckets/a/b/paths-info
POST /api/buckets/a/b/batch
GET /api/buckets/a/b/events
GET /api/buckets/a/b/xet-read-token
GET /api/buckets/a/b/xet-write-token
HEAD /buckets/a/b/resolve/x%2Fy
"""

# (a call of the public hub, the words with which the document says why it is not here)
OUT_OF_SCOPE = [
    ("GET /api/spaces/a/b/runtime", "Spaces are repos of files"),
    ("POST /api/spaces/a/b/secrets", "Spaces are repos of files"),
    ("POST /api/spaces/a/b/hardware", "Spaces are repos of files"),
    ("POST /api/spaces/a/b/restart", "Spaces are repos of files"),
    ("GET /api/spaces/a/b/logs/run", "Spaces are repos of files"),
    ("GET /api/jobs/a", "rented compute"),
    ("POST /api/scheduled-jobs/a", "rented compute"),
    ("GET /api/papers/2401.00001", "papers"),
    ("GET /api/daily_papers", "papers"),
    ("GET /api/datasets/a/b/leaderboard", "leaderboards"),
    ("GET /api/datasets/a/b/parquet", "dataset viewer"),
    ("GET /api/v1/catalog", "inference endpoints"),
]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    world = World(tmp_path_factory.mktemp("surface"))
    yield Table(world.rows)
    world.close()


@pytest.mark.parametrize("call", SERVED.split("\n")[1:-1])
def test_what_clients_ask_for_is_served(table: Table, call: str) -> None:
    method, path = call.split(" ", 1)
    route, params = table.find(method, path.encode())
    if params.get("id", "").startswith(("a", "gpt2")) and "{id}" in route.template:
        assert params["id"] in ("a/b", "gpt2", "a/b.git"), "the repo is read out of the address"


@pytest.mark.parametrize(("call", "reason"), OUT_OF_SCOPE)
def test_what_is_not_served_is_said(table: Table, call: str, reason: str) -> None:
    method, path = call.split(" ", 1)
    with pytest.raises(HeadwaterError):
        table.find(method, path.encode())
    text = DOCUMENT.read_text("utf-8").split("## Out of scope", 1)[1]
    assert re.search(reason, text, re.IGNORECASE), f"docs/protocol.md gives no reason for {call}"
