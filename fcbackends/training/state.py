"""All that steps change of a network under training, taken out and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.checks import data, options
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown
from fcbackends.maths.network import Params, State
from fcbackends.maths.optimizers import Optimizer


class TrainerState(NamedTuple):
    """All that steps change: what a Trainer needs to go on from there, to the bit.

    Attributes
    ----------
    params : tuple of (w, b)
        The parameters.
    slots : tuple of tuple of (w, b)
        What the optimizer keeps beside the parameters.
    steps : int
        How many steps have been taken.
    """

    params: Params
    slots: tuple[Params, ...]
    steps: int


def fitting(
    state: Any,
    now: State,
    optimizer: Optimizer,
    backend: Backend,
    own: Callable[[Params], Params],
) -> tuple[State, int]:
    """The state and the number of steps, in arrays of the backend's, that a Trainer is set to.

    `now` is the state that it replaces, and `own` makes parameters those of the Trainer's backend.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where it does not fit.
    """
    if not isinstance(state, TrainerState):
        raise ArgumentTypeError("state", "be a `TrainerState`", shown(state))
    steps = options.integer("state.steps", state.steps, 0)
    given: Any = state.slots
    if not isinstance(given, tuple | list):
        required = "be a sequence of what stands beside the parameters"
        raise ArgumentTypeError("state.slots", required, shown(given))

    def brought(array: Any) -> Any:
        foreign = arrays.is_foreign(array) and not backend.owns(array)
        return arrays.as_numpy(array) if foreign else array

    def alike(pairs: Any) -> Params:
        # `own` says what they must be; an array that stands in their place may have no end of rows.
        if isinstance(pairs, tuple | list):
            with contextlib.suppress(TypeError, ValueError):
                pairs = tuple((brought(w), brought(b)) for w, b in pairs)
        made = own(pairs)
        came, wanted = (
            [(arrays.dtype_of(w), tuple(w.shape)) for w, _ in params]
            for params in (made, now.params)
        )
        if came != wanted:
            raise ArgumentError("state", f"hold layers {wanted}", f"{came}")
        return made

    params, *slots = map(alike, (state.params, *given))
    if len(slots) != len(now.slots):
        required = f"be {len(now.slots)}, as {optimizer} keeps beside the parameters"
        raise ArgumentError("state.slots", required, f"{len(slots)}")
    data.finite(params)
    return State(params, tuple(slots)), steps


def in_numpy(state: State) -> State:
    """The state in NumPy's arrays, of its own."""

    def own(params: Params) -> Params:
        return tuple(
            (np.array(arrays.as_numpy(w)), np.array(arrays.as_numpy(b))) for w, b in params
        )

    return State(own(state.params), tuple(map(own, state.slots)))
