"""Many steps in segments short enough to interrupt and to show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends import checks, numerics
from fcbackends.records import Array, Loop, Params, Plan

# A segment is one call into the backend's loop: Ctrl-C and the progress bar wait for its end.
_SEGMENT_SECONDS = 0.05
_SEGMENT_GROWTH = 8

_LOOKS_APART = 20
"""Checkpoints take at most one part in so many of a run's time."""


class Outcome(NamedTuple):
    """How a run ended: see `TrainResult`, or, where a loss was not finite, `DivergenceError`."""

    steps: int
    loss: float
    losses: NDArray[np.float64]
    stop_reason: str
    diverged_at: int | None


def is_finite(params: Params) -> bool:
    """Whether every parameter is a finite number."""
    return numerics.is_finite(params, xp=checks.namespace_of(params[0][0]))


def run_segments(
    loop: Loop,
    x: Array,
    t: Array,
    plan: Plan,
    first: int,
    stop: int,
    *,
    interrupted: Callable[[], bool],
    advanced: Callable[[int], object],
) -> Outcome:
    """Take the steps `first` + 1 to `stop`, or fewer where `plan` or the caller stops them.

    `interrupted` is asked after each segment, and `advanced` told its number of steps. Where the
    loss, or at the end a parameter, is not finite, the loop goes back to the last step after which
    all parameters are; before the first they are to be.
    """
    steps, loss = first, math.nan
    parts = [np.empty(0)]
    stop_reason = "max_steps"
    start, checkpoint = first, loop.params
    looked, look_seconds = time.perf_counter(), 0.0
    length = _first_length(plan.batch_size, checkpoint)
    while steps < stop:
        begin = time.perf_counter()
        if steps > first and begin - looked >= _LOOKS_APART * look_seconds:
            params = loop.params
            if is_finite(params):
                start, checkpoint = steps, params
            looked = time.perf_counter()
            look_seconds = looked - begin
            begin = looked
        segment = loop.run(x, t, plan, steps, min(stop, steps + length))
        taken, steps, loss = segment.steps - steps, segment.steps, segment.loss
        parts.append(segment.losses)
        if segment.diverged_at is not None:
            steps = _go_back(loop, x, t, plan, start, checkpoint, steps)
            return Outcome(steps, loss, np.concatenate(parts), "diverged", segment.diverged_at)
        advanced(taken)
        if segment.reached:
            stop_reason = "tolerance"
            break
        if interrupted():
            stop_reason = "interrupted"
            break
        length = _next_length(length, time.perf_counter() - begin)
    losses = np.concatenate(parts)
    if plan.tol_on == "data" and steps % plan.record_every != 0:
        loss = loop.loss(x, t)
    if not (math.isfinite(loss) and is_finite(loop.params)):
        last = steps
        steps = _go_back(loop, x, t, plan, start, checkpoint, last)
        return Outcome(steps, loss, losses, "diverged", min(steps + 1, last))
    return Outcome(steps, loss, losses, stop_reason, None)


def _first_length(batch_size: int, params: Params) -> int:
    """Steps that are surely short of a segment on any backend."""
    products = batch_size * sum(w.shape[0] * w.shape[1] for w, _ in params)
    return max(1, min(256, 20_000_000 // products))


def _next_length(length: int, seconds: float) -> int:
    """How many steps fill a segment, judging by one of `length` steps that took `seconds`."""
    wanted = int(length * _SEGMENT_SECONDS / max(seconds, 1e-9))
    return max(1, min(wanted, length * _SEGMENT_GROWTH))


def _go_back(
    loop: Loop, x: Array, t: Array, plan: Plan, start: int, params: Params, last: int
) -> int:
    """Go back to the last step after which all parameters are finite; after `start` they are.

    Values can overflow in the update of a step whose loss was finite, and hide behind a ReLU for
    some steps. Looking at each update would slow every run; since the draws are a pure function
    of the step, the steps after `start` are instead taken again, in halves.
    """
    if is_finite(loop.params):
        return last
    unwatched = plan._replace(tol=None, tol_on="batch", record_every=last + 1)
    finite, not_finite = start, last
    while not_finite - finite > 1:
        middle = (finite + not_finite) // 2
        loop.params = params
        loop.run(x, t, unwatched, finite, middle)
        if is_finite(loop.params):
            finite, params = middle, loop.params
        else:
            not_finite = middle
    loop.params = params
    return finite
