"""Two runs held against each other, benchmark by benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from fcbackends.report.runs import Benchmark, Commit, Machine, Run
from fcbackends.report.statistics import Estimate, Verdict, ratio_of_visits, verdict
from fcbackends.report.summary import label

NOISE = 0.05
"""What two runs of one revision may differ by, one process each, beyond what their rounds show."""

Bits = Literal["kept", "lost", "won", "differ"]


class Side(msgspec.Struct, frozen=True):
    """One of two revisions: what it is called, which it is, and when it was measured."""

    name: str
    commit: Commit | None
    date: str | None


class Change(msgspec.Struct, frozen=True):
    """One benchmark in both runs.

    Attributes
    ----------
    workload, backend, arithmetic : str
        What was measured.
    base, new : float or None
        Seconds a step; None where that run has no such benchmark.
    ratio, low, high : float or None
        new / base and its 95 % interval; None where the two are not comparable.
    verdict : {"faster", "slower", "within noise", "not comparable"}
        What that says.
    reason : str or None
        Why the two are not comparable.
    bits : {"kept", "lost", "won", "differ"} or None
        Agreement with the reference: in both runs, no longer, only now, in neither. None for
        arithmetic that promises none, and where there is nothing to compare.
    """

    workload: str
    backend: str
    arithmetic: str
    base: float | None
    new: float | None
    ratio: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    reason: str | None
    bits: Bits | None

    @property
    def label(self) -> str:
        """The backend's name, with its arithmetic where that is not the contract's."""
        return label(self.backend, self.arithmetic)


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
                and change.verdict == "slower"
                and change.ratio is not None
                and change.ratio > 1 + slower
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
        base=Side(names[0], base.commit_info, base.datetime),
        new=Side(names[1], new.commit_info, new.datetime),
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
    ratio: Estimate | None = None
    bits: Bits | None = None
    if base is None or new is None:
        reason = f"only in the {'base' if new is None else 'new run'}"
    else:
        bits = _bits(base, new)
        if reason is None and min(len(base.visits), len(new.visits)) < 2:
            reason = "saved without its rounds"
        if reason is None:
            ratio = ratio_of_visits(base.visits, new.visits)
    return Change(
        workload=work.workload,
        backend=work.backend,
        arithmetic=work.arithmetic,
        base=base.stats.median if base else None,
        new=new.stats.median if new else None,
        ratio=ratio.value if ratio else None,
        low=ratio.low if ratio else None,
        high=ratio.high if ratio else None,
        verdict=verdict(ratio, NOISE) if ratio else "not comparable",
        reason=reason if ratio is None else None,
        bits=bits,
    )


def _bits(base: Benchmark, new: Benchmark) -> Bits | None:
    before, after = base.extra_info.agreement, new.extra_info.agreement
    if before.stated == after.stated == "C":
        return None
    if before.equal:
        return "kept" if after.equal else "lost"
    return "won" if after.equal else "differ"


def schema() -> dict[str, object]:
    """The JSON Schema of comparisons' JSON form."""
    return msgspec.json.schema(tuple[Comparison, ...])
