"""Ways in which the same values may stand in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Layout: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


def _strided(a: NDArray[Any]) -> NDArray[Any]:
    room = np.full(tuple(3 * n + 2 for n in a.shape), 7, a.dtype)
    view = room[tuple(slice(1, 1 + 3 * n, 3) for n in a.shape)]
    view[...] = a
    return view


def _backwards(a: NDArray[Any]) -> NDArray[Any]:
    flip = (slice(None, None, -1),) * a.ndim
    return a[flip].copy()[flip]


def _read_only(a: NDArray[Any]) -> NDArray[Any]:
    a = a.copy()
    a.flags.writeable = False
    return a


def _unaligned(a: NDArray[Any]) -> NDArray[Any]:
    room = np.empty(a.nbytes + 1, np.uint8)
    view: NDArray[Any] = room[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


LAYOUTS: dict[str, Layout] = {
    "column by column": np.asfortranarray,
    "strided": _strided,
    "backwards": _backwards,
    "read-only": _read_only,
    "unaligned": _unaligned,
    "of the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
}
"""By name; what is not among them is plain: rows one after another, aligned, native, writable."""


def laid_out(values: Any, layout: str) -> Any:
    """The arrays of nested tuples in that layout."""
    if isinstance(values, tuple):
        return tuple(laid_out(value, layout) for value in values)
    return values if layout == "plain" else LAYOUTS[layout](values)
