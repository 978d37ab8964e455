"""A process that does the work on request: for what has to be measured in a process of its own."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import rounds
import tqdm.auto  # noqa: F401  its import is no part of a first call
import workloads
from service import serve

import fcbackends as fcb


def package() -> str:
    """The folder from which it took fcbackends."""
    return str(Path(fcb.__file__).parent)


def tasks(grid: str) -> list[dict[str, str]]:
    """Every workload of a grid on every backend, in the form of the arguments below."""
    return [
        {"workload": name, "backend": backend, "arithmetic": arithmetic}
        for name, grids in workloads.GRIDS.items()
        if grid in grids
        for backend, arithmetic in workloads.backends()
    ]


@functools.lru_cache(maxsize=1)
def _prepared(workload: str, backend: str, arithmetic: Any) -> workloads.Prepared:
    chosen = fcb.get_backend(backend, arithmetic=arithmetic)
    return workloads.prepare(workloads.BY_NAME[workload], chosen)


def first_call(**task: str) -> float:
    """What the work's first call costs more than the next, in seconds."""
    begin = _prepared(**task).begin
    return rounds.seconds_of(begin) - rounds.seconds_of(begin)


def seconds(units: int, **task: str) -> float:
    """The time of so many units."""
    return rounds.seconds_of(_prepared(**task).run, units)


def fitted(wanted: float, **task: str) -> rounds.Rounds:
    """The rounds that take about `wanted` seconds."""
    settling = workloads.BY_NAME[task["workload"]].settling
    return rounds.fitted(functools.partial(seconds, **task), wanted, settling)


def digest(**task: str) -> str:
    """The digest of the work's result."""
    return fcb.digest(_prepared(**task).result())


if __name__ == "__main__":
    serve(package, tasks, first_call, seconds, fitted, digest)
