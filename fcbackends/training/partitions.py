"""Samples that are never whole in memory: in files, or in chunks of Dask's, read row by row."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fcbackends import arrays, files
from fcbackends.checks import options
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown
from fcbackends.maths.sampling import MAX_SAMPLES


class Column(Protocol):
    """What has a row for each sample: x, t or weights."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows together."""

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """These rows, in this order."""


class _File(NamedTuple):
    """Where the rows of a .npy file stand."""

    path: str
    offset: int
    rows: int


@dataclass(frozen=True)
class Files:
    """Rows of .npy files, one after another.

    Rows are read from where they stand: to map a file takes as much of what memory a process may
    address as it is long.
    """

    files: tuple[_File, ...]
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows together."""
        return sum(file.rows for file in self.files), *self.row_shape

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """These rows, in this order: each is read once, in the order in which they stand."""
        wanted, places = np.unique(rows, return_inverse=True)
        made = np.empty((len(wanted), *self.row_shape), self.dtype)
        ends = np.cumsum([file.rows for file in self.files])
        of_file = np.searchsorted(ends, wanted, side="right")
        length = made[:1].nbytes
        for number in np.unique(of_file).tolist():
            file = self.files[number]
            before = int(ends[number]) - file.rows
            with open(file.path, "rb", buffering=0) as opened:
                for place in np.flatnonzero(of_file == number).tolist():
                    opened.seek(file.offset + (int(wanted[place]) - before) * length)
                    into = made[place : place + 1].reshape(-1).view(np.uint8)
                    if opened.readinto(into.data) != length:
                        raise OSError(f"{file.path!r} is shorter than it was")
        return made[places]


@dataclass(frozen=True)
class Whole:
    """Rows of an array in memory."""

    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.array.shape

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """These rows, in this order."""
        return self.array[rows]


@dataclass(frozen=True)
class Lazy:
    """Rows of a Dask array, of which those chunks are computed, one by one, that hold them."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(self.array.shape)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """These rows, in this order."""
        wanted, places = np.unique(rows, return_inverse=True)
        found = self.array[wanted].compute(scheduler="synchronous")
        return np.asarray(found)[places]


class Samples(NamedTuple):
    """All samples.

    Attributes
    ----------
    x, t, weight : Column
        Inputs, targets, and what each sample's loss is multiplied by, if anything.
    """

    x: Column
    t: Column
    weight: Column | None

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """These samples alone, in memory."""
        x, t = Whole(self.x.take(rows)), Whole(self.t.take(rows))
        return Samples(x, t, self.weight and Whole(self.weight.take(rows)))

    @property
    def are_whole(self) -> bool:
        """Whether they are all in this process's memory."""
        return all(isinstance(column, Whole) for column in self if column is not None)


def samples_of(x: Any, t: Any, sample_weight: Any) -> Samples:
    """The samples that these arguments hold: arrays, lists of .npy files, or Dask arrays.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where they are of other shapes, or do not hold the same samples.
    """
    weight = None if sample_weight is None else _column("sample_weight", sample_weight, (1,))
    made = Samples(_column("x", x, (2,)), _column("t", t, (1, 2)), weight)
    names = zip(("x", "t", "sample_weight"), made, strict=True)
    shapes = {name: column.shape for name, column in names if column is not None}
    if len({shape[0] for shape in shapes.values()}) > 1:
        got = {name: f"of shape {shape}" for name, shape in shapes.items()}
        raise ArgumentError(tuple(shapes), "hold the same samples", got)
    if not 0 < made.x.shape[0] <= MAX_SAMPLES or 0 in made.x.shape:
        required = f"hold from 1 to {MAX_SAMPLES} samples"
        raise ArgumentError("x", required, f"shape {made.x.shape}")
    return made


def _column(name: str, value: Any, dimensions: tuple[int, ...]) -> Column:
    column: Column
    if _are_names(value):
        column = _files(name, value)
    elif _is_dask(value):
        if not all(isinstance(length, int) for length in value.shape):
            required = "be of known shape (Dask's compute_chunk_sizes() finds it)"
            raise ArgumentError(name, required, f"shape {tuple(value.shape)}")
        distributed = sys.modules.get("distributed")
        if distributed and distributed.futures_of(value):
            required = "say how it is computed, to be so where its rows are needed"
            raise ArgumentError(name, required, "a Dask array that is persisted on workers")
        column = Lazy(value)
    else:
        column = Whole(_in_memory(name, value))
    if len(column.shape) not in dimensions:
        required = f"be of {' or '.join(map(str, dimensions))} dimensions"
        raise ArgumentError(name, required, f"shape {column.shape}")
    return column


def in_parts(value: Any) -> bool:
    """Whether an argument is a list of files, a file mapped to memory or a Dask array."""
    return _are_names(value) or isinstance(value, np.memmap) or _is_dask(value)


def _is_dask(value: Any) -> bool:
    return arrays.is_foreign(value) and arrays.library_of(value) == "dask"


def _in_memory(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentTypeError(name, "be an array without a mask", "a masked array")
    try:
        array = arrays.as_numpy(value) if arrays.is_foreign(value) else np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(name, "be an array of numbers", shown(value)) from None
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(name, "hold numbers", f"dtype {array.dtype}")
    return array


def _are_names(value: Any) -> TypeGuard[Sequence[Any]]:
    is_list = isinstance(value, tuple | list) and len(value) > 0
    return is_list and all(isinstance(part, str | os.PathLike) for part in value)


def _files(name: str, names: Sequence[Any]) -> Files:
    found = [_file(f"{name}[{number}]", each) for number, each in enumerate(names)]
    for number, (one, other) in enumerate(itertools.pairwise(found)):
        if one[1:] != other[1:]:
            required = f"have the dtype and columns of {name}[0]"
            got = f"{other[1]} {other[2]} after {one[1]} {one[2]}"
            raise ArgumentError(f"{name}[{number + 1}]", required, got)
    _, dtype, row_shape = found[0]
    return Files(tuple(file for file, *_ in found), dtype, row_shape)


def _file(name: str, path: Any) -> tuple[_File, np.dtype[Any], tuple[int, ...]]:
    path = os.path.abspath(options.path(name, path))
    with files.understood(path, name, "be a .npy file of numbers, row after row") as found:
        with found.open("rb") as opened:
            version = np.lib.format.read_magic(opened)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, column_major, dtype = read(opened)
            offset = opened.tell()
        if dtype.kind not in "fiub":
            raise ValueError(f"dtype {dtype}")
        if not shape:
            raise ValueError("no rows")
        if column_major and len(shape) > 1 and min(shape) > 1:
            raise ValueError("column after column")
        length = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        if found.stat().st_size < offset + shape[0] * length:
            raise ValueError(f"too short for shape {shown(shape)}")
    return _File(path, offset, shape[0]), dtype, shape[1:]
