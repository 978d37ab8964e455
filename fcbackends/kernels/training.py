"""The fused training loop: draw, forward, loss, backward, update and stop test in one call."""

from __future__ import annotations

import numpy as np
from numba import types

from fcbackends.kernels.jit import called, inlined, kernel
from fcbackends.kernels.matmul import PANEL_BYTES
from fcbackends.kernels.network import (
    INPUT,
    INPUTS,
    OUTPUTS,
    PREVIOUS,
    SCRATCH,
    SCRATCH_SIZE,
    SQUARES,
    TARGETS,
    THETA,
    THETA_SIZE,
    backward,
    forward_and_loss,
    is_finite,
    mean_of_squares,
    update,
)
from fcbackends.kernels.sampling import draw_samples
from fcbackends.kernels.threads import barrier, share
from fcbackends.kernels.tiles import ROWS
from fcbackends.kernels.views import matrix


@inlined
def _scratch_of(network, thread):
    shared = network[network.shape[0] - 1]
    return shared[SCRATCH] + thread * shared[SCRATCH_SIZE]


@inlined
def _panel_of(network, memory, thread):
    return _scratch_of(network, thread + 1) - PANEL_BYTES // memory.itemsize


@inlined
def _copy(source, to):
    for i in range(to.shape[0]):
        to[i] = source[i]


@inlined
def _take_sample(network, memory, row, x, x_at, t, t_at):
    """Copy a sample to a row of the first layer's input and of the targets."""
    depth = network.shape[0] - 1
    inputs, outputs = network[0, INPUTS], network[depth - 1, OUTPUTS]
    h = matrix(memory, network[0, INPUT] + row * (inputs + 1), 1, inputs)[0]
    target = matrix(memory, network[depth, TARGETS] + row * outputs, 1, outputs)[0]
    _copy(matrix(x, x_at, 1, inputs)[0], h)
    _copy(matrix(t, t_at, 1, outputs)[0], target)


@called
def _data_loss(network, memory, x, t, room, meeting, thread, threads):
    """The loss of the whole data, whose sums over the samples run on from block to block.

    All threads return it, or NaN where they are called off.
    """
    depth = network.shape[0] - 1
    inputs, outputs = network[0, INPUTS], network[depth - 1, OUTPUTS]
    samples = x.shape[0] // inputs
    squares = network[depth, SQUARES]
    zero = memory.dtype.type(0)
    total = zero
    for start in range(0, samples, room):
        count = min(room, samples - start)
        first, last = share(count, ROWS, thread, threads)
        for n in range(first, last):
            _take_sample(network, memory, n, x, (start + n) * inputs, t, (start + n) * outputs)
        forward_and_loss(network, memory, first, last, zero, _panel_of(network, memory, thread))
        if not barrier(meeting, thread, threads):
            return memory.dtype.type(np.nan)
        for n in range(count):
            total = total + memory[squares + n] if start + n > 0 else memory[squares + n]
        if not barrier(meeting, thread, threads):
            return memory.dtype.type(np.nan)
    return total * memory.dtype.type(1.0 / samples)


def _readonly_row(real):
    return types.Array(real, 1, "C", readonly=True)


@kernel(
    lambda real: (
        types.int64[:, ::1],
        real[::1],
        _readonly_row(real),
        _readonly_row(real),
        types.int64,
        types.int64[::1],
        types.int64,
        types.int64,
    )
)
def data_loss(network, memory, x, t, room, meeting, thread, threads):
    """The loss of the whole data, which stands in flat x and t; `room` samples go at once."""
    return _data_loss(network, memory, x, t, room, meeting, thread, threads)


@kernel(
    lambda real: (
        types.int64[:, ::1],
        real[::1],
        _readonly_row(real),
        _readonly_row(real),
        types.float64[::1],
        types.int64[::1],
        types.uint64[:, ::1],
        types.int64,
        types.int64[::1],
        types.int64,
        types.int64,
        types.uint64,
        types.int64,
        types.int64,
        types.int64,
        types.boolean,
        types.boolean,
        types.float64,
        types.int64,
    )
)
def train_steps(
    network,
    memory,
    x,
    t,
    losses,
    order,
    epoch_words,
    room,
    meeting,
    thread,
    threads,
    key,
    start,
    stop,
    batch_size,
    by_epoch,
    on_data,
    tol,
    record_every,
):
    """Take the steps `start` + 1 to `stop`, or fewer, on samples of flat x and t.

    `order` is room for a batch's samples, `epoch_words` for EPOCH_WORDS of each thread, and the
    network's buffer has room for `room` rows. Returns the last step, the last watched loss, how
    many of `losses` were filled, whether `tol` was reached, and the step whose loss is not finite
    (0 for none).
    """
    depth = network.shape[0] - 1
    inputs, outputs = network[0, INPUTS], network[depth - 1, OUTPUTS]
    samples = x.shape[0] // inputs
    two_over_batch = memory.dtype.type(2.0 / batch_size)
    scratch_at, panel_at = _scratch_of(network, thread), _panel_of(network, memory, thread)
    first, last = share(batch_size, ROWS, thread, threads)

    loss = 0.0
    recorded = 0
    until_record = record_every - start % record_every
    for step in range(start + 1, stop + 1):
        position = (step - 1) * batch_size
        draw_samples(order, first, last, position, samples, key, by_epoch, epoch_words[thread])
        for n in range(first, last):
            _take_sample(network, memory, n, x, order[n] * inputs, t, order[n] * outputs)
        forward_and_loss(network, memory, first, last, two_over_batch, panel_at)
        backward(network, memory, first, last, panel_at)
        if not barrier(meeting, thread, threads):
            break
        batch_loss = mean_of_squares(network, memory, batch_size)
        if not is_finite(batch_loss):
            return step - 1, loss, recorded, False, step
        update(network, memory, batch_size, thread, threads, scratch_at)
        if not barrier(meeting, thread, threads):
            break

        until_record -= 1
        look = until_record == 0
        if look:
            until_record = record_every
        if not on_data:
            loss = np.float64(batch_loss)
        elif look:
            loss = np.float64(_data_loss(network, memory, x, t, room, meeting, thread, threads))
            if not is_finite(loss):
                return step, loss, recorded, False, step
        if look:
            if thread == 0:
                losses[recorded] = loss
            recorded += 1
        if loss <= tol and (look or not on_data):
            return step, loss, recorded, True, 0
    return stop, loss, recorded, False, 0


@kernel(
    lambda real: (
        types.int64[:, ::1],
        real[::1],
        _readonly_row(real),
        _readonly_row(real),
        types.boolean,
    )
)
def take_step(network, memory, x, t, guarded):
    """Take one step on the samples that stand in flat x and t; returns the loss before it.

    Where `guarded`, a step whose loss is not finite is not taken, and the buffer keeps the last
    weights before this step's whose values are all finite.
    """
    shared = network[network.shape[0] - 1]
    theta, size, previous = shared[THETA], shared[THETA_SIZE], shared[PREVIOUS]
    if guarded:
        spoiled = False
        for i in range(size):
            spoiled |= not is_finite(memory[theta + i])
        if not spoiled:
            for i in range(size):
                memory[previous + i] = memory[theta + i]
    inputs, outputs = network[0, INPUTS], network[network.shape[0] - 2, OUTPUTS]
    batch_size = t.shape[0] // outputs
    for n in range(batch_size):
        _take_sample(network, memory, n, x, n * inputs, t, n * outputs)
    panel_at = _panel_of(network, memory, 0)
    forward_and_loss(network, memory, 0, batch_size, memory.dtype.type(2.0 / batch_size), panel_at)
    loss = mean_of_squares(network, memory, batch_size)
    if guarded and not is_finite(loss):
        return loss
    backward(network, memory, 0, batch_size, panel_at)
    update(network, memory, batch_size, 0, 1, _scratch_of(network, 0))
    return loss
