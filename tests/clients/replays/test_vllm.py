"""vLLM before it loads: it lists the files of a repo and asks with HEAD whether some exist.

It goes through huggingface_hub; here are the bare requests, that a missing file costs one HEAD.
"""

import pytest
from replay_kit import LARGE, LARGE_PATH, Scene

AGENT = "unknown/None; hf_hub/0.36.2; python/3.12.3; torch/2.9.0"
ASKED = ("params.json", "adapter_config.json", "tokenizer.model", "chat_template.jinja")


@pytest.mark.parametrize("path", ASKED)
def test_file_exists_no(scene: Scene, path: str) -> None:
    """404 with EntryNotFound and no body; any other word would end the start of the server."""
    with scene.client(**{"User-Agent": AGENT, "Accept-Encoding": "identity"}) as vllm:
        head = vllm.head(f"/{scene.repo}/resolve/main/{path}")
    assert (head.status_code, head.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert head.headers["X-Repo-Commit"] == scene.commit
    assert head.content == b""


def test_file_exists_yes(scene: Scene) -> None:
    """The three facts of a file that the client needs, in the headers of the first answer."""
    with scene.client(**{"User-Agent": AGENT, "Accept-Encoding": "identity"}) as vllm:
        head = vllm.head(f"/{scene.repo}/resolve/main/{LARGE_PATH}")
    assert head.status_code == 200
    assert head.headers["X-Repo-Commit"] == scene.commit
    assert head.headers["X-Linked-Etag"].strip('"') == scene.large_oid
    assert int(head.headers["X-Linked-Size"]) == len(LARGE)
    assert int(head.headers["Content-Length"]) == len(LARGE)


def test_a_repo_that_is_not_there(scene: Scene) -> None:
    with scene.client(**{"User-Agent": AGENT}) as vllm:
        head = vllm.head(f"/{scene.owner}/none/resolve/main/config.json")
    assert (head.status_code, head.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_list_repo_files(scene: Scene) -> None:
    with scene.client(**{"User-Agent": AGENT}) as vllm:
        info = vllm.get(f"/api/models/{scene.repo}/revision/main").json()
    assert set(scene.made) <= {sibling["rfilename"] for sibling in info["siblings"]}
