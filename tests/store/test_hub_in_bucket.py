"""A whole hub over a bucket: the real client pushes and pulls, by LFS and by Xet."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rgw import Ceph
from store_kit import InBucket

from live import LiveHub, clean_environ

pytestmark = pytest.mark.s3

SIZE_BYTES = 12_000_000

CLIENT = """
import sys
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download

verb, repo, source, cache = sys.argv[1:]
if verb == "push":
    api = HfApi()
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=source, path_in_repo="model.safetensors", repo_id=repo)
else:
    got = hf_hub_download(repo, "model.safetensors", cache_dir=cache)
    assert Path(got).read_bytes() == Path(source).read_bytes()
"""


@pytest.fixture
def hub(server: Ceph, tmp_path: Path) -> LiveHub:
    made = LiveHub(tmp_path)
    made.data.mkdir()
    url = f"s3://{server.bucket()}/hub"
    (made.data / "headwater.toml").write_text(f'store_url = "{url}"\n')
    made.start(workers=2)
    return made


def client(hub: LiveHub, work: Path, xet: bool, *args: str) -> None:
    env = {
        **clean_environ(),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": hub.token("ann"),
        "HF_HOME": str(work),
        "HF_HUB_DISABLE_XET": "" if xet else "1",
    }
    command = [sys.executable, "-c", CLIENT, *args]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:] + hub.log_tail()


def test_the_client_pushes_and_pulls(hub: LiveHub, tmp_path: Path) -> None:
    """What was acknowledged is in the bucket: the machine's own store folder is lost in between."""
    sources = {}
    try:
        for xet in (False, True):
            source = tmp_path / f"source-{xet}"
            source.write_bytes(random.Random(xet).randbytes(SIZE_BYTES))
            sources[xet] = ("ann/by-xet" if xet else "ann/by-lfs", str(source))
            client(hub, tmp_path / f"push-{xet}", xet, "push", *sources[xet], "")
        hub.stop()
        assert not [path for path in hub.store.rglob("*") if path.is_file()]
        shutil.rmtree(hub.store)
        hub.start(workers=2)
        for xet in (False, True):
            work = tmp_path / f"pull-{xet}"
            client(hub, work, xet, "pull", *sources[xet], str(work / "cache"))
        assert "clean" in hub.cli_ok("check", "--bytes")
        where = (hub.data / "headwater.toml").read_text().split('"')[1]
        keys = [meta["path"] for page in InBucket(where, "")._bucket.list() for meta in page]
        assert {key.partition("/")[0] for key in keys} == {"FORMAT", "blobs", "xorbs", "touched"}
        assert {key.rpartition(".")[2] for key in keys if key.startswith("blobs")} == {
            "plain",
            "chunked",
        }
    finally:
        hub.kill()
