"""Two sides held against each other: by what is known of them, and step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fcbackends.differences.difference import Difference
from fcbackends.differences.exact import errors_in_ulps, exact_value
from fcbackends.differences.explaining import UNKNOWN, Told, told_of, way_of
from fcbackends.differences.narrowing import (
    Looks,
    Parted,
    digest_of,
    followed,
    galloped,
    parted_within,
)
from fcbackends.differences.operations import differing, same_bits
from fcbackends.differences.runs import Run
from fcbackends.differences.sides import Side, rows_of
from fcbackends.maths.network import State
from fcbackends.maths.optimizers import constants_by_step
from fcbackends.training.records import ENDED, Record

_OPTIONS = ("hidden", "dtype", "activation", "loss", "optimizer", "lr", "clip_norm")
"""Options that bits depend on, and that choose neither samples nor arithmetic."""


class Chosen(NamedTuple):
    """A side of a comparison.

    Attributes
    ----------
    name : str
        What a report calls it.
    run : Run
        What it runs.
    record : Record or None
        What it is a record of.
    live : Side or None
        What repeats it; None where nothing here does.
    why_not : str
        Why nothing does.
    """

    name: str
    run: Run
    record: Record | None
    live: Side | None
    why_not: str

    @property
    def digests(self) -> Mapping[int, str] | None:
        """Of the parameters, by steps, where there is a record of them."""
        return None if self.record is None else dict(self.record.digests)


class Comparison:
    """Two sides, and what is found of them."""

    def __init__(self, a: Chosen, b: Chosen, looks: Looks) -> None:
        self._a, self._b, self._looks = a, b, looks
        self._others = _other_options(a, b)

    def difference(self) -> Difference | None:
        """What parts the two, if anything does."""
        a, b = self._a, self._b
        if _shapes(a.run) != _shapes(b.run):
            return self._of_step(0, 0, "first parameters", *self._by_options())
        first = [(side.digests or {}).get(0, digest_of(side.run.first)) for side in (a, b)]
        if first[0] != first[1]:
            return self._at_start()
        if a.digests is not None and b.digests is not None:
            return self._of_records(a.digests, b.digests)
        if a.digests is not None or b.digests is not None:
            return self._of_one_record(a if a.digests is not None else b)
        assert a.live is not None
        assert b.live is not None
        last = min(a.run.steps, b.run.steps)
        parted = galloped(a.live, b.live, a.run.first, 0, last, self._looks)
        return parted and self._at(parted)

    def _of_records(self, of_a: Mapping[int, str], of_b: Mapping[int, str]) -> Difference | None:
        common = sorted(of_a.keys() & of_b.keys())
        end = next((step for step in common if of_a[step] != of_b[step]), None)
        equal = [step for step in common if end is None or step < end]
        start = equal[-1] if equal else 0
        a, b = self._a, self._b
        if a.live is not None and b.live is not None and a.live.backend is not b.live.backend:
            # What is kept beside parameters, and losses, have no digests.
            found = parted_within(a.live, b.live, a.run.first, 0, start, self._looks)
            if isinstance(found, Parted):
                return self._at(found)
        if end is None:
            return self._of_ends(start)
        for side, digests in ((a, of_a), (b, of_b)):
            if side.live is None:
                continue
            self._looks.count += 1
            moved = side.live.advance(side.run.first, 0, start)
            if digest_of(moved.state) == digests.get(start, digest_of(side.run.first)):
                return self._between(start, end, moved.state)
        return self._interval(start, end, "neither side repeats its record here")

    def _of_one_record(self, recorded: Chosen) -> Difference | None:
        other = self._b if recorded is self._a else self._a
        digests = recorded.digests
        assert digests is not None
        assert recorded.record is not None
        assert other.live is not None
        last = int(recorded.record.outcome["last_step"])
        start, state, end = followed(other.live, digests, last, self._looks)
        return None if end is None else self._between(start, end, state)

    def _of_ends(self, last: int) -> Difference | None:
        """Of records whose digests agree: whether they end alike."""
        a, b = self._a.record, self._b.record
        assert a is not None
        assert b is not None
        ends = [int(record.outcome["last_step"]) for record in (a, b)]
        losses = [record.outcome["loss"] for record in (a, b)]
        earlier = (a, b)[ends.index(min(ends))]
        reason = earlier.outcome["stop_reason"]
        goes_on = ends[0] != ends[1] and reason not in ("max_steps", *ENDED)
        if not goes_on and (ends[0] != ends[1] or losses[0] == losses[1]):
            return None
        live = self._a.live, self._b.live
        if live[0] and live[1] and last == min(ends) and last > 0:
            self._looks.count += 1
            before = live[0].advance(self._a.run.first, 0, last - 1)
            there = tuple(side.advance(before.state, last - 1, last) for side in live if side)
            self._looks.count += 1
            found = self._at(Parted(last, before.state, there[0], there[1]))
            if found.operation is not None:
                return found
        texts = [f"{record.outcome['stop_reason']} after step {end}, loss {loss!r}"
                 for record, end, loss in zip((a, b), ends, losses, strict=True)]  # fmt: skip
        cause, words = self._by_options()
        text = f"all digests agree, and the runs end otherwise: {texts[0]}; {texts[1]}"
        return self._of_step(last, last, None, cause, f"{text}{'; ' if words else ''}{words}")

    def _between(self, start: int, end: int, state: State) -> Difference:
        """Of runs that agree after `start` and not after `end`."""
        sides: list[Side | None] = []
        self._looks.count += 1
        for side in (self._a, self._b):
            if side.live is None:
                sides.append(None)
                continue
            moved = side.live.advance(state, start, end)
            digests = side.digests
            repeats = digests is None or digests.get(end) in (None, digest_of(moved.state))
            sides.append(side.live if repeats else None)
        if sides[0] is not None and sides[1] is not None:
            found = parted_within(sides[0], sides[1], state, start, end, self._looks)
            if isinstance(found, Parted):
                return self._at(found)
            return self._of_step(
                end, start, None, "not repeatable", "repeated from the same state, both sides agree"
            )
        which = " and ".join(
            f"side {name} ({chosen.why_not or 'its record is not what it computes here'})"
            for name, chosen, side in zip("ab", (self._a, self._b), sides, strict=True)
            if side is None
        )
        return self._interval(start, end, f"not repeated here: {which}")

    def _at(self, parted: Parted) -> Difference:
        """The operation, the element and the cause, of a step."""
        a, b = self._a.live, self._b.live
        assert a is not None
        assert b is not None
        step, before = parted.step, parted.before
        of_a = told_of(a, step, before, parted.a, self._looks)
        likely = (way_of(of_a), of_a.base) if of_a.is_found and of_a.hypothesis else None
        of_b = told_of(b, step, before, parted.b, self._looks, likely)
        if likely is not None and of_b.run is likely[0]:
            of_a = of_a._replace(causes=(), words=())  # it is what b deviates from
        return self._compared(step, of_a, of_b)

    def _compared(self, step: int, of_a: Told, of_b: Told) -> Difference:
        for i, operation in enumerate(of_a.outcome.operations):
            for output in operation.outputs:
                ours, theirs = of_a.values[output], of_b.values[output]
                if same_bits(ours, theirs):
                    continue
                where = differing(ours, theirs)
                element = tuple(int(k) for k in np.unravel_index(np.argmax(where), where.shape))
                values = ours[element], theirs[element]
                exact = None
                if i > 0:
                    method = self._a.run.method
                    constants = constants_by_step(method.optimizer, method.lr, method.clip_norm)
                    inputs = [of_a.values[name] for name in operation.inputs]
                    exact = exact_value(operation, output, element, inputs, method, constants(step))
                causes, reason = self._why(operation.name, output, of_a, of_b)
                return Difference(
                    step=step,
                    after=step - 1,
                    operation=operation.name,
                    part=operation.part,
                    element=element,
                    values=(values[0].item(), values[1].item()),
                    bits=None if ours.dtype.kind == "i" else (_bits(values[0]), _bits(values[1])),
                    exact=exact,
                    errors=None if exact is None else errors_in_ulps(exact, values),  # type: ignore[arg-type]
                    cause=causes[0],
                    causes=causes,
                    reason=reason,
                    sides=self._names,
                    looks=self._looks.count,
                )
        return self._of_step(step, step - 1, None, "not repeatable", "a step differs now and then")

    def _why(
        self, operation: str, output: str, of_a: Told, of_b: Told
    ) -> tuple[tuple[str, ...], str]:
        causes: list[str] = []
        texts: list[str] = []
        for side, told in zip("ab", (of_a, of_b), strict=True):
            causes += [cause for cause in told.causes if cause not in causes]
            if told.causes:
                words = next((word for word in told.words if word), "nothing known explains it")
                texts.append(f"side {side} deviates: {words}")
        if operation.startswith("draw") and not causes:
            causes.append("other draws" if output == "rows" else "other data")
        cause, others = self._by_options()
        causes = causes or [cause]
        texts += [others] if others else []
        return tuple(causes), "; ".join(texts)

    # --- what needs no step --------------------------------------------------------------------

    def _at_start(self) -> Difference:
        first = [side.run.first.params for side in (self._a, self._b)]
        given = any(side.run.digests["params"] for side in (self._a, self._b))
        cause, words = self._by_options()
        if "seed" in self._others:
            cause = "other draws"
        elif given:
            cause = "other data"
        for layer, (ours, theirs) in enumerate(zip(*first, strict=True)):
            for array, u, v in zip("wb", ours, theirs, strict=True):
                if same_bits(u, v):
                    continue
                where = differing(u, v)
                element = tuple(int(k) for k in np.unravel_index(np.argmax(where), where.shape))
                pair = u[element], v[element]
                return replace(
                    self._of_step(0, 0, "first parameters", cause, words),
                    part=f"{array} of layer {layer}",
                    element=element,
                    values=(pair[0].item(), pair[1].item()),
                    bits=(_bits(pair[0]), _bits(pair[1])),
                )
        return self._of_step(0, 0, "first parameters", cause, words)

    def _interval(self, start: int, end: int, why: str) -> Difference:
        cause, words = self._by_options()
        reason = "; ".join(text for text in (words, why) if text)
        operation = f"draw of step {end}" if cause in ("other data", "other draws") else None
        return self._of_step(end, start, operation, cause, reason)

    def _by_options(self) -> tuple[str, str]:
        """The cause that options and data tell, if they do, and what differs."""
        others = self._others
        words = "; ".join(f"{name} {a} / {b}" for name, (a, b) in others.items())
        if {"x", "t", "sample_weight", "params"} & others.keys():
            return "other data", words
        if {"seed", "sampling", "batch_size"} & others.keys():
            return "other draws", words
        if set(_OPTIONS) & others.keys():
            return "other options", words
        names = others.get("arithmetic", ("", ""))
        if names == ("fused", "ordered"):
            return "products not fused into sums", words
        if "fused" in names:
            return "products fused into sums", words
        is_reordered = "native" in names or "rows_per_block" in others
        return "sums in another order" if is_reordered else UNKNOWN, words

    @property
    def _names(self) -> tuple[str, str]:
        return self._a.name, self._b.name

    def _of_step(
        self, step: int, after: int, operation: str | None, cause: str, reason: str
    ) -> Difference:
        return Difference(
            step, after, operation, "", None, None, None, None, None, cause, (cause,), reason,
            self._names, self._looks.count,
        )  # fmt: skip


def _shapes(run: Run) -> Any:
    return [(w.shape, w.dtype.name) for w, _ in run.params]


def _bits(value: Any) -> str:
    digits = value.dtype.itemsize * 2
    return f"{int(value.view(f'u{value.dtype.itemsize}')):0{digits}x}"


def _other_options(a: Chosen, b: Chosen) -> dict[str, tuple[str, str]]:
    """The options and data that bits of steps depend on and that are not the same."""
    pairs: dict[str, tuple[Any, Any]] = {}
    for name in ("x", "t", "sample_weight", "params"):
        pairs[name] = _fingerprint(a, name), _fingerprint(b, name)
    first, second = a.run, b.run
    pairs["hidden"] = _hidden(first), _hidden(second)
    pairs["dtype"] = first.dtype, second.dtype
    for name in _OPTIONS[2:]:
        pairs[name] = getattr(first.method, name), getattr(second.method, name)
    for name in ("batch_size", "sampling", "seed"):
        pairs[name] = getattr(first.plan, name), getattr(second.plan, name)
    pairs["arithmetic"] = _arithmetic(a), _arithmetic(b)
    if None in pairs["arithmetic"]:
        del pairs["arithmetic"]
    pairs["rows_per_block"] = _rows_per_block(a), _rows_per_block(b)
    if a.record is not None and b.record is not None:
        for part in ("versions", "machine"):
            ours, theirs = a.record.made_with[part], b.record.made_with[part]
            for name in ours:
                pairs[name] = ours[name], theirs.get(name, "none")
    found = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return {name: (str(pair[0]), str(pair[1])) for name, pair in found.items()}


def _hidden(run: Run) -> list[int]:
    return [w.shape[1] for w, _ in run.params[:-1]]


def _arithmetic(side: Chosen) -> str | None:
    if side.record is not None:
        return str(side.record.options["arithmetic"])
    return None if side.live is None else side.live.arithmetic


def _rows_per_block(side: Chosen) -> int | None:
    return side.run.rows_per_block if side.live is None else rows_of(side.live)


def _fingerprint(side: Chosen, name: str) -> str | None:
    if side.record is None:
        found = side.run.digests[name]
    else:
        entry = side.record.data.get(name)
        found = None if entry is None else entry["digest"]
    return None if found is None else f"of digest {found[:16]}"
