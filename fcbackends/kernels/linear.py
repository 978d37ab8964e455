"""Training of one small layer, with a kernel for each shape.

Where a network is one layer of few weights, a step takes some nanoseconds, and all there is to
gain lies in keeping the weights in registers. That takes loops whose lengths are constants: a
kernel is compiled for each shape that is asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fcbackends.kernels.arithmetic import plus_product
from fcbackends.kernels.elements import (
    MOST_CONSTANTS,
    gradient_factor,
    is_finite,
    loss_of_sample,
    update,
)
from fcbackends.kernels.jit import inlined, kernel
from fcbackends.kernels.sampling import draw_samples
from fcbackends.kernels.training import data_type
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

MOST_WEIGHTS = 32
"""With a gradient for each, what the registers hold."""

DRAWS_A_BLOCK = 512

DRAWS_AHEAD = 12
"""So many draws before its turn a sample is asked for from memory: that hides two thirds of the
wait for it. From a mapped file of 1e8 samples, a step took 41 ns instead of 128."""


def is_small(inputs: int, outputs: int) -> bool:
    """Whether there are kernels for a layer of this shape."""
    return inputs > 0 and 0 < (inputs + 1) * outputs <= MOST_WEIGHTS


def _signature(real: types.Float, arithmetic: types.Type) -> tuple[types.Type, ...]:
    return (
        arithmetic,
        types.int64,
        types.int64,
        real[::1],
        real[::1],
        data_type(real),
        WATCH,
        types.float64[::1],
        types.int64[::1],
        types.uint64[::1],
        types.uint16[::1],
    )


@functools.cache
def linear_steps(
    inputs: int, outputs: int, *, one_sample: bool, slots: int = 0
) -> Callable[..., Any]:
    """The family of kernels for a layer of this shape and batches of one or of any.

    `slots` is how many numbers the optimizer keeps beside each weight.
    """
    size = (inputs + 1) * outputs
    new_state, new_gradient, new_output = local((1 + slots) * size), local(size), local(outputs)
    new_constants = local(MOST_CONSTANTS)

    @inlined
    def loss_of(arithmetic, loss, weights, data, sample, dy, factor):
        """The loss of one sample; dy receives its gradient."""
        x, t = row(data.x, sample * inputs, inputs), row(data.t, sample * outputs, outputs)
        for m in range(outputs):
            y = weights.dtype.type(-0.0)
            for k in range(inputs):
                y = plus_product(arithmetic, y, x[k], weights[k * outputs + m])
            dy[m] = y + weights[inputs * outputs + m]
        return loss_of_sample(loss, dy, t, dy, factor)

    @inlined
    def data_loss(arithmetic, loss, weights, data, dy):
        total, zero = weights.dtype.type(-0.0), weights.dtype.type(0)
        for sample in range(data.samples):
            total += loss_of(arithmetic, loss, weights, data, sample, dy, zero)
        return total * weights.dtype.type(1.0 / data.samples)

    def steps(
        arithmetic,
        loss,
        optimizer,
        constants,
        theta,
        data,
        watch,
        losses,
        order,
        epoch_words,
        epoch_order,
    ):
        """As `train_steps`, on all weights and slots in `theta`; `order` has room for batches."""
        batch = 1 if one_sample else watch.batch_size
        real = theta.dtype.type
        one_over_n, factor = real(1.0 / batch), real(gradient_factor(loss, batch))
        weights, gradient, dy = new_state(theta), new_gradient(theta), new_output(theta)
        for i in range((1 + slots) * size):
            weights[i] = theta[i]
        own = new_constants(theta)
        for i in range(MOST_CONSTANTS):
            own[i] = constants[i]
        steps_a_block = order.shape[0] // batch
        place = block_end = 0
        seen = begin(watch)
        while goes_on(watch, seen):
            step, watched = seen.step, seen.loss
            look = next_look(watch, step)
            finite = True
            while step < look:
                if place == block_end:
                    block_end = min(steps_a_block, watch.stop - step) * batch
                    draw_samples(
                        order, 0, block_end, step * batch, data.samples, watch.key, watch.by_epoch,
                        epoch_words, epoch_order,
                    )  # fmt: skip
                    place = 0
                total = real(-0.0)
                for i in range(size):
                    gradient[i] = -0.0
                for n in range(place, place + batch):
                    ahead = order[min(n + DRAWS_AHEAD, block_end - 1)]
                    prefetch(data.x, ahead * inputs)
                    prefetch(data.t, ahead * outputs)
                    prefetch(data.t, ahead * outputs + outputs - 1)
                    sample = order[n]
                    total += loss_of(arithmetic, loss, weights, data, sample, dy, factor)
                    x = row(data.x, sample * inputs, inputs)
                    for k in range(inputs):
                        for m in range(outputs):
                            i = k * outputs + m
                            gradient[i] = plus_product(arithmetic, gradient[i], x[k], dy[m])
                    for m in range(outputs):
                        gradient[inputs * outputs + m] += dy[m]
                place += batch
                batch_loss = total * one_over_n
                if not is_finite(batch_loss):
                    finite = False
                    break
                update(optimizer, weights, 0, gradient, own, size)
                step += 1
                watched = np.float64(batch_loss)
                if watched <= batch_tol(watch):
                    break
            if not finite:
                seen = diverge(watch, seen, step, watched)
            else:
                if wants_data(watch, step):
                    watched = np.float64(data_loss(arithmetic, loss, weights, data, dy))
                seen = look_up(watch, seen, step, watched, losses, True)
        for i in range((1 + slots) * size):
            theta[i] = weights[i]
        return seen

    # The name is also the kernel's in the cache.
    name = f"linear_steps_{inputs}_{outputs}_{'one' if one_sample else 'any'}"
    steps.__name__ = steps.__qualname__ = name + (f"_{slots}" if slots else "")
    return kernel(_signature, of_any_shape=False)(steps)
