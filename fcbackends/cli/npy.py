"""Arrays of .npy and .npz files: what they declare is checked before memory is taken for it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fcbackends.errors import ArgumentError, listed

_LARGE = 2**30
"""Bytes of float64 that a compressed table may always take,"""

_MOST_EXPANDED = 100
"""and how many times those that it has in its file, if that is more."""

_BLOCK = 2**17
"""Numbers read at a time: 1 MiB of float64."""

_HEADERS: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}

_MAGIC = npy.MAGIC_PREFIX, b"PK"


def read_arrays(file: IO[bytes]) -> list[NDArray[np.float64]]:
    """The one array of a file, or arrays x and t of an archive: (N, columns), in Fortran order.

    Raises
    ------
    ArgumentError
        Where they hold no numbers, have no rows and columns, or are far larger than their archive.
    Exception
        Where the file is damaged, or no such file.
    """
    begin = file.read(len(npy.MAGIC_PREFIX))
    if not begin.startswith(_MAGIC):
        raise ValueError("not written by NumPy")
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if begin == npy.MAGIC_PREFIX:
        return [_read_array(file, size, "DATA", (2,))]
    with zipfile.ZipFile(file) as archive:
        members = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        if len({*members}) < len(members):
            raise ValueError("several arrays of one name")
        if {"x", "t"} <= {*members}:
            x, t = (_read_member(archive, name, name, size, (1, 2)) for name in "xt")
            if len(x) != len(t):
                raise ArgumentError(("x", "t"), "have as many rows", f"{len(x)} and {len(t)}")
            return [x, t]
        if len(members) == 1:
            return [_read_member(archive, members[0], "DATA", size, (2,))]
    there = listed(members) or "none"
    raise ArgumentError("DATA", "hold arrays 'x' and 't', or one 2-D array", there)


def refuse_expanded(argument: str, rows: int, columns: int, stored: int, advice: str = "") -> None:
    """Refuse a table that a small file, of `stored` bytes, makes large."""
    if rows * columns * 8 > max(_LARGE, _MOST_EXPANDED * stored):
        required = f"take at most 1 GiB, or {_MOST_EXPANDED} times what it takes in its file"
        got = f"{rows:,} x {columns:,} values in {stored:,} bytes"
        raise ArgumentError(argument, required, f"{got}: {advice}" if advice else got)


def _read_member(
    archive: zipfile.ZipFile, name: str, argument: str, size: int, dimensions: Sequence[int]
) -> NDArray[np.float64]:
    info = next(i for i in archive.infolist() if i.filename.removesuffix(".npy") == name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("not compressed by NumPy")
    with archive.open(info) as member:
        stored = min(info.compress_size, size)
        return _read_array(member, info.file_size, argument, dimensions, stored)


def _read_array(
    file: IO[bytes],
    size: int,
    argument: str,
    dimensions: Sequence[int],
    stored: int | None = None,
) -> NDArray[np.float64]:
    """An array whose file has `size` bytes, `stored` in so many where it is in an archive."""
    read_header = _HEADERS.get(npy.read_magic(file))
    if read_header is None:
        raise ValueError("of a version of the format that holds no numbers")
    shape, by_columns, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if dtype.kind not in "iuf":
        raise ArgumentError(argument, "hold integers or floats", str(dtype))
    if len(shape) not in dimensions:
        raise ArgumentError(argument, "be 2-D", f"shape {shape}")
    if 0 in shape:
        raise ArgumentError(argument, "not be empty", f"shape {shape}")
    rows, columns = (*shape, 1)[:2]
    declared = rows * columns * dtype.itemsize
    if min(shape) < 0 or declared > size - file.tell():
        raise ValueError(f"shape {shape} of {dtype} in a file of {size} bytes")
    if stored is not None:
        refuse_expanded(argument, rows, columns, stored, "`numpy.savez` stores an array as it is")
    values = np.empty((rows, columns), order="F")
    # Whole rows or columns, as they lie in the file.
    lines, length = (values.T, rows) if by_columns else (values, columns)
    step = max(1, _BLOCK // length)
    for first in range(0, len(lines), step):
        block = lines[first : first + step]
        content = file.read(block.size * dtype.itemsize)
        block[...] = np.frombuffer(content, dtype).reshape(block.shape)
    return values
