"""A small network's sums over samples in blocks of rows, and a batch that threads share.

Of a batch each thread sums the gradients of some parts, which are blocks as many as a power of two;
then all threads join them, and each moves weights of its own. For two steps in turn there is room
for the parts' sums, so that threads wait for each other once a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from fcbackends.kernels.blocks import join, joined, new_sums
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.small_layout import LANES, Plan
from fcbackends.kernels.threads import TEAM, barrier, share
from fcbackends.kernels.vectors import vectors
from fcbackends.kernels.views import local, prefetch, row

_DRAWS_AHEAD = 12


class Shared(NamedTuple):
    """How samples are cut, room for the sums that wait, and for those of parts, and the thread."""

    rows_per_block: int
    rows_per_part: int
    waiting: Any
    parts: Any
    team: Any


def shared_type(real: types.Float) -> types.Type:
    """The type of Shared of this dtype."""
    return types.NamedTuple((*[types.int64] * 2, *[real[::1]] * 2, TEAM), Shared)


@inlined
def own_parts(batch, shared):
    """The first and the last + 1 of a thread's parts of a batch, and how many there are."""
    size = smaller(shared.rows_per_part, batch)
    count = (batch + size - 1) // size
    first, last = share(count, 1, shared.team)
    return first, last, count


@inlined
def own_rows(batch, shared):
    """The first and the last + 1 of a thread's rows of a batch."""
    size = smaller(shared.rows_per_part, batch)
    first, last, _ = own_parts(batch, shared)
    return first * size, smaller(last * size, batch)


def summing_data(block: int, through: Any) -> Any:
    """The loss of the whole data, `block` samples at a time."""
    new_samples = local(block)

    @inlined
    def data_loss(net, order, shared):
        zero, all_samples = net.weights.dtype.type(0), net.data.samples
        size = smaller(shared.rows_per_block, all_samples)
        samples, sums = new_samples(order), new_sums(net.weights)
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

    return data_loss


def summing_batches(plan: Plan, block: int, through: Any, target_size: int) -> Any:
    """The gradient of a batch, and the sum of its losses, `block` samples at a time."""
    whole, size = vectors(LANES), plan.unrepeated
    count, in_part, inputs = size // LANES, size + LANES, plan.layers[0].inputs

    @called
    def join_gradient(gradient, room, waiting, done, is_last):
        """As `join`, of a block's gradient, which becomes that of all blocks after the last.

        Before, it becomes the next block's first. Inlined, it had the compiler keep the gradient in
        registers through all of a block: in float32 a step of 16-8-1 took 4 % longer.
        """
        place, sums = waiting, whole(gradient, 0, count)
        while place > 0 and (is_last or done % 4 == 0):
            place -= 1
            before = whole(room, place * size, count)
            for i in range(count):
                sums[i] = before[i] + sums[i]
            done //= 2
        if is_last:
            return
        if done % 2 == 0:
            to = whole(room, (place - 1) * size, count)
            for i in range(count):
                to[i] = to[i] + sums[i]
                sums[i] = -0.0
        else:
            to = whole(room, place * size, count)
            for i in range(count):
                to[i] = sums[i]
                sums[i] = -0.0

    @inlined
    def sum_part(net, order, start, end, last_draw, factor, sums_of_losses, shared):
        """The sum of a part's losses; its gradient comes in the place of the network's."""
        sums = whole(net.gradient, 0, count)
        for i in range(count):
            sums[i] = -0.0
        total, waiting, done = net.weights.dtype.type(-0.0), 0, 0
        block_end = smaller(start + shared.rows_per_block, end)
        # One loop: what it makes of the weights before its first turn is not made for each block.
        while start < end:
            samples = smaller(block, block_end - start)
            for n in range(start, start + samples):
                ahead = order[smaller(n + _DRAWS_AHEAD, last_draw)]
                prefetch(net.data.x, ahead * inputs)
                prefetch(net.data.t, ahead * target_size)
                prefetch(net.data.t, ahead * target_size + target_size - 1)
            total = through(net, row(order, start, samples), samples, factor, total)
            start += samples
            if start == block_end:
                done += 1
                sums_of_losses[waiting] = total
                join_gradient(net.gradient, shared.waiting, waiting, done, start == end)
                waiting = join(sums_of_losses, waiting, done)
                total = net.weights.dtype.type(-0.0)
                block_end = smaller(block_end + shared.rows_per_block, end)
        return joined(sums_of_losses, waiting)

    @inlined
    def join_parts(gradient, parts, first, number_of_parts, room, sums_of_losses):
        """The gradient of so many parts of a batch, from a row on, and the sum of their losses."""
        waiting, sums = 0, whole(gradient, 0, count)
        for number in range(number_of_parts):
            of_part = whole(parts, (first + number) * in_part, count)
            for i in range(count):
                sums[i] = of_part[i]
            sums_of_losses[waiting] = parts[(first + number) * in_part + size]
            join_gradient(gradient, room, waiting, number + 1, number + 1 == number_of_parts)
            waiting = join(sums_of_losses, waiting, number + 1)
        return joined(sums_of_losses, waiting)

    @inlined
    def sum_batch(net, order, batch, factor, step, shared):
        """The sum of a batch's losses; its gradient comes in the place of the network's.

        `order` names its samples, those of the thread's own rows; NaN, where threads are missing.
        """
        sums_of_losses, total = new_sums(net.weights), net.weights.dtype.type(0)
        first, last, parts = own_parts(batch, shared)
        size_of_part = smaller(shared.rows_per_part, batch)
        _, end_of_own = own_rows(batch, shared)
        first_of_step = step % 2 * parts
        for part in range(first, last):
            start = part * size_of_part
            end = smaller(start + size_of_part, batch)
            total = sum_part(net, order, start, end, end_of_own - 1, factor, sums_of_losses, shared)
            if shared.team.threads > 1:
                at = (first_of_step + part) * in_part
                of_part, sums = whole(shared.parts, at, count), whole(net.gradient, 0, count)
                for i in range(count):
                    of_part[i] = sums[i]
                shared.parts[at + size] = total
        if shared.team.threads > 1:
            if not barrier(shared.team):
                return net.weights.dtype.type(0) / net.weights.dtype.type(0)
            total = join_parts(
                net.gradient, shared.parts, first_of_step, parts, shared.waiting, sums_of_losses
            )
        return total

    return sum_batch
