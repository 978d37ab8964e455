"""Reports and tables as text for terminals, plain where nobody looks on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fcbackends.errors import printable
from fcbackends.report.layout import Cell, Document

_STYLES = {"good": "green", "bad": "bold red", "quiet": "dim", None: ""}


def to_text(document: Document) -> str:
    """A report's facts, and its tables one under the other."""
    parts = [printable(document.title), table_text(document.facts)]
    for section in document.sections:
        parts += ["", printable(section.title)]
        if section.table:
            columns = section.table.columns
            parts.append(
                table_text(
                    section.table.rows,
                    [column.title for column in columns],
                    right=[i for i, column in enumerate(columns) if column.numeric],
                )
            )
        parts += map(printable, section.remarks)
    return "\n".join(parts)


def print_table(
    rows: Iterable[Sequence[str]], header: Sequence[str] = (), *, right: Collection[int] = ()
) -> None:
    """Print rows of text, the columns `right` flush on that side."""
    print(table_text(rows, header, right=right))


def table_text(
    rows: Iterable[Sequence[str | Cell]],
    header: Sequence[str] = (),
    *,
    right: Collection[int] = (),
) -> str:
    """Rows of text, the columns `right` flush on that side; each cell as `printable` has it."""
    table = Table(box=None, show_header=bool(header), header_style="bold", pad_edge=False)
    for column, name in enumerate(header):
        table.add_column(_text(name), justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*map(_text, row))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        # A file or a pipe has no width: lines stay whole.
        console.width = 10_000
    with console.capture() as text:
        console.print(table)
    return "\n".join(line.rstrip() for line in text.get().splitlines())


def _text(cell: str | Cell) -> Text:
    text, tone = (cell, None) if isinstance(cell, str) else cell
    return Text(printable(text), style=_STYLES[tone])
