"""Training of one small network, with a kernel for each shape.

Where a network has few weights, a step takes some nanoseconds to microseconds, and what there is to
gain lies in keeping the weights in registers or the first-level cache. That takes loops whose
lengths are constants: a kernel is compiled for each shape that is asked for. It goes through a
batch sample by sample, forward and backward, and sums their gradients.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fcbackends.kernels.arithmetic import plus_product
from fcbackends.kernels.elements import (
    MOST_CONSTANTS,
    activate,
    activation_backward,
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

DRAWS_A_BLOCK = 512

DRAWS_AHEAD = 12
"""So many draws before its turn a sample is asked for from memory: that hides two thirds of the
wait for it. From a mapped file of 1e8 samples, a step took 41 ns instead of 128."""


MOST_WEIGHTS_OF_A_LAYER = 32
"""With a gradient for each, what the registers hold."""

MOST_WEIGHTS_OF_A_NETWORK = 512
"""Of several layers, for batches of one. On a Zen 4 a step of 2-8-1 takes 28 ns instead of 430, of
8-16-1 165 instead of 450; of 4-64-64-2, 4610 weights, 3.2 us, and 2.3 in the general kernel."""

_SUMS_AT_ONCE = 8


def is_small(sizes: tuple[int, ...], *, one_sample: bool) -> bool:
    """Whether there are kernels for a network of these sizes, and batches of one or of any."""
    if min(sizes) == 0:
        return False
    if len(sizes) == 2:
        return weights_of(sizes) <= MOST_WEIGHTS_OF_A_LAYER
    return one_sample and weights_of(sizes) <= MOST_WEIGHTS_OF_A_NETWORK


def weights_of(sizes: tuple[int, ...]) -> int:
    """The weights and biases of a network with layers of these sizes."""
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))


def _signature(real: types.Float, arithmetic: types.Type) -> tuple[types.Type, ...]:
    return (
        arithmetic,
        types.int64,
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


def _layer(sizes: tuple[int, ...], number: int, following: Any, *, learns: bool) -> Any:
    """A sample's way through a layer, the `following` ones, and back; returns its loss.

    `h` has room for all layers' outputs, and `d` for their gradients, those of the layer before
    this one's among them.
    """
    inputs, outputs = sizes[number : number + 2]
    weights_at = weights_of(sizes[: number + 1])
    bias_at = weights_at + inputs * outputs
    out_at = sum(sizes[1 : number + 1])
    in_at = out_at - inputs
    new_sums = local(_SUMS_AT_ONCE)
    is_first, is_last = number == 0, number == len(sizes) - 2

    @inlined
    def forward(arithmetic, activation, weights, x, y):
        for m in range(outputs):
            y[m] = -0.0
        for k in range(inputs):
            for m in range(outputs):
                y[m] = plus_product(arithmetic, y[m], x[k], weights[weights_at + k * outputs + m])
        for m in range(outputs):
            y[m] += weights[bias_at + m]
        if not is_last:
            activate(activation, y)

    @inlined
    def input_gradient(arithmetic, weights, dy, dx):
        # Several sums at a time hide each other's latency.
        sums = new_sums(weights)
        for first in range(0, inputs, _SUMS_AT_ONCE):
            for j in range(_SUMS_AT_ONCE):
                sums[j] = -0.0
            for m in range(outputs):
                for j in range(_SUMS_AT_ONCE):
                    i = weights_at + min(first + j, inputs - 1) * outputs + m
                    sums[j] = plus_product(arithmetic, sums[j], dy[m], weights[i])
            for j in range(min(_SUMS_AT_ONCE, inputs - first)):
                dx[first + j] = sums[j]

    @inlined
    def backward(arithmetic, weights, gradient, x, d, dy):
        for k in range(inputs):
            for m in range(outputs):
                i = weights_at + k * outputs + m
                gradient[i] = plus_product(arithmetic, gradient[i], x[k], dy[m])
        for m in range(outputs):
            gradient[bias_at + m] += dy[m]
        if not is_first:
            input_gradient(arithmetic, weights, dy, row(d, in_at, inputs))

    @inlined
    def through(arithmetic, activation, loss, weights, gradient, x, h, d, t, factor):
        y, dy = row(h, out_at, outputs), row(d, out_at, outputs)
        forward(arithmetic, activation, weights, x, y)
        if is_last:
            of_sample = loss_of_sample(loss, y, t, dy, factor)
        else:
            of_sample = following(
                arithmetic, activation, loss, weights, gradient, y, h, d, t, factor
            )
        if learns:
            if not is_last:
                activation_backward(activation, dy, y)
            backward(arithmetic, weights, gradient, x, d, dy)
        return of_sample

    return through


def _network(sizes: tuple[int, ...], *, learns: bool) -> Any:
    """A sample's way through all layers and, if it `learns`, back."""

    @inlined
    def nothing(arithmetic, activation, loss, weights, gradient, x, h, d, t, factor):
        return factor

    through = nothing
    for number in reversed(range(len(sizes) - 1)):
        through = _layer(sizes, number, through, learns=learns)
    return through


@functools.cache
def small_steps(sizes: tuple[int, ...], *, one_sample: bool, slots: int = 0) -> Callable[..., Any]:
    """The family of kernels for a network of these sizes and batches of one or of any.

    `slots` is how many numbers the optimizer keeps beside each weight.
    """
    inputs, outputs, size = sizes[0], sizes[-1], weights_of(sizes)
    new_state, new_gradient = local((1 + slots) * size), local(size)
    new_outputs, new_constants = local(sum(sizes[1:])), local(MOST_CONSTANTS)
    learn, look = _network(sizes, learns=True), _network(sizes, learns=False)

    @inlined
    def data_loss(arithmetic, activation, loss, weights, gradient, data, h, d):
        total, zero = weights.dtype.type(-0.0), weights.dtype.type(0)
        for sample in range(data.samples):
            x, t = row(data.x, sample * inputs, inputs), row(data.t, sample * outputs, outputs)
            total += look(arithmetic, activation, loss, weights, gradient, x, h, d, t, zero)
        return total * weights.dtype.type(1.0 / data.samples)

    def steps(
        arithmetic,
        activation,
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
        weights, gradient = new_state(theta), new_gradient(theta)
        h, d = new_outputs(theta), new_outputs(theta)
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
            look_after = next_look(watch, step)
            finite = True
            while step < look_after:
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
                    x = row(data.x, sample * inputs, inputs)
                    t = row(data.t, sample * outputs, outputs)
                    total += learn(
                        arithmetic, activation, loss, weights, gradient, x, h, d, t, factor
                    )
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
                    watched = np.float64(
                        data_loss(arithmetic, activation, loss, weights, gradient, data, h, d)
                    )
                seen = look_up(watch, seen, step, watched, losses, True)
        for i in range((1 + slots) * size):
            theta[i] = weights[i]
        return seen

    # The name is also the kernel's in the cache.
    name = f"small_steps_{'_'.join(map(str, sizes))}_{'one' if one_sample else 'any'}"
    steps.__name__ = steps.__qualname__ = name + (f"_{slots}" if slots else "")
    return kernel(_signature, of_any_shape=False)(steps)
