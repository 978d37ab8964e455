"""`first_difference`: two sides in, what is told of them out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import get_backend, list_backends
from fcbackends.checks import options
from fcbackends.differences.difference import Difference
from fcbackends.differences.exact import errors_in_ulps, exact_value
from fcbackends.differences.explaining import UNKNOWN, Told, told_of
from fcbackends.differences.narrowing import (
    Looks,
    Parted,
    digest_of,
    followed,
    galloped,
    parted_within,
)
from fcbackends.differences.operations import differing, same_bits
from fcbackends.differences.runs import Run, recorded_run, run_of
from fcbackends.differences.sides import BackendSide, FunctionSide, Side, same
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown
from fcbackends.maths.arithmetic import ARITHMETICS
from fcbackends.maths.network import State
from fcbackends.maths.optimizers import constants_by_step
from fcbackends.training.records import Record, read


def first_difference(
    a: Any,
    b: Any,
    x: Any,
    t: Any,
    *,
    other_data: tuple[Any, Any] | None = None,
    backends: tuple[Any, Any] = (None, None),
    **given: Any,
) -> Difference | None:
    """Find the first step at which two runs part, and there the operation, the element, the cause.

    Parameters
    ----------
    a, b : str, path, Backend or callable
        The two sides, each

        - a record that `train` wrote, by the name of its file;
        - a backend: a `Backend`, or a name as "numba" or, with its arithmetic, "numba:fused";
        - a function `step(params, x, t)` or `step(params, x, t, number)` that takes one step of
          plain SGD on the batch x (N, K), t (N, M), in NumPy's arrays, and returns the new
          parameters ((w, b), ...), in any library's, or a tuple of these and the batch's loss.
    x, t : array (N, K) and (N, M) or (N,)
        The data of the runs.
    other_data : (x, t), optional
        The data of `b`, where it is a record of other data than `a`.
    backends : (str or Backend or None, str or Backend or None)
        What repeats a record of side a, and of side b; by default the backend of its name.
    **given
        Without a record, the options of the run, by the names of `train`'s arguments: `hidden`,
        `params`, `activation`, `loss`, `classes`, `sample_weight`, `optimizer`, `lr`, `clip_norm`,
        `batch_size`, `max_steps`, `sampling`, `seed`, `dtype`, `validation`. With one, they are the
        record's, and here is what the run had of `sample_weight`, `params` and `validation`.

    Returns
    -------
    Difference or None
        None where nothing differs.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above, a record is damaged, or the data are not the
        record's.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> x, t = np.random.default_rng(0).random((2, 50, 3))
    >>> found = fcb.first_difference("numba", "numba:fused", x, t, lr=0.1, max_steps=100)
    >>> found.step, found.operation, found.element, found.cause
    (1, 'forward of layer 0', (0, 1), 'products fused into sums')
    """
    records = [_record_of("a", a), _record_of("b", b)]
    chosen = _pair("backends", backends)
    data = [(x, t), (x, t) if other_data is None else _pair("other_data", other_data)]
    if any(records):
        record = next(record for record in records if record)
        runs = [
            recorded_run(records[i] or record, *data[i], given) for i in range(2)
        ]
    else:
        runs = [run_of(*data[i], given) for i in range(2)]
    looks = Looks(max(run.steps for run in runs))
    sides = [
        _side("ab"[i], (a, b)[i], runs[i], records[i], chosen[i]) for i in range(2)
    ]
    return _Comparison(sides[0], sides[1], looks).difference()


class _Chosen(NamedTuple):
    """A side, and what its record says."""

    name: str
    run: Run
    record: Record | None
    live: Side | None
    why_not: str

    @property
    def digests(self) -> Mapping[int, str] | None:
        return None if self.record is None else dict(self.record.digests)


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ArgumentTypeError(name, "be a pair", shown(value))
    return value[0], value[1]


def _record_of(argument: str, side: Any) -> Record | None:
    if callable(side) or isinstance(side, Backend) or _is_backend_name(side):
        return None
    if not isinstance(side, str | os.PathLike):
        required = "be the file of a record, a backend or its name, or a function"
        raise ArgumentTypeError(argument, required, shown(side))
    return read(options.path(argument, side), argument)


def _is_backend_name(side: Any) -> bool:
    return isinstance(side, str) and side.partition(":")[0] in list_backends() and (
        not Path(side).is_file()
    )


def _side(argument: str, side: Any, run: Run, record: Record | None, chosen: Any) -> _Chosen:
    if record is not None:
        name = f"record {record.name!r} of {record.backend}, {record.options['arithmetic']}"
        try:
            backend = get_backend(
                record.backend if chosen is None else chosen,
                arithmetic=None if isinstance(chosen, Backend) else record.options["arithmetic"],
            )
        except ArgumentError as error:
            if chosen is not None:
                raise error.renamed({"backend": "backends"}) from None
            return _Chosen(name, run, record, None, f"{record.backend} is not available here")
        return _Chosen(name, run, record, BackendSide(name, run, backend), "")
    if isinstance(side, Backend) or isinstance(side, str):
        backend = side
        if isinstance(side, str):
            known, _, arithmetic = side.partition(":")
            if arithmetic:
                options.choice("arithmetic", arithmetic, ARITHMETICS)
            backend = get_backend(known, arithmetic=arithmetic or "ordered")
        name = f"{backend.name}, {backend.arithmetic}"
        return _Chosen(name, run, None, BackendSide(name, run, backend), "")
    name = f"function {getattr(side, '__name__', type(side).__name__)}"
    return _Chosen(name, run, None, FunctionSide(name, run, side, argument), "")


class _Comparison:
    """Two sides, and what is found of them."""

    def __init__(self, a: _Chosen, b: _Chosen, looks: Looks) -> None:
        self._a, self._b, self._looks = a, b, looks
        self._others = _other_options(a, b)

    def difference(self) -> Difference | None:
        """What parts the two, if anything does."""
        a, b = self._a, self._b
        if _shapes(a.run) != _shapes(b.run):
            return self._of_step(0, 0, "first parameters", *self._by_options())
        first = [
            (side.digests or {}).get(0, digest_of(side.run.first)) for side in (a, b)
        ]
        if first[0] != first[1]:
            return self._at_start()
        if a.digests is not None and b.digests is not None:
            return self._of_records(a.digests, b.digests)
        if a.digests is not None or b.digests is not None:
            return self._of_one_record(a if a.digests is not None else b)
        assert a.live and b.live
        last = min(a.run.steps, b.run.steps)
        parted = galloped(a.live, b.live, a.run.first, 0, last, self._looks)
        return parted and self._at(parted)

    def _of_records(
        self, of_a: Mapping[int, str], of_b: Mapping[int, str]
    ) -> Difference | None:
        common = sorted(of_a.keys() & of_b.keys())
        end = next((step for step in common if of_a[step] != of_b[step]), None)
        equal = [step for step in common if end is None or step < end]
        start = equal[-1] if equal else 0
        if end is None:
            return self._of_ends(start)
        for side, digests in ((self._a, of_a), (self._b, of_b)):
            if side.live is None:
                continue
            self._looks.count += 1
            moved = side.live.advance(side.run.first, 0, start)
            if digest_of(moved.state) == digests.get(start, digest_of(side.run.first)):
                return self._between(start, end, moved.state)
        return self._interval(start, end, "neither side repeats its record here")

    def _of_one_record(self, recorded: _Chosen) -> Difference | None:
        other = self._b if recorded is self._a else self._a
        digests = recorded.digests
        assert digests is not None and recorded.record is not None and other.live is not None
        last = int(recorded.record.outcome["last_step"])
        start, state, end = followed(other.live, digests, last, self._looks)
        return None if end is None else self._between(start, end, state)

    def _of_ends(self, last: int) -> Difference | None:
        """Of records whose digests agree: whether they end alike."""
        a, b = self._a.record, self._b.record
        assert a is not None and b is not None
        ends = [int(record.outcome["last_step"]) for record in (a, b)]
        losses = [record.outcome["loss"] for record in (a, b)]
        earlier = (a, b)[ends.index(min(ends))]
        reason = earlier.outcome["stop_reason"]
        goes_on = ends[0] != ends[1] and reason not in ("max_steps", "interrupted", "time_limit")
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
        sides = []
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
        assert a is not None and b is not None
        step, before = parted.step, parted.before
        if same(parted.a, parted.b) and parted.a.losses is None:
            return self._of_step(step, step - 1, None, "not repeatable", "")
        of_a = told_of(a, step, before, parted.a, self._looks)
        likely = of_a.run if of_a.hypothesis is None and of_a.is_found else None
        of_b = told_of(b, step, before, parted.b, self._looks, likely)
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
                    exact = exact_value(
                        operation, output, element, inputs, method, constants(step)
                    )
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
            if told.causes:
                causes += [cause for cause in told.causes if cause not in causes]
                words = [word for word in told.words if word]
                texts.append(f"side {side} deviates" + (f": {words[0]}" if words else ""))
        if operation.startswith("draw") and not causes:
            causes.append("other draws" if output == "rows" else "other data")
        if not causes or self._others:
            cause, words = self._by_options()
            if not causes:
                causes.append(cause)
            if words:
                texts.append(words)
        return tuple(causes), "; ".join(texts)

    # --- what needs no step --------------------------------------------------------------------

    def _at_start(self) -> Difference:
        first = [side.run.first.params for side in (self._a, self._b)]
        given = any(side.run.digests["params"] for side in (self._a, self._b))
        cause, words = self._by_options()
        if given:
            cause = "other data"
        elif "seed" in self._others:
            cause = "other draws"
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
        if not others:
            return UNKNOWN, ""
        if {"x", "t", "sample_weight", "params"} & others.keys():
            return "other data", words
        if {"seed", "sampling", "batch_size"} & others.keys():
            return "other draws", words
        if set(others) == {"arithmetic"}:
            names = others["arithmetic"]
            if names == ("fused", "ordered"):
                return "products not fused into sums", words
            if "fused" in names:
                return "products fused into sums", words
            return "sums in another order", words
        return "other options", words

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


def _other_options(a: _Chosen, b: _Chosen) -> dict[str, tuple[str, str]]:
    """The options and data that bits of steps depend on and that are not the same."""
    pairs: dict[str, tuple[Any, Any]] = {}
    for name in ("x", "t", "sample_weight", "params"):
        pairs[name] = _fingerprint(a, name), _fingerprint(b, name)
    first, second = a.run, b.run
    pairs["hidden"] = tuple([w.shape[1] for w, _ in run.params[:-1]] for run in (first, second))  # type: ignore[assignment]
    pairs["dtype"] = first.dtype, second.dtype
    for name in ("activation", "loss", "optimizer", "lr", "clip_norm"):
        pairs[name] = getattr(first.method, name), getattr(second.method, name)
    for name in ("batch_size", "sampling", "seed"):
        pairs[name] = getattr(first.plan, name), getattr(second.plan, name)
    pairs["arithmetic"] = a.live and a.live.arithmetic, b.live and b.live.arithmetic
    for one, other in ((a, 0), (b, 1)):
        if one.record is not None:
            known = list(pairs["arithmetic"])
            known[other] = one.record.options["arithmetic"]
            pairs["arithmetic"] = known[0], known[1]
    if None in pairs["arithmetic"]:
        del pairs["arithmetic"]
    if a.record is not None and b.record is not None:
        for part in ("versions", "machine"):
            ours, theirs = a.record.made_with[part], b.record.made_with[part]
            for name in ours:
                pairs[name] = ours[name], theirs.get(name, "none")
    found = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return {name: (str(pair[0]), str(pair[1])) for name, pair in found.items()}


def _fingerprint(side: _Chosen, name: str) -> str | None:
    if side.record is None:
        found = side.run.digests[name]
    else:
        entry = side.record.data.get(name)
        found = None if entry is None else entry["digest"]
    return None if found is None else f"of digest {found[:16]}"
