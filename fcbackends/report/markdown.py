"""Reports as Markdown, for pull requests and the like."""

from __future__ import annotations

import re

from fcbackends.report.layout import Cell, Document, Section, Table

_EMPHASIS = {"good": "{}", "bad": "**{}**", "quiet": "{}", None: "{}"}


def to_markdown(document: Document) -> str:
    """A report as Markdown with the tables of GitHub's dialect."""
    parts = [f"# {_escaped(document.title)}", _facts(document.facts)]
    for section in document.sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _facts(facts: tuple[tuple[str, str], ...]) -> str:
    return "\n".join(f"- {_escaped(name)}: {_escaped(value)}" for name, value in facts)


def _section(section: Section) -> list[str]:
    parts = [f"## {_escaped(section.title)}"]
    if section.table:
        parts.append(_table(section.table))
    return parts + [_escaped(remark) for remark in section.remarks]


def _table(table: Table) -> str:
    titles = [_escaped(column.title) for column in table.columns]
    rules = ["--:" if column.numeric else "---" for column in table.columns]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, rules, *rows))


def _cell(cell: Cell) -> str:
    return _EMPHASIS[cell.tone].format(_escaped(cell.text)) if cell.text else ""


def _escaped(text: str) -> str:
    """The text with nothing in it that Markdown or HTML would take for its own."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
