"""The checkable half of the house style: sizes, docstrings, dead modules, forbidden words."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "headwater"
MODULES = sorted(p for p in SOURCE.rglob("*.py") if "migrations" not in p.parts)
LINES_MAX = 350
FUNCTION_LINES_MAX = 70


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_is_small_and_says_what_it_promises(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with what it promises"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


def test_no_module_is_dead() -> None:
    """Every module is imported by another one, or is an entry."""
    entries = {"headwater", "headwater.__main__", "headwater.app"}
    imported: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    for path in MODULES:
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        if name not in entries and path.name != "__init__.py":
            assert name in imported, f"nothing imports {name}"


def test_no_one_unpickles_or_guesses_yaml() -> None:
    """Rules that a reviewer would have to remember: never unpickle, never load YAML raw."""
    forbidden = re.compile(
        r"\bimport pickle\b|\bpickle\.load|yaml\.(safe_)?load\(|\beval\(|\bexec\("
    )
    for path in MODULES:
        assert not forbidden.search(path.read_text()), path
