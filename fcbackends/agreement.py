"""Exact agreement: the bits of two results compared, and a digest of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.arrays import as_numpy, check_dense, computed, is_foreign
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown

_MOST_NESTED = 64
"""Sequences inside each other; one that holds itself has no end."""

_UNSIGNED = {"float32": np.uint32, "float64": np.uint64}


class Agreement(NamedTuple):
    """How far two results agree.

    Attributes
    ----------
    equal : bool
        Whether all bit patterns are the same; any NaN equals any NaN.
    different : int
        The number of values that differ.
    max_ulp : int or None
        The largest number of representable steps between two values (+0 and -0 are one apart, an
        infinity stands next to the largest finite number); None where a NaN meets a number.
    first : tuple of int or None
        Where the first difference is: positions in the nested sequences, then the array's index.
    """

    equal: bool
    different: int
    max_ulp: int | None
    first: tuple[int, ...] | None


def compare(a: Any, b: Any) -> Agreement:
    """Compare two results bit by bit.

    Parameters
    ----------
    a, b : array, or nested sequence of arrays
        Results of the same structure, shapes and dtypes (float32 or float64), of any library.

    Returns
    -------
    Agreement

    Raises
    ------
    ArgumentError
        Where structures or shapes differ.
    ArgumentTypeError
        Where dtypes differ, or are neither float32 nor float64.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> fcb.compare(np.array([1.0, 0.0]), np.array([1.0, -0.0]))
    Agreement(equal=False, different=1, max_ulp=1, first=(1,))
    """
    first_arrays, second_arrays = _arrays(a, "a"), _arrays(b, "b")
    paths_a, paths_b = [p for p, _ in first_arrays], [p for p, _ in second_arrays]
    if paths_a != paths_b:
        got = f"{len(paths_a)} arrays at {paths_a} and {len(paths_b)} at {paths_b}"
        raise ArgumentError(("a", "b"), "be of the same structure", got)
    different = 0
    max_ulp: int | None = 0
    first: tuple[int, ...] | None = None
    for (path, left), (_, right) in zip(first_arrays, second_arrays, strict=True):
        _check_alike(left, right, path)
        where, ulp = _differences(left, right)
        if not where.any():
            continue
        if first is None:
            index = np.unravel_index(int(np.argmax(where)), where.shape)
            first = (*path, *(int(i) for i in index))
        different += int(where.sum())
        max_ulp = None if ulp is None or max_ulp is None else max(max_ulp, ulp)
    return Agreement(different == 0, different, max_ulp, first)


def digest(params: Any) -> str:
    """SHA-256 of shapes, dtypes and bits, the same on every machine.

    The hash reads, for each array in turn, an ASCII header of path, dtype and shape, such as
    "0.1:float64:3;" for the second array of the first pair, and then the values in row order as
    little-endian IEEE 754 bits, every NaN as the quiet NaN with no payload and no sign
    (0x7FC00000, 0x7FF8000000000000). Lengths of several dimensions are joined by commas.

    Parameters
    ----------
    params : array, or nested sequence of arrays
        float32 or float64 values of any library.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ArgumentTypeError
        Where a dtype is neither float32 nor float64.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.digest(fcb.init_params((2, 3), seed=1))[:16]
    '9ef0045d1b5fb2f8'
    """
    import hashlib

    sha = hashlib.sha256()
    for path, array in _arrays(params, "params"):
        place = ".".join(map(str, path))
        shape = ",".join(map(str, array.shape))
        sha.update(f"{place}:{array.dtype.name}:{shape};".encode("ascii"))
        values = array.astype(array.dtype.newbyteorder("<"), order="C")
        values[np.isnan(values)] = np.nan
        sha.update(values.tobytes())
    return sha.hexdigest()


def _arrays(values: Any, name: str) -> list[tuple[tuple[int, ...], NDArray[Any]]]:
    """The arrays in nested sequences, as NumPy's in its byte order, each after its path."""
    leaves = list(_leaves(values, name))
    found = []
    for (path, _), value in zip(leaves, computed([leaf for _, leaf in leaves]), strict=True):
        array = np.asarray(as_numpy(value))
        if array.dtype.name not in _UNSIGNED:
            got = f"dtype {array.dtype.name}"
            raise ArgumentTypeError(name, "hold float32 or float64 arrays", got)
        found.append((path, array.astype(array.dtype.newbyteorder("="), copy=False)))
    return found


def _leaves(
    values: Any, name: str, path: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], Any]]:
    if isinstance(values, tuple | list):
        if len(path) == _MOST_NESTED:
            raise ArgumentError(name, f"be nested at most {_MOST_NESTED} deep", shown(values))
        for i, value in enumerate(values):
            yield from _leaves(value, name, (*path, i))
        return
    if is_foreign(values):
        check_dense(name, values)
    if isinstance(values, np.ma.MaskedArray):
        raise ArgumentTypeError(name, "hold arrays without a mask", "a masked array")
    yield path, values


def _check_alike(left: NDArray[Any], right: NDArray[Any], path: tuple[int, ...]) -> None:
    place = f" at {list(path)}" if path else ""
    if left.shape != right.shape:
        got = f"{left.shape} and {right.shape}{place}"
        raise ArgumentError(("a", "b"), "be of the same shape", got)
    if left.dtype != right.dtype:
        got = f"{left.dtype} and {right.dtype}{place}"
        raise ArgumentTypeError(("a", "b"), "be of the same dtype", got)


def _differences(left: NDArray[Any], right: NDArray[Any]) -> tuple[NDArray[np.bool_], int | None]:
    """Where two arrays differ, and by how many representable steps at the most."""
    unsigned = _UNSIGNED[left.dtype.name]
    bits_left = np.ascontiguousarray(left).reshape(left.shape).view(unsigned)
    bits_right = np.ascontiguousarray(right).reshape(right.shape).view(unsigned)
    nan_left, nan_right = np.isnan(left), np.isnan(right)
    where = (bits_left != bits_right) & ~(nan_left & nan_right)
    if (where & (nan_left | nan_right)).any():
        return where, None
    ranks = _rank(bits_left[where]), _rank(bits_right[where])
    distances = np.maximum(*ranks) - np.minimum(*ranks)
    return where, int(distances.max(initial=0))


def _rank(bits: NDArray[Any]) -> NDArray[Any]:
    """The place of each bit pattern in the order of the numbers, -0 just below +0."""
    sign = bits.dtype.type(1) << bits.dtype.type(bits.dtype.itemsize * 8 - 1)
    return np.where(bits & sign, ~bits, bits | sign)
