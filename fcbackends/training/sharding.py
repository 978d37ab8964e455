"""What `train` is asked for where it trains on shards, checked; and the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fcbackends.arrays import as_numpy
from fcbackends.backends.registry import backend_for
from fcbackends.checks import data, options, targets
from fcbackends.environment import warn_if_disturbed
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.network import Method
from fcbackends.training.interruption import ending, interruptible
from fcbackends.training.looks import Looks
from fcbackends.training.partitions import Column, Samples, Whole, samples_of
from fcbackends.training.problem import Problem, checked
from fcbackends.training.progress import progress_bar
from fcbackends.training.results import TrainResult, result_of
from fcbackends.training.shards import Shards, run_rounds
from fcbackends.training.state import in_numpy
from fcbackends.training.validation import apart

_NOT_WITH = ("checkpoint", "checkpoint_every", "resume", "record", "digest_every")


def train_sharded(
    x: Any,
    t: Any,
    asked: Mapping[str, Any],
    shards: Any,
    local_steps: Any,
    executor: Any,
    deadline: float | None,
) -> TrainResult:
    """Train on shards, with the other arguments of `train` by name.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form that `train` states.
    """
    if shards is None or local_steps is None:
        given = {"shards": shards, "local_steps": local_steps, "executor": executor}
        names = tuple(name for name, value in given.items() if value is not None)
        required = "come with `shards` and `local_steps`"
        raise ArgumentError(names, required, "no more than that")
    for name in _NOT_WITH:
        if asked[name] is not None:
            raise ArgumentError(name, "be left out with `shards`", shown(asked[name]))
    if options.choice("tol_on", asked["tol_on"], ("batch", "data")) == "data":
        required = "be 'batch' with `shards`: no process has the whole data"
        raise ArgumentError("tol_on", required, "'data'")
    executor = options.executor(executor)
    samples = samples_of(x, t, asked["sample_weight"])
    count = options.integer("shards", shards, 1, samples.x.shape[0])
    local_steps = options.integer("local_steps", local_steps, 1)
    _check_weight(samples.weight)
    classes = _classes(samples.t, asked["loss"], asked["classes"], asked["params"])
    problem = _problem(x, t, samples, asked, classes)
    chosen, sizes = problem.backend, problem.sizes
    activation = options.activation(asked["activation"], len(sizes) - 2)
    method = Method(
        options.rate(asked["lr"], problem.dtype),
        activation,
        problem.loss,
        options.optimizer(asked["optimizer"]),
        samples.weight is not None,
        options.clip_norm(asked["clip_norm"], problem.dtype),
    )
    max_steps = options.integer("max_steps", asked["max_steps"], 1)
    plan = options.plan(
        samples=samples.x.shape[0] // count,
        start=0,
        max_steps=max_steps,
        batch_size=asked["batch_size"],
        tol=asked["tol"],
        tol_on="batch",
        sampling=asked["sampling"],
        seed=asked["seed"],
        record_every=asked["record_every"] or local_steps,
    )
    if plan.record_every % local_steps:
        required = f"be a multiple of the {local_steps} `local_steps`"
        raise ArgumentError("record_every", required, shown(asked["record_every"]))
    validation = options.validation(asked["validation"], shares=False)
    like = problem.t
    if samples.weight is not None:
        like = targets.weighted(chosen, like, np.ones(1))
    beside = chosen, problem.x, like, problem.dtype
    *_, held = apart(*beside, validation, loss=problem.loss, outputs=sizes[-1], shares=False)
    patience = options.patience(asked["patience"], validates=held is not None)
    callback = options.callback(asked["callback"])
    looks = None
    if held is not None or callback is not None:
        looks = Looks(held, patience, callback, method.lr)
    shown_bar, returns = options.progress(asked["progress"]), options.returns(asked["on_interrupt"])
    if problem.given is not None:
        data.finite(problem.given)
    first = chosen.training_loop(problem.first_params(plan.seed), method).state
    made = Shards(samples, count, local_steps, plan, method, problem.dtype, chosen, classes)
    warn_if_disturbed(3)
    with (
        interruptible() as interrupted,
        progress_bar(max_steps, "step", shown_bar) as advanced,
    ):
        outcome = run_rounds(
            made,
            executor,
            in_numpy(first),
            max_steps,
            ending=ending(interrupted, deadline),
            advanced=advanced,
            looks=looks,
            own=problem.own,
        )
    if interrupted():
        if not returns:
            raise KeyboardInterrupt
        outcome = outcome._replace(stop_reason="interrupted")
    return result_of(outcome, chosen.arithmetic, method, plan, 0)


def _problem(
    x: Any, t: Any, samples: Samples, asked: Mapping[str, Any], classes: int | None
) -> Problem:
    """The problem as the first sample poses it: what is checked of it holds for all."""
    one = samples.take(np.zeros(1, np.int64))
    backend = asked["backend"]
    whole = isinstance(samples.x, Whole) and isinstance(samples.t, Whole)
    if backend is None and whole:
        backend = backend_for(None, asked["arithmetic"], x=x, t=t)
    of_loss = asked["loss"], classes, None
    first = one.x.take(_ALL), one.t.take(_ALL)
    arithmetic = asked["arithmetic"] if backend is asked["backend"] else None
    of_network = asked["hidden"], asked["params"], asked["dtype"]
    blocks = asked["rows_per_block"]
    return checked(*first, *of_network, backend, arithmetic, *of_loss, blocks)


_ALL: Any = slice(None)


def _classes(t: Column, loss: Any, classes: Any, params: Any) -> int | None:
    """How many classes integer targets are of, which no part of the data tells by itself."""
    if loss != "cross_entropy" or len(t.shape) == 2 or classes is not None:
        return classes
    if params is not None:
        return len(as_numpy(list(params)[-1][1]))
    if not isinstance(t, Whole):
        required = "be given where classes come from files or Dask arrays"
        raise ArgumentError("classes", required, "None")
    return int(t.array.max()) + 1


def _check_weight(weight: Column | None) -> None:
    if isinstance(weight, Whole):
        values = weight.array
        if not (np.isfinite(values) & (values >= 0)).all() or not values.any():
            required = f"be of shape ({len(values)},), finite and >= 0, not all of it 0"
            raise ArgumentError("sample_weight", required, shown(values))
