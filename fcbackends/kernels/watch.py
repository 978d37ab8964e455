"""What is watched of a run of steps: the losses that are kept, and where it stops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from fcbackends.kernels.elements import is_finite
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
    (
        types.uint64,
        *[types.int64] * 3,
        types.boolean,
        types.boolean,
        types.float64,
        types.int64,
    ),
    Watch,
)


class Seen(NamedTuple):
    """What has been seen of a run: its last step and watched loss, and how it ended.

    `recorded` losses were kept; `diverged_at` is the step whose loss is not finite, 0 for none.
    """

    step: int
    loss: float
    recorded: int
    until_record: int
    reached: bool
    diverged_at: int


@inlined
def begin(watch):
    """Before the first step."""
    until_record = watch.record_every - watch.start % watch.record_every
    return Seen(watch.start, 0.0, 0, until_record, False, 0)


@inlined
def goes_on(watch, seen):
    """Whether there is a next step."""
    return seen.step < watch.stop and not seen.reached and seen.diverged_at == 0


@inlined
def diverged(seen):
    """The next step is not taken: its batch's loss is not finite."""
    return Seen(seen.step, seen.loss, seen.recorded, seen.until_record, seen.reached, seen.step + 1)


@inlined
def asks_for_data(watch, seen):
    """Whether the whole data's loss is wanted after the next step."""
    return watch.on_data and seen.until_record == 1


@inlined
def after_step(watch, seen, loss, losses, keeps):
    """A step was taken: `loss` is its batch's or, where that was asked for, the whole data's.

    Where `keeps`, a loss that is due is written to `losses`.
    """
    step = seen.step + 1
    is_due = seen.until_record == 1
    until_record = watch.record_every if is_due else seen.until_record - 1
    if watch.on_data and not is_due:
        return Seen(step, seen.loss, seen.recorded, until_record, False, 0)
    if not is_finite(loss):
        return Seen(step, loss, seen.recorded, until_record, False, step)
    recorded = seen.recorded
    if is_due:
        if keeps:
            losses[recorded] = loss
        recorded += 1
    return Seen(step, loss, recorded, until_record, loss <= watch.tol, 0)
