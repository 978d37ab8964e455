"""Tables of numbers from CSV, Parquet, .npy and .npz files."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fcbackends.errors import ArgumentError
from fcbackends.files import readable

SUFFIXES = (".csv", ".parquet", ".npy", ".npz")


@dataclass(frozen=True)
class Table:
    """Rows and columns of a file, converted to numbers where they are asked for.

    Attributes
    ----------
    rows, width : int
        The numbers of rows and of columns.
    names : tuple of str, or None
        The columns' names, where the file has names.
    targets : tuple of int, or None
        The target columns, where the file itself says which they are.
    """

    rows: int
    width: int
    names: tuple[str, ...] | None
    targets: tuple[int, ...] | None
    _floats: Callable[[Sequence[int]], NDArray[np.float64]]

    def numbers(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """The columns as an array (rows, len(columns)) of finite numbers.

        Raises
        ------
        ArgumentError
            Where a value is missing, no number or not finite.
        """
        values = self._floats(columns)
        finite = np.isfinite(values)
        if not finite.all():
            row, place = np.argwhere(~finite)[0].tolist()
            got = str(values[row, place])
            _refuse_value(got, _label(self.names, columns[place]), row, self.rows)
        return values

    def select(self, texts: Sequence[str]) -> tuple[int, ...]:
        """The positions of columns given by names, indices and index ranges a:b.

        Each text is a name, or a list of names, indices and ranges with commas between them.

        Raises
        ------
        ArgumentError
            Where one of them names no column.
        """
        positions: list[int] = []
        for text in texts:
            items = [text] if text in (self.names or ()) else text.split(",")
            for item in items:
                positions += self._positions(item.strip())
        return tuple(dict.fromkeys(positions))

    def _positions(self, item: str) -> Sequence[int]:
        if self.names and item in self.names:
            return [self.names.index(item)]
        places = range(self.width)
        with contextlib.suppress(ValueError, IndexError):
            if ":" not in item:
                return [places[int(item)]]
            ends = [int(part) if part else None for part in item.split(":")]
            first, last = ends
            chosen = places[first:last]
            if chosen and all(-self.width <= (end or 0) <= self.width for end in ends):
                return chosen
        there = f"{', '.join(map(repr, self.names))}, or " if self.names else ""
        there += f"an index from {-self.width} to {self.width - 1}, or a range a:b of these"
        raise ArgumentError("--target", f"name columns that are there ({there})", repr(item))


def read_table(name: str, header: bool | None = None) -> Table:
    """Read a .csv, .parquet, .npy or .npz file.

    Parameters
    ----------
    name : str
        The file, for error texts the command line's `DATA`.
    header : bool, optional
        Whether a .csv file's first line holds names. Where it is left out, the line must hold a
        text in each column that is no number.

    Raises
    ------
    ArgumentError
        Where the file cannot be read as what its suffix says, has no rows, or is not a table of
        numbers.
    """
    path = readable(name, "DATA", SUFFIXES)
    suffix = path.suffix.lower()
    if header is not None and suffix != ".csv":
        option = "--header" if header else "--no-header"
        raise ArgumentError(option, "come with a .csv file", repr(name))
    try:
        if suffix == ".csv":
            table = _csv_table(path, header)
        elif suffix == ".parquet":
            with path.open("rb") as file, _no_native_stderr():
                frame = pl.read_parquet(file)
            table = _frame_table(frame, tuple(frame.columns))
        else:
            table = _array_table(path)
    except (ArgumentError, MemoryError):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        # What a damaged or foreign file leads to in four readers is not to be listed.
        reason = str(error).partition("\n\n")[0] or type(error).__name__
        required = f"be a readable {suffix} file"
        raise ArgumentError("DATA", required, f"{name!r}: {reason}") from None
    if not table.rows or not table.width:
        raise ArgumentError("DATA", "have at least one row of numbers", f"none in {name!r}")
    return table


def _csv_table(path: Path, header: bool | None) -> Table:
    content = path.read_bytes().rstrip(b"\r\n")
    try:
        frame = pl.read_csv(content, has_header=False, infer_schema=False)
    except pl.exceptions.ComputeError:
        _refuse_ragged(content)
        raise
    names = tuple((name or "").strip() for name in frame.row(0))
    if header is None:
        _refuse_unless_names(names)
    if header is False:
        return _frame_table(frame, None)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError("DATA", "have a name of its own for each column", f"{twice!r} twice")
    return _frame_table(frame.slice(1), names)


def _refuse_unless_names(cells: Sequence[str]) -> None:
    """Refuse a first line in which a cell is empty or a number: whether it is data is not sure."""
    doubtful = [column for column, cell in enumerate(cells) if not cell or _is_number(cell)]
    if not doubtful:
        return
    first = cells[doubtful[0]]
    got = f"{repr(first) if first else 'no value'} in {_label(None, doubtful[0])}"
    if all(map(_is_number, cells)):
        got = "numbers"
    raise ArgumentError(
        "DATA",
        "have names in its first line",
        f"{got}: add `--no-header` if it holds data, or `--header` if it holds names",
    )


def _frame_table(frame: pl.DataFrame, names: tuple[str, ...] | None) -> Table:
    def floats(columns: Sequence[int]) -> NDArray[np.float64]:
        series = [_float_series(frame.to_series(c), _label(names, c)) for c in columns]
        return pl.DataFrame(series).to_numpy(order="c")

    return Table(frame.height, frame.width, names, None, floats)


def _float_series(series: pl.Series, label: str) -> pl.Series:
    """The series in float64; a value that is missing or no number is refused."""
    present = series
    if series.dtype == pl.String:
        series = series.str.strip_chars()
        present = series.replace("", None)
    elif not series.dtype.is_numeric():
        raise ArgumentError("DATA", "hold numbers", f"{series.dtype} in {label}")
    numbers = present.cast(pl.Float64, strict=False)
    if numbers.null_count():
        row = int(numbers.is_null().arg_max() or 0)
        got = "no value" if present[row] is None else repr(series[row])
        _refuse_value(got, label, row, len(series))
    return numbers


def _array_table(path: Path) -> Table:
    with path.open("rb") as file:
        if not file.read(6).startswith((b"\x93NUMPY", b"PK")):
            # NumPy takes any other content for a pickle, and advises to trust it.
            raise ValueError("not written by NumPy")
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        whole = isinstance(loaded, np.ndarray)
        arrays = {"DATA": loaded} if whole else {name: loaded[name] for name in loaded.files}
    if {"x", "t"} <= arrays.keys():
        x, t = (_matrix(arrays[name], name, (1, 2)) for name in "xt")
        if len(x) != len(t):
            raise ArgumentError(("x", "t"), "have as many rows", f"{len(x)} and {len(t)}")
        values = np.hstack([x, t])
        targets = tuple(range(x.shape[1], values.shape[1]))
    elif len(arrays) == 1:
        values, targets = _matrix(next(iter(arrays.values())), "DATA", (2,)), None
    else:
        there = ", ".join(map(repr, arrays)) or "none"
        raise ArgumentError("DATA", "hold arrays 'x' and 't', or one 2-D array", there)
    return Table(len(values), values.shape[1], None, targets, lambda columns: values[:, columns])


def _matrix(array: Any, argument: str, dimensions: tuple[int, ...]) -> NDArray[np.float64]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        kind = f"{array.dtype}" if isinstance(array, np.ndarray) else "no array"
        raise ArgumentError(argument, "hold integers or floats", kind)
    if array.ndim not in dimensions:
        raise ArgumentError(argument, "be 2-D", f"shape {array.shape}")
    if 0 in array.shape:
        raise ArgumentError(argument, "not be empty", f"shape {array.shape}")
    return array.reshape(len(array), -1).astype(np.float64)


def _label(names: tuple[str, ...] | None, column: int) -> str:
    return f"column {names[column]!r}" if names else f"column {column} (the first is 0)"


def _refuse_value(got: str, label: str, row: int, rows: int) -> NoReturn:
    where = f"{label}, row {row + 1} of {rows}"
    raise ArgumentError("DATA", "hold finite numbers only", f"{got} in {where}")


def _refuse_ragged(content: bytes) -> None:
    """Say which row is too long, if one is."""
    lines = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    width = len(next(lines))
    for line in lines:
        if len(line) > width:
            required = f"have as many values in each line as in the first ({width})"
            raise ArgumentError("DATA", required, f"{len(line)} in line {lines.line_num}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _no_native_stderr() -> Iterator[None]:
    """Keep the panic messages of compiled code off stderr: the exception says the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
