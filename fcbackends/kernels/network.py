"""A whole network in one flat buffer, and the two halves of an SGD step on it.

A layer's weights and bias stand together as one matrix of K + 1 rows, the bias last, and each
layer's input h has a last column of ones: the bias is then the last term of each output's sum, as
the contract has it, and its gradient is the last row's. Multiplying by one is exact.

The matrix is cut into panels of as many columns as a tile goes through, one panel after another.
Several threads share the work so that weights stay in the cache of the thread that moves them: of
a wide layer each has its panels, forward and in the update, and of a narrow one its rows. Where
threads shared a 784-256-10 step by samples and by rows of weights, or by columns of a matrix that
was not cut, two took 1.55 times less time than one, since the weights went to and fro between the
cores' caches.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.layers import loss_of_sample
from fcbackends.kernels.matmul import (
    NO_BIAS,
    PANEL_BYTES,
    PANEL_ROW_BYTES,
    Finish,
    multiply,
    panel_width,
)
from fcbackends.kernels.threads import barrier, share
from fcbackends.kernels.tiles import ROWS, VECTOR_BYTES, Operand
from fcbackends.kernels.views import matrix

ROWS_A_PASS = 64
"""So many rows of a panel of weights are moved while their gradient is in the cache."""

INPUTS, OUTPUTS, WEIGHTS, TRANSPOSED, INPUT, GRADIENT = range(6)
"""What a row of the layout tells of a layer: sizes, and the places in the buffer of its weights,
of the weights transposed, of its input and of its output's gradient."""

(
    LEARNING_RATE,
    THETA,
    THETA_SIZE,
    PREVIOUS,
    INPUT_SIZE,
    TARGETS,
    SQUARES,
    SCRATCH,
    SCRATCH_SIZE,
) = range(9)
"""What the layout's last row tells: the places of the learning rate, of all weights, of the last
finite ones, of the targets, of each sample's squared error and of each thread's scratch room. Each
thread has room of INPUT_SIZE for an input of the first layer, and of SCRATCH_SIZE for scratch."""


def layout(sizes: Sequence[int], rows: int, threads: int, itemsize: int) -> NDArray[np.int64]:
    """Where everything stands in a network's buffer: a row a layer, and one for what they share.

    Parameters
    ----------
    sizes : sequence of int
        The layers' sizes, inputs first.
    rows : int
        The most samples that are gone through at once.
    threads : int
        How many threads need room of their own.
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

    found = np.zeros((len(pairs) + 1, 9), np.int64)
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
        layer[INPUT] = size
        for _ in range(threads if number == 0 else 1):
            place(rows * (inputs + 1))
        if number == 0:
            shared[INPUT_SIZE] = (size - layer[INPUT]) // threads
        layer[GRADIENT] = place(rows * outputs)
    shared[TARGETS] = place(rows * sizes[-1])
    shared[SQUARES] = place(rows)
    gradient_room = ROWS_A_PASS * PANEL_ROW_BYTES
    shared[SCRATCH_SIZE] = (gradient_room + PANEL_BYTES) // itemsize
    shared[SCRATCH] = place(threads * int(shared[SCRATCH_SIZE]))
    return found


def buffer_size(network: NDArray[np.int64], threads: int) -> int:
    """How many numbers the buffer of a layout holds."""
    return int(network[-1, SCRATCH] + threads * network[-1, SCRATCH_SIZE])


@inlined
def is_wide(outputs, itemsize, threads):
    """Whether each of several threads has panels of its own in a layer with so many outputs."""
    return threads > 1 and outputs >= threads * panel_width(itemsize)


@inlined
def part(rows, outputs, itemsize, thread, threads):
    """A thread's part of a matrix: first and last + 1 of its rows, and of its columns."""
    if is_wide(outputs, itemsize, threads):
        left, right = share(outputs, panel_width(itemsize), thread, threads)
        return 0, rows, left, right
    first, last = share(rows, ROWS, thread, threads)
    return first, last, 0, outputs


@inlined
def own_input(network, itemsize, thread, threads):
    """Where a thread's input of the first layer stands: its own, where it needs all rows of it."""
    if is_wide(network[0, OUTPUTS], itemsize, threads):
        return network[0, INPUT] + thread * network[network.shape[0] - 1, INPUT_SIZE]
    return network[0, INPUT]


@inlined
def scratch_of(network, thread):
    """Where a thread's scratch room begins."""
    shared = network[network.shape[0] - 1]
    return shared[SCRATCH] + thread * shared[SCRATCH_SIZE]


@inlined
def panel_of(network, memory, thread):
    """A thread's room for a panel of a product, at the end of its scratch room."""
    end = scratch_of(network, thread + 1)
    return Operand(memory, end - PANEL_BYTES // memory.itemsize, 0, 1)


@called
def forward_and_loss(network, memory, rows, two_over_n, meeting, thread, threads):
    """Each layer's output on the first `rows` rows, squared errors, and the output's gradient.

    False where the threads are called off. Of the last layer's output, and of all that follows
    from it, each thread has only its own rows.
    """
    depth = network.shape[0] - 1
    itemsize = memory.itemsize
    for layer in range(depth):
        inputs, outputs = network[layer, INPUTS], network[layer, OUTPUTS]
        first, last, left, right = part(rows, outputs, itemsize, thread, threads)
        h = network[layer, INPUT] if layer > 0 else own_input(network, itemsize, thread, threads)
        is_last = layer == depth - 1
        stride = outputs if is_last else outputs + 1
        out = network[layer, GRADIENT] if is_last else network[layer + 1, INPUT]
        # All whole panels, and then the last one, whose rows are shorter.
        whole = min(right, outputs // panel_width(itemsize) * panel_width(itemsize))
        for start, stop in ((left, whole), (whole, right)):
            width = min(panel_width(itemsize), stop - start)
            place = network[layer, WEIGHTS] + (inputs + 1) * start
            multiply(
                Operand(memory, out + first * stride + start, stride, 1),
                Operand(memory, h + first * (inputs + 1), inputs + 1, 1),
                Operand(memory, place, width, (inputs + 1) * width),
                last - first,
                inputs + 1,
                stop - start,
                panel_of(network, memory, thread),
                Finish(memory, NO_BIAS, 0 if is_last else 1),
            )
        # A thread goes on with rows of which it has all columns, or waits for the others'.
        wide_next = not is_last and is_wide(network[layer + 1, OUTPUTS], itemsize, threads)
        if (is_wide(outputs, itemsize, threads) or wide_next) and not barrier(
            meeting, thread, threads
        ):
            return False
    outputs = network[depth - 1, OUTPUTS]
    y = matrix(memory, network[depth - 1, GRADIENT], rows, outputs)
    t = matrix(memory, network[depth, TARGETS], rows, outputs)
    squares = network[depth, SQUARES]
    first, last = share(rows, ROWS, thread, threads)
    for n in range(first, last):
        memory[squares + n] = loss_of_sample(y, t, y, n, two_over_n)
    return True


@called
def backward(network, memory, rows, thread, threads):
    """A thread's rows of the gradient of each layer's output, from the last layer's."""
    itemsize = memory.itemsize
    first, last = share(rows, ROWS, thread, threads)
    for layer in range(network.shape[0] - 2, 0, -1):
        inputs, outputs = network[layer, INPUTS], network[layer, OUTPUTS]
        dx = network[layer - 1, GRADIENT]
        multiply(
            Operand(memory, dx + first * inputs, inputs, 1),
            Operand(memory, network[layer, GRADIENT] + first * outputs, outputs, 1),
            Operand(memory, network[layer, TRANSPOSED], inputs, panel_width(itemsize)),
            last - first,
            outputs,
            inputs,
            panel_of(network, memory, thread),
            Finish(memory, NO_BIAS, 0),
        )
        gradients = matrix(memory, dx, last, inputs)
        values = matrix(memory, network[layer, INPUT], last, inputs + 1)
        for n in range(first, last):
            relu_gradient(gradients[n], values[n])


@inlined
def relu_gradient(dx, h):
    """Put 0 where h is not positive."""
    zero = dx.dtype.type(0)
    for i in range(dx.shape[0]):
        value = dx[i]
        dx[i] = value if h[i] > 0 else zero


@called
def update(network, memory, rows, thread, threads):
    """A thread's part of all weights moves down the gradient, summed over the first `rows` rows."""
    depth = network.shape[0] - 1
    lr = memory[network[depth, LEARNING_RATE]]
    gradient = scratch_of(network, thread)
    itemsize = memory.itemsize
    for layer in range(depth):
        inputs, outputs = network[layer, INPUTS], network[layer, OUTPUTS]
        h = network[layer, INPUT] if layer > 0 else own_input(network, itemsize, thread, threads)
        dy = network[layer, GRADIENT]
        first, last, left, right = part(inputs + 1, outputs, itemsize, thread, threads)
        for column in range(left, right, panel_width(itemsize)):
            width = min(panel_width(itemsize), outputs - column)
            place = network[layer, WEIGHTS] + (inputs + 1) * column
            panel = matrix(memory, place, inputs + 1, width)
            if rows == 1:
                for i in range(first, last):
                    dy_of_panel = matrix(memory, dy + column, 1, width)[0]
                    descend_on_one(panel[i], memory[h + i], dy_of_panel, lr)
            else:
                for row in range(first, last, ROWS_A_PASS):
                    count = min(ROWS_A_PASS, last - row)
                    multiply(
                        Operand(memory, gradient, width, 1),
                        Operand(memory, h + row, 1, inputs + 1),
                        Operand(memory, dy + column, outputs, 0),
                        count,
                        rows,
                        width,
                        panel_of(network, memory, thread),
                        Finish(memory, NO_BIAS, 0),
                    )
                    descend(
                        matrix(memory, place + row * width, 1, count * width)[0],
                        matrix(memory, gradient, 1, count * width)[0],
                        lr,
                    )
            if layer > 0:
                transposed = network[layer, TRANSPOSED] + column * inputs
                w_transposed = matrix(memory, transposed, width, inputs)
                for j in range(width):
                    for i in range(first, min(last, inputs)):
                        w_transposed[j, i] = panel[i, j]


@inlined
def descend(weights, gradient, lr):
    """Move weights down their gradient."""
    for i in range(weights.shape[0]):
        weights[i] -= lr * gradient[i]


@inlined
def descend_on_one(weights, factor, dy, lr):
    """Move a row of weights down the gradient of one sample."""
    for j in range(weights.shape[0]):
        weights[j] -= lr * (factor * dy[j])


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
