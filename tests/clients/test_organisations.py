"""Organisations as clients see them: who is in, who follows, what is published, who may."""

import json
from pathlib import Path

import pytest
from clientrun import client_environ, run_client

from live import LiveHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

NEWEST = "hub24"
SCRIPT = """
import json
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("orglab/m")
print(json.dumps({
    "members": sorted(m.username for m in api.list_organization_members("orglab")),
    "followers": [u.username for u in api.list_organization_followers("orglab")],
    "overview": [api.get_organization_overview("orglab").num_users,
                 api.get_organization_overview("orglab").num_models],
    "orgs": [org["name"] for org in api.whoami()["orgs"]],
    "models": [m.id for m in api.list_models(author="orglab")],
}))
"""


def test_an_organisation(live_hub: LiveHub, tmp_path: Path) -> None:
    token = live_hub.token("orgowner")
    live_hub.user("orgreader")
    live_hub.org("orglab", "orgowner")
    live_hub.cli_ok("org", "member", "orglab", "orgreader", "--role", "read")
    said = run_client(NEWEST, ["-c", SCRIPT], client_environ(live_hub, token, tmp_path / "home"))
    assert json.loads(said) == {
        "members": ["orgowner", "orgreader"],
        "followers": [],
        "overview": [2, 1],
        "orgs": ["orglab"],
        "models": ["orglab/m"],
    }
