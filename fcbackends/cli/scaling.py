"""Columns brought to mean 0 and standard deviation 1, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.errors import ArgumentError

Floats: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class Scaling:
    """A mean and a scale for each column."""

    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> Scaling:
        """The columns' means and standard deviations; a constant column keeps the scale 1.

        Raises
        ------
        ArgumentError
            Where squares of the values are not finite.
        """
        mean = _ordered_sum(values) / len(values)
        scale = np.sqrt(_ordered_sum((values - mean) ** 2) / len(values))
        if not np.isfinite(scale).all():
            required = "have values whose squares are finite in float64"
            raise ArgumentError("--standardize", required, f"a largest of {np.abs(values).max()}")
        constant = (values == values[0]).all(axis=0) | (scale == 0)
        return cls(mean, np.where(constant, 1.0, scale))

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the columns' own units to mean 0 and scale 1."""
        return (values - self.mean) / self.scale

    def undo(self, values: Floats) -> NDArray[np.float64]:
        """From mean 0 and scale 1 to the columns' own units."""
        return values * self.scale + self.mean


def cast(values: NDArray[np.float64], dtype: str) -> Floats:
    """The values in the network's dtype.

    Raises
    ------
    ArgumentError
        Where one is not finite there.
    """
    converted = values.astype(dtype)
    if not np.isfinite(converted).all():
        raise ArgumentError("DATA", f"fit {dtype}", f"{values[~np.isfinite(converted)][0]}")
    return converted


def _ordered_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns' sums in the rows' order, so that every machine gets the same bits."""
    total: NDArray[np.float64] = np.add.accumulate(values, axis=0)[-1]
    return total
