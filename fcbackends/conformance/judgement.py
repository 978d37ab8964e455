"""How results agree with what they must be, and which class that leaves open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fcbackends.agreement import Agreement, compare
from fcbackends.arrays import as_numpy
from fcbackends.backends.backend import Backend
from fcbackends.conformance.bounds import error_shares
from fcbackends.conformance.cases import Case
from fcbackends.conformance.reference import flushing
from fcbackends.conformance.results import Results, expectations
from fcbackends.conformance.tally import Level, farther
from fcbackends.errors import ArgumentError


class Compared(NamedTuple):
    """How results agree with what they must be."""

    values: int
    different: int
    max_ulp: int | None
    alike: bool
    """Whether all are of the right structure, shape and dtype."""
    defect: str


def compare_results(found: Results, wanted: Results) -> Compared:
    """Compare what was found with what must be, to the bit."""
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
        max_ulp = farther(max_ulp, agreement.max_ulp)
        defect = defect or _defect(name, found[name], want, agreement)
    return Compared(values, different, max_ulp, alike, defect)


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
    if found.keys() != flushed.keys() or not compare_results(found, flushed).alike:
        return False
    either = {n: _nearer(found[n], wanted.get(n, flushed[n]), flushed[n]) for n in found}
    return compare_results(found, either).different == 0


def _nearer(found: Any, wanted: Any, flushed: Any) -> Any:
    if isinstance(flushed, tuple | list):
        return [_nearer(*values) for values in zip(found, wanted, flushed, strict=True)]
    found, wanted, flushed = as_numpy(found), np.asarray(wanted), np.asarray(flushed)
    if wanted.shape != flushed.shape:  # a training that stops elsewhere
        return flushed
    same = (found == wanted) & (np.signbit(found) == np.signbit(wanted))
    return np.where(same | (np.isnan(found) & np.isnan(wanted)), wanted, flushed)


def promised(
    backend: Backend, case: Case, arrays: Callable[[Any], Any] = lambda values: values
) -> Results:
    """What a backend is held against, computed on `arrays`: of native ones, the ordered bits."""
    arithmetic = "ordered" if backend.arithmetic == "native" else backend.arithmetic
    return expectations(arithmetic, case, arrays, rows_per_block=backend.rows_per_block)


def level_of(
    backend: Backend, case: Case, found: Results, wanted: Results, compared: Compared
) -> tuple[Level, float | None]:
    """The best class that a case leaves open, and its error's share of its bound, if looked at."""
    native = backend.arithmetic == "native"
    equal = compared.alike and compared.different == 0
    if equal and not native:
        return Level.A, None
    may_flush = not native and case.kind != "relation"
    if may_flush and _are_flushed(found, wanted, promised(backend, case, flushing)):
        return Level.B, None
    if not compared.alike:
        return Level.none, None
    if not case.is_bounded:
        return Level.C, None
    share = max(error_shares(case, found).values())
    if share > 1:
        return Level.none, share
    return (Level.A if equal else Level.C), share
