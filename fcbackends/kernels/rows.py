"""Products with a matrix that stands in whole vectors, row after row: its sizes are constants.

`weights` holds the matrix that `Rows` describes, and `memory` rows of numbers and of vectors: one
begins at `out`, a row of factors at `a`, and one beside which the matrix's rows stand at `b`.
"""

from __future__ import annotations

import functools
from typing import Any

from fcbackends.kernels.arithmetic import plus_product
from fcbackends.kernels.elements import DECAYS, MOST_CONSTANTS, PLAIN, Rule, decay, moving, scale_to
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import inlined
from fcbackends.kernels.small_layout import LANES, SUMS_AT_ONCE, Layer, Plan, Rows
from fcbackends.kernels.tiles import VECTOR_BYTES, Operand, transpose_edge
from fcbackends.kernels.vectors import vectors
from fcbackends.kernels.views import local


@functools.cache
def sum_of_rows(lanes: int) -> Any:
    """out[j] = sum_k a[k] * row_k[j]."""
    new_sums, whole = local(SUMS_AT_ONCE * lanes), vectors(lanes)

    @inlined
    def sum_of_rows(arithmetic, weights, matrix, memory, a, out):
        terms, count, at_once = matrix.rows, matrix.vectors, matrix.vectors_at_once
        sums, y = whole(new_sums(memory), 0, at_once), whole(memory, out, count)
        w = whole(weights, matrix.at, terms * count)
        for first in range(0, count, at_once):
            for j in range(at_once):
                sums[j] = -0.0
            for k in range(terms):
                for j in range(at_once):
                    sums[j] = plus_product(
                        arithmetic, sums[j], memory[a + k], w[k * count + first + j]
                    )
            for j in range(at_once):
                y[first + j] = sums[j]

    return sum_of_rows


@inlined
def sums_in_rows(arithmetic, weights, matrix, memory, a, terms, out):
    """out[m] = sum_k a[k] * row_m[k], of so many terms."""
    width = matrix.vectors * matrix.lanes
    for m in range(matrix.rows):
        total = weights.dtype.type(-0.0)
        for k in range(terms):
            w = weights[matrix.at + m * width + k]
            total = plus_product(arithmetic, total, memory[a + k], w)
        memory[out + m] = total


@functools.cache
def move_rows(lanes: int, move: Any) -> Any:
    """Each row_k moves, as `move` does, down its gradient a[k] * b[j] of one sample."""
    new_gradient, whole = local(lanes), vectors(lanes)

    @inlined
    def move_rows(net, matrix, factors, a, others, b, distance):
        right = whole(others, b, matrix.vectors)
        gradient = whole(new_gradient(others), 0, 1)
        for k in range(matrix.rows):
            for j in range(matrix.vectors):
                # One product is the same in any arithmetic.
                gradient[0] = factors[a + k] * right[j]
                at = matrix.at + (k * matrix.vectors + j) * lanes
                move(net.weights, at, gradient, net.constants, distance)

    return move_rows


@functools.cache
def add_to_rows(lanes: int) -> Any:
    """gradient_k[j] goes on by sum_n a_n[k] * b_n[j], `stride` from one sample to the next."""
    new_sums, whole = local(SUMS_AT_ONCE * lanes), vectors(lanes)

    @inlined
    def add_to_rows(net, matrix, factors, a, others, b, samples, stride):
        count, at_once, rows = matrix.vectors, matrix.vectors_at_once, matrix.rows_at_once
        sums = whole(new_sums(others), 0, rows * at_once)
        gradient = whole(net.gradient, matrix.at, matrix.rows * count)
        for k in range(0, matrix.rows, rows):
            for j in range(0, count, at_once):
                for r in range(rows):
                    for v in range(at_once):
                        sums[r * at_once + v] = gradient[(k + r) * count + j + v]
                for n in range(samples):
                    right = whole(others, n * stride + b, count)
                    for r in range(rows):
                        factor = factors[n * stride + a + k + r]
                        for v in range(at_once):
                            sums[r * at_once + v] = plus_product(
                                net.arithmetic, sums[r * at_once + v], factor, right[j + v]
                            )
                for r in range(rows):
                    for v in range(at_once):
                        gradient[(k + r) * count + j + v] = sums[r * at_once + v]

    return add_to_rows


@functools.cache
def add_rows(lanes: int) -> Any:
    """out[j] goes on by b_n[j] of all samples, one after another."""
    whole = vectors(lanes)

    @inlined
    def add_rows(memory, out, count, others, b, samples, stride):
        sums = whole(memory, out, count)
        for n in range(samples):
            right = whole(others, n * stride + b, count)
            for j in range(count):
                sums[j] += right[j]

    return add_rows


def all_moving(plan: Plan, rule: Rule) -> Any:
    """The weights that no others repeat move down the whole batch's gradient."""
    whole = vectors(LANES)
    count = plan.unrepeated // LANES
    if rule[1] == "none" or rule[2]:
        move = moving(rule)

        @inlined
        def move_all(weights, gradient, constants, distance):
            move(weights, 0, whole(gradient, 0, count), constants, distance)

        return move_all
    # Decay of the weights comes before the update of them all.
    way, update = DECAYS[rule[1]], moving((rule[0], *PLAIN[1:]))

    @inlined
    def nothing(weights, gradient, constants):
        pass

    def followed(rows: Rows, before: Any) -> Any:
        whole = vectors(rows.lanes)

        @inlined
        def decay_all(weights, gradient, constants):
            before(weights, gradient, constants)
            part = whole(gradient, rows.at, rows.rows * rows.vectors)
            decay(way, weights, rows.at, part, constants)

        return decay_all

    decay_weights = nothing
    for layer in plan.layers:
        rows = layer.by_rows or layer.by_columns
        if rows:
            decay_weights = followed(rows, decay_weights)

    @inlined
    def decay_and_move(weights, gradient, constants, distance):
        decay_weights(weights, gradient, constants)
        update(weights, 0, whole(gradient, 0, count), constants, distance)

    return decay_and_move


def clipping(plan: Plan, rule: Rule) -> Any:
    """The whole batch's gradient is scaled down to the largest norm, if the rule has one."""

    @inlined
    def leave(gradient, constants):
        pass

    if not rule[4]:
        return leave

    @inlined
    def nothing(gradient):
        return gradient.dtype.type(0)

    def followed(layer: Layer, before: Any) -> Any:
        of_layer = _squares_by_rows(layer) if layer.by_rows else _squares_by_columns(layer)

        @inlined
        def squares(gradient):
            return before(gradient) + of_layer(gradient)

        return squares

    squares = nothing
    for layer in plan.layers:
        squares = followed(layer, squares)
    whole, count = vectors(LANES), plan.unrepeated // LANES

    @inlined
    def clip(gradient, constants):
        scale = scale_to(constants[MOST_CONSTANTS], squares(gradient))
        parts = whole(gradient, 0, count)
        for i in range(count):
            parts[i] = parts[i] * scale

    return clip


def _squares_by_rows(layer: Layer) -> Any:
    """The sum of a layer's squared gradients, whose columns stand beside each other."""
    rows: Any = layer.by_rows
    bias, outputs = layer.bias, layer.outputs
    whole, new_sums = vectors(bias.lanes), local(bias.vectors * bias.lanes)

    @inlined
    def squares(gradient):
        count, room = bias.vectors, new_sums(gradient)
        sums, of_bias = whole(room, 0, count), whole(gradient, bias.at, count)
        of_rows = whole(gradient, rows.at, rows.rows * count)
        for j in range(count):
            sums[j] = 0.0
        for k in range(rows.rows):
            for j in range(count):
                sums[j] += of_rows[k * count + j] * of_rows[k * count + j]
        for j in range(count):
            sums[j] += of_bias[j] * of_bias[j]
        total = gradient.dtype.type(0)
        for m in range(outputs):
            total += room[m]
        return total

    return squares


def _squares_by_columns(layer: Layer) -> Any:
    """The sum of a layer's squared gradients, whose columns stand one after another."""
    columns: Any = layer.by_columns
    bias, inputs = layer.bias, layer.inputs

    @inlined
    def squares(gradient):
        width = columns.vectors * columns.lanes
        total = gradient.dtype.type(0)
        for m in range(columns.rows):
            of_column = gradient.dtype.type(0)
            for k in range(inputs):
                value = gradient[columns.at + m * width + k]
                of_column += value * value
            of_bias = gradient[bias.at + m]
            total += of_column + of_bias * of_bias
        return total

    return squares


@functools.cache
def transposed(rows: Rows, columns: Rows) -> Any:
    """Weights by rows are written by columns as well, block by block."""
    inputs, outputs = rows.rows, columns.rows
    in_width, out_width = columns.vectors * columns.lanes, rows.vectors * rows.lanes

    @inlined
    def transpose(weights):
        size = VECTOR_BYTES // weights.itemsize
        whole = inputs // size * size if out_width >= size else 0
        for i in range(0, whole, size):
            # Of a row's last vector, all is there to be read.
            for j in range(0, outputs, size):
                transpose_edge(
                    Operand(weights, columns.at + j * in_width + i, in_width, 0),
                    Operand(weights, rows.at + i * out_width + j, out_width, 0),
                    size,
                    smaller(size, outputs - j),
                )
        for m in range(outputs):
            for k in range(whole, inputs):
                to, source = columns.at + m * in_width + k, rows.at + k * out_width + m
                weights[to] = weights[source]

    return transpose


def repetition(plan: Plan) -> Any:
    """Weights by rows are written by columns as well."""

    @inlined
    def nothing(weights):
        pass

    def followed(transpose: Any, before: Any) -> Any:
        @inlined
        def repeat(weights):
            before(weights)
            transpose(weights)

        return repeat

    repeat = nothing
    for layer in plan.layers:
        if layer.by_rows and layer.by_columns:
            repeat = followed(transposed(layer.by_rows, layer.by_columns), repeat)
    return repeat
