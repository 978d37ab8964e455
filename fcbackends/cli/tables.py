"""Tables on stdout, as plain text where nobody looks on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(
    rows: Iterable[Sequence[str]], header: Sequence[str] = (), *, right: Collection[int] = ()
) -> None:
    """Print rows of text, the columns `right` flush on that side."""
    table = Table(box=None, show_header=bool(header), header_style="bold", pad_edge=False)
    for column, name in enumerate(header):
        table.add_column(name, justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        # A file or a pipe has no width: lines stay whole.
        console.width = 10_000
    with console.capture() as text:
        console.print(table)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))
