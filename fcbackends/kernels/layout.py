"""Where a whole network stands in one flat buffer.

A layer's weights and bias stand together as one matrix of K + 1 rows, the bias last, and each
layer's input h has a last column of ones: the bias is then the last term of each output's sum, as
the contract has it, and its gradient is the last row's. Multiplying by one is exact.

The matrix is cut into panels of as many columns as a tile goes through, one panel after another.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from fcbackends.kernels import activations, losses
from fcbackends.kernels.blocks import ONE_BLOCK, most_waiting
from fcbackends.kernels.elements import MOST_CONSTANTS
from fcbackends.kernels.matmul import PANEL_BYTES, PANEL_ROW_BYTES
from fcbackends.kernels.tiles import VECTOR_BYTES

ROWS_A_PASS = 64
"""So many rows of a panel of weights are moved while their gradient is in the cache."""

STEPS_A_COPY = 64
"""So many single steps are written down before all weights are looked at and copied again: each
time, that took 1.0 of the 5.6 us of a step of 64-128-10."""


Pairs: TypeAlias = "Sequence[tuple[NDArray[Any], NDArray[Any]]]"
"""One (w, b) a layer."""


class Panel(NamedTuple):
    """A panel's columns, and their weights and biases in a buffer."""

    columns: slice
    w: NDArray[Any]
    b: NDArray[Any]


Views: TypeAlias = "tuple[tuple[Panel, ...], ...]"
"""The panels of each layer."""


class Layer(NamedTuple):
    """A layer's sizes, its activation's codes, once they are linked, and places in the buffer.

    Those are of its weights, of the weights transposed, of its input, and of its output's gradient.
    """

    inputs: int
    outputs: int
    activation: int
    activation_backward: int
    weights: int
    transposed: int
    input: int
    gradient: int


class Shared(NamedTuple):
    """What the layers share: the loss's code, once it is linked, and places.

    There is room for `capacity` rows, and a target is `target_size` numbers. The places are those
    of the update's constants, of all weights, of a copy of them, of what was written down since, of
    the targets, of each sample's weight and loss, of room for as many numbers as there are targets,
    and of the threads' scratch room. What the optimizer keeps beside each weight stands after all
    weights, copy after copy of `theta_size`; `state_size` is that of all. Each thread has room of
    `input_size` for an input of the first layer, and of `scratch_size` for scratch. Where they are
    kept, at `gradients` stand those of all weights, as the weights do; where their norm is bounded,
    at `squares` a sum for each column of theirs. Sums over samples are of blocks of
    `rows_per_block`; those that wait stand in a thread's scratch room, behind a gradient.

    At `taken` stands how many steps were written down, then whether they are all that were taken
    since the copy was made, and then the sample of each, x and t.
    """

    loss: int
    capacity: int
    target_size: int
    constants: int
    theta: int
    theta_size: int
    state_size: int
    previous: int
    taken: int
    input_size: int
    targets: int
    weights: int
    losses: int
    room: int
    scratch: int
    scratch_size: int
    gradients: int
    squares: int
    rows_per_block: int


class Layout(NamedTuple):
    """Where everything stands in a buffer of `size` numbers, with room for so many threads.

    What lasts from step to step stands in the first `lasting`, wherever there is room for.
    `between` and `loss` are names, whose codes `link` writes.
    """

    between: tuple[str, ...]
    loss: str
    layers: tuple[Layer, ...]
    shared: Shared
    threads: int
    lasting: int
    size: int


class Network(NamedTuple):
    """A network as kernels know it: records of its layers and of what they share, and a buffer.

    The arithmetic is there for its type.
    """

    layers: Any
    shared: Any
    memory: Any
    arithmetic: Any


def _record(fields: type[Layer | Shared]) -> np.dtype[Any]:
    return np.dtype([(field, np.int64) for field in fields._fields], align=True)


_LAYER, _SHARED = _record(Layer), _record(Shared)


def network_type(real: types.Float, arithmetic: types.Type) -> types.Type:
    """The type of a Network of this dtype and arithmetic."""
    layers, shared = (numba.from_dtype(record)[::1] for record in (_LAYER, _SHARED))
    return types.NamedTuple((layers, shared, real[::1], arithmetic), Network)


@functools.lru_cache(maxsize=64)
def lay_out(
    sizes: tuple[int, ...],
    capacity: int,
    threads: int,
    itemsize: int,
    *,
    between: tuple[str, ...],
    loss: str,
    weighted: bool,
    slots: int,
    clipped: bool,
    kept: bool,
    rows_per_block: int = ONE_BLOCK,
) -> Layout:
    """Find a place for everything, where numbers have so many bytes.

    `sizes` are the layers', inputs first; `capacity` is the most samples that are gone through at
    once, `threads` how many need room of their own, `slots` how many numbers are kept beside each
    weight, `clipped` whether the gradient's norm is bounded, `kept` whether all of it is there
    before a weight moves, and `rows_per_block` how many samples are a block of a sum. `between` and
    `loss` are names in the tables of `fcbackends.kernels.activations`, one for each layer but the
    last, and of `fcbackends.kernels.losses`. Where samples are `weighted`, the weight stands behind
    their targets.
    """
    unit = VECTOR_BYTES // itemsize
    size = 0

    def whole(length: int) -> int:
        """A length up to where the next vector begins."""
        return -(-length // unit) * unit

    def place(length: int) -> int:
        nonlocal size
        at, size = size, size + whole(length)
        return at

    pairs = list(itertools.pairwise(sizes))
    target_size = sizes[-1] + weighted
    constants, theta = place(MOST_CONSTANTS + clipped), size
    weights = [place((inputs + 1) * outputs) for inputs, outputs in pairs]
    theta_size = size - theta
    place(slots * theta_size)
    state_size = size - theta
    previous = place(state_size)
    taken = place(2 + STEPS_A_COPY * (sizes[0] + target_size))
    transposed = [place(inputs * outputs) for inputs, outputs in pairs[1:]]
    lasting = size
    input_size = whole(capacity * (sizes[0] + 1))
    layers = []
    for number, (inputs, outputs) in enumerate(pairs):
        is_first = number == 0
        layers.append(
            Layer(
                inputs,
                outputs,
                0,
                0,
                weights[number],
                transposed=0 if is_first else transposed[number - 1],
                input=place(threads * input_size if is_first else capacity * (inputs + 1)),
                gradient=place(capacity * outputs),
            )
        )
    targets, room = place(capacity * sizes[-1]), place(capacity * sizes[-1])
    weights_of_samples, of_samples = place(capacity), place(capacity)
    gradients = 1 + most_waiting(capacity, rows_per_block)
    scratch_size = (gradients * ROWS_A_PASS * PANEL_ROW_BYTES + PANEL_BYTES) // itemsize
    shared = Shared(
        0,
        capacity,
        target_size,
        constants,
        theta,
        theta_size,
        state_size,
        previous,
        taken,
        input_size,
        targets,
        weights_of_samples,
        of_samples,
        room,
        scratch=place(threads * scratch_size),
        scratch_size=scratch_size,
        gradients=place(theta_size if kept else 0),
        squares=place(sum(sizes[1:]) if clipped else 0),
        rows_per_block=rows_per_block,
    )
    return Layout(between, loss, tuple(layers), shared, threads, lasting, size)


def new_network(layout: Layout, dtype: np.dtype[Any], arithmetic: Any) -> Network:
    """A network of this layout, all zeros but for what multiplies biases and samples: ones."""
    memory, shared = aligned_zeros(layout.size, dtype), layout.shared
    memory[shared.weights : shared.weights + shared.capacity] = 1
    for number, layer in enumerate(layout.layers):
        for thread in range(1 if number else layout.threads):
            at = layer.input + thread * shared.input_size
            _matrix(memory, at, shared.capacity, layer.inputs + 1)[:, -1] = 1
    return Network(*_records(layout), memory, arithmetic)


def link(layout: Layout, network: Network) -> None:
    """Write the codes of activations and loss, which no kernel for a small shape asks for.

    What they stand for is compiled for it, in up to a third of the time of a small kernel.
    """
    dtype = network.memory.dtype.name
    for layer, name in zip(network.layers, (*layout.between, "identity"), strict=True):
        layer["activation"], layer["activation_backward"] = activations.codes(name, dtype)
    network.shared["loss"] = losses.code(layout.loss, dtype)


@functools.lru_cache(maxsize=64)
def _records(layout: Layout) -> tuple[Any, Any]:
    """The layers and what they share, as kernels read them."""
    layers = np.array(list(layout.layers), _LAYER)
    shared = np.array([layout.shared], _SHARED)
    if numba.config.DISABLE_JIT:
        return layers.view(np.recarray), shared.view(np.recarray)
    return layers, shared


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin where a vector register's worth of memory does.

    Rows that straddle cache lines took a step of 64-32-10 from 16 to 23 us.
    """
    space = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    start = -space.__array_interface__["data"][0] % VECTOR_BYTES
    return space[start : start + size * dtype.itemsize].view(dtype)


def _matrix(memory: NDArray[Any], at: int, rows: int, columns: int) -> NDArray[Any]:
    return memory[at : at + rows * columns].reshape(rows, columns)


def views(layout: Layout, memory: NDArray[Any], copy: int) -> Views:
    """The panels in the copy of all weights that stands at `copy`."""
    return tuple(tuple(_panels(layout, memory, layer, copy)) for layer in layout.layers)


def _panels(layout: Layout, memory: NDArray[Any], layer: Layer, copy: int) -> Iterator[Panel]:
    at, rows = copy + layer.weights - layout.shared.theta, layer.inputs + 1
    width = PANEL_ROW_BYTES // memory.itemsize
    for first in range(0, max(layer.outputs, 1), width):
        panel = _matrix(memory, at + rows * first, rows, min(width, layer.outputs - first))
        yield Panel(slice(first, first + width), panel[:-1], panel[-1])


def read(views: Views) -> Any:
    """The pairs (w, b) that stand in the panels, in arrays of their own."""
    return tuple(map(_read_layer, views))


def _read_layer(panels: tuple[Panel, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(panels) == 1:
        return panels[0].w.copy(), panels[0].b.copy()
    w, b = (np.concatenate(parts, axis=-1) for parts in zip(*[p[1:] for p in panels], strict=True))
    return w, b


def write(views: Views, pairs: Pairs) -> None:
    """Put pairs (w, b) into the panels."""
    for panels, (w, b) in zip(views, pairs, strict=True):
        if len(panels) == 1:
            panels[0].w[...], panels[0].b[...] = w, b
            continue
        for columns, to_w, to_b in panels:
            to_w[...], to_b[...] = w[:, columns], b[columns]


def transposed(layout: Layout, memory: NDArray[Any]) -> list[NDArray[Any]]:
    """Where the weights of all layers but the first stand transposed."""
    return [
        _matrix(memory, layer.transposed, layer.outputs, layer.inputs)
        for layer in layout.layers[1:]
    ]
