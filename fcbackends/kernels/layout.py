"""Where a whole network stands in one flat buffer.

A layer's weights and bias stand together as one matrix of K + 1 rows, the bias last, and each
layer's input h has a last column of ones: the bias is then the last term of each output's sum, as
the contract has it, and its gradient is the last row's. Multiplying by one is exact.

The matrix is cut into panels of as many columns as a tile goes through, one panel after another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from fcbackends.kernels.elements import ACTIVATIONS, LOSSES, OPTIMIZERS
from fcbackends.kernels.matmul import PANEL_BYTES, PANEL_ROW_BYTES
from fcbackends.kernels.tiles import VECTOR_BYTES

ROWS_A_PASS = 64
"""So many rows of a panel of weights are moved while their gradient is in the cache."""


def _record(fields: str) -> np.dtype[Any]:
    return np.dtype([(field, np.int64) for field in fields.split()], align=True)


LAYER = _record("inputs outputs activation weights transposed input gradient")
"""A layer's sizes, its activation, and the places in the buffer of its weights, of the weights
transposed, of its input and of its output's gradient."""

SHARED = _record(
    "loss optimizer capacity lr theta theta_size previous input_size targets losses "
    "scratch scratch_size"
)
"""What the layers share: the loss, the optimizer, how many rows there is room for, and the places
of the learning rate, of all weights (and after them, copy after copy, of what the optimizer keeps
beside each), of the last finite weights, of the targets, of each sample's loss and of each thread's
scratch room. A thread has `input_size` for an input of the first layer, `scratch_size` for scratch.
"""


class Network(NamedTuple):
    """The records of the layers, the one that they share, the buffer, and the arithmetic."""

    layers: Any
    shared: Any
    memory: Any
    arithmetic: Any


def network_type(real: types.Float, arithmetic: types.Type) -> types.Type:
    """The type of a Network of this dtype and arithmetic."""
    layers, shared = (numba.from_dtype(record)[::1] for record in (LAYER, SHARED))
    return types.NamedTuple((layers, shared, real[::1], arithmetic), Network)


def new_network(
    sizes: Sequence[int],
    capacity: int,
    threads: int,
    dtype: np.dtype[Any],
    arithmetic: Any,
    *,
    activation: str,
    loss: str,
    optimizer: str,
) -> Network:
    """A network with room for `capacity` rows at once and `threads` threads, and zero weights.

    `sizes` are the layers', inputs first; `activation`, `loss` and `optimizer` are names in the
    tables of `fcbackends.kernels.elements`. The last layer is not activated.
    """
    unit = VECTOR_BYTES // dtype.itemsize
    size = 0

    def whole(length: int) -> int:
        """So much that what follows begins where a vector does."""
        return -(-length // unit) * unit

    def place(length: int) -> int:
        nonlocal size
        at, size = size, size + whole(length)
        return at

    layers = np.zeros(len(sizes) - 1, LAYER).view(np.recarray)
    (shared,) = all_shared = np.zeros(1, SHARED).view(np.recarray)
    shared.loss, shared.optimizer = LOSSES[loss], OPTIMIZERS[optimizer].code
    shared.capacity = capacity
    shared.lr = place(1)
    shared.theta = size
    for layer, (inputs, outputs) in zip(layers, itertools.pairwise(sizes), strict=True):
        layer.inputs, layer.outputs = inputs, outputs
        layer.weights = place((inputs + 1) * outputs)
        layer.activation = ACTIVATIONS[activation]
    layers[-1].activation = ACTIVATIONS["identity"]
    shared.theta_size = size - shared.theta
    place(OPTIMIZERS[optimizer].slots * int(shared.theta_size))
    shared.previous = place(int(shared.theta_size))
    shared.input_size = whole(capacity * (sizes[0] + 1))
    layers[0].input = place(threads * int(shared.input_size))
    for layer in layers[1:]:
        layer.transposed = place(int(layer.inputs * layer.outputs))
        layer.input = place(capacity * int(layer.inputs + 1))
    for layer in layers:
        layer.gradient = place(capacity * int(layer.outputs))
    shared.targets = place(capacity * sizes[-1])
    shared.losses = place(capacity)
    shared.scratch_size = (ROWS_A_PASS * PANEL_ROW_BYTES + PANEL_BYTES) // dtype.itemsize
    shared.scratch = place(threads * int(shared.scratch_size))

    network = Network(layers, all_shared, _aligned_zeros(size, dtype), arithmetic)
    for thread in range(threads):
        own = layers[0].input + thread * shared.input_size
        _matrix(network, own, capacity, sizes[0] + 1)[:, -1] = 1
    for layer in layers[1:]:
        _matrix(network, layer.input, capacity, layer.inputs + 1)[:, -1] = 1
    return network


def _aligned_zeros(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin where a vector register's worth of memory does.

    Rows that straddle cache lines took a step of 64-32-10 from 16 to 23 us.
    """
    space = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    start = -space.ctypes.data % VECTOR_BYTES
    return space[start : start + size * dtype.itemsize].view(dtype)


def _matrix(network: Network, at: int, rows: int, columns: int) -> NDArray[Any]:
    return network.memory[at : at + rows * columns].reshape(rows, columns)


def _panels(network: Network, layer: Any, copy: int) -> Iterator[tuple[slice, NDArray[Any]]]:
    """A layer's panels in the copy of all weights that stands at `copy`, and their columns."""
    rows, outputs = int(layer.inputs) + 1, int(layer.outputs)
    at = int(layer.weights - network.shared[0].theta) + copy
    width = PANEL_ROW_BYTES // network.memory.itemsize
    for first in range(0, outputs, width):
        panel = _matrix(network, at + rows * first, rows, min(width, outputs - first))
        yield slice(first, first + width), panel


def read(network: Network, copy: int) -> tuple[tuple[NDArray[Any], NDArray[Any]], ...]:
    """The pairs (w, b) in the copy of all weights that stands at `copy`, in arrays of their own."""
    pairs = []
    for layer in network.layers:
        w = np.empty((layer.inputs, layer.outputs), network.memory.dtype)
        b = np.empty(layer.outputs, network.memory.dtype)
        for columns, panel in _panels(network, layer, copy):
            w[:, columns], b[columns] = panel[:-1], panel[-1]
        pairs.append((w, b))
    return tuple(pairs)


def write(network: Network, copy: int, pairs: Sequence[tuple[Any, Any]]) -> None:
    """Put pairs (w, b) into the copy of all weights that stands at `copy`."""
    for layer, (w, b) in zip(network.layers, pairs, strict=True):
        for columns, panel in _panels(network, layer, copy):
            panel[:-1], panel[-1] = w[:, columns], b[columns]
    if copy == network.shared[0].theta:
        for layer, (w, _) in zip(network.layers[1:], pairs[1:], strict=True):
            _matrix(network, layer.transposed, *w.T.shape)[:] = w.T
