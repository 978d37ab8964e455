"""Products with a matrix that stands in whole vectors, row after row: its sizes are constants.

`weights` holds the matrix that `Rows` describes, and `memory` rows of numbers and of vectors: one
begins at `out`, a row of factors at `a`, and one beside which the matrix's rows stand at `b`.
"""

from __future__ import annotations

import functools
from typing import Any

from fcbackends.kernels.arithmetic import plus_product
from fcbackends.kernels.elements import update
from fcbackends.kernels.jit import inlined
from fcbackends.kernels.small_layout import SUMS_AT_ONCE
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
def move_rows(lanes: int) -> Any:
    """Each row_k moves down its gradient a[k] * b[j], where that is of one sample."""
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
                update(net.optimizer, net.weights, at, gradient, net.constants, distance)

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
