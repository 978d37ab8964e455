"""The values of a column: numbers, booleans or texts, and those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fcbackends.cli.data import Table
from fcbackends.errors import ArgumentError, shown

Kind: TypeAlias = Literal["number", "boolean", "text"]

NAN = ("NaN", "nan")
_ROWS = 2**12

MISSING = ("", "NA", "N/A", "null", "NULL", *NAN)
"""Texts that stand for a missing value."""


def kind(table: Table, column: int) -> Kind:
    """Whether a column holds numbers, booleans (or the words for them), or texts.

    Raises
    ------
    ArgumentError
        Where it holds something else, such as dates.
    """
    series = table.frame.to_series(column)
    if series.dtype.is_numeric() or _as_it_is(table, series) is not None:
        return "number"
    present = cells(table, column).drop_nulls()
    if present.dtype != pl.String:
        _refuse_other_types(table, column, present)
        return "boolean" if present.dtype == pl.Boolean else "number"
    if not parsed(present, table.form.decimal).has_nulls():
        return "number"
    return "boolean" if _are_booleans(present) else "text"


def numbers(table: Table, columns: Sequence[int]) -> NDArray[np.float64]:
    """The columns (rows, len(columns)); false is 0, true is 1, and a missing value NaN.

    Raises
    ------
    ArgumentError
        Where a value is no number, or infinite.
    """
    parts = [_numbers(table, column) for column in columns]
    values = np.empty((table.rows, len(columns)))
    # Some rows at a time stay in the cache, and no copy is made to be transposed.
    for rows in (slice(first, first + _ROWS) for first in range(0, table.rows, _ROWS)):
        for place, part in enumerate(parts):
            values[rows, place] = part[rows]
    infinite = np.isinf(values)
    if infinite.any():
        row, place = np.argwhere(infinite)[0].tolist()
        refuse(table, columns[place], row, str(values[row, place]))
    return values


def labels(table: Table, column: int) -> pl.Series:
    """The values as texts: a whole number has no decimal point, a missing value is null."""
    present = cells(table, column)
    if present.dtype == pl.String:
        return present.str.to_lowercase() if _are_booleans(present) else present
    _refuse_other_types(table, column, present)
    if present.dtype.is_float():
        whole = present.cast(pl.Int64, strict=False)
        texts = present.cast(pl.String)
        return texts.zip_with((whole == present).fill_null(False).not_(), whole.cast(pl.String))
    return present.cast(pl.String)


def cells(table: Table, column: int) -> pl.Series:
    """The column with null where a value is missing, and no blanks around texts."""
    series = table.frame.to_series(column)
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        series = series.str.strip_chars()
        return series.set(series.is_in([*MISSING, *table.form.na]), None)
    return series.fill_nan(None) if series.dtype.is_float() else series


def parsed(texts: pl.Series, decimal: str) -> pl.Series:
    """The texts as float64, null where one is no number."""
    if decimal == ",":
        texts = texts.set(texts.str.contains(".", literal=True), None)
        texts = texts.str.replace(",", ".", literal=True)
    return texts.cast(pl.Float64, strict=False)


def leave_out(table: Table, column: int) -> str:
    """What helps where a column is of no use."""
    return f"`--drop {table.called(column)}` leaves it out"


def refuse(table: Table, column: int, row: int, got: str, advice: str = "") -> NoReturn:
    """Say which value is no number, and what helps."""
    got = f"{got} in {table.place(column, row)}"
    got = f"{got}: {advice}" if advice else got
    raise ArgumentError("DATA", "hold finite numbers only", got)


def refuse_missing(table: Table, column: int, row: int, advice: str) -> NoReturn:
    """Say which value is missing, and what helps."""
    value = table.frame[row, column]
    is_nan = isinstance(value, float) or (isinstance(value, str) and value.strip() in NAN)
    if kind(table, column) == "text":
        where = f"none in {table.place(column, row)}"
        raise ArgumentError("DATA", "hold a value in each row", f"{where}: {advice}")
    refuse(table, column, row, "nan" if is_nan else "no value", advice)


def _as_it_is(table: Table, series: pl.Series) -> pl.Series | None:
    """A column of texts as numbers, where all of them are such without further ado.

    That is the rule, and takes a third of the time of looking for blanks and missing values.
    """
    if series.dtype != pl.String or table.form.na or table.form.decimal != ".":
        return None
    found = series.cast(pl.Float64, strict=False)
    return None if found.has_nulls() else found


def _numbers(table: Table, column: int) -> NDArray[np.float64]:
    series = table.frame.to_series(column)
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy()
    found = _as_it_is(table, series)
    if found is not None:
        return found.to_numpy()
    present = cells(table, column)
    if present.dtype != pl.String:
        _refuse_other_types(table, column, present)
        return present.cast(pl.Float64).to_numpy()
    values = parsed(present, table.form.decimal)
    wrong = values.is_null() & present.is_not_null()
    if wrong.any():
        if not _are_booleans(present):
            row = int(wrong.arg_max() or 0)
            refuse(table, column, row, shown(present[row]))
        values = (present.str.to_lowercase() == "true").cast(pl.Float64)
    return values.to_numpy()


def _are_booleans(texts: pl.Series) -> bool:
    words = texts.drop_nulls().unique().str.to_lowercase()
    return bool(len(words) and words.is_in(["true", "false"]).all())


def _refuse_other_types(table: Table, column: int, values: pl.Series) -> None:
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        got = f"{values.dtype} in {table.label(column)}: {leave_out(table, column)}"
        raise ArgumentError("DATA", "hold numbers, booleans or texts", got)
