"""Git patterns: git itself is asked, and hostile patterns are bounded."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.errors import Malformed
from headwater.formats.git_glob import PATTERN_BYTES_MAX, matcher
from headwater.formats.git_patterns import (
    DEFAULT_GITATTRIBUTES,
    PATTERNS_MAX,
    RULES_BYTES_MAX,
    IgnoreRules,
    LfsRules,
)
from headwater.names import RepoPath

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is the oracle")
Git = Callable[[str, bytes, list[str]], list[bool]]


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    """Asks git which of `paths` its rules file speaks for."""
    root: Path = tmp_path_factory.mktemp("git")
    quiet = {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "PATH": "/usr/bin:/bin",
    }
    subprocess.run(["git", "init", "-q", str(root)], check=True, env=quiet)

    def ask(file: str, rules: bytes, paths: list[str]) -> list[bool]:
        (root / file).write_bytes(rules)
        what = (
            ["check-attr", "-z", "--stdin", "filter"]
            if file == ".gitattributes"
            else ["check-ignore", "-z", "--stdin", "--no-index"]
        )
        out = subprocess.run(
            ["git", "-C", str(root), *what],
            input=b"\0".join(path.encode() for path in paths) + b"\0",
            capture_output=True,
            env=quiet,
        ).stdout.split(b"\0")
        (root / file).unlink()
        if file == ".gitattributes":
            return [value == b"lfs" for value in out[2::3]]
        return [path.encode() in set(out) for path in paths]

    return ask


_PATHS = """
    a.bin b/a.bin b/c/a.bin a.bin/x model.safetensors saved_model/variables/v.data saved_model/x
    x/saved_model/y events.tfevents.12 logs/run.tfevents a b ab a/b a/b/c a/x/b a/x/y/b x/a/b foo
    foo/bar/baz bar.tar.gz a.tar .hidden d/.hidden #note !bang x.lfs.y A.BIN é.bin é/ü.txt a]b a-b
    a^b [x] a*b a?b q1 q2 qa zz/q1/w trail.txt build/out build sub/build/out
"""
PATHS = _PATHS.split()
_PIECES = r"""
    a b * ** *** ? / x .bin [ab] [!a] [^a-b] [a-c] []a] [[:digit:]] [[:alpha:]-] [[:odd:]] [[:a]b:]
    [[: [ ] \a \* \[ foo bar saved_model é [é] q 1 [z-a] [!]a] [\]a] [a/] .
"""
pattern = st.lists(st.sampled_from(_PIECES.split()), min_size=1, max_size=6)
pattern = pattern.map("".join).filter(lambda text: text.count("*") <= 6)
path = st.sampled_from(PATHS) | st.lists(
    st.sampled_from(["a", "b", "x", "q1", "foo", "a.bin", "é", "ab"]), min_size=1, max_size=5
).map("/".join)
asked = settings(
    deadline=None,
    max_examples=examples(120),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@needs_git
@asked
@given(patterns=st.lists(pattern, min_size=1, max_size=4), more=st.lists(path, max_size=6))
def test_attributes_as_git_reads_them(git: Git, patterns: list[str], more: list[str]) -> None:
    values = ["filter=lfs", "-filter", "filter=lfs -text", "!filter", "filter=other", "text"]
    lines = [f"{p} {values[i % 6]}\n" for i, p in enumerate(patterns)]
    lines = [f"* {values[len(patterns) % 6]}\n", *lines]
    rules = "".join(lines).encode()
    paths = PATHS + more
    ours = LfsRules(rules)
    assert [ours.matches(RepoPath(p)) for p in paths] == git(".gitattributes", rules, paths), rules


@needs_git
@asked
@given(
    lines=st.lists(st.tuples(st.sampled_from(["", "", "!", "/"]), pattern,
                             st.sampled_from(["", "", "/", " ", "\\ ", "/*", "/**"])),
                   min_size=1, max_size=4),
    more=st.lists(path, max_size=6),
)  # fmt: skip
def test_ignores_as_git_reads_them(git: Git, lines: list[tuple[str, ...]], more: list[str]) -> None:
    rules = "".join("".join(line) + "\n" for line in lines).encode()
    paths = PATHS + more
    ours = IgnoreRules(rules)
    assert [ours.matches(RepoPath(p)) for p in paths] == git(".gitignore", rules, paths), rules


@needs_git
@pytest.mark.parametrize(
    "rules",
    [
        b"# comment\n\n  *.bin filter=lfs\n\t# more\n",
        b"*.bin filter=lfs\r\n*.txt -text\r\n",
        b"*.bin filter=lfs\n*.bin -filter\n",
        b"*.bin -filter filter=lfs\n",
        b"*.bin filter=lfs -filter\n",
        b"*.bin\tfilter=lfs\n/a.bin !filter\n",
        b"b/ filter=lfs\n!a filter=lfs\n",
        b"\xef\xbb\xbf*.bin filter=lfs\n",
        b"*.bin filter=lfsx\n* filter\n",
        b"a**/b filter=lfs\n/q** filter=lfs\n[[:odd:]] filter=lfs\n",
    ],
)
def test_attribute_files_as_git_reads_them(git: Git, rules: bytes) -> None:
    ours = LfsRules(rules)
    assert [ours.matches(RepoPath(p)) for p in PATHS] == git(".gitattributes", rules, PATHS)


@needs_git
@pytest.mark.parametrize(
    "rules",
    [
        b"build/\n!build/out\n", b"*\n!a\n", b"\\#note\n\\!bang\n", b"#note\n", b"trail.txt   \n",
        b"trail.txt\\ \n", b"a/\r\nq?\r\n", b"/build\n", b"**/build/**\n", b"**\n!**\n", b"/\n//\n",
        b"\xef\xbb\xbfa.bin\n", b"a/**/b\n", b"foo/*\n!foo/bar\n", b"a\\\n", b"[x]\n\\[x]\n",
        b"a**/b\n", b"/a**\n", b"*[z-a]\n", b"[a/]\n", b"***/b\n", b"[[:odd:]]\n[[:a]b:]\n",
    ],
)  # fmt: skip
def test_ignore_files_as_git_reads_them(git: Git, rules: bytes) -> None:
    ours = IgnoreRules(rules)
    assert [ours.matches(RepoPath(p)) for p in PATHS] == git(".gitignore", rules, PATHS)


def test_the_default_rules() -> None:
    rules = LfsRules(DEFAULT_GITATTRIBUTES)
    lfs = "model.safetensors a/b.gguf saved_model/v/x.txt x.tfevents.7 data.tar.gz w.bin"
    text = "README.md config.json tokenizer.json model.safetensors.index.json saved_model.txt"
    assert all(rules.matches(RepoPath(p)) for p in lfs.split())
    assert not any(rules.matches(RepoPath(p)) for p in text.split())


@pytest.mark.parametrize("kind", [LfsRules, IgnoreRules])
@pytest.mark.parametrize(
    "rules",
    [
        b"x" * (RULES_BYTES_MAX + 1),
        b"a filter=lfs\n" * (PATTERNS_MAX + 1),
        b"a" * (PATTERN_BYTES_MAX + 1) + b" filter=lfs",
        b"*a" * 9 + b" filter=lfs",
        b"*a*b*c*d* filter=lfs\n" * 256,
    ],
)
def test_too_much_is_refused(kind: type, rules: bytes) -> None:
    with pytest.raises(Malformed, match=r"the limit is|more than"):
        kind(rules)


HOSTILE = [
    b"*a" * 7 + b"*b",
    b"*a*a*a*a*a*a*a*[!a]",
    b"?" * 255 + b"*b",
    b"**/a/" * 4 + b"b",
    b"[a-z]*" * 8 + b"!",
    b"**/*a*a*a/**/b",
    b"*" + b"a" * 400 + b"*b",
    b"[" * 500,
    b"\\" * 500,
    b"[" + b"a-z" * 150 + b"]*b",
    b"/".join([b"a"] * 200),
    b"**/" + b"a/" * 120 + b"b",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_one_match_is_quick(hostile: bytes, measured) -> None:
    """Whatever the pattern and the longest paths: under a millisecond each."""
    paths = ["/".join(["a" * 254] * 4), "/".join(["a"] * 64), "a" * 255]
    match = matcher(hostile)
    with measured() as cost:
        for _ in range(100):
            assert not any(match(path.encode()) for path in paths)
    assert cost.cpu_s < 0.3


def test_the_worst_rules_are_bounded(measured) -> None:
    """Building them under half a second, a match under 100 ms."""
    rules = b"".join(b"*a%d*a\n" % i for i in range(PATTERNS_MAX))
    with measured() as cost:
        ignore = IgnoreRules(rules)
    assert cost.cpu_s < 0.5
    deep = RepoPath("/".join(["a" * 14] * 64))
    with measured() as cost:
        for _ in range(10):
            ignore.matches(deep)
    assert cost.cpu_s < 1
