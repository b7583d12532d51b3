"""How the demo talks: steps, lines, commands and tables, readable in a log as on a screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

OUT = Console(highlight=False, soft_wrap=True)


def step(number: int, title: str) -> None:
    OUT.print(f"\n[bold]{number}. {title}[/bold]")


def line(text: str = "") -> None:
    """A plain line. Markup in `text` is shown, not obeyed: file names may hold brackets."""
    OUT.print(f"   {text}" if text else "", markup=False)


def bare(text: str) -> None:
    """A line without indent, to be copied or found by a program."""
    OUT.print(text, markup=False)


def command(text: str) -> None:
    OUT.print(f"   $ {text}", markup=False, style="cyan")


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The first column is text, the others are numbers; the last row is the total."""
    made = Table(title=title, title_justify="left", box=None, padding=(0, 0, 0, 2))
    for index, name in enumerate(head):
        made.add_column(name, justify="right" if index else "left", no_wrap=True)
    for index, row in enumerate(rows):
        made.add_row(*row, style="bold" if index == len(rows) - 1 else None)
    OUT.print(made)


def size(size_bytes: int) -> str:
    """Decimal, as model hubs count: 90.9 MB."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("kB", "MB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.2f} GB"


def rate(size_bytes: int, seconds: float) -> str:
    """MB/s, a million bytes each."""
    return f"{size_bytes / 1e6 / seconds:.0f}"
