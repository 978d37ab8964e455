"""A process that does the work on request: for what has to be measured in a process of its own.

Reads one JSON object a line and answers each with one:

- {"list": grid}: {"tasks": all that can be asked for of that grid, in the form of the next}.
- {"workload": name, "backend": name, "arithmetic": name}: prepares it, does it twice, and answers
  the seconds of both; or {"error": why it cannot be done}.
- {"units": n}: does the prepared work n times and answers the seconds.
- {"result": true}: answers the digest of the prepared work's result.

It first says from which folder it took fcbackends, {"package": path}.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import tqdm.auto  # noqa: F401  its import is no part of a first call
import workloads

import fcbackends as fcb


def main() -> None:
    """Answer until stdin ends."""
    answer(package=str(Path(fcb.__file__).parent))
    prepared: Any = None
    for line in sys.stdin:
        match json.loads(line):
            case {"list": grid}:
                answer(tasks=tasks(grid))
            case {"units": units}:
                answer(seconds=seconds(prepared, units))
            case {"result": _}:
                answer(digest=fcb.digest(prepared.result()))
            case {"workload": workload, "backend": name, "arithmetic": arithmetic}:
                try:
                    backend = fcb.get_backend(name, arithmetic=arithmetic)
                    prepared = workloads.prepare(workloads.BY_NAME[workload], backend)
                    first, second = seconds(prepared, 1), seconds(prepared, 1)
                    answer(first=first, second=second)
                except Exception as error:
                    # An older revision may lack anything that today's workloads use.
                    answer(error=f"{type(error).__name__}: {error}")


def tasks(grid: str) -> list[dict[str, str]]:
    """Every workload of a grid on every backend."""
    return [
        {"workload": name, "backend": backend, "arithmetic": arithmetic}
        for name, grids in workloads.GRIDS.items()
        if grid in grids
        for backend, arithmetic in workloads.backends()
    ]


def seconds(prepared: Any, units: int) -> float:
    """The time of so many units."""
    started = time.perf_counter()
    prepared.run(units)
    return time.perf_counter() - started


def answer(**values: Any) -> None:
    """Write one line."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
