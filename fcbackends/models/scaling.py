"""Columns brought to mean 0 and standard deviation 1, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.arrays import as_numpy, check_dense, is_foreign
from fcbackends.backends.registry import library_backend
from fcbackends.checks import data
from fcbackends.errors import ArgumentError

Floats: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class Scaling:
    """A mean and a scale for each column, by which tables are brought to mean 0 and scale 1.

    Sums run in the rows' order, so that every machine gets the same bits.

    Parameters
    ----------
    mean, scale : array (K,)
        Of the columns; cast to float64. No scale is 0.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where they are not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> scaling = fcb.Scaling.fit([[1.0, 7.0], [3.0, 7.0]])
    >>> scaling.apply([[5.0, 8.0]])
    array([[3., 1.]])
    >>> scaling.undo([[3.0, 1.0]])
    array([[5., 8.]])
    """

    mean: Floats
    scale: Floats

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):
            object.__setattr__(self, name, _float64(getattr(self, name), name))
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            got = f"{self.mean.shape} and {self.scale.shape}"
            raise ArgumentError(("mean", "scale"), "be of one shape (K,)", got)
        if not self.scale.all():
            raise ArgumentError("scale", "hold no 0", f"0 at {np.argmin(self.scale != 0)}")

    @classmethod
    def fit(cls, x: Any) -> Scaling:
        """The columns' means and standard deviations; a constant column keeps the scale 1.

        Parameters
        ----------
        x : array (N, K)
            Of any library; taken in float64.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            Where x is no such array, or squares of its values are not finite.
        """
        values = _float64(x)
        if values.ndim != 2 or 0 in values.shape:
            raise ArgumentError("x", "be of shape (N, K) and not empty", f"shape {values.shape}")
        with np.errstate(all="ignore"):
            mean = _ordered_sum(values) / len(values)
            scale = np.sqrt(_ordered_sum((values - mean) ** 2) / len(values))
        if not np.isfinite(scale).all():
            required = "have values whose squares are finite in float64"
            raise ArgumentError("x", required, f"a largest of {np.abs(values).max()}")
        constant = (values == values[0]).all(axis=0) | (scale == 0)
        return cls(mean, np.where(constant, 1.0, scale))

    def apply(self, values: Any) -> NDArray[np.float64]:
        """From the columns' own units, (N, K) or (K,), to mean 0 and scale 1."""
        own = self._columns(values)
        with np.errstate(all="ignore"):
            return (own - self.mean) / self.scale

    def undo(self, values: Any) -> NDArray[np.float64]:
        """From mean 0 and scale 1, (N, K) or (K,), to the columns' own units."""
        own = self._columns(values)
        with np.errstate(all="ignore"):
            return own * self.scale + self.mean

    def _columns(self, values: Any) -> NDArray[np.float64]:
        own = _float64(values, "values")
        data.is_one_sample("values", own, columns=len(self.mean))
        return own


def _float64(x: Any, name: str = "x") -> NDArray[np.float64]:
    """Numbers of any library in NumPy's float64: not every library has it switched on."""
    if is_foreign(x):
        check_dense(name, x)
        x = as_numpy(x)
    (plain,) = data.together(library_backend(), "float64", **{name: x})
    return plain


def _ordered_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns' sums in the rows' order."""
    total: NDArray[np.float64] = np.add.accumulate(values, axis=0)[-1]
    return total
