"""Git's path patterns: which files go to LFS, and which a client should leave out.

    LfsRules(gitattributes).matches(path)   the last rule that speaks of `filter` says lfs
    IgnoreRules(gitignore).matches(path)    ignored, itself or by a folder above it

Format: gitattributes(5) and gitignore(5) of the root folder; macros (`[attr]`) and quoted
patterns are not read.
Rules come from strangers: their number and size are limited, and so is a match (see `git_glob`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater.errors import Malformed
from headwater.formats.git_glob import matcher
from headwater.names import RepoPath

RULES_BYTES_MAX = 64 * 2**10  # real files have under 4 KiB
PATTERNS_MAX = 512  # real files have under 300
WILDCARDS_MAX = 1024  # in all of them: what a match costs in the end

_LFS_PATTERNS = """
    *.safetensors *.bin *.pt *.pth *.ckpt *.gguf *.ggml *.onnx *.onnx_data *.h5 *.keras *.tflite
    *.mlmodel *.msgpack *.ot *.pb *.ftz *.model *.engine *.npy *.npz saved_model/**/*
    *.pkl *.pickle *.joblib
    *.parquet *.arrow *.lance *.sqlite *.duckdb
    *.zip *.tar *.tar.* *.tgz *.gz *.bz2 *.xz *.zst *.lz4 *.7z *.rar
    *.wav *.mp3 *.flac *.ogg *.png *.jpg *.jpeg *.webp *.gif *.tiff *.mp4 *.webm
    *.wasm *tfevents* *.lfs.*
"""  # weights and graphs; Python objects; tables; archives; sound, pictures, films; the rest
DEFAULT_GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in _LFS_PATTERNS.split()
).encode("ascii")

_SPACE = b" \t"


@dataclass(frozen=True, slots=True)
class _Rule:
    matches: Callable[[bytes], object]  # of a path from the root, without a slash at either end
    positive: bool
    folders_only: bool = False


class LfsRules:
    """The `filter=lfs` rules of a .gitattributes; Malformed when it passes the limits above."""

    def __init__(self, gitattributes: bytes) -> None:
        self._rules: list[_Rule] = []
        for line in _lines(gitattributes):
            pattern, _, attributes = line.lstrip(_SPACE).replace(b"\t", b" ").partition(b" ")
            if pattern.startswith((b"#", b"!", b"[attr]")) or pattern.endswith(b"/"):
                continue  # not a pattern; and a folder has no attributes
            said = [word for word in attributes.split() if _attribute(word) == b"filter"]
            if said:
                self._rules.append(_Rule(matcher(pattern), said[-1] == b"filter=lfs"))
        self._rules.reverse()

    def matches(self, path: RepoPath) -> bool:
        """Whether a file at `path` belongs in LFS."""
        raw = path.encode("utf-8")
        return next((rule.positive for rule in self._rules if rule.matches(raw)), False)


class IgnoreRules:
    """The rules of a .gitignore; Malformed when it passes the limits above."""

    def __init__(self, gitignore: bytes) -> None:
        self._rules: list[_Rule] = []
        for line in _lines(gitignore):
            pattern = _without_trailing_spaces(line)
            positive = not pattern.startswith(b"!")
            pattern = pattern.removeprefix(b"!")
            folders_only = pattern.endswith(b"/")
            pattern = pattern.removesuffix(b"/")
            if pattern:
                self._rules.append(_Rule(matcher(pattern), positive, folders_only))
        self._rules.reverse()

    def matches(self, path: RepoPath) -> bool:
        """Whether a file at `path` is ignored: nothing below an ignored folder is taken back."""
        raw = path.encode("utf-8")
        ends = [at for at, byte in enumerate(raw) if byte == ord("/")]
        return any(self._ignored(raw[:end], True) for end in ends) or self._ignored(raw, False)

    def _ignored(self, raw: bytes, is_folder: bool) -> bool:
        for rule in self._rules:
            if (is_folder or not rule.folders_only) and rule.matches(raw):
                return rule.positive
        return False


def _lines(text: bytes) -> list[bytes]:
    """The lines that are not blank or comments."""
    if len(text) > RULES_BYTES_MAX:
        raise Malformed(f"{len(text)} bytes of git patterns; the limit is {RULES_BYTES_MAX}")
    lines = (line.removesuffix(b"\r") for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    kept = [line for line in lines if line.strip(_SPACE) and not line.startswith(b"#")]
    if len(kept) > PATTERNS_MAX:
        raise Malformed(f"{len(kept)} git patterns; the limit is {PATTERNS_MAX}")
    if (wildcards := sum(line.count(b"*") for line in kept)) > WILDCARDS_MAX:
        raise Malformed(f"git patterns with {wildcards} wildcards; the limit is {WILDCARDS_MAX}")
    return kept


def _attribute(word: bytes) -> bytes:
    """The name of the attribute that `name`, `-name`, `!name` or `name=value` speaks of."""
    return word.lstrip(b"-!").partition(b"=")[0]


def _without_trailing_spaces(line: bytes) -> bytes:
    bare = line.rstrip(b" ")
    slashes = len(bare) - len(bare.rstrip(b"\\"))
    return bare + b" " if slashes % 2 and bare != line else bare
