"""The boundary: every argument is checked and cast here, once, and refused with one text.

Each function returns its argument in the form that the layers below take.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from fcbackends.agreement import as_numpy
from fcbackends.errors import ArgumentError, ArgumentTypeError, refuse_mix, shown
from fcbackends.interface import Backend
from fcbackends.records import Array, LossScope, Params, Plan, Sampling
from fcbackends.registry import library_of
from fcbackends.sampling import MAX_SAMPLES

DTYPES = ("float64", "float32")
_READY = {np.dtype(name): name for name in DTYPES}
_MAX_POSITION = 2**63 - 1
_KNOWN_SHAPE = "of known shape (Dask's compute_chunk_sizes() finds it)"
_NONE: Mapping[str, Any] = {}


def _refuse(name: str, required: str, got: Any) -> NoReturn:
    raise ArgumentError(f"`{name}` must be {required}, got {got}")


def _one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        _refuse(name, f"one of {', '.join(map(repr, choices))}", shown(value))
    return value


def _integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    limits = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(f"`{name}` must be {limits}, got {shown(value)}") from None
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        _refuse(name, limits, shown(value))
    return number


def _real(name: str, value: Any, required: str) -> float:
    if not isinstance(value, str | bytes):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    raise ArgumentTypeError(f"`{name}` must be {required}, got {shown(value)}")


def dtype_name(dtype: Any) -> str:
    """The name of float32 or float64, from that name or any library's dtype."""
    name = dtype
    if dtype is not None and not isinstance(dtype, str):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = dtype_of(dtype)
    return _one_of("dtype", name, DTYPES)


def seed(value: Any) -> int:
    """A seed of the sample draws and the first parameters."""
    return _integer("seed", value, 0, 2**64 - 1)


def count(name: str, value: Any, low: int) -> int:
    """A whole number of at least `low`."""
    return _integer(name, value, low)


def layer_sizes(sizes: Any) -> tuple[int, ...]:
    """The sizes of a network's layers, inputs first."""
    required = "a sequence of at least two positive integers, inputs first and outputs last"
    if isinstance(sizes, str) or not hasattr(sizes, "__iter__"):
        raise ArgumentTypeError(f"`sizes` must be {required}, got {shown(sizes)}")
    sizes = tuple(sizes)
    if len(sizes) < 2:
        _refuse("sizes", required, shown(sizes))
    return tuple(_integer(f"sizes[{i}]", size, 1) for i, size in enumerate(sizes))


def hidden_sizes(hidden: Any) -> tuple[int, ...]:
    """The sizes of the layers between inputs and outputs."""
    if isinstance(hidden, str) or not hasattr(hidden, "__iter__"):
        raise ArgumentTypeError(
            "`hidden` must be a sequence of positive integers, one a hidden layer, "
            f"got {shown(hidden)}"
        )
    return tuple(_integer(f"hidden[{i}]", size, 1) for i, size in enumerate(hidden))


def entries(**named: Any) -> list[tuple[Any, ...]]:
    """One tuple for each network, of one entry of each sequence and of what serves them all."""
    lengths = {
        name: len(values)
        for name, values in named.items()
        if hasattr(values, "__len__")
        and getattr(values, "ndim", 1) > 0
        and not isinstance(values, str | bytes)
    }
    listed = ", ".join(f"`{name}`" for name in named)
    if not lengths:
        raise ArgumentError(f"one of {listed} must be a sequence, one entry a network, got none")
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        got = ", ".join(f"{length} of `{name}`" for name, length in lengths.items())
        raise ArgumentError(
            f"{', '.join(f'`{n}`' for n in lengths)} must be of one length of at least 1, got {got}"
        )
    (count,) = set(lengths.values())
    columns = [
        list(values) if name in lengths else [values] * count for name, values in named.items()
    ]
    return list(zip(*columns, strict=True))


def rows(backend: Backend, values: Any, x: Array) -> Array:
    """Rows of the data x that one network is trained on, as indices that stand beside it."""
    samples = x.shape[0]
    required = f"a non-empty sequence of integers from 0 to {samples - 1} for each network"
    try:
        indices = as_numpy(values)
    except (TypeError, ValueError):
        indices = np.empty(0)
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        _refuse("rows", required, shown(values))
    if indices.min() < 0 or indices.max() >= samples:
        outside = indices[(indices < 0) | (indices >= samples)]
        _refuse("rows", required, f"{outside[0]} among them")
    made = backend.asarray(indices.astype(np.int64))
    device = _common_device(backend, {"x": x})
    return made if device is None else _on_device(made, device)


def learning_rate(lr: Any, dtype: str) -> float:
    """A learning rate that stays finite and positive in `dtype`."""
    required = f"a finite number > 0 in {dtype}"
    rate = _real("lr", lr, required)
    with np.errstate(over="ignore", under="ignore"):
        rounded = float(np.dtype(dtype).type(rate))
    if not (math.isfinite(rounded) and rounded > 0):
        _refuse("lr", required, shown(lr))
    return rate


def plan(
    *,
    samples: int,
    start: int,
    max_steps: int,
    batch_size: Any,
    tol: Any,
    tol_on: Any,
    sampling: Any,
    seed_: Any,
    record_every: Any,
) -> Plan:
    """How a run of `max_steps` steps draws, watches and stops."""
    size, way = _drawing(samples, start, "max_steps", max_steps, batch_size, sampling)
    tolerance = None
    if tol is not None:
        tolerance = _real("tol", tol, "None or a finite number >= 0")
        if not (math.isfinite(tolerance) and tolerance >= 0):
            _refuse("tol", "None or a finite number >= 0", shown(tol))
    scope: LossScope = _one_of("tol_on", tol_on, ("batch", "data"))  # type: ignore[assignment]
    if record_every is not None:
        # What lies beyond the last possible step is as good as never.
        every = min(_integer("record_every", record_every, 1), _MAX_POSITION)
    elif scope == "data":
        every = -(-samples // size)
    else:
        every = max(1, max_steps // 1000)
    return Plan(max_steps, size, way, seed(seed_), tolerance, scope, every)


def progress(value: Any) -> bool | None:
    """Whether a progress bar is shown."""
    if not (value is None or isinstance(value, bool | np.bool_)):
        _refuse("progress", "None, True or False", shown(value))
    return None if value is None else bool(value)


def drawing(
    n_samples: Any, start: Any, steps: Any, batch_size: Any, sampling: Any
) -> tuple[int, int, int, int, Sampling]:
    """The arguments of the sample draws."""
    samples = _integer("n_samples", n_samples, 1, MAX_SAMPLES)
    first = _integer("start", start, 0)
    count = _integer("steps", steps, 0)
    size, way = _drawing(samples, first, "steps", count, batch_size, sampling)
    return samples, first, count, size, way


def _drawing(
    samples: int, start: int, name: str, steps: int, batch_size: Any, sampling: Any
) -> tuple[int, Sampling]:
    size = _integer("batch_size", batch_size, 1)
    way: Sampling = _one_of("sampling", sampling, ("replacement", "epoch"))  # type: ignore[assignment]
    if way == "epoch" and size > samples:
        _refuse(
            "batch_size",
            f"at most the {samples} samples with `sampling` 'epoch'",
            shown(batch_size),
        )
    if (start + steps) * size > _MAX_POSITION:
        _refuse(
            name,
            "such that all draws (steps times batch_size) number at most 2**63 - 1",
            f"{start + steps} steps of {size}",
        )
    return size, way


def dtype_of(array: Any) -> str:
    """The plain name of an array's dtype, such as "float32", in any library and byte order."""
    dtype = getattr(array, "dtype", array)
    # NumPy makes a dtype's name anew each time, in 3 us.
    return _name_of(dtype) if isinstance(dtype, np.dtype) else _name_of.__wrapped__(dtype)


@functools.lru_cache(maxsize=64)
def _name_of(dtype: Any) -> str:
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def namespace_of(array: Array) -> Any:
    """The functions of the array's library, as the array API names them."""
    if isinstance(array, np.ndarray):
        # NumPy's own names serve; to wrap them, array_api_compat imports all of NumPy.
        return np
    import array_api_compat

    return array_api_compat.array_namespace(array)


def arrays(
    backend: Backend,
    dtype: str | None = None,
    of_integers: str = "float64",
    beside: Mapping[str, Any] = _NONE,
    **named: Any,
) -> list[Array]:
    """The arguments as arrays of the backend's library, all of one real floating dtype.

    That is `dtype`, where given, and else the one floating dtype among them; integers are cast to
    it, or to `of_integers` where all are integers. They are all on one device, which is that of
    the arguments in `beside` as well.
    """
    if _are_ready(backend, dtype, list(named.values())):
        return list(named.values())
    brought = {name: _bring(backend, name, value) for name, value in named.items()}
    kinds = {name: dtype_of(array) for name, array in brought.items()}
    for name, kind in kinds.items():
        if kind not in DTYPES and not kind.startswith(("int", "uint")):
            raise ArgumentTypeError(
                f"`{name}` must hold float64, float32 or integer values, got dtype {kind}"
            )
    floats = {name: kind for name, kind in kinds.items() if kind in DTYPES}
    if len(set(floats.values())) > 1:
        refuse_mix("of one floating dtype", floats, ArgumentTypeError)
    target = dtype or next(iter(floats.values()), of_integers)
    device = _common_device(backend, {**named, **beside})

    def cast(array: Array, kind: str) -> Array:
        # NumPy calls arrays of the other byte order by the same name.
        native = getattr(array.dtype, "isnative", True)
        if kind == target and native and backend.owns(array):
            return array
        made = backend.asarray(array, target)
        return made if device is None else _on_device(made, device)

    return [cast(array, kinds[name]) for name, array in brought.items()]


def _are_ready(backend: Backend, dtype: str | None, values: list[Any]) -> bool:
    """Whether all are NumPy's, of one native dtype, and the backend's own: nothing is to do."""
    if type(values[0]) is not np.ndarray:
        return False
    kind = values[0].dtype
    return (
        kind in _READY
        and (dtype is None or _READY[kind] == dtype)
        and all(type(value) is np.ndarray and value.dtype is kind for value in values)
        and backend.owns(values[0])
    )


def _common_device(backend: Backend, named: Mapping[str, Any]) -> Any:
    """The device of the arrays of the backend's library; None where all are NumPy's or no arrays.

    Arrays that JAX has spread over several devices are on all of those; what it traces, on none.
    """
    others = {name: value for name, value in named.items() if type(value) is not np.ndarray}
    if not others:
        return None
    import array_api_compat

    devices = {
        name: array_api_compat.device(value)
        for name, value in others.items()
        if array_api_compat.is_array_api_obj(value)
        and not isinstance(value, np.ndarray)
        and backend.owns(value)
    }
    devices = {name: device for name, device in devices.items() if device is not None}
    places = [getattr(device, "device_set", device) for device in devices.values()]
    if any(place != places[0] for place in places):
        refuse_mix("on one device", devices, ArgumentError)
    return next(iter(devices.values()), None)


def _on_device(array: Array, device: Any) -> Array:
    import array_api_compat

    # NumPy's go with arrays on several devices as they are.
    if array_api_compat.device(array) == device or hasattr(device, "device_set"):
        return array
    return array_api_compat.to_device(array, device)


def _bring(backend: Backend, name: str, value: Any) -> Array:
    """The value as an array of NumPy or the backend's library; one of another is refused."""
    if type(value) is np.ndarray and value.dtype.kind in "fiu":
        return value
    import array_api_compat

    foreign = array_api_compat.is_array_api_obj(value) and not isinstance(value, np.ndarray)
    if foreign and not backend.owns(value):
        raise ArgumentTypeError(
            f"`{name}` must be an array of backend {backend.name!r} or of NumPy, "
            f"got one of {library_of(value)}"
        )
    if foreign:
        if not all(isinstance(length, int) for length in value.shape):
            _refuse(name, _KNOWN_SHAPE, f"shape {tuple(value.shape)}")
        return backend.asarray(value)
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentTypeError(f"`{name}` must be an array without a mask, got a masked array")
    try:
        plain = np.asarray(value)
    except ValueError:
        raise ArgumentError(f"`{name}` must be an array of numbers, got {shown(value)}") from None
    if plain.dtype.kind not in "fiu":
        raise ArgumentTypeError(
            f"`{name}` must hold float64, float32 or integer values, got dtype {plain.dtype}"
        )
    return plain


def samples(name: str, array: Array, *, columns: int | None = None) -> bool:
    """Check x, y, t or dy: (K,) for one sample, True, or (N, K), False."""
    shape = tuple(array.shape)
    width = "K" if columns is None else str(columns)
    if len(shape) not in (1, 2) or (columns is not None and shape[-1] != columns):
        _refuse(name, f"of shape ({width},) for one sample or (N, {width})", shape)
    return len(shape) == 1


def at_least_one_sample(name: str, array: Array) -> None:
    """Check that there is a sample: a mean over none is not defined."""
    if array.ndim == 2 and array.shape[0] == 0:
        _refuse(name, "of at least one sample", f"shape {tuple(array.shape)}")


def data(
    backend: Backend, x: Any, t: Any, dtype: str, beside: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Training data: x (N, K) and t (N, M), none of them zero, cast to `dtype`."""
    x, t = arrays(backend, dtype, beside=beside, x=x, t=t)
    for name, array, width in (("x", x, "K"), ("t", t, "M")):
        if array.ndim != 2 or 0 in array.shape:
            _refuse(name, f"of shape (N, {width}) and not empty", f"shape {tuple(array.shape)}")
    same_samples("x", x, "t", t)
    if x.shape[0] > MAX_SAMPLES:
        _refuse("x", f"of at most {MAX_SAMPLES} samples", f"shape {tuple(x.shape)}")
    return x, t


def first_params(
    backend: Backend, values: Any, hidden: tuple[int, ...], dtype: str, x: Array
) -> Params:
    """The parameters that a training of this dtype on data x starts from."""
    network = params(backend, values, of_integers=dtype, beside={"x": x})
    kind = dtype_of(network[0][0])
    if kind != dtype:
        raise ArgumentTypeError(f"`params` must be of `dtype` {dtype}, got {kind}")
    given = tuple(w.shape[1] for w, _ in network[:-1])
    if hidden and hidden != given:
        _refuse("hidden", f"left out, or the sizes {given} of `params`", hidden)
    return network


def fits(network: Params, x: Array, t: Array) -> None:
    """Check that a network's first and last sizes are those of the data's columns."""
    samples("x", x, columns=network[0][0].shape[0])
    samples("t", t, columns=network[-1][0].shape[1])


def same_samples(first: str, a: Array, second: str, b: Array) -> None:
    """Check that two arrays hold the same number of samples, or one sample both."""
    if a.ndim != b.ndim or (a.ndim == 2 and a.shape[0] != b.shape[0]):
        raise ArgumentError(
            f"`{first}` and `{second}` must hold the same samples, "
            f"got shapes {tuple(a.shape)} and {tuple(b.shape)}"
        )


def same_dtype(first: str, a: Array, second: str, b: Array) -> None:
    """Check that two arrays are of one dtype."""
    if dtype_of(a) != dtype_of(b):
        raise ArgumentTypeError(
            f"`{first}` and `{second}` must be of the same dtype, "
            f"got {dtype_of(a)} and {dtype_of(b)}"
        )


def same_shape(first: str, a: Array, second: str, b: Array) -> None:
    """Check that two arrays are of one shape."""
    if tuple(a.shape) != tuple(b.shape):
        raise ArgumentError(
            f"`{first}` and `{second}` must be of the same shape, "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )


def weights(w: Array, *, rows: int | None = None, name: str = "w") -> None:
    """Check w: (K, M), with one row for each input."""
    shape = tuple(w.shape)
    if len(shape) != 2 or (rows is not None and shape[0] != rows):
        _refuse(name, f"of shape ({'K' if rows is None else rows}, M)", shape)


def bias(b: Array, *, outputs: int, name: str = "b") -> None:
    """Check b: (M,), with one value for each output."""
    if tuple(b.shape) != (outputs,):
        _refuse(name, f"of shape ({outputs},)", tuple(b.shape))


def params(
    backend: Backend,
    values: Any,
    of_integers: str = "float64",
    beside: Mapping[str, Any] = _NONE,
) -> Params:
    """A network's parameters: pairs (w, b) whose sizes chain, of one dtype."""
    named = leaves(_pairs(values))
    flat = arrays(backend, of_integers=of_integers, beside=beside, **named)
    rows = None
    for layer in range(len(named) // 2):
        w, b = flat[2 * layer], flat[2 * layer + 1]
        weights(w, rows=rows, name=f"params[{layer}].w")
        rows = w.shape[1]
        bias(b, outputs=rows, name=f"params[{layer}].b")
    return tuple(zip(flat[0::2], flat[1::2], strict=True))


def arrays_for(backend: Backend, network: Params, **named: Any) -> list[Array]:
    """The arguments as arrays that a network takes: of its dtype, on its device."""
    first = network[0][0]
    made = arrays(backend, of_integers=dtype_of(first), beside={"params": first}, **named)
    same_dtype("params", first, "x", made[0])
    return made


def leaves(values: Any) -> dict[str, Any]:
    """The arrays of well-formed parameters by name; whatever else there is, `params` refuses."""
    if not isinstance(values, tuple | list):
        return {}
    return {
        f"params[{layer}].{part}": value
        for layer, pair in enumerate(values)
        if isinstance(pair, tuple | list)
        for part, value in zip("wb", pair, strict=False)
    }


def _pairs(values: Any) -> list[tuple[Any, Any]]:
    pairs = values if isinstance(values, tuple | list) else ()
    if pairs and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        return [tuple(pair) for pair in pairs]
    raise ArgumentError(
        f"`params` must be a non-empty sequence of (w, b) pairs, got {shown(values)}"
    )


def not_empty(network: Params) -> None:
    """Check that parameters have at least one value a layer."""
    for layer, (w, _) in enumerate(network):
        if 0 in w.shape:
            _refuse(f"params[{layer}].w", "not empty", f"shape {tuple(w.shape)}")


def finite(is_finite: bool) -> None:
    """Check what was found of the parameters."""
    if not is_finite:
        _refuse("params", "finite", "NaN or infinity among them")
