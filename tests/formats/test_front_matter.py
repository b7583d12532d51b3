"""Front matter: cards as people write them, YAML 1.2 scalars, and blocks that attack the reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.formats.front_matter import (
    BLOCK_BYTES_MAX,
    DEPTH_MAX,
    Card,
    core_scalar,
    read_card,
)
from yardstick import usual_s

CARD = b"""---
language:
- en
- no
license: apache-2.0
base_model: org/base
datasets: [a/b, "c/d"]
released: 2024-01-01
size: 7_000
model-index:
- name: x
  results:
  - metrics: [{type: acc, value: 0.91, verified: true}]
note: |
  two
  lines
---
# Title
"""


def card(block: bytes) -> Card:
    return read_card(b"---\n" + block + b"\n---\nbody")


def problem(block: bytes) -> str:
    read = card(block)
    assert read.metadata == {}
    assert (b"---\n" + block + b"\n---\nbody")[read.body_offset :] == b"body"
    (said,) = read.problems
    assert said.startswith("metadata not read: line ")
    assert said.isascii()
    return said.removeprefix("metadata not read: ")


def test_a_card() -> None:
    read = read_card(CARD)
    assert read.problems == ()
    assert CARD[read.body_offset :] == b"# Title\n"
    assert read.metadata == {
        "language": ["en", "no"],
        "license": "apache-2.0",
        "base_model": "org/base",
        "datasets": ["a/b", "c/d"],
        "released": "2024-01-01",
        "size": "7_000",
        "model-index": [
            {
                "name": "x",
                "results": [{"metrics": [{"type": "acc", "value": 0.91, "verified": True}]}],
            }
        ],
        "note": "two\nlines\n",
    }


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (b"", b""),
        (b"# only a body\n---\nwith a rule\n---\n", b"# only a body\n---\nwith a rule\n---\n"),
        (b"----\na: 1\n---\n", b"----\na: 1\n---\n"),
        (b"---\na: 1\n---\nbody", b"body"),
        (b"---\na: 1\n---", b""),
        (b"---\r\na: 1\r\n---\r\nbody", b"body"),
        (b"\n\n---  \na: 1\n---\t\nbody", b"body"),
        (b"\xef\xbb\xbf---\na: 1\n---\nbody", b"body"),
        (b"---\n---\nbody", b"body"),
        (b"---\na: 1\n---\nb\n---\n", b"b\n---\n"),
        (b"---\na: b --- c\n---x: 1\n---\nbody", b"body"),
    ],
)
def test_where_the_body_begins(text: bytes, body: bytes) -> None:
    assert text[read_card(text).body_offset :] == body


def test_an_unclosed_block_is_all_body() -> None:
    assert read_card(b"---\na: 1\n") == Card(
        problems=("metadata not read: line 1: no line '---' ends it",)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("True", True), ("false", False),
        ("tRue", "tRue"), ("", None), ("~", None), ("Null", None), ("nuLL", "nuLL"),
        ("12", 12), ("-12", -12), ("+3", 3), ("010", 10), ("0o17", 15), ("0x1F", 31), ("-0", 0),
        ("0b11", "0b11"), ("1_000", "1_000"), ("12:30:45", "12:30:45"), ("2024-01-01",) * 2,
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1e-3", -0.001), ("1e3", 1000.0), (".", "."),
        ("1e999999999", "1e999999999"), (".inf", ".inf"), ("-.Inf", "-.Inf"), (".nan", ".nan"),
        (str(2**64 - 1), 2**64 - 1), (str(2**64), str(2**64)), (str(-(2**63)), -(2**63)),
        (str(-(2**63) - 1), str(-(2**63) - 1)), ("9" * 60_000, "9" * 60_000), ("１２", "１２"),
        ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_scalars_of_the_core_schema(text: str, value: object) -> None:
    read = core_scalar(text)
    assert (type(read), read) == (type(value), value)


def test_quotes_and_tags_keep_text() -> None:
    read = card(b"a: '1'\nb: \"no\"\nc: !!str 5\ne: 7\n1: x\n'<<': y")
    assert read.metadata == {"a": "1", "b": "no", "c": "5", "e": 7, "1": "x", "<<": "y"}


# Without control characters, which PyYAML's writer leaves unquoted and its reader then folds away.
words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]), max_size=9)
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | floats | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(words, json_values, max_size=5))
def test_json_is_read_as_json(metadata: dict) -> None:
    """JSON is YAML 1.2: what its writer means is what is read."""
    block = json.dumps(metadata, ensure_ascii=False).encode()
    assert card(block).metadata == metadata


# YAML 1.2's numbers. PyYAML, a 1.1 writer, leaves some of them unquoted when they are text.
NUMBER_1_2 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+")


def texts_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in texts_of(part))
    elif isinstance(value, list):
        yield from (text for part in value for text in texts_of(part))


def is_ambiguous(text: str) -> bool:
    """Text that this writer's plain form turns into a number for every 1.2 reader."""
    return bool(NUMBER_1_2.fullmatch(text)) and yaml.safe_dump(text)[0] not in "'\""


@pytest.mark.parametrize(
    ("text", "number"), [("0E0", 0.0), ("1e5", 1e5), ("08", 8), ("-.5", -0.5), ("0o17", 15)]
)
def test_an_unquoted_number_of_1_2_is_a_number(text: str, number: float) -> None:
    assert is_ambiguous(text)
    assert card(f"a: {text}\nb: '{text}'".encode()).metadata == {"a": number, "b": text}


@settings(deadline=None)
@given(st.dictionaries(words, json_values, max_size=5))
@example({"a": "no", "b": "0.5", "c": "12"})
def test_block_style_is_read_too(metadata: dict) -> None:
    """As PyYAML writes it, which is how huggingface_hub writes cards."""
    assume(not any(is_ambiguous(text) for text in texts_of(metadata)))
    block = yaml.safe_dump(metadata, allow_unicode=True).encode()
    assert card(block).metadata == metadata


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"a: &x [1]\nb: *x", "line 3: alias *x"),
        (b"a: &x [*x]", "line 2: alias *x"),
        (b"a:\n  <<: {b: 1}", "line 3: merge key"),
        (b"a: 1\nb: 2\na: 3", "line 4: key 'a' stands here twice"),
        (b"a: !!python/object/apply:os.system [x]", "line 2: tag 'tag:yaml.org,2002:python"),
        (b"a: !!binary aGk=", "line 2: tag"),
        (b"a: !!int x", "line 2: tag"),
        (b"? [a]\n: b", "line 2: a key that is not"),
        (b"? {a: b}\n: b", "line 2: a key that is not"),
        (b"- a", "line 2: not a mapping"),
        (b"text", "line 2: not a mapping"),
        (b"a: [", "line 3: "),
        (b"a: b: c", "line 2: "),
        (b"x: 1\ny: \x00", "line 3: a character"),
        ("é: é\ny: \x01".encode(), "line 3: a character"),
        (b"x: 1\ny: \xff", "line 3: not valid UTF-8"),
        (b"a: '\xed\xa0\x80'", "line 2: not valid UTF-8"),
        (b'a: "\\ud800"', "line 2: "),
        (b"a: b\n...\n--- c", "line 4: a second document"),
        (b"a: \tb\n\tc: d", "line 3: "),
        (b"x" * BLOCK_BYTES_MAX, "line 2: 65537 bytes; up to 65536 are read"),
        (b"a: " + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, "line 2: nested deeper than 32"),
    ],
)
def test_why_a_block_is_not_read(block: bytes, reason: str) -> None:
    assert problem(block).startswith(reason)


def test_as_deep_as_allowed() -> None:
    assert card(b"a: " + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1)).problems == ()


@given(
    st.binary(max_size=300) | st.text("-[]{}:,&*!|>'\"%@#? \n\tab0<~", max_size=120).map(str.encode)
)
@settings(deadline=None, max_examples=examples(400))
def test_noise_never_raises_and_is_json(data: bytes) -> None:
    for text in (data, b"---\n" + data + b"\n---\nbody"):
        read = read_card(text)
        assert 0 <= read.body_offset <= len(text)
        assert json.loads(json.dumps(read.metadata).encode("utf-8")) == read.metadata
        assert not (read.metadata and read.problems)


FULL = BLOCK_BYTES_MAX - 16
ATTACKS = {
    "laughs": b"k0: &k0 [x, x]\n"
    + b"".join(b"k%d: &k%d [*k%d, *k%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 40)),
    "open brackets": b"[" * FULL,
    "open braces": b"{" * FULL,
    "open maps": b"{a: " * (FULL // 4),
    "block depth": b"- " * (FULL // 2),
    "key depth": b"? " * (FULL // 2),
    "anchors": b"".join(b"k%d: &k%d 1\n" % (i, i) for i in range(4500)),
    "keys": b"".join(b"k%d: 1\n" % i for i in range(6000)),
    "tag directives": b"".join(b"%%TAG !a%d! x\n" % i for i in range(3500)) + b"--- {}",
    "flow items": b"a: [" + b"b," * (FULL // 2 - 4) + b"]",
    "flow pairs": b"a: [" + b"b: c," * (FULL // 5 - 4) + b"]",
    "one key": b"a" * FULL + b": 1",
    "digits": b"a: " + b"1" * FULL,
    "long quoted": b"a: '" + b"\n" * FULL + b"'",
    "escapes": b'a: "' + b"\\x41" * (FULL // 4 - 4) + b'"',
    "folded": b"a: >\n" + b" x\n" * (FULL // 3 - 4),
    "comments": b"a: 1\n" + b"#\n" * (FULL // 2 - 4),
    "unclosed quotes": b"'" * (FULL - 1),
    "indents": b"".join(b" " * i + b"a:\n" for i in range(350)),
    "five megabytes": b"a: " + b"x" * 5_000_000,
    "almost closed": b"\n---x" * 1_000_000,
    "spaces after dashes": b"\n---" + b" " * 5_000_000 + b"x",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_bounded(name: str, measured) -> None:
    block = ATTACKS[name]
    with measured() as cost:
        read = card(block)
    assert cost.cpu_s < 0.5
    with measured(memory=True) as cost:
        card(block)
    assert cost.peak_bytes < 32 * 2**20 + 3 * len(block)
    assert usual_s(lambda: json.dumps(read.metadata)) < 0.1


def test_leading_blank_space_is_scanned_once(measured) -> None:
    with measured() as cost:
        read_card(b"\n" * 5_000_000 + b"--")
    assert cost.cpu_s < 0.5
