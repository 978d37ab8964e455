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

from fcbackends.kernels.jit import inlined, kernel
from fcbackends.kernels.network import is_finite
from fcbackends.kernels.sampling import draw_samples
from fcbackends.kernels.views import local, matrix, prefetch

MOST_WEIGHTS = 32
"""With a gradient for each, what the registers hold."""

DRAWS_A_BLOCK = 512

DRAWS_AHEAD = 12
"""So many draws before its turn a sample is asked for from memory: that hides two thirds of the
wait for it. From a mapped file of 1e8 samples, a step took 41 ns instead of 128."""


def is_small(inputs: int, outputs: int) -> bool:
    """Whether there are kernels for a layer of this shape."""
    return (inputs + 1) * outputs <= MOST_WEIGHTS


def _signature(real: types.Float) -> tuple[types.Type, ...]:
    row = types.Array(real, 1, "C", readonly=True)
    return (
        real[::1],
        row,
        row,
        types.float64[::1],
        types.int64[::1],
        types.uint64[::1],
        types.uint16[::1],
        real,
        types.uint64,
        types.int64,
        types.int64,
        types.int64,
        types.boolean,
        types.boolean,
        types.float64,
        types.int64,
    )


@functools.cache
def linear_steps(inputs: int, outputs: int, *, one_sample: bool) -> Callable[[str], Any]:
    """The family of kernels, by dtype, for a layer of this shape and batches of one or of any."""
    size = (inputs + 1) * outputs
    new_weights, new_row = local(size), local(outputs)

    @inlined
    def squares_and_gradient(wb, x, t, dy, two_over_n):
        """The squared error of one sample; dy receives its gradient."""
        squares = wb.dtype.type(-0.0)
        for m in range(outputs):
            y = wb.dtype.type(-0.0)
            for k in range(inputs):
                y += x[k] * wb[k * outputs + m]
            d = (y + wb[inputs * outputs + m]) - t[m]
            squares += d * d
            dy[m] = d * two_over_n
        return squares

    @inlined
    def data_loss(wb, x, t, dy):
        samples = t.shape[0] // outputs
        one = wb.dtype.type(1)
        total = wb.dtype.type(-0.0)
        for sample in range(samples):
            total += squares_and_gradient(
                wb,
                matrix(x, sample * inputs, 1, inputs)[0],
                matrix(t, sample * outputs, 1, outputs)[0],
                dy,
                one,
            )
        return total * wb.dtype.type(1.0 / samples)

    def steps(
        theta,
        x,
        t,
        losses,
        order,
        epoch_words,
        epoch_order,
        lr,
        key,
        start,
        stop,
        batch_size,
        by_epoch,
        on_data,
        tol,
        record_every,
    ):
        """As `train_steps`, on weights `theta`; `order` has room for some batches' draws."""
        samples = t.shape[0] // outputs
        batch = 1 if one_sample else batch_size
        one_over_n, two_over_n = theta.dtype.type(1.0 / batch), theta.dtype.type(2.0 / batch)
        wb, gradient, dy = new_weights(theta), new_weights(theta), new_row(theta)
        for i in range(size):
            wb[i] = theta[i]
        steps_a_block = order.shape[0] // batch
        place = block_end = 0
        loss = 0.0
        recorded = 0
        until_record = record_every - start % record_every
        reached = False
        diverged = 0
        step = start
        while step < stop:
            if place == block_end:
                block_end = min(steps_a_block, stop - step) * batch
                draw_samples(
                    order,
                    0,
                    block_end,
                    step * batch,
                    samples,
                    key,
                    by_epoch,
                    epoch_words,
                    epoch_order,
                )
                place = 0
            total = theta.dtype.type(-0.0)
            for i in range(size):
                gradient[i] = -0.0
            for n in range(batch):
                ahead = order[min(place + n + DRAWS_AHEAD, block_end - 1)]
                prefetch(x, ahead * inputs)
                prefetch(t, ahead * outputs)
                prefetch(t, ahead * outputs + outputs - 1)
                sample = order[place + n]
                x_n = matrix(x, sample * inputs, 1, inputs)[0]
                t_n = matrix(t, sample * outputs, 1, outputs)[0]
                total += squares_and_gradient(wb, x_n, t_n, dy, two_over_n)
                for k in range(inputs):
                    for m in range(outputs):
                        gradient[k * outputs + m] += x_n[k] * dy[m]
                for m in range(outputs):
                    gradient[inputs * outputs + m] += dy[m]
            place += batch
            batch_loss = total * one_over_n
            if not is_finite(batch_loss):
                diverged = step + 1
                break
            for i in range(size):
                wb[i] -= lr * gradient[i]
            step += 1

            until_record -= 1
            look = until_record == 0
            if look:
                until_record = record_every
            if not on_data:
                loss = np.float64(batch_loss)
            elif look:
                loss = np.float64(data_loss(wb, x, t, dy))
                if not is_finite(loss):
                    diverged = step
                    break
            if look:
                losses[recorded] = loss
                recorded += 1
            if loss <= tol and (look or not on_data):
                reached = True
                break
        for i in range(size):
            theta[i] = wb[i]
        return step, loss, recorded, reached, diverged

    batches = "one" if one_sample else "any"
    steps.__name__ = steps.__qualname__ = f"linear_steps_{inputs}_{outputs}_{batches}"
    return kernel(_signature, of_any_shape=False)(steps)
