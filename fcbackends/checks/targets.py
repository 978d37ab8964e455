"""What a network is to give: targets as a loss takes them, and the weights of samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fcbackends import arrays
from fcbackends.arrays import DTYPES, dtype_of
from fcbackends.backends.backend import Backend
from fcbackends.checks import data, options
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.losses import LOSSES

_MOST_FOUND = 2**16
"""So many classes are taken from the largest index: more are more likely no classes."""

_MOST_CLASSES = 2**31 - 1
"""No machine has memory for as many outputs."""

_MOST_OFF = 1e-4
"""A sum of probabilities may be so far from 1: what float32 makes of some thousand of them."""


def as_batch(
    backend: Backend,
    t: Any,
    loss: str,
    *,
    outputs: int | None = None,
    classes: Any = None,
    name: str = "t",
) -> Any:
    """Targets of a batch as rows of numbers, of integers still or of floats.

    Of the classes 0, 1, ... that integers (N,) name, rows become 1 at their place and 0 elsewhere;
    there are as many as the network has `outputs`, or as `classes` says, or up to the largest.
    Other targets (N,) are those of one output.
    """
    count = outputs
    if classes is not None:
        if loss != "cross_entropy":
            raise ArgumentError("classes", "come with the loss 'cross_entropy'", f"{loss!r}")
        count = options.integer("classes", classes, 1)
        if count > _MOST_CLASSES:
            raise ArgumentError("classes", f"be at most {_MOST_CLASSES}", shown(classes))
        if outputs not in (None, count):
            required = f"be left out, or the {outputs} outputs of `params`"
            raise ArgumentError("classes", required, shown(classes))
    brought = _of_numbers if LOSSES[loss].probabilities else data.bring
    rows = brought(backend, name, t)
    if rows.ndim not in (1, 2):
        raise ArgumentError(name, "be of shape (N,) or (N, M)", f"shape {tuple(rows.shape)}")
    if rows.ndim == 1 and loss == "cross_entropy":
        return _at_places(rows, count, name)
    if loss == "cross_entropy" and count is not None and rows.shape[1:] != (count,):
        required = f"be class indices, integers (N,), or probabilities (N, {count})"
        raise ArgumentError(name, required, f"shape {tuple(rows.shape)}")
    return rows[:, None] if rows.ndim == 1 else rows


def of_samples(backend: Backend, t: Any, loss: str, outputs: int, *, single: bool) -> Array:
    """Probabilities as numbers: of one sample (M,), or of a batch (N, M); of classes, too."""
    rows = _of_numbers(backend, "t", t)
    if loss != "cross_entropy" or rows.ndim != (0 if single else 1):
        return rows
    places = _at_places(rows[None] if single else rows, outputs, "t")
    return places[0, ...] if single else places


def for_network(
    backend: Backend, like: Array, x: Any, t: Any, loss: str, outputs: int
) -> list[Array]:
    """A batch or a sample as a network takes it, of the dtype of `like` and on its device."""
    if LOSSES[loss].probabilities:
        (x,) = data.for_network(backend, like, x=x)
        t = of_samples(backend, t, loss, outputs, single=x.ndim == 1)
    return data.for_network(backend, like, x=x, t=t)


def _of_numbers(backend: Backend, name: str, t: Any) -> Array:
    """An array of NumPy's or the backend's, where what is true or false is 1 or 0."""
    plain = t
    if not arrays.is_foreign(t) and not isinstance(t, np.ma.MaskedArray):
        try:
            plain = np.asarray(t)
        except ValueError:
            plain = t
        if getattr(plain, "dtype", None) == np.bool_:
            return plain.astype(np.uint8)
    rows = data.bring(backend, name, plain)
    if dtype_of(rows) == "bool":
        xp = arrays.namespace_of(rows)
        return xp.astype(rows, xp.uint8)
    return rows


def _at_places(indices: Array, count: int | None, name: str) -> Array:
    xp, required = arrays.namespace_of(indices), "be class indices, integers (N,), or probabilities"
    if dtype_of(indices) in DTYPES:
        width = "M" if count is None else count
        raise ArgumentTypeError(name, f"{required} (N, {width})", f"dtype {dtype_of(indices)}")
    data.few_samples(name, indices)
    if indices.shape[0] == 0:
        return xp.reshape(indices, (0, count or 1))
    low, high = int(xp.min(indices)), int(xp.max(indices))
    if low < 0 or (count is not None and high >= count):
        limit = "0 on" if count is None else f"0 to {count - 1}"
        got = f"{low if low < 0 else high} among them"
        raise ArgumentError(name, f"{required}, with indices from {limit}", got)
    if count is None and high >= _MOST_FOUND:
        raise ArgumentError("classes", f"be given where `{name}` names so many", f"class {high}")
    places = arrays.beside(indices, np.arange(count or high + 1, dtype=np.int64))
    wide = xp.astype(indices, places.dtype, copy=False)
    return xp.astype(wide[:, None] == places[None, :], xp.int8)


def suit(t: Array, loss: str, name: str = "t") -> None:
    """Check the values of rows of targets, for the losses that are not for all numbers."""
    if loss == "cross_entropy":
        xp = arrays.namespace_of(t)
        with np.errstate(all="ignore"):
            off = xp.abs(xp.sum(t, axis=1) - 1)
        if not bool(xp.all((t >= 0) & (off[:, None] <= _MOST_OFF))):
            required = "be class indices, integers (N,), or probabilities whose rows sum to 1"
            raise ArgumentError(name, required, _first(t, (t < 0) | ~(off[:, None] <= _MOST_OFF)))
    elif loss == "binary_cross_entropy":
        xp = arrays.namespace_of(t)
        inside = (t >= 0) & (t <= 1)
        if not bool(xp.all(inside)):
            raise ArgumentError(name, "be from 0 to 1", _first(t, ~inside))


def limits(loss: str, outputs: int) -> tuple[float, float] | None:
    """The limits of one sample's first target, inside which `suit` has nothing against it.

    None where all numbers suit. Of several probabilities none says it of all.
    """
    if not LOSSES[loss].probabilities:
        return None
    return (0.0, 1.0) if loss == "binary_cross_entropy" and outputs == 1 else (math.inf, -math.inf)


def _first(t: Array, wrong: Array) -> str:
    """The first row of which something is wrong."""
    values, flags = arrays.as_numpy(t), arrays.as_numpy(wrong)
    row = int(np.argmax(flags.any(axis=1)))
    return f"{shown(values[row].tolist())} in row {row}"


def weighted(
    backend: Backend, t: Array, sample_weight: Any, *, of_one: bool = False, of_part: bool = False
) -> Array:
    """Rows of targets, each with the weight of its sample behind it.

    That `of_one` may be a number; those `of_part` of the samples may all be 0.
    """
    (weights,) = data.together(backend, dtype_of(t), beside={"t": t}, sample_weight=sample_weight)
    if of_one and weights.ndim == 0 and t.shape[0] == 1:
        weights = weights[None]
    required = f"be of shape ({t.shape[0]},), finite and >= 0, not all of it 0"
    if tuple(weights.shape) != (t.shape[0],):
        raise ArgumentError("sample_weight", required, f"shape {tuple(weights.shape)}")
    xp = arrays.namespace_of(t)
    sound = bool(xp.all(xp.isfinite(weights) & (weights >= 0)))
    if not sound or not (of_part or bool(xp.any(weights > 0))):
        values = arrays.as_numpy(weights)
        wrong = values[~(np.isfinite(values) & (values >= 0))]
        raise ArgumentError("sample_weight", required, f"{wrong[0]}" if wrong.size else "zeros")
    return xp.concat([t, weights[:, None]], axis=1)
