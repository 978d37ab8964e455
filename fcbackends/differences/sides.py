"""The two sides of a comparison: what makes the steps of a run, again and again."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fcbackends import agreement, arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Plan
from fcbackends.checks import data
from fcbackends.differences.operations import Floats
from fcbackends.differences.runs import Run
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown
from fcbackends.maths.network import Params, State
from fcbackends.training.state import in_numpy

_SECONDS = 0.2
"""A call of a backend's loop is to end about so soon: between two, Ctrl-C is heard."""

_MOST_LOSSES = 2**22
"""Of so many steps each loss is kept."""


class Moved(NamedTuple):
    """Where a side has come to.

    Attributes
    ----------
    state : State
        After the last step, in NumPy's arrays.
    step : int
        The last step; fewer than asked for, where the next one's loss is not finite.
    losses : array of float64 or None
        Of each step, before it, where they are known.
    """

    state: State
    step: int
    losses: Floats | None


class Side(Protocol):
    """What makes the steps of a run."""

    @property
    def name(self) -> str:
        """What a report calls it."""

    @property
    def run(self) -> Run:
        """What it runs."""

    @property
    def arithmetic(self) -> str | None:
        """By name, where that is known."""

    @property
    def backend(self) -> Backend | None:
        """What computes, where that is one."""

    def advance(
        self, state: State, start: int, stop: int, x: Floats | None = None, t: Floats | None = None
    ) -> Moved:
        """Take the steps `start` + 1 to `stop` from a state, on the run's data or on others."""


def rows_of(side: Side) -> int | None:
    """How many samples are a block of its sums over samples."""
    return side.run.rows_per_block if side.backend is None else side.backend.rows_per_block


class BackendSide:
    """A backend's training loop."""

    def __init__(self, name: str, run: Run, backend: Backend) -> None:
        self.name, self.run, self.arithmetic = name, run, backend.arithmetic
        self.backend: Backend = backend
        self._x, self._t = self._own(run.x), self._own(run.t)
        self._loop = backend.training_loop(self._params(run.params), run.method)
        self._loop.prepare(self._x, self._t, run.plan, run.steps)

    def _own(self, array: Floats) -> Any:
        return self.backend.asarray(array, self.run.dtype)

    def _params(self, params: Params) -> Params:
        return data.params(self.backend, params, beside={"x": self._x})

    def advance(
        self, state: State, start: int, stop: int, x: Floats | None = None, t: Floats | None = None
    ) -> Moved:
        """Take steps by the loop, in calls that are not too long."""
        own_x = self._x if x is None else self._own(x)
        own_t = self._t if t is None else self._own(t)
        self._loop.state = State(self._params(state.params), tuple(map(self._params, state.slots)))
        self._loop.called_off = None
        every = max(1, -(-(stop - start) // _MOST_LOSSES))
        plan: Plan = self.run.plan._replace(record_every=every)
        at, length, losses = start, 256, []
        while at < stop:
            begin, end = time.perf_counter(), min(stop, at + length)
            segment = self._loop.run(own_x, own_t, plan, at, end)
            losses.append(np.asarray(segment.losses, np.float64))
            if segment.steps < end:
                at = segment.steps
                losses.append(np.array([math.nan]))
                break
            at = end
            seconds = max(time.perf_counter() - begin, 1e-9)
            length = max(1, min(8 * length, int(length * _SECONDS / seconds)))
        known = np.concatenate(losses) if losses and every == 1 else None
        if known is not None and len(known) != min(at + 1, stop) - start:
            known = None
        return Moved(in_numpy(self._loop.state), at, known)


class FunctionSide:
    """A function `step(params, x, t)`, or `step(params, x, t, number)`, of one's own."""

    arithmetic: str | None = None
    backend: Backend | None = None

    def __init__(self, name: str, run: Run, step: Callable[..., Any], argument: str) -> None:
        self.name, self.run = name, run
        self._step, self._argument = step, argument
        self._numbered = _takes_number(step)
        if run.first.slots:
            required = "be plain `SGD()` where a side is a function, which keeps parameters alone"
            raise ArgumentError("optimizer", required, shown(run.method.optimizer))
        if run.method.weighted:
            raise ArgumentError(
                "sample_weight", "be left out where a side is a function", "weights"
            )

    def advance(
        self, state: State, start: int, stop: int, x: Floats | None = None, t: Floats | None = None
    ) -> Moved:
        """Call the function for each step, with copies of the arrays."""
        x, t = self.run.x if x is None else x, self.run.t if t is None else t
        params, losses, knows = state.params, [], True
        for number in range(start + 1, stop + 1):
            rows = self.run.rows(number)
            given = tuple((w.copy(), b.copy()) for w, b in params), x[rows], t[rows]
            found = self._step(*given, number) if self._numbered else self._step(*given)
            params, loss = self._understood(found, params)
            losses.append(math.nan if loss is None else loss)
            knows = knows and loss is not None
        return Moved(State(params), stop, np.array(losses) if knows else None)

    def _understood(self, found: Any, like: Params) -> tuple[Params, float | None]:
        loss = None
        if isinstance(found, tuple | list) and len(found) == 2 and _is_number(found[1]):
            found, loss = found[0], float(arrays.as_numpy(found[1]))
        required = "return parameters ((w, b), ...) like those it is given, or these and a loss"
        try:
            params = tuple((_array(w), _array(b)) for w, b in found)
        except (TypeError, ValueError):
            raise ArgumentTypeError(self._argument, required, shown(found)) from None
        came, wanted = (
            [(array.dtype.name, array.shape) for pair in pairs for array in pair]
            for pairs in (params, like)
        )
        if came != wanted:
            raise ArgumentError(self._argument, f"{required}: {wanted}", f"{came}")
        return params, loss


def same(a: Moved, b: Moved) -> bool:
    """Whether two sides have come to the same step and state."""
    return a.step == b.step and agreement.compare(_all(a.state), _all(b.state)).equal


def same_losses(a: Moved, b: Moved) -> int | None:
    """The place of the first loss that both know and that differs, if there is one."""
    if a.losses is None or b.losses is None:
        return None
    count = min(len(a.losses), len(b.losses))
    first, second = a.losses[:count], b.losses[:count]
    where = (first != second) & np.isfinite(first) & np.isfinite(second)
    return int(np.argmax(where)) if where.any() else None


def _all(state: State) -> Sequence[Any]:
    return [state.params, *state.slots]


def _array(value: Any) -> Floats:
    return np.array(arrays.as_numpy(value))


def _is_number(value: Any) -> bool:
    """Whether it is one number: a Python one, or an array of no axes."""
    return isinstance(value, int | float) or getattr(value, "shape", None) == ()


def _takes_number(step: Callable[..., Any]) -> bool:
    try:
        inspect.signature(step).bind(None, None, None, 1)
    except (TypeError, ValueError):
        return False
    return True
