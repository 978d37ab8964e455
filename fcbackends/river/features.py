"""Features by name, as a network's inputs by place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from river.utils import dataframe

from fcbackends.errors import ArgumentError, ArgumentTypeError, shown

Places: TypeAlias = "dict[Hashable, int]"
"""Names in the order of their places, which are the values."""

TARGET = "the target"

_NUMBERS = "biuf"
_OF_TEXTS = " (`river.preprocessing.OneHotEncoder` makes such of texts)"


def with_new(places: Places, names: Iterable[Hashable]) -> Places:
    """The places, with those of new names behind them; the same object where there are none.

    New names that come together take the order of their `repr`, in whichever they came.
    """
    new = [name for name in names if name not in places]
    if not new:
        return places
    return {name: place for place, name in enumerate((*places, *sorted(new, key=repr)))}


def row(x: Mapping[Hashable, Any], places: Places, dtype: str) -> NDArray[Any]:
    """The values of a sample at their places (K,); what it lacks is 0, what has no place is left.

    Raises
    ------
    ArgumentTypeError
        Where a value is no number.
    """
    if len(x) == len(places):
        try:
            # The names of before, as nearly always: half the time of what follows.
            return numbers("x", [x[name] for name in places], places, dtype)
        except KeyError:
            pass
    known = {name: value for name, value in x.items() if name in places}
    made = np.zeros(len(places), dtype)
    made[[places[name] for name in known]] = numbers("x", [*known.values()], known, dtype)
    return made


def rows(frame: Any, places: Places, dtype: str) -> NDArray[Any]:
    """The columns of a frame of narwhals at their places (N, K), as `row` has those of a sample."""
    made = np.zeros((len(frame), len(places)), dtype)
    for column in frame.iter_columns():
        name, kind = column.name, column.dtype
        if name not in places:
            continue
        if kind.is_numeric() or kind.is_boolean():
            with np.errstate(over="ignore"):
                made[:, places[name]] = dataframe.to_numpy(column.to_frame())[:, 0]
        else:
            names = [name] * len(frame)
            made[:, places[name]] = numbers("X", column.to_list(), names, dtype)
    return made


def numbers(
    argument: str, values: Sequence[Any], names: Iterable[Hashable], dtype: str
) -> NDArray[Any]:
    """Values of these names as an array (N,); what is no number is refused, texts of one as well.

    What `dtype` cannot hold becomes infinite.
    """
    try:
        made = np.array(values)
    except ValueError:  # some of them are sequences
        made = np.empty(0, object)
    if made.ndim == 1 and (made.dtype.kind in _NUMBERS or not len(values)):
        if made.dtype == dtype:
            return made
        with np.errstate(over="ignore"):
            return made.astype(dtype)
    name, value = next(
        (name, value)
        for name, value in zip(names, values, strict=True)
        if np.ndim(value) or np.array(value).dtype.kind not in _NUMBERS
    )
    required = "hold numbers" + ("" if name is TARGET else _OF_TEXTS)
    raise ArgumentTypeError(argument, required, f"{shown(value)} for {_called(name)}")


def refuse_not_finite(argument: str, values: NDArray[Any], names: Sequence[Hashable]) -> None:
    """Say which of the values (N, K) is not finite, if one is; there are K names."""
    places = np.argwhere(~np.isfinite(values))
    if len(places):
        at, column = places[0]
        got = f"{values[at, column]} for {_called(names[column])}"
        raise ArgumentError(argument, f"be finite in {values.dtype}", got)


def _called(name: Hashable) -> str:
    return TARGET if name is TARGET else f"feature {shown(name)}"
