"""Backends by name, and which one a call gets."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fcbackends.errors import ArgumentError, ArgumentTypeError, refuse_mix, shown
from fcbackends.interface import Backend
from fcbackends.records import ArithmeticName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Loader: TypeAlias = Callable[[], "Backend | Sequence[Backend]"]

ENTRY_POINT_GROUP = "fcbackends.backends"
ENVIRONMENT_VARIABLE = "FCBACKENDS_BACKEND"

_chosen: ContextVar[str | Backend | None] = ContextVar("fcbackends_backend", default=None)


def _load_numba() -> Backend:
    from fcbackends.backends import numba

    return numba.BACKEND


def _load_torch() -> Sequence[Backend]:
    from fcbackends.backends import torch

    return torch.load()


def _load_jax() -> Sequence[Backend]:
    from fcbackends.backends import jax

    return jax.load()


def _load_dask() -> Sequence[Backend]:
    from fcbackends.backends import dask

    return dask.load()


def _namespace_loader(name: str) -> Loader:
    def load() -> Sequence[Backend]:
        from fcbackends.backends import array_api

        return array_api.namespace_backends(importlib.import_module(name), name)

    return load


# The libraries that come with an array-API backend: name -> what installs it.
_libraries = {
    "numpy": "numpy",
    "array_api_strict": "array-api-strict",
    "torch": "fcbackends[torch]",
    "jax": "fcbackends[jax]",
    "dask": "fcbackends[dask]",
    "cupy": "fcbackends[cupy]",
}

_loaders: dict[str, Loader] = {
    "numpy": _namespace_loader("numpy"),
    "numba": _load_numba,
    "array_api_strict": _namespace_loader("array_api_strict"),
    "torch": _load_torch,
    "jax": _load_jax,
    "dask": _load_dask,
    "cupy": _namespace_loader("cupy"),
}
_loaded: dict[str, tuple[Backend, ...]] = {}


def register_backend(name: str, loader: Loader) -> None:
    """Add a backend, or replace the one of that name.

    Parameters
    ----------
    name : str
        What it is chosen by.
    loader : callable
        Called without arguments when the backend is first asked for; returns a Backend, or a
        sequence of them, one for each arithmetic that it offers.

    Raises
    ------
    ArgumentTypeError
        Where `name` is not a string or `loader` cannot be called.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.register_backend("mine", lambda: fcb.get_backend("numpy"))
    >>> "mine" in fcb.list_backends()
    True
    """
    if not isinstance(name, str) or not name:
        raise ArgumentTypeError(f"`name` must be a non-empty string, got {shown(name)}")
    if not callable(loader):
        raise ArgumentTypeError(
            f"`loader` must be a function that returns a Backend, got {shown(loader)}"
        )
    _loaders[name] = loader
    _loaded.pop(name, None)
    _libraries.pop(name, None)


def list_backends() -> dict[str, str]:
    """Every backend's name, and whether it can be used.

    Returns
    -------
    dict of str to str
        name -> "available", or "not installed: pip install ...". Backends of installed packages
        (entry points of the group `fcbackends.backends`) are among them.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.list_backends()["numba"]
    'available'
    """
    return {name: _state(name) for name in _known_loaders()}


def get_backend(
    name: str | Backend | None = None, *, arithmetic: ArithmeticName = "ordered"
) -> Backend:
    """The backend of that name, or the one a call on NumPy arrays would get.

    Parameters
    ----------
    name : str, Backend or None
        A name from `list_backends`; a Backend is returned as it is; None asks, in this order, for
        the one of the innermost `use_backend` block, of the environment variable
        FCBACKENDS_BACKEND, and "numba".
    arithmetic : {"ordered", "native"}
        "ordered" keeps the contract to the bit; "native" is the library's own matmul and sums.

    Returns
    -------
    Backend

    Raises
    ------
    ArgumentError
        Where there is no such backend, it is not installed, or it does not offer `arithmetic`.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.get_backend("numpy", arithmetic="native").name
    'numpy'
    """
    return _resolve(name, arithmetic, default="numba")


def backend_for(backend: str | Backend | None, **arrays: Any) -> Backend:
    """The backend of a call: by keyword, with-block, environment variable, or the arrays' library.

    NumPy arrays, and what is no array at all, go to "numba"; other libraries to their own.
    """
    if backend is None and _chosen.get() is None and not os.environ.get(ENVIRONMENT_VARIABLE):
        return library_backend(**arrays)
    return _resolve(backend, "ordered", default="numba")


def library_backend(**arrays: Any) -> Backend:
    """The backend of the arrays' own library, "numba" for NumPy's and for what is no array."""
    return _resolve(_common_library(arrays), "ordered", default="numba")


def library_of(array: Any) -> str:
    """The name of an array's library."""
    import array_api_compat

    module = array_api_compat.array_namespace(array).__name__
    return module.removeprefix("array_api_compat.").partition(".")[0]


@contextlib.contextmanager
def use_backend(name: str | Backend) -> Iterator[Backend]:
    """Use a backend for every call in a with-block, in this thread or task.

    Parameters
    ----------
    name : str or Backend
        As for `get_backend`.

    Raises
    ------
    ArgumentError
        Where there is no such backend.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> with fcb.use_backend("numpy"):
    ...     fcb.get_backend().name
    'numpy'
    """
    backend = get_backend(name)
    token = _chosen.set(name)
    try:
        yield backend
    finally:
        _chosen.reset(token)


def _resolve(name: str | Backend | None, arithmetic: str, *, default: str) -> Backend:
    if arithmetic not in ("ordered", "native"):
        raise ArgumentError(
            f"`arithmetic` must be one of 'ordered', 'native', got {shown(arithmetic)}"
        )
    argument = "backend"
    if name is None:
        name = _chosen.get()
    if name is None and (name := os.environ.get(ENVIRONMENT_VARIABLE) or None):
        argument = ENVIRONMENT_VARIABLE
    if name is None:
        name = default
    if isinstance(name, Backend):
        # A Backend in hand was chosen with its arithmetic; "ordered" is only the default here.
        if arithmetic in ("ordered", name.arithmetic):
            return name
        offered: tuple[Backend, ...] = (name,)
        name = name.name
    elif isinstance(name, str):
        offered = _load(name, argument)
    else:
        raise ArgumentTypeError(f"`backend` must be a name or a Backend, got {shown(name)}")
    for backend in offered:
        if backend.arithmetic == arithmetic:
            return backend
    choices = ", ".join(repr(b.arithmetic) for b in offered)
    raise ArgumentError(
        f"`arithmetic` must be one that backend {name!r} offers ({choices}), got {arithmetic!r}"
    )


def _load(name: str, argument: str) -> tuple[Backend, ...]:
    if name in _loaded:
        return _loaded[name]
    loader = _loaders.get(name) or _known_loaders().get(name)
    if loader is None:
        raise ArgumentError(
            f"`{argument}` must be one of {', '.join(map(repr, _known_loaders()))}, got {name!r}"
        )
    state = _state(name)
    if state != "available":
        raise ArgumentError(f"`{argument}` {name!r} is {state}")
    result = loader()
    backends = tuple(result) if isinstance(result, Sequence) else (result,)
    if not backends or not all(isinstance(b, Backend) for b in backends):
        raise ArgumentTypeError(
            f"the loader of backend {name!r} must return a Backend or a sequence of them, "
            f"got {shown(result)}"
        )
    _loaded[name] = backends
    return backends


def _state(name: str) -> str:
    if name not in _libraries or importlib.util.find_spec(name) is not None:
        return "available"
    return f"not installed: pip install '{_libraries[name]}'"


def _known_loaders() -> dict[str, Loader]:
    """All loaders; an entry point never hides a name that is taken."""
    # Imported here: it would be half the time that importing fcbackends takes.
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINT_GROUP)
    return {**{entry.name: _entry_point_loader(entry) for entry in found}, **_loaders}


def _entry_point_loader(entry_point: EntryPoint) -> Loader:
    return lambda: entry_point.load()()


def _common_library(arrays: dict[str, Any]) -> str | Backend | None:
    """The backend of the arrays' own library, None for NumPy's and for what is no array."""
    others = {name: a for name, a in arrays.items() if type(a) is not np.ndarray}
    if not others:
        return None
    import array_api_compat

    foreign = {
        name: array
        for name, array in others.items()
        if array_api_compat.is_array_api_obj(array) and not array_api_compat.is_numpy_array(array)
    }
    if not foreign:
        return None
    libraries = {name: library_of(array) for name, array in foreign.items()}
    if len(set(libraries.values())) > 1:
        refuse_mix("arrays of one library", libraries, ArgumentTypeError)
    (library,) = set(libraries.values())
    if library in _loaders:
        return library
    from fcbackends.backends import array_api

    namespace = array_api_compat.array_namespace(*foreign.values())
    return array_api.namespace_backends(namespace, library)[0]
