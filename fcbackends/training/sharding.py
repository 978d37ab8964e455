"""What `train` is asked for where it trains on shards, checked; and the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fcbackends.checks import data, options
from fcbackends.environment import warn_if_disturbed
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Method
from fcbackends.training.interruption import ending, interruptible
from fcbackends.training.looks import Looks
from fcbackends.training.partitions import Samples, Whole, in_parts, samples_of
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
    problem, samples = _posed(x, t, asked)
    count = options.integer("shards", shards, 1, samples.x.shape[0])
    local_steps = options.integer("local_steps", local_steps, 1)
    chosen, sizes = problem.backend, problem.sizes
    activation = options.activation(asked["activation"], len(sizes) - 2)
    method = Method(
        options.rate(asked["lr"], problem.dtype),
        activation,
        problem.loss,
        options.optimizer(asked["optimizer"]),
        problem.weighted,
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
        record_every=local_steps if asked["record_every"] is None else asked["record_every"],
    )
    if plan.record_every % local_steps:
        required = f"be a multiple of the {local_steps} `local_steps`"
        raise ArgumentError("record_every", required, shown(asked["record_every"]))
    validation = options.validation(asked["validation"], shares=False)
    beside = chosen, problem.x, problem.t, problem.dtype
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
    classes = sizes[-1] if problem.loss == "cross_entropy" else None
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


def _posed(x: Any, t: Any, asked: Mapping[str, Any]) -> tuple[Problem, Samples]:
    """The problem, and the samples; where they are in parts, as the first sample poses it."""
    weight = asked["sample_weight"]
    of_network = asked["hidden"], asked["params"], asked["dtype"]
    computes = asked["backend"], asked["arithmetic"], asked["loss"]
    blocks = asked["rows_per_block"]
    if not any(in_parts(column) for column in (x, t, weight)):
        problem = checked(x, t, *of_network, *computes, asked["classes"], weight, blocks)
        return problem, samples_of(x, t, weight)
    loss = options.choice("loss", asked["loss"], LOSSES)
    samples = samples_of(x, t, weight)
    one = samples.take(np.zeros(1, np.int64))
    classes = asked["classes"]
    of_classes = loss == "cross_entropy" and len(samples.t.shape) == 1
    if of_classes and classes is None and asked["params"] is None:
        if not isinstance(samples.t, Whole):
            required = "be given where classes come from files or Dask arrays"
            raise ArgumentError("classes", required, "None")
        # What is no class is refused with the first sample, or where it is read.
        if samples.t.array.dtype.kind in "iu":
            classes = max(int(samples.t.array.max()), 0) + 1
    first = one.x.take(_ALL), one.t.take(_ALL)
    # Of the first sample any weight will do: each is checked where it is read.
    weight = None if weight is None else np.ones(1)
    return checked(*first, *of_network, *computes, classes, weight, blocks), samples


_ALL: Any = slice(None)
