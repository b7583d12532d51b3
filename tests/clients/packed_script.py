"""What a client does in test_packed.py; runs inside the client venvs, so it knows nothing else.

python packed_script.py publish REPO FOLDER       make the repo, upload the folder
python packed_script.py fetch FOLDER REPO…        {repo/path: SHA-256} of what came, as JSON
"""

import hashlib
import json
import sys
from pathlib import Path

from huggingface_hub import HfApi


def publish(repo: str, folder: str) -> None:
    api = HfApi()
    api.create_repo(repo, exist_ok=True)
    api.upload_folder(repo_id=repo, folder_path=folder)


def fetch(folder: str, *repos: str) -> None:
    api, found = HfApi(), {}
    for repo in repos:
        where = Path(folder) / repo
        api.snapshot_download(repo, local_dir=where, allow_patterns="*.safetensors")
        for path in sorted(where.rglob("*.safetensors")):
            name = f"{repo}/{path.relative_to(where).as_posix()}"
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    print(json.dumps(found))


if __name__ == "__main__":
    {"publish": publish, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
