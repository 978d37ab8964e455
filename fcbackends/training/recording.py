"""What is taken down of a run as it goes: digests of its parameters, and how it ended."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fcbackends import agreement, files
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Plan
from fcbackends.checks import options
from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.network import Params
from fcbackends.training import records
from fcbackends.training.asked import Asked, in_json
from fcbackends.training.keeping import Observer
from fcbackends.training.looks import Looks
from fcbackends.training.provenance import machine, versions
from fcbackends.training.results import TrainResult

MOST_DIGESTS = 100_000

_DIGESTS = 1000
_LARGE = 2**24
_SAMPLES_APART = 8192


class Recording(Observer, Protocol):
    """What looks on at a whole run of `train`, from what it asks for to its result."""

    def begin(self, asked: Asked, backend: Backend, plan: Plan, looks: Looks | None) -> int:
        """Told what is asked for, and what computes: the step after which the run is to end."""

    def end(self, result: TrainResult) -> None:
        """Given what the run ended with, if it did not diverge."""


class Recorder:
    """Makes a record of a run: see `records` for what is in it.

    Parameters
    ----------
    path : path or None
        The file that is written at the end; None leaves that to the caller.
    every : int or None
        The steps between two digests; None stands for what is cheap.
    beside : mapping
        Options of the caller's own.
    command : mapping or None
        The command that made the run.
    """

    document: Mapping[str, Any]
    """The record, at the end of the run."""

    def __init__(
        self,
        path: Path | None,
        every: int | None,
        beside: Mapping[str, Any] = {},
        command: Mapping[str, Any] | None = None,
    ) -> None:
        self._path, self._every = path, every
        self._beside, self._command = beside, command
        self._digests: list[tuple[int, str]] = []

    def begin(self, asked: Asked, backend: Backend, plan: Plan, looks: Looks | None) -> int:
        """All that a record has before its run begins; its last step."""
        steps = asked.form.steps
        self._asked, self._backend, self._looks = in_json(asked, self._beside), backend, looks
        if self._every is None:
            self._every = _cheap(steps, plan.batch_size, asked.form.sizes, asked.form.dtype)
        elif steps // self._every > MOST_DIGESTS:
            required = f"be at least {-(-steps // MOST_DIGESTS)} where there may be {steps} steps"
            raise ArgumentError(
                "digest_every",
                f"{required} (a record has at most {MOST_DIGESTS} digests)",
                f"{self._every}",
            )
        self._made_with = {"versions": versions(backend), "machine": machine()}
        return steps

    def next_after(self, step: int) -> int:
        """The next multiple of the steps between two digests."""
        every = self._every or sys.maxsize
        return (step // every + 1) * every

    def take(self, step: int, params: Params) -> None:
        """Digest the parameters."""
        if not self._digests or self._digests[-1][0] != step:
            self._digests.append((step, agreement.digest(params)))

    def end(self, result: TrainResult) -> None:
        """Make the record, and write it where there is a file."""
        looked = result.history.steps.tolist() if self._looks else []
        outcome = {
            "last_step": self._digests[-1][0],
            "stop_reason": result.stop_reason,
            "steps": result.steps,
            "best_step": result.best_step,
            "last_look": looked[-1] if looked else None,
            "loss": result.loss if math.isfinite(result.loss) else None,
            "digest": agreement.digest(result.params),
        }
        self.document = records.document(
            self._asked,
            self._command,
            {"name": self._backend.name, **self._made_with},
            outcome,
            self._digests,
        )
        if self._path:
            files.write(self._path, records.encoded(self.document))


def recording_of(
    record: Any, digest_every: Any, written: Any = None, read: Any = None
) -> Recording | None:
    """What looks on at a run, as these arguments of `train` ask for it.

    `written` and `read` are the run's checkpoint and the one that it goes on from.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form that `train` states.
    """
    if digest_every is not None:
        if record is None:
            got = f"{shown(digest_every)} without"
            raise ArgumentError("digest_every", "come with `record`", got)
        digest_every = options.integer("digest_every", digest_every, 1)
    if record is None or hasattr(record, "next_after"):
        recording: Recording | None = record
        return recording
    name = options.path("record", record)
    paths = [None if path is None else options.path("", path) for path in (written, read)]
    files.apart([("record", name), ("checkpoint", paths[0])], [("resume", paths[1])])
    return Recorder(files.writable(name, "record", ()), digest_every)


def _cheap(steps: int, batch_size: int, sizes: Any, dtype: str) -> int:
    """Steps between two digests, such that these take little of the run's time.

    There are at most some thousand. Where they are large, each takes as long as the steps of some
    400 samples.
    """
    every = max(1, -(-steps // _DIGESTS))
    weights = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))
    hashed = weights * (8 if dtype == "float64" else 4) * (steps // every)
    return every if hashed <= _LARGE else max(every, -(-_SAMPLES_APART // batch_size))
