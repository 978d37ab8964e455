"""What a side computed at a step, operation by operation, and in which other way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcbackends.differences.deviations import (
    Deviation,
    any_orders,
    arithmetic_of,
    by,
    deviations_from,
)
from fcbackends.differences.draws import altered, data_of, draws_of
from fcbackends.differences.functions import Way, libraries_ways, own_way
from fcbackends.differences.narrowing import Looks
from fcbackends.differences.operations import (
    Floats,
    Operation,
    Values,
    computed,
    first_values,
    in_blocks,
    leaves_of,
    operations_of,
)
from fcbackends.differences.probes import probes_of
from fcbackends.differences.search import (
    Hypothesis,
    Outcome,
    explained,
    foretold,
    merged,
    seen,
    values_under,
)
from fcbackends.differences.sides import Moved, Side, rows_of
from fcbackends.maths.network import State
from fcbackends.maths.optimizers import constants_by_step

_MOST_PREPARED = 60
"""So many steps are thought through, of which only those are taken that may decide something."""

_MOST_PROBES = 24
_FEWEST_PROBES = 3
"""So many times what explains one step is to be seen in others."""

_MOST_SILENT = 8
"""Where nothing shows so often, it is bound to the one step."""

_SURVIVING = 400
_ASKED = 60
UNKNOWN = "unknown"


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
    base : str
        The arithmetic that `run` is, or deviates from.
    """

    outcome: Outcome
    values: Values
    run: Way
    hypothesis: Hypothesis | None
    causes: tuple[str, ...]
    words: tuple[str, ...]
    is_found: bool
    base: str


def way_of(told: Told) -> Way:
    """How a side computes, with what is otherwise."""
    hypothesis, run = told.hypothesis, told.run
    if hypothesis is None:
        return run
    place, mask = hypothesis.operation, hypothesis.mask
    otherwise = hypothesis.deviation.run
    name = None if place is None else told.outcome.operations[place].outputs[0]

    def run_so(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        own = run(operation, *inputs)
        if (name or operation.outputs[0]) != operation.outputs[0] or operation.outputs[0] == "rows":
            return own
        found = otherwise(operation, *inputs)
        return found if mask is None else tuple(merged(own, found, mask))

    return run_so


def told_of(
    side: Side,
    number: int,
    before: State,
    moved: Moved,
    looks: Looks,
    likely: tuple[Way, str] | None = None,
) -> Told:
    """What a side did at the step of this number.

    `likely` is how the other side computes, and from which arithmetic that deviates.
    """
    loss = None
    if moved.losses is not None and len(moved.losses) and np.isfinite(moved.losses[-1]):
        loss = float(moved.losses[-1])
    name = side.arithmetic if side.arithmetic in ("ordered", "fused") else None
    names = [name] if name else ["ordered", "fused", "native"]
    ways = [by(arithmetic_of(each)) for each in names]
    if likely is not None:
        ways.append(likely[0])
    first: Outcome | None = None
    bases = [*names, *([likely[1]] if likely is not None else [])]
    for run, base in zip(ways, bases, strict=True):
        outcome = _outcome(side, number, before, moved.state, loss, run)
        # A step in which little shows may come to the same in another arithmetic.
        if not outcome.different and (
            len(ways) == 1 or _Probes(side, number, run, looks).show_nothing
        ):
            return Told(outcome, outcome.values, run, None, (), (), True, base)
        first = first or outcome
    assert first is not None
    tries = [(first, ways[0], names[0])]
    if likely is not None:
        tries.insert(0, (outcome, *likely))
    for outcome, run, base in tries:
        found = _explained(side, number, outcome, run, base, looks)
        if found is not None:
            return found
    values = {**first.values, **first.leaves}
    return Told(first, values, ways[0], None, (UNKNOWN,), (), False, names[0])


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
    operations = [
        in_blocks(operation, rows_of(side))
        for operation in operations_of(
            method, len(own.params), len(before.slots), constants, number
        )
    ]
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
    dtype, method = side.run.dtype, side.run.method
    probes = _Probes(side, number, run, looks)
    known = list(deviations_from(base, dtype))
    if side.backend is not None:
        known.append(own_way(side.backend, method, run))
    elif side.arithmetic is None:
        contracted = next(way.run for way in known if way.cause == "products fused into sums")
        known += libraries_ways(method, run, contracted)
    orders = list(any_orders(base))
    others = list(altered(run, dtype, UNKNOWN))
    for deviations, draws, decide in (
        (known, draws_of, _decided),
        (orders, None, _placed),
        (others, data_of, _loosely_placed),
    ):
        drawn = list(draws(side.run, number)) if draws else []
        for plain in _with_and_without_loss(outcome):
            hypotheses = explained(plain, run, by(arithmetic_of(base)), deviations, drawn)
            if hypotheses:
                best = decide(hypotheses, probes)
                if best:
                    return _told(outcome, plain, run, best, base)
                break
    return None


def _told(
    outcome: Outcome, plain: Outcome, run: Way, best: Sequence[Hypothesis], base: str
) -> Told:
    chosen = best[0]
    same_place = [h for h in best if _place(h) == _place(chosen)]
    told = {h.deviation.cause: h.deviation.words for h in reversed(same_place)}
    causes = tuple(dict.fromkeys(h.deviation.cause for h in same_place))
    words = tuple(told[cause] for cause in causes)
    values = values_under(plain, run, chosen)
    return Told(outcome, values, run, chosen, causes, words, True, base)


def _with_and_without_loss(outcome: Outcome) -> Iterator[Outcome]:
    """The outcome; and the same but for the loss, where more than that is otherwise."""
    yield outcome
    if "loss" in outcome.leaves and outcome.different - {"loss"}:
        leaves = {name: value for name, value in outcome.leaves.items() if name != "loss"}
        yield outcome._replace(leaves=leaves)


class _Probe:
    """One step of a side from another state, on other data: as it is to be and as it comes."""

    def __init__(
        self, outcome: Outcome, run: Way, look: Callable[[Outcome], Outcome], is_tiny: bool
    ) -> None:
        self._outcome, self._run, self._look, self.is_tiny = outcome, run, look, is_tiny
        self._foretold: dict[Any, dict[str, bytes]] = {}
        self._seen: dict[str, bytes] | None = None

    def foretold(self, hypothesis: Hypothesis) -> dict[str, bytes]:
        """What would come otherwise."""
        key = id(hypothesis.deviation), *_place(hypothesis)
        if key not in self._foretold:
            self._foretold[key] = foretold(self._outcome, self._run, hypothesis)
        return self._foretold[key]

    @property
    def is_taken(self) -> bool:
        """Whether the side has taken it."""
        return self._seen is not None

    @property
    def seen(self) -> dict[str, bytes]:
        """What comes otherwise: a look at the side, the first time."""
        if self._seen is None:
            self._outcome = self._look(self._outcome)
            self._seen = seen(self._outcome)
        return self._seen

    def holds(self, hypothesis: Hypothesis) -> bool:
        """Whether what is foretold is what is seen; as far as the loss is known, that too."""
        told, came = self.foretold(hypothesis), self.seen
        if "loss" not in self._outcome.leaves:
            told = {name: value for name, value in told.items() if name != "loss"}
        return told == came


class _Probes:
    """Steps of the same number of a side from other states and data."""

    def __init__(self, side: Side, number: int, run: Way, looks: Looks) -> None:
        self._side, self._number, self._run, self._looks = side, number, run, looks
        self._made: list[_Probe] = []
        self.is_strict = side.arithmetic in ("ordered", "fused")
        self._coming = probes_of(side.run)

    def __iter__(self) -> Iterator[_Probe]:
        """The probes, until there are to be no more looks."""
        for place in range(_MOST_PREPARED):
            if self._looks.left <= 0 or sum(p.is_taken for p in self._made) >= _MOST_PROBES:
                return
            if place == len(self._made):
                self._made.append(self._next())
            yield self._made[place]

    @property
    def show_nothing(self) -> bool:
        """Whether the side comes to what is computed here in the first of them."""
        return not any(probe.seen for probe in itertools.islice(self, _FEWEST_PROBES))

    def _next(self) -> _Probe:
        state, x, t, is_tiny = next(self._coming)
        number, side, run = self._number, self._side, self._run

        def look(outcome: Outcome) -> Outcome:
            self._looks.count += 1
            moved = side.advance(state, number - 1, number, x, t)
            loss = None
            if moved.losses is not None and len(moved.losses) and np.isfinite(moved.losses[-1]):
                loss = float(moved.losses[-1])
            return outcome._replace(leaves=leaves_of(moved.state, loss))

        outcome = _outcome(side, number, state, state, None, run, x, t)
        return _Probe(outcome, run, look, is_tiny)


def _decided(hypotheses: Sequence[Hypothesis], probes: _Probes) -> list[Hypothesis]:
    """The hypotheses that hold in further steps as well, the likeliest first."""
    alive = _varied(hypotheses)
    confirmed = disproved = contradicted = silent = 0
    for probe in probes:
        kinds = {(*_place(h), h.deviation.cause) for h in alive}
        if confirmed >= _FEWEST_PROBES and len(kinds) == 1:
            break
        told = {frozenset(probe.foretold(h).items()) for h in alive[:_ASKED]}
        asks = len(told) > 1 or (len(kinds) == 1 and told != {frozenset()})
        if not (asks or probe.is_taken) or silent > _MOST_SILENT:
            continue
        held = [h for h in alive if probe.holds(h)]
        if not probe.seen:
            # It does not show, or it is bound to the values of the one step.
            silent += 1
        if held:
            alive = held
            confirmed += bool(probe.seen)
        elif not probe.is_tiny:
            disproved += bool(probe.seen)
            contradicted += not probe.seen
    # What shows in other steps and is not as any of them has it is something else.
    if confirmed:
        disproved += contradicted
    is_wrong = disproved > (0 if probes.is_strict else confirmed)
    return [] if is_wrong else sorted(alive, key=_rank)


def _varied(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Not too many, with some of each kind among them, the likeliest first."""
    count: dict[Any, int] = {}
    ranked = []
    for hypothesis in sorted(hypotheses, key=_rank):
        kind = (*_place(hypothesis), hypothesis.deviation.cause)
        count[kind] = count.get(kind, 0) + 1
        ranked.append((count[kind], hypothesis))
    ranked.sort(key=lambda pair: (pair[0], _rank(pair[1])))
    return [hypothesis for _, hypothesis in ranked[:_SURVIVING]]


def _placed(
    hypotheses: Sequence[Hypothesis], probes: _Probes, *, loosely: bool = False
) -> list[Hypothesis]:
    """The hypotheses whose places deviate in further steps, each time in some of these ways."""
    by_place: dict[Any, list[Hypothesis]] = {}
    for hypothesis in sorted(hypotheses, key=_rank):
        by_place.setdefault(_place(hypothesis), []).append(hypothesis)
    ways: dict[int, Deviation] = {}
    for hypothesis in hypotheses:
        ways[id(hypothesis.deviation)] = hypothesis.deviation
    confirmed = disproved = silent = 0
    for probe in probes:
        if confirmed >= _FEWEST_PROBES + 2 * (len(by_place) > 1):
            break
        if not probe.seen:
            silent += 1
            if silent > _MOST_SILENT:
                break
            continue
        held = {
            place: some
            for place, some in by_place.items()
            if any(
                probe.holds(some[0]._replace(deviation=way))
                for way in (
                    [h.deviation for h in some] if some[0].operation == 0 else ways.values()
                )
            )
        }
        if held:
            by_place, confirmed = held, confirmed + 1
        else:
            disproved += 1
    if not loosely and disproved > 0:
        return []
    return [hypothesis for some in by_place.values() for hypothesis in some]


def _loosely_placed(hypotheses: Sequence[Hypothesis], probes: _Probes) -> list[Hypothesis]:
    return _placed(hypotheses, probes, loosely=True)


def _place(hypothesis: Hypothesis) -> tuple[Any, ...]:
    mask = hypothesis.mask
    return hypothesis.operation, None if mask is None else mask.tobytes()


def _rank(hypothesis: Hypothesis) -> tuple[int, int]:
    few = 0 if hypothesis.mask is not None else 1 if hypothesis.operation is not None else 2
    return few, hypothesis.rank
