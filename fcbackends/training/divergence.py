"""The way back to the last parameters whose values are all finite."""

from __future__ import annotations

from typing import NamedTuple

from fcbackends import arrays
from fcbackends.backends.loop import Loop, Plan
from fcbackends.maths import network
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import State
from fcbackends.maths.sampling import draw_indices


class LastFinite(NamedTuple):
    """A step after which all parameters were finite, and the loop's state then."""

    step: int
    state: State

    def moved_on(self, loop: Loop, step: int) -> LastFinite:
        """The loop's state now, after `step`, if its parameters are finite; else this one."""
        now = LastFinite(step, loop.state)
        return now if _is_finite(now.state) else self

    def go_back(self, loop: Loop, x: Array, t: Array, plan: Plan, last: int) -> LastFinite:
        """Take a loop, now after step `last`, back to the last step with finite parameters.

        Values can overflow in the update of a step whose loss was finite, and hide behind a ReLU
        for some steps. Looking at each update would slow every run; since the draws are a pure
        function of the step, the steps after this one are instead taken again, in halves.
        """
        if last == self.step:
            return self
        now = LastFinite(last, loop.state)
        if _is_finite(now.state):
            return now
        # What has begun is ended: nobody knows yet which parameters are the last finite ones.
        loop.called_off = None
        unwatched = plan._replace(tol=None, tol_on="batch", record_every=last + 1)
        finite, not_finite = self, last
        while not_finite - finite.step > 1:
            middle = (finite.step + not_finite) // 2
            loop.state = finite.state
            loop.run(x, t, unwatched, finite.step, middle)
            moved = finite.moved_on(loop, middle)
            if moved is finite:
                not_finite = middle
            else:
                finite = moved
        loop.state = finite.state
        return finite


def loss_at(loop: Loop, x: Array, t: Array, plan: Plan, step: int, now: int) -> float:
    """The loss that a step began with, or ended with, of a loop that stands before or after it."""
    if step > now:
        samples = x.shape[0], step - 1, 1, plan.batch_size, plan.sampling, plan.seed
        rows = arrays.beside(x, draw_indices(*samples)[0])
        take = arrays.namespace_of(x).take
        x, t = take(x, rows, axis=0), take(t, rows, axis=0)
    loop.called_off = None
    return loop.loss(x, t)


def _is_finite(state: State) -> bool:
    params = state.params
    return network.is_finite(arrays.namespace_of(params[0][0]), params)
