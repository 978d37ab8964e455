"""A network that gets more inputs or outputs while it learns."""

from __future__ import annotations

import numpy as np

from fcbackends import arrays
from fcbackends.maths.network import Params
from fcbackends.training.state import TrainerState


def grown(state: TrainerState, fresh: Params) -> TrainerState:
    """The state of a larger network, which begins as the one that there is.

    Parameters
    ----------
    state : TrainerState
        Of the network as it stands.
    fresh : tuple of (w, b)
        The first parameters, NumPy's, of one with more inputs or outputs, which come last. What is
        new begins as it would there, with nothing beside it that the optimizer keeps.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> trainer = fcb.Trainer((([[1.0]], [2.0]),), lr=0.1)
    >>> grown(trainer.state, fcb.init_params((2, 1))).params[0][0].shape
    (2, 1)
    """
    nothing = tuple((np.zeros_like(w), np.zeros_like(b)) for w, b in fresh)
    slots = tuple(_within(nothing, slot) for slot in state.slots)
    return TrainerState(_within(fresh, state.params), slots, state.steps)


def _within(larger: Params, params: Params) -> Params:
    """The larger parameters, with the others in the place of their first rows and columns."""
    made = tuple((w.copy(), b.copy()) for w, b in larger)
    for (to_w, to_b), (w, b) in zip(made, params, strict=True):
        to_w[: w.shape[0], : w.shape[1]] = arrays.as_numpy(w)
        to_b[: b.shape[0]] = arrays.as_numpy(b)
    return made
