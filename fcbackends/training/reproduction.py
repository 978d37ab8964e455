"""A recorded run repeated, and held against its record as it goes."""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fcbackends import agreement
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Plan
from fcbackends.checks import options
from fcbackends.errors import ArgumentError, DivergenceError, shown
from fcbackends.maths.network import Params
from fcbackends.training.asked import Asked, compare, in_json
from fcbackends.training.looks import Callback, Looks
from fcbackends.training.records import ARRAYS, ENDED, TAKEN, Record, read
from fcbackends.training.results import TrainResult
from fcbackends.training.runs import train

_GIVEN = ("x", "t", "sample_weight", "validation", "params", "callback", "backend")


@dataclass(frozen=True)
class Reproduction:
    """How a recorded run came out when it was repeated.

    Attributes
    ----------
    equal : bool
        Whether all is as in the record: the digests of the parameters at each step that it has
        one of, the last step, the stop reason, the best step, the loss and the final digest.
    steps : int
        The last step that was taken here.
    first_difference : tuple of int, or None
        (a, b): the runs part after step a, at or before step b, as far as the record's digests
        tell; (0, 0) where their first parameters differ already. None where all parameters that
        were compared are equal.
    reason : str
        What differs, in words; of an equal run, what its bits do not promise, or nothing.
    result : TrainResult or None
        The run's result; None where it was left at a difference.
    """

    equal: bool
    steps: int
    first_difference: tuple[int, int] | None
    reason: str
    result: TrainResult | None = field(repr=False)


def reproduce(
    record: str | os.PathLike[str],
    x: Any,
    t: Any,
    *,
    sample_weight: Any = None,
    validation: tuple[Any, Any] | None = None,
    params: Any = None,
    callback: Callback | None = None,
    backend: str | Backend | None = None,
) -> Reproduction:
    """Repeat a run of `train` from its record and compare the bits step by step.

    All options are the record's. The run is left at the first digest that differs; one that was
    ended by Ctrl-C or a time limit is repeated up to its last step.

    Parameters
    ----------
    record : str or path
        A file that `train` wrote, to `record`.
    x, t : array (N, K) and (N, M) or (N,)
        The data of the run.
    sample_weight, validation, params, callback
        As the run had them, and only where it had them; a share of the rows for `validation` is
        the record's.
    backend : str, Backend or None
        What computes; by default the backend of the record's name.

    Returns
    -------
    Reproduction

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where the file is no record, damaged, or of another version of the contract; where an array
        is not the record's, which is named; or where what the run had is missing. No step has then
        been taken.

    Examples
    --------
    >>> import tempfile
    >>> import fcbackends as fcb
    >>> x, t = [[1.0], [2.0]], [[3.0], [5.0]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = fcb.train(x, t, lr=0.1, max_steps=2000, record=f"{folder}/run.json")
    ...     again = fcb.reproduce(f"{folder}/run.json", x, t, backend="numpy")
    >>> again
    Reproduction(equal=True, steps=2000, first_difference=None, reason='')
    >>> fcb.digest(again.result.params) == fcb.digest(result.params)
    True
    """
    kept = read(options.path("record", record), "record")
    if kept.command is not None:
        required = "be of a call of `train`: `fcbackends reproduce` repeats a command"
        raise ArgumentError("record", required, f"{kept.name!r}, of a command")
    given: dict[str, Any] = dict(sample_weight=sample_weight, params=params, validation=validation)
    has = {
        "sample_weight": kept.data.get("sample_weight") is not None,
        "params": kept.data.get("params") is not None,
        "validation": kept.options["validation"] == "(x, t)",
        "callback": kept.options["callback"],
    }
    for name, value in {**given, "callback": callback}.items():
        if has[name] != (value is not None):
            required = f"be {'given' if has[name] else 'left out'}, as in the record {kept.name!r}"
            raise ArgumentError(name, required, "nothing" if value is None else shown(value))
    if not has["validation"]:
        given["validation"] = kept.options["validation"]
    own: dict[str, Any] = {name: kept.options[name] for name in TAKEN}
    try:
        return repeated(
            kept,
            lambda repetition: train(
                x,
                t,
                **given,
                **own,
                lr=kept.lr,
                optimizer=kept.optimizer,
                classes=_classes(kept),
                callback=callback,
                backend=kept.backend if backend is None else backend,
                record=repetition,
            ),
        )
    except ArgumentError as error:
        # What the caller did not give is the record's.
        mine = {name for name in error.arguments if name.partition("[")[0] in _GIVEN}
        names = {name: f"record: {name}" for name in error.arguments if name not in mine}
        raise error.renamed(names) from None


def _classes(record: Record) -> int | None:
    """How many there are, of a record whose shape of t may be anything."""
    shape = record.data["t"]["shape"]
    return shape[-1] if shape and record.options["loss"] == "cross_entropy" else None


def repeated(
    record: Record, run: Callable[[Any], TrainResult], beside: Mapping[str, Any] = {}
) -> Reproduction:
    """What comes of a run that is given a repetition of the record to look on.

    `beside` are options of the caller's own.
    """
    repetition = Repetition(record, beside)
    try:
        result = run(repetition)
    except _Parted as parted:
        return repetition.outcome(False, parted.where, parted.reason)
    except DivergenceError as error:
        return repetition.outcome(False, (repetition.agreed, error.step), error.what)
    reason = repetition.difference(result)
    return repetition.outcome(not reason, None, reason, result)


class _Parted(Exception):  # noqa: N818
    """The parameters are no longer the record's."""

    def __init__(self, where: tuple[int, int], reason: str) -> None:
        super().__init__(where, reason)
        self.where, self.reason = where, reason


class Repetition:
    """What looks on at a run that is to be the one of a record."""

    def __init__(self, record: Record, beside: Mapping[str, Any]) -> None:
        self._record, self._beside = record, beside
        self._steps = [step for step, _ in record.digests]
        self._digests = dict(record.digests)
        self._backend: Backend | None = None
        self._result: TrainResult | None = None
        self.step = self.agreed = 0

    @property
    def backend(self) -> Backend:
        """What computes, once the run has begun."""
        assert self._backend is not None
        return self._backend

    def begin(self, asked: Asked, backend: Backend, plan: Plan, looks: Looks | None) -> int:
        """Refuse what is not the record's; where the run is to end, a step late at the most."""
        record, what = self._record, f"the record {self._record.name!r}"
        kept = record.kept
        asked = in_json(asked, self._beside)
        for name in ARRAYS:
            _compare_arrays(name, what, record.data.get(name), asked)
        compare(what, kept, asked.options)
        self._backend = backend
        last = self._last
        if record.outcome["stop_reason"] not in ENDED:
            return min(last + 1, asked.form.steps)
        if looks:
            looks.until = record.outcome["last_look"] or 0
        return last

    @property
    def _last(self) -> int:
        return int(self._record.outcome["last_step"])

    def next_after(self, step: int) -> int:
        """The next step that the record has a digest of, or the first beyond."""
        place = bisect.bisect_right(self._steps, step)
        return self._steps[place] if place < len(self._steps) else self._last + 1

    def take(self, step: int, params: Params) -> None:
        """Compare the parameters with the record's, if it has any of this step."""
        self.step = step
        if step > self._last:
            why = self._record.outcome["stop_reason"]
            reason = f"it goes on after step {self._last}, where the record's run ended ({why})"
            raise _Parted((self._last, step), reason)
        if step not in self._digests:
            return
        if agreement.digest(params) != self._digests[step]:
            where = self.agreed, step
            reason = f"the parameters differ after step {step}, and not after step {self.agreed}"
            if step == 0:
                reason = "the first parameters differ"
            raise _Parted(where, reason)
        self.agreed = step

    def end(self, result: TrainResult) -> None:
        """Nothing is written."""

    def difference(self, result: TrainResult) -> str:
        """What a whole run has otherwise than the record; nothing, where it has nothing so."""
        outcome, here = self._record.outcome, result
        ended = outcome["stop_reason"] in ENDED
        if self.step != self._last:
            return (
                f"it ends after step {self.step} ({here.stop_reason}), and the record's run after "
                f"step {self._last} ({outcome['stop_reason']})"
            )
        before = outcome["stop_reason"]
        if not ended and here.stop_reason != before:
            return f"it ends for {here.stop_reason!r}, and the record's run for {before!r}"
        for name in ("steps", "best_step"):
            if getattr(here, name) != outcome[name]:
                return f"{name} is {getattr(here, name)}, and {outcome[name]} in the record"
        if agreement.digest(here.params) != outcome["digest"]:
            return "the final parameters differ"
        if outcome["loss"] not in (None, here.loss):
            return f"the loss is {here.loss!r}, and {outcome['loss']!r} in the record"
        return ""

    def outcome(
        self,
        equal: bool,
        where: tuple[int, int] | None,
        reason: str,
        result: TrainResult | None = None,
    ) -> Reproduction:
        """The reproduction, with what the backend's bits do not promise."""
        if self.backend.arithmetic == "native":
            of_native = "native arithmetic promises no bits, of other libraries, versions and CPUs"
            reason = f"{reason}; {of_native}" if reason else of_native
        elif not equal and self.backend.conformance.letter != "A":
            letter, why = self.backend.conformance
            reason = f"{reason}; backend {self.backend.name!r} is of class {letter}: {why}"
        return Reproduction(equal, self.step, where, reason, result)


def _compare_arrays(name: str, what: str, kept: Mapping[str, Any] | None, asked: Asked) -> None:
    """Refuse an array that is not the record's."""
    digest = asked.options.get(name)
    if digest == (kept and kept["digest"]):
        return
    here = digest and {**asked.options, "shape": asked.shapes[name], "digest": digest}
    before, came = (
        "of {shape}, {dtype}, digest {digest:.16}".format(**one) if one else "that is not there"
        for one in (kept, here)
    )
    raise ArgumentError(name, f"be as in {what}: {name} {before}", f"{name} {came}")
