"""What cases show of a backend, and what several of them show together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from fcbackends.agreement import Agreement, compare
from fcbackends.arrays import as_numpy
from fcbackends.backends.backend import Backend
from fcbackends.conformance.bounds import error_shares
from fcbackends.conformance.cases import Case, make_case
from fcbackends.conformance.reference import flushing
from fcbackends.conformance.relations import relation
from fcbackends.conformance.results import Results, expectations, results
from fcbackends.errors import ArgumentError

Level: TypeAlias = Literal["A", "B", "C", "none"]
"""The best class that something seen leaves open."""

LEVELS: tuple[Level, ...] = ("A", "B", "C", "none")


class Finding(NamedTuple):
    """One case that is not as class A has it.

    Attributes
    ----------
    case : int
        Its index: with the seed, all that it is made of.
    description : str
        What is computed in it, on what.
    defect : str
        Where the results are not as they must be, and what stands there.
    """

    case: int
    description: str
    defect: str


@dataclass(frozen=True)
class Tally:
    """What some cases have shown.

    Attributes
    ----------
    cases, values : int
        How many cases were run, and how many values compared.
    different : int
        How many values have other bits than they must have.
    max_ulp : int or None
        The largest distance among these, in representable steps; None where a NaN met a number.
    error_share : float or None
        The largest error as a share of its bound, where bounds are looked at.
    findings : dict
        For each level below A that was seen, the first case of it.
    """

    cases: int = 0
    values: int = 0
    different: int = 0
    max_ulp: int | None = 0
    error_share: float | None = None
    findings: dict[Level, Finding] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """The best class that all cases leave open."""
        return max(self.findings, key=LEVELS.index, default="A")

    def first_below(self, level: Level) -> Finding | None:
        """The first case that rules this class out."""
        worse = [f for seen, f in self.findings.items() if LEVELS.index(seen) > LEVELS.index(level)]
        return min(worse, default=None)

    def __add__(self, other: Tally) -> Tally:
        """What the cases of both have shown."""
        findings = dict(self.findings)
        for level, finding in other.findings.items():
            findings[level] = min(finding, findings.get(level, finding))
        shares = [s for s in (self.error_share, other.error_share) if s is not None]
        return Tally(
            cases=self.cases + other.cases,
            values=self.values + other.values,
            different=self.different + other.different,
            max_ulp=_farther(self.max_ulp, other.max_ulp),
            error_share=max(shares, default=None),
            findings=findings,
        )


def run_cases(
    backend: Backend, seed: int, indices: Iterable[int], dtypes: tuple[str, ...]
) -> Tally:
    """Run the cases of these indices, with numbers of these dtypes."""
    total = Tally()
    bounded = backend.arithmetic == "native"
    # Overflows and NaN are among the cases.
    with np.errstate(all="ignore"):
        for index in indices:
            case = make_case(seed, index, dtypes=dtypes, bounded=bounded)
            total += _run_case(backend, case, index)
    return total


def _run_case(backend: Backend, case: Case, index: int) -> Tally:
    try:
        if case.kind == "relation":
            pairs = relation(backend, case)
            found = {name: got for name, (got, _) in pairs.items()}
            wanted = {name: want for name, (_, want) in pairs.items()}
        else:
            found, wanted = results(backend, case), expectations(case)
    except Exception as error:  # whatever somebody's backend raises
        raised = Finding(index, str(case), f"{type(error).__name__}: {error}")
        return Tally(cases=1, findings={"none": raised})
    compared = _compare(found, wanted)
    level, share = _level(backend, case, found, wanted, compared)
    findings: dict[Level, Finding] = {}
    if level != "A":
        findings[level] = Finding(index, str(case), compared.defect)
    return Tally(1, compared.values, compared.different, compared.max_ulp, share, findings)


class _Compared(NamedTuple):
    """How results agree with what they must be."""

    values: int
    different: int
    max_ulp: int | None
    alike: bool
    """Whether all are of the right structure, shape and dtype."""
    defect: str


def _compare(found: Results, wanted: Results) -> _Compared:
    values, different, alike, defect = 0, 0, True, ""
    max_ulp: int | None = 0
    for name, want in wanted.items():
        count = sum(a.size for a in _leaves(want))
        values += count
        try:
            agreement = compare(found.get(name, []), want)
        except ArgumentError as error:
            alike, max_ulp = False, None
            different += count
            defect = defect or f"{name}: {error}"
            continue
        if agreement.equal:
            continue
        different += agreement.different
        max_ulp = _farther(max_ulp, agreement.max_ulp)
        defect = defect or _defect(name, found[name], want, agreement)
    return _Compared(values, different, max_ulp, alike, defect)


def _farther(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def _defect(name: str, found: Any, want: Any, agreement: Agreement) -> str:
    """The first value that differs, in full, and how many more there are."""
    place = agreement.first or ()
    got, wanted = (float(_at(values, place)).hex() for values in (found, want))
    far = "NaN" if agreement.max_ulp is None else f"{agreement.max_ulp} ULP"
    more = f"{agreement.different} differ, by up to {far}"
    return f"{name} at {list(place)}: got {got}, wanted {wanted} ({more})"


def _at(values: Any, place: tuple[int, ...]) -> Any:
    while isinstance(values, tuple | list):
        values, place = values[place[0]], place[1:]
    return as_numpy(values)[place]


def _leaves(values: Any) -> Iterator[Any]:
    if not isinstance(values, tuple | list):
        yield np.asarray(values)
        return
    for value in values:
        yield from _leaves(value)


def _are_flushed(found: Results, wanted: Results, flushed: Results) -> bool:
    """Whether each value is the one wanted, or what flushing makes of it.

    A compiler may leave out an operation that changes nothing, such as a sum with zero, and with it
    the flush.
    """
    if found.keys() != flushed.keys() or not _compare(found, flushed).alike:
        return False
    either = {n: _nearer(found[n], wanted.get(n, flushed[n]), flushed[n]) for n in found}
    return _compare(found, either).different == 0


def _nearer(found: Any, wanted: Any, flushed: Any) -> Any:
    if isinstance(flushed, tuple | list):
        return [_nearer(*values) for values in zip(found, wanted, flushed, strict=True)]
    found, wanted, flushed = as_numpy(found), np.asarray(wanted), np.asarray(flushed)
    if wanted.shape != flushed.shape:  # a training that stops elsewhere
        return flushed
    same = (found == wanted) & (np.signbit(found) == np.signbit(wanted))
    return np.where(same | (np.isnan(found) & np.isnan(wanted)), wanted, flushed)


def _level(
    backend: Backend, case: Case, found: Results, wanted: Results, compared: _Compared
) -> tuple[Level, float | None]:
    """The best class that a case leaves open, and its error's share of its bound, if looked at."""
    native = backend.arithmetic == "native"
    equal = compared.alike and compared.different == 0
    if equal and not native:
        return "A", None
    may_flush = not native and case.kind != "relation"
    if may_flush and _are_flushed(found, wanted, expectations(case, flushing)):
        return "B", None
    if not compared.alike:
        return "none", None
    if not case.is_bounded:
        return "C", None
    share = max(error_shares(case, found).values())
    if share > 1:
        return "none", share
    return "A" if equal else "C", share
