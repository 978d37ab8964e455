"""The first step at which two sides part: by halves, and by the losses between."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from fcbackends import agreement
from fcbackends.differences.sides import Moved, Side, same, same_losses
from fcbackends.maths.network import State


class Looks:
    """How often two states were compared."""

    def __init__(self, steps: int) -> None:
        self.count = 0
        self._most = int(2 * math.log2(max(2, steps))) + 40

    @property
    def left(self) -> int:
        """How many more there may be."""
        return self._most - self.count


class Parted(NamedTuple):
    """A step that two sides end otherwise from one state.

    Attributes
    ----------
    step : int
        Its number.
    before : State
        What both begin it with.
    a, b : Moved
        What they come to.
    """

    step: int
    before: State
    a: Moved
    b: Moved


def galloped(a: Side, b: Side, state: State, start: int, last: int, looks: Looks) -> Parted | None:
    """The first step after `start` at which two sides part, of those up to `last`, if they do.

    Steps are taken in doubling numbers until the sides differ.
    """
    length = 1
    while start < last:
        end = min(last, start + length)
        found = parted_within(a, b, state, start, end, looks)
        if isinstance(found, Parted):
            return found
        if found.step < end:
            return None  # both come to what is not finite, and at the same step
        state, start, length = found.state, end, 2 * length
    return None


def parted_within(
    a: Side, b: Side, state: State, start: int, end: int, looks: Looks
) -> Parted | Moved:
    """The step between at which two sides part; or where they both come to, if they do not."""
    both = _look(a, b, state, start, end, looks)
    place = same_losses(*both)
    if same(*both) and place is None:
        return both[0]
    while end - start > 1:
        middle = (start + end) // 2
        if place is not None:
            middle = start + place
            if place == 0:
                end = start + 1
                break
        there = _look(a, b, state, start, middle, looks)
        losses_differ = same_losses(*there)
        if same(*there) and losses_differ is None:
            state, start = there[0].state, middle
            if place is not None:
                end = start + 1  # the loss of this step is the first that differs
                break
        else:
            end, place = middle, losses_differ
    return Parted(end, state, *_look(a, b, state, start, end, looks))


def _look(
    a: Side, b: Side, state: State, start: int, end: int, looks: Looks
) -> tuple[Moved, Moved]:
    looks.count += 1
    return a.advance(state, start, end), b.advance(state, start, end)


def followed(
    side: Side, digests: Mapping[int, str], last: int, looks: Looks
) -> tuple[int, State, int | None]:
    """How far a side keeps to digests: the last step of the same, its state, the first of others.

    The side goes once through its run.
    """
    looks.count += 1
    state, start = side.run.first, 0
    if digests.get(0, digest_of(state)) != digest_of(state):
        return 0, state, 0
    for step in sorted(step for step in digests if 0 < step <= last):
        moved = side.advance(state, start, step)
        if moved.step < step or digest_of(moved.state) != digests[step]:
            return start, state, step
        state, start = moved.state, step
    return start, state, None


def digest_of(state: State) -> str:
    """Of the parameters, as a record has it."""
    return agreement.digest(state.params)
