"""Many networks of one shape at once, each with the bits that it would have alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcbackends import checks
from fcbackends.initialization import init_params
from fcbackends.interface import Backend
from fcbackends.interruption import interruptible
from fcbackends.records import Array, LossScope, Params, Plan, Sampling
from fcbackends.registry import backend_for
from fcbackends.segments import Outcome, is_finite, run_segments
from fcbackends.training import TrainResult, progress_bar, result_of


class _Task(NamedTuple):
    """One network to train: None for params are the first parameters of its plan's seed."""

    plan: Plan
    lr: float
    rows: Array | None


def train_many(
    x: Any,
    t: Any,
    *,
    seed: int | Sequence[int] = 0,
    lr: float | Sequence[float],
    rows: Sequence[Any] | None = None,
    hidden: Sequence[int] = (),
    params: Any = None,
    batch_size: int = 1,
    max_steps: int = 100_000,
    tol: float | None = None,
    tol_on: LossScope = "batch",
    sampling: Sampling = "replacement",
    dtype: str = "float64",
    backend: str | Backend | None = None,
    record_every: int | None = None,
    progress: bool | None = None,
) -> tuple[TrainResult, ...]:
    """Train many networks of one shape, on all cores that the backend may use.

    `seed`, `lr` and `rows` may each be a sequence with one entry for each network; what is not a
    sequence serves them all. Network i has the bits of

        train(x[rows[i]], t[rows[i]], seed=seed[i], lr=lr[i], ...)

    Parameters
    ----------
    x, t : array (N, K) and (N, M)
        Inputs and targets, one sample a row; cast once to `dtype`.
    seed : int or sequence of int
        Of each network's draws and first parameters.
    lr : float or sequence of float
        Each network's learning rate.
    rows : sequence of integer arrays, optional
        The rows of the data that each network is trained on, in this order; all by default.
    params : sequence of (w, b), optional
        First parameters for all networks, instead of those of their seeds.
    hidden, batch_size, max_steps, tol, tol_on, sampling, dtype, backend, record_every
        As for `train`.
    progress : bool, optional
        As for `train`; the bar counts networks.

    Returns
    -------
    tuple of TrainResult
        In the order of the sequences. Where `train` would raise DivergenceError, the stop_reason
        is "diverged", params are the last finite ones, after `steps` steps, loss is NaN, and the
        history holds the finite losses up to there. Ctrl-C ends all with the parameters so far
        and stop_reason "interrupted"; those whose turn has not come are left with their first
        ones, no steps and a loss of NaN.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above; nothing has then been done.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> x = np.arange(20.0).reshape(10, 2) % 7
    >>> t = x @ np.array([[3.0], [5.0]]) + 2
    >>> results = fcb.train_many(x, t, seed=[0, 1, 2], lr=0.01, max_steps=1000)
    >>> alone = fcb.train(x, t, seed=1, lr=0.01, max_steps=1000)
    >>> fcb.compare(results[1].params, alone.params).equal
    True
    """
    leaves = checks.leaves(params)
    chosen = backend_for(backend, x=x, t=t, **leaves)
    dtype = checks.dtype_name(dtype)
    x, t = checks.data(chosen, x, t, dtype, leaves)
    sizes = (x.shape[1], *checks.hidden_sizes(hidden), t.shape[1])
    given: Params | None = None
    if params is not None:
        given = checks.first_params(chosen, params, sizes[1:-1], dtype, x)
        checks.not_empty(given)
        checks.finite(is_finite(given))
        checks.fits(given, x, t)
    max_steps = checks.count("max_steps", max_steps, 1)
    tasks = []
    for one_seed, one_lr, one_rows in checks.entries(seed=seed, lr=lr, rows=rows):
        chosen_rows = None if one_rows is None else checks.rows(chosen, one_rows, x)
        plan = checks.plan(
            samples=x.shape[0] if chosen_rows is None else chosen_rows.shape[0],
            start=0,
            max_steps=max_steps,
            batch_size=batch_size,
            tol=tol,
            tol_on=tol_on,
            sampling=sampling,
            seed_=one_seed,
            record_every=record_every,
        )
        tasks.append(_Task(plan, checks.learning_rate(one_lr, dtype), chosen_rows))
    # What is worth compiling depends on the steps of all networks together.
    steps = max_steps * len(tasks)
    tasks = [task._replace(plan=task.plan._replace(steps=steps)) for task in tasks]
    shown = checks.progress(progress)

    def first_params(task: _Task) -> Params:
        if given is not None:
            return given
        made = init_params(sizes, seed=task.plan.seed, dtype=dtype)
        return checks.params(chosen, made, beside={"x": x})

    def train_one(task: _Task, interrupted: Callable[[], bool]) -> TrainResult:
        loop = chosen.training_loop(first_params(task), task.lr)
        if interrupted():
            outcome = Outcome(0, math.nan, np.empty(0), "interrupted", None)
        else:
            own_x, own_t = (_taken(array, task.rows) for array in (x, t))
            outcome = run_segments(
                loop,
                own_x,
                own_t,
                task.plan,
                0,
                max_steps,
                interrupted=interrupted,
                advanced=lambda steps: None,
            )
        return result_of(outcome, loop.params, task.plan, 0)

    # No step: what has to be compiled is compiled once, and before Ctrl-C is held back.
    chosen.training_loop(first_params(tasks[0]), tasks[0].lr).run(x, t, tasks[0].plan, 0, 0)
    with interruptible() as interrupted, progress_bar(len(tasks), "network", shown) as advanced:
        if chosen.get_threads() == 1:
            results = []
            for task in tasks:
                results.append(train_one(task, interrupted))
                advanced(1)
            return tuple(results)
        # Imported here: it is a third of the time that importing fcbackends takes.
        from concurrent.futures import ThreadPoolExecutor, as_completed

        with ThreadPoolExecutor(
            min(chosen.get_threads(), len(tasks)), initializer=chosen.set_threads, initargs=(1,)
        ) as pool:
            futures = [pool.submit(train_one, task, interrupted) for task in tasks]
            for _ in as_completed(futures):
                advanced(1)
            return tuple(future.result() for future in futures)


def _taken(array: Array, rows: Array | None) -> Array:
    return array if rows is None else checks.namespace_of(array).take(array, rows, axis=0)
