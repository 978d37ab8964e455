"""The fused training loop: draw, forward, loss, backward, update and stop test in one call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from fcbackends.kernels.blocks import new_sums, no_terms, sum_of, sum_on
from fcbackends.kernels.descent import descending
from fcbackends.kernels.elements import (
    MOST_CONSTANTS,
    PLAIN,
    Rule,
    is_finite,
    is_paced,
    next_power,
    powers_after,
    setting_pace,
    suffix,
)
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined, kernel
from fcbackends.kernels.layout import STEPS_A_COPY, network_type
from fcbackends.kernels.losses import gradient_factor, is_squares
from fcbackends.kernels.network import (
    backward,
    forward_and_loss,
    input_of,
    mean_loss,
    mean_loss_in_blocks,
    part,
)
from fcbackends.kernels.sampling import draw_samples
from fcbackends.kernels.threads import TEAM, barrier, is_called_off
from fcbackends.kernels.views import row
from fcbackends.kernels.watch import (
    WATCH,
    batch_tol,
    begin,
    diverge,
    goes_on,
    leave,
    look_up,
    next_look,
    wants_data,
)


class Data(NamedTuple):
    """So many samples, which stand in flat x and t, where a weight may follow each target."""

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
def _copy_any(source, to):
    """Copy a row whose numbers may stand apart."""
    if source.strides[0] == source.itemsize:
        _copy(row(source, 0, to.shape[0]), to)
    else:
        _copy(source, to)


@inlined
def _take_sample(network, h_at, n, data, sample):
    """Copy a sample to row n of the first layer's input, which begins at h_at, and its target."""
    memory, shared = network.memory, network.shared[0]
    inputs, outputs, size = network.layers[0].inputs, network.layers[-1].outputs, shared.target_size
    h = row(memory, h_at + n * (inputs + 1), inputs)
    _copy(row(data.x, sample * inputs, inputs), h)
    _copy(row(data.t, sample * size, outputs), row(memory, shared.targets + n * outputs, outputs))
    if size > outputs:
        memory[shared.weights + n] = data.t[sample * size + outputs]


@inlined
def _rows_to_take(network, rows, team):
    """Where a thread's input of the first layer begins, and which of its rows it has to fill."""
    first, last, _, _ = part(rows, network.layers[0].outputs, network.memory.itemsize, team)
    return input_of(network, 0, team), first, last


@called
def _data_loss(network, data, team):
    """The loss of the whole data, whose sums over the samples run on from block to block.

    All threads return it, and True, or NaN and False where they are called off.
    """
    memory, shared = network.memory, network.shared[0]
    capacity, size = shared.capacity, shared.rows_per_block
    zero, called_off = memory.dtype.type(0), memory.dtype.type(np.nan)
    sums, running = new_sums(memory), no_terms()
    for start in range(0, data.samples, capacity):
        rows = smaller(capacity, data.samples - start)
        h_at, first, last = _rows_to_take(network, rows, team)
        for n in range(first, last):
            _take_sample(network, h_at, n, data, start + n)
        if not forward_and_loss(network, rows, zero, team):
            return called_off, False
        if not barrier(team):
            return called_off, False
        running = sum_on(row(memory, shared.losses, rows), size, sums, running)
        if not barrier(team):
            return called_off, False
    return sum_of(sums, running) * memory.dtype.type(1.0 / data.samples), True


@kernel(lambda real, arithmetic: (network_type(real, arithmetic), data_type(real), TEAM))
def data_loss(network, data, team):
    """The loss of the whole data, or NaN where the threads are called off."""
    return float(_data_loss(network, data, team)[0])


@functools.cache
def stepping(rule: Rule, *, at_last: bool = False, in_blocks: bool = False) -> Callable[..., Any]:
    """The family of kernels that take steps by a rule of descent.

    Called off, they leave a step and undo it, unless its weights have begun to move. They do so
    `at_last`, when all of the gradient is there, or else, which saves to write it down, as each
    part of it is there. Only those that are `in_blocks` take batches of several blocks.
    """
    descend = descending(rule, at_last=at_last, in_blocks=in_blocks)
    loss_of_batch = mean_loss_in_blocks if in_blocks else mean_loss
    paced, set_pace = is_paced(rule), setting_pace(rule)

    def train_steps(network, data, pace, watch, losses, order, epoch_words, epoch_orders, team):
        """Take the steps that `watch` asks for, or fewer; returns what was seen of them.

        `losses` has room for what is recorded; `order` has, for each thread, room for a batch's
        samples, and `epoch_words` and `epoch_orders` are what `new_epochs` makes. On `pace`
        depend the constants of each step, if any do.
        """
        batch_size = watch.batch_size
        squares = is_squares(network.shared[0].loss)
        factor = network.memory.dtype.type(gradient_factor(squares, batch_size))
        h_at, first, last = _rows_to_take(network, batch_size, team)
        thread = team.thread
        constants = row(network.memory, network.shared[0].constants, MOST_CONSTANTS)
        if paced:
            power1, power2 = powers_after(pace, watch.start)
        seen = begin(watch)
        while goes_on(watch, seen):
            step, loss = seen.step, seen.loss
            look = next_look(watch, step)
            goes_further = True
            while step < look and goes_further:
                if paced:
                    power1, power2 = next_power(power1, pace[1]), next_power(power2, pace[2])
                    # Nobody reads them before the next barrier.
                    if thread == 0:
                        set_pace(constants, pace, step - watch.start, power1, power2)
                position = step * batch_size
                draw_samples(
                    order[thread], first, last, position, data.samples, watch.key, watch.by_epoch,
                    epoch_words[thread], epoch_orders[thread],
                )  # fmt: skip
                for n in range(first, last):
                    if is_called_off(team):
                        break
                    _take_sample(network, h_at, n, data, order[thread, n])
                if not forward_and_loss(network, batch_size, factor, team):
                    return leave(watch, seen, step, loss)
                backward(network, batch_size, team)
                if not barrier(team):
                    return leave(watch, seen, step, loss)
                batch_loss = loss_of_batch(network, batch_size)
                if not is_finite(batch_loss):
                    return diverge(watch, seen, step, loss)
                if not descend(network, batch_size, team):
                    return leave(watch, seen, step, loss)
                goes_further = barrier(team)
                step += 1
                loss = np.float64(batch_loss)
                if loss <= batch_tol(watch):
                    break
            if goes_further and wants_data(watch, step):
                of_data, goes_further = _data_loss(network, data, team)
                loss = np.float64(of_data)
            if watch.on_data and not goes_further:
                return leave(watch, seen, step, loss)
            seen = look_up(watch, seen, step, loss, losses, thread == 0)
            if not goes_further:
                return seen
        return seen

    train_steps.__name__ += suffix(rule) + at_last * "_at_last" + in_blocks * "_in_blocks"
    made = kernel(
        lambda real, arithmetic: (
            network_type(real, arithmetic),
            data_type(real),
            types.float64[::1],
            WATCH,
            types.float64[::1],
            types.int64[:, ::1],
            types.uint64[:, ::1],
            types.uint16[:, ::1],
            TEAM,
        ),
        of_any_shape=rule == PLAIN and not at_last and not in_blocks,
    )
    return made(train_steps)


@inlined
def _look_after(network, samples):
    """Copy what steps change, where all weights are finite, unless steps since are written down."""
    memory, shared = network.memory, network.shared[0]
    steps, is_all = memory[shared.taken], memory[shared.taken + 1] != 0
    if samples == 1 and is_all and steps < STEPS_A_COPY:
        return
    spoiled = False
    weights = row(memory, shared.theta, shared.theta_size)
    for i in range(weights.shape[0]):
        spoiled |= not is_finite(weights[i])
    if not spoiled:
        state = row(memory, shared.theta, shared.state_size)
        _copy(state, row(memory, shared.previous, shared.state_size))
        memory[shared.taken] = 0
    memory[shared.taken + 1] = samples == 1 and not spoiled


@inlined
def _write_down(network):
    """Keep the sample of a step that is taken, where all since the copy are kept."""
    memory, shared = network.memory, network.shared[0]
    taken = shared.taken
    if memory[taken + 1] != 0:
        inputs, outputs = network.layers[0].inputs, network.layers[-1].outputs
        steps, size = memory[taken], shared.target_size
        at = taken + 2 + np.int64(steps) * (inputs + size)
        _copy(row(memory, network.layers[0].input, inputs), row(memory, at, inputs))
        _copy(row(memory, shared.targets, outputs), row(memory, at + inputs, outputs))
        if size > outputs:
            memory[at + inputs + outputs] = memory[shared.weights]
        memory[taken] = steps + 1


def _any_row(real):
    return types.Array(real, 1, "A", readonly=True, aligned=False)


@functools.cache
def single_step(rule: Rule, *, in_blocks: bool = False) -> Callable[..., Any]:
    """The family of kernels that take one step by a rule of descent, on one block or on more."""
    descend = descending(rule, at_last=False, in_blocks=in_blocks)
    loss_of_batch = mean_loss_in_blocks if in_blocks else mean_loss

    def take_step(network, x, t, samples, guarded, alone):
        """Take one step on so many samples of flat x and t; returns the loss before it.

        The numbers of several samples are to stand side by side, aligned; those of one, anywhere.

        Where `guarded`, a step whose loss is not finite is not taken, and from what the buffer
        keeps the last weights before a step whose values are all finite can be found: a copy of
        some steps ago, and the sample of each step since. To look at and copy all weights at each
        step took 2.1 of the 7.6 us of one of 64-128-10 in float64.
        """
        memory, shared = network.memory, network.shared[0]
        if guarded:
            _look_after(network, samples)
        if samples == 1:
            outputs = network.layers[-1].outputs
            _copy_any(x, row(memory, network.layers[0].input, x.shape[0]))
            _copy_any(t, row(memory, shared.targets, outputs))
            if shared.target_size > outputs:
                memory[shared.weights] = t[outputs]
        else:
            data = Data(x, t, samples)
            for n in range(samples):
                _take_sample(network, network.layers[0].input, n, data, n)
        factor = memory.dtype.type(gradient_factor(is_squares(shared.loss), samples))
        forward_and_loss(network, samples, factor, alone)
        loss = loss_of_batch(network, samples)
        if guarded:
            if not is_finite(loss):
                return float(loss)
            _write_down(network)
        backward(network, samples, alone)
        descend(network, samples, alone)
        return float(loss)

    take_step.__name__ += suffix(rule) + in_blocks * "_in_blocks"
    made = kernel(
        lambda real, arithmetic: (
            network_type(real, arithmetic),
            _any_row(real),
            _any_row(real),
            types.int64,
            types.boolean,
            TEAM,
        ),
        of_any_shape=rule == PLAIN and not in_blocks,
    )
    return made(take_step)


train_steps, take_step = stepping(PLAIN), single_step(PLAIN)
