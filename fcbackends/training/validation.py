"""The samples that a network is held against and not trained on."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.checks import data, options, targets
from fcbackends.errors import ArgumentError
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.sampling import draw_indices

Pair: TypeAlias = "tuple[Array, Array]"

_NAMES = {"x": "validation[0]", "t": "validation[1]"}


def split(samples: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to train on and those held out, each in ascending order.

    The held-out ones are the first of the seed's epoch 0, round(share * samples) of them.

    Raises
    ------
    ArgumentError
        Where the share leaves no row on one of the sides.
    """
    held = round(share * samples) if 0 < share < 1 else 0
    if not 0 < held < samples:
        required = "be a share between 0 and 1 that leaves rows on both sides of the split"
        raise ArgumentError("validation", required, f"{share} of {samples} rows")
    order = draw_indices(samples, 0, 1, samples, "epoch", seed)[0]
    return np.sort(order[held:]), np.sort(order[:held])


def apart(
    backend: Backend,
    x: Array,
    t: Array,
    dtype: str,
    validation: Any,
    seed: Any = None,
    *,
    loss: str,
    outputs: int,
    shares: bool = True,
) -> tuple[Array, Array, Pair | None]:
    """x and t to train on, and those of the validation, if there is one.

    Where t has a column more than the network outputs, the weights of samples, that of the
    validation has ones there.
    """

    def held_out(t: Array) -> Array:
        return targets.weighted(backend, t, np.ones(t.shape[0], dtype))

    weighted = t.shape[1] > outputs
    given = options.validation(validation, shares=shares)
    if isinstance(given, float):
        trained, held = (
            data.rows(backend, rows, x) for rows in split(x.shape[0], given, options.seed(seed))
        )
        take = arrays.namespace_of(x).take
        own_x, own_t = take(x, held, axis=0), take(t, held, axis=0)
        own_t = held_out(own_t[:, :outputs]) if weighted else own_t
        return take(x, trained, axis=0), take(t, trained, axis=0), (own_x, own_t)
    if given is not None:
        try:
            own_x, own_t = given
            own_t = targets.as_batch(backend, own_t, loss, outputs=outputs)
            own_x, own_t = data.training_data(backend, own_x, own_t, dtype, {"x": x})
            data.fits((x.shape[1], outputs), own_x, own_t)
            targets.suit(own_t, loss)
        except ArgumentError as error:
            raise error.renamed(_NAMES) from None
        return x, t, (own_x, held_out(own_t) if weighted else own_t)
    return x, t, None
