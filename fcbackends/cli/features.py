"""Feature columns and the network's inputs: numbers as they are, categories one-hot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fcbackends.cli import values
from fcbackends.cli.data import Table
from fcbackends.cli.delimited import as_number
from fcbackends.errors import ArgumentError, listed, shown

MOST_CATEGORIES = 50
"""More would be names, dates or numbers of rows; so would half as many as there are rows."""

FEW_CATEGORIES = 10
"""As many are taken of any number of rows."""

_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?\b|\d\d?[-/.]\d\d?[-/.]\d{2,4}\b")


@dataclass(frozen=True)
class Features:
    """How columns become inputs.

    Attributes
    ----------
    columns : tuple of int
        Their positions in the training table.
    categories : tuple
        For each column its categories, each of which is an input, 1 where the row is of it; None
        for a column of numbers, which is an input itself.
    booleans : tuple of int
        Those of the columns that hold true and false; they are 1 and 0.
    fill : tuple of float, or None
        For each input what it is where its column's value is missing.
    """

    columns: tuple[int, ...]
    categories: tuple[tuple[str, ...] | None, ...]
    booleans: tuple[int, ...] = ()
    fill: tuple[float, ...] | None = None

    @property
    def widths(self) -> list[int]:
        """How many inputs each column has."""
        return [1 if names is None else len(names) for names in self.categories]

    @property
    def of_inputs(self) -> list[int]:
        """For each input its column."""
        return np.repeat(self.columns, self.widths).tolist()

    @property
    def one_hot(self) -> NDArray[np.bool_]:
        """For each input whether it is a category."""
        return np.repeat([names is not None for names in self.categories], self.widths)

    def encode(
        self, table: Table, places: Sequence[int], *, zeros: bool = False
    ) -> NDArray[np.float64]:
        """The inputs (rows, K) from the columns at `places`; NaN where a value is missing.

        An unknown category has zeros, or is refused.
        """
        if all(names is None for names in self.categories):
            return values.numbers(table, places)
        blocks = [
            values.numbers(table, [place])
            if names is None
            else _one_hot(table, place, names, zeros)
            for place, names in zip(places, self.categories, strict=True)
        ]
        return np.hstack(blocks)

    def filled(
        self, x: NDArray[np.float64], table: Table, places: Sequence[int], advice: str
    ) -> NDArray[np.float64]:
        """`x` with what is kept where values are missing; refused, if nothing is kept."""
        missing = np.isnan(x)
        if not missing.any():
            return x
        if self.fill is None:
            row, place = np.argwhere(missing)[0].tolist()
            column = np.repeat(np.arange(len(places)), self.widths)[place]
            values.refuse_missing(table, places[column], row, advice)
        return np.where(missing, self.fill, x)

    def fitted(self, table: Table, x: NDArray[np.float64], how: str) -> Features:
        """These, with means or medians of inputs `x` to fill in, or the most frequent category.

        Raises
        ------
        ArgumentError
            Where a column has no values.
        """
        fill: list[float] = []
        start = 0
        for column, names, width in zip(self.columns, self.categories, self.widths, strict=True):
            block = x[:, start : start + width]
            present = block[~np.isnan(block[:, 0])]
            start += width
            if not len(present):
                got = f"none in {table.label(column)}: {values.leave_out(table, column)}"
                raise ArgumentError("DATA", "hold values in the rows trained on", got)
            if names is not None:
                fill += np.eye(width)[present.sum(axis=0).argmax()].tolist()
            elif column in self.booleans:
                fill.append(float(2 * present.sum() > len(present)))
            elif how == "median":
                fill.append(float(np.median(present)))
            else:
                # In the rows' order, so that every machine gets the same bits.
                fill.append(float(np.add.accumulate(present[:, 0])[-1] / len(present)))
        return replace(self, fill=tuple(fill))

    def as_json(self) -> dict[str, Any]:
        """What `from_json` makes these of."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Features:
        """What `as_json` kept."""
        categories = (
            None if names is None else tuple(map(str, names)) for names in kept["categories"]
        )
        fill = None if kept["fill"] is None else tuple(map(float, kept["fill"]))
        columns, booleans = (tuple(map(int, kept[name])) for name in ("columns", "booleans"))
        return cls(columns, tuple(categories), booleans, fill)


def choose(table: Table, columns: Sequence[int], categorical: Sequence[int], text: str) -> Features:
    """The columns with the categories that the table has; without those of texts to be left out.

    Raises
    ------
    ArgumentError
        Where texts are no categories: too many, dates, or numbers with something else in them.
    """
    chosen: dict[int, tuple[str, ...] | None] = {}
    booleans: list[int] = []
    for column in columns:
        kind = values.kind(table, column)
        if column in categorical:
            chosen[column] = _categories(table, column)
        elif kind != "text":
            chosen[column] = None
            booleans += [column] if kind == "boolean" else []
        elif text == "onehot":
            _refuse_doubtful(table, column)
            names = _categories(table, column)
            _refuse_many(table, column, len(names))
            chosen[column] = names
    return Features(tuple(chosen), tuple(chosen.values()), tuple(booleans))


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """The names sorted: as numbers, if all are numbers, or else as texts."""
    as_numbers = [as_number(name) for name in names]
    if None in as_numbers:
        return tuple(sorted(names))
    return tuple(name for _, name in sorted(zip(as_numbers, names, strict=True)))


def _categories(table: Table, column: int) -> tuple[str, ...]:
    return in_order(values.labels(table, column).drop_nulls().unique().to_list())


def _refuse_many(table: Table, column: int, count: int) -> None:
    most = min(MOST_CATEGORIES, max(FEW_CATEGORIES, table.rows // 2))
    if count > most:
        advice = f"{values.leave_out(table, column)}, `--categorical` encodes it all the same"
        got = f"{count} in {table.label(column)}: {advice}"
        raise ArgumentError("DATA", f"have at most {most} categories in a column of texts", got)


def _refuse_doubtful(table: Table, column: int) -> None:
    """Refuse texts that are numbers or dates, as far as one can tell."""
    texts = values.cells(table, column)
    present = texts.drop_nulls()
    decimal = table.form.decimal
    other = "," if decimal == "." else "."
    counts = {sign: values.parsed(present, sign).count() for sign in (decimal, other)}
    wrong = values.parsed(texts, decimal).is_null() & texts.is_not_null()
    row = int(wrong.arg_max() or 0)
    got = f"{shown(texts[row])} in {table.place(column, row)}"
    if 2 * counts[other] > len(present) and counts[other] > counts[decimal]:
        got = f"{got}: `--decimal {other}` reads such numbers"
        raise ArgumentError("DATA", "hold finite numbers only", got)
    if 2 * counts[decimal] > len(present):
        got = f"{got}: `--na` names texts for missing values, `--categorical` columns of categories"
        raise ArgumentError("DATA", "hold finite numbers only", got)
    if all(_DATE.match(text) for text in present):
        got = f"{got}: {values.leave_out(table, column)}"
        raise ArgumentError("DATA", "hold numbers or categories, and no dates", got)


def _one_hot(table: Table, column: int, names: tuple[str, ...], zeros: bool) -> NDArray[np.float64]:
    texts = values.labels(table, column)
    codes = texts.cast(pl.Enum(names), strict=False).to_physical()
    missing = texts.is_null()
    unknown = codes.is_null() & ~missing
    if unknown.any() and not zeros:
        row = int(unknown.arg_max() or 0)
        required = f"hold the categories that the model knows ({listed(names)})"
        came = f"{shown(texts[row])} in {table.place(column, row)}"
        got = f"{came}: `--unknown zeros` takes it for none"
        raise ArgumentError("DATA", required, got)
    block = np.eye(len(names) + 1, len(names))[codes.fill_null(len(names)).to_numpy()]
    block[missing.to_numpy()] = np.nan
    return block
