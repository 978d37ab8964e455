"""A whole network: its output, its loss, and one step down the gradient."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from fcbackends.maths.activations import ACTIVATIONS
from fcbackends.maths.arithmetic import Arithmetic, Array
from fcbackends.maths.layers import fc_forward, input_gradient, parameter_gradients
from fcbackends.maths.losses import LOSSES, rounded
from fcbackends.maths.optimizers import OPTIMIZERS

Params: TypeAlias = "tuple[tuple[Array, Array], ...]"
"""One (w, b) pair a layer: w of shape (inputs, outputs), b of shape (outputs,)."""


class Method(NamedTuple):
    """How a network computes and learns: a learning rate, and names in the tables of the maths."""

    lr: float | Array
    """As a number, it is rounded once to the parameters' dtype; an array of no axes is so already,
    so that one compiled step serves all rates."""
    activation: str = "relu"
    loss: str = "mean_squared"
    optimizer: str = "sgd"


class State(NamedTuple):
    """All that a step changes: the parameters, and what the optimizer keeps beside each of them."""

    params: Params
    slots: tuple[Params, ...] = ()


class StepResult(NamedTuple):
    """The parameters after one SGD step, and the batch's loss before it."""

    params: Params
    loss: Array


def predict(arithmetic: Arithmetic, params: Params, x: Array, activation: str = "relu") -> Array:
    """The network's output: the activation between the layers, none after the last."""
    return _layer_inputs(arithmetic, params, x, activation)[-1]


def loss_of(arithmetic: Arithmetic, params: Params, x: Array, t: Array, method: Method) -> Array:
    """The loss of the network's output."""
    y = predict(arithmetic, params, x, method.activation)
    return LOSSES[method.loss](arithmetic, y, t).loss


def sgd_step(
    arithmetic: Arithmetic, params: Params, x: Array, t: Array, method: Method
) -> StepResult:
    """One step of plain SGD on the batch: new parameters, and the loss under the old ones."""
    state, loss = step(arithmetic, State(params), x, t, method)
    return StepResult(state.params, loss)


def step(
    arithmetic: Arithmetic, state: State, x: Array, t: Array, method: Method
) -> tuple[State, Array]:
    """One step on the batch: the new state, and the loss under the old one.

    Every gradient comes from the old parameters; the first layer's dx is not computed.
    """
    xp, optimizer = arithmetic.xp, OPTIMIZERS[method.optimizer]
    *inputs, y = _layer_inputs(arithmetic, state.params, x, method.activation)
    loss, dy = LOSSES[method.loss](arithmetic, y, t)
    constants = [
        rounded(xp, value, y.dtype) if isinstance(value, float | int) else value
        for value in optimizer.constants(method)
    ]
    moved = []
    for layer in reversed(range(len(state.params))):
        w, b = state.params[layer]
        kept = [slot[layer] for slot in state.slots]
        dw, db = parameter_gradients(arithmetic, dy, inputs[layer])
        if layer > 0:
            dx = input_gradient(arithmetic, dy, w)
            dy = ACTIVATIONS[method.activation].backward(xp, dx, inputs[layer])
        w, of_w = optimizer.update(w, dw, [slot for slot, _ in kept], *constants)
        b, of_b = optimizer.update(b, db, [slot for _, slot in kept], *constants)
        moved.append(((w, b), *zip(of_w, of_b, strict=True)))
    params, *slots = zip(*reversed(moved), strict=True)
    return State(params, tuple(slots)), loss


def first_state(arithmetic: Arithmetic, params: Params, optimizer: str) -> State:
    """Where training begins: the optimizer's slots are zeros."""
    zeros = arithmetic.xp.zeros_like
    blank = tuple((zeros(w), zeros(b)) for w, b in params)
    return State(params, (blank,) * OPTIMIZERS[optimizer].slots)


def is_finite(xp: object, params: Params) -> bool:
    """Whether every parameter is a finite number."""
    return all(bool(xp.all(xp.isfinite(array))) for pair in params for array in pair)  # type: ignore[attr-defined]


def _layer_inputs(arithmetic: Arithmetic, params: Params, x: Array, activation: str) -> list[Array]:
    """Each layer's input, then the last layer's output."""
    values = [x]
    for layer, (w, b) in enumerate(params):
        a = fc_forward(arithmetic, values[-1], w, b)
        last = layer == len(params) - 1
        values.append(a if last else ACTIVATIONS[activation].forward(arithmetic.xp, a))
    return values
