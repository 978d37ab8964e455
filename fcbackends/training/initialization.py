"""The parameters that training starts from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fcbackends.checks import options
from fcbackends.maths import sampling
from fcbackends.maths.network import Params


def init_params(sizes: Sequence[int], *, seed: int = 0, dtype: str = "float64") -> Params:
    """Draw a network's first parameters: He-uniform weights, zero biases.

    A weight of a layer with K inputs is uniform in [-r, r) with r = sqrt(6 / K) (He et al.,
    "Delving deep into rectifiers", 2015). It is computed in float64 as (2 u - 1) * r and rounded
    once to `dtype`, with u from SplitMix64 under the key word(seed, 1 + layer) of
    `fcbackends.maths.sampling`: the same bits on every machine and NumPy version.

    Parameters
    ----------
    sizes : sequence of int
        The layer sizes: inputs, hidden layers, outputs.
    seed : int
        From 0 to 2**64 - 1.
    dtype : {"float64", "float32"}
        The dtype of the parameters.

    Returns
    -------
    tuple of (w, b)
        One pair of NumPy arrays a layer: w (inputs, outputs), b (outputs,).

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above.
    MemoryError
        Where there is not enough for them.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> [(w.shape, b.shape) for w, b in fcb.init_params((2, 8, 3))]
    [((2, 8), (8,)), ((8, 3), (3,))]
    """
    return he_uniform(options.layer_sizes(sizes), options.seed(seed), options.dtype_name(dtype))


def he_uniform(sizes: tuple[int, ...], seed: int, dtype: str) -> Params:
    """The parameters that `init_params` draws."""
    return tuple(
        (_weights(k, m, sampling.word(seed, 1 + layer)).astype(dtype), np.zeros(m, dtype=dtype))
        for layer, (k, m) in enumerate(itertools.pairwise(sizes))
    )


def _weights(inputs: int, outputs: int, key: int) -> NDArray[np.float64]:
    unit = 2 * sampling.uniforms(key, inputs * outputs) - 1
    return (unit * math.sqrt(6 / inputs)).reshape(inputs, outputs)
