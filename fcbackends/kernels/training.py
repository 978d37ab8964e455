"""The fused training loop: draw, forward, loss, backward, update and stop test in one call.

A network's parameters stand in one flat buffer `theta`, layer after layer, w row after row and
then b. Read as one matrix wb of K + 1 rows with the bias last, and with a last column of ones in
each layer's input h, the bias is the last term of each output's sum, as the contract has it, and
its gradient is the last row's: multiplying by one is exact.

All else that a step needs stands in the flat buffer `work`, at the places that `layout` gives.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from fcbackends.kernels.jit import called, inlined, kernel
from fcbackends.kernels.layers import (
    NARROW,
    descend,
    loss_and_gradient,
    relu,
    sum_column,
    sum_products,
    transpose,
)
from fcbackends.kernels.sampling import (
    draw_from_epoch,
    draw_with_replacement,
    set_epoch,
)
from fcbackends.kernels.views import matrix


class Layout(NamedTuple):
    """Where the pieces of a network stand in its buffers.

    `layers` has a row (inputs, outputs, place of wb in theta, place of h in work) for each layer;
    `places` has the places in work of the output, the targets, two gradients, a transposed w and
    one row.
    """

    layers: NDArray[np.int64]
    places: NDArray[np.int64]
    theta_size: int
    work_size: int


def layout(sizes: tuple[int, ...], batch_size: int) -> Layout:
    """The layout of a network of these layer sizes for batches of this size."""
    pairs = list(itertools.pairwise(sizes))
    theta_places = _places([(k + 1) * m for k, m in pairs])
    widest = max(sizes[1:])
    work_places = _places(
        [batch_size * (k + 1) for k, _ in pairs]
        + [batch_size * sizes[-1]] * 2
        + [batch_size * widest] * 2
        + [max(k * m for k, m in pairs), widest]
    )
    layers = [(k, m, theta_places[i], work_places[i]) for i, (k, m) in enumerate(pairs)]
    return Layout(
        np.array(layers, dtype=np.int64),
        np.array(work_places[len(pairs) : -1], dtype=np.int64),
        theta_places[-1],
        work_places[-1],
    )


def _places(lengths: list[int]) -> list[int]:
    return list(itertools.accumulate(lengths, initial=0))


@called
def _forward(layers, places, theta, work, batch_size):
    """Every layer's output from the first layer's input."""
    depth = layers.shape[0]
    for layer in range(depth):
        k, m = layers[layer, 0], layers[layer, 1]
        theta_at, input_at = layers[layer, 2], layers[layer, 3]
        h = matrix(work, input_at, batch_size, k + 1)
        wb = matrix(theta, theta_at, k + 1, m)
        last = layer == depth - 1
        stride = m if last else m + 1
        out = matrix(work, places[0] if last else layers[layer + 1, 3], batch_size, stride)
        for n in range(batch_size):
            row = out[n, :m]
            sum_products(h[n], wb, row)
            if not last:
                relu(row)


@called
def _backward_and_update(layers, places, theta, work, batch_size, lr):
    """Move theta down its gradient; the output's gradient stands in the output's place."""
    depth = layers.shape[0]
    dy_at = places[0]
    for back in range(depth):
        layer = depth - 1 - back
        k, m = layers[layer, 0], layers[layer, 1]
        theta_at, input_at = layers[layer, 2], layers[layer, 3]
        h = matrix(work, input_at, batch_size, k + 1)
        dy = matrix(work, dy_at, batch_size, m)
        dx_at = places[2 + back % 2]
        wb = matrix(theta, theta_at, k + 1, m)
        if layer > 0:
            w_transposed = matrix(work, places[4], m, k)
            transpose(wb, w_transposed)
            dx = matrix(work, dx_at, batch_size, k)
            for n in range(batch_size):
                sum_products(dy[n], w_transposed, dx[n])
                for i in range(k):
                    if not h[n, i] > 0:
                        dx[n, i] = 0
        gradient = matrix(work, places[5], 1, m)[0]
        for i in range(k + 1):
            descend(h[:, i], dy, lr, wb[i], gradient)
        dy_at = dx_at


@inlined
def _linear_loss(theta, x, t, sample, dy, one_over_n, two_over_n):
    """The loss of a one-layer network on one sample; dy receives its gradient."""
    k = x.shape[1]
    m = t.shape[1]
    wb = matrix(theta, 0, k + 1, m)
    squares = theta.dtype.type(0)
    for j in range(m):
        d = (sum_column(x[sample], wb, j) + wb[k, j]) - t[sample, j]
        squares = squares + d * d if j > 0 else d * d
        dy[j] = d * two_over_n
    return squares * one_over_n


@inlined
def _linear_update(theta, x, sample, dy, lr):
    """Move a one-layer network down its gradient on one sample."""
    k = x.shape[1]
    m = dy.shape[0]
    wb = matrix(theta, 0, k + 1, m)
    for i in range(k):
        for j in range(m):
            wb[i, j] -= lr * (x[sample, i] * dy[j])
    for j in range(m):
        wb[k, j] -= lr * dy[j]


@inlined
def _set_ones(layers, work, batch_size):
    """Put the ones beside each layer's input."""
    for layer in range(layers.shape[0]):
        k = layers[layer, 0]
        h = matrix(work, layers[layer, 3], batch_size, k + 1)
        for n in range(batch_size):
            h[n, k] = 1


@inlined
def _is_finite(value):
    return value - value == 0


@called
def _data_loss(layers, places, theta, work, batch_size, x, t, one_over_n):
    """The loss of the whole data, whose sums over the samples run on from block to block."""
    inputs = layers[0, 0]
    outputs = t.shape[1]
    h = matrix(work, layers[0, 3], batch_size, inputs + 1)
    y = matrix(work, places[0], batch_size, outputs)
    total = theta.dtype.type(0)
    for first in range(0, x.shape[0], batch_size):
        count = min(batch_size, x.shape[0] - first)
        for n in range(count):
            for k in range(inputs):
                h[n, k] = x[first + n, k]
        _forward(layers, places, theta, work, count)
        for n in range(count):
            squares = theta.dtype.type(0)
            for m in range(outputs):
                d = y[n, m] - t[first + n, m]
                squares = squares + d * d if m > 0 else d * d
            total = total + squares if first + n > 0 else squares
    return total * one_over_n


@kernel(
    lambda real: (
        types.int64[:, ::1],
        types.int64[::1],
        real[::1],
        real[::1],
        types.int64,
        types.Array(real, 2, "C", readonly=True),
        types.Array(real, 2, "C", readonly=True),
        real,
    )
)
def data_loss(layers, places, theta, work, batch_size, x, t, one_over_n):
    """The loss of the whole data under theta."""
    _set_ones(layers, work, batch_size)
    return _data_loss(layers, places, theta, work, batch_size, x, t, one_over_n)


@kernel(
    lambda real: (
        types.int64[:, ::1],
        types.int64[::1],
        real[::1],
        real[::1],
        types.Array(real, 2, "C", readonly=True),
        types.Array(real, 2, "C", readonly=True),
        types.float64[::1],
        types.uint64[::1],
        types.uint64,
        types.int64,
        types.int64,
        types.int64,
        types.boolean,
        types.boolean,
        types.float64,
        types.int64,
        real,
        real,
        real,
        real,
    )
)
def train_steps(
    layers,
    places,
    theta,
    work,
    x,
    t,
    losses,
    round_words,
    key,
    start,
    stop,
    batch_size,
    by_epoch,
    on_data,
    tol,
    record_every,
    lr,
    one_over_batch,
    two_over_batch,
    one_over_data,
):
    """Take the steps `start` + 1 to `stop`, or fewer.

    `round_words` is room for the words of one epoch's permutation.
    Returns the last step, the last watched loss, how many of `losses` were filled, whether `tol`
    was reached, and the step whose loss is not finite (0 for none).
    """
    samples = x.shape[0]
    inputs = x.shape[1]
    outputs = t.shape[1]
    h = matrix(work, layers[0, 3], batch_size, inputs + 1)
    y = matrix(work, places[0], batch_size, outputs)
    targets = matrix(work, places[1], batch_size, outputs)
    _set_ones(layers, work, batch_size)

    position = start * batch_size
    epoch = position // samples
    place = position - epoch * samples
    bits = 0
    if by_epoch:
        set_epoch(key, epoch, round_words)
        while (samples - 1) >> bits > 0:
            bits += 1

    linear = layers.shape[0] == 1 and batch_size == 1 and outputs < NARROW
    sample = 0
    loss = 0.0
    recorded = 0
    until_record = record_every - start % record_every
    for step in range(start + 1, stop + 1):
        for n in range(batch_size):
            if by_epoch:
                sample = draw_from_epoch(place, samples, bits, round_words)
                place += 1
                if place == samples:
                    place = 0
                    epoch += 1
                    set_epoch(key, epoch, round_words)
            else:
                sample = draw_with_replacement(key, position, samples)
                position += 1
            if not linear:
                for k in range(inputs):
                    h[n, k] = x[sample, k]
                for m in range(outputs):
                    targets[n, m] = t[sample, m]

        if linear:
            batch_loss = _linear_loss(theta, x, t, sample, y[0], one_over_batch, two_over_batch)
        else:
            _forward(layers, places, theta, work, batch_size)
            batch_loss = loss_and_gradient(y, targets, y, one_over_batch, two_over_batch)
        if not _is_finite(batch_loss):
            return step - 1, loss, recorded, False, step
        if linear:
            _linear_update(theta, x, sample, y[0], lr)
        else:
            _backward_and_update(layers, places, theta, work, batch_size, lr)

        until_record -= 1
        look = until_record == 0
        if look:
            until_record = record_every
        if not on_data:
            loss = np.float64(batch_loss)
        elif look:
            loss = np.float64(
                _data_loss(layers, places, theta, work, batch_size, x, t, one_over_data)
            )
            if not _is_finite(loss):
                return step, loss, recorded, False, step
        if look:
            losses[recorded] = loss
            recorded += 1
        if loss <= tol and (look or not on_data):
            return step, loss, recorded, True, 0
    return stop, loss, recorded, False, 0


@kernel(
    lambda real: (
        types.int64[:, ::1],
        types.int64[::1],
        real[::1],
        real[::1],
        real[::1],
        types.Array(real, 1, "C", readonly=True),
        types.Array(real, 1, "C", readonly=True),
        types.int64,
        types.boolean,
        real,
        real,
        real,
    )
)
def take_step(
    layers,
    places,
    theta,
    previous,
    work,
    x,
    t,
    batch_size,
    guarded,
    lr,
    one_over_batch,
    two_over_batch,
):
    """Take one step on the samples that stand in flat x and t; returns the loss before it.

    Where `guarded`, a step whose loss is not finite is not taken, and `previous` keeps the last
    theta before this step's whose values are all finite.
    """
    if guarded:
        spoiled = False
        for i in range(theta.shape[0]):
            spoiled |= not _is_finite(theta[i])
        if not spoiled:
            for i in range(theta.shape[0]):
                previous[i] = theta[i]
    inputs = layers[0, 0]
    outputs = layers[layers.shape[0] - 1, 1]
    h = matrix(work, layers[0, 3], batch_size, inputs + 1)
    for n in range(batch_size):
        for k in range(inputs):
            h[n, k] = x[n * inputs + k]
    _set_ones(layers, work, batch_size)
    _forward(layers, places, theta, work, batch_size)
    y = matrix(work, places[0], batch_size, outputs)
    targets = matrix(work, places[1], batch_size, outputs)
    for n in range(batch_size):
        for m in range(outputs):
            targets[n, m] = t[n * outputs + m]
    loss = loss_and_gradient(y, targets, y, one_over_batch, two_over_batch)
    if guarded and not _is_finite(loss):
        return loss
    _backward_and_update(layers, places, theta, work, batch_size, lr)
    return loss
