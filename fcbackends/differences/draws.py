"""Other samples that a step may have drawn, and values that no arithmetic explains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.differences.deviations import Deviation
from fcbackends.differences.operations import Floats, Operation
from fcbackends.differences.runs import Run
from fcbackends.maths.sampling import draw_indices

_SEEDS = 64
_STEPS = 16
_MOST = 20_000
_ULPS = 16


def draws_of(run: Run, number: int) -> Iterator[Deviation]:
    """The ways to draw other samples at a step."""
    cause, plan, own = "other draws", run.plan, run.rows(number)

    def drawn(at: int, sampling: Any, seed: int) -> NDArray[np.int64]:
        return draw_indices(len(run.x), at - 1, 1, plan.batch_size, sampling, seed)[0]

    for at in range(max(1, number - _STEPS), number + _STEPS + 1):
        if at != number:
            rows = drawn(at, plan.sampling, plan.seed)
            yield Deviation(cause, f"those of step {at}", _rows(rows))
    other = "epoch" if plan.sampling == "replacement" else "replacement"
    if other == "replacement" or plan.batch_size <= len(run.x):
        yield Deviation(cause, f"sampling {other!r}", _rows(drawn(number, other, plan.seed)))
    for seed in (*range(_SEEDS), *range(plan.seed - 8, plan.seed + 9)):
        if seed != plan.seed and 0 <= seed < 2**64:
            rows = drawn(number, plan.sampling, seed)
            yield Deviation(cause, f"those of seed {seed}", _rows(rows))
    for words, rows in (
        ("the same, from the last on", own[::-1]),
        ("the same, in ascending order", np.sort(own)),
        ("the same, in descending order", np.sort(own)[::-1]),
        ("the same, rotated", np.roll(own, 1)),
        ("the same, rotated back", np.roll(own, -1)),
        ("the next rows", (own + 1) % len(run.x)),
        ("the rows before", (own - 1) % len(run.x)),
    ):
        yield Deviation(cause, words, _rows(rows))
    for i in range(len(own)):
        for j in range(i):
            rows = own.copy()
            rows[[i, j]] = rows[[j, i]]
            yield Deviation(cause, f"places {j} and {i} exchanged", _rows(rows))
    if len(own) * len(run.x) <= _MOST:
        for place in range(len(own)):
            for row in range(len(run.x)):
                rows = own.copy()
                rows[place] = row
                yield Deviation(cause, f"row {row} at place {place}", _rows(rows))


def data_of(run: Run, number: int) -> Iterator[Deviation]:
    """The ways in which one number of a step's samples may be another."""
    rows = run.rows(number)
    if run.dtype == "float64":
        yield Deviation("other data", "rounded to float32", _data(_narrow, None, None))
    for name, array in (("x", run.x), ("t", run.t)):
        if rows.size * array.shape[1] * 90 > 4 * _MOST:
            continue
        for element in np.ndindex(rows.size, array.shape[1]):
            for words, change in alterations(run.dtype):
                yield Deviation("other data", words, _data(change, name, element))


def alterations(dtype: str) -> Iterator[tuple[str, Callable[[Floats], Floats]]]:
    """What may become of a number without a reason that is known here."""
    for distance in range(1, _ULPS + 1):
        for way in (1, -1):
            yield f"{way * distance:+d} units of the last place", _stepped(way * distance)
    unsigned = np.uint32 if dtype == "float32" else np.uint64
    for bit in range(np.dtype(dtype).itemsize * 8):
        yield f"bit {bit} flipped", _flipped(unsigned, bit)
    yield "zero", lambda a: a * 0
    yield "one more", lambda a: a + 1
    yield "one less", lambda a: a - 1
    yield "twice as large", lambda a: a + a
    yield "half as large", lambda a: a / 2


def altered(run: Callable[..., tuple[Floats, ...]], dtype: str, cause: str) -> Iterator[Deviation]:
    """The operations as they are, and each result altered."""
    for words, change in alterations(dtype):
        yield Deviation(cause, words, _after(run, change), False)


def _after(
    run: Callable[..., tuple[Floats, ...]], change: Callable[[Floats], Floats]
) -> Callable[..., tuple[Floats, ...]]:
    def run_altered(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        found = run(operation, *inputs)
        return tuple(change(a) if a.dtype.kind == "f" else a for a in found)

    return run_altered


def _stepped(distance: int) -> Callable[[Floats], Floats]:
    def stepped(a: Floats) -> Floats:
        for _ in range(abs(distance)):
            a = np.nextafter(a, a.dtype.type(np.copysign(np.inf, distance)))
        return a

    return stepped


def _flipped(unsigned: Any, bit: int) -> Callable[[Floats], Floats]:
    def flipped(a: Floats) -> Floats:
        bits = np.ascontiguousarray(a).reshape(a.shape).view(unsigned)
        return (bits ^ unsigned(1 << bit)).view(a.dtype)

    return flipped


def _narrow(a: Floats) -> Floats:
    return a.astype(np.float32).astype(a.dtype)


def _rows(rows: NDArray[np.int64]) -> Callable[..., tuple[Floats, ...]]:
    def run(operation: Operation, x: Floats, t: Floats, own: Floats) -> tuple[Floats, ...]:
        return rows, x[rows], t[rows]

    return run


def _data(
    change: Callable[[Floats], Floats], name: str | None, element: tuple[int, ...] | None
) -> Callable[..., tuple[Floats, ...]]:
    def run(operation: Operation, x: Floats, t: Floats, rows: Floats) -> tuple[Floats, ...]:
        found = {"x": x[rows], "t": t[rows]}
        for each in found:
            if name in (None, each) and element is None:
                found[each] = change(found[each])
            elif name == each and element is not None:
                found[each][element] = change(found[each])[element]
        return rows, found["x"], found["t"]

    return run
