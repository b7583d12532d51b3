"""What the hub says of the safety of files: labels, never a gate (safety rule T19).

    file_status(entry, verdict, masked)  -> `securityFileStatus` of a tree or paths-info item
    repo_status(entries, verdicts, whole) -> `securityRepoStatus` of an info reply

`status` and `level` are Hugging Face's words:

    safe        looked at, and it names only what is known to be harmless
    unscanned   nothing of this kind is looked for in such a file
    queued      not looked at yet
    caution     could not be verified: not readable, too large, or code by nature
    suspicious  it names something that is not known to be harmless
    unsafe      it names a way to run code

Verdicts are on bytes; what a name promises and the bytes do not keep is said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headwater.catalog.models import Entry
from headwater.formats.inspection import Verdict

ISSUES_MAX = 1_000  # files listed of one repo
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill", ".npy", ".npz", ".pt2")
_UNREADABLE = {
    ".h5": "HDF5 (Keras): layers may hold code",
    ".hdf5": "HDF5 (Keras): layers may hold code",
    ".keras": "Keras: layers may hold code",
    ".onnx": "ONNX: it may name other files",
    ".pb": "a TensorFlow graph: it may read and write files",
    ".ipynb": "a notebook: its cells are code",
    ".mar": "a model archive with code",
    ".nemo": "a model archive with code",
    ".mlmodel": "Core ML: not looked into",
    ".llamafile": "a native program",
    ".exe": "a native program",
    ".dll": "a native program",
    ".so": "a native program",
}
_BY_KIND = {".safetensors": "safetensors", ".gguf": "gguf"}
_SAFETY_ORDER = ("innocuous", "suspicious", "dangerous")
_PICKLE_KINDS = frozenset({"pickle", "npy", "torch", "torchscript", "npz", "keras", "zip"})
NO_ANTIVIRUS = {"status": "not configured"}
_QUEUED = Verdict("unknown", "unverified", "caution", "not looked at yet")


def level_of(entry: Entry, verdict: Verdict | None) -> tuple[str, str]:
    """(level, reason) of a file by its bytes and by its name."""
    if verdict is None:
        return "queued", _QUEUED.reason
    path = entry.path.lower()
    for ending, kind in _BY_KIND.items():
        if path.endswith(ending) and verdict.level in ("unscanned", "safe"):
            if verdict.kind != kind:
                return "caution", f"not a valid {kind} file"
            return verdict.level, verdict.reason
    if verdict.level == "safe" and verdict.kind in _BY_KIND.values():
        return "caution", f"a {verdict.kind} file under another name"
    if verdict.level != "unscanned":
        return verdict.level, verdict.reason
    if path.endswith(_PICKLES):
        return "caution", "not readable as what its name says"
    if path.endswith(".bin") and verdict.kind == "other" and _is_weights(path):
        return "caution", "not readable as a pickle"
    for ending, reason in _UNREADABLE.items():
        if path.endswith(ending):
            return "caution", reason
    return "unscanned", verdict.reason


def _is_weights(path: str) -> bool:
    """Whether a `.bin` is one that torch would load."""
    return "pytorch_model" in path or "adapter_model" in path or "optimizer" in path


def file_status(entry: Entry, verdict: Verdict | None, *, masked: bool) -> dict[str, Any]:
    """`securityFileStatus`; `masked` leaves out what stands inside, for those outside a gate."""
    level, reason = level_of(entry, verdict)
    body: dict[str, Any] = {"status": level, "avScan": NO_ANTIVIRUS, "pickleImportScan": None}
    if reason and not masked:
        body["message"] = reason
    if verdict is not None:
        body["kind"] = verdict.kind
        if verdict.kind in _PICKLE_KINDS or verdict.imports:
            body["pickleImportScan"] = _imports(verdict, level, masked)
    return body


def _imports(verdict: Verdict, level: str, masked: bool) -> dict[str, Any]:
    safeties = {safety for _, _, safety in verdict.imports}
    highest = next((word for word in reversed(_SAFETY_ORDER) if word in safeties), None)
    if highest in (None, "innocuous") and verdict.status == "unverified":
        highest = "unverified"  # what was not read to its end may hold anything
    imports = [] if masked else verdict.imports
    return {
        "status": level,
        "highestSafetyLevel": highest or "innocuous",
        "imports": [{"module": m, "name": n, "safety": safety} for m, n, safety in imports],
        **({"message": verdict.reason} if verdict.reason and not masked else {}),
    }


def repo_status(
    entries: Iterable[Entry], verdicts: Mapping[str, Verdict], *, whole: bool
) -> dict[str, Any]:
    """`securityRepoStatus`: the files that are not known to be harmless, worst first.

    `whole`: whether `entries` are all files; if not, the scans are not done.
    """
    issues: list[dict[str, str]] = []
    done = whole
    for entry in entries:
        level, _ = level_of(entry, verdicts.get(entry.etag))
        if level == "queued":
            done = False
        if level not in ("safe", "unscanned"):
            issues.append({"path": entry.path, "level": level})
    order = {"unsafe": 0, "suspicious": 1, "caution": 2, "queued": 3}
    issues.sort(key=lambda issue: (order[issue["level"]], issue["path"]))
    return {"scansDone": done, "filesWithIssues": issues[:ISSUES_MAX]}
