"""The update of a whole network: the gradient of all weights, and their way down it."""

from __future__ import annotations

import functools
from typing import Any

from fcbackends.kernels.blocks import Blocks, multiply_one_block, multiply_samples
from fcbackends.kernels.elements import (
    DECAYS,
    MOST_CONSTANTS,
    PLAIN,
    Rule,
    decay,
    moving,
    scale_to,
    suffix,
)
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.layout import ROWS_A_PASS
from fcbackends.kernels.matmul import panel_width
from fcbackends.kernels.network import input_of, panel_of, part, scratch_of
from fcbackends.kernels.threads import barrier, no_stop_word, share, stop_word
from fcbackends.kernels.tiles import VECTOR_BYTES, Operand, transpose_block, transpose_edge
from fcbackends.kernels.views import matrix, row

FEW = 4
"""So many outputs' gradients are summed output by output."""


def _through_weights(rule: Rule, *, sums: bool, moves: bool, in_blocks: bool) -> Any:
    """A thread goes through its part of all weights: it sums the gradient, moves them, or both.

    Where it does both, a gradient lasts for a pass; otherwise it is kept and, where the rule is
    clipped, scaled before weights move. Where no weight moves, it can be called off.
    """
    update, way, decays_bias = moving((rule[0], *PLAIN[1:])), DECAYS[rule[1]], int(rule[2])
    decays, at_once, clips = way != 0, sums and moves, rule[4]
    multiply = multiply_samples if in_blocks else multiply_one_block

    def descend(network, rows, team):
        memory, shared = network.memory, network.shared[0]
        constants = row(memory, shared.constants, MOST_CONSTANTS)
        scratch = scratch_of(network, team.thread)
        itemsize = memory.itemsize
        stop = no_stop_word(team) if moves else stop_word(team)
        sums_at = scratch + ROWS_A_PASS * panel_width(itemsize)
        blocks = Blocks(shared.rows_per_block, memory, sums_at)
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
                    at = panel + start * width
                    to = scratch if at_once else shared.gradients + at - shared.theta
                    if sums:
                        if rows == 1:
                            _outer(memory, to, h + start, count, dy + column, width)
                        elif outputs <= FEW:
                            # The columns as rows, whose neighbours fill vectors.
                            apart = to if outputs == 1 else panel_of(network, team).at
                            multiply(
                                network.arithmetic,
                                Operand(memory, apart, count, 1),
                                Operand(memory, dy, 1, outputs),
                                Operand(memory, h + start, inputs + 1, panel_width(itemsize)),
                                outputs,
                                rows,
                                count,
                                panel_of(network, team),
                                stop,
                                blocks,
                            )
                            for m in range(outputs if outputs > 1 else 0):
                                for i in range(count):
                                    memory[to + i * outputs + m] = memory[apart + m * count + i]
                        else:
                            multiply(
                                network.arithmetic,
                                Operand(memory, to, width, 1),
                                Operand(memory, h + start, 1, inputs + 1),
                                Operand(memory, dy + column, outputs, 0),
                                count,
                                rows,
                                width,
                                panel_of(network, team),
                                stop,
                                blocks,
                            )
                    if moves:
                        gradient = row(memory, to, count * width)
                        if clips:
                            scale = memory[scratch]
                            for i in range(count * width):
                                gradient[i] *= scale
                        if decays:
                            decaying = smaller(count, inputs + decays_bias - start)
                            decay(way, memory, at, row(memory, to, decaying * width), constants)
                        update(memory, at, gradient, constants, shared.theta_size)
                if moves and number > 0:
                    to = layer.transposed + column * inputs
                    _transpose(memory, panel, width, to, inputs, first, smaller(last, inputs))
        return True

    return _named(descend, f"{suffix(rule)}_{sums}_{moves}_{in_blocks}")


def _named(function: Any, more: str) -> Any:
    """A part of kernels by a name of its own.

    Kernels that are read from the cache bring their parts with them, and of two by one name the
    process uses either.
    """
    function.__qualname__ += more
    return called(function)


@functools.cache
def descending(rule: Rule, *, at_last: bool, in_blocks: bool) -> Any:
    """The descent by a rule: chosen where it is compiled, it costs others no time there.

    It is a function (network, rows, team): a thread's part of all weights moves down the gradient,
    summed over so many rows. Where the rule is clipped, or weights move `at_last`, when all of the
    gradient is there, the threads wait for each other on the way. False where they have agreed to
    go on no further, and no weight has moved. Only where sums are `in_blocks`, rows may be several.
    """
    if rule[4] or at_last:
        return _descending_at_last(rule, in_blocks=in_blocks)
    return _through_weights(rule, sums=True, moves=True, in_blocks=in_blocks)


def _descending_at_last(rule: Rule, *, in_blocks: bool) -> Any:
    clips = rule[4]
    sum_gradient = _through_weights(rule, sums=True, moves=False, in_blocks=in_blocks)
    move = _through_weights(rule, sums=False, moves=True, in_blocks=False)

    def descend(network, rows, team):
        memory = network.memory
        sum_gradient(network, rows, team)
        if not barrier(team):
            return False
        if clips:
            _sum_squares(network, team)
            if not barrier(team):
                return False
            most = memory[network.shared[0].constants + MOST_CONSTANTS]
            # Scratch room is free: the gradient is kept elsewhere.
            memory[scratch_of(network, team.thread)] = scale_to(most, _sum_of_squares(network))
        move(network, rows, team)
        return True

    return _named(descend, f"{suffix(rule)}_{in_blocks}")


@called
def _sum_squares(network, team):
    """Sum the squares of all gradients over each column of a thread's panels."""
    memory, shared = network.memory, network.shared[0]
    size, at = panel_width(memory.itemsize), shared.squares
    for number in range(network.layers.shape[0]):
        layer = network.layers[number]
        rows, outputs = layer.inputs + 1, layer.outputs
        left, right = share(outputs, size, team)
        for column in range(left, right, size):
            width = smaller(size, outputs - column)
            panel = shared.gradients + layer.weights - shared.theta + rows * column
            squares = row(memory, at + column, width)
            for j in range(width):
                squares[j] = 0
            for i in range(rows):
                gradient = row(memory, panel + i * width, width)
                for j in range(width):
                    squares[j] += gradient[j] * gradient[j]
        at += outputs


@inlined
def _sum_of_squares(network):
    """The sum of all gradients' squares, from those of the columns."""
    memory, at = network.memory, network.shared[0].squares
    total = memory.dtype.type(0)
    for number in range(network.layers.shape[0]):
        of_layer = memory.dtype.type(0)
        for m in range(network.layers[number].outputs):
            of_layer = of_layer + memory[at + m]
        total = total + of_layer
        at += network.layers[number].outputs
    return total


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
