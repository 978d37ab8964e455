"""The data, sizes and first parameters that trainings begin with, each checked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fcbackends.arrays import dtype_of
from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import backend_for
from fcbackends.checks import data, options, targets
from fcbackends.errors import ArgumentError, ArgumentTypeError
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Params
from fcbackends.training.initialization import he_uniform


class Problem(NamedTuple):
    """What is trained, on which data, and what computes.

    Attributes
    ----------
    backend : Backend
        What computes.
    x, t : array (N, K) and (N, M), or (N, M + 1)
        The data, in arrays of the backend's; where samples are weighted, t has them last.
    sizes : tuple of int
        The layers' sizes, inputs first.
    dtype : str
        Of all arithmetic.
    given : tuple of (w, b) or None
        The first parameters; None for those of a seed.
    loss : str
        A name in the table of losses.
    weighted : bool
        Whether samples have weights.
    """

    backend: Backend
    x: Array
    t: Array
    sizes: tuple[int, ...]
    dtype: str
    given: Params | None
    loss: str
    weighted: bool

    def first_params(self, seed: int) -> Params:
        """The parameters to begin with, of the backend's library and beside the data."""
        if self.given is not None:
            return self.given
        return self.own(he_uniform(self.sizes, seed, self.dtype))

    def own(self, params: Params) -> Params:
        """Parameters of NumPy's as arrays of the backend's, beside the data."""
        return data.params(self.backend, params, beside={"x": self.x})


def checked(
    x: Any,
    t: Any,
    hidden: Any,
    params: Any,
    dtype: Any,
    backend: str | Backend | None,
    arithmetic: str | None,
    loss: Any,
    classes: Any,
    sample_weight: Any,
    rows_per_block: Any = None,
) -> Problem:
    """The problem that the arguments of `train` and `train_many` pose."""
    leaves = data.leaves(params)
    chosen = backend_for(backend, arithmetic, x=x, t=t, **leaves)
    chosen = options.in_blocks(chosen, rows_per_block)
    dtype = options.dtype_name(dtype)
    loss = options.choice("loss", loss, LOSSES)
    t = targets.as_batch(chosen, t, loss, outputs=_outputs_of(leaves), classes=classes)
    x, t = data.training_data(chosen, x, t, dtype, leaves)
    targets.suit(t, loss)
    between = options.hidden_sizes(hidden)
    sizes: tuple[int, ...] = (x.shape[1], *between, t.shape[1])
    network = None
    if params is None:
        options.weights_in_memory("hidden", sizes)
    else:
        network = data.params(chosen, params, of_integers=dtype, beside={"x": x})
        kind = dtype_of(network[0][0])
        if kind != dtype:
            raise ArgumentTypeError("params", f"be of `dtype` {dtype}", kind)
        inside = tuple(w.shape[1] for w, _ in network[:-1])
        if between and between != inside:
            required = f"be left out, or the sizes {inside} of `params`"
            raise ArgumentError("hidden", required, f"{between}")
        data.not_empty(network)
        sizes = (network[0][0].shape[0], *inside, network[-1][0].shape[1])
        data.fits((sizes[0], sizes[-1]), x, t)
    weighted = sample_weight is not None
    if weighted:
        t = targets.weighted(chosen, t, sample_weight)
    return Problem(chosen, x, t, sizes, dtype, network, loss, weighted)


def _outputs_of(leaves: Mapping[str, Any]) -> int | None:
    """As many as the last bias has numbers; what is no network is refused where it is read."""
    try:
        return len(list(leaves.values())[-1])
    except (IndexError, TypeError):
        return None
