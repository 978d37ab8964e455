"""Runs of training in a file: written as they go, so that what was broken off goes on exactly.

A file holds what was asked for (options and digests of the data) and, for each run, where it
stands. It is of safetensors' format: arrays are `run0.layer0.w` and so on, `run0.slot0.layer0.w`
for what the optimizer keeps, `run0.losses` for the history, and `run0.best.layer0.w` for the best
network so far where a run has patience.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from fcbackends import files, tensor_files
from fcbackends.checks import options
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.network import Params
from fcbackends.training.asked import Asked, compare, in_json
from fcbackends.training.keeping import SECONDS_APART, Keeper, Standing
from fcbackends.training.serialized import described, standing_of

_ENTRY = "fcbackends-checkpoint"
_VERSION = 1

FileName: TypeAlias = "str | os.PathLike[str]"


class CheckpointFile(NamedTuple):
    """A checkpoint's name, and options of the caller's own that runs are to share with it."""

    path: Any
    beside: Mapping[str, Any]


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
    wanted = in_json(wanted, beside)
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
    with files.understood(name, "resume", required) as path:
        about, tensors = tensor_files.read(path, _ENTRY)
        if about["version"] != _VERSION:
            raise ValueError(f"version {about['version']!r}, and this is for version {_VERSION}")
        if about["contract"] != CONTRACT_VERSION:
            known = f"this fcbackends has {CONTRACT_VERSION}"
            raise ValueError(f"contract version {about['contract']!r}; {known}")
        kept = dict(about["options"])
        first = options.integer("first", about["first"], 0)
        runs = list(about["runs"])
    compare(f"the checkpoint {name!r}", kept, asked.options)
    with files.understood(name, "resume", required):
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
