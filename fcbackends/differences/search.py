"""What a step computed otherwise, found from its outcome: an operation, elements, and a way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.differences.deviations import Deviation
from fcbackends.differences.operations import (
    Floats,
    Operation,
    Values,
    computed,
    differing,
    same_bits,
)

Mask = NDArray[np.bool_]

_MOST_TRIALS = 60_000
"""So many single elements, in so many ways, are tried of an operation."""

_SURVIVING = 400
"""So many hypotheses are held against further steps."""


class Outcome(NamedTuple):
    """One step as it is seen from outside, and as it is computed here.

    Attributes
    ----------
    operations : sequence of Operation
        Of the step.
    values : mapping
        All that they give by the arithmetic of the run.
    leaves : mapping
        What came of the step: the new state, and the loss, where that is known.
    """

    operations: Sequence[Operation]
    values: Values
    leaves: Values

    @property
    def different(self) -> set[str]:
        """What came otherwise than it is computed here."""
        return {
            name for name, value in self.leaves.items() if not same_bits(value, self.values[name])
        }

    def inputs(self, index: int) -> list[Floats]:
        """Those of one operation."""
        return [self.values[name] for name in self.operations[index].inputs]

    def outputs(self, index: int) -> list[Floats]:
        """Those of one operation."""
        return [self.values[name] for name in self.operations[index].outputs]


class Hypothesis(NamedTuple):
    """Some elements of an operation are computed in another way; or all, or all operations'.

    Attributes
    ----------
    deviation : Deviation
        The way.
    operation : int or None
        Its place among the step's; None for all.
    mask : array of bool, or None
        The elements; None for all.
    rank : int
        How unlikely it is beforehand.
    """

    deviation: Deviation
    operation: int | None
    mask: Mask | None
    rank: int


def explained(
    outcome: Outcome,
    run: Callable[..., tuple[Floats, ...]],
    plain: Callable[..., tuple[Floats, ...]],
    deviations: Sequence[Deviation],
    draws: Sequence[Deviation] = (),
) -> list[Hypothesis]:
    """The hypotheses under which the step comes to its outcome.

    `run` is how it is computed, and `plain` what deviations deviate from.
    """
    search = _Search(outcome, run, plain)
    found: list[Hypothesis] = []
    for rank, deviation in enumerate(deviations):
        if deviation.spreads and _agrees_throughout(outcome, deviation):
            found.append(Hypothesis(deviation, None, None, rank))
        for index in range(1, len(outcome.operations)):
            found += search.of_operation(index, deviation, rank)
    for rank, deviation in enumerate(draws, len(deviations)):
        found += search.of_operation(0, deviation, rank)
    return found


def foretold(
    outcome: Outcome, run: Callable[..., tuple[Floats, ...]], hypothesis: Hypothesis
) -> dict[str, bytes]:
    """What of a step's outcome would come otherwise, and how, by the names that a step has."""
    deviation, index, mask, _ = hypothesis
    values = outcome.values
    if index is None:
        changed = dict(values_under(outcome, run, hypothesis))
    else:
        outputs = _run(deviation, outcome, index)
        if mask is not None:
            outputs = merged(outcome.outputs(index), outputs, mask)
        changed = _following(outcome, run, index, outputs)
    return {
        name: _pattern(value)
        for name, value in changed.items()
        if _is_leaf(name) and not same_bits(value, values[name])
    }


def seen(outcome: Outcome) -> dict[str, bytes]:
    """What of a step's outcome came otherwise, and how."""
    return {name: _pattern(outcome.leaves[name]) for name in outcome.different}


def _is_leaf(name: str) -> bool:
    return name == "loss" or name.startswith("new ")


def _pattern(value: Floats) -> bytes:
    """Bits, those of all NaN alike."""
    return np.where(value != value, value.dtype.type(np.nan), value).tobytes()


@np.errstate(all="ignore")
def _following(
    outcome: Outcome,
    run: Callable[..., tuple[Floats, ...]],
    index: int,
    outputs: Sequence[Floats],
) -> dict[str, Floats]:
    """What changes with the outputs of an operation."""
    values, operations = outcome.values, outcome.operations
    changed = dict(zip(operations[index].outputs, outputs, strict=True))
    for operation in operations[index + 1 :]:
        if changed.keys().isdisjoint(operation.inputs):
            continue
        given = [changed.get(name, values[name]) for name in operation.inputs]
        for name, value in zip(operation.outputs, run(operation, *given), strict=True):
            if not same_bits(value, values[name]):
                changed[name] = value
    return changed


def values_under(
    outcome: Outcome, run: Callable[..., tuple[Floats, ...]], hypothesis: Hypothesis
) -> Values:
    """All that the step computed, if so."""
    deviation, index, mask, _ = hypothesis
    begun = {
        name: outcome.values[name]
        for operation in outcome.operations
        for name in operation.inputs
        if not any(name in other.outputs for other in outcome.operations)
    }
    chosen = None if index is None else outcome.operations[index]

    def run_otherwise(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        if index is None:
            return (
                deviation.run(operation, *inputs)
                if operation.inputs[0] != "data x"
                else (run(operation, *inputs))
            )
        if operation is not chosen:
            return run(operation, *inputs)
        found = deviation.run(operation, *inputs)
        if mask is None:
            return found
        return tuple(merged(run(operation, *inputs), found, mask))

    return computed(outcome.operations, begun, run_otherwise)


@np.errstate(all="ignore")
def _run(deviation: Deviation, outcome: Outcome, index: int) -> list[Floats]:
    return list(deviation.run(outcome.operations[index], *outcome.inputs(index)))


def merged(as_they_are: Sequence[Floats], others: Sequence[Floats], mask: Mask) -> list[Floats]:
    """Outputs of an operation, those of the mask from the others."""
    if any(a.shape != mask.shape for a in as_they_are):
        return list(as_they_are)
    return [np.where(mask, other, own) for own, other in zip(as_they_are, others, strict=True)]


def _agrees_throughout(outcome: Outcome, deviation: Deviation) -> bool:
    values = dict(outcome.values)
    with np.errstate(all="ignore"):
        for index in _turns(outcome.operations):
            operation = outcome.operations[index]
            if index == 0:
                continue
            found = deviation.run(operation, *(values[name] for name in operation.inputs))
            for name, value in zip(operation.outputs, found, strict=True):
                values[name] = value
                if name in outcome.leaves and not same_bits(value, outcome.leaves[name]):
                    return False
    return True


def _turns(operations: Sequence[Operation]) -> list[int]:
    """The operations in an order in which what is seen from outside comes early."""
    turns: list[int] = []
    known = {name for operation in operations for name in operation.inputs} - {
        name for operation in operations for name in operation.outputs
    }
    waiting = list(range(len(operations)))
    while waiting:
        ready = [i for i in waiting if known.issuperset(operations[i].inputs)]
        chosen = next((i for i in ready if operations[i].name.startswith("update")), ready[0])
        waiting.remove(chosen)
        turns.append(chosen)
        known.update(operations[chosen].outputs)
    return turns


class _Search:
    """Hypotheses about one outcome."""

    def __init__(
        self,
        outcome: Outcome,
        run: Callable[..., tuple[Floats, ...]],
        plain: Callable[..., tuple[Floats, ...]],
    ) -> None:
        self._outcome, self._run, self._plain = outcome, run, plain
        self._different = outcome.different
        self._turns = _turns(outcome.operations)
        self._tried: dict[Any, bool] = {}
        self._plain_outputs: dict[int, tuple[Floats, ...]] = {}

    @functools.cached_property
    def _updates(self) -> dict[str, int]:
        """By each gradient, the update that takes it alone, if one does."""
        users: dict[str, list[int]] = {}
        for i, operation in enumerate(self._outcome.operations):
            for name in operation.inputs:
                users.setdefault(name, []).append(i)
        operations = self._outcome.operations
        return {
            name: using[0]
            for name, using in users.items()
            if len(using) == 1 and operations[using[0]].name.startswith("update")
        }

    def of_operation(self, index: int, deviation: Deviation, rank: int) -> Iterator[Hypothesis]:
        """Hypotheses that one operation deviates so, in some elements or all."""
        outcome = self._outcome
        operation, own = outcome.operations[index], outcome.outputs(index)
        others = _run(deviation, outcome, index)
        if all(map(same_bits, own, others)) or self._is_plain(index, others):
            return
        if self.leads(index, others):
            yield Hypothesis(deviation, index, None, rank)
        update = index if operation.name.startswith("update") else None
        update = self._updates.get(operation.outputs[0], update)
        if any(array.shape != own[0].shape or array.ndim == 0 for array in own):
            return
        if update is None:
            yield from self._of_elements(index, deviation, rank, own, others)
            return
        mask = self._seen_of(update)
        if mask is None or not self.leads(index, merged(own, others, mask)):
            return
        yield Hypothesis(deviation, index, mask, rank)
        for axis in range(mask.ndim if mask.ndim == 2 else 0):
            wider = np.broadcast_to(mask.any(axis, keepdims=True), mask.shape).copy()
            if self.leads(index, merged(own, others, wider)):
                yield Hypothesis(deviation, index, wider, rank)

    def _is_plain(self, index: int, others: Sequence[Floats]) -> bool:
        """Whether these are no deviation, though the step is computed in another way."""
        if index not in self._plain_outputs:
            with np.errstate(all="ignore"):
                found = self._plain(self._outcome.operations[index], *self._outcome.inputs(index))
            self._plain_outputs[index] = found
        return all(map(same_bits, self._plain_outputs[index], others))

    def _of_elements(
        self,
        index: int,
        deviation: Deviation,
        rank: int,
        own: list[Floats],
        others: list[Floats],
    ) -> Iterator[Hypothesis]:
        where = functools.reduce(
            np.logical_or, (differing(a, b) for a, b in zip(own, others, strict=True))
        )
        for mask in _masks(where):
            if self.leads(index, merged(own, others, mask)):
                yield Hypothesis(deviation, index, mask, rank)

    def _seen_of(self, update: int) -> Mask | None:
        """The elements that came otherwise, where all of them are of this update."""
        outcome = self._outcome
        outputs = outcome.operations[update].outputs
        if not self._different or not self._different.issubset(outputs):
            return None
        return functools.reduce(
            np.logical_or,
            (
                differing(outcome.leaves[name], outcome.values[name])
                for name in outputs
                if name in outcome.leaves
            ),
        )

    def leads(self, index: int, outputs: Sequence[Floats]) -> bool:
        """Whether these outputs of an operation lead to the outcome."""
        key = index, *(array.tobytes() for array in outputs)
        if key not in self._tried:
            self._tried[key] = self._leads(index, outputs)
        return self._tried[key]

    @np.errstate(all="ignore")
    def _leads(self, index: int, outputs: Sequence[Floats]) -> bool:
        values, leaves = self._outcome.values, self._outcome.leaves
        operations = self._outcome.operations
        changed: dict[str, Floats] = {}

        def take(operation: Operation, found: Sequence[Floats]) -> bool:
            for name, value in zip(operation.outputs, found, strict=True):
                if same_bits(value, values[name]):
                    # As it is computed here, and so it must have come.
                    if name in self._different:
                        return False
                    continue
                changed[name] = value
                if name in leaves and not same_bits(value, leaves[name]):
                    return False
            return True

        if not take(operations[index], outputs):
            return False
        for i in self._turns:
            operation = operations[i]
            if i == index or changed.keys().isdisjoint(operation.inputs):
                continue
            given = [changed.get(name, values[name]) for name in operation.inputs]
            if not take(operation, self._run(operation, *given)):
                return False
        return self._different <= changed.keys()


def _masks(where: Mask) -> Iterator[Mask]:
    """Single elements, rows and columns of where something differs."""
    places = np.argwhere(where)
    for place in places[:_MOST_TRIALS]:
        mask = np.zeros(where.shape, bool)
        mask[tuple(place)] = True
        yield mask
    if where.ndim != 2 or len(places) == 1:
        return
    for axis in (0, 1):
        for line in np.unique(places[:, axis]) if where.shape[axis] > 1 else ():
            mask = np.zeros(where.shape, bool)
            mask[(slice(None),) * axis + (line,)] = True
            yield mask
