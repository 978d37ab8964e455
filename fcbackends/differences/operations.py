"""A step as its operations in turn, each of which can be computed anew, or otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.maths.activations import ACTIVATIONS, of_hidden_layers
from fcbackends.maths.arithmetic import Arithmetic
from fcbackends.maths.layers import fc_forward, input_gradient, parameter_gradients
from fcbackends.maths.losses import LOSSES, loss_and_gradient, rounded
from fcbackends.maths.network import Method, Params, State, clipped
from fcbackends.maths.optimizers import Constants, moved

Floats: TypeAlias = NDArray[Any]
Values: TypeAlias = "Mapping[str, Floats]"
"""All that a step computes, by short names: rows, h0, a0, h1, loss, dy0, dw0, new w0, ..."""


class Operation(NamedTuple):
    """One operation of a step.

    Attributes
    ----------
    name : str
        What it is called in a report.
    part : str
        Which part of that, where there are several.
    outputs, inputs : tuple of str
        Names of values.
    compute : callable
        (arithmetic, *inputs) -> the outputs, a tuple.
    others : sequence of (cause, words, compute)
        Other formulas that stand for it elsewhere.
    """

    name: str
    part: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    compute: Callable[..., tuple[Floats, ...]]
    others: Sequence[tuple[str, str, Callable[..., tuple[Floats, ...]]]] = ()


def in_blocks(operation: Operation, rows_per_block: int | None) -> Operation:
    """The operation with its sums over samples in blocks of so many, if that is a number."""
    if rows_per_block is None:
        return operation

    def within(compute: Callable[..., tuple[Floats, ...]]) -> Callable[..., tuple[Floats, ...]]:
        return lambda arithmetic, *inputs: compute(
            replace(arithmetic, rows_per_block=rows_per_block), *inputs
        )

    others = [(cause, words, within(compute)) for cause, words, compute in operation.others]
    return operation._replace(compute=within(operation.compute), others=others)


def operations_of(
    method: Method, layers: int, slots: int, constants: Constants, number: int
) -> list[Operation]:
    """Those of the step of this number and these constants, in the order of a step."""
    names = of_hidden_layers(method.activation, layers - 1)
    found = [_draw(number)]
    for layer in range(layers):
        found.append(_forward(layer))
        if layer < layers - 1:
            found.append(_activation(layer, names[layer]))
    found += _loss(method, f"a{layers - 1}", f"dy{layers - 1}")
    for layer in reversed(range(layers)):
        found += _gradients(layer)
        if layer:
            found += _input_gradients(layer, names[layer - 1])
    gradient = "d"
    if method.clip_norm is not None:
        constants, most = constants[:-1], constants[-1]
        found.append(_clipping(layers, most))
        gradient = "clipped d"
    for layer in range(layers):
        found += [_update(method, array, layer, slots, constants, gradient) for array in "wb"]
    return found


def first_values(state: State) -> dict[str, Floats]:
    """The state that a step begins with."""
    values = {}
    for layer, pair in enumerate(state.params):
        for array, value in zip("wb", pair, strict=True):
            values[f"{array}{layer}"] = value
        for i, slot in enumerate(state.slots):
            for array, value in zip("wb", slot[layer], strict=True):
                values[f"{array}{layer}.slot{i}"] = value
    return values


def leaves_of(state: State, loss: float | None) -> dict[str, Floats]:
    """What is seen of a step from outside, by its names in the step: its new state, its loss."""
    leaves = {f"new {name}": value for name, value in first_values(state).items()}
    if loss is not None:
        leaves["loss"] = np.asarray(loss, state.params[0][0].dtype)
    return leaves


@np.errstate(all="ignore")
def computed(
    operations: Sequence[Operation], begun: Values, run: Callable[..., tuple[Floats, ...]]
) -> dict[str, Floats]:
    """All values of a step; `run(operation, *inputs)` computes one operation."""
    values = dict(begun)
    for operation in operations:
        found = run(operation, *(values[name] for name in operation.inputs))
        values.update(zip(operation.outputs, found, strict=True))
    return values


def same_bits(a: Floats, b: Floats) -> bool:
    """Whether all bits are the same, any NaN being any other."""
    return a.shape == b.shape and not bool(differing(a, b).any())


def differing(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """Where bits differ; any NaN is any other."""
    kind = np.uint32 if a.dtype.itemsize == 4 else np.uint64
    a, b = (np.ascontiguousarray(array).reshape(array.shape) for array in (a, b))
    found: NDArray[np.bool_] = (a.view(kind) != b.view(kind)) & ~((a != a) & (b != b))
    return found


def _draw(number: int) -> Operation:
    return Operation(
        f"draw of step {number}",
        "",
        ("rows", "h0", "t"),
        ("data x", "data t", "drawn"),
        lambda arithmetic, x, t, rows: (rows, x[rows], t[rows]),
    )


def _forward(layer: int) -> Operation:
    inputs = (f"h{layer}", f"w{layer}", f"b{layer}")

    def bias_first(arithmetic: Arithmetic, x: Floats, w: Floats, b: Floats) -> tuple[Floats]:
        one = np.ones((x.shape[0], 1), x.dtype).view(type(x))
        return (arithmetic.matmul(np.concatenate([one, x], 1), np.concatenate([b[None], w])),)

    return Operation(
        f"forward of layer {layer}",
        "product and bias",
        (f"a{layer}",),
        inputs,
        lambda arithmetic, *given: (fc_forward(arithmetic, *given),),
        [("sums in another order", "the bias first", bias_first)],
    )


def _activation(layer: int, name: str) -> Operation:
    forward = ACTIVATIONS[name].forward
    return Operation(
        f"forward of layer {layer}",
        f"activation {name}",
        (f"h{layer + 1}",),
        (f"a{layer}",),
        lambda arithmetic, a: (arithmetic.elementwise(forward, a),),
    )


def _loss(method: Method, y: str, dy: str) -> list[Operation]:
    of = method.loss, method.weighted
    of_samples, factor, _ = LOSSES[method.loss]

    def total_over(arithmetic: Arithmetic, y: Floats, t: Floats) -> tuple[Floats]:
        losses, _ = of_samples(arithmetic, y, t[:, : y.shape[1]])
        if method.weighted:
            losses = t[:, y.shape[1]] * losses
        return (arithmetic.sum_of_rows(losses) / y.dtype.type(len(y)),)

    def over(arithmetic: Arithmetic, y: Floats, t: Floats) -> Floats:
        g = of_samples(arithmetic, y, t[:, : y.shape[1]])[1]
        return g * t[:, y.shape[1], None] if method.weighted else g

    def last(arithmetic: Arithmetic, y: Floats, t: Floats) -> tuple[Floats]:
        g = over(arithmetic, y, t)
        return (g * rounded(arithmetic.xp, factor, y.dtype) / y.dtype.type(len(y)),)

    def first(arithmetic: Arithmetic, y: Floats, t: Floats) -> tuple[Floats]:
        g = over(arithmetic, y, t)
        return (g / y.dtype.type(len(y)) * rounded(arithmetic.xp, factor, y.dtype),)

    def twice(arithmetic: Arithmetic, y: Floats, t: Floats) -> tuple[Floats]:
        g = over(arithmetic, y, t) * rounded(arithmetic.xp, factor, y.dtype)
        return (g * rounded(arithmetic.xp, 1 / len(y), y.dtype),)

    def joined(arithmetic: Arithmetic, y: Floats, t: Floats) -> tuple[Floats]:
        d = y - t
        squares = [arithmetic.matmul(row[None], row[:, None])[0] for row in d]
        total = arithmetic.sum_first(np.concatenate(squares))
        return (total * rounded(arithmetic.xp, 1 / len(y), y.dtype),)

    of_squares = method.loss == "mean_squared" and not method.weighted
    divided = "division by the number of samples"
    return [
        Operation(
            "loss",
            "value",
            ("loss",),
            (y, "t"),
            lambda arithmetic, y, t: (np.asarray(loss_and_gradient(arithmetic, y, t, *of).loss),),
            [
                ("division in place of a product", divided, total_over),
                *([("products fused into sums", "squares joined", joined)] if of_squares else []),
            ],
        ),
        Operation(
            "loss",
            "gradient",
            (dy,),
            (y, "t"),
            lambda arithmetic, y, t: (loss_and_gradient(arithmetic, y, t, *of).dy,),
            [
                ("division in place of a product", divided, last),
                ("division in place of a product", f"{divided}, first", first),
                ("constants rounded apart", "the factor and 1/N as two products", twice),
            ],
        ),
    ]


def _gradients(layer: int) -> list[Operation]:
    def dw(arithmetic: Arithmetic, dy: Floats, h: Floats) -> tuple[Floats]:
        return (parameter_gradients(arithmetic, dy, h)[0],)

    return [
        Operation(f"dw of layer {layer}", "", (f"dw{layer}",), (f"dy{layer}", f"h{layer}"), dw),
        Operation(
            f"db of layer {layer}",
            "",
            (f"db{layer}",),
            (f"dy{layer}",),
            lambda arithmetic, dy: (arithmetic.sum_of_rows(dy),),
        ),
    ]


def _input_gradients(layer: int, activation: str) -> list[Operation]:
    backward = ACTIVATIONS[activation].backward
    return [
        Operation(
            f"dx of layer {layer}",
            "product",
            (f"dx{layer}",),
            (f"dy{layer}", f"w{layer}"),
            lambda arithmetic, dy, w: (input_gradient(arithmetic, dy, w),),
        ),
        Operation(
            f"dx of layer {layer}",
            f"gradient of {activation}",
            (f"dy{layer - 1}",),
            (f"dx{layer}", f"h{layer}"),
            lambda arithmetic, dx, h: (arithmetic.elementwise(backward, dx, h),),
        ),
    ]


def _clipping(layers: int, most: Any) -> Operation:
    names = [f"d{array}{layer}" for layer in range(layers) for array in "wb"]

    def clip(arithmetic: Arithmetic, *gradients: Floats) -> tuple[Floats, ...]:
        pairs: Params = tuple(zip(gradients[::2], gradients[1::2], strict=True))
        largest = rounded(arithmetic.xp, most, gradients[0].dtype)
        return tuple(array for pair in clipped(arithmetic, pairs, largest) for array in pair)

    outputs = tuple(f"clipped {name}" for name in names)
    return Operation("clipping of the gradient", "", outputs, tuple(names), clip)


def _update(
    method: Method, array: str, layer: int, slots: int, constants: Constants, gradient: str
) -> Operation:
    rule = method.optimizer.rule
    own = tuple(f"{array}{layer}.slot{i}" for i in range(slots))

    def update(arithmetic: Arithmetic, p: Floats, dp: Floats, *kept: Floats) -> tuple[Floats, ...]:
        own = tuple(rounded(arithmetic.xp, value, p.dtype) for value in constants)
        new, slots = moved(arithmetic, rule, p, dp, list(kept), own, is_bias=array == "b")
        return new, *slots

    return Operation(
        f"update of {array} of layer {layer}",
        "",
        tuple(f"new {name}" for name in (f"{array}{layer}", *own)),
        (f"{array}{layer}", f"{gradient}{array}{layer}", *own),
        update,
    )
