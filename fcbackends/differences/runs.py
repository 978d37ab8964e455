"""What a run is: data, first parameters, and how it learns, as NumPy's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fcbackends import agreement, arrays
from fcbackends.backends.loop import Plan
from fcbackends.backends.registry import get_backend
from fcbackends.checks import data, options
from fcbackends.differences.operations import Floats
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.network import Method, Params, State, first_state
from fcbackends.maths.optimizers import SGD
from fcbackends.maths.sampling import draw_indices
from fcbackends.training.problem import checked
from fcbackends.training.records import TAKEN, Record
from fcbackends.training.validation import apart

OPTIONS = {
    "hidden": (),
    "params": None,
    "activation": "relu",
    "loss": "mean_squared",
    "classes": None,
    "sample_weight": None,
    "optimizer": SGD(),
    "lr": None,
    "clip_norm": None,
    "batch_size": 1,
    "max_steps": 100_000,
    "sampling": "replacement",
    "seed": 0,
    "dtype": "float64",
    "validation": None,
    "rows_per_block": None,
}
"""Those of `train` that bits of steps depend on, with its defaults."""

ARRAYS = ("sample_weight", "validation", "params")
"""What is given beside a record, where the run had it."""


class Run(NamedTuple):
    """A run that may be repeated step by step.

    Attributes
    ----------
    x, t : array
        The data that is trained on; samples' weights are the last column of t.
    method : Method
        How the network learns.
    plan : Plan
        How samples are drawn; nothing stops the run.
    params : tuple of (w, b)
        The first parameters.
    steps : int
        The most steps.
    rows_per_block : int or None
        How many samples are a block of a sum over samples.
    digests : mapping
        Of the arrays that were given, by the names that a record has for them.
    """

    x: Floats
    t: Floats
    method: Method
    plan: Plan
    params: Params
    steps: int
    rows_per_block: int | None
    digests: Mapping[str, str | None]

    @property
    def dtype(self) -> str:
        """Of all numbers."""
        return str(self.x.dtype.name)

    @property
    def first(self) -> State:
        """What the run begins with."""
        # The arithmetic is not asked for more than zeros.
        arithmetic: Any = type("Zeros", (), {"xp": np})
        return first_state(arithmetic, self.params, self.method.form.rule)

    def rows(self, number: int) -> Any:
        """The samples of the step of this number."""
        plan = self.plan
        own = plan.batch_size, plan.sampling, plan.seed
        return draw_indices(len(self.x), number - 1, 1, *own)[0]


def run_of(x: Any, t: Any, given: Mapping[str, Any]) -> Run:
    """The run of these data and options of `train`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where `train` would raise it.
    """
    for name in given:
        options.choice("option", name, OPTIONS)
    how = {**OPTIONS, **given}
    if how["lr"] is None:
        raise ArgumentError("lr", "be given where neither side is a record", "nothing")
    backend = get_backend("numpy", arithmetic="ordered")
    x, t, params, weight = map(_here, (x, t, how["params"], how["sample_weight"]))
    of_loss = how["loss"], how["classes"], weight
    of_network = how["hidden"], params, how["dtype"], backend, None
    problem = checked(x, t, *of_network, *of_loss, how["rows_per_block"])
    method = Method(
        options.rate(how["lr"], problem.dtype),
        options.activation(how["activation"], len(problem.sizes) - 2),
        problem.loss,
        options.optimizer(how["optimizer"]),
        problem.weighted,
        options.clip_norm(how["clip_norm"], problem.dtype),
    )
    seed, outputs = how["seed"], problem.sizes[-1]
    validation = how["validation"]
    if isinstance(validation, tuple | list):
        validation = None  # it is looked at, and not trained on
    x, t, _ = apart(
        backend, problem.x, problem.t, problem.dtype, validation, seed,
        loss=problem.loss, outputs=outputs,
    )  # fmt: skip
    steps = options.integer("max_steps", how["max_steps"], 1)
    plan = options.plan(
        samples=len(x),
        start=0,
        max_steps=steps,
        batch_size=how["batch_size"],
        tol=None,
        tol_on="batch",
        sampling=how["sampling"],
        seed=seed,
        record_every=1,
    )
    params = problem.first_params(plan.seed)
    data.finite(params)
    given_t = problem.t[:, :outputs]
    named = {
        "x": problem.x,
        "t": given_t,
        "sample_weight": problem.t[:, outputs] if problem.weighted else None,
        "params": problem.given,
    }
    digests = {name: None if v is None else agreement.digest(v) for name, v in named.items()}
    # A BLAS may add in another order where an array lies otherwise in memory.
    x, t = np.ascontiguousarray(x), np.ascontiguousarray(t)
    params = tuple((np.ascontiguousarray(w), np.ascontiguousarray(b)) for w, b in params)
    return Run(x, t, method, plan, params, steps, problem.backend.rows_per_block, digests)


def recorded_run(record: Record, x: Any, t: Any, given: Mapping[str, Any]) -> Run:
    """The run of a record, on these data and what the run had beside them.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where something lacks that the run had, or is there that it had not.
    """
    validates = record.options["validation"]
    has = {
        "sample_weight": record.data.get("sample_weight") is not None,
        "params": record.data.get("params") is not None,
        "validation": validates == "(x, t)",
    }
    for name in given:
        options.choice("option", name, ARRAYS)
    for name, there in has.items():
        value = given.get(name)
        if there != (value is not None) and name != "validation":
            be = f"be {'given' if there else 'left out'}, as in the record {record.name!r}"
            raise ArgumentError(name, be, "nothing" if value is None else shown(value))
    own = {name: record.options[name] for name in TAKEN if name in OPTIONS}
    # A share is the record's; other validation data is not trained on.
    is_apart = record.data.get("validation[0]") is not None
    share = validates if isinstance(validates, float) and not is_apart else None
    arrays_given = {name: given.get(name) for name in ("sample_weight", "params")}
    shape = record.data["t"]["shape"]
    classes = shape[-1] if shape and record.options["loss"] == "cross_entropy" else None
    how = dict(own, lr=record.lr, optimizer=record.optimizer, validation=share, classes=classes)
    try:
        return run_of(x, t, {**how, **arrays_given})
    except ArgumentError as error:
        names = {name: f"{record.name}: {name}" for name in error.arguments if name in own}
        raise error.renamed(names) from None


def _here(values: Any, depth: int = 2) -> Any:
    """Arrays of other libraries as NumPy's, in pairs of a sequence, too."""
    if isinstance(values, tuple | list) and depth:
        brought = [_here(value, depth - 1) for value in values]
        alike = all(a is b for a, b in zip(brought, values, strict=True))
        return values if alike else type(values)(brought)
    return arrays.as_numpy(values) if arrays.is_foreign(values) else values
