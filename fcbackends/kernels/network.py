"""A whole network in one flat buffer, and the two halves of an SGD step on it.

A layer's weights and bias stand together as one matrix of K + 1 rows, the bias last, and each
layer's input h has a last column of ones: the bias is then the last term of each output's sum, as
the contract has it, and its gradient is the last row's. Multiplying by one is exact.

The first half of a step, forward and backward through the layers, is done by each thread for its
own samples; the second, gradients and update, for its own rows of the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.layers import ROWS_A_PASS, loss_of_sample, relu
from fcbackends.kernels.matmul import PANEL_BYTES, multiply
from fcbackends.kernels.threads import share
from fcbackends.kernels.tiles import ROWS, VECTOR_BYTES, Operand
from fcbackends.kernels.views import matrix

INPUTS, OUTPUTS, WEIGHTS, TRANSPOSED, INPUT, GRADIENT = range(6)
"""What a row of the layout tells of a layer: sizes, and the places in the buffer of its weights,
of the weights transposed, of its input and of its output's gradient."""

LEARNING_RATE, THETA, THETA_SIZE, PREVIOUS, TARGETS, SQUARES, SCRATCH, SCRATCH_SIZE = range(8)
"""What the layout's last row tells: the places of the learning rate, of all weights, of the last
finite ones, of the targets, of each sample's squared error and of each thread's scratch room."""


def layout(sizes: Sequence[int], rows: int, threads: int, itemsize: int) -> NDArray[np.int64]:
    """Where everything stands in a network's buffer: a row a layer, and one for what they share.

    Parameters
    ----------
    sizes : sequence of int
        The layers' sizes, inputs first.
    rows : int
        The most samples that are gone through at once.
    threads : int
        How many threads need scratch room.
    itemsize : int
        Bytes of a number.
    """
    pairs = list(itertools.pairwise(sizes))
    unit = VECTOR_BYTES // itemsize
    size = 0

    def place(length: int) -> int:
        """Room for so many numbers, beginning where a vector does."""
        nonlocal size
        at, size = size, size + -(-length // unit) * unit
        return at

    found = np.zeros((len(pairs) + 1, 8), np.int64)
    shared = found[-1]
    shared[LEARNING_RATE] = place(1)
    shared[THETA] = size
    for layer, (inputs, outputs) in zip(found, pairs, strict=False):
        layer[INPUTS], layer[OUTPUTS] = inputs, outputs
        layer[WEIGHTS] = place((inputs + 1) * outputs)
    shared[THETA_SIZE] = size - shared[THETA]
    shared[PREVIOUS] = place(int(shared[THETA_SIZE]))
    for number, (layer, (inputs, outputs)) in enumerate(zip(found, pairs, strict=False)):
        if number > 0:
            layer[TRANSPOSED] = place(inputs * outputs)
        layer[INPUT] = place(rows * (inputs + 1))
        layer[GRADIENT] = place(rows * outputs)
    shared[TARGETS] = place(rows * sizes[-1])
    shared[SQUARES] = place(rows)
    gradient_rows = ROWS_A_PASS * max(sizes[1:])
    shared[SCRATCH_SIZE] = gradient_rows + PANEL_BYTES // itemsize
    shared[SCRATCH] = place(threads * int(shared[SCRATCH_SIZE]))
    return found


def buffer_size(network: NDArray[np.int64], threads: int) -> int:
    """How many numbers the buffer of a layout holds."""
    return int(network[-1, SCRATCH] + threads * network[-1, SCRATCH_SIZE])


@called
def forward_and_loss(network, memory, first, last, two_over_n, panel_at):
    """Rows first to last - 1: each layer's output, squared errors, and the output's gradient."""
    depth = network.shape[0] - 1
    for layer in range(depth):
        inputs, outputs = network[layer, INPUTS], network[layer, OUTPUTS]
        is_last = layer == depth - 1
        stride = outputs if is_last else outputs + 1
        out = network[layer, GRADIENT] if is_last else network[layer + 1, INPUT]
        out += first * stride
        multiply(
            Operand(memory, out, stride, 1),
            Operand(memory, network[layer, INPUT] + first * (inputs + 1), inputs + 1, 1),
            Operand(memory, network[layer, WEIGHTS], outputs, 1),
            last - first,
            inputs + 1,
            outputs,
            Operand(memory, panel_at, 0, 1),
        )
        if not is_last:
            h = matrix(memory, out, last - first, stride)
            for row in range(last - first):
                relu(h[row, :outputs])
    outputs = network[depth - 1, OUTPUTS]
    y = matrix(memory, network[depth - 1, GRADIENT], last, outputs)
    t = matrix(memory, network[depth, TARGETS], last, outputs)
    squares = network[depth, SQUARES]
    for n in range(first, last):
        memory[squares + n] = loss_of_sample(y, t, y, n, two_over_n)


@called
def backward(network, memory, first, last, panel_at):
    """Rows first to last - 1: the gradient of each layer's output, from the last layer's."""
    for layer in range(network.shape[0] - 2, 0, -1):
        inputs, outputs = network[layer, INPUTS], network[layer, OUTPUTS]
        dx = network[layer - 1, GRADIENT] + first * inputs
        h = network[layer, INPUT] + first * (inputs + 1)
        multiply(
            Operand(memory, dx, inputs, 1),
            Operand(memory, network[layer, GRADIENT] + first * outputs, outputs, 1),
            Operand(memory, network[layer, TRANSPOSED], inputs, 1),
            last - first,
            outputs,
            inputs,
            Operand(memory, panel_at, 0, 1),
        )
        gradients = matrix(memory, dx, last - first, inputs)
        values = matrix(memory, h, last - first, inputs + 1)
        for n in range(last - first):
            relu_gradient(gradients[n], values[n])


@inlined
def relu_gradient(dx, h):
    """Put 0 where h is not positive."""
    zero = dx.dtype.type(0)
    for i in range(dx.shape[0]):
        value = dx[i]
        dx[i] = value if h[i] > 0 else zero


@called
def update(network, memory, rows, thread, threads, scratch_at):
    """A thread's rows of all weights move down their gradients, summed over the first `rows`."""
    depth = network.shape[0] - 1
    lr = memory[network[depth, LEARNING_RATE]]
    gradient = scratch_at
    panel_at = scratch_at + network[depth, SCRATCH_SIZE] - PANEL_BYTES // memory.itemsize
    for layer in range(depth):
        inputs, outputs = network[layer, INPUTS], network[layer, OUTPUTS]
        weights = network[layer, WEIGHTS]
        first, last = share(inputs + 1, ROWS, thread, threads)
        for row in range(first, last, ROWS_A_PASS):
            count = min(ROWS_A_PASS, last - row)
            if rows == 1:
                descend_on_one(
                    matrix(memory, weights + row * outputs, count, outputs),
                    matrix(memory, network[layer, INPUT] + row, 1, count)[0],
                    matrix(memory, network[layer, GRADIENT], 1, outputs)[0],
                    lr,
                )
                continue
            multiply(
                Operand(memory, gradient, outputs, 1),
                Operand(memory, network[layer, INPUT] + row, 1, inputs + 1),
                Operand(memory, network[layer, GRADIENT], outputs, 1),
                count,
                rows,
                outputs,
                Operand(memory, panel_at, 0, 1),
            )
            descend(
                matrix(memory, weights + row * outputs, 1, count * outputs)[0],
                matrix(memory, gradient, 1, count * outputs)[0],
                lr,
            )
        if layer > 0:
            w = matrix(memory, weights, inputs, outputs)
            w_transposed = matrix(memory, network[layer, TRANSPOSED], outputs, inputs)
            for j in range(outputs):
                for i in range(first, min(last, inputs)):
                    w_transposed[j, i] = w[i, j]


@inlined
def descend(weights, gradient, lr):
    """Move weights down their gradient."""
    for i in range(weights.shape[0]):
        weights[i] -= lr * gradient[i]


@inlined
def descend_on_one(weights, h, dy, lr):
    """Move weights down the gradient of one sample."""
    for i in range(weights.shape[0]):
        factor = h[i]
        for j in range(weights.shape[1]):
            weights[i, j] -= lr * (factor * dy[j])


@inlined
def mean_of_squares(network, memory, rows):
    """The loss of the first `rows` samples, from their squared errors."""
    squares = network[network.shape[0] - 1, SQUARES]
    total = memory[squares]
    for n in range(1, rows):
        total = total + memory[squares + n]
    return total * memory.dtype.type(1.0 / rows)


@inlined
def is_finite(value):
    """Whether a number is neither infinite nor NaN."""
    return value - value == 0
