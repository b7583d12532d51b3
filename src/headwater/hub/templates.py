"""Address templates: `/api/{T}/{id}/tree/{rev}/{path*}` to one compiled pattern over raw bytes.

    {T}       models, datasets, spaces, kernels     -> a RepoType
    {prefix}  nothing for a model, `datasets/` …    -> a RepoType
    {id}      two segments, or one (see `match`)    -> text
    {path*}   the rest, at least one byte
    {word}    exactly one segment

Matching is done on the bytes as they were sent, because `refs%2Fpr%2F1` is one segment and
`refs/pr/1` is three; each part is percent-decoded once, after the match, as strict UTF-8. A client
may send a whole path as one segment (`a%2Fb`): decoded, it is the same path.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from headwater.errors import InvalidPath
from headwater.names import RESERVED_NAMES, RepoType, shown

_TYPES: dict[bytes, RepoType] = {
    b"": "model",
    b"models": "model",
    b"datasets": "dataset",
    b"datasets/": "dataset",
    b"spaces": "space",
    b"spaces/": "space",
    b"kernels": "kernel",
    b"kernels/": "kernel",
}
# The words of `{T}`, in the order of the documents.
TYPE_WORDS = ("models", "datasets", "spaces", "kernels")
_RESERVED = b"|".join(re.escape(name.encode()) for name in sorted(RESERVED_NAMES))
_PARTS = {
    "T": b"(" + "|".join(TYPE_WORDS).encode() + b")",
    "prefix": rb"(datasets/|spaces/|kernels/|)",
}
_NOT_RESERVED = rb"(?!(?i:" + _RESERVED + rb")(?:/|\Z))"
_ID = {2: rb"(" + _NOT_RESERVED + rb"[^/]+/[^/]+)", 1: rb"(" + _NOT_RESERVED + rb"[^/]+)"}
_ONE_SEGMENT = rb"([^/]+)"
_REST = rb"(.+)"
_VARIABLE = re.compile(r"\{(\w+\*?)\}")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Params(dict[str, Any]):
    """What stood in the variables of a template, decoded; names are not yet checked.

    `T` and `prefix` are a RepoType, the others text: `id` is `namespace/name`, or one word alone
    (an old canonical id).
    """


class Template:
    """One template, compiled."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError(f"template {text!r} must begin with a slash")
        self.text = text
        self.names = [found[1].removesuffix("*") for found in _VARIABLE.finditer(text)]
        self._fullmatch = {n: re.compile(_pattern(text, n), re.DOTALL).fullmatch for n in (2, 1)}
        self.literals = [part.encode() for part in text.split("/") if part and "{" not in part]

    def match(self, raw_path: bytes, id_segments: int = 2) -> Params | None:
        """The variables if `raw_path` has this form, an `{id}` in it having `id_segments`;
        InvalidPath if one cannot be decoded.

        A caller tries two segments on all templates before one: `ns/tree/refs` is the refs of a
        repo called `tree`, not the tree of an old repo without a namespace.
        """
        found = self._fullmatch[id_segments](raw_path)
        if found is None:
            return None
        params = Params()
        for name, raw in zip(self.names, found.groups(), strict=True):
            params[name] = _TYPES[raw] if name in ("T", "prefix") else decoded(raw)
            if name == "id":
                if params[name].count("/") != raw.count(b"/"):
                    raise InvalidPath(f"repo id {shown(params[name])}: encoded slash refused")
                if params[name].partition("/")[0].lower() in RESERVED_NAMES:
                    return None  # written with escapes, it is still the reserved word
        return params


def _pattern(text: str, id_segments: int) -> bytes:
    pattern, position = b"", 0
    for found in _VARIABLE.finditer(text):
        pattern += re.escape(text[position : found.start()].encode())
        name = found[1]
        if name.endswith("*"):
            pattern += _REST
        elif name == "id":
            pattern += _ID[id_segments]
        else:
            pattern += _PARTS.get(name, _ONE_SEGMENT)
        position = found.end()
    return pattern + re.escape(text[position:].encode())


def decoded(raw: bytes) -> str:
    """Percent-decoded once, strictly: InvalidPath for a bad escape, bad UTF-8 or NUL."""
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise InvalidPath(f"a lone % in the address at {shown(raw)}; write %25")
        raw = unquote_to_bytes(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPath(f"the address is not UTF-8 at {shown(raw)}") from None
    if "\0" in text:
        raise InvalidPath(f"NUL in the address at {shown(text)}")
    return text
