"""The records that pass between the layers: what a backend takes and gives."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

Array: TypeAlias = Any
"""An array of any library that follows the Python array API."""

Params: TypeAlias = "tuple[tuple[Array, Array], ...]"
"""One (w, b) pair a layer: w of shape (inputs, outputs), b of shape (outputs,)."""

ArithmeticName: TypeAlias = Literal["ordered", "native"]
Sampling: TypeAlias = Literal["replacement", "epoch"]
LossScope: TypeAlias = Literal["batch", "data"]


class FCGradients(NamedTuple):
    """Gradients of the loss with respect to one layer's weights, bias and input."""

    dw: Array
    db: Array
    dx: Array


class LossAndGradient(NamedTuple):
    """The mean squared loss (0-d) and its gradient with respect to y."""

    loss: Array
    dy: Array


class StepResult(NamedTuple):
    """The parameters after one SGD step, and the batch's loss before it."""

    params: Params
    loss: Array


class Plan(NamedTuple):
    """How a training loop draws, watches and stops; the same for all its segments.

    `steps` is how many may be taken in all, by all networks that are trained at once.
    """

    steps: int
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
    """A network under training: its parameters, and the two ways to move them on."""

    @property
    def params(self) -> Params:
        """A copy of the parameters."""

    @params.setter
    def params(self, params: Params) -> None: ...

    @property
    def last_finite(self) -> Params:
        """A copy of the last parameters that `step` saw and whose values are all finite."""

    def step(self, x: Array, t: Array) -> float:
        """Take one step on the batch x (N, K), t (N, M), or one sample x (K,), t (M,).

        Returns the loss before the step; where it is not finite, no step is taken.
        """

    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
