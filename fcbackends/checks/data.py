"""Arguments that are arrays: of which library, dtype, device and shape."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from fcbackends import arrays
from fcbackends.arrays import DTYPES, dtype_of
from fcbackends.backends.backend import Backend
from fcbackends.errors import ArgumentError, ArgumentTypeError, shown
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Params, is_finite
from fcbackends.maths.sampling import MAX_SAMPLES

_READY: dict[Any, str] = {np.dtype(name): name for name in DTYPES}
_HOLD_NUMBERS = "hold float64, float32 or integer values"
_NONE: Mapping[str, Any] = {}
_SEQUENCES = tuple, list


def together(
    backend: Backend,
    dtype: str | None = None,
    of_integers: str = "float64",
    beside: Mapping[str, Any] = _NONE,
    **named: Any,
) -> list[Array]:
    """The arguments as arrays of the backend's library, all of one real floating dtype.

    That is `dtype`, where given, and else the one floating dtype among them; integers are cast to
    it, or to `of_integers` where all are integers. They are all on one device, which is that of
    the arrays in `beside` as well.
    """
    if _are_ready(backend, dtype, named):
        return list(named.values())
    brought = {name: bring(backend, name, value) for name, value in named.items()}
    kinds = {name: dtype_of(array) for name, array in brought.items()}
    for name, kind in kinds.items():
        if kind not in DTYPES and not kind.startswith(("int", "uint")):
            raise ArgumentTypeError(name, _HOLD_NUMBERS, f"dtype {kind}")
    floats = {name: kind for name, kind in kinds.items() if kind in DTYPES}
    if len(set(floats.values())) > 1:
        raise ArgumentTypeError(tuple(floats), "be of one floating dtype", floats)
    target = dtype or next(iter(floats.values()), of_integers)
    device = arrays.common_device({**named, **beside}, backend.owns)
    for name, array in brought.items():
        if arrays.is_foreign(array):
            arrays.check_dense(name, array)

    def cast(array: Array, kind: str) -> Array:
        # NumPy calls arrays of the other byte order by the same name.
        native = getattr(array.dtype, "isnative", True)
        if kind == target and native and backend.owns(array):
            return array
        # What becomes infinite is refused, or shows in the result.
        with np.errstate(all="ignore"):
            return arrays.on_device(backend.asarray(array, target), device)

    return [cast(array, kinds[name]) for name, array in brought.items()]


def _are_ready(backend: Backend, dtype: str | None, named: Mapping[str, Any]) -> bool:
    """Whether all are NumPy's, of one native dtype, and the backend's own: nothing is to do."""
    kind = None
    # A loop, since a generator takes as long again as all the rest.
    for array in named.values():
        if type(array) is not np.ndarray:
            return False
        if array.dtype is not kind:
            if kind is not None:
                return False
            kind = array.dtype
    name = _READY.get(kind)
    return name is not None and (dtype is None or dtype == name) and backend.owns(array)


def fit_as_they_are(params: Any, x: Any, t: Any) -> bool:
    """Whether parameters and a batch or sample are sound and all NumPy's, of one native dtype.

    Where they are not, the functions below convert them, or say why not: they take 8 us of a step.
    """
    if type(params) is not tuple or type(x) is not np.ndarray or type(t) is not np.ndarray:
        return False
    kind, samples, size = x.dtype, x.shape[:-1], x.shape[-1] if x.ndim else 0
    if kind not in _READY or t.dtype is not kind or x.ndim not in (1, 2) or 0 in samples:
        return False
    for pair in params:
        if type(pair) is not tuple or len(pair) != 2:
            return False
        w, b = pair
        if type(w) is not np.ndarray or type(b) is not np.ndarray:
            return False
        if w.dtype is not kind or b.dtype is not kind or w.ndim != 2 or w.shape[0] != size:
            return False
        size = w.shape[1]
        if b.shape != (size,):
            return False
    return len(params) > 0 and t.shape == (*samples, size)


def bring(backend: Backend, name: str, value: Any) -> Array:
    """The value as an array of NumPy or the backend's library; one of another is refused."""
    if type(value) is np.ndarray and value.dtype.kind in "fiu":
        return value
    if arrays.is_foreign(value):
        # One without values may be on another device than the others, which is said of all.
        arrays.check_dense(name, value, with_values=False)
        if not backend.owns(value):
            required = f"be an array of backend {backend.name!r} or of NumPy"
            raise ArgumentTypeError(name, required, f"one of {arrays.library_of(value)}")
        if not all(isinstance(length, int) for length in value.shape):
            required = "be of known shape (Dask's compute_chunk_sizes() finds it)"
            raise ArgumentError(name, required, f"shape {tuple(value.shape)}")
        return backend.asarray(value)
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentTypeError(name, "be an array without a mask", "a masked array")
    try:
        plain = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(name, "be an array of numbers", shown(value)) from None
    if plain.dtype.kind not in "fiu":
        raise ArgumentTypeError(name, _HOLD_NUMBERS, f"dtype {plain.dtype}")
    return plain


def is_one_sample(name: str, array: Array, *, columns: int | None = None) -> bool:
    """Whether x, y, t or dy is one sample, (K,), and not a batch (N, K); refused otherwise."""
    shape = array.shape
    if len(shape) not in (1, 2) or (columns is not None and shape[-1] != columns):
        width = "K" if columns is None else str(columns)
        required = f"be of shape ({width},) for one sample or (N, {width})"
        raise ArgumentError(name, required, f"{tuple(shape)}")
    return len(shape) == 1


def as_batch(array: Array) -> Array:
    """One sample (K,) as a batch of one; a batch as it is."""
    return array[None, :] if array.ndim == 1 else array


def at_least_one_sample(name: str, array: Array) -> None:
    """Check that there is a sample: a mean over none is not defined."""
    if array.ndim == 2 and array.shape[0] == 0:
        raise ArgumentError(name, "be of at least one sample", f"shape {tuple(array.shape)}")


def same_samples(first: str, a: Array, second: str, b: Array) -> None:
    """Check that two arrays hold the same number of samples, or one sample both."""
    if a.ndim != b.ndim or (a.ndim == 2 and a.shape[0] != b.shape[0]):
        got = f"shapes {tuple(a.shape)} and {tuple(b.shape)}"
        raise ArgumentError((first, second), "hold the same samples", got)


def same_shape(first: str, a: Array, second: str, b: Array) -> None:
    """Check that two arrays are of one shape."""
    if tuple(a.shape) != tuple(b.shape):
        got = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ArgumentError((first, second), "be of the same shape", got)


def weights(w: Array, *, rows: int | None = None, name: str = "w") -> None:
    """Check w: (K, M), with one row for each input."""
    shape = w.shape
    if len(shape) != 2 or (rows is not None and shape[0] != rows):
        required = f"be of shape ({'K' if rows is None else rows}, M)"
        raise ArgumentError(name, required, f"{tuple(shape)}")


def bias(b: Array, *, outputs: int, name: str = "b") -> None:
    """Check b: (M,), with one value for each output."""
    if tuple(b.shape) != (outputs,):
        raise ArgumentError(name, f"be of shape ({outputs},)", f"{tuple(b.shape)}")


def training_data(
    backend: Backend, x: Any, t: Any, dtype: str, beside: Mapping[str, Any]
) -> tuple[Array, Array]:
    """X (N, K) and t (N, M), no length of them zero, cast to `dtype`."""
    x, t = together(backend, dtype, beside=beside, x=x, t=t)
    for name, array, width in (("x", x, "K"), ("t", t, "M")):
        if array.ndim != 2 or 0 in array.shape:
            required = f"be of shape (N, {width}) and not empty"
            raise ArgumentError(name, required, f"shape {tuple(array.shape)}")
    same_samples("x", x, "t", t)
    few_samples("x", x)
    return x, t


def few_samples(name: str, array: Array) -> None:
    """Check that there are no more samples than can be drawn: to read them could take for ever."""
    if array.shape[0] > MAX_SAMPLES:
        required = f"be of at most {MAX_SAMPLES} samples"
        raise ArgumentError(name, required, f"shape {tuple(array.shape)}")


def rows(backend: Backend, values: Any, x: Array) -> Array:
    """Rows of the data x that one network is trained on, as indices that stand beside it."""
    samples = x.shape[0]
    required = f"be a non-empty sequence of integers from 0 to {samples - 1} for each network"
    try:
        indices = arrays.as_numpy(values)
    except (TypeError, ValueError, RuntimeError):
        indices = np.empty(0)
    if not (indices.ndim == 1 and 0 < indices.size <= MAX_SAMPLES and indices.dtype.kind in "iu"):
        raise ArgumentError("rows", required, shown(values))
    if indices.min() < 0 or indices.max() >= samples:
        outside = indices[(indices < 0) | (indices >= samples)]
        raise ArgumentError("rows", required, f"{outside[0]} among them")
    device = arrays.common_device({"x": x}, backend.owns)
    return arrays.on_device(backend.asarray(indices.astype(np.int64)), device)


def leaves(values: Any) -> dict[str, Any]:
    """The arrays of well-formed parameters by name; whatever else there is, `params` refuses."""
    if not isinstance(values, _SEQUENCES):
        return {}
    if _are_pairs(values):
        return dict(zip(_names(len(values)), itertools.chain.from_iterable(values), strict=True))
    return {
        f"params[{layer}].{part}": value
        for layer, pair in enumerate(values)
        if isinstance(pair, _SEQUENCES)
        for part, value in zip("wb", pair, strict=False)
    }


@functools.lru_cache(maxsize=64)
def _names(layers: int) -> tuple[str, ...]:
    """What the arrays of so many layers are called."""
    return tuple(f"params[{layer}].{part}" for layer in range(layers) for part in "wb")


def _are_pairs(values: Any) -> bool:
    for pair in values:  # noqa: SIM110 - half the time of `all`
        if not isinstance(pair, _SEQUENCES) or len(pair) != 2:
            return False
    return True


def params(
    backend: Backend,
    values: Any,
    of_integers: str = "float64",
    beside: Mapping[str, Any] = _NONE,
) -> Params:
    """A network's parameters: pairs (w, b) whose sizes chain, of one dtype."""
    if not isinstance(values, _SEQUENCES) or not values or not _are_pairs(values):
        required = "be a non-empty sequence of (w, b) pairs"
        raise ArgumentError("params", required, shown(values))
    named = leaves(values)
    flat, names = together(backend, of_integers=of_integers, beside=beside, **named), list(named)
    made = tuple(zip(flat[0::2], flat[1::2], strict=True))
    inputs = None
    for layer, (w, b) in enumerate(made):
        weights(w, rows=inputs, name=names[2 * layer])
        inputs = w.shape[1]
        bias(b, outputs=inputs, name=names[2 * layer + 1])
    return made


def not_empty(network: Params) -> None:
    """Check that parameters have at least one value a layer."""
    for layer, (w, _) in enumerate(network):
        if 0 in w.shape:
            raise ArgumentError(f"params[{layer}].w", "be not empty", f"shape {tuple(w.shape)}")


def not_finite(x: Array, t: Array) -> str:
    """Where data are not finite, or nothing: a pass over all of them, where a loss is not."""
    for name, array in (("x", x), ("t", t)):
        xp = arrays.namespace_of(array)
        if not bool(xp.all(xp.isfinite(array))):
            values = arrays.as_numpy(as_batch(array))
            row = int(np.argmin(np.isfinite(values).all(axis=1)))
            wrong = values[row][~np.isfinite(values[row])][0]
            return f"`{name}` holds {wrong} in row {row}, in {dtype_of(array)}"
    return ""


def finite(network: Params) -> None:
    """Check that all parameters are finite; of a loop's, since lazy ones are computed there."""
    if not is_finite(arrays.namespace_of(network[0][0]), network):
        raise ArgumentError("params", "be finite", "NaN or infinity among them")


def for_network(backend: Backend, like: Array, **named: Any) -> list[Array]:
    """The arguments as arrays that a network takes: of the dtype of `like`, on its device."""
    if _are_ready(backend, None, {"params": like, **named}):
        return list(named.values())
    dtype = dtype_of(like)
    made = together(backend, of_integers=dtype, beside={"params": like}, **named)
    if dtype_of(made[0]) != dtype:
        got = f"{dtype} and {dtype_of(made[0])}"
        raise ArgumentTypeError(("params", next(iter(named))), "be of the same dtype", got)
    return made


def fits(sizes: tuple[int, int], x: Array, t: Array) -> None:
    """Check that the data's columns are as many as a network's inputs and outputs."""
    is_one_sample("x", x, columns=sizes[0])
    is_one_sample("t", t, columns=sizes[1])
