"""A whole network: its output, its loss, and one step down the gradient."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from fcbackends.maths.activations import ACTIVATIONS, Activations, of_hidden_layers
from fcbackends.maths.arithmetic import Arithmetic, Array
from fcbackends.maths.layers import fc_forward, input_gradient, parameter_gradients
from fcbackends.maths.losses import loss_and_gradient, rounded
from fcbackends.maths.optimizers import SGD, UPDATES, Constants, Optimizer, Rule, moved
from fcbackends.maths.schedules import Rate, Schedule

Params: TypeAlias = "tuple[tuple[Array, Array], ...]"
"""One (w, b) pair a layer: w of shape (inputs, outputs), b of shape (outputs,)."""


class Form(NamedTuple):
    """A method but for its numbers: what a library compiles for."""

    activation: Activations = "relu"
    loss: str = "mean_squared"
    rule: Rule = Rule()
    weighted: bool = False
    """Whether the targets' last column holds the samples' weights."""


class Method(NamedTuple):
    """How a network computes and learns: names in the tables of the maths, a rate, an optimizer.

    The norm of the gradient of all parameters is at most `clip_norm`, if that is a number.
    """

    lr: Rate
    activation: Activations = "relu"
    loss: str = "mean_squared"
    optimizer: Optimizer = SGD()
    weighted: bool = False
    clip_norm: float | None = None

    @property
    def form(self) -> Form:
        """All but its numbers."""
        rule = self.optimizer.rule._replace(
            scheduled=isinstance(self.lr, Schedule), clipped=self.clip_norm is not None
        )
        return Form(self.activation, self.loss, rule, self.weighted)


class State(NamedTuple):
    """All that a step changes: the parameters, and what the optimizer keeps beside each of them."""

    params: Params
    slots: tuple[Params, ...] = ()


class StepResult(NamedTuple):
    """The parameters after one SGD step, and the batch's loss before it."""

    params: Params
    loss: Array


def predict(
    arithmetic: Arithmetic, params: Params, x: Array, activation: Activations = "relu"
) -> Array:
    """The network's output: activations between the layers, none after the last."""
    return _layer_inputs(arithmetic, params, x, activation)[-1]


def loss_of(arithmetic: Arithmetic, params: Params, x: Array, t: Array, form: Form) -> Array:
    """The loss of the network's output."""
    y = predict(arithmetic, params, x, form.activation)
    return loss_and_gradient(arithmetic, y, t, form.loss, form.weighted).loss


def sgd_step(
    arithmetic: Arithmetic, params: Params, x: Array, t: Array, method: Method
) -> StepResult:
    """One step of plain SGD on the batch: new parameters, and the loss under the old ones."""
    form = method.form._replace(rule=Rule())
    state, loss = step(arithmetic, State(params), x, t, form, (method.lr,))
    return StepResult(state.params, loss)


def step(
    arithmetic: Arithmetic, state: State, x: Array, t: Array, form: Form, constants: Constants
) -> tuple[State, Array]:
    """One step on the batch: the new state, and the loss under the old one.

    Every gradient comes from the old parameters; the first layer's dx is not computed. The
    optimizer's constants and, where the rule is clipped, after them the largest norm are rounded
    once to the parameters' dtype, where they are numbers; arrays of no axes are so already, so that
    one compiled step serves all.
    """
    xp = arithmetic.xp
    *inputs, y = _layer_inputs(arithmetic, state.params, x, form.activation)
    activations = of_hidden_layers(form.activation, len(inputs) - 1)
    loss, dy = loss_and_gradient(arithmetic, y, t, form.loss, form.weighted)
    constants = tuple(
        rounded(xp, value, y.dtype) if isinstance(value, float | int) else value
        for value in constants
    )
    backward = []
    for layer in reversed(range(len(state.params))):
        backward.append(parameter_gradients(arithmetic, dy, inputs[layer]))
        if layer > 0:
            dx = input_gradient(arithmetic, dy, state.params[layer][0])
            backward_of = ACTIVATIONS[activations[layer - 1]].backward
            dy = arithmetic.elementwise(backward_of, dx, inputs[layer])
    gradients = tuple(reversed(backward))
    if form.rule.clipped:
        constants, most = constants[:-1], constants[-1]
        gradients = clipped(arithmetic, gradients, most)
    stepped = []
    for layer, ((w, b), (dw, db)) in enumerate(zip(state.params, gradients, strict=True)):
        kept = [slot[layer] for slot in state.slots]
        w, of_w = moved(arithmetic, form.rule, w, dw, [slot for slot, _ in kept], constants)
        b, of_b = moved(
            arithmetic, form.rule, b, db, [slot for _, slot in kept], constants, is_bias=True
        )
        stepped.append(((w, b), *zip(of_w, of_b, strict=True)))
    params, *slots = zip(*stepped, strict=True)
    return State(params, tuple(slots)), loss


def clipped(arithmetic: Arithmetic, gradients: Params, most: Array) -> Params:
    """The gradients of all parameters, scaled down where their norm is larger than `most`.

    Squares are summed by columns, over the rows of dw and then db; their sums along the columns;
    and those of the layers. The scale is most * (1 / norm): so that where squares overflow, all
    finite gradients become zeros.
    """
    xp, sum_first = arithmetic.xp, arithmetic.sum_first
    of_layers = []
    for dw, db in gradients:
        rows = xp.concat([dw, db[None, :]])
        of_layers.append(sum_first(sum_first(rows * rows)))
    total = xp.reshape(sum_first(xp.stack(of_layers)), (1,))
    norm = (arithmetic.sqrt or xp.sqrt)(total)
    scale = xp.where(norm <= most, xp.ones_like(norm), most * xp.reciprocal(norm))
    return tuple((dw * scale, db * scale) for dw, db in gradients)


def first_state(arithmetic: Arithmetic, params: Params, rule: Rule) -> State:
    """Where training begins: the optimizer's slots are zeros."""
    zeros = arithmetic.xp.zeros_like
    blank = tuple((zeros(w), zeros(b)) for w, b in params)
    return State(params, (blank,) * UPDATES[rule.update].slots)


def is_finite(xp: object, params: Params) -> bool:
    """Whether every parameter is a finite number."""
    return all(bool(xp.all(xp.isfinite(array))) for pair in params for array in pair)  # type: ignore[attr-defined]


def _layer_inputs(
    arithmetic: Arithmetic, params: Params, x: Array, activation: Activations
) -> list[Array]:
    """Each layer's input, then the last layer's output."""
    names = of_hidden_layers(activation, len(params) - 1)
    values = [x]
    for (w, b), name in zip(params, (*names, "identity"), strict=True):
        a = fc_forward(arithmetic, values[-1], w, b)
        values.append(arithmetic.elementwise(ACTIVATIONS[name].forward, a))
    return values
