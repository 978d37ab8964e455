"""Data of any library: what stays in it, and what goes to NumPy and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config

from fcbackends import arrays


def floats_of(X: Any) -> list[Any]:
    """The dtypes that X may have, of its library, where scikit-learn leaves it there."""
    stays = get_config()["array_api_dispatch"] and arrays.is_foreign(X)
    xp = arrays.namespace_of(X) if stays else np
    return [xp.float64, xp.float32]


def as_library_of(x: Any, values: Any) -> Any:
    """The values as an array of x's library, on its device."""
    if not arrays.is_foreign(x):
        return arrays.as_numpy(values)
    return values if arrays.is_foreign(values) else arrays.beside(x, values)


def in_numpy(values: Any) -> Any:
    """An array of another library as NumPy's, and anything else as it is."""
    return arrays.as_numpy(values) if arrays.is_foreign(values) else values


def rows_of(x: Any, rows: NDArray[np.int64]) -> Any:
    """The rows of x that have these numbers."""
    return arrays.namespace_of(x).take(x, as_library_of(x, rows), axis=0)


def dense(x: Any) -> Any:
    """A sparse matrix as an array, and an array as it is."""
    return x.toarray() if hasattr(x, "toarray") else x
