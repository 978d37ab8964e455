"""A network under training: what a backend's loop promises, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias

from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Params, State
from fcbackends.maths.sampling import Sampling

LossScope: TypeAlias = Literal["batch", "data"]


class Plan(NamedTuple):
    """How a training loop draws, watches and stops; the same for all its segments."""

    batch_size: int
    sampling: Sampling
    seed: int
    tol: float | None
    tol_on: LossScope
    record_every: int


class Segment(NamedTuple):
    """What a training loop reports of the steps `start` + 1 to `steps`.

    `losses`, a NumPy array of float64, holds the watched loss at every multiple of `record_every`
    among them, `loss` the watched loss at the last look, and `diverged_at` the step whose loss is
    not finite, if any: its batch's (the step was not taken) or, with `tol_on` "data", the whole
    data's after it.
    """

    steps: int
    loss: float
    losses: Array
    reached: bool
    diverged_at: int | None


class Loop(Protocol):
    """A network under training: its state, and the two ways to move it on.

    All arrays are of the backend's library and of the network's dtype, in any memory layout.
    """

    called_off: Callable[[], bool] | None
    """Asked, where it is there, in work that takes long. Once it says so, `run` leaves the step in
    hand and undoes it, and returns; and `loss` may return NaN. A loop may also never ask."""

    @property
    def state(self) -> State:
        """A copy of all that steps change; setting it takes the loop back, or on from there."""

    @state.setter
    def state(self, state: State) -> None: ...

    @property
    def params(self) -> Params:
        """A copy of the parameters."""

    @property
    def last_finite(self) -> State:
        """A copy of the last state that `step` saw and whose parameters are all finite."""

    def prepare(self, x: Array, t: Array, plan: Plan, steps: int) -> None:
        """Compile, or warm, what `run` needs for about so many steps, taken by all loops alike."""

    def step(self, x: Array, t: Array, number: int) -> float:
        """Take the step of this number on the batch x (N, K), t (N, M), or one x (K,), t (M,).

        Steps are counted from 1, and what an optimizer computes may depend on the number. Returns
        the loss before the step; where it is not finite, no step is taken.
        """

    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` or a call off stops them."""
