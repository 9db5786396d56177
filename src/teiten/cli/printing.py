"""How the command line shows tables and instants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from teiten.foundation.showing import show_plain


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under heads; in a pipe one row is one line, tabs between the cells.

    Cells may hold what a sensor or a member wrote: brackets in it are brackets, no colours, links or hidden
    text, and nothing moves the cursor.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        for row in [heads, *rows]:
            print("\t".join(show_plain(str(cell)) for cell in row))
        return
    table = Table(box=None, header_style="bold")
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*(show_plain(str(cell), kept="\n") for cell in row))
    console.print(table)


def instant(at: datetime | None) -> str:
    """Write an instant in UTC, and a dash where there is none."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
