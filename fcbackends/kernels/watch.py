"""What is watched of a run of steps: the losses that are kept, and where it stops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from fcbackends.kernels.elements import is_finite
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import inlined


class Watch(NamedTuple):
    """The steps `start` + 1 to `stop`: how their samples are drawn, and what ends them early.

    The loss that is watched is each batch's before its step or, `on_data`, the whole data's after
    each `record_every`-th; at most `tol`, it ends the run.
    """

    key: np.uint64
    start: int
    stop: int
    batch_size: int
    by_epoch: bool
    on_data: bool
    tol: float
    record_every: int


WATCH = types.NamedTuple(
    (types.uint64, *[types.int64] * 3, *[types.boolean] * 2, types.float64, types.int64), Watch
)


class Seen(NamedTuple):
    """What has been seen of a run: its last step and watched loss, and how it ended.

    `recorded` losses were kept; `diverged_at` is the step whose loss is not finite, 0 for none.
    """

    step: int
    loss: float
    recorded: int
    reached: bool
    diverged_at: int


@inlined
def begin(watch):
    """Before the first step."""
    return Seen(watch.start, 0.0, 0, False, 0)


@inlined
def goes_on(watch, seen):
    """Whether there is a next step."""
    return seen.step < watch.stop and not seen.reached and seen.diverged_at == 0


@inlined
def next_look(watch, step):
    """The step after which to look up: no loss is kept before it."""
    return smaller(watch.stop, (step // watch.record_every + 1) * watch.record_every)


@inlined
def batch_tol(watch):
    """The loss of a batch after whose step to look up at once."""
    return -np.inf if watch.on_data else watch.tol


@inlined
def wants_data(watch, step):
    """Whether the whole data's loss is wanted after this step."""
    return watch.on_data and step % watch.record_every == 0


@inlined
def look_up(watch, seen, step, loss, losses, keeps):
    """After `step`: `loss` is its batch's or, where that is wanted, the whole data's.

    Where `keeps`, a loss that is due is written to `losses`.
    """
    is_due = step % watch.record_every == 0
    if watch.on_data and not is_due:
        return Seen(step, seen.loss, seen.recorded, False, 0)
    if not is_finite(loss):
        return Seen(step, loss, seen.recorded, False, step)
    if is_due and keeps:
        losses[seen.recorded] = loss
    return Seen(step, loss, seen.recorded + is_due, loss <= watch.tol, 0)


@inlined
def leave(watch, seen, step, loss):
    """After `step`, whose batch's loss was `loss`: the next is not taken, or nothing looked at."""
    return Seen(step, seen.loss if watch.on_data else loss, seen.recorded, False, 0)


@inlined
def diverge(watch, seen, step, loss):
    """After `step`, whose batch's loss was `loss`: that of the next is not finite."""
    return Seen(step, seen.loss if watch.on_data else loss, seen.recorded, False, step + 1)
