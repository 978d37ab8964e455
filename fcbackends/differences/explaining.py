"""What a side computed at a step, operation by operation, and in which other way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcbackends.differences.deviations import Deviation, arithmetic_of, by, deviations_from
from fcbackends.differences.draws import altered, data_of, draws_of
from fcbackends.differences.narrowing import Looks
from fcbackends.differences.operations import (
    Floats,
    Operation,
    Values,
    computed,
    first_values,
    leaves_of,
    operations_of,
)
from fcbackends.differences.probes import probes_of
from fcbackends.differences.search import (
    Hypothesis,
    Outcome,
    agrees,
    explained,
    values_under,
)
from fcbackends.differences.sides import Moved, Side
from fcbackends.maths.network import State
from fcbackends.maths.optimizers import constants_by_step

_MOST_PROBES = 24
_FEWEST_PROBES = 4
_SURVIVING = 600
UNKNOWN = "unknown"

Way = Callable[..., tuple[Floats, ...]]


class Told(NamedTuple):
    """What a side computed at a step.

    Attributes
    ----------
    outcome : Outcome
        The step, as it is to be and as it came.
    values : mapping
        All that the side computed, as far as it is known.
    run : callable
        How the side computes where nothing is otherwise.
    hypothesis : Hypothesis or None
        What is otherwise; None where nothing is, or nothing is found that explains it.
    causes : tuple of str
        All that explain it.
    words : tuple of str
        What exactly each of them is.
    is_found : bool
        Whether `values` lead to what came.
    """

    outcome: Outcome
    values: Values
    run: Way
    hypothesis: Hypothesis | None
    causes: tuple[str, ...]
    words: tuple[str, ...]
    is_found: bool


def told_of(
    side: Side, number: int, before: State, moved: Moved, looks: Looks, likely: Way | None = None
) -> Told:
    """What a side did at the step of this number.

    `likely` is how the other side computes.
    """
    loss = None
    if moved.losses is not None and len(moved.losses) and np.isfinite(moved.losses[-1]):
        loss = float(moved.losses[-1])
    name = side.arithmetic if side.arithmetic in ("ordered", "fused") else None
    names = [name] if name else ["ordered", "fused", "native"]
    ways = [by(arithmetic_of(each)) for each in names]
    if likely is not None:
        ways.append(likely)
    first: Outcome | None = None
    for run in ways:
        outcome = _outcome(side, number, before, moved.state, loss, run)
        if not outcome.different:
            return Told(outcome, outcome.values, run, None, (), (), True)
        first = first or outcome
    assert first is not None
    tries = [(first, ways[0], names[0])]
    if likely is not None:
        tries.insert(0, (outcome, likely, "ordered"))
    for outcome, run, base in tries:
        found = _explained(side, number, outcome, run, base, looks)
        if found is not None:
            return found
    values = {**first.values, **first.leaves}
    return Told(first, values, ways[0], None, (UNKNOWN,), (), False)


def _outcome(
    side: Side,
    number: int,
    before: State,
    after: State,
    loss: float | None,
    run: Way,
    x: Floats | None = None,
    t: Floats | None = None,
) -> Outcome:
    own = side.run
    method = own.method
    constants = constants_by_step(method.optimizer, method.lr, method.clip_norm)(number)
    operations = operations_of(method, len(own.params), len(before.slots), constants, number)
    begun = {
        **first_values(before),
        "data x": own.x if x is None else x,
        "data t": own.t if t is None else t,
        "drawn": own.rows(number),
    }
    values = computed(operations, begun, run)
    return Outcome(operations, values, leaves_of(after, loss))


def _explained(
    side: Side, number: int, outcome: Outcome, run: Way, base: str, looks: Looks
) -> Told | None:
    dtype = side.run.dtype
    probes = _Probes(side, number, run, looks, "loss" in outcome.leaves)
    plain = outcome
    for plain in _with_and_without_loss(outcome):
        deviations = list(deviations_from(base, dtype))
        hypotheses = explained(plain, run, deviations)
        if not hypotheses:
            hypotheses = explained(plain, run, [], list(draws_of(side.run, number)))
        if hypotheses:
            break
    best = _decided(hypotheses, probes, run)
    if not best:
        for plain in _with_and_without_loss(outcome):
            others = list(altered(run, dtype, UNKNOWN))
            hypotheses = explained(plain, run, others, list(data_of(side.run, number)))
            if hypotheses:
                break
        best = _placed(hypotheses, probes, run)
    if not best:
        return None
    chosen = best[0]
    values = values_under(plain, run, chosen)
    same_place = [h for h in best if _place(h) == _place(chosen)]
    told = {h.deviation.cause: h.deviation.words for h in reversed(same_place)}
    causes = tuple(dict.fromkeys(h.deviation.cause for h in same_place))
    words = tuple(told[cause] for cause in causes)
    return Told(outcome, values, run, chosen, causes, words, True)


def _with_and_without_loss(outcome: Outcome) -> Iterator[Outcome]:
    """The outcome; and the same but for the loss, where more than that is otherwise."""
    yield outcome
    if "loss" in outcome.leaves and outcome.different - {"loss"}:
        leaves = {name: value for name, value in outcome.leaves.items() if name != "loss"}
        yield outcome._replace(leaves=leaves)


class _Probes:
    """Outcomes of the same step of a side from other states and data."""

    def __init__(
        self, side: Side, number: int, run: Way, looks: Looks, with_loss: bool
    ) -> None:
        self._side, self._number, self._run, self._looks = side, number, run, looks
        self._with_loss = with_loss
        self._made: list[Outcome] = []
        self._coming = probes_of(side.run)

    def __iter__(self) -> Iterator[Outcome]:
        for place in itertools.count():
            if place == len(self._made):
                if self._looks.left <= 0 or place >= _MOST_PROBES:
                    return
                self._made.append(self._next())
            yield self._made[place]

    def _next(self) -> Outcome:
        state, x, t = next(self._coming)
        self._looks.count += 1
        number = self._number
        moved = self._side.advance(state, number - 1, number, x, t)
        loss = None
        if self._with_loss and moved.losses is not None and np.isfinite(moved.losses[-1]):
            loss = float(moved.losses[-1])
        return _outcome(self._side, number, state, moved.state, loss, self._run, x, t)


def _decided(hypotheses: Sequence[Hypothesis], probes: _Probes, run: Way) -> list[Hypothesis]:
    """The hypotheses that hold in further steps as well, the likeliest first."""
    alive = sorted(hypotheses, key=_rank)[:_SURVIVING]
    if not alive:
        return []
    disproved = 0
    for i, outcome in enumerate(probes):
        if i >= _FEWEST_PROBES and len({_place(h) + (h.deviation.cause,) for h in alive}) == 1:
            break
        held = [h for h in alive if _holds(outcome, run, h)]
        if held:
            alive = held
        elif outcome.different:
            disproved += 1
    # What shows elsewhere and is not as any of them has it is something else.
    return [] if disproved > 1 else alive


def _holds(outcome: Outcome, run: Way, hypothesis: Hypothesis) -> bool:
    if not outcome.different:
        # Either it does not show, or it is bound to the values of the one step.
        return agrees(outcome, run, hypothesis)
    return any(agrees(each, run, hypothesis) for each in _with_and_without_loss(outcome))


def _placed(hypotheses: Sequence[Hypothesis], probes: _Probes, run: Way) -> list[Hypothesis]:
    """The hypotheses whose place deviates in further steps, in whatever way."""
    by_place: dict[Any, list[Hypothesis]] = {}
    for hypothesis in sorted(hypotheses, key=_rank):
        by_place.setdefault(_place(hypothesis), []).append(hypothesis)
    for i, outcome in enumerate(probes):
        if len(by_place) < 2 and i >= _FEWEST_PROBES:
            break
        if not outcome.different:
            continue
        dtype = str(outcome.values["h0"].dtype.name)
        ways = list(altered(run, dtype, UNKNOWN))
        held = {
            place: some
            for place, some in by_place.items()
            if any(
                _holds(outcome, run, some[0]._replace(deviation=way))
                for way in ([some[0].deviation] if some[0].index == 0 else ways)
            )
        }
        by_place = held or by_place
    return [hypothesis for some in by_place.values() for hypothesis in some]


def _place(hypothesis: Hypothesis) -> tuple[Any, ...]:
    mask = hypothesis.mask
    return hypothesis.index, None if mask is None else mask.tobytes()


def _rank(hypothesis: Hypothesis) -> tuple[int, int]:
    few = 0 if hypothesis.mask is not None else 1 if hypothesis.index is not None else 2
    return few, hypothesis.rank


def operation_parts(operation: Operation) -> tuple[str, str]:
    """What it is called, and which part of that it is."""
    return operation.name, operation.part


__all__ = ["UNKNOWN", "Deviation", "Told", "told_of"]
