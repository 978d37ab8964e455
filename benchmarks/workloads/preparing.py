"""How a backend does a workload."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fcbackends as fcb
from fcbackends.arrays import as_numpy

from . import (
    ANY_LOSS,
    LONGEST_RUN,
    LR,
    STEPS_COMPARED,
    TOLERANCE,
    Workload,
    data,
    initial,
    numbers,
)
from . import trainer as new_trainer


class Prepared(NamedTuple):
    """A workload on one backend's arrays.

    Attributes
    ----------
    run : callable
        (units) -> None: does the work so many times, each time going on from the last.
    result : callable
        () -> the arrays that it leads to from the start, in few steps; a history where there is
        one is its last entry.
    begin : callable
        () -> None: does as little as compiles or reads all that the work needs.
    settle : callable
        () -> None: has what the longest runs use in place, which all that follow in the process
        then use too: how many units a run takes does not decide what is timed. It asks for such a
        run and ends it at its first step.
    """

    run: Callable[[int], None]
    result: Callable[[], Any]
    begin: Callable[[], object]
    settle: Callable[[], object] = lambda: None


def backends() -> list[tuple[str, str]]:
    """The (name, arithmetic) of all that is measured; fused, only what has the instruction."""
    there = [name for name, state in fcb.list_backends().items() if state == "available"]
    return [("numpy", "native"), *((name, "ordered") for name in there), ("numba", "fused")]


def prepare(workload: Workload, backend: fcb.Backend) -> Prepared:
    """Bring the data to the backend, outside what is timed."""
    plain = backend.owns(np.empty(0))

    def arrays(*values: Any) -> list[Any]:
        return [backend.asarray(value, workload.dtype) for value in values]

    def settled(result: Any) -> Any:
        # Libraries that compute later, or beside the caller, are made to finish.
        if not plain:
            for array in result if isinstance(result, tuple) else (result,):
                settled(array) if isinstance(array, tuple) else as_numpy(array)
        return result

    def calls(function: Callable[..., Any], *values: Any) -> Prepared:
        there = arrays(*values)

        def run(units: int) -> None:
            for _ in range(units):
                settled(function(*there, backend=backend))

        return Prepared(run, lambda: function(*there, backend=backend), lambda: run(1))

    n, sizes, dtype = workload.batch, workload.sizes, workload.dtype
    if workload.kind == "loss":
        return calls(
            fcb.mean_squared_loss,
            numbers((n, sizes[0]), 1, dtype),
            numbers((n, sizes[0]), 2, dtype),
        )
    w, b = initial(workload)[0]
    if workload.kind == "forward":
        return calls(fcb.fc_forward, numbers((n, sizes[0]), 1, dtype), w, b)
    if workload.kind == "backward":
        return calls(
            fcb.fc_backward, numbers((n, sizes[1]), 2, dtype), numbers((n, sizes[0]), 1, dtype), w
        )
    if workload.kind == "sgd step":
        return _sgd_steps(workload, backend, arrays, settled)
    if workload.kind == "trainer step":
        return _trainer_steps(workload, backend, arrays)
    if workload.kind == "training":
        return _training(workload, backend, arrays)
    return _training_steps(workload, backend, arrays)


def _sgd_steps(workload: Workload, backend: Any, arrays: Any, settled: Any) -> Prepared:
    n, sizes, dtype = workload.batch, workload.sizes, workload.dtype
    x, t = arrays(numbers((n, sizes[0]), 1, dtype), numbers((n, sizes[-1]), 2, dtype))
    first = tuple(tuple(arrays(w, b)) for w, b in initial(workload))
    params = first

    def run(units: int) -> None:
        nonlocal params
        for _ in range(units):
            params = settled(fcb.sgd_step(params, x, t, LR, backend=backend)).params

    def result() -> Any:
        result = fcb.StepResult(first, None)
        for _ in range(workload.steps_compared):
            result = fcb.sgd_step(result.params, x, t, LR, backend=backend)
        return tuple(result)

    return Prepared(run, result, lambda: run(1))


def _trainer_steps(workload: Workload, backend: Any, arrays: Any) -> Prepared:
    x, t = arrays(*data(workload))
    n = workload.batch
    batches = [
        (x[i, :], t[i, :]) if n == 1 else (x[i : i + n, :], t[i : i + n, :])
        for i in range(0, STEPS_COMPARED * n, n)
    ]
    trainer = new_trainer(workload, backend)
    forever = itertools.cycle(batches)

    def run(units: int) -> None:
        for batch in itertools.islice(forever, units):
            trainer.step(*batch)

    def result() -> Any:
        fresh = new_trainer(workload, backend)
        losses = [fresh.step(*batch) for batch in batches[: workload.steps_compared]]
        return fresh.params, np.array(losses)

    return Prepared(run, result, lambda: run(1))


def _training_steps(workload: Workload, backend: Any, arrays: Any) -> Prepared:
    x, t = arrays(*data(workload))
    trainer = new_trainer(workload, backend)
    how: dict[str, Any] = {
        "batch_size": workload.batch,
        "sampling": "epoch" if workload.kind == "epoch" else "replacement",
        "progress": False,
    }

    def run(units: int) -> None:
        trainer.run(x, t, max_steps=units * workload.steps, **how)

    def result() -> Any:
        fresh = new_trainer(workload, backend)
        trained = fresh.run(x, t, max_steps=workload.steps_compared, record_every=1, **how)
        return trained.params, trained.history.losses

    def settle() -> None:
        fresh = new_trainer(workload, backend)
        fresh.run(x, t, max_steps=LONGEST_RUN, tol=ANY_LOSS, **how)

    return Prepared(run, result, lambda: run(1), settle)


def _training(workload: Workload, backend: Any, arrays: Any) -> Prepared:
    x, t = arrays(*data(workload))
    zero = sum(float(value) ** 2 for value in data(workload)[1].ravel()) / workload.samples
    share = TOLERANCE[len(workload.sizes) - 1]

    def train(share: float = share, **how: Any) -> fcb.TrainResult:
        return fcb.train(
            x,
            t,
            params=initial(workload),
            hidden=workload.sizes[1:-1],
            lr=0.05,
            batch_size=workload.batch,
            tol=share * zero,
            tol_on="data",
            record_every=256 // workload.batch,
            dtype=workload.dtype,
            backend=backend,
            progress=False,
            **how,
        )

    trained = None

    def run(units: int) -> None:
        nonlocal trained
        for _ in range(units):
            trained = train()

    def result() -> Any:
        # Each starts anew, and some libraries take seconds.
        nonlocal trained
        trained = trained or train()
        return trained.params, trained.history.steps.astype(float), trained.history.losses

    return Prepared(
        run, result, lambda: train(ANY_LOSS), lambda: train(ANY_LOSS, max_steps=LONGEST_RUN)
    )
