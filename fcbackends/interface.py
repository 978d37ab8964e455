"""What a backend is: a record of functions, and the class that a self-test finds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fcbackends.records import (
    ArithmeticName,
    Array,
    FCGradients,
    Loop,
    LossAndGradient,
    Params,
    StepResult,
)
from fcbackends.selftest import Conformance, self_test


@dataclass(frozen=True)
class Backend:
    """One way to compute: a few functions on the arrays of one library.

    All functions take batches (x (N, K), t (N, M)) whose shapes and dtypes were checked.

    Attributes
    ----------
    name : str
        The name it is chosen by.
    arithmetic : {"ordered", "native"}
        How it multiplies and sums: in the contract's order, or as its library does.
    owns : callable
        Whether an array is of this backend's library.
    asarray : callable
        (array of this library or NumPy's, dtype name or None) -> array of this library.
    fc_forward, fc_backward, mean_squared_loss, predict, sgd_step : callable
        (x, w, b) -> y; (dy, x, w) -> FCGradients; (y, t) -> LossAndGradient;
        (params, x) -> y; (params, x, t, lr) -> StepResult.
    training_loop : callable
        (params, lr) -> Loop, with parameters of its own.
    get_threads, set_threads : callable
        () -> how many threads the caller's calls may use; (count) -> None changes it for the
        thread that calls it. One, and no other number, where a backend has no say in it.
    """

    name: str
    arithmetic: ArithmeticName
    owns: Callable[[Any], bool]
    asarray: Callable[..., Array]
    fc_forward: Callable[[Array, Array, Array], Array]
    fc_backward: Callable[[Array, Array, Array], FCGradients]
    mean_squared_loss: Callable[[Array, Array], LossAndGradient]
    predict: Callable[[Params, Array], Array]
    sgd_step: Callable[[Params, Array, Array, float], StepResult]
    training_loop: Callable[[Params, float], Loop]
    get_threads: Callable[[], int] = lambda: 1
    set_threads: Callable[[int], None] = lambda count: None

    @functools.cached_property
    def conformance(self) -> Conformance:
        """The class "A", "B" or "C", with the `reason` for it: a self-test at the first use.

        A: every bit is the contract's; B: so is every bit, except that subnormal numbers become
        zero; C: anything else, and always where `arithmetic` is "native". The test takes some
        milliseconds, or as long as the backend takes to compile what it runs.

        Examples
        --------
        >>> import fcbackends as fcb
        >>> found = fcb.get_backend("numpy").conformance
        >>> found, found.reason
        ('A', 'every bit is as it must be')
        """
        return self_test(self)
