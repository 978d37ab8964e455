"""Data on their way to workers: by content, once a worker; large ones as the path of a file."""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends import arrays
from fcbackends.errors import ArgumentError
from fcbackends.sweeps.networks import Data

_MOST_HELD = 4
_CHUNK_BYTES = 2**24

_held: collections.OrderedDict[str, Data] = collections.OrderedDict()
_lock = threading.Lock()


class Mapped(NamedTuple):
    """An array that is a whole .npy file, mapped into memory.

    Attributes
    ----------
    path : str
        The file, as workers find it.
    """

    path: str


def portable(given: Data) -> Data:
    """The same data as NumPy's arrays, or as the files that they are mapped from."""
    weight, pair, params = given.sample_weight, given.validation, given.params
    return Data(
        _carried(given.x),
        _carried(given.t),
        None if weight is None else _carried(weight),
        None if pair is None else tuple(map(_carried, pair)),
        None if params is None else tuple((_carried(w), _carried(b)) for w, b in params),
    )


def _carried(value: Any) -> NDArray[Any] | Mapped:
    if isinstance(value, np.memmap) and _is_whole_file(value):
        return Mapped(str(Path(value.filename).resolve()))  # type: ignore[arg-type]
    return np.asarray(arrays.as_numpy(value) if arrays.is_foreign(value) else value)


def _is_whole_file(array: np.memmap[Any, Any]) -> bool:
    """Whether a mapped array is all that its .npy file holds, as it is there."""
    if array.filename is None or Path(array.filename).suffix != ".npy":
        return False
    whole = np.load(array.filename, mmap_mode="r", allow_pickle=False)
    form = "shape", "dtype", "strides", "offset"
    return all(getattr(whole, name) == getattr(array, name) for name in form)


def keys_of(carried: Data) -> dict[str, str | None]:
    """By name, SHA-256 of structure, shapes, dtypes and bytes, those of mapped files included."""
    return {
        name: None if value is None else _key(_loaded(value))
        for name, value in carried._asdict().items()
    }


def key_of(keys: Mapping[str, str | None]) -> str:
    """One key for all."""
    import hashlib

    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()


def _key(loaded: Any) -> str:
    import hashlib

    sha = hashlib.sha256()
    for place, array in _leaves(loaded):
        sha.update(f"{place}:{array.dtype.str}:{array.shape};".encode())
        for part in _chunks(array):
            sha.update(part.tobytes())
    return sha.hexdigest()


def held(key: str) -> Data | None:
    """Data that this process has."""
    with _lock:
        if key not in _held:
            return None
        _held.move_to_end(key)
        return _held[key]


def hold(key: str, carried: Data) -> Data:
    """Keep data in this process, beside a few others.

    Raises
    ------
    ArgumentError
        Where the files that they are mapped from hold other data here.
    """
    loaded = _loaded(carried)
    files = [part.path for part in _parts(tuple(carried)) if isinstance(part, Mapped)]
    if files and key_of(keys_of(carried)) != key:
        raise ArgumentError("x", "be the same data on each worker", f"others in {files}")
    with _lock:
        _held[key] = loaded
        _held.move_to_end(key)
        while len(_held) > _MOST_HELD:
            _held.popitem(last=False)
    return loaded


def _loaded(value: Any) -> Any:
    if isinstance(value, Mapped):
        return np.load(value.path, mmap_mode="r", allow_pickle=False)
    if isinstance(value, Data):
        return Data(*map(_loaded, value))
    return tuple(map(_loaded, value)) if isinstance(value, tuple) else value


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple) and not isinstance(value, Mapped):
        for part in value:
            yield from _parts(part)
    elif value is not None:
        yield value


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{place}.{number}")
    elif value is not None:
        yield place, value


def _chunks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """An array's rows in order, some at a time, so that a large one is never whole in memory."""
    if array.ndim == 0 or array.nbytes <= _CHUNK_BYTES:
        yield array
        return
    rows = max(1, _CHUNK_BYTES // (array.nbytes // len(array)))
    for first in range(0, len(array), rows):
        yield array[first : first + rows]
