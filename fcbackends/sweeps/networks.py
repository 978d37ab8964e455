"""The networks of a call, each checked: its problem, its plan, and how it learns."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop, Plan
from fcbackends.checks import data, options
from fcbackends.errors import ArgumentError
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Method
from fcbackends.sweeps.settings import Settings
from fcbackends.training.looks import Looks
from fcbackends.training.problem import Problem, checked
from fcbackends.training.validation import Pair, apart

_STEP_PRODUCTS = 300
_NETWORK_PRODUCTS = 1_000_000
"""What a step and a network cost beside their products, in products of a small network."""


class Data(NamedTuple):
    """What all networks of a call share, as the caller gave it.

    Attributes
    ----------
    x, t, sample_weight, validation, params
        As for `train_many`.
    """

    x: Any
    t: Any
    sample_weight: Any
    validation: Any
    params: Any


class How(NamedTuple):
    """What computes, and in which numbers: the same for all networks of a call.

    Attributes
    ----------
    dtype, backend, arithmetic, classes, rows_per_block
        As for `train_many`.
    """

    dtype: Any
    backend: str | Backend | None
    arithmetic: str | None
    classes: int | None
    rows_per_block: int | None


class Network(NamedTuple):
    """One network to train.

    Attributes
    ----------
    problem : Problem
        What is trained, on which data.
    plan : Plan
        How it draws, watches and stops.
    method : Method
        How it learns.
    max_steps : int
        The most steps that it takes.
    rows : array or None
        Its rows of the data, if it has not all.
    held : pair of arrays or None
        The validation data.
    patience : int or None
        So many looks without a smaller validation loss end it.
    """

    problem: Problem
    plan: Plan
    method: Method
    max_steps: int
    rows: Array | None
    held: Pair | None
    patience: int | None

    def loop(self) -> Loop:
        """Its training loop, with first parameters of its own."""
        return self.problem.backend.training_loop(
            self.problem.first_params(self.plan.seed), self.method
        )

    def looks(self) -> Looks | None:
        """What looks at it, where it is validated."""
        return self.held and Looks(self.held, self.patience, None, self.method.lr)

    def data(self) -> tuple[Array, Array]:
        """Its own rows of x and t."""
        x, t = self.problem.x, self.problem.t
        if self.rows is None:
            return x, t
        take = arrays.namespace_of(x).take
        return take(x, self.rows, axis=0), take(t, self.rows, axis=0)


def networks_of(
    given: Data, how: How, settings: Settings, numbers: Iterable[int] | None = None
) -> list[Network]:
    """The networks of these numbers, or all, whose data are cast once for each loss.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form that `train_many` states; those of a table name the
        row.
    """
    problems: dict[Any, Problem] = {}
    held: dict[Any, Pair | None] = {}

    def problem_of(loss: Any, hidden: Any) -> Problem:
        loss = options.choice("loss", loss, LOSSES)
        key = loss, _hashable(hidden)
        if key in problems:
            return problems[key]
        first = next((each for (name, _), each in problems.items() if name == loss), None)
        if first is None or first.given is not None:
            arguments = given.x, given.t, hidden, given.params, how.dtype
            computes = how.backend, how.arithmetic, loss, how.classes, given.sample_weight
            made = checked(*arguments, *computes, how.rows_per_block)
            if made.given is not None:
                data.finite(made.given)
        else:
            sizes = first.sizes[0], *options.hidden_sizes(hidden), first.sizes[-1]
            options.weights_in_memory("hidden", sizes)
            made = first._replace(sizes=sizes)
        problems[key] = made
        return made

    def held_of(problem: Problem) -> Pair | None:
        if problem.loss not in held:
            *_, held[problem.loss] = apart(
                problem.backend,
                problem.x,
                problem.t,
                problem.dtype,
                given.validation,
                loss=problem.loss,
                outputs=problem.sizes[-1],
                shares=False,
            )
        return held[problem.loss]

    def network(own: Mapping[str, Any]) -> Network:
        problem = problem_of(own["loss"], own["hidden"])
        activation = options.activation(own["activation"], len(problem.sizes) - 2)
        max_steps = options.integer("max_steps", own["max_steps"], 1)
        optimizer = options.optimizer(own["optimizer"])
        clip_norm = options.clip_norm(own["clip_norm"], problem.dtype)
        validation = held_of(problem)
        patience = options.patience(own["patience"], validates=validation is not None)
        rows = own["rows"]
        rows = None if rows is None else data.rows(problem.backend, rows, problem.x)
        plan = options.plan(
            samples=(problem.x if rows is None else rows).shape[0],
            start=0,
            max_steps=max_steps,
            batch_size=own["batch_size"],
            tol=own["tol"],
            tol_on=own["tol_on"],
            sampling=own["sampling"],
            seed=own["seed"],
            record_every=own["record_every"],
            by_epoch=validation is not None,
        )
        rate = options.rate(own["lr"], problem.dtype)
        method = Method(rate, activation, problem.loss, optimizer, problem.weighted, clip_norm)
        return Network(problem, plan, method, max_steps, rows, validation, patience)

    made = []
    for number in range(len(settings.own)) if numbers is None else numbers:
        try:
            made.append(network(settings.of(number)))
        except ArgumentError as error:
            place = settings.place(number)
            raise error.renamed({name: place(name) for name in error.arguments}) from None
    return made


def products_of(network: Network) -> float:
    """About how long a network takes, in products of numbers."""
    weights = sum(a * b for a, b in itertools.pairwise(network.problem.sizes))
    step = 3 * weights * network.plan.batch_size + _STEP_PRODUCTS
    return float(network.max_steps) * step + _NETWORK_PRODUCTS


def _hashable(hidden: Any) -> Any:
    """The sizes of layers as a key; what is no sequence of numbers is refused later."""
    try:
        key = tuple(hidden)
        hash(key)
    except TypeError:
        return repr(hidden)
    return key
