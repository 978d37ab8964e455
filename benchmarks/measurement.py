"""What is measured of a workload on a backend: time, agreement, and the cost of compiling."""

from __future__ import annotations

import functools
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import fcbackends as fcb
from benchmarks.rounds import fitted, seconds_of
from benchmarks.workloads import Workload
from benchmarks.workloads.preparing import Prepared, prepare
from fcbackends.arrays import as_numpy
from fcbackends.conformance import stated_class
from fcbackends.report import runs
from fcbackends.report.workers import worker

ROUND_SECONDS = 0.01
"""A round of this length loses nothing to the timer's resolution or to the call itself."""

VISITS = 8
"""Each benchmark is visited so often in a run: what disturbs a machine for a while then falls on
some rounds of all benchmarks, and not on all rounds of some."""

VISIT_SECONDS = 0.03
"""As many rounds as fit into this in each visit, but at least one."""

SLOW_SECONDS, FEWEST_VISITS = 1.0, 3
"""A benchmark that has taken so long is visited no more, once it has been visited so often."""

READING_S = 0.001
"""A first call in a process that costs more than this may have read what was compiled."""

COMPILING_S = 0.05
"""A first call that costs more than this, in a process without a cache, has compiled."""


@dataclass
class Measured:
    """A benchmark, and the rounds that were taken of it so far.

    Attributes
    ----------
    run : callable
        (units) -> None: does the work so many times.
    units, rounds : int
        Units a round, rounds a visit.
    first_call : float
        What the very first call cost more than the next, in seconds.
    seconds, probes : list of list of float
        Of each visit, the time of a unit in each round, and of the probe around that round.
    """

    run: Callable[[int], None]
    units: int
    rounds: int
    first_call: float
    seconds: list[list[float]] = field(default_factory=list)
    probes: list[list[float]] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether it has taken its share of time."""
        taken = self.units * sum(map(sum, self.seconds))
        return len(self.seconds) >= FEWEST_VISITS and taken > SLOW_SECONDS

    @property
    def median(self) -> float:
        """The median of all rounds, in seconds a unit."""
        return statistics.median(itertools.chain(*self.seconds))


def first_visit(prepared: Prepared, enough: int, benchmark: Any) -> Measured:
    """Compile what is to be compiled, find out which rounds are to be taken, and take the first.

    The runner takes one of one unit, which counts where it is long enough to be a slow benchmark's.
    Elsewhere a round has `enough` units, if they fit into it.
    """
    first_call = seconds_of(prepared.begin) - seconds_of(prepared.begin)
    prepared.settle()
    measured = Measured(prepared.run, 1, 1, first_call)
    probes = [_probe()]
    benchmark.pedantic(prepared.run, (1,))
    probes.append(_probe())
    if not benchmark.enabled:
        return measured
    stats = benchmark.stats
    if stats.stats.data[0] > SLOW_SECONDS / FEWEST_VISITS:
        _add(measured, stats.stats.data[:], probes)
        return measured
    stats.stats.data.clear()
    seconds = functools.partial(seconds_of, prepared.run)
    units, a_round = fitted(seconds, ROUND_SECONDS, enough)
    # The units are chained inside one call, which the runner counts as one iteration.
    stats.iterations = measured.units = units
    measured.rounds = max(1, int(VISIT_SECONDS / a_round))
    visit_again(measured, stats)
    return measured


def visit_again(measured: Measured, stats: Any) -> None:
    """Take further rounds, and add them to the runner's statistics."""
    seconds, probes = [], [_probe()]
    for _ in range(measured.rounds):
        seconds.append(seconds_of(measured.run, measured.units))
        probes.append(_probe())
    for value in seconds:
        stats.update(value)
    _add(measured, [value / measured.units for value in seconds], probes)


def _add(measured: Measured, seconds: list[float], probes: list[float]) -> None:
    measured.seconds.append(seconds)
    measured.probes.append([(before + after) / 2 for before, after in itertools.pairwise(probes)])


def _aligned(shape: tuple[int, int]) -> Any:
    """An array that begins where a cache line does; elsewhere a matmul takes up to 1.25 times."""
    space = np.empty(8 * math.prod(shape) + 64, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + 8 * math.prod(shape)].view(np.float64).reshape(shape)


_PROBE, _PROBE_RESULT = _aligned((96, 96)), _aligned((96, 96))
_PROBE[:] = np.sin(np.arange(_PROBE.size)).reshape(_PROBE.shape)


def _probe() -> float:
    """The seconds of a fixed piece of work that no revision of this project changes.

    A core whose other thread is busy is 1.7 times slower, at whatever it does: in rounds divided
    by their probes a third of that is left. Of sorting, hashing, interpreting, adding and
    multiplying matrices, the last followed the benchmarks' times best.
    """
    started = time.perf_counter()
    for _ in range(20):
        np.matmul(_PROBE, _PROBE, out=_PROBE_RESULT)
    return time.perf_counter() - started


def describe(workload: Workload, backend: fcb.Backend, result: Any, first_call: float) -> runs.Work:
    """What a saved run tells of a benchmark beside its times, all but the rounds."""
    losses = None
    if workload.kind == "training":
        _, steps, values = result
        losses = runs.Losses(tuple(map(int, steps)), tuple(values.tolist()))
    cold, cached = _compile_seconds(workload, backend.name, backend.arithmetic, first_call)
    return runs.Work(
        workload=workload.name,
        kind=workload.kind,
        sizes=workload.sizes,
        batch=workload.batch,
        dtype=workload.dtype,
        backend=backend.name,
        arithmetic=backend.arithmetic,
        multiply_adds=workload.multiply_adds,
        samples=workload.batch * (losses.steps[-1] if losses else workload.steps),
        agreement=agreement(workload, backend, result),
        compile_cold_s=cold,
        compile_cached_s=cached,
        axis=runs.Axis(*workload.axis, workload.place) if workload.axis else None,
        losses=losses,
    )


def rounds_taken(measured: Measured, samples: int) -> dict[str, Any]:
    """What a saved run tells of a benchmark's rounds beside their times."""
    return {
        "samples_per_second": samples / measured.median,
        "visits": list(map(len, measured.seconds)),
        "probes": list(itertools.chain(*measured.probes)),
    }


def agreement(workload: Workload, backend: fcb.Backend, result: Any) -> runs.Deviation:
    """How a result agrees with that on NumPy: in the same arithmetic, a native one in ordered."""
    exact = "ordered" if backend.arithmetic == "native" else backend.arithmetic
    found = fcb.compare(result, _reference(workload, exact))
    return runs.Deviation(
        equal=found.equal,
        different=found.different,
        values=_count(result),
        max_ulp=found.max_ulp,
        stated=stated_class(backend),
    )


@functools.lru_cache(maxsize=4)
def _reference(workload: Workload, arithmetic: str) -> Any:
    return prepare(workload, fcb.get_backend("numpy", arithmetic=arithmetic)).result()


def _count(result: Any) -> int:
    if isinstance(result, tuple | list):
        return sum(map(_count, result))
    return int(as_numpy(result).size)


_RUNS = "train step", "epoch", "training"
_LOOPS = "trainer step", *_RUNS
_first_calls: dict[tuple[str, ...], float] = {}
_compiling: dict[tuple[str, ...], bool] = {}
_compiled: dict[tuple[str, ...], tuple[float, float] | tuple[None, None]] = {}


def _compile_seconds(
    workload: Workload, backend: str, arithmetic: str, first_call: float
) -> tuple[float, float] | tuple[None, None]:
    """What the first call costs more than the next in a new process, cold and from the cache.

    Measured once for each kind, in the first dtype and the first exact arithmetic that come: a
    whole training compiles what its steps do, and arithmetics differ in one instruction. None for a
    backend that compiles nothing, judged by its first call of all in this process and, separately
    for layers and loops, by the first in a new one.
    """
    if _first_calls.setdefault((backend, arithmetic), first_call) < READING_S:
        return None, None
    exact = str(arithmetic != "native")
    compiler = backend, exact, "loops" if workload.kind in _LOOPS else "layers"
    key = "train step" if workload.kind in _RUNS else workload.kind, backend, exact
    if key not in _compiled and _compiling.get(compiler, True):
        task = {"workload": workload.name, "backend": backend, "arithmetic": arithmetic}
        with tempfile.TemporaryDirectory() as cache:
            cold = cached = _first_call_seconds(task, cache)
            # What left nothing to be read is compiled anew in every process.
            if cold > COMPILING_S and any(Path(cache).iterdir()):
                cached = _first_call_seconds(task, cache)
        _compiling.setdefault(compiler, cold > COMPILING_S)
        _compiled[key] = (cold, cached) if cold > COMPILING_S else (None, None)
    return _compiled.get(key, (None, None))


def _first_call_seconds(task: dict[str, str], cache: str) -> float:
    package = str(Path(fcb.__file__).parents[1])
    environment = {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": package}
    with worker(Path(__file__).with_name("worker.py"), environment) as ask:
        return max(0.0, ask("first_call", **task))
