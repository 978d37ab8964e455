"""What was seen of a run of training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class History(NamedTuple):
    """What was seen of a run, one entry for each look at it.

    Attributes
    ----------
    steps : array of int64
        Step numbers, counted from 1.
    losses : array of float64
        The watched loss there.
    validation_losses : array of float64
        The validation data's loss under the parameters after each of these steps; empty where
        there is no validation data.
    rates : array of float64
        The learning rate of each of these steps.
    metrics : dict
        By name: what the callback told of each of these steps, float64; NaN where it did not.
    """

    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    validation_losses: NDArray[np.float64]
    rates: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]
