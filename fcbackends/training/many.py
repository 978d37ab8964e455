"""Many networks of one shape at once, each with the bits that it would have alone."""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop, LossScope, Plan
from fcbackends.checks import data, options
from fcbackends.environment import warn_if_disturbed
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Method
from fcbackends.maths.optimizers import SGD, Optimizer
from fcbackends.maths.sampling import Sampling
from fcbackends.maths.schedules import Rate
from fcbackends.training.asked import Asked, asked_for
from fcbackends.training.checkpoint import FileName, opened
from fcbackends.training.interruption import Ending, OnInterrupt, ending, interruptible
from fcbackends.training.looks import Looks
from fcbackends.training.pacing import Outcome, run_segments
from fcbackends.training.problem import checked
from fcbackends.training.progress import progress_bar
from fcbackends.training.results import TrainResult, result_of
from fcbackends.training.runs import deadline_of
from fcbackends.training.validation import apart


class _Task(NamedTuple):
    """One network to train, on all rows of the data where it has none of its own."""

    plan: Plan
    method: Method
    rows: Array | None


def train_many(
    x: Any,
    t: Any,
    *,
    seed: int | Sequence[int] = 0,
    optimizer: Optimizer = SGD(),
    lr: Rate | Sequence[Rate],
    clip_norm: float | None = None,
    rows: Sequence[Any] | None = None,
    hidden: Sequence[int] = (),
    params: Any = None,
    activation: str | Sequence[str] = "relu",
    loss: str = "mean_squared",
    classes: int | None = None,
    sample_weight: Any = None,
    batch_size: int = 1,
    max_steps: int = 100_000,
    time_limit: float | None = None,
    tol: float | None = None,
    tol_on: LossScope = "batch",
    sampling: Sampling = "replacement",
    dtype: str = "float64",
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    record_every: int | None = None,
    validation: tuple[Any, Any] | None = None,
    patience: int | None = None,
    progress: bool | None = None,
    on_interrupt: OnInterrupt = "raise",
    checkpoint: FileName | None = None,
    checkpoint_every: int | None = None,
    resume: FileName | None = None,
) -> tuple[TrainResult, ...]:
    """Train many networks of one shape, on all cores that the backend may use.

    `seed`, `lr` and `rows` may each be a sequence with one entry for each network; what is not a
    sequence serves them all. Network i has the bits of

        train(x[rows[i]], t[rows[i]], seed=seed[i], lr=lr[i], ...)

    Parameters
    ----------
    x, t : array (N, K) and (N, M) or (N,)
        Inputs and targets, one sample a row; cast once to `dtype`.
    seed : int or sequence of int
        Of each network's draws and first parameters.
    lr : float, schedule, or sequence of them
        Each network's learning rate, as for `train`.
    rows : sequence of integer arrays, optional
        The rows of the data that each network is trained on, in this order; all by default.
    params : sequence of (w, b), optional
        First parameters for all networks, instead of those of their seeds.
    clip_norm, optimizer, hidden, activation, loss, classes, sample_weight, batch_size, max_steps, \
    tol, tol_on, sampling, dtype, backend, arithmetic, record_every
        As for `train`.
    validation : (x, t), optional
        As for `train`, the same data for all networks; no share.
    time_limit : float, optional
        As for `train`, for all networks together. Those whose turn has not come by then are
        returned as after Ctrl-C.
    patience : int, optional
        As for `train`: each network stops by itself.
    progress : bool, optional
        As for `train`; the bar counts networks.
    on_interrupt : {"raise", "return"}
        As for `train`. Networks whose turn had not come when Ctrl-C came are returned with their
        first parameters, no steps and a loss of NaN.
    checkpoint, checkpoint_every, resume
        As for `train`; one file holds all networks, and is written after so many steps of all of
        them together.

    Returns
    -------
    tuple of TrainResult
        In the order of the sequences. Where `train` would raise DivergenceError, the stop_reason
        is "diverged", params are the last finite ones, after `steps` steps, loss is NaN, and the
        history holds the finite losses up to there.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above; nothing has then been done. So where a network
        diverged and its data are not finite.

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
    deadline = deadline_of(time_limit)
    given = loss, classes, sample_weight
    problem = checked(x, t, hidden, params, dtype, backend, arithmetic, *given)
    if problem.given is not None:
        data.finite(problem.given)
    activation = options.activation(activation, len(problem.sizes) - 2)
    max_steps = options.integer("max_steps", max_steps, 1)
    optimizer = options.optimizer(optimizer)
    clip_norm = options.clip_norm(clip_norm, problem.dtype)
    of_all = problem.backend, problem.x, problem.t, problem.dtype
    outputs = problem.sizes[-1]
    *_, held = apart(*of_all, validation, loss=problem.loss, outputs=outputs, shares=False)
    patience = options.patience(patience, validates=held is not None)
    tasks = []
    for one_seed, one_lr, one_rows in options.entries(seed=seed, lr=lr, rows=rows):
        own = None if one_rows is None else data.rows(problem.backend, one_rows, problem.x)
        plan = options.plan(
            samples=(problem.x if own is None else own).shape[0],
            start=0,
            max_steps=max_steps,
            batch_size=batch_size,
            tol=tol,
            tol_on=tol_on,
            sampling=sampling,
            seed=one_seed,
            record_every=record_every,
            by_epoch=held is not None,
        )
        rate = options.rate(one_lr, problem.dtype)
        method = Method(rate, activation, problem.loss, optimizer, problem.weighted, clip_norm)
        tasks.append(_Task(plan, method, own))
    shown = options.progress(progress)
    returns = options.returns(on_interrupt)
    chosen = problem.backend

    def loop_of(task: _Task) -> Loop:
        return chosen.training_loop(problem.first_params(task.plan.seed), task.method)

    def asked() -> Asked:
        return asked_for(
            chosen.arithmetic,
            problem.sizes,
            problem.dtype,
            [task.method for task in tasks],
            [task.plan for task in tasks],
            first=0,
            max_steps=max_steps,
            patience=patience,
            validation=held,
            x=problem.x,
            t=problem.t,
            params=problem.given,
            rows=[task.rows for task in tasks],
        )

    runs = opened(checkpoint, checkpoint_every, resume, len(tasks), asked, problem.own)

    def train_one(number: int, task: _Task, ending: Ending) -> TrainResult:
        loop, why, begun = loop_of(task), ending(), runs.begun[number]
        if why and not begun:
            outcome = Outcome(0, math.nan, np.empty(0), why, loop.state)
        else:
            own_x, own_t = (_taken(array, task.rows) for array in (problem.x, problem.t))
            looks = held and Looks(held, patience, None, task.method.lr)
            outcome = run_segments(
                loop,
                own_x,
                own_t,
                task.plan,
                0,
                max_steps,
                ending=ending,
                looks=looks,
                keeper=runs.keeper(number),
                begun=begun,
            )
        return result_of(outcome, chosen.arithmetic, task.method, task.plan, 0)

    warn_if_disturbed(2)
    # What has to be compiled is compiled once, for all, and before Ctrl-C is held back.
    forms = {task.method.form: task for task in tasks}
    for task in forms.values():
        loop = loop_of(task)
        loop.prepare(problem.x, problem.t, task.plan, max_steps * len(tasks))
        if held:
            Looks(held, patience, None, task.method.lr).prepare(loop)
    with interruptible() as interrupted, progress_bar(len(tasks), "network", shown) as advanced:
        threads = min(chosen.get_threads(), len(tasks))
        why = ending(interrupted, deadline)
        results = tuple(_in_threads(chosen, threads, train_one, tasks, why, advanced))
    if runs.kept:
        runs.kept.write()
    if interrupted() and not returns:
        raise KeyboardInterrupt
    return results


def _in_threads(
    backend: Backend,
    threads: int,
    train_one: Callable[[int, _Task, Ending], TrainResult],
    tasks: Sequence[_Task],
    ending: Ending,
    advanced: Callable[[int], object],
) -> Iterator[TrainResult]:
    """The tasks' results in their order, each task on one thread of so many."""
    if threads == 1:
        for number, task in enumerate(tasks):
            yield train_one(number, task, ending)
            advanced(1)
        return
    # Imported here: it is a third of the time that importing fcbackends takes.
    from concurrent.futures import ThreadPoolExecutor

    results: dict[int, TrainResult] = {}
    waiting, lock = collections.deque(enumerate(tasks)), threading.Lock()

    def work() -> None:
        # Each thread takes the next for itself: one that handed them out, and was woken for each
        # that is done, would hold the GIL for it.
        while True:
            try:
                number, task = waiting.popleft()
            except IndexError:
                return
            try:
                results[number] = train_one(number, task, ending)
            except BaseException:
                waiting.clear()
                raise
            with lock:
                advanced(1)

    with ThreadPoolExecutor(threads, initializer=backend.set_threads, initargs=(1,)) as pool:
        for worker in [pool.submit(work) for _ in range(threads)]:
            worker.result()
    yield from (results[number] for number in range(len(tasks)))


def _taken(array: Array, rows: Array | None) -> Array:
    return array if rows is None else arrays.namespace_of(array).take(array, rows, axis=0)
