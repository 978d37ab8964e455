"""Two runs held against each other, benchmark by benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Literal

import msgspec

from fcbackends.errors import printable
from fcbackends.report.runs import Benchmark, Commit, Computed, Machine, Run
from fcbackends.report.statistics import Outcome, outcome, ratio_of_visits

NOISE = 0.05
"""What two runs of one revision may differ by, one process each, beyond what their rounds show."""

Bits = Literal["kept", "lost", "won", "differ"]


class Side(msgspec.Struct, frozen=True):
    """One of two revisions: what it is called, which it is, and when it was measured."""

    name: str
    commit: Commit | None
    date: str | None


class Change(Computed, frozen=True, kw_only=True):
    """One benchmark in both runs.

    Attributes
    ----------
    workload : str
        What was measured.
    base, new : float or None
        Seconds a step: of saved runs the geometric mean of the visits' medians, otherwise the
        median of all turns. None where that run has no such benchmark.
    ratio : float or None
        new / base; None where the two are not comparable, as all that follows.
    yardstick : float or None
        The same ratio of a fixed piece of work, timed around each round, that no revision changes:
        what the machine itself has become slower by. None where the two were measured in turn.
    corrected, low, high : float or None
        Of saved runs ratio / yardstick, otherwise the ratio of turns side by side; and its 95 %
        interval.
    outcome : {"faster", "slower", "within noise", "not comparable"}
        What that says.
    reason : str or None
        Why the two are not comparable.
    bits : {"kept", "lost", "won", "differ"} or None
        Agreement with the reference: in both runs, no longer, only now, in neither. None for
        arithmetic that promises none, and where there is nothing to compare.
    """

    workload: str
    base: float | None = None
    new: float | None = None
    ratio: float | None = None
    yardstick: float | None = None
    corrected: float | None = None
    low: float | None = None
    high: float | None = None
    outcome: Outcome = "not comparable"
    reason: str | None = None
    bits: Bits | None = None


class Comparison(msgspec.Struct, frozen=True):
    """A new run against a base.

    Attributes
    ----------
    base, new : Side
        What was compared.
    how : {"saved runs", "interleaved"}
        Whether each was measured by itself, or both in turn.
    machine : Machine
        Where the new one was measured.
    remarks : tuple of str
        What else differs between the two.
    changes : tuple of Change
        All benchmarks of either.
    """

    base: Side
    new: Side
    how: Literal["saved runs", "interleaved"]
    machine: Machine
    remarks: tuple[str, ...]
    changes: tuple[Change, ...]

    def failures(self, slower: float | None) -> tuple[Change, ...]:
        """Changes that lost agreement, or are slower by more than the share `slower`."""
        return tuple(
            change
            for change in self.changes
            if change.bits == "lost"
            or (
                slower is not None
                and change.outcome == "slower"
                and change.corrected is not None
                and change.corrected > 1 + slower
            )
        )


def compare_runs(base: Run, new: Run, names: tuple[str, str]) -> Comparison:
    """Hold a run against a base, each as it was saved.

    Times are comparable where CPU, cores, system, Python and threads are the same; agreement
    always is.
    """
    reason = _not_comparable(base.machine, new.machine)
    bases = {benchmark.fullname: benchmark for benchmark in base.benchmarks}
    news = {benchmark.fullname: benchmark for benchmark in new.benchmarks}
    changes = tuple(_change(bases.get(name), news.get(name), reason) for name in {**bases, **news})
    return Comparison(
        base=Side(printable(names[0]), base.commit_info, base.datetime),
        new=Side(printable(names[1]), new.commit_info, new.datetime),
        how="saved runs",
        machine=new.machine,
        remarks=tuple(_remarks(base.machine, new.machine)),
        changes=changes,
    )


def _not_comparable(base: Machine, new: Machine) -> str | None:
    different = [
        f"another {what}: {before} and {after}"
        for what, before, after in (
            ("CPU", base.cpu, new.cpu),
            ("number of cores", base.cores, new.cores),
            ("system", base.os, new.os),
            ("Python", base.python, new.python),
            ("number of BLAS threads", base.threads.blas, new.threads.blas),
            ("number of Numba threads", base.threads.numba, new.threads.numba),
        )
        if before != after
    ]
    return "; ".join(different) or None


def _remarks(base: Machine, new: Machine) -> Iterator[str]:
    if base.contract != new.contract:
        yield f"Another version of the contract: {base.contract} and {new.contract}."
    packages = {**base.versions, **new.versions}
    for package in packages:
        before, after = (side.versions.get(package, "none") for side in (base, new))
        if before != after:
            yield f"Another version of {package}: {before} and {after}."
    if base.blas != new.blas:
        yield f"Another BLAS: {base.blas} and {new.blas}."


def _change(base: Benchmark | None, new: Benchmark | None, reason: str | None) -> Change:
    there = new or base
    assert there is not None
    work = there.extra_info
    found = Change(work.backend, work.arithmetic, workload=work.workload)
    if base is None or new is None:
        seconds = {"new" if base is None else "base": _seconds(there)}
        reason = f"only in the {'base' if new is None else 'new run'}"
        return msgspec.structs.replace(found, **seconds, reason=reason)
    if reason is None and min(len(base.visits), len(new.visits)) < 2:
        reason = "saved without its rounds"
    found = msgspec.structs.replace(
        found, base=_seconds(base), new=_seconds(new), reason=reason, bits=_bits(base, new)
    )
    if reason is not None:
        return found
    times, yardsticks, relative = (
        ratio_of_visits(*sides) for sides in zip(_visits(base), _visits(new), strict=True)
    )
    return msgspec.structs.replace(
        found,
        ratio=times.value,
        yardstick=yardsticks.value,
        corrected=relative.value,
        low=relative.low,
        high=relative.high,
        outcome=outcome(relative, NOISE),
    )


def _visits(benchmark: Benchmark) -> tuple[list[float], list[float], list[float]]:
    """Of each visit the time, that of the yardstick, and the one in multiples of the other."""
    times, yardsticks = map(list, zip(*benchmark.visits, strict=True))
    return times, yardsticks, [a / b for a, b in benchmark.visits]


def _seconds(benchmark: Benchmark) -> float:
    """The mean that a ratio of visits is one of, or what was saved instead of rounds."""
    times = [seconds for seconds, _ in benchmark.visits]
    return statistics.geometric_mean(times) if times else benchmark.stats.median


def _bits(base: Benchmark, new: Benchmark) -> Bits | None:
    before, after = base.extra_info.agreement, new.extra_info.agreement
    if before.stated == after.stated == "C":
        return None
    if before.equal:
        return "kept" if after.equal else "lost"
    return "won" if after.equal else "differ"
