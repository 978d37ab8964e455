"""The samples that training draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fcbackends.checks import options
from fcbackends.maths.sampling import Sampling, draw_indices


def sample_indices(
    n_samples: int,
    *,
    steps: int,
    batch_size: int = 1,
    sampling: Sampling = "replacement",
    seed: int = 0,
    start: int = 0,
) -> NDArray[np.int64]:
    """The samples that `train` draws.

    Parameters
    ----------
    n_samples : int
        The number of samples, up to 2**32 - 1.
    steps : int
        The number of steps.
    batch_size, sampling, seed
        As for `train`.
    start : int
        How many steps come before.

    Returns
    -------
    array of int64 (steps, batch_size)
        Row i holds the samples of step start + i + 1.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> sorted(fcb.sample_indices(5, steps=5, sampling="epoch").ravel().tolist())
    [0, 1, 2, 3, 4]
    """
    drawn = options.draws(n_samples, start, steps, batch_size, sampling)
    return draw_indices(*drawn, options.seed(seed))
