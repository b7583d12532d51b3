"""Names for files, hostile and honest, with what should become of each (safety rules B24-B28).

    CORPUS   500 and more (name, verdict) pairs, always the same
    verdict  None: kept as it is (in NFC); else a word of the reason why it is refused

Each segment stands alone, at the head, in the middle and at the end of a path. The verdicts are
written by hand beside the segments, not computed by the code under test.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

EMPTY, CONTROL, LONG = "empty", "character", "over"
ENDS, RESERVED, BIDI = "ends", "reserved", "text"

_NO_SEGMENT = ["", ".", ".."]
_CONTROL = [chr(n) for n in (0, 1, 7, 8, 9, 10, 13, 27, 31, 127, 128, 133, 159)]
_BACKSLASHES = ["\\", "..\\..", "a\\b", "\\\\server\\share", "C:\\x"]
_BIDI_MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
_ENDINGS = ["a.", "a ", "...", ". .", " ", "a..", "model.safetensors."]
_GIT = [
    ".git", ".GIT", ".Git", ".gIt", "git~1", "GIT~1", ".gitmodules", ".GITMODULES", ".hub", ".Hub",
    ".g\u200cit", ".gi\u200dt", "\ufeff.git", ".git\u2060", ".gi\u00adt", "\uff0egit",
    ".\u034fgit", ".git\ufe0f", ".gitmo\u200cdules", "\uff27\uff29\uff34~1", ".\uff48ub",
]  # fmt: skip
_NFKC_WAYS_OUT = ["\uff0e\uff0e", "\u2025", ".\uff0e", "\u2024\u2024", "\uff0e", "\u2024"]
_NFKC_SLASHES = ["a\uff0fb", "\uff0e\uff0e\uff0f", "\uff0fetc"]

_REFUSED: list[tuple[str, str]] = [
    *((segment, EMPTY) for segment in _NO_SEGMENT),
    *((f"a{char}b", CONTROL) for char in _CONTROL),
    *((segment, CONTROL) for segment in _BACKSLASHES),
    *((f"a{char}b", BIDI) for char in _BIDI_MARKS),
    *((segment, ENDS) for segment in _ENDINGS),
    *((segment, RESERVED) for segment in (*_GIT, *_NFKC_WAYS_OUT, *_NFKC_SLASHES)),
    ("a" * 256, LONG), ("é" * 128, LONG),
]  # fmt: skip

_KEPT = [
    "a", "A", "0", "_", "-", "~", "-rf", "--help", "a b", " a", "a..b", "..a", ".a", ".gitignore",
    ".gitattributes", ".github", "git", "a.git", "con", "CON", "aux.txt", "nul", "lpt1", "a:b",
    "C:",
    "a*b", "a?b", 'a"b', "a'b", "<script>alert(1)<", "a|b", "a;b", "a&b", "$HOME", "`id`", "a#b",
    "%2e%2e", "%00", "%", "100%", "a%2Fb", "a+b", "a=b", "a,b", "a@b", "!a", "(a)", "[a]", "{a}",
    "résumé", "re\u0301sume\u0301", "Ω", "\u212b", "日本語", "모델", "\u1112\u1161\u11ab", "🤗",
    "👩\u200d🔬", "नमस्ते", "a\u00a0b", "ﬁ", "ｆｕｌｌ", "a" * 255, "é" * 127, "model.safetensors",
    "null", "undefined", "NaN", "__proto__", "constructor", "index.html", "tree", "resolve",
    "main", "api", "refs", "HEAD", "config.json", "x" * 100, "💾" * 60, "\u3042\u3099",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    path: str
    refused: str | None

    @property
    def kept_as(self) -> str:
        return unicodedata.normalize("NFC", self.path)


def _placed(segment: str) -> list[str]:
    return [segment, f"{segment}/tail", f"head/{segment}/tail", f"head/{segment}"]


def corpus() -> list[Name]:
    """All of them, once each; kept names get folders of their own, so that no two collide."""
    made = {path: Name(path, why) for segment, why in _REFUSED for path in _placed(segment)}
    for number, segment in enumerate(_KEPT):
        for place, path in enumerate(_placed(segment)):
            kept = f"k{number}/p{place}/{path}"
            made[kept] = Name(kept, None)
    deep = "/".join(["d"] * 64)
    made[deep] = Name(deep, None)
    for path, why in (
        ("", "bytes"),
        (f"{deep}/d", "folders"),
        ("/".join(["e" * 200] * 6), "bytes"),
        ("a//b", EMPTY),
        ("a/", EMPTY),
        ("/a", EMPTY),
        ("//a", EMPTY),
        ("../../etc/passwd", EMPTY),
        ("a/../../b", EMPTY),
        ("....//....//etc", ENDS),
    ):
        made[path] = Name(path, why)
    return list(made.values())


CORPUS = corpus()
