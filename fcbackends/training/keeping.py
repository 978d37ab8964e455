"""Where a run stands between two steps, and when that is kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fcbackends.maths.network import Params, State
from fcbackends.training.looks import Seen

SECONDS_APART = 10.0


class Standing(NamedTuple):
    """What a run needs to go on as if it had never stopped.

    Attributes
    ----------
    step : int
        The last step that was taken.
    state : State
        All that steps change.
    loss : float
        The watched loss last seen; NaN before the first.
    losses : array of float64
        Those that were recorded.
    stop_reason : str
        Why the run has ended; empty where it has not.
    seen : Seen or None
        What was seen of it, where it is looked at.
    """

    step: int
    state: State
    loss: float
    losses: NDArray[np.float64]
    stop_reason: str
    seen: Seen | None


class Keeper:
    """Says after which steps a run is kept, and hands on where it stands then.

    Parameters
    ----------
    every : int or None
        At each multiple of it; None stands for about ten seconds.
    keep : callable
        What becomes of a Standing.
    """

    def __init__(self, every: int | None, keep: Callable[[Standing], None]) -> None:
        self._every, self._keep = every, keep
        self._kept = time.perf_counter()

    def next_after(self, step: int) -> int:
        """The next step after which it is surely to be kept."""
        return sys.maxsize if self._every is None else (step // self._every + 1) * self._every

    def is_due(self, step: int) -> bool:
        """Whether it is to be kept after this step."""
        if self._every is None:
            return time.perf_counter() - self._kept >= SECONDS_APART
        return step % self._every == 0

    def keep(self, standing: Standing) -> None:
        """Hand it on."""
        self._keep(standing)
        self._kept = time.perf_counter()


class Observer(Protocol):
    """What looks on at a run: it says after which steps, and is given the parameters there."""

    def next_after(self, step: int) -> int:
        """The next step after which the parameters are wanted."""

    def take(self, step: int, params: Params) -> None:
        """Given the parameters after a step, perhaps twice: the first, all wanted, the last."""
