"""A share of the networks trained a second time on another worker, and their bits compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fcbackends.executors.dispatch import Dispatcher, Task
from fcbackends.executors.reply import Where
from fcbackends.sweeps.finding import Finding
from fcbackends.sweeps.packs import Ended
from fcbackends.sweeps.worker import Trace


class Audit:
    """Compares what was trained twice.

    Parameters
    ----------
    dispatcher : Dispatcher
        Has networks trained a second time.
    numbers : collection of int
        The networks to audit.
    again : callable
        (number, within) -> what the network ends with in this process, which is the judge; its
        digests between some steps, or None for those on the whole way.
    told : callable
        How a network is named.
    doubt : callable
        Given networks whose results count no more.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        numbers: frozenset[int],
        again: Callable[[int, tuple[int, int] | None], Ended],
        told: Callable[[int], str],
        doubt: Callable[[Sequence[int]], object],
    ) -> None:
        self._dispatcher, self.numbers = dispatcher, numbers
        self._again, self._told, self._doubt = again, told, doubt
        self._first: dict[int, tuple[Where, Ended]] = {}
        self._trained_by: dict[Where, set[int]] = {}
        self._doubted: dict[Where, list[int]] = {}
        self._parted: set[Where] = set()
        self._found: list[tuple[int, Where, tuple[int, int]]] = []

    @property
    def findings(self) -> list[Finding]:
        """The workers that part from this process."""
        return [
            Finding(
                self._told(number),
                number,
                *where,
                steps=within,
                networks=tuple(sorted(set(self._doubted.get(where, ())))),
            )
            for number, where, within in self._found
        ]

    def first(self, where: Where, ended: Sequence[Ended]) -> None:
        """Take note of what a worker trained; have the chosen ones trained elsewhere."""
        numbers = [each.number for each in ended]
        if where in self._parted:
            self._doubted.setdefault(where, []).extend(numbers)
            self._retrain(where, numbers)
            return
        self._trained_by.setdefault(where, set()).update(numbers)
        again = [each for each in ended if each.number in self.numbers and each.trace]
        for each in again:
            self._first[each.number] = where, each
        if again:
            self._dispatcher.add(Task([each.number for each in again], "audit", not_on=where))

    def second(self, where: Where, ended: Sequence[Ended]) -> None:
        """Compare with what came first; where they differ, both with this process."""
        for each in ended:
            before = self._first[each.number]
            if before[1].digest == each.digest:
                continue
            judged = self._again(each.number, None)
            for by, its in (before, (where, each)):
                if its.digest != judged.digest:
                    self._part(by, its, judged)

    def alone(self, task: Task) -> None:
        """Compare with this process, where no other worker is there."""
        for number in task.numbers:
            by, its = self._first[number]
            judged = self._again(number, None)
            if its.digest != judged.digest:
                self._part(by, its, judged)

    def not_narrowed(self, task: Task) -> None:
        """Tell of a worker that is gone."""
        assert task.only_on is not None
        assert task.within is not None
        self._found.append((task.numbers[0], task.only_on, task.within))

    def narrowed(self, where: Where, within: tuple[int, int], ended: Ended) -> None:
        """Take the digests of each step between two at which a worker parts from this process."""
        judged = self._again(ended.number, within)
        within = parted(ended.trace, judged.trace) or within
        self._found.append((ended.number, where, within))

    def _part(self, where: Where, its: Ended, judged: Ended) -> None:
        """Trust a worker no more: its networks are trained elsewhere, and where it parts is told.

        Of each worker the first network that showed it is enough.
        """
        doubted = sorted(self._trained_by.pop(where, ()))
        if doubted:
            self._doubted.setdefault(where, []).extend(doubted)
            self._retrain(where, doubted)
        if where in self._parted:
            return
        last = max(its.result.steps, judged.result.steps)
        within = parted(its.trace, judged.trace) or (0, last)
        self._parted.add(where)
        if within[1] - within[0] > 1:
            self._dispatcher.add(Task([its.number], "narrow", only_on=where, within=within))
        else:
            self._found.append((its.number, where, within))

    def _retrain(self, where: Where, numbers: Sequence[int]) -> None:
        self._doubt(numbers)
        self._dispatcher.add(Task(numbers, not_on=where))


def parted(trace: Trace, judged: Trace) -> tuple[int, int] | None:
    """The last step at which two have the same digest and the first at which they have not."""
    before = 0
    own = dict(judged)
    for step, digest in trace:
        if step in own and own[step] != digest:
            return min(before, step), step
        before = step
    return None
