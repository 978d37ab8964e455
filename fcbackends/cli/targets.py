"""Target columns: numbers, or names of classes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

import fcbackends as fcb
from fcbackends.cli import values
from fcbackends.cli.data import Table
from fcbackends.cli.features import in_order
from fcbackends.errors import shown

Classes: TypeAlias = tuple[tuple[str, ...], ...]
"""For each target column the names of its classes, in the order of their numbers."""

_TWO = (("0", "1"), ("false", "true"))
"""Pairs of which one may not occur."""


def chosen(table: Table, texts: Sequence[str], loss: str) -> tuple[int, ...]:
    """The positions of the target columns.

    Raises
    ------
    ArgumentError
        Where they are not there, no feature is left, or they do not suit the loss.
    """
    if texts and table.targets:
        required = "not come with a file whose array 't' holds the targets"
        raise fcb.ArgumentError("--target", required, repr(", ".join(texts)))
    targets = table.targets or table.select("--target", texts or ["-1"])
    if len(targets) == table.width:
        got = f"all columns ({table.width})"
        raise fcb.ArgumentError("--target", "leave a feature column", got)
    if loss == "cross_entropy" and len(targets) > 1:
        required = "be one column of classes where `--loss` is cross_entropy"
        raise fcb.ArgumentError("--target", required, str(len(targets)))
    return targets


def encoded(
    table: Table, targets: Sequence[int], loss: str
) -> tuple[NDArray[np.float64], Classes | None]:
    """The targets (rows, columns) and, where they are classes, their names.

    A class is given by its number. NaN, where a value is missing.

    Raises
    ------
    ArgumentError
        Where values are no numbers, or no classes.
    """
    classes: Classes
    if loss == "cross_entropy":
        classes = (_classes(table, targets[0]),)
    elif loss == "binary_cross_entropy":
        classes = tuple(_pair(table, column) for column in targets)
    else:
        _refuse_texts(table, targets)
        return values.numbers(table, targets), None
    t = np.empty((table.rows, len(targets)))
    for place, (column, names) in enumerate(zip(targets, classes, strict=True)):
        codes = values.labels(table, column).cast(pl.Enum(names)).to_physical()
        t[:, place] = codes.cast(pl.Float64).to_numpy()
    return t, classes


def named(codes: NDArray[np.integer], names: Sequence[str]) -> pl.Series:
    """Classes by their numbers: as numbers, if these are written like the names, or as texts."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            numbers = [kind(name) for name in names]
            if [str(number) for number in numbers] == list(names):
                return pl.Series(numbers)[codes]
    return pl.Series(names)[codes]


def _classes(table: Table, column: int) -> tuple[str, ...]:
    names = _names(table, column)
    if not 1 < len(names) <= max(2, table.rows // 2):
        required = f"hold from 2 to {max(2, table.rows // 2)} classes in its target"
        got = f"{len(names)} in {table.label(column)}, which has {table.rows} rows"
        raise fcb.ArgumentError("DATA", required, got)
    return names


def _pair(table: Table, column: int) -> tuple[str, ...]:
    names = _names(table, column)
    pair = next((pair for pair in _TWO if {*names} <= {*pair}), names)
    if len(pair) != 2:
        came = ", ".join(map(shown, names[:5])) + (", ..." if len(names) > 5 else "")
        got = f"{came or 'none'} in {table.label(column)}"
        required = "hold two values in each target where `--loss` is binary_cross_entropy"
        raise fcb.ArgumentError("DATA", required, got)
    return pair


def _names(table: Table, column: int) -> tuple[str, ...]:
    return in_order(values.labels(table, column).drop_nulls().unique().to_list())


def _refuse_texts(table: Table, targets: Sequence[int]) -> None:
    for column in targets:
        texts = values.cells(table, column)
        is_text = values.kind(table, column) == "text"
        if is_text and not values.parsed(texts, table.form.decimal).count():
            row = int(texts.is_not_null().arg_max() or 0)
            advice = "`--loss cross_entropy` takes texts for classes"
            values.refuse(table, column, row, shown(texts[row]), advice)
