"""What goes between two layers, row by row.

A layer's record has two codes for it, forward and back: of nothing and of ReLU, which the kernels
contain, or else the address of a kernel. So kernels that many rows go through, and take seconds to
compile, need not know what they call: with all of this in them, a step's took 0.7 s longer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import config, types

from fcbackends.kernels import elementary
from fcbackends.kernels.calls import address, call
from fcbackends.kernels.jit import inlined, kernel
from fcbackends.kernels.vectors import constant, where
from fcbackends.kernels.views import row

_LEAKY_SLOPE = 0.01


class Activation(NamedTuple):
    """What becomes of a row: `forward` of sums, `backward` of gradients.

    Rows of vectors serve as well, unless it is `by_number`.
    """

    forward: Callable[..., None]
    """(values): makes sums what comes of them."""
    backward: Callable[..., None]
    """(dh, h): makes the gradient of h, which was activated, that of the sums."""
    by_number: bool = False


@inlined
def _identity(values):
    pass


@inlined
def _identity_backward(dh, h):
    pass


@inlined
def _relu(values):
    # A store whatever the value vectorises; a branch on the value is mispredicted half the time.
    for i in range(values.shape[0]):
        value = values[i]
        values[i] = where(value < 0, 0, value)


@inlined
def _relu_backward(dh, h):
    for i in range(dh.shape[0]):
        dh[i] = where(h[i] > 0, dh[i], 0)


@inlined
def _leaky_relu(values):
    for i in range(values.shape[0]):
        value = values[i]
        # NaN stays NaN in both ways.
        values[i] = where(value < 0, constant(_LEAKY_SLOPE, value) * value, value)


@inlined
def _leaky_relu_backward(dh, h):
    for i in range(dh.shape[0]):
        dh[i] = where(h[i] > 0, dh[i], constant(_LEAKY_SLOPE, dh[i]) * dh[i])


@inlined
def _tanh(values):
    for i in range(values.shape[0]):
        values[i] = elementary.tanh(values[i])


@inlined
def _tanh_backward(dh, h):
    for i in range(dh.shape[0]):
        dh[i] = dh[i] * (constant(1, h[i]) - h[i] * h[i])


@inlined
def _sigmoid(values):
    for i in range(values.shape[0]):
        values[i] = elementary.sigmoid(values[i])


@inlined
def _sigmoid_backward(dh, h):
    for i in range(dh.shape[0]):
        dh[i] = dh[i] * (h[i] * (constant(1, h[i]) - h[i]))


ACTIVATIONS = {
    "identity": Activation(_identity, _identity_backward),
    "relu": Activation(_relu, _relu_backward),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_backward),
    "tanh": Activation(_tanh, _tanh_backward, by_number=True),
    "sigmoid": Activation(_sigmoid, _sigmoid_backward, by_number=True),
}
"""By name."""

_IDENTITY, _RELU = 0, 1
_NAMES = list(ACTIVATIONS)


# --- by code -------------------------------------------------------------------------------------


def _forward(name: str) -> Callable[..., Any]:
    """The family of kernels that activate numbers."""
    function = ACTIVATIONS[name].forward

    def forward(values):
        function(values)

    forward.__name__ = name
    return kernel(lambda real, _: (real[::1],))(forward)


def _backward(name: str) -> Callable[..., Any]:
    """The family of kernels that go back through the activation of rows."""
    function = ACTIVATIONS[name].backward

    def backward(dh, h, rows, columns):
        _rows_backward(function, dh, h, rows, columns)

    backward.__name__ = f"{name}_backward"
    return kernel(lambda real, _: (real[::1], real[::1], types.int64, types.int64))(backward)


@inlined
def _rows_backward(function, dh, h, rows, columns):
    for n in range(rows):
        function(row(dh, n * columns, columns), row(h, n * (columns + 1), columns))


_KERNELS = {name: (_forward(name), _backward(name)) for name in _NAMES[_RELU + 1 :]}


@functools.cache
def codes(name: str, dtype: str) -> tuple[int, int]:
    """What the functions below know an activation by, for rows of a dtype."""
    if name not in _KERNELS or config.DISABLE_JIT:
        code = _NAMES.index(name)
        return code, code
    forward, backward = (address(family(dtype)) for family in _KERNELS[name])
    return forward, backward


def _interpreted(code: int, arguments: Any) -> None:
    activation = ACTIVATIONS[_NAMES[code]]
    if len(arguments) == 1:
        activation.forward(*arguments)
    else:
        _rows_backward(activation.backward, *arguments)


_call: Any = _interpreted if config.DISABLE_JIT else call


@inlined
def relu_at_once(code, values):
    """Put sums through ReLU, if that is their activation."""
    if code == _RELU:
        _relu(values)


@inlined
def waits_for_rows(code):
    """Whether sums are to be put through their activation by the functions below."""
    return code != _RELU and code != _IDENTITY


@inlined
def activate(code, values):
    """Put sums through an activation that has waited."""
    _call(code, (values,))


@inlined
def activate_rows(code, memory, at, rows, columns):
    """Put rows of sums, between which ones stand, through an activation that has waited.

    One by one, the ends of their loops took 0.9 ns a number in rows of 64.
    """
    stride = columns + 1
    activate(code, row(memory, at, rows * stride))
    for n in range(rows):
        memory[at + n * stride + columns] = 1


@inlined
def activation_backward(code, dh, h, rows, columns):
    """Make the gradient of rows h, which were activated, that of the sums; ones stand between."""
    if code == _RELU:
        _rows_backward(_relu_backward, dh, h, rows, columns)
    elif code != _IDENTITY:
        _call(code, (dh, h, rows, columns))
