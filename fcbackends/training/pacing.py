"""Many steps in segments short enough to interrupt and to show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.loop import Loop, Plan
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Params, State
from fcbackends.training.divergence import LastFinite, loss_at
from fcbackends.training.keeping import Keeper, Standing
from fcbackends.training.looks import Looks

# A segment is one call into the backend's loop: Ctrl-C and the progress bar wait for its end.
_SEGMENT_SECONDS = 0.05
_SEGMENT_GROWTH = 8

_LOOKS_APART = 20
"""Looks for values that are not finite take at most one part in so many of a run's time."""


class Outcome(NamedTuple):
    """How a run ended: see `TrainResult` or, where it diverged, `DivergenceError`."""

    steps: int
    loss: float
    losses: NDArray[np.float64]
    stop_reason: str
    diverged_at: int | None = None
    looks: Looks | None = None


def run_segments(
    loop: Loop,
    x: Array,
    t: Array,
    plan: Plan,
    first: int,
    stop: int,
    *,
    interrupted: Callable[[], bool],
    advanced: Callable[[int, float], object] = lambda steps, loss: None,
    looks: Looks | None = None,
    keeper: Keeper | None = None,
    begun: Standing | None = None,
) -> Outcome:
    """Take the steps `first` + 1 to `stop`, or fewer where `plan` or the caller stops them.

    `interrupted` is asked after each segment, and `advanced` told its steps and loss. Where the
    loss, or at the end a parameter, is not finite, the loop goes back to the last step after which
    all parameters are; before the first they are to be. There are `looks` at each multiple of
    `record_every` and after the last step.

    A `keeper` keeps where the run stands, now and then and at its end, unless it diverges. One that
    was `begun`, and kept, goes on from there as if it had never stopped.
    """
    steps, loss, parts, stop_reason = first, math.nan, [np.empty(0)], ""
    if begun:
        steps, loss, stop_reason = begun.step, begun.loss, begun.stop_reason
        parts.append(begun.losses)
        loop.state = begun.state
        if looks and begun.seen:
            looks.seen = begun.seen
    finite = LastFinite(steps, loop.state)
    looked, look_seconds = time.perf_counter(), 0.0
    length = _first_length(plan.batch_size, finite.state.params)

    def keep(state: State) -> None:
        if keeper and not (begun and begun.stop_reason):
            losses = np.concatenate(parts)
            seen = looks.seen if looks else None
            keeper.keep(Standing(steps, state, loss, losses, stop_reason, seen))

    while steps < stop and not stop_reason:
        begin = time.perf_counter()
        if steps > finite.step and begin - looked >= _LOOKS_APART * look_seconds:
            finite = finite.moved_on(loop, steps)
            looked = time.perf_counter()
            look_seconds, begin = looked - begin, looked
        end = min(stop, steps + length)
        if looks:
            end = min(end, (steps // plan.record_every + 1) * plan.record_every)
        if keeper:
            end = min(end, keeper.next_after(steps))
        segment = loop.run(x, t, plan, steps, end)
        taken, steps, loss = segment.steps - steps, segment.steps, segment.loss
        parts.append(segment.losses)
        if segment.diverged_at is not None:
            last = finite.go_back(loop, x, t, plan, steps)
            at = min(last + 1, segment.diverged_at)
            loss = loss_at(loop, x, t, plan, at, last)
            return Outcome(last, loss, np.concatenate(parts), "diverged", at, looks)
        advanced(taken, loss)
        if segment.reached:
            stop_reason = "tolerance"
            break
        length = _next_length(taken, time.perf_counter() - begin)
        if looks and steps < stop and steps % plan.record_every == 0:
            stop_reason = looks.look(loop, steps, loss) or ""
            if stop_reason:
                break
        is_interrupted = interrupted()
        if keeper and (is_interrupted or (steps < stop and keeper.is_due(steps))):
            finite = finite.moved_on(loop, steps)
            if finite.step < steps:
                break
            keep(finite.state)
        if is_interrupted:
            stop_reason = "interrupted"
            break
    if plan.tol_on == "data" and steps % plan.record_every != 0:
        loss = loop.loss(x, t)
    last = finite.go_back(loop, x, t, plan, steps)
    losses = np.concatenate(parts)
    if last < steps or not math.isfinite(loss):
        at = min(last + 1, steps)
        loss = loss_at(loop, x, t, plan, at, last)
        return Outcome(last, loss, losses, "diverged", at, looks)
    if looks:
        reason = looks.look(loop, steps, loss)
        stop_reason = stop_reason or reason or ""
    if stop_reason != "interrupted":
        stop_reason = stop_reason or "max_steps"
        keep(loop.state)
    if looks and looks.best and looks.best.state:
        loop.state, steps, loss = looks.best.state, looks.best.step, looks.best.loss
    return Outcome(steps, loss, losses, stop_reason, None, looks)


def _first_length(batch_size: int, params: Params) -> int:
    """Steps that are surely short of a segment on any backend."""
    products = batch_size * sum(w.shape[0] * w.shape[1] for w, _ in params)
    return max(1, min(256, 20_000_000 // products))


def _next_length(length: int, seconds: float) -> int:
    """How many steps fill a segment, judging by one of `length` steps that took `seconds`."""
    wanted = int(length * _SEGMENT_SECONDS / max(seconds, 1e-9))
    return max(1, min(wanted, length * _SEGMENT_GROWTH))
