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
from fcbackends.training.interruption import Ending
from fcbackends.training.keeping import Keeper, Observer, Standing
from fcbackends.training.looks import Looks

# A segment is one call into the backend's loop: the progress bar waits for its end, and so does
# Ctrl-C, where the loop does not ask for it.
_SEGMENT_SECONDS = 0.02
_SEGMENT_GROWTH = 8

_GRACE_SECONDS = 0.1
"""So long a last look may take once a run has to end."""

_LOOKS_APART = 20
"""Looks for values that are not finite take at most one part in so many of a run's time."""


class Outcome(NamedTuple):
    """How a run ended: see `TrainResult` or, where it diverged, `DivergenceError`."""

    steps: int
    loss: float
    losses: NDArray[np.float64]
    stop_reason: str
    state: State
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
    ending: Ending,
    advanced: Callable[[int, float], object] = lambda steps, loss: None,
    looks: Looks | None = None,
    keeper: Keeper | None = None,
    begun: Standing | None = None,
    observer: Observer | None = None,
) -> Outcome:
    """Take the steps `first` + 1 to `stop`, or fewer where `plan` or the caller stops them.

    `ending` is asked before the first segment and after each, and by the loop within long ones, and
    `advanced` told its steps and loss. Where the loss, or at the end a parameter, is not finite,
    the loop goes back to the last step after which all parameters are; before the first they are to
    be. There are `looks` at each multiple of `record_every` and after the last step, unless this
    has to end first; a loss that nobody had the time to compute is NaN.

    A `keeper` keeps where the run stands, now and then and at its end, unless it diverges. One that
    was `begun`, and kept, goes on from there as if it had never stopped. An `observer` is given the
    parameters that the run begins with, those that it asks for, and the last.
    """
    steps, loss, parts, stop_reason = first, math.nan, [np.empty(0)], ""
    if begun:
        steps, loss, stop_reason = begun.step, begun.loss, begun.stop_reason
        parts.append(begun.losses)
        loop.state = begun.state
        if looks and begun.seen:
            looks.seen = begun.seen
    finite = LastFinite(steps, loop.state)
    if observer:
        observer.take(steps, finite.state.params)
    looked, look_seconds = time.perf_counter(), 0.0
    length = _first_length(plan.batch_size, finite.state.params)

    def keep(state: State) -> None:
        if keeper and not (begun and begun.stop_reason):
            seen = looks.seen if looks else None
            keeper.keep(Standing(steps, state, loss, np.concatenate(parts), stop_reason, seen))

    def is_look_due() -> bool:
        return first < steps < stop and steps % plan.record_every == 0

    loop.called_off = lambda: ending() is not None
    if begun and not stop_reason and is_look_due():
        # The run may have had to end in the look at this step.
        if len(begun.losses) < steps // plan.record_every - first // plan.record_every:
            loss = loop.loss(x, t)
            if not ending():
                parts.append(np.array([loss]))
                if plan.tol is not None and loss <= plan.tol:
                    stop_reason = "tolerance"
        if looks and not stop_reason:
            stop_reason = looks.look(loop, steps, loss) or ""
    why = None if stop_reason else ending()
    while steps < stop and not (stop_reason or why):
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
        wanted = observer.next_after(steps) if observer else stop
        end = min(end, wanted)
        segment = loop.run(x, t, plan, steps, end)
        taken, steps = segment.steps - steps, segment.steps
        loss = segment.loss if taken or segment.diverged_at is not None else loss
        parts.append(segment.losses)
        if segment.diverged_at is not None:
            last, state = finite.go_back(loop, x, t, plan, steps)
            at = min(last + 1, segment.diverged_at)
            loss = loss_at(loop, x, t, plan, at, last)
            return Outcome(last, loss, np.concatenate(parts), "diverged", state, at, looks)
        if observer and steps == wanted:
            observer.take(steps, loop.params)
        advanced(taken, loss)
        if segment.reached:
            stop_reason = "tolerance"
            break
        length = _next_length(taken, time.perf_counter() - begin)
        if looks and taken and is_look_due():
            stop_reason = looks.look(loop, steps, loss) or ""
            if stop_reason:
                break
        why = ending()
        if keeper and (why or (steps < stop and keeper.is_due(steps))):
            finite = finite.moved_on(loop, steps)
            if finite.step < steps:
                break
            keep(finite.state)
    too_late = _after(ending, _GRACE_SECONDS)
    loop.called_off = too_late
    losses = np.concatenate(parts)
    due = steps // plan.record_every - first // plan.record_every
    if plan.tol_on == "data" and (steps % plan.record_every != 0 or len(losses) < due):
        loss = loop.loss(x, t)
        losses = np.append(losses, [loss] * (due - len(losses)))
    last, state = finite.go_back(loop, x, t, plan, steps)
    unknown = steps == first or (math.isnan(loss) and too_late())
    if last < steps or not (math.isfinite(loss) or unknown):
        at = min(last + 1, steps)
        return Outcome(
            last, loss_at(loop, x, t, plan, at, last), losses, "diverged", state, at, looks
        )
    if observer:
        observer.take(steps, state.params)
    if looks and steps > first:
        reason = looks.look(loop, steps, loss)
        stop_reason = stop_reason or why or reason or ""
    if not (stop_reason or why):
        stop_reason = "max_steps"
    if not why:
        keep(state)
    if looks and looks.best and looks.best.state:
        state, steps, loss = looks.best.state, looks.best.step, looks.best.loss
        loop.state = state
    return Outcome(steps, loss, losses, stop_reason or why or "", state, None, looks)


def _after(ending: Ending, seconds: float) -> Callable[[], bool]:
    """Whether a run has had to end for so long, from the first question on after which it has."""
    since: float | None = None

    def too_late() -> bool:
        nonlocal since
        if ending() is None:
            return False
        since = time.perf_counter() if since is None else since
        return time.perf_counter() - since >= seconds

    return too_late


def _first_length(batch_size: int, params: Params) -> int:
    """Steps that are surely short of a segment on any backend."""
    products = batch_size * sum(w.shape[0] * w.shape[1] for w, _ in params)
    return max(1, min(256, 20_000_000 // products))


def _next_length(length: int, seconds: float) -> int:
    """How many steps fill a segment, judging by one of `length` steps that took `seconds`."""
    wanted = int(length * _SEGMENT_SECONDS / max(seconds, 1e-9))
    return max(1, min(wanted, length * _SEGMENT_GROWTH))
