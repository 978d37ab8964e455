"""A process that does the work on request: for what has to be measured in a process of its own."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import rounds
import tqdm.auto  # noqa: F401  its import is no part of a first call
from service import serve
from workloads.grids import BY_NAME, GRIDS
from workloads.preparing import Prepared, backends, prepare

import fcbackends as fcb


def package() -> str:
    """The folder from which it took fcbackends."""
    return str(Path(fcb.__file__).parent)


def tasks(grid: str) -> list[dict[str, str]]:
    """Every workload of a grid on every backend, in the form of the arguments below."""
    return [
        {"workload": name, "backend": backend, "arithmetic": arithmetic}
        for name, grids in GRIDS.items()
        if grid in grids
        for backend, arithmetic in backends()
    ]


@functools.lru_cache(maxsize=1)
def _prepared(workload: str, backend: str, arithmetic: Any) -> Prepared:
    return prepare(BY_NAME[workload], fcb.get_backend(backend, arithmetic=arithmetic))


@functools.lru_cache(maxsize=1)
def _settled(**task: str) -> Prepared:
    prepared = _prepared(**task)
    prepared.settle()
    return prepared


def first_call(**task: str) -> float:
    """What the work's first call costs more than the next, in seconds."""
    begin = _prepared(**task).begin
    return rounds.seconds_of(begin) - rounds.seconds_of(begin)


def seconds(units: int, **task: str) -> float:
    """The time of so many units."""
    return rounds.seconds_of(_settled(**task).run, units)


def fitted(wanted: float, **task: str) -> tuple[int, int, float]:
    """The units of rounds of about `wanted` seconds, those that warm a process, and the seconds."""
    enough = BY_NAME[task["workload"]].units_a_run
    units, taken = rounds.fitted(functools.partial(seconds, **task), wanted, enough)
    return units, units, taken


def digest(**task: str) -> str:
    """The digest of the work's result."""
    return fcb.digest(_prepared(**task).result())


if __name__ == "__main__":
    serve(package, tasks, first_call, seconds, fitted, digest)
