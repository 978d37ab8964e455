"""The fused training loop: draw, forward, loss, backward, update and stop test in one call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from fcbackends.kernels.elements import gradient_factor, is_finite
from fcbackends.kernels.jit import called, inlined, kernel
from fcbackends.kernels.layout import network_type
from fcbackends.kernels.network import (
    backward,
    descend,
    forward_and_loss,
    input_of,
    mean_loss,
    part,
)
from fcbackends.kernels.sampling import draw_samples
from fcbackends.kernels.threads import TEAM, barrier
from fcbackends.kernels.views import row
from fcbackends.kernels.watch import (
    WATCH,
    batch_tol,
    begin,
    diverge,
    goes_on,
    look_up,
    next_look,
    wants_data,
)


class Data(NamedTuple):
    """So many samples, which stand in flat x and t."""

    x: Any
    t: Any
    samples: int


def data_type(real: types.Float) -> types.Type:
    """The type of Data of this dtype."""
    values = types.Array(real, 1, "C", readonly=True)
    return types.NamedTuple((values, values, types.int64), Data)


@inlined
def _copy(source, to):
    for i in range(to.shape[0]):
        to[i] = source[i]


@inlined
def _take_sample(network, h_at, n, data, sample):
    """Copy a sample to row n of the first layer's input, which begins at h_at, and its target."""
    inputs, outputs = network.layers[0].inputs, network.layers[-1].outputs
    h = row(network.memory, h_at + n * (inputs + 1), inputs)
    _copy(row(data.x, sample * inputs, inputs), h)
    target = row(network.memory, network.shared[0].targets + n * outputs, outputs)
    _copy(row(data.t, sample * outputs, outputs), target)


@inlined
def _rows_to_take(network, rows, team):
    """Where a thread's input of the first layer begins, and which of its rows it has to fill."""
    first, last, _, _ = part(rows, network.layers[0].outputs, network.memory.itemsize, team)
    return input_of(network, 0, team), first, last


@called
def _data_loss(network, data, team):
    """The loss of the whole data, whose sums over the samples run on from block to block.

    All threads return it, or NaN where they are called off.
    """
    memory, capacity = network.memory, network.shared[0].capacity
    losses = network.shared[0].losses
    zero, called_off = memory.dtype.type(0), memory.dtype.type(np.nan)
    total = zero
    for start in range(0, data.samples, capacity):
        rows = min(capacity, data.samples - start)
        h_at, first, last = _rows_to_take(network, rows, team)
        for n in range(first, last):
            _take_sample(network, h_at, n, data, start + n)
        if not forward_and_loss(network, rows, zero, team):
            return called_off
        if not barrier(team):
            return called_off
        for n in range(rows):
            total = total + memory[losses + n] if start + n > 0 else memory[losses + n]
        if not barrier(team):
            return called_off
    return total * memory.dtype.type(1.0 / data.samples)


@kernel(lambda real, arithmetic: (network_type(real, arithmetic), data_type(real), TEAM))
def data_loss(network, data, team):
    """The loss of the whole data."""
    return _data_loss(network, data, team)


@kernel(
    lambda real, arithmetic: (
        network_type(real, arithmetic),
        data_type(real),
        WATCH,
        types.float64[::1],
        types.int64[:, ::1],
        types.uint64[:, ::1],
        types.uint16[:, ::1],
        TEAM,
    )
)
def train_steps(network, data, watch, losses, order, epoch_words, epoch_orders, team):
    """Take the steps that `watch` asks for, or fewer; returns what was seen of them.

    `losses` has room for what is recorded; `order` has, for each thread, room for a batch's
    samples, and `epoch_words` and `epoch_orders` are what `new_epochs` makes.
    """
    batch_size = watch.batch_size
    factor = network.memory.dtype.type(gradient_factor(network.shared[0].loss, batch_size))
    h_at, first, last = _rows_to_take(network, batch_size, team)
    thread = team.thread
    seen = begin(watch)
    while goes_on(watch, seen):
        step, loss = seen.step, seen.loss
        look = next_look(watch, step)
        while step < look:
            position = step * batch_size
            draw_samples(
                order[thread], first, last, position, data.samples, watch.key, watch.by_epoch,
                epoch_words[thread], epoch_orders[thread],
            )  # fmt: skip
            for n in range(first, last):
                _take_sample(network, h_at, n, data, order[thread, n])
            if not forward_and_loss(network, batch_size, factor, team):
                return seen
            backward(network, batch_size, team)
            if not barrier(team):
                return seen
            batch_loss = mean_loss(network, batch_size)
            if not is_finite(batch_loss):
                return diverge(watch, seen, step, loss)
            descend(network, batch_size, team)
            if not barrier(team):
                return seen
            step += 1
            loss = np.float64(batch_loss)
            if loss <= batch_tol(watch):
                break
        if wants_data(watch, step):
            loss = np.float64(_data_loss(network, data, team))
        seen = look_up(watch, seen, step, loss, losses, thread == 0)
    return seen


@kernel(
    lambda real, arithmetic: (
        network_type(real, arithmetic),
        *data_type(real),
        types.boolean,
        TEAM,
    )
)
def take_step(network, x, t, samples, guarded, alone):
    """Take one step on so many samples of flat x and t; returns the loss before it.

    Where `guarded`, a step whose loss is not finite is not taken, and the buffer keeps the last
    weights before this step's whose values are all finite.
    """
    memory, shared = network.memory, network.shared[0]
    if guarded:
        theta = row(memory, shared.theta, shared.theta_size)
        spoiled = False
        for i in range(theta.shape[0]):
            spoiled |= not is_finite(theta[i])
        if not spoiled:
            _copy(theta, row(memory, shared.previous, shared.theta_size))
    data = Data(x, t, samples)
    for n in range(samples):
        _take_sample(network, network.layers[0].input, n, data, n)
    factor = memory.dtype.type(gradient_factor(shared.loss, samples))
    forward_and_loss(network, samples, factor, alone)
    loss = mean_loss(network, samples)
    if guarded and not is_finite(loss):
        return loss
    backward(network, samples, alone)
    descend(network, samples, alone)
    return loss
