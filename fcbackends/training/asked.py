"""What a call of training asks for: all that bits depend on, to hold against what a file says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcbackends import agreement
from fcbackends.arrays import as_numpy
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Plan
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Method, Params
from fcbackends.training.serialized import Form

OF_EACH = ("lr", "seed", "record_every", "rows")
"""Options of which each run has its own."""

_RECORDS = ("lr", "optimizer")
"""Options that may be records: a file holds what Python shows of them, which is all."""

_DATA = ("x", "t", "sample_weight", "validation[0]", "validation[1]", "params", "rows")
"""Options that are arrays: a file holds their digests."""


class Asked(NamedTuple):
    """What a call asks for, and what its runs need to be read.

    Attributes
    ----------
    options : mapping
        By name: all that bits depend on, in the form of JSON, with digests for arrays; those in
        OF_EACH are lists of one for each run.
    form : Form
        The shape of what the runs hold.
    shapes : mapping
        Of the arrays that all runs share, by name; None where there is no such array.
    method : Method
        How the first run learns.
    of_trainer : bool
        Whether steps may come before the run.
    """

    options: Mapping[str, Any]
    form: Form
    shapes: Mapping[str, Any]
    method: Method
    of_trainer: bool = False


def asked_for(
    backend: Backend,
    sizes: Sequence[int],
    dtype: str,
    methods: Sequence[Method],
    plans: Sequence[Plan],
    *,
    first: int,
    max_steps: int,
    patience: int | None,
    validation: Any,
    calls_back: bool = False,
    x: Array,
    t: Array,
    params: Params | None = None,
    rows: Sequence[Array | None] = (None,),
) -> Asked:
    """What these arguments of `train`, or of `train_many` for all its runs, ask for."""
    method, plan, outputs = methods[0], plans[0], sizes[-1]
    own = validation if isinstance(validation, tuple) else ()
    arrays = {
        "x": x,
        "t": t[:, :outputs],
        "sample_weight": t[:, outputs:] if method.weighted else None,
        **{f"validation[{i}]": array for i, array in enumerate(own)},
        "params": params,
    }
    asked = {
        "arithmetic": backend.arithmetic,
        "rows_per_block": backend.rows_per_block,
        "hidden": sizes[1:-1],
        "dtype": dtype,
        "activation": method.activation,
        "loss": method.loss,
        "optimizer": str(method.optimizer),
        "lr": [lr if isinstance(lr, float) else str(lr) for lr, *_ in methods],
        "clip_norm": method.clip_norm,
        "batch_size": plan.batch_size,
        "max_steps": max_steps,
        "tol": plan.tol,
        "tol_on": plan.tol_on,
        "sampling": plan.sampling,
        "seed": [each.seed for each in plans],
        "patience": patience,
        "validation": "(x, t)" if isinstance(validation, tuple) else validation,
        "callback": calls_back,
        **{name: _digest(array) for name, array in arrays.items()},
        "rows": [_digest_of_rows(each) for each in rows],
        # Last, since others choose it where the caller does not.
        "record_every": [each.record_every for each in plans],
    }
    every = [each.record_every for each in plans]
    form = Form(
        sizes,
        dtype,
        method.form.rule.update,
        first,
        max_steps,
        is_looked_at=validation is not None or calls_back,
        watches_data=plan.tol_on == "data",
        record_every=every,
    )
    return Asked(asked, form, {name: _shape(array) for name, array in arrays.items()}, method)


def in_json(asked: Asked, beside: Mapping[str, Any]) -> Asked:
    """The same with options of the caller's own, as a file gives them back: lists, no tuples."""
    others = {name: value for name, value in asked.options.items() if name not in beside}
    return asked._replace(options=json.loads(json.dumps({**beside, **others})))


def compare(what: str, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse the first option in which what a file keeps is not what is asked for.

    Raises
    ------
    ArgumentError
        Of that option, which must be as in `what`.
    """
    for option, value in asked.items():
        before = kept.get(option)
        if before == value:
            continue
        place = option
        if option in OF_EACH and isinstance(before, list) and len(before) == len(value):
            number = next(i for i in range(len(value)) if before[i] != value[i])
            place = f"{option}[{number}]" if len(value) > 1 else option
            before, value = before[number], value[number]
        if option in _DATA and isinstance(before, str) and isinstance(value, str):
            before, value = f"of digest {before[:16]}", f"of digest {value[:16]}"
        else:
            before, value = (
                v if option in _RECORDS and isinstance(v, str) else shown(v)
                for v in (before, value)
            )
        raise ArgumentError(place, f"be as in {what}, {before}", value)


def _digest(array: Any) -> str | None:
    return None if array is None else agreement.digest(array)


def _digest_of_rows(rows: Array | None) -> str | None:
    # Row numbers are far below 2**53.
    return None if rows is None else agreement.digest(as_numpy(rows).astype(np.float64))


def _shape(array: Any) -> Any:
    if array is None:
        return None
    return [_shape(part) for part in array] if isinstance(array, tuple) else list(array.shape)
