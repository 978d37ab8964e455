"""The fused training loop: draw, forward, loss, backward, update and stop test in one call."""

from __future__ import annotations

import numpy as np
from numba import types

from fcbackends.kernels.jit import called, inlined, kernel
from fcbackends.kernels.network import (
    INPUT,
    INPUTS,
    OUTPUTS,
    PREVIOUS,
    SQUARES,
    TARGETS,
    THETA,
    THETA_SIZE,
    backward,
    forward_and_loss,
    is_finite,
    mean_of_squares,
    own_input,
    part,
    update,
)
from fcbackends.kernels.sampling import draw_samples
from fcbackends.kernels.threads import barrier
from fcbackends.kernels.views import matrix


@inlined
def _copy(source, to):
    for i in range(to.shape[0]):
        to[i] = source[i]


@inlined
def _take_sample(network, memory, h_at, row, x, x_at, t, t_at):
    """Copy a sample to a row of the first layer's input, which begins at h_at, and its target."""
    depth = network.shape[0] - 1
    inputs, outputs = network[0, INPUTS], network[depth - 1, OUTPUTS]
    h = matrix(memory, h_at + row * (inputs + 1), 1, inputs)[0]
    target = matrix(memory, network[depth, TARGETS] + row * outputs, 1, outputs)[0]
    _copy(matrix(x, x_at, 1, inputs)[0], h)
    _copy(matrix(t, t_at, 1, outputs)[0], target)


@inlined
def _rows_to_take(network, memory, rows, thread, threads):
    """Where a thread's input of the first layer begins, and which of its rows it has to fill."""
    h_at = own_input(network, memory.itemsize, thread, threads)
    first, last, _, _ = part(rows, network[0, OUTPUTS], memory.itemsize, thread, threads)
    return h_at, first, last


@called
def _data_loss(network, memory, x, t, room, meeting, thread, threads):
    """The loss of the whole data, whose sums over the samples run on from block to block.

    All threads return it, or NaN where they are called off.
    """
    depth = network.shape[0] - 1
    inputs, outputs = network[0, INPUTS], network[depth - 1, OUTPUTS]
    samples = x.shape[0] // inputs
    squares = network[depth, SQUARES]
    zero, called_off = memory.dtype.type(0), memory.dtype.type(np.nan)
    total = zero
    for start in range(0, samples, room):
        rows = min(room, samples - start)
        h_at, first, last = _rows_to_take(network, memory, rows, thread, threads)
        for n in range(first, last):
            sample = start + n
            _take_sample(network, memory, h_at, n, x, sample * inputs, t, sample * outputs)
        if not forward_and_loss(network, memory, rows, zero, meeting, thread, threads):
            return called_off
        if not barrier(meeting, thread, threads):
            return called_off
        for n in range(rows):
            total = total + memory[squares + n] if start + n > 0 else memory[squares + n]
        if not barrier(meeting, thread, threads):
            return called_off
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
        types.int64[:, ::1],
        types.uint64[:, ::1],
        types.uint16[:, ::1],
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
    epoch_orders,
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

    `order` is room for a batch's samples, for each thread, and `epoch_words` and `epoch_orders` are
    what `new_epochs` makes; the network's buffer has room for `room` rows. Returns the last step,
    the last watched loss, how many of `losses` were filled, whether `tol` was reached, and the step
    whose loss is not finite (0 for none).
    """
    depth = network.shape[0] - 1
    inputs, outputs = network[0, INPUTS], network[depth - 1, OUTPUTS]
    samples = x.shape[0] // inputs
    two_over_batch = memory.dtype.type(2.0 / batch_size)
    h_at, first, last = _rows_to_take(network, memory, batch_size, thread, threads)

    loss = 0.0
    recorded = 0
    until_record = record_every - start % record_every
    for step in range(start + 1, stop + 1):
        position = (step - 1) * batch_size
        draw_samples(
            order[thread],
            first,
            last,
            position,
            samples,
            key,
            by_epoch,
            epoch_words[thread],
            epoch_orders[thread],
        )
        for n in range(first, last):
            sample = order[thread, n]
            _take_sample(network, memory, h_at, n, x, sample * inputs, t, sample * outputs)
        if not forward_and_loss(
            network, memory, batch_size, two_over_batch, meeting, thread, threads
        ):
            break
        backward(network, memory, batch_size, thread, threads)
        if not barrier(meeting, thread, threads):
            break
        batch_loss = mean_of_squares(network, memory, batch_size)
        if not is_finite(batch_loss):
            return step - 1, loss, recorded, False, step
        update(network, memory, batch_size, thread, threads)
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
        _take_sample(network, memory, network[0, INPUT], n, x, n * inputs, t, n * outputs)
    two_over_batch = memory.dtype.type(2.0 / batch_size)
    # One thread meets nobody, wherever.
    nowhere = network[0]
    forward_and_loss(network, memory, batch_size, two_over_batch, nowhere, 0, 1)
    loss = mean_of_squares(network, memory, batch_size)
    if guarded and not is_finite(loss):
        return loss
    backward(network, memory, batch_size, 0, 1)
    update(network, memory, batch_size, 0, 1)
    return loss
