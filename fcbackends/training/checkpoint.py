"""Runs of training in a file: written as they go, so that what was broken off goes on exactly.

A file holds what was asked for (options and digests of the data) and, for each run, where it
stands. It is of safetensors' format: arrays are `run0.layer0.w` and so on, `run0.slot0.layer0.w`
for what the optimizer keeps, `run0.losses` for the history, and `run0.best.layer0.w` for the best
network so far where a run has patience.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends import agreement, files, tensor_files
from fcbackends.arrays import as_numpy
from fcbackends.backends.loop import Plan
from fcbackends.checks import options
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Method, Params
from fcbackends.training.keeping import SECONDS_APART, Keeper, Standing
from fcbackends.training.serialized import Form, described, standing_of

_ENTRY = "fcbackends-checkpoint"
_VERSION = 1

_OF_EACH = ("lr", "seed", "record_every", "rows")
"""Options of which each run has its own."""

_RECORDS = ("lr", "optimizer")
"""Options that may be records: a file holds what Python shows of them, which is all."""

_DATA = ("x", "t", "sample_weight", "validation[0]", "validation[1]", "params", "rows")
"""Options that are arrays: a file holds their digests."""

FileName: TypeAlias = "str | os.PathLike[str]"


class CheckpointFile(NamedTuple):
    """A checkpoint's name, and options of the caller's own that runs are to share with it."""

    path: Any
    beside: Mapping[str, Any]


class Asked(NamedTuple):
    """What a call asks for, and what its runs need to be read.

    Attributes
    ----------
    options : mapping
        By name: all that bits depend on, in the form of JSON, with digests for arrays; those in
        _OF_EACH are lists of one for each run.
    form : Form
        The shape of what the runs hold.
    of_trainer : bool
        Whether steps may come before the run.
    """

    options: Mapping[str, Any]
    form: Form
    of_trainer: bool = False


def asked_for(
    arithmetic: str,
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
    weights = t[:, outputs:] if method.weighted else None
    own = validation if isinstance(validation, tuple) else ()
    asked = {
        "arithmetic": arithmetic,
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
        "x": _digest(x),
        "t": _digest(t[:, :outputs]),
        "sample_weight": _digest(weights),
        **{f"validation[{i}]": _digest(array) for i, array in enumerate(own)},
        "params": _digest(params),
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
    return Asked(asked, form)


def _digest(array: Any) -> str | None:
    return None if array is None else agreement.digest(array)


def _digest_of_rows(rows: Array | None) -> str | None:
    # Row numbers are far below 2**53.
    return None if rows is None else agreement.digest(as_numpy(rows).astype(np.float64))


class _Kept:
    """The runs of a call, in a file that is written anew as they go.

    Parameters
    ----------
    path : path
        The file.
    every : int or None
        It is written after so many steps of all runs together; None stands for ten seconds.
    asked : Asked
        What the call asks for.
    begun : sequence of Standing or None
        Where each run stands, if it was begun.
    """

    def __init__(
        self, path: Path, every: int | None, asked: Asked, begun: Sequence[Standing | None]
    ) -> None:
        self._path, self._asked, self._standing = path, asked, list(begun)
        self.every, self._steps = every, 0
        self._time = time.perf_counter()
        self._lock = threading.Lock()
        self._left = "none was there before"

    def keep(self, number: int, standing: Standing) -> None:
        """Keep where a run stands now."""
        with self._lock:
            before, self._standing[number] = self._standing[number], standing
            self._steps += standing.step - (before.step if before else self._asked.form.first)
            # Of many runs, each would write them all.
            if len(self._standing) == 1 or self._is_due():
                self.write()

    def _is_due(self) -> bool:
        if self.every is None:
            return time.perf_counter() - self._time >= SECONDS_APART
        return self._steps >= self.every

    def write(self) -> None:
        """Write where all runs stand."""
        tensors: dict[str, NDArray[Any]] = {}
        runs = [
            standing and described(standing, f"run{number}.", tensors)
            for number, standing in enumerate(self._standing)
        ]
        about = {
            "version": _VERSION,
            "contract": CONTRACT_VERSION,
            "options": self._asked.options,
            "first": self._asked.form.first,
            "runs": runs,
        }
        try:
            tensor_files.write(self._path, _ENTRY, about, tensors)
        except OSError as error:
            text = f"{error.strerror}, and of checkpoints {self._left}"
            raise OSError(error.errno, text, str(self._path)) from error
        self._left = "the one before is left"
        self._steps, self._time = 0, time.perf_counter()


class Runs(NamedTuple):
    """The runs of a call, which may be kept in a file, or were begun before.

    Attributes
    ----------
    begun : sequence of Standing or None
        For each run: where it stands, if it was begun.
    first : int or None
        The steps that came before the runs that were begun.
    kept : _Kept or None
        What keeps them.
    """

    begun: Sequence[Standing | None]
    first: int | None = None
    kept: _Kept | None = None

    def keeper(self, number: int) -> Keeper | None:
        """What keeps the run of this number."""
        if self.kept is None:
            return None
        return Keeper(self.kept.every, partial(self.kept.keep, number))


def opened(
    checkpoint: Any,
    checkpoint_every: Any,
    resume: Any,
    count: int,
    asked: Callable[[], Asked],
    own: Callable[[Params], Params],
) -> Runs:
    """So many runs, as these arguments of `train` have them kept or gone on with.

    `own` brings parameters from NumPy's arrays to those of the backend.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form that `train` states, or a file is none of the runs'.
    """
    if checkpoint is None and checkpoint_every is not None:
        got = f"{shown(checkpoint_every)} without"
        raise ArgumentError("checkpoint_every", "come with `checkpoint`", got)
    if checkpoint_every is not None:
        checkpoint_every = options.integer("checkpoint_every", checkpoint_every, 1)
    if checkpoint is None and resume is None:
        return Runs([None] * count)
    tensor_files.require_safetensors()
    wanted = asked()
    beside: Mapping[str, Any] = {}
    if isinstance(resume, CheckpointFile):
        resume, beside = resume
    if isinstance(checkpoint, CheckpointFile):
        checkpoint, beside = checkpoint
    others = {name: value for name, value in wanted.options.items() if name not in beside}
    # As a file gives it back: with lists, and no tuples.
    wanted = wanted._replace(options=json.loads(json.dumps({**beside, **others})))
    path = None
    if checkpoint is not None:
        path = files.writable(options.path("checkpoint", checkpoint), "checkpoint", ())
    runs = Runs([None] * count)
    if resume is not None:
        wanted, begun = _read(options.path("resume", resume), wanted, own)
        runs = Runs(begun, wanted.form.first)
    if path is None:
        return runs
    return runs._replace(kept=_Kept(path, checkpoint_every, wanted, runs.begun))


def _read(
    name: str, asked: Asked, own: Callable[[Params], Params]
) -> tuple[Asked, list[Standing | None]]:
    required = "be a checkpoint that `checkpoint` wrote"
    with tensor_files.understood(name, "resume", required) as path:
        about, tensors = tensor_files.read(path, _ENTRY)
        if about["version"] != _VERSION:
            raise ValueError(f"version {about['version']!r}, and this is for version {_VERSION}")
        if about["contract"] != CONTRACT_VERSION:
            known = f"this fcbackends has {CONTRACT_VERSION}"
            raise ValueError(f"contract version {about['contract']!r}; {known}")
        kept = dict(about["options"])
        first = options.integer("first", about["first"], 0)
        runs = list(about["runs"])
    _compare(name, kept, asked.options)
    with tensor_files.understood(name, "resume", required):
        if first and not asked.of_trainer:
            raise ValueError(f"a run of a Trainer that had taken {first} steps")
        if (first + asked.form.steps) * asked.options["batch_size"] >= 2**63:
            raise ValueError(f"{first} steps before it")
        form = asked.form._replace(first=first)
        begun = [
            run and standing_of(run, f"run{number}.", tensors, form, every, own)
            for number, (run, every) in enumerate(zip(runs, form.record_every, strict=True))
        ]
    return asked._replace(form=form), begun


def _compare(name: str, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse the first option in which a checkpoint's runs are not those asked for."""
    for option, value in asked.items():
        before = kept.get(option)
        if before == value:
            continue
        place = option
        if option in _OF_EACH and isinstance(before, list) and len(before) == len(value):
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
        raise ArgumentError(place, f"be as in the checkpoint {name!r}, {before}", value)
