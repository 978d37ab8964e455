"""Delimited text: what it is made of is recognised or said, and then read by polars."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import polars as pl

from fcbackends.cli.form import WHITESPACE, Form
from fcbackends.errors import ArgumentError, shown

_SEPARATORS = ("\t", ";", "|", ",")
"""Those that are recognised. A comma comes last: it may be a decimal comma as well."""

_LOOKED_AT = 20
"""The lines by which a separator is recognised."""


def read_delimited(content: bytes, form: Form) -> tuple[pl.DataFrame, tuple[str, ...] | None]:
    """The cells, all of them texts, and the names of the columns, if there are any.

    Raises
    ------
    ArgumentError
        Where the encoding is another one, a line is longer than the first, or it is not sure that
        there are names, or they are not all different.
    """
    content = _as_utf8(content, form.encoding).rstrip(b"\r\n")
    separator = form.separator or _recognised(content, form.comment)
    if separator == WHITESPACE:
        content, separator = _with_tabs(content), "\t"
    try:
        frame = pl.read_csv(
            content,
            has_header=False,
            infer_schema=False,
            separator=separator,
            comment_prefix=form.comment,
        )
    except pl.exceptions.ComputeError:
        _refuse_ragged(content, form.comment, separator)
        raise
    names = tuple((name or "").strip() for name in frame.row(0))
    if form.header is None:
        _refuse_unless_names(names, form.decimal)
    if form.header is False:
        return frame, None
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        required = "have a name of its own for each column"
        raise ArgumentError("DATA", required, f"{shown(twice)} twice")
    return frame.slice(1), names


def label(names: Sequence[str] | None, column: int) -> str:
    """What error texts call a column."""
    return f"column {shown(names[column])}" if names else f"column {column} (the first is 0)"


def as_number(text: str, decimal: str = ".") -> float | None:
    """The number that a cell holds, if it holds one."""
    try:
        return None if decimal == "," and "." in text else float(text.replace(decimal, "."))
    except ValueError:
        return None


def _as_utf8(content: bytes, encoding: str) -> bytes:
    try:
        if codecs.lookup(encoding).name != "utf-8":
            return content.decode(encoding).encode()
        content.decode()
        return content
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1]
        advice = "name its `--encoding`, such as latin-1 or utf-16"
        raise ValueError(f"{byte!r} in line {line} is no {encoding}: {advice}") from None


def _lines(content: bytes, comment: str | None) -> Iterator[str]:
    """The lines that are no comments, without their ends."""
    for line in io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "replace"):
        if line.strip() and not (comment and line.startswith(comment)):
            yield line


def _recognised(content: bytes, comment: str | None) -> str:
    """The separator that splits the first line, and no other line into more values than this.

    Of several, the one that splits all lines into as many; a comma, if there is none.
    """
    lines = list(itertools.islice(_lines(content, comment), _LOOKED_AT))
    found = {}
    for separator in _SEPARATORS:
        if separator not in "".join(lines[:1]):
            continue  # and the line may be longer than a value that `csv` takes
        widths = [len(values) for values in csv.reader(lines, delimiter=separator)]
        if widths and 1 < widths[0] == max(widths):
            found[separator] = min(widths) < widths[0]
    if not found:
        has_quotes = '"' in "".join(lines)
        split = csv.reader(lines, delimiter=" ") if has_quotes else map(str.split, lines)
        widths = [len(values) for values in split]
        if widths and 1 < widths[0] == max(widths) == min(widths):
            return " " if has_quotes else WHITESPACE
    return min(found, key=found.__getitem__, default=",")


def _with_tabs(content: bytes) -> bytes:
    """The lines with one tab where there are blanks, and none at their ends."""
    return re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", content))


def _refuse_ragged(content: bytes, comment: str | None, separator: str) -> None:
    """Say which row is too long, if one is."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    lines, width = csv.reader(text, delimiter=separator), 0
    for line in lines:
        if not line or (comment and line[0].startswith(comment)):
            continue
        width = width or len(line)
        if len(line) > width:
            required = f"have as many values in each line as in the first ({width})"
            raise ArgumentError("DATA", required, f"{len(line)} in line {lines.line_num}")


def _refuse_unless_names(cells: Sequence[str], decimal: str) -> None:
    """Refuse a first line in which a cell is empty or a number: whether it is data is not sure."""
    numbers = [as_number(cell, decimal) is not None for cell in cells]
    doubtful = [c for c, cell in enumerate(cells) if not cell or numbers[c]]
    if not doubtful:
        return
    first = cells[doubtful[0]]
    got = f"{shown(first) if first else 'no value'} in {label(None, doubtful[0])}"
    if all(numbers):
        got = "numbers"
    raise ArgumentError(
        "DATA",
        "have names in its first line",
        f"{got}: add `--no-header` if it holds data, or `--header` if it holds names",
    )
