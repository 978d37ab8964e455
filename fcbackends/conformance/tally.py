"""What cases show of a backend, summed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple


class Level(enum.IntEnum):
    """The best class that something seen leaves open; none where not even the bounds hold."""

    A = 0
    B = 1
    C = 2
    none = 3


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
        return max(self.findings, default=Level.A)

    def first_below(self, level: Level) -> Finding | None:
        """The first case that rules this class out."""
        worse = [finding for seen, finding in self.findings.items() if seen > level]
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
            max_ulp=farther(self.max_ulp, other.max_ulp),
            error_share=max(shares, default=None),
            findings=findings,
        )


def farther(one: int | None, other: int | None) -> int | None:
    """The larger of two distances; None, where a NaN met a number, is the largest."""
    return None if one is None or other is None else max(one, other)
