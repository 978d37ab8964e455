"""What a backend is: a record of functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from fcbackends.backends.loop import Loop
from fcbackends.environment import disturbance
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.layers import FCGradients
from fcbackends.maths.losses import LossAndGradient
from fcbackends.maths.network import Method, Params, StepResult

ConformanceClass: TypeAlias = Literal["A", "B", "C"]


class Conformance(NamedTuple):
    """The class of a backend, and why.

    Attributes
    ----------
    letter : {"A", "B", "C"}
        A: every bit is the contract's. B: so is every bit, except that subnormal numbers become
        zero. C: anything else, and always with native arithmetic.
    reason : str
        What the self-test found.
    """

    letter: ConformanceClass
    reason: str


@dataclass(frozen=True)
class Backend:
    """One way to compute: a few functions on the arrays of one library.

    All functions take batches (x (N, K), t (N, M)) whose shapes and dtypes were checked.

    Attributes
    ----------
    name : str
        The name it is chosen by.
    arithmetic : str
        How it multiplies and sums: "ordered" or "fused", as the contract has it, or "native", as
        its library does.
    owns : callable
        Whether an array is of this backend's library.
    asarray : callable
        (array of this library or NumPy's, dtype name or None) -> array of this library.
    fc_forward, fc_backward, mean_squared_loss : callable
        (x, w, b) -> y; (dy, x, w) -> FCGradients; (y, t) -> LossAndGradient.
    loss_and_gradient, probabilities : callable
        (y, t, loss, weighted) -> LossAndGradient, where the weights of samples, if there are any,
        are the last column of t; (y, loss) -> what the outputs stand for.
    predict, sgd_step : callable
        (params, x, activation="relu") -> y; (params, x, t, Method) -> StepResult. An
        activation is a name, or a tuple of one for each hidden layer.
    training_loop : callable
        (params, Method) -> Loop, with parameters of its own.
    get_threads, set_threads : callable
        () -> how many threads the caller's calls may use; (count) -> None changes it for the
        thread that calls it. One, and no other number, where a backend has no say in it.
    rows_per_block : int or None
        How many samples are a block of a sum over samples; None where all of them are one.
    with_rows_per_block : callable or None
        (count) -> the same backend with blocks of so many samples, each time the same one; None
        where it has none.
    """

    name: str
    arithmetic: str
    owns: Callable[[Any], bool]
    asarray: Callable[..., Array]
    fc_forward: Callable[[Array, Array, Array], Array]
    fc_backward: Callable[[Array, Array, Array], FCGradients]
    mean_squared_loss: Callable[[Array, Array], LossAndGradient]
    loss_and_gradient: Callable[[Array, Array, str, bool], LossAndGradient]
    probabilities: Callable[[Array, str], Array]
    predict: Callable[..., Array]
    sgd_step: Callable[[Params, Array, Array, Method], StepResult]
    training_loop: Callable[[Params, Method], Loop]
    get_threads: Callable[[], int] = lambda: 1
    set_threads: Callable[[int], None] = lambda count: None
    rows_per_block: int | None = None
    with_rows_per_block: Callable[[int], Backend] | None = None

    self_test: ClassVar[Callable[[Backend], Conformance]]
    """Finds a backend's class. It uses all that stands above this module, which puts it here."""

    @property
    def conformance(self) -> Conformance:
        """The class and the reason for it: a self-test at the first use.

        The test takes some milliseconds, or as long as the backend takes to compile what it runs.
        Where this thread's rounding mode or its way with subnormal numbers is another than it was,
        it is made again.

        Examples
        --------
        >>> import fcbackends as fcb
        >>> fcb.get_backend("numpy").conformance
        Conformance(letter='A', reason='every bit is as it must be')
        """
        found: dict[str, Conformance] = self.__dict__.setdefault("_found", {})
        state = disturbance()
        if state not in found:
            found[state] = Backend.self_test(self)
        return found[state]
