"""Looks at a run as it goes: the validation loss, what a caller makes of it, and when it stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fcbackends.backends.loop import Loop
from fcbackends.errors import ArgumentTypeError, shown
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Params, State
from fcbackends.maths.schedules import Rate, rate_at, rates_at
from fcbackends.training.history import History


@dataclass(frozen=True)
class Look:
    """What a callback is given at a look.

    Attributes
    ----------
    step : int
        The step just taken, counted from 1.
    loss : float
        The watched loss, as the history has it.
    validation_loss : float or None
        The loss of the validation data under the parameters as they stand, if there is any.
    rate : float
        The learning rate of that step.
    """

    step: int
    loss: float
    validation_loss: float | None
    rate: float
    _loop: Loop = field(repr=False)

    @property
    def params(self) -> Params:
        """A copy of the parameters as they stand, made where it is asked for."""
        return self._loop.params


Callback: TypeAlias = "Callable[[Look], Mapping[str, float] | None]"
"""Metrics of one's own at a look, or None; StopIteration ends the run."""


class Best(NamedTuple):
    """The look with the smallest validation loss, the first of several, and the state then."""

    number: int
    step: int
    loss: float
    validation_loss: float
    state: State | None


class Seen(NamedTuple):
    """All that was seen of a run up to some step."""

    best: Best | None
    history: History


@dataclass
class Looks:
    """The looks at one run.

    Parameters
    ----------
    validation : pair of arrays or None
        x and t of the validation data, as the loop takes them.
    patience : int or None
        After so many looks without a smaller validation loss the run stops; it ends where that was
        smallest.
    callback : callable or None
        Asked at each look.
    lr : float or schedule
        Learning rate.
    until : int or None
        The last step that may be looked at, where there is one.
    """

    validation: tuple[Array, Array] | None
    patience: int | None
    callback: Callback | None
    lr: Rate
    until: int | None = None
    best: Best | None = None
    _steps: list[int] = field(default_factory=list)
    _losses: list[float] = field(default_factory=list)
    _validation_losses: list[float] = field(default_factory=list)
    _metrics: list[Mapping[str, float]] = field(default_factory=list)

    def prepare(self, loop: Loop) -> None:
        """Compile what a look needs."""
        if self.validation is not None:
            x, t = self.validation
            loop.loss(x[:1, ...], t[:1, ...])

    def look(self, loop: Loop, step: int, loss: float) -> str | None:
        """Look at a loop after a step, if that is still to do; why the run is to stop, if it is.

        A look that the loop is called off from was none.
        """
        if self._steps and self._steps[-1] == step:
            return None
        if self.until is not None and step > self.until:
            return None
        value, reason = None, None
        if self.validation is not None:
            value = loop.loss(*self.validation)
            if math.isnan(value) and loop.called_off is not None and loop.called_off():
                return None
        self._steps.append(step)
        self._losses.append(loss)
        if value is not None:
            self._validation_losses.append(value)
            if self._judge(loop, value):
                reason = "patience"
        if self.callback is not None:
            rate = rate_at(self.lr, step)
            try:
                told = self.callback(Look(step, loss, value, rate, loop))
            except StopIteration:
                told, reason = None, "callback"
            self._metrics.append(_metrics(told))
        return reason

    def _judge(self, loop: Loop, value: float) -> bool:
        """Keep the look if it is the best so far; whether patience is at an end."""
        number = len(self._steps)
        # What is not finite counts as greatest of all.
        if self.best is None or _rank(value) < _rank(self.best.validation_loss):
            state = None if self.patience is None else loop.state
            self.best = Best(number, self._steps[-1], self._losses[-1], value, state)
        return self.patience is not None and number - self.best.number >= self.patience

    @property
    def seen(self) -> Seen:
        """All that was seen so far; set, it goes on from there."""
        return Seen(self.best, self.history(None))

    @seen.setter
    def seen(self, seen: Seen) -> None:
        self.best, history = seen
        self._steps = history.steps.tolist()
        self._losses = history.losses.tolist()
        self._validation_losses = history.validation_losses.tolist()
        columns = {name: values.tolist() for name, values in history.metrics.items()}
        self._metrics = [
            {name: values[i] for name, values in columns.items()} for i in range(len(self._steps))
        ]

    def history(self, last: int | None) -> History:
        """What was seen, up to the step `last` or at all."""
        count = sum(last is None or step <= last for step in self._steps)
        steps = np.array(self._steps[:count], np.int64)
        names = dict.fromkeys(name for told in self._metrics[:count] for name in told)
        return History(
            steps,
            np.array(self._losses[:count]),
            np.array(self._validation_losses[:count]),
            rates_at(self.lr, steps),
            {
                name: np.array([told.get(name, math.nan) for told in self._metrics[:count]])
                for name in names
            },
        )


def _rank(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def _metrics(told: Any) -> dict[str, float]:
    if told is None:
        return {}
    try:
        return {str(name): float(value) for name, value in told.items()}
    except (AttributeError, TypeError, ValueError):
        required = "return None or a mapping of names to numbers"
        raise ArgumentTypeError("callback", required, shown(told)) from None
