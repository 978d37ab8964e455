"""What one run says: per workload the backends side by side, the series and their exponents."""

from __future__ import annotations

import itertools
import math

import msgspec

from fcbackends.report.runs import Benchmark, Commit, Computed, Deviation, Losses, Machine, Run
from fcbackends.report.statistics import fit_exponent

BASELINE = Computed("numpy", "native").label
"""What speeds are compared with: NumPy's own matmul, outside the contract."""


class Row(Computed, frozen=True, kw_only=True):
    """One backend on one workload.

    Attributes
    ----------
    name : str
        The benchmark's full name in the run.
    seconds, q1, q3 : float
        A step's time: the rounds' median and quartiles.
    speedup : float or None
        Times faster than NumPy native; None where that was not measured.
    samples_per_second : float
        Samples gone through in a second.
    agreement : Deviation
        From the reference.
    compile_cold_s, compile_cached_s : float or None
        Seconds that the first call takes longer, without and with the kernel cache.
    repaid_after : int or None
        Steps after which compiling from cold has cost less than NumPy native would have cost
        more; None where it never has, or where either is unknown.
    """

    name: str
    seconds: float
    q1: float
    q3: float
    speedup: float | None
    samples_per_second: float
    agreement: Deviation
    compile_cold_s: float | None
    compile_cached_s: float | None
    repaid_after: int | None


class Group(msgspec.Struct, frozen=True):
    """One piece of work on every backend."""

    name: str
    kind: str
    sizes: tuple[int, ...]
    batch: int
    dtype: str
    multiply_adds: int
    rows: tuple[Row, ...]


class Growth(Computed, frozen=True):
    """How one backend's time grows along a series.

    Attributes
    ----------
    sizes : tuple of int
        The places along the axis.
    seconds : tuple of float
        The time of a step there.
    exponent, low, high : float
        The slope of log(time) over log(size) by least squares, and its 95 % interval.
    last_exponent : float
        The slope between the two largest sizes, where fixed costs weigh least.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    exponent: float
    low: float
    high: float
    last_exponent: float


class Crossover(msgspec.Struct, frozen=True):
    """Where along a series a backend and NumPy native take the same time."""

    backend: str
    size: float
    seconds: float


class Series(msgspec.Struct, frozen=True):
    """Workloads of one kind that differ along one axis only."""

    name: str
    axis: str
    growths: tuple[Growth, ...]
    crossovers: tuple[Crossover, ...]


class Curve(Computed, frozen=True):
    """The losses of one backend's whole training."""

    workload: str
    losses: Losses


class Report(msgspec.Struct, frozen=True):
    """What one run says.

    Attributes
    ----------
    date : str
        When the run was made, in UTC, as ISO 8601.
    commit : Commit
        Of which revision.
    machine : Machine
        Where and with what.
    workloads : tuple of Group
        The work, in the order in which it ran.
    series : tuple of Series
        How time grows with size.
    curves : tuple of Curve
        The losses of whole trainings.
    """

    date: str
    commit: Commit
    machine: Machine
    workloads: tuple[Group, ...]
    series: tuple[Series, ...]
    curves: tuple[Curve, ...]


def summarize(run: Run) -> Report:
    """Reduce a run to what is said about it."""
    by_workload: dict[str, list[Benchmark]] = {}
    for benchmark in run.benchmarks:
        by_workload.setdefault(benchmark.extra_info.workload, []).append(benchmark)
    return Report(
        date=run.datetime,
        commit=run.commit_info,
        machine=run.machine,
        workloads=tuple(map(_group, by_workload.values())),
        series=tuple(_all_series(run.benchmarks)),
        curves=tuple(
            Curve(work.backend, work.arithmetic, work.workload, work.losses)
            for benchmark in run.benchmarks
            if (work := benchmark.extra_info).losses is not None
        ),
    )


def _group(benchmarks: list[Benchmark]) -> Group:
    work = benchmarks[0].extra_info
    baseline = next((b.stats.median for b in benchmarks if b.extra_info.label == BASELINE), None)
    return Group(
        name=work.workload,
        kind=work.kind,
        sizes=work.sizes,
        batch=work.batch,
        dtype=work.dtype,
        multiply_adds=work.multiply_adds,
        rows=tuple(_row(benchmark, baseline) for benchmark in benchmarks),
    )


def _row(benchmark: Benchmark, baseline: float | None) -> Row:
    work, stats = benchmark.extra_info, benchmark.stats
    repaid_after = None
    if baseline is not None and work.compile_cold_s is not None and baseline > stats.median:
        repaid_after = math.ceil(work.compile_cold_s / (baseline - stats.median))
    return Row(
        work.backend,
        work.arithmetic,
        name=benchmark.fullname,
        seconds=stats.median,
        q1=stats.q1,
        q3=stats.q3,
        speedup=None if baseline is None else baseline / stats.median,
        samples_per_second=work.samples_per_second,
        agreement=work.agreement,
        compile_cold_s=work.compile_cold_s,
        compile_cached_s=work.compile_cached_s,
        repaid_after=repaid_after,
    )


def _all_series(benchmarks: tuple[Benchmark, ...]) -> list[Series]:
    points: dict[tuple[str, str], dict[tuple[str, str], dict[int, float]]] = {}
    for benchmark in benchmarks:
        work = benchmark.extra_info
        if work.axis is not None:
            backends = points.setdefault((work.axis.series, work.axis.name), {})
            of_backend = backends.setdefault((work.backend, work.arithmetic), {})
            of_backend[work.axis.value] = benchmark.stats.median
    found = []
    for (name, axis), backends in points.items():
        growths = [
            _growth(*backend, sorted(places.items()))
            for backend, places in backends.items()
            if len(places) > 1
        ]
        found.append(Series(name, axis, tuple(growths), tuple(_crossovers(growths))))
    return [series for series in found if series.growths]


def _growth(backend: str, arithmetic: str, places: list[tuple[int, float]]) -> Growth:
    sizes, seconds = zip(*places, strict=True)
    last = fit_exponent(sizes[-2:], seconds[-2:]).value
    return Growth(backend, arithmetic, sizes, seconds, *fit_exponent(sizes, seconds), last)


def _crossovers(growths: list[Growth]) -> list[Crossover]:
    """Where each contract-keeping backend's line cuts that of NumPy native, in log-log."""
    base = next((growth for growth in growths if growth.label == BASELINE), None)
    if base is None:
        return []
    found = []
    for growth in growths:
        if growth.arithmetic == "native":
            continue
        common = sorted(set(growth.sizes) & set(base.sizes))
        of_growth = dict(zip(growth.sizes, map(math.log, growth.seconds), strict=True))
        of_base = dict(zip(base.sizes, map(math.log, base.seconds), strict=True))
        for left, right in itertools.pairwise(common):
            before, after = of_growth[left] - of_base[left], of_growth[right] - of_base[right]
            if before * after < 0:
                part = before / (before - after)
                size = math.log(left) + part * (math.log(right) - math.log(left))
                log_seconds = of_base[left] + part * (of_base[right] - of_base[left])
                found.append(Crossover(growth.backend, math.exp(size), math.exp(log_seconds)))
    return found
