"""Where runs stand, as arrays beside JSON, and back again with every part checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends import arrays
from fcbackends.checks import options
from fcbackends.maths.network import Params, State, is_finite
from fcbackends.maths.optimizers import UPDATES
from fcbackends.training.history import History
from fcbackends.training.keeping import Standing
from fcbackends.training.looks import Best, Seen

_REASONS = ("", "tolerance", "max_steps", "patience", "callback")

_Tensors = Mapping[str, NDArray[Any]]


class Form(NamedTuple):
    """The shape of what the runs of one call hold.

    Attributes
    ----------
    sizes : sequence of int
        The layers' sizes, inputs first.
    dtype : str
        Of all parameters.
    update : str
        A name in the table of updates.
    first, steps : int
        Steps that come before the runs, and how many they take at the most.
    is_looked_at : bool
        Whether there is a validation or a callback.
    watches_data : bool
        Whether it is the whole data's loss that is recorded.
    record_every : sequence of int
        For each run: the steps between two entries of its history.
    """

    sizes: Sequence[int]
    dtype: str
    update: str
    first: int
    steps: int
    is_looked_at: bool
    watches_data: bool
    record_every: Sequence[int]


def _named(params: Params, prefix: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for layer, (w, b) in enumerate(params):
        yield f"{prefix}layer{layer}.w", arrays.as_numpy(w)
        yield f"{prefix}layer{layer}.b", arrays.as_numpy(b)


def named(state: State, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a state by the names that files have for them."""
    yield from _named(state.params, prefix)
    for number, slot in enumerate(state.slots):
        yield from _named(slot, f"{prefix}slot{number}.")


def described(standing: Standing, prefix: str, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """What JSON says of a run; its arrays go into `tensors`."""
    tensors.update(named(standing.state, prefix))
    tensors[f"{prefix}losses"] = standing.losses
    about: dict[str, Any] = {
        "step": standing.step,
        "loss": standing.loss,
        "stop_reason": standing.stop_reason,
    }
    if standing.seen is None:
        return about
    best, history = standing.seen
    for name in ("steps", "losses", "validation_losses"):
        tensors[f"{prefix}seen.{name}"] = getattr(history, name)
    for number, values in enumerate(history.metrics.values()):
        tensors[f"{prefix}seen.metric{number}"] = values
    about["seen"] = {"metrics": list(history.metrics)}
    if best is not None:
        about["seen"]["best"] = [*best[:4], best.state is not None]
        if best.state is not None:
            tensors.update(named(best.state, f"{prefix}best."))
    return about


def standing_of(
    about: Mapping[str, Any],
    prefix: str,
    tensors: _Tensors,
    form: Form,
    record_every: int,
    own: Callable[[Params], Params],
) -> Standing:
    """A run as a file has it; any exception, where it can be none of this call's."""
    first, last = form.first, form.first + form.steps
    step = options.integer("step", about["step"], first, last)
    losses = _vector(tensors[f"{prefix}losses"], "float64")
    due = step // record_every - first // record_every
    # Where the run had to end while the whole data's was computed, it is computed again.
    may_lack = form.watches_data and step % record_every == 0
    if len(losses) not in (due, due - may_lack):
        raise ValueError(f"{len(losses)} losses after step {step}")
    reason = about["stop_reason"]
    if reason not in _REASONS:
        raise ValueError(f"stopped for {reason!r}")
    if ("seen" in about) != form.is_looked_at:
        raise ValueError("looks at a run that has none")
    seen = None
    if "seen" in about:
        seen = _seen(about["seen"], f"{prefix}seen.", f"{prefix}best.", tensors, form, own, step)
    return Standing(
        step, _state(tensors, prefix, form, own), float(about["loss"]), losses,
        reason, seen,
    )  # fmt: skip


def _seen(
    about: Mapping[str, Any],
    prefix: str,
    best_prefix: str,
    tensors: _Tensors,
    form: Form,
    own: Callable[[Params], Params],
    last: int,
) -> Seen:
    steps = _vector(tensors[f"{prefix}steps"], "int64")
    losses, validated = (
        _vector(tensors[f"{prefix}{name}"], "float64") for name in ("losses", "validation_losses")
    )
    metrics = {
        str(name): _vector(tensors[f"{prefix}metric{number}"], "float64")
        for number, name in enumerate(about["metrics"])
    }
    ascends = (np.diff(steps) > 0).all() and (steps > form.first).all() and (steps <= last).all()
    lengths = {len(steps), len(losses), len(validated) or len(steps), *map(len, metrics.values())}
    if not ascends or len(lengths) > 1:
        raise ValueError(f"looks of lengths {sorted(lengths)}")
    best = None
    if "best" in about:
        number, step, loss, validation_loss, is_kept = about["best"]
        number = options.integer("number", number, 1, len(steps))
        if step != steps[number - 1]:
            raise ValueError(f"a best step of {step!r}")
        state = _state(tensors, best_prefix, form, own) if is_kept else None
        best = Best(number, int(step), float(loss), float(validation_loss), state)
    return Seen(best, History(steps, losses, validated, np.empty(0), metrics))


def _state(tensors: _Tensors, prefix: str, form: Form, own: Callable[[Params], Params]) -> State:
    slots = range(UPDATES[form.update].slots)
    params, *kept = (
        own(_pairs(tensors, f"{prefix}{part}", form))
        for part in ("", *(f"slot{number}." for number in slots))
    )
    if not is_finite(arrays.namespace_of(params[0][0]), params):
        raise ValueError("parameters that are not finite")
    return State(params, tuple(kept))


def _pairs(tensors: _Tensors, prefix: str, form: Form) -> Params:
    found = []
    for layer, shape in enumerate(zip(form.sizes, form.sizes[1:], strict=False)):
        w, b = tensors[f"{prefix}layer{layer}.w"], tensors[f"{prefix}layer{layer}.b"]
        forms = [(w.dtype.name, w.shape), (b.dtype.name, b.shape)]
        if forms != [(form.dtype, shape), (form.dtype, shape[1:])]:
            raise ValueError(f"arrays {forms} of layer {layer}")
        found.append((w, b))
    return tuple(found)


def _vector(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    if array.ndim != 1 or array.dtype.name != dtype:
        raise ValueError(f"an array {array.shape} of {array.dtype}")
    return array
