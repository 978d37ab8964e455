"""Values in the network's dtype."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fcbackends.errors import ArgumentError
from fcbackends.models.scaling import Floats


def cast(values: NDArray[np.float64], dtype: str) -> Floats:
    """The values in the network's dtype.

    Raises
    ------
    ArgumentError
        Where one is not finite there.
    """
    converted = values.astype(dtype, copy=False)
    if not np.isfinite(converted).all():
        raise ArgumentError("DATA", f"fit {dtype}", f"{values[~np.isfinite(converted)][0]}")
    return converted
