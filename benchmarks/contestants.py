"""Who takes part on the same work: fcbackends, NumPy, and what all contestants have in common."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Literal

import numpy as np
from workloads import ANY_LOSS, LONGEST_RUN, LR, Workload, data, initial, numbers, trainer

import fcbackends as fcb

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
"""By dtype, how far results of the same work may be apart where sums are free in their order."""

SHARE_OF_MOVE = 0.01
"""They may moreover be apart by no more than this share of the way that the steps lead."""


class Contestant:
    """One way to do a workload, always from the same start.

    Attributes
    ----------
    name : str
        Who it is.
    promise : str
        "bits": ends on the reference's bits. "work": on the same numbers but for rounding. "own
        order": takes as many steps of the same kind on samples in an order of its own. "own rule":
        as many on the same samples, by a rule that is not the gradient's.
    reference : str
        The arithmetic of the reference.
    steps_a_unit : int
        How many steps it can take at least.
    """

    name: ClassVar[str]
    promise: Literal["bits", "work", "own order", "own rule"] = "work"
    reference: ClassVar[str] = "ordered"
    steps_a_unit = 1

    def settle(self) -> None:
        """Have in place what the longest runs use, if only they ask for it; this is not timed."""

    def start(self, units: int) -> None:
        """Go back to the start, and get ready to do so many units; this is not timed."""

    def go(self) -> None:
        """Do what `start` has got ready; this is timed."""
        raise NotImplementedError

    def result(self) -> Any:
        """What it ended on, in the form of the reference's result."""
        raise NotImplementedError


def drawn(workload: Workload, steps: int) -> Any:
    """The samples that `train` draws in the first steps, a row a step."""
    # So that asking again for a few more is not drawing again.
    rounded = 1 << max(steps - 1, 255).bit_length()
    return _drawn(workload, rounded)[:steps]


@functools.lru_cache(maxsize=1)
def _drawn(workload: Workload, steps: int) -> Any:
    return fcb.sample_indices(workload.samples, steps=steps, batch_size=workload.batch)


def matrices(workload: Workload) -> tuple[Any, Any, Any]:
    """x, w and b of a forward workload."""
    x = numbers((workload.batch, workload.sizes[0]), 1, workload.dtype)
    return (x, *initial(workload)[0])


def reference(workload: Workload, arithmetic: str) -> Any:
    """What an exact arithmetic on NumPy gives, step by step on the drawn samples."""
    backend = fcb.get_backend("numpy", arithmetic=arithmetic)
    if workload.kind == "forward":
        return fcb.fc_forward(*matrices(workload), backend=backend)
    (x, t), steps = data(workload), trainer(workload, backend)
    for rows in drawn(workload, workload.steps_compared):
        steps.step(x[rows], t[rows])
    return steps.params


class Training(Contestant):
    """`Trainer.run` on a backend; it draws for itself."""

    backend = "numba"
    arithmetic: ClassVar[Any] = "ordered"

    def __init__(self, workload: Workload) -> None:
        self._chosen = fcb.get_backend(self.backend, arithmetic=self.arithmetic)
        self._workload = workload

    def settle(self) -> None:
        self.start(LONGEST_RUN)
        self._how["tol"] = ANY_LOSS
        self.go()

    def start(self, units: int) -> None:
        self._trainer = trainer(self._workload, self._chosen)
        self._how: dict[str, Any] = dict(
            batch_size=self._workload.batch, max_steps=units, progress=False
        )

    def go(self) -> None:
        self._trainer.run(*data(self._workload), **self._how)

    def result(self) -> Any:
        return self._trainer.params


class NumbaTraining(Training):
    """The whole run in compiled calls."""

    name = "fcbackends numba"
    promise = "bits"


class FusedTraining(NumbaTraining):
    """The same with fused sums."""

    name = "fcbackends numba, fused"
    reference = arithmetic = "fused"


class NumpyTraining(Training):
    """The same bits from plain NumPy."""

    name = "fcbackends numpy, ordered"
    promise = "bits"
    backend = "numpy"


class NativeTraining(Training):
    """NumPy's own matmul and sums."""

    name = "fcbackends numpy, native"
    backend = "numpy"
    arithmetic = "native"


class NotebookLoop(Contestant):
    """The loop that this project grew from, its samples drawn beforehand."""

    name = "NumPy, the notebook's loop"

    def __init__(self, workload: Workload) -> None:
        self._workload = workload

    def start(self, units: int) -> None:
        ((self._w, self._b),) = initial(self._workload)
        self._samples = drawn(self._workload, units)[:, 0].tolist()

    def go(self) -> None:
        x, t = data(self._workload)
        w, b = self._w, self._b
        # Its dy is half of the gradient, and its lr twice as large.
        lr = 2 * LR
        for n in self._samples:
            z = x[n]
            y = np.dot(z, w) + b
            dy = y - t[n]
            loss = np.mean(np.sum(np.square(dy), axis=-1))
            if not np.isfinite(loss):
                break
            dw = np.dot(z.reshape(1, -1).T, dy.reshape(1, -1))
            w -= lr * dw
            b -= lr * dy

    def result(self) -> Any:
        return ((self._w, self._b),)


class Forward(Contestant):
    """One layer's forward pass on a backend."""

    name = "fcbackends numba"
    promise = "bits"
    arithmetic: ClassVar[str] = "ordered"

    def __init__(self, workload: Workload) -> None:
        self._arrays = matrices(workload)
        self._backend = fcb.get_backend("numba", arithmetic=self.arithmetic)

    def start(self, units: int) -> None:
        self._units = units

    def go(self) -> None:
        for _ in range(self._units):
            self._y = self._once(*self._arrays)

    def _once(self, x: Any, w: Any, b: Any) -> Any:
        return fcb.fc_forward(x, w, b, backend=self._backend)

    def result(self) -> Any:
        return np.asarray(self._y)


class FusedForward(Forward):
    """The same with fused sums."""

    name = "fcbackends numba, fused"
    reference = arithmetic = "fused"


class NumpyForward(Forward):
    """NumPy's own matmul."""

    name = "NumPy, x @ w + b"
    promise = "work"

    def _once(self, x: Any, w: Any, b: Any) -> Any:
        return x @ w + b
