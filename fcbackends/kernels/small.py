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
from fcbackends.kernels.small_blocks import (
    own_rows,
    shared_type,
    summing_batches,
    summing_data,
)
from fcbackends.kernels.small_layout import LANES, is_by_columns, plan
from fcbackends.kernels.small_passes import SAMPLES_AT_ONCE, Small, whole_way
from fcbackends.kernels.training import Data, data_type
from fcbackends.kernels.vectors import vectors
from fcbackends.kernels.views import local, prefetch, row
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


def _signature(
    real: types.Float, arithmetic: types.Type, *, in_blocks: bool
) -> tuple[types.Type, ...]:
    return (
        arithmetic,
        real[::1],
        types.float64[::1],
        real[::1],
        WATCH,
        types.float64[::1],
        types.int64[::1],
        types.uint64[::1],
        types.uint16[::1],
        *data_type(real),
        shared_type(real) if in_blocks else types.int64,
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
    in_blocks: bool = False,
) -> Callable[..., Any]:
    """The family of kernels for a network of these sizes and batches of one or of any.

    `activations` are the names of those between its layers. Where samples are `weighted`, the
    weight stands behind their targets. Where sums over samples are `in_blocks`, those of a batch or
    of the data may be of several.
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
    splits = in_blocks and not one_sample
    sum_batch = summing_batches(network, block, through, target_size)
    data_loss_in_blocks = summing_data(block, through)
    move, repeat = all_moving(network, rule), repetition(network)
    clip = clipping(network, rule)
    whole = vectors(LANES)

    @inlined
    def data_loss(net, order):
        zero = net.weights.dtype.type(0)
        total = -zero
        samples = new_samples(order)
        for first in range(0, net.data.samples, block):
            count = smaller(block, net.data.samples - first)
            for n in range(count):
                samples[n] = first + n
            total = through(net, samples, count, zero, total)
        return total * net.weights.dtype.type(1.0 / net.data.samples)

    def steps(
        arithmetic,
        constants,
        pace,
        theta,
        watch,
        losses,
        order,
        epoch_words,
        epoch_order,
        x,
        t,
        samples,
        shared,
    ):
        """As `train_steps`, on weights and slots as `plan` has them; `order` is room for batches.

        Where sums are in blocks, `shared` says how, and `order` is room for one batch.

        What was seen is returned as a plain tuple: to make a named one takes 0.6 us.
        """
        data = Data(x, t, samples)
        batch = 1 if one_sample else watch.batch_size
        real = theta.dtype.type
        one_over_n, factor = real(1.0 / batch), real(gradient_factor(squares, batch))
        gradient = new_gradient(theta)
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
        place = block_end = 0
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
                    if splits:
                        draws_at, draws_end = own_rows(batch, shared)
                    else:
                        draws_at, draws_end = 0, block_end
                    draw_samples(
                        order, draws_at, draws_end, step * batch, data.samples, watch.key,
                        watch.by_epoch, epoch_words, epoch_order,
                    )  # fmt: skip
                    place = 0
                if paced:
                    power1, power2 = next_power(power1, pace[1]), next_power(power2, pace[2])
                    set_pace(own, pace, step - watch.start, power1, power2)
                total = real(-0.0)
                if splits:
                    total = sum_batch(net, order, batch, factor, step, shared)
                else:
                    if not one_sample:
                        sums = whole(gradient, 0, own_size // LANES)
                        for i in range(own_size // LANES):
                            sums[i] = -0.0
                    for first in range(place, place + batch, block):
                        count = smaller(block, place + batch - first)
                        for n in range(first, first + count):
                            ahead = order[smaller(n + DRAWS_AHEAD, block_end - 1)]
                            prefetch(data.x, ahead * inputs)
                            prefetch(data.t, ahead * target_size)
                            prefetch(data.t, ahead * target_size + target_size - 1)
                        drawn = row(order, first, count)
                        total = through(net, drawn, count, factor, total)
                place += batch
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
                    if in_blocks:
                        watched = np.float64(data_loss_in_blocks(net, order, shared))
                    else:
                        watched = np.float64(data_loss(net, order))
                seen = look_up(watch, seen, step, watched, losses, True)
        if is_copied:
            for i in range((1 + slots) * size):
                theta[i] = weights[i]
        return seen.step, seen.loss, seen.recorded, seen.reached, seen.diverged_at

    # The name is also the kernel's in the cache.
    unusual = activations if {*activations} - {USUAL_ACTIVATION} else ()
    of_loss = (() if squares else (loss,)) + (("weighted",) if weighted else ())
    cut = ("blocks",) if in_blocks else ()
    parts = *sizes, "one" if one_sample else "any", *unusual, *of_loss, *cut
    name = f"small_steps_{'_'.join(map(str, parts))}{suffix(rule)}"
    steps.__name__ = steps.__qualname__ = name
    signature = functools.partial(_signature, in_blocks=in_blocks)
    return kernel(signature, of_any_shape=False)(steps)
