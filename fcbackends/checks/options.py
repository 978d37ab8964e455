"""Arguments that are numbers, names or sequences of them."""

from __future__ import annotations

import itertools
import math
import operator
import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fcbackends import arrays
from fcbackends.arrays import DTYPES
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import LossScope, Plan
from fcbackends.errors import ArgumentError, ArgumentTypeError, one_of, shown
from fcbackends.maths.activations import ACTIVATIONS, Activations
from fcbackends.maths.fields import real
from fcbackends.maths.optimizers import SGD, Adam, Optimizer
from fcbackends.maths.sampling import MAX_SAMPLES, Sampling
from fcbackends.maths.schedules import Rate, Schedule

_MAX_POSITION = 2**63 - 1

_MOST_WEIGHTS = 2**59
"""Of a layer: so many are the most that NumPy makes an array of, and more than there is memory."""

_RATES = {
    "float64": (0.0, math.inf),
    "float32": (2.0**-150, 2.0**128 - 2.0**103),
}
"""Between these limits numbers are rounded to finite ones > 0; from them on, to 0 and infinity."""


def choice(name: str, value: Any, choices: Collection[str]) -> str:
    """One of the names that there are."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(name, one_of(choices), shown(value))
    return value


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number from `low` to `high`."""
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    required = f"be an integer {limits}"
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(name, required, shown(value)) from None
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise ArgumentError(name, required, shown(value))
    return number


def path(name: str, value: Any) -> str:
    """The name of a file."""
    found, encoded = "", b""
    try:
        found = os.fsdecode(value)
        encoded = os.fsencode(found)
    except TypeError:
        raise ArgumentTypeError(name, "be a path", shown(value)) from None
    except UnicodeEncodeError:
        pass  # refused below
    if not encoded or b"\0" in encoded:
        raise ArgumentError(name, "be the name of a file", shown(value))
    return found


def dtype_name(dtype: Any) -> str:
    """The name of float32 or float64, from that name or any library's dtype."""
    name = dtype
    if dtype is not None and not isinstance(dtype, str):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = arrays.dtype_of(dtype)
        except ValueError:
            pass  # refused below, as no name
    return choice("dtype", name, DTYPES)


def seed(value: Any) -> int:
    """A seed of the sample draws and the first parameters."""
    return integer("seed", value, 0, 2**64 - 1)


def layer_sizes(sizes: Any) -> tuple[int, ...]:
    """The sizes of a network's layers, inputs first."""
    required = "be a sequence of at least two positive integers, inputs first and outputs last"
    sizes = _entries("sizes", sizes, required)
    if len(sizes) < 2:
        raise ArgumentError("sizes", required, shown(sizes))
    made = tuple(integer(f"sizes[{i}]", size, 1) for i, size in enumerate(sizes))
    weights_in_memory("sizes", made)
    return made


def hidden_sizes(hidden: Any) -> tuple[int, ...]:
    """The sizes of the layers between inputs and outputs."""
    required = "be a sequence of positive integers, one a hidden layer"
    sizes = _entries("hidden", hidden, required)
    return tuple(integer(f"hidden[{i}]", size, 1) for i, size in enumerate(sizes))


def weights_in_memory(name: str, sizes: Sequence[int]) -> None:
    """Check that arrays of so many weights could be: whether there is memory, only a try tells."""
    for inputs, outputs in itertools.pairwise(sizes):
        if inputs * outputs > _MOST_WEIGHTS:
            required = "be such that no layer has more than 2**59 weights"
            raise ArgumentError(name, required, f"one of {shown(inputs)} x {shown(outputs)}")


def _entries(name: str, values: Any, required: str) -> tuple[Any, ...]:
    """What a sequence holds; texts are none."""
    if not isinstance(values, str | bytes):
        try:
            return tuple(values)
        except TypeError:
            pass
    raise ArgumentTypeError(name, required, shown(values))


def activation(value: Any, hidden: int) -> Activations:
    """The name of the activation of so many hidden layers, or a tuple of one for each."""
    if isinstance(value, str):
        return choice("activation", value, ACTIVATIONS)
    required = f"{one_of(ACTIVATIONS)}, or a sequence of them, one a hidden layer"
    given = enumerate(_entries("activation", value, required))
    names = tuple(choice(f"activation[{i}]", name, ACTIVATIONS) for i, name in given)
    if len(names) != hidden:
        required = f"be one name, or a sequence of {hidden}, one a hidden layer"
        raise ArgumentError("activation", required, shown(names))
    return names


def is_sequence(value: Any) -> bool:
    """Whether a value may have an entry for each network; texts have none."""
    has_entries = hasattr(value, "__len__") and getattr(value, "ndim", 1) > 0
    return has_entries and not isinstance(value, str | bytes)


def entries(**named: Any) -> list[tuple[Any, ...]]:
    """One tuple for each network, of one entry of each sequence and of what serves them all."""
    lengths = {name: len(values) for name, values in named.items() if is_sequence(values)}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        got = {name: f"of {length}" for name, length in lengths.items()}
        raise ArgumentError(tuple(lengths), "be of one length of at least 1", got)
    (count,) = set(lengths.values())
    columns = [
        list(values) if name in lengths else [values] * count for name, values in named.items()
    ]
    return list(zip(*columns, strict=True))


def in_blocks(backend: Backend, rows_per_block: Any) -> Backend:
    """The backend with sums over samples in blocks of so many, if that is a number."""
    if rows_per_block is None:
        return backend
    count = integer("rows_per_block", rows_per_block, 1)
    if backend.with_rows_per_block is None:
        required = f"be None with backend {backend.name!r} in arithmetic {backend.arithmetic!r}"
        raise ArgumentError("rows_per_block", required, f"{count}")
    return backend.with_rows_per_block(count)


def learning_rate(lr: Any, dtype: str) -> float:
    """A learning rate that stays finite and positive in `dtype`."""
    required = f"be a finite number > 0 in {dtype}"
    rate = real("lr", lr, required)
    low, high = _RATES[dtype]
    if not low < rate < high:
        raise ArgumentError("lr", required, shown(lr))
    return rate


def rate(lr: Any, dtype: str) -> Rate:
    """A learning rate, or a schedule of them."""
    if not isinstance(lr, Schedule):
        return learning_rate(lr, dtype)
    low, high = _RATES[dtype]
    if not low < lr.lr < high or getattr(lr, "end", 0.0) >= high:
        required = f"be a schedule whose rates are finite in {dtype}, the first > 0"
        raise ArgumentError("lr", required, shown(lr))
    return lr


def clip_norm(value: Any, dtype: str) -> float | None:
    """The largest norm of a gradient, if there is one."""
    if value is None:
        return None
    required = f"be None or a finite number > 0 in {dtype}"
    norm = real("clip_norm", value, required)
    low, high = _RATES[dtype]
    if not low < norm < high:
        raise ArgumentError("clip_norm", required, shown(value))
    return norm


def optimizer(value: Any) -> Optimizer:
    """A record of an optimizer."""
    if not isinstance(value, SGD | Adam):
        raise ArgumentTypeError("optimizer", "be a `SGD` or an `Adam`", shown(value))
    return value


def plan(
    *,
    samples: int,
    start: int,
    max_steps: int,
    batch_size: Any,
    tol: Any,
    tol_on: Any,
    sampling: Any,
    seed: Any,
    record_every: Any,
    by_epoch: bool = False,
) -> Plan:
    """How a run of `max_steps` steps draws, watches and stops.

    Where it is `by_epoch`, there is a look at it once an epoch, unless the caller says otherwise.
    """
    size, way = _batches(samples, start, "max_steps", max_steps, batch_size, sampling)
    tolerance = None
    if tol is not None:
        required = "be None or a finite number >= 0"
        tolerance = real("tol", tol, required)
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ArgumentError("tol", required, shown(tol))
    scope: LossScope = choice("tol_on", tol_on, ("batch", "data"))  # type: ignore[assignment]
    if record_every is not None:
        # What lies beyond the last possible step is as good as never.
        every = min(integer("record_every", record_every, 1), _MAX_POSITION)
    elif by_epoch or scope == "data":
        every = -(-samples // size)
    else:
        every = max(1, max_steps // 1000)
    number = integer("seed", seed, 0, 2**64 - 1)
    return Plan(size, way, number, tolerance, scope, every)


def time_limit(value: Any) -> float | None:
    """The most seconds that a run may take, if there are such."""
    if value is None:
        return None
    required = "be None or a finite number of seconds > 0"
    seconds = real("time_limit", value, required)
    if not 0 < seconds < math.inf:
        raise ArgumentError("time_limit", required, shown(value))
    return seconds


def validation(value: Any, *, shares: bool = True) -> tuple[Any, Any] | float | None:
    """Validation data or, where `shares` allows it, the share of the rows held out for it."""
    if value is None:
        return None
    if isinstance(value, tuple | list) and len(value) == 2:
        return value[0], value[1]
    required = "be a pair (x, t), or a share between 0 and 1 of the rows"
    if not shares or isinstance(value, bool | tuple | list):
        required = required if shares else "be a pair (x, t)"
        raise ArgumentTypeError("validation", required, shown(value))
    return real("validation", value, required)


def patience(value: Any, *, validates: bool) -> int | None:
    """How many looks without a smaller validation loss end a run."""
    if value is None:
        return None
    if not validates:
        raise ArgumentError("patience", "come with `validation`", f"{shown(value)} without")
    return integer("patience", value, 1)


def callback(value: Any) -> Any:
    """What is called at each look."""
    if not (value is None or callable(value)):
        raise ArgumentTypeError("callback", "be None or callable", shown(value))
    return value


def executor(value: Any) -> Any:
    """What takes tasks, or makes what does."""
    if not (value is None or hasattr(value, "submit") or callable(value)):
        required = "have a method `submit`, or be a function that makes what has one"
        raise ArgumentTypeError("executor", required, shown(value))
    return value


def verify(value: Any, *, has_executor: bool) -> float:
    """The share of networks that are trained a second time."""
    if value is None:
        return 0.0
    if not has_executor:
        raise ArgumentError("verify", "come with `executor`", f"{shown(value)} without")
    required = "be None or a share > 0, at most 1, of the networks"
    share = real("verify", value, required)
    if not 0 < share <= 1:
        raise ArgumentError("verify", required, shown(value))
    return share


def progress(value: Any) -> bool | None:
    """Whether a progress bar is shown."""
    if not (value is None or isinstance(value, bool | np.bool_)):
        raise ArgumentError("progress", "be None, True or False", shown(value))
    return None if value is None else bool(value)


def returns(on_interrupt: Any) -> bool:
    """Whether Ctrl-C leads to the result so far, and not to KeyboardInterrupt."""
    return choice("on_interrupt", on_interrupt, ("raise", "return")) == "return"


def draws(
    n_samples: Any, start: Any, steps: Any, batch_size: Any, sampling: Any
) -> tuple[int, int, int, int, Sampling]:
    """The arguments of the sample draws."""
    samples = integer("n_samples", n_samples, 1, MAX_SAMPLES)
    first = integer("start", start, 0)
    count = integer("steps", steps, 0)
    return samples, first, count, *_batches(samples, first, "steps", count, batch_size, sampling)


def _batches(
    samples: int, start: int, name: str, steps: int, batch_size: Any, sampling: Any
) -> tuple[int, Sampling]:
    size = integer("batch_size", batch_size, 1)
    way: Sampling = choice("sampling", sampling, ("replacement", "epoch"))  # type: ignore[assignment]
    if way == "epoch" and size > samples:
        required = f"be at most the {samples} samples where each epoch takes each once"
        raise ArgumentError("batch_size", required, shown(batch_size))
    if (start + steps) * size > _MAX_POSITION:
        required = "be such that all draws (steps times batch size) number at most 2**63 - 1"
        raise ArgumentError(name, required, f"{shown(start + steps)} steps of {shown(size)}")
    return size, way
