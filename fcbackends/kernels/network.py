"""The two halves of a step on a whole network: forward and loss, backward and update.

Several threads share the work so that weights stay in the cache of the thread that moves them: of
a wide layer each has its panels, forward and in the update, and of a narrow one its rows. Where
threads shared a 784-256-10 step by samples and by rows of weights, or by columns of a matrix that
was not cut, two took 1.55 times less time than one, since the weights went to and fro between the
cores' caches.
"""

from __future__ import annotations

import functools
from typing import Any

from fcbackends.kernels.activations import (
    activate,
    activate_rows,
    activation_backward,
    waits_for_rows,
)
from fcbackends.kernels.elements import (
    DECAYS,
    MOST_CONSTANTS,
    Rule,
    decay,
    moving,
)
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.layout import ROWS_A_PASS
from fcbackends.kernels.losses import losses_of_rows
from fcbackends.kernels.matmul import NO_BIAS, PANEL_BYTES, Epilogue, multiply, panel_width
from fcbackends.kernels.threads import barrier, share
from fcbackends.kernels.tiles import ROWS, VECTOR_BYTES, Operand, transpose_block, transpose_edge
from fcbackends.kernels.views import matrix, row

FEW = 4
"""So many outputs' gradients are summed output by output."""


@inlined
def is_wide(outputs, itemsize, team):
    """Whether each of several threads has panels of its own in a layer with so many outputs."""
    return team.threads > 1 and outputs >= team.threads * panel_width(itemsize)


@inlined
def part(rows, outputs, itemsize, team):
    """A thread's part of a matrix: first and last + 1 of its rows, and of its columns."""
    if is_wide(outputs, itemsize, team):
        left, right = share(outputs, panel_width(itemsize), team)
        return 0, rows, left, right
    first, last = share(rows, ROWS, team)
    return first, last, 0, outputs


@inlined
def input_of(network, layer, team):
    """Where a layer's input stands: the first's is a thread's own, where it needs all its rows."""
    own = layer == 0 and is_wide(network.layers[0].outputs, network.memory.itemsize, team)
    return network.layers[layer].input + (team.thread * network.shared[0].input_size if own else 0)


@inlined
def _scratch(network, thread):
    """Where a thread's scratch room begins: for a gradient, and at its end for a panel."""
    return network.shared[0].scratch + thread * network.shared[0].scratch_size


@inlined
def _panel(network, team):
    """A thread's room for a panel of a product."""
    memory = network.memory
    end = _scratch(network, team.thread + 1)
    return Operand(memory, end - PANEL_BYTES // memory.itemsize, 0, 1)


@called
def forward_and_loss(network, rows, factor, team):
    """Each layer's output on the first `rows` rows, their losses, and the output's gradient.

    That is multiplied by `factor`. False where the threads are called off. Of the last layer's
    output, and of all that follows from it, each thread has only its own rows.
    """
    layers, memory = network.layers, network.memory
    depth = layers.shape[0]
    itemsize = memory.itemsize
    width = panel_width(itemsize)
    for number in range(depth):
        layer = layers[number]
        inputs, outputs = layer.inputs, layer.outputs
        first, last, left, right = part(rows, outputs, itemsize, team)
        h = input_of(network, number, team)
        is_last = number == depth - 1
        stride = outputs if is_last else outputs + 1
        out = layer.gradient if is_last else layers[number + 1].input
        # A sum of no terms is +0.0; the bias alone, as a term, may be -0.0.
        terms = inputs + 1 if inputs > 0 else 0
        # All whole panels, and then the last one, whose rows are shorter.
        whole = smaller(right, outputs // width * width)
        for start, stop in ((left, whole), (whole, right)):
            if start >= stop:
                continue
            used = smaller(width, stop - start)
            panels = layer.weights + (inputs + 1) * start
            multiply(
                network.arithmetic,
                Operand(memory, out + first * stride + start, stride, 1),
                Operand(memory, h + first * (inputs + 1), inputs + 1, 1),
                Operand(memory, panels, used, (inputs + 1) * used),
                last - first,
                terms,
                stop - start,
                _panel(network, team),
                Epilogue(memory, NO_BIAS if terms > 0 else panels, layer.activation),
            )
        if waits_for_rows(layer.activation):
            if right - left == outputs:
                activate_rows(layer.activation, memory, out + first * stride, last - first, outputs)
            else:
                for n in range(first, last):
                    activate(layer.activation, row(memory, out + n * stride + left, right - left))
        # A thread goes on with rows of which it has all columns, or waits for the others'.
        wide_next = not is_last and is_wide(layers[number + 1].outputs, itemsize, team)
        if (is_wide(outputs, itemsize, team) or wide_next) and not barrier(team):
            return False
    shared = network.shared[0]
    outputs = layers[depth - 1].outputs
    first, last = share(rows, ROWS, team)
    count, at = last - first, first * outputs
    losses_of_rows(
        shared.loss,
        row(memory, layers[depth - 1].gradient + at, count * outputs),
        row(memory, shared.targets + at, count * outputs),
        row(memory, shared.weights + first, count),
        row(memory, shared.losses + first, count),
        row(memory, shared.room + at, count * outputs),
        count,
        outputs,
        factor,
    )
    return True


@inlined
def mean_loss(network, rows):
    """The loss of the first `rows` samples, from those of each."""
    memory, losses = network.memory, network.shared[0].losses
    total = memory[losses]
    for n in range(1, rows):
        total = total + memory[losses + n]
    return total * memory.dtype.type(1.0 / rows)


@called
def backward(network, rows, team):
    """A thread's rows of the gradient of each layer's output, from the last layer's."""
    layers, memory = network.layers, network.memory
    first, last = share(rows, ROWS, team)
    for number in range(layers.shape[0] - 1, 0, -1):
        layer, before = layers[number], layers[number - 1]
        inputs, outputs = layer.inputs, layer.outputs
        multiply(
            network.arithmetic,
            Operand(memory, before.gradient + first * inputs, inputs, 1),
            Operand(memory, layer.gradient + first * outputs, outputs, 1),
            Operand(memory, layer.transposed, inputs, panel_width(memory.itemsize)),
            last - first,
            outputs,
            inputs,
            _panel(network, team),
            Epilogue(memory, NO_BIAS, 0),
        )
        count = last - first
        dh = row(memory, before.gradient + first * inputs, count * inputs)
        h = row(memory, layer.input + first * (inputs + 1), count * (inputs + 1))
        activation_backward(before.activation_backward, dh, h, count, inputs)


@functools.cache
def descending(rule: Rule) -> Any:
    """The descent by a rule: chosen where it is compiled, it costs others no time there."""
    update, way, decays_bias = moving((rule[0], "none", True, False)), DECAYS[rule[1]], int(rule[2])
    decays = way != 0

    @called
    def descend(network, rows, team):
        """A thread's part of all weights moves down the gradient, summed over so many rows."""
        memory, shared = network.memory, network.shared[0]
        constants = row(memory, shared.constants, MOST_CONSTANTS)
        scratch = _scratch(network, team.thread)
        itemsize = memory.itemsize
        for number in range(network.layers.shape[0]):
            layer = network.layers[number]
            inputs, outputs, dy = layer.inputs, layer.outputs, layer.gradient
            h = input_of(network, number, team)
            first, last, left, right = part(inputs + 1, outputs, itemsize, team)
            for column in range(left, right, panel_width(itemsize)):
                width = smaller(panel_width(itemsize), outputs - column)
                panel = layer.weights + (inputs + 1) * column
                # As much as the scratch room holds, or the cache.
                rows_a_pass = ROWS_A_PASS * panel_width(itemsize) // width
                for start in range(first, last, rows_a_pass):
                    count = smaller(rows_a_pass, last - start)
                    if rows == 1:
                        _outer(memory, scratch, h + start, count, dy + column, width)
                    elif outputs <= FEW:
                        # The columns as rows, whose neighbours fill vectors.
                        apart = scratch if outputs == 1 else _panel(network, team).at
                        multiply(
                            network.arithmetic,
                            Operand(memory, apart, count, 1),
                            Operand(memory, dy, 1, outputs),
                            Operand(memory, h + start, inputs + 1, panel_width(itemsize)),
                            outputs,
                            rows,
                            count,
                            _panel(network, team),
                            Epilogue(memory, NO_BIAS, 0),
                        )
                        for m in range(outputs if outputs > 1 else 0):
                            for i in range(count):
                                memory[scratch + i * outputs + m] = memory[apart + m * count + i]
                    else:
                        multiply(
                            network.arithmetic,
                            Operand(memory, scratch, width, 1),
                            Operand(memory, h + start, 1, inputs + 1),
                            Operand(memory, dy + column, outputs, 0),
                            count,
                            rows,
                            width,
                            _panel(network, team),
                            Epilogue(memory, NO_BIAS, 0),
                        )
                    gradient = row(memory, scratch, count * width)
                    at = panel + start * width
                    if decays:
                        decaying = smaller(count, inputs + decays_bias - start)
                        decay(way, memory, at, row(memory, scratch, decaying * width), constants)
                    update(memory, at, gradient, constants, shared.theta_size)
                if number > 0:
                    to = layer.transposed + column * inputs
                    _transpose(memory, panel, width, to, inputs, first, smaller(last, inputs))

    return descend


@called
def _transpose(memory, at, columns, to, rows, first, last):
    """Write the rows `first` to `last` - 1 of a matrix as columns of another, which has `rows`.

    Number by number, it took 2.3 of the 34 us of a step of 64-64-64-1 on 64 samples, and 1.1 of
    the 3.5 us of one of 64-128-10 on one.
    """
    size = VECTOR_BYTES // memory.itemsize
    whole = columns // size * size
    i = first
    while i + size <= last:
        for j in range(0, whole, size):
            transpose_block(
                Operand(memory, to + j * rows + i, rows, 0),
                Operand(memory, at + i * columns + j, columns, 0),
            )
        # Of fewer columns, number by number is sooner done.
        if columns - whole > size // 4:
            _transpose_edge(memory, at, columns, to, rows, i, whole, size)
        else:
            for j in range(whole, columns):
                for k in range(i, i + size):
                    memory[to + j * rows + k] = memory[at + k * columns + j]
        i += size
    if i < last:
        for j in range(0, columns, size):
            _transpose_edge(memory, at, columns, to, rows, i, j, last - i)


@inlined
def _transpose_edge(memory, at, columns, to, rows, i, j, height):
    """Write what there is of a vector's columns from j on, of so many rows from i on, as rows."""
    transpose_edge(
        Operand(memory, to + j * rows + i, rows, 0),
        Operand(memory, at + i * columns + j, columns, 0),
        height,
        smaller(VECTOR_BYTES // memory.itemsize, columns - j),
    )


@inlined
def _outer(memory, to, h, rows, dy, columns):
    """The gradient of one sample: the products of h and dy, alike in any arithmetic."""
    products = matrix(memory, to, rows, columns)
    factors, others = row(memory, h, rows), row(memory, dy, columns)
    for i in range(rows):
        for j in range(columns):
            products[i, j] = factors[i] * others[j]
