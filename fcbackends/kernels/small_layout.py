"""Where the numbers of a small network stand, for a kernel of its shape: in whole vectors."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fcbackends.kernels.layout import Pairs
from fcbackends.kernels.tiles import VECTOR_BYTES

LANES = VECTOR_BYTES // 4
"""Of the longest vectors: of float64, LLVM makes two registers."""

SUMS_AT_ONCE = 8
"""In registers: as many hide the additions' latency."""

_MOST_OUTPUTS_BY_COLUMNS = 4


class Rows(NamedTuple):
    """A matrix of so many rows from `at` on, each of so many vectors of so many lanes.

    A product keeps the sums of `vectors_at_once` of a row, or of `rows_at_once` times as many.
    """

    at: int
    lanes: int
    rows: int
    vectors: int
    vectors_at_once: int
    rows_at_once: int


class Layer(NamedTuple):
    """A layer's matrices and, in the memory of a sample, its input `x` and its output `y`.

    Its weights stand by rows, an input's one after another, by columns, an output's, or in both
    ways: a sum over inputs takes its vectors by rows, and one over outputs by columns. The bias is
    a row.
    """

    inputs: int
    outputs: int
    by_rows: Rows | None
    by_columns: Rows | None
    bias: Rows
    x: int
    y: int


class Plan(NamedTuple):
    """A network's layers, and the room for their numbers.

    That is, for all weights; for those of them that no others repeat, which stand first; and for
    all layers' outputs of one sample, the input among them.
    """

    layers: tuple[Layer, ...]
    weights: int
    unrepeated: int
    outputs: int


def is_by_columns(inputs: int, outputs: int) -> bool:
    """Whether a layer's sums go number by number: by rows, the vectors of few would be short."""
    return outputs <= _MOST_OUTPUTS_BY_COLUMNS and outputs < inputs


def _part(count: int, most: int) -> int:
    """The largest whole part of `count` that is no larger than `most`."""
    return next(part for part in range(max(most, 1), 0, -1) if count % part == 0)


@functools.lru_cache(maxsize=256)
def plan(sizes: tuple[int, ...], *, one_sample: bool) -> Plan:
    """Where all numbers of a network of these sizes stand, for batches of one or of any."""
    # A batch of one waits for each number's way into a vector and out of it: 2-3 took 9.1 ns with
    # vectors and takes 8.2 without, and on batches of 32 the other way round 158 and 240.
    fewest = 4 if one_sample else 2
    used = 0

    def lanes_of(length: int) -> int:
        return min(LANES, 1 << (length - 1).bit_length()) if length >= fewest else 1

    def width_of(length: int) -> int:
        lanes = lanes_of(length)
        return -(-length // lanes) * lanes

    def place(rows: int, length: int) -> Rows:
        nonlocal used
        at, used = used, used + rows * width_of(length)
        lanes = lanes_of(length)
        vectors = width_of(length) // lanes
        at_once = _part(vectors, SUMS_AT_ONCE)
        return Rows(at, lanes, rows, vectors, at_once, _part(rows, SUMS_AT_ONCE // at_once))

    layers: list[Layer] = []
    x = 0
    for inputs, outputs in itertools.pairwise(sizes):
        few = is_by_columns(inputs, outputs)
        by_rows = None if few else place(inputs, outputs)
        by_columns = place(outputs, inputs) if few else None
        y = x + width_of(inputs)
        layers.append(Layer(inputs, outputs, by_rows, by_columns, place(1, outputs), x, y))
        x = y
    # Updates go through all of it in the longest vectors.
    unrepeated = used = -(-used // LANES) * LANES
    for number, layer in enumerate(layers):
        if number > 0 and not layer.by_columns:
            layers[number] = layer._replace(by_columns=place(layer.outputs, layer.inputs))
    weights = -(-used // LANES) * LANES
    return Plan(tuple(layers), weights, unrepeated, x + width_of(sizes[-1]))


def _view(memory: NDArray[Any], rows: Rows, length: int) -> NDArray[Any]:
    width = rows.vectors * rows.lanes
    return memory[rows.at : rows.at + rows.rows * width].reshape(-1, width)[:, :length]


def _weights(layer: Layer, memory: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A layer's weights, as often as they stand there, as views (inputs, outputs)."""
    if layer.by_rows:
        yield _view(memory, layer.by_rows, layer.outputs)
    if layer.by_columns:
        yield _view(memory, layer.by_columns, layer.inputs).T


def write(plan: Plan, memory: NDArray[Any], pairs: Pairs) -> None:
    """Put the pairs (w, b) of all layers into a memory of `plan.weights` numbers."""
    for layer, (w, b) in zip(plan.layers, pairs, strict=True):
        for view in _weights(layer, memory):
            view[:] = w
        _view(memory, layer.bias, layer.outputs)[:] = b


def read(plan: Plan, memory: NDArray[Any]) -> Pairs:
    """The pairs (w, b) of all layers, as views."""
    return tuple(
        (next(_weights(layer, memory)), _view(memory, layer.bias, layer.outputs)[0])
        for layer in plan.layers
    )
