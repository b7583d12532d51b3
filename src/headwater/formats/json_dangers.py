"""JSON files that make a loader run code, or read where it should not: what to warn of.

    look_at_json(text) -> (kind, level, reason)

`level` is `plain` (nothing found), `caution` (code of this repo, a notebook) or `suspicious`: code
of another repo, inner switches, paths out of the folder. All keys are looked at, however deep;
a key that stands twice is worth a warning, since readers differ in which of the two counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from headwater.names import shown

NODES_MAX = 500_000  # values looked at; the index of a very large model has 100,000
_INNER = ("_attn_implementation_internal", "_experts_implementation_internal")


def look_at_json(text: bytes) -> tuple[str, str, str]:
    """What is to be said of a JSON text; one that is no JSON is plain text."""
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            seen: set[str] = set()
            again = (key for key, _ in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            twice.extend(islice(again, 1))
        return made

    try:
        tree = json.loads(text.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return "text", "plain", ""
    if isinstance(tree, dict) and "cells" in tree and "nbformat" in tree:
        return "notebook", "caution", "a notebook: its cells are code"
    findings = list(_findings(tree))
    if twice:
        findings.append(("suspicious", f"key {shown(twice[0])} stands twice"))
    if not findings:
        return "json", "plain", ""
    level = "suspicious" if any(x == "suspicious" for x, _ in findings) else "caution"
    reasons = sorted(findings, key=lambda each: each[0] != level)
    return "json", level, "; ".join(dict.fromkeys(reason for _, reason in reasons[:5]))


def _findings(tree: Any) -> Iterator[tuple[str, str]]:
    """(level, reason) of each thing to warn of, in a walk without recursion."""
    todo, seen = [tree], 0
    while todo:
        value = todo.pop()
        seen += 1
        if seen > NODES_MAX:
            yield "caution", "too large to look at all of it"
            return
        if isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from _key(key, inner)
            todo += value.values()


def _key(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if key == "auto_map":
        texts = list(_texts(value))
        other = next((text for text in texts if "--" in text or "/" in text), None)
        if other is not None:
            yield "suspicious", f"auto_map names code of another repo: {shown(other)}"
        elif texts:
            yield "caution", "auto_map: loading it runs Python of this repo"
    elif key in _INNER and value not in (None, False):
        yield "suspicious", f"{key} is set: {shown(value)}"
    elif key in ("attn_implementation", "_attn_implementation") and "/" in str(value):
        yield "suspicious", f"{key} names code of another repo: {shown(value)}"
    elif key == "trust_remote_code" and value not in (None, False):
        yield "suspicious", "trust_remote_code is set"
    elif key == "custom_pipelines" and value:
        yield "caution", "custom_pipelines: loading it runs Python of this repo"
    elif key == "weight_map" and isinstance(value, dict):
        for text in _texts(list(value.values())):
            if text.startswith(("/", "\\")) or ".." in text or ":" in text:
                yield "suspicious", f"weight_map leaves the folder: {shown(text)}"
                return


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, lists and dicts one or two levels deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts_flat(inner)
    elif isinstance(value, list):
        yield from _texts_flat(value)


def _texts_flat(value: Any) -> Iterator[str]:
    items = value if isinstance(value, list) else [value]
    yield from (item for item in items if isinstance(item, str))
