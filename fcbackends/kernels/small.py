"""Training of one small network, with a kernel for each shape.

Where a network has few weights, a step takes some nanoseconds to microseconds, and what there is to
gain lies in keeping the weights in registers or the first-level cache, and in asking nothing at run
time. That takes loops whose lengths are constants: a kernel is compiled for each shape that is
asked for. Some samples at a time go through all layers, forward and backward, and their gradients
are summed; of a batch of one, the weights move as soon as their gradient is known.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fcbackends.kernels.blocks import join, joined, new_sums
from fcbackends.kernels.elements import (
    MOST_CONSTANTS,
    SLOTS,
    Rule,
    is_finite,
    is_paced,
    next_power,
    powers_after,
    setting_pace,
    suffix,
)
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import inlined, kernel
from fcbackends.kernels.losses import SQUARES, gradient_factor
from fcbackends.kernels.rows import all_moving, clipping, repetition
from fcbackends.kernels.sampling import draw_samples
from fcbackends.kernels.small_layout import LANES, is_by_columns, plan
from fcbackends.kernels.small_passes import SAMPLES_AT_ONCE, Small, whole_way
from fcbackends.kernels.threads import TEAM, barrier, share
from fcbackends.kernels.training import Data, data_type
from fcbackends.kernels.vectors import vectors
from fcbackends.kernels.views import flat, local, prefetch, row
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

DRAWS_A_BLOCK = 512

USUAL_ACTIVATION = "relu"
"""Between all layers, it goes without saying in the kernels' names."""

DRAWS_AHEAD = 12
"""So many draws before its turn a sample is asked for from memory: that hides two thirds of the
wait for it. From a mapped file of 1e8 samples, a step took 41 ns instead of 128."""

MOST_WEIGHTS_OF_ONE = 2**16
"""For batches of one: a step takes 2 to 20 times less than the general kernel's, of 64-128-10 on a
Zen 4 0.9 us instead of 2.4. Larger networks, whose weights stand here twice, leave the
second-level cache."""

MOST_WEIGHTS_OF_ANY = 512
"""For any batch: of larger ones on 32 samples, the general kernel's tiles are as fast. 8-16-1 on 16
takes 0.25 us instead of 0.94, 16-32-4 on 256 would take 25 instead of 18."""

MOST_UNITS_AT_ONCE = 2048
"""Inputs and outputs of all layers, times the samples that go through them together: they stand on
the stack, twice, where a thread may have no more than 128 KiB."""

MOST_TERMS_OF_ANY = 32
"""A few outputs' sums go number by number: 200-1 on 32 would take 8 us instead of 3.7."""

_MOST_COPIED = 2048
"""So many numbers the stack has room for, in any thread; they can live in registers there."""


def is_small(sizes: tuple[int, ...], *, one_sample: bool) -> bool:
    """Whether there are kernels for a network of these sizes, and batches of one or of any."""
    samples = 1 if one_sample else SAMPLES_AT_ONCE
    if min(sizes) == 0 or sum(sizes) * samples > MOST_UNITS_AT_ONCE:
        return False
    if one_sample:
        return weights_of(sizes) <= MOST_WEIGHTS_OF_ONE
    by_columns = [k for k, m in itertools.pairwise(sizes) if is_by_columns(k, m)]
    few_terms = max(by_columns, default=0) <= MOST_TERMS_OF_ANY
    return few_terms and weights_of(sizes) <= MOST_WEIGHTS_OF_ANY


def weights_of(sizes: tuple[int, ...]) -> int:
    """The weights and biases of a network with layers of these sizes."""
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))


def _signature(real: types.Float, arithmetic: types.Type) -> tuple[types.Type, ...]:
    return (
        arithmetic,
        real[::1],
        types.float64[::1],
        real[:, ::1],
        WATCH,
        types.float64[::1],
        types.int64[:, ::1],
        types.uint64[:, ::1],
        types.uint16[:, ::1],
        *data_type(real),
        *[types.int64] * 2,
        *[real[:, ::1]] * 2,
        TEAM,
    )


@functools.cache
def small_steps(
    sizes: tuple[int, ...],
    activations: tuple[str, ...],
    loss: str,
    rule: Rule,
    *,
    weighted: bool,
    one_sample: bool,
) -> Callable[..., Any]:
    """The family of kernels for a network of these sizes and batches of one or of any.

    `activations` are the names of those between its layers. Where samples are `weighted`, the
    weight stands behind their targets.
    """
    slots, paced, set_pace = SLOTS[rule[0]], is_paced(rule), setting_pace(rule)
    network = plan(sizes, one_sample=one_sample)
    inputs, target_size, size = sizes[0], sizes[-1] + weighted, network.weights
    own_size, block = network.unrepeated, 1 if one_sample else SAMPLES_AT_ONCE
    is_copied = (1 + slots) * size <= _MOST_COPIED
    new_state = local((1 + slots) * size if is_copied else 1)
    new_gradient = local(1 if one_sample else own_size)
    new_outputs, new_constants = local(block * network.outputs), local(MOST_CONSTANTS)
    new_samples = local(block)
    through = whole_way(network, activations, loss, rule, weighted=weighted, one_sample=one_sample)
    squares = loss == SQUARES
    move, repeat = all_moving(network, rule), repetition(network)
    clip = clipping(network, rule)
    whole = vectors(LANES)

    @inlined
    def data_loss(net, order, rows_per_block, sums):
        zero, all_samples = net.weights.dtype.type(0), net.data.samples
        size = smaller(rows_per_block, all_samples)
        samples = new_samples(order)
        waiting = 0
        for start in range(0, all_samples, size):
            total, end = -zero, start + smaller(size, all_samples - start)
            for first in range(start, end, block):
                count = smaller(block, end - first)
                for n in range(count):
                    samples[n] = first + n
                total = through(net, samples, count, zero, total)
            sums[waiting] = total
            waiting = join(sums, waiting, start // size + 1)
        return joined(sums, waiting) * net.weights.dtype.type(1.0 / all_samples)

    @inlined
    def join_gradient(gradient, sums_that_wait, waiting, done, is_last):
        """As `join`, of a block's gradient, which becomes that of all blocks after the last.

        Before, it becomes the next block's first.
        """
        place, count = waiting, own_size // LANES
        sums = whole(gradient, 0, count)
        while place > 0 and (is_last or done % 4 == 0):
            place -= 1
            before = whole(sums_that_wait, place * own_size, count)
            for i in range(count):
                sums[i] = before[i] + sums[i]
            done //= 2
        if is_last:
            return
        if done % 2 == 0:
            to = whole(sums_that_wait, (place - 1) * own_size, count)
            for i in range(count):
                to[i] = to[i] + sums[i]
                sums[i] = -0.0
        else:
            to = whole(sums_that_wait, place * own_size, count)
            for i in range(count):
                to[i] = sums[i]
                sums[i] = -0.0

    @inlined
    def join_parts(gradient, parts, first, count, sums_that_wait, sums_of_losses):
        """The gradient of so many parts of a batch, from a row on, and the sum of their losses."""
        waiting, sums = 0, whole(gradient, 0, own_size // LANES)
        for number in range(count):
            at = (first + number) * (own_size + LANES)
            of_part = whole(parts, at, own_size // LANES)
            for i in range(own_size // LANES):
                sums[i] = of_part[i]
            sums_of_losses[waiting] = parts[at + own_size]
            is_last = number + 1 == count
            join_gradient(gradient, sums_that_wait, waiting, number + 1, is_last)
            waiting = join(sums_of_losses, waiting, number + 1)
        return joined(sums_of_losses, waiting)

    def steps(
        arithmetic,
        constants,
        pace,
        states,
        watch,
        losses,
        orders,
        epoch_words,
        epoch_orders,
        x,
        t,
        samples,
        rows_per_block,
        rows_per_part,
        waiting_gradients,
        gradients_of_parts,
        team,
    ):
        """As `train_steps`, on weights and slots as `plan` has them; `orders` is room for batches.

        Each thread has a row of these, and of what else is a matrix. Sums over samples are of
        blocks of so many; of a batch's, gradients that wait stand in a row. Where several threads
        share a batch, each sums the gradients of some parts of it, which are as many blocks as a
        power of two, and all join them to one and move their own weights: for two steps in turn
        there is a row for each part, so that they wait for each other once a step.

        What was seen is returned as a plain tuple: to make a named one takes 0.6 us.
        """
        data = Data(x, t, samples)
        batch = 1 if one_sample else watch.batch_size
        theta = row(flat(states), team.thread * states.shape[1], states.shape[1])
        real = theta.dtype.type
        one_over_n, factor = real(1.0 / batch), real(gradient_factor(squares, batch))
        size_of_block = batch if one_sample else smaller(rows_per_block, batch)
        size_of_part = batch if one_sample else smaller(rows_per_part, batch)
        order = row(flat(orders), team.thread * orders.shape[1], orders.shape[1])
        in_row = waiting_gradients.shape[1]
        sums_that_wait = row(flat(waiting_gradients), team.thread * in_row, in_row)
        all_parts = flat(gradients_of_parts)
        parts = (batch + size_of_part - 1) // size_of_part
        shared = team.threads > 1
        first_part, end_part = share(parts, 1, team)
        own_first = first_part * size_of_part
        own_end = smaller(end_part * size_of_part, batch)
        turn = 0
        gradient, sums_of_losses = new_gradient(theta), new_sums(theta)
        if is_copied:
            weights = new_state(theta)
            for i in range((1 + slots) * size):
                weights[i] = theta[i]
        else:
            weights = theta
        own = new_constants(theta)
        h, d = new_outputs(theta), new_outputs(theta)
        net = Small(arithmetic, own, weights, gradient, h, d, data)
        for i in range(block * network.outputs):
            h[i] = 0
            d[i] = 0
        for i in range(MOST_CONSTANTS):
            own[i] = constants[i]
        steps_a_block = order.shape[0] // batch
        place = block_end = draws_end = 0
        if paced:
            power1, power2 = powers_after(pace, watch.start)
        seen = begin(watch)
        while goes_on(watch, seen):
            step, watched = seen.step, seen.loss
            look_after = next_look(watch, step)
            finite = True
            while step < look_after:
                if place == block_end:
                    block_end = smaller(steps_a_block, watch.stop - step) * batch
                    draws_end = own_end if shared else block_end
                    draw_samples(
                        order, own_first, draws_end, step * batch, data.samples, watch.key,
                        watch.by_epoch, epoch_words[team.thread], epoch_orders[team.thread],
                    )  # fmt: skip
                    place = 0
                if paced:
                    power1, power2 = next_power(power1, pace[1]), next_power(power2, pace[2])
                    set_pace(own, pace, step - watch.start, power1, power2)
                start, part = place + own_first, first_part
                place += batch
                total = real(-0.0)
                while start < place and part < end_part:
                    part_end = smaller(start + size_of_part, place)
                    waiting = done = 0
                    if not one_sample:
                        sums = whole(gradient, 0, own_size // LANES)
                        for i in range(own_size // LANES):
                            sums[i] = -0.0
                    while start < part_end:
                        end = smaller(start + size_of_block, part_end)
                        total = real(-0.0)
                        for first in range(start, end, block):
                            count = smaller(block, end - first)
                            for n in range(first, first + count):
                                ahead = order[smaller(n + DRAWS_AHEAD, draws_end - 1)]
                                prefetch(data.x, ahead * inputs)
                                prefetch(data.t, ahead * target_size)
                                prefetch(data.t, ahead * target_size + target_size - 1)
                            drawn = row(order, first, count)
                            total = through(net, drawn, count, factor, total)
                        start = end
                        if not one_sample and size_of_block < batch:
                            done += 1
                            sums_of_losses[waiting] = total
                            is_last = start == part_end
                            join_gradient(gradient, sums_that_wait, waiting, done, is_last)
                            waiting = join(sums_of_losses, waiting, done)
                            if is_last:
                                total = joined(sums_of_losses, waiting)
                    if not one_sample and shared:
                        at = (turn * parts + part) * (own_size + LANES)
                        of_part = whole(all_parts, at, own_size // LANES)
                        of_gradient = whole(gradient, 0, own_size // LANES)
                        for i in range(own_size // LANES):
                            of_part[i] = of_gradient[i]
                        all_parts[at + own_size] = total
                    part += 1
                if not one_sample and shared:
                    if not barrier(team):
                        return 0, 0.0, 0, False, 0
                    total = join_parts(
                        gradient, all_parts, turn * parts, parts, sums_that_wait, sums_of_losses
                    )
                    turn = 1 - turn
                batch_loss = total * one_over_n
                if not is_finite(batch_loss):
                    finite = False
                    break
                if not one_sample:
                    clip(gradient, constants)
                    move(weights, gradient, own, size)
                    repeat(weights)
                step += 1
                watched = np.float64(batch_loss)
                if watched <= batch_tol(watch):
                    break
            if not finite:
                seen = diverge(watch, seen, step, watched)
            else:
                if wants_data(watch, step):
                    of_data = data_loss(net, order, rows_per_block, sums_of_losses)
                    watched = np.float64(of_data)
                seen = look_up(watch, seen, step, watched, losses, team.thread == 0)
        if is_copied:
            for i in range((1 + slots) * size):
                theta[i] = weights[i]
        return seen.step, seen.loss, seen.recorded, seen.reached, seen.diverged_at

    # The name is also the kernel's in the cache.
    unusual = activations if {*activations} - {USUAL_ACTIVATION} else ()
    of_loss = (() if squares else (loss,)) + (("weighted",) if weighted else ())
    parts = *sizes, "one" if one_sample else "any", *unusual, *of_loss
    name = f"small_steps_{'_'.join(map(str, parts))}{suffix(rule)}"
    steps.__name__ = steps.__qualname__ = name
    return kernel(_signature, of_any_shape=False)(steps)
