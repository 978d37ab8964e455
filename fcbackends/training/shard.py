"""The steps that one shard takes in a round, on samples of its own: what a worker does."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop, Plan
from fcbackends.checks import targets
from fcbackends.executors.reply import Reply, where
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Method, State, is_finite
from fcbackends.maths.sampling import draw_indices
from fcbackends.training.partitions import Samples
from fcbackends.training.problem import checked
from fcbackends.training.state import in_numpy


class Part(NamedTuple):
    """A shard's part of a round.

    Attributes
    ----------
    samples : Samples
        All samples, or those of `rows` alone, in their order.
    rows : (int, int) or None
        The shard's rows among all samples; None where `samples` are those that are drawn.
    state : State
        What it begins with, in NumPy's arrays.
    first, last : int
        It takes the steps `first` + 1 to `last`.
    plan : Plan
        How it draws.
    method : Method
        How it learns.
    dtype, backend, arithmetic, rows_per_block
        What computes.
    classes : int or None
        How many classes there are, where targets are classes.
    """

    samples: Samples
    rows: tuple[int, int] | None
    state: State
    first: int
    last: int
    plan: Plan
    method: Method
    dtype: str
    backend: str | Backend
    arithmetic: str
    rows_per_block: int | None
    classes: int | None


class Made(NamedTuple):
    """What a shard's part of a round makes.

    Attributes
    ----------
    state : State
        What it ends with, in NumPy's arrays.
    loss : float
        Of the last batch.
    diverged_at : int or None
        The step at which the loss, or after which a parameter, is not finite.
    """

    state: State
    loss: float
    diverged_at: int | None


def drawn(rows: tuple[int, int], plan: Plan, first: int, last: int) -> NDArray[np.int64]:
    """The samples of steps, as rows among all samples, one step after another."""
    low, high = rows
    how = plan.batch_size, plan.sampling, plan.seed
    return draw_indices(high - low, first, last - first, *how).reshape(-1) + low


def work(part: Part) -> Reply:
    """Take a shard's steps."""
    begun = time.perf_counter()
    samples = part.samples
    if part.rows is not None:
        samples = samples.take(drawn(part.rows, part.plan, part.first, part.last))
    made = _steps(part, samples)
    seconds = time.perf_counter() - begun
    return Reply("done", where(), made, seconds, seconds)


def _steps(part: Part, samples: Samples) -> Made:
    x, t = (np.ascontiguousarray(column.take(_ALL)) for column in samples[:2])
    given = x, t, (), part.state.params, part.dtype, part.backend, part.arithmetic
    problem = checked(*given, part.method.loss, part.classes, None, part.rows_per_block)
    rows_x, rows_t, backend = problem.x, problem.t, problem.backend
    if samples.weight is not None:
        rows_t = targets.weighted(backend, rows_t, samples.weight.take(_ALL), of_part=True)
    state = State(problem.own(part.state.params), tuple(map(problem.own, part.state.slots)))
    loop = backend.training_loop(state.params, part.method)
    loop.state = state
    loss, last = _run(loop, part, rows_x, rows_t, watched=False)
    if last < part.last or not _is_finite(loop):
        # Which step it was, is looked for in the few runs that diverge.
        loop.state = state
        loss, last = _run(loop, part, rows_x, rows_t, watched=True)
        return Made(part.state, loss, last + 1)
    return Made(in_numpy(loop.state), loss, None)


_ALL: Any = slice(None)


def _run(loop: Loop, part: Part, x: Array, t: Array, *, watched: bool) -> tuple[float, int]:
    """The last loss, and the last step that went well: where `watched`, its parameters as well."""
    size, loss = part.plan.batch_size, math.nan
    for number, step in enumerate(range(part.first + 1, part.last + 1)):
        batch = slice(number * size, (number + 1) * size)
        loss = loop.step(x[batch, ...], t[batch, ...], step)
        if not math.isfinite(loss) or (watched and not _is_finite(loop)):
            return loss, step - 1
    return loss, part.last


def _is_finite(loop: Loop) -> bool:
    params = loop.params
    return is_finite(arrays.namespace_of(params[0][0]), params)
