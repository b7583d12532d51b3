"""Front matter: the YAML on top of a model card, read without believing it.

    read_card(text) -> Card(metadata, body_offset, problems)

The block is what Hugging Face's clients look for: the text begins with a line `---`, the block ends
at the next such line. Scalars follow the YAML 1.2 core schema, so `language: no` is Norwegian and a
date stays the text it is; what JSON cannot carry (infinity, integers over 64 bits) stays text too.
Never raises: what is not read is said in `problems`, with its line, and the body is still found.
PyYAML gives only its events, and they are counted as they come: at most 64 KiB, 32 levels, no
alias (a kilobyte of them can stand for a terabyte), no merge key, no key twice, no tag but `!!str`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

BLOCK_BYTES_MAX = 64 * 2**10  # the longest real ones (model-index with results) have about 40 KiB
DEPTH_MAX = 32  # real ones have 7

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

_OPEN = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*---[ \t]*\r?\n")
_CLOSE = re.compile(rb"\n---[ \t]*(?:\r?\n|\Z)")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it

_WORDS: dict[str, Json] = {"": None, "~": None}
for _word, _value in (("null", None), ("true", True), ("false", False)):
    _WORDS |= dict.fromkeys((_word, _word.title(), _word.upper()), _value)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INT_CHARS_MAX = 24  # longer is over 64 bits for certain, and slow to convert
_I64_MIN, _U64_MAX = -(2**63), 2**64 - 1


@dataclass(frozen=True, slots=True)
class Card:
    """What a README says of its repo, and where its text begins."""

    metadata: dict[str, Json] = field(default_factory=dict)
    body_offset: int = 0  # in bytes: the body is text[body_offset:]
    problems: tuple[str, ...] = ()


def read_card(text: bytes) -> Card:
    """The card of a README. A text without front matter has no metadata and no problem."""
    opened = _OPEN.match(text)
    if not opened:
        return Card()
    closed = _CLOSE.search(text, opened.end() - 1)
    if not closed:
        return Card(problems=("metadata not read: line 1: no line '---' ends it",))
    first_line = text.count(b"\n", 0, opened.end())
    try:
        metadata = _read_block(text[opened.end() : closed.start() + 1])
    except _NotRead as error:
        problem = f"metadata not read: line {first_line + error.line}: {error.reason}"
        return Card(body_offset=closed.end(), problems=(problem,))
    return Card(metadata, closed.end())


class _NotRead(Exception):
    """Why a block is not read, and at which of its lines (the first is 1)."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def _read_block(block: bytes) -> dict[str, Json]:
    if len(block) > BLOCK_BYTES_MAX:
        raise _NotRead(1, f"{len(block)} bytes; up to {BLOCK_BYTES_MAX} are read")
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _NotRead(1 + block.count(b"\n", 0, error.start), "not valid UTF-8") from None
    try:
        root = _Builder().build(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _NotRead(line, error.problem or "not YAML") from None
    except yaml.reader.ReaderError as error:  # it counts in bytes, not in lines
        line = 1 + block.count(b"\n", 0, error.position)
        raise _NotRead(line, "a character that YAML does not allow") from None
    if root is None:
        return {}
    if not isinstance(root, dict):
        raise _NotRead(1, "not a mapping of names to values")
    return root


class _Builder:
    """Turns events into JSON values, refusing as soon as a limit is passed."""

    def __init__(self) -> None:
        self.root: Json = None
        self.documents = 0
        self.open: list[list[Json] | dict[str, Json]] = []
        self.keys: list[str | None] = []  # for each open collection, the key whose value is next

    def build(self, events: Iterator[yaml.Event]) -> Json:
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.AliasEvent):
                raise _NotRead(line, f"alias *{event.anchor}: write the value out")
            if isinstance(event, yaml.NodeEvent):
                self._node(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()
                self.keys.pop()
            elif isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise _NotRead(line, "a second document")
        return self.root

    def _node(self, event: Any, line: int) -> None:
        within = self.open[-1] if self.open else None
        if isinstance(within, dict) and self.keys[-1] is None:
            self.keys[-1] = self._key(event, within, line)
            return
        value = self._value(event, line)
        if isinstance(within, list):
            within.append(value)
        elif isinstance(within, dict):
            key, self.keys[-1] = self.keys[-1], None
            assert key is not None
            within[key] = value
        else:
            self.root = value
        if isinstance(value, (list, dict)):
            if len(self.open) == DEPTH_MAX:
                raise _NotRead(line, f"nested deeper than {DEPTH_MAX} levels")
            self.open.append(value)
            self.keys.append(None)

    def _key(self, event: Any, within: dict[str, Json], line: int) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise _NotRead(line, "a key that is not a plain word")
        if event.value == "<<" and event.implicit[0]:
            raise _NotRead(line, "merge key <<: write the values out")
        if event.value in within:
            raise _NotRead(line, f"key {event.value[:40]!a} stands here twice")
        _check_text(event.value, line)
        return str(event.value)

    def _value(self, event: Any, line: int) -> Json:
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise _NotRead(line, f"tag {event.tag[:40]!a}: only plain values are read")
        if isinstance(event, yaml.SequenceStartEvent):
            return []
        if isinstance(event, yaml.MappingStartEvent):
            return {}
        _check_text(event.value, line)
        return core_scalar(event.value) if event.implicit[0] else str(event.value)


def _check_text(text: str, line: int) -> None:
    """Escapes can name half a surrogate pair, which no reply can carry."""
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise _NotRead(line, "a character that is not valid Unicode")


def core_scalar(text: str) -> Json:
    """A plain scalar by the YAML 1.2 core schema (chapter 10.3.2), as far as JSON goes."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text, base) if len(text) <= _INT_CHARS_MAX else _U64_MAX + 1
        return number if _I64_MIN <= number <= _U64_MAX else text
    if _FLOAT.fullmatch(text):
        real = float(text)
        return real if math.isfinite(real) else text
    return text
