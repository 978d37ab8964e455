"""`first_difference`: two sides in, what is told of them out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import get_backend, list_backends
from fcbackends.checks import options
from fcbackends.differences.comparing import Chosen, Comparison
from fcbackends.differences.difference import Difference
from fcbackends.differences.narrowing import Looks
from fcbackends.differences.runs import Run, recorded_run, run_of
from fcbackends.differences.sides import BackendSide, FunctionSide
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown
from fcbackends.maths.arithmetic import ARITHMETICS
from fcbackends.training.records import Record, read


def first_difference(
    a: Any,
    b: Any,
    x: Any,
    t: Any,
    *,
    other_data: tuple[Any, Any] | None = None,
    backends: tuple[Any, Any] = (None, None),
    **given: Any,
) -> Difference | None:
    """Find the first step at which two runs part, and there the operation, the element, the cause.

    Parameters
    ----------
    a, b : str, path, Backend or callable
        The two sides, each

        - a record that `train` wrote, by the name of its file;
        - a backend: a `Backend`, or a name as "numba" or, with its arithmetic, "numba:fused";
        - a function `step(params, x, t)` or `step(params, x, t, number)` that takes one step of
          plain SGD on the batch x (N, K), t (N, M), in NumPy's arrays, and returns the new
          parameters ((w, b), ...), in any library's, or a tuple of these and the batch's loss.
    x, t : array (N, K) and (N, M) or (N,)
        The data of the runs.
    other_data : (x, t), optional
        The data of `b`, where it is a record of other data than `a`.
    backends : (str or Backend or None, str or Backend or None)
        What repeats a record of side a, and of side b; by default the backend of its name.
    **given
        Without a record, the options of the run, by the names of `train`'s arguments: `hidden`,
        `params`, `activation`, `loss`, `classes`, `sample_weight`, `optimizer`, `lr`, `clip_norm`,
        `batch_size`, `max_steps`, `sampling`, `seed`, `dtype`, `validation`, `rows_per_block`. With
        one, they are the record's, and here is what the run had of `sample_weight`, `params` and
        `validation`.

    Returns
    -------
    Difference or None
        None where nothing differs.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above, a record is damaged, or the data are not the
        record's.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> x, t = np.random.default_rng(0).random((2, 50, 3))
    >>> found = fcb.first_difference("numba", "numba:fused", x, t, lr=0.1, max_steps=100)
    >>> found.step, found.operation, found.element, found.cause
    (1, 'forward of layer 0', (0, 0), 'products fused into sums')
    """
    records = [_record_of("a", a), _record_of("b", b)]
    chosen = _pair("backends", backends)
    data = [(x, t), (x, t) if other_data is None else _pair("other_data", other_data)]
    known = [record for record in records if record is not None]
    if known:
        runs = [
            recorded_run(record or known[0], *pair, given)
            for record, pair in zip(records, data, strict=True)
        ]
    else:
        runs = [run_of(*pair, given) for pair in data]
    own = [_other_arrays(*pair) for pair in zip(records, runs, strict=True)]
    sides = []
    for i, (argument, side) in enumerate((("a", a), ("b", b))):
        why = ""
        if own[i]:
            # What is given may be the other record's alone.
            if len(known) < 2 or own[1 - i] or other_data is not None:
                raise own[i][0].renamed({} if i == 0 or other_data is None else _OTHERS)
            why = "its data are not those given"
        sides.append(_side(argument, side, runs[i], records[i], chosen[i], why))
    looks = Looks(max(run.steps for run in runs))
    return Comparison(sides[0], sides[1], looks).difference()


_OTHERS = {"x": "other_data[0]", "t": "other_data[1]"}


def _other_arrays(record: Record | None, run: Run) -> list[ArgumentError]:
    """A refusal of each array that is not the record's."""
    if record is None:
        return []
    found = []
    for name, digest in run.digests.items():
        entry = record.data.get(name)
        if digest != (entry and entry["digest"]):
            there = f"of digest {entry['digest'][:16]}" if entry else "left out"
            here = f"one of digest {digest[:16]}" if digest else "nothing"
            required = f"be as in the record {record.name!r}, {there}"
            found.append(ArgumentError(name, required, here))
    return found


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ArgumentTypeError(name, "be a pair", shown(value))
    return value[0], value[1]


def _record_of(argument: str, side: Any) -> Record | None:
    if callable(side) or isinstance(side, Backend) or is_backend_name(side):
        return None
    if not isinstance(side, str | os.PathLike):
        required = "be the file of a record, a backend or its name, or a function"
        raise ArgumentTypeError(argument, required, shown(side))
    return read(options.path(argument, side), argument)


def is_backend_name(side: Any) -> bool:
    """Whether a side is the name of a backend, with or without its arithmetic, and no file."""
    known = isinstance(side, str) and side.partition(":")[0] in list_backends()
    return known and not Path(side).is_file()


def _side(
    argument: str, side: Any, run: Run, record: Record | None, chosen: Any, why_not: str
) -> Chosen:
    if record is not None:
        arithmetic = record.options["arithmetic"]
        name = f"record {record.name!r} of {record.backend}, {arithmetic}"
        if why_not:
            return Chosen(name, run, record, None, why_not)
        try:
            backend = get_backend(
                record.backend if chosen is None else chosen,
                arithmetic=None if isinstance(chosen, Backend) else arithmetic,
            )
        except ArgumentError as error:
            if chosen is not None:
                raise error.renamed({"backend": "backends"}) from None
            return Chosen(name, run, record, None, f"{record.backend} is not available")
        backend = options.in_blocks(backend, run.rows_per_block)
        return Chosen(name, run, record, BackendSide(name, run, backend), "")
    if isinstance(side, Backend | str):
        backend = side if isinstance(side, Backend) else _named(argument, side)
        backend = options.in_blocks(backend, run.rows_per_block)
        name = f"{backend.name}, {backend.arithmetic}"
        return Chosen(name, run, None, BackendSide(name, run, backend), "")
    name = f"function {getattr(side, '__name__', type(side).__name__)}"
    return Chosen(name, run, None, FunctionSide(name, run, side, argument), "")


def _named(argument: str, side: str) -> Backend:
    """The backend of a name, or of a name and an arithmetic."""
    known, _, arithmetic = side.partition(":")
    if arithmetic:
        options.choice(argument, arithmetic, ARITHMETICS)
    try:
        return get_backend(known, arithmetic=arithmetic or "ordered")
    except ArgumentError as error:
        raise error.renamed(dict.fromkeys(("backend", "arithmetic"), argument)) from None
