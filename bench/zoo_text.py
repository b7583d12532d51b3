"""Real text for the zoo: what Python, numpy and torch bring along, in a fixed order.

    code(package)    source files of the standard library, or of an installed package
    prose()          docstrings of the standard library and the chapters of `help()`
    pairs()          (question, answer) of docstrings: the summary and what follows it;
                     the name of a function, in words, and its summary

Nothing is fetched. The text differs a little between Python releases, and so does the zoo.
"""

import ast
import pydoc_data.topics
import re
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

STDLIB = Path(sysconfig.get_path("stdlib"))
# Not text that a person wrote to be read, or not the same on every machine.
SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3",
                     "pydoc_data", "__pycache__", "encodings"})  # fmt: skip
WORDS_MIN = 4  # in a summary or a body; shorter ones say nothing
BODY_CHARS_MAX = 1000


def sources(package: str = "") -> Iterator[str]:
    """Each Python file of the standard library, or of `package`, in order of its path."""
    root = STDLIB
    if package:
        spec = find_spec(package)
        assert spec is not None, package
        assert spec.origin is not None, package
        root = Path(spec.origin).parent
    for path in sorted(root.rglob("*.py")):
        if not SKIPPED & set(path.relative_to(root).parts):
            yield path.read_text(encoding="utf-8", errors="replace")


def code(package: str = "", chars_max: int = 12_000_000) -> str:
    parts: list[str] = []
    held = 0
    for text in sources(package):
        parts.append(text)
        held += len(text)
        if held >= chars_max:
            break
    return "\n\n".join(parts)


def docstrings(package: str = "") -> Iterator[tuple[str, str]]:
    """(name, docstring) of each module's functions and classes."""
    for text in sources(package):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in strings are not our matter
            try:
                tree = ast.parse(text)
            except SyntaxError:
                continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                doc = ast.get_docstring(node)
                if doc:
                    yield node.name, doc


def prose() -> str:
    chapters = [pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)]
    return "\n\n".join([*chapters, *(doc for _, doc in docstrings())])


def pairs(kind: str) -> list[tuple[str, str]]:
    """`kind` "summary": a docstring's first paragraph and its rest; "name": a name and its first
    paragraph. Each text once, so that no pair is another's false negative."""
    found: dict[str, str] = {}
    for package in ("", "numpy"):
        for name, doc in docstrings(package):
            summary, _, body = (" ".join(part.split()) for part in doc.partition("\n\n"))
            words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).strip().lower()
            left, right = (summary, body) if kind == "summary" else (words, summary)
            if len(right.split()) >= WORDS_MIN and (kind == "name" or left.count(" ") >= 3):
                found.setdefault(left, right[:BODY_CHARS_MAX])
    return sorted({right: (left, right) for left, right in found.items()}.values())
