"""A report as every form of it shows it: titles, facts, tables, remarks and pictures."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Tone: TypeAlias = Literal["good", "bad", "quiet"]


class Cell(NamedTuple):
    """A text in a table, and how it is to be taken."""

    text: str
    tone: Tone | None = None


class Column(NamedTuple):
    """A column's title, and whether it holds numbers, which stand flush right."""

    title: str
    numeric: bool = False


class Table(NamedTuple):
    """Rows of cells under their columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Picture(NamedTuple):
    """A plot as SVG, with the sentence under it, which also stands for it where it is not seen."""

    svg: str
    caption: str


class Section(NamedTuple):
    """A part of a report."""

    title: str
    table: Table | None = None
    remarks: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()


class Document(NamedTuple):
    """A whole report: its title, the facts of its head, and its sections."""

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
