"""Backends by name, and which one a call gets."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from fcbackends import arrays
from fcbackends.backends.array_api import namespace_backends
from fcbackends.backends.backend import Backend
from fcbackends.errors import ArgumentError, ArgumentTypeError, one_of, shown
from fcbackends.maths.arithmetic import ARITHMETICS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Loader: TypeAlias = Callable[[], "Backend | Sequence[Backend]"]

ENTRY_POINT_GROUP = "fcbackends.backends"
ENVIRONMENT_VARIABLE = "FCBACKENDS_BACKEND"
DEFAULT = "numba"
"""What computes with NumPy's arrays, and with what is no array."""

_chosen: ContextVar[str | Backend | None] = ContextVar("fcbackends_backend", default=None)


def _load_module(name: str) -> Sequence[Backend]:
    """The backends of a library that has a module of its own here."""
    return importlib.import_module(f"fcbackends.backends.{name}").load()


def _load_namespace(name: str) -> Sequence[Backend]:
    """The backends of a library that needs nothing but the array-API code."""
    return namespace_backends(importlib.import_module(name), name)


_libraries = {
    "numpy": "numpy",
    "array_api_strict": "array-api-strict",
    "torch": "fcbackends[torch]",
    "jax": "fcbackends[jax]",
    "dask": "fcbackends[dask]",
    "cupy": "fcbackends[cupy]",
}
"""The array libraries that come with a backend: name -> what installs it."""

_loaders: dict[str, Loader] = {
    "numpy": functools.partial(_load_namespace, "numpy"),
    "numba": functools.partial(_load_module, "numba"),
    "array_api_strict": functools.partial(_load_namespace, "array_api_strict"),
    "torch": functools.partial(_load_module, "torch"),
    "jax": functools.partial(_load_module, "jax"),
    "dask": functools.partial(_load_module, "dask"),
    "cupy": functools.partial(_load_namespace, "cupy"),
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
        raise ArgumentTypeError("name", "be a non-empty string", shown(name))
    if not callable(loader):
        raise ArgumentTypeError("loader", "be a function that returns a Backend", shown(loader))
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


def get_backend(name: str | Backend | None = None, *, arithmetic: str = "ordered") -> Backend:
    """The backend of that name, or the one that a call on NumPy arrays would get.

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
    if arithmetic not in ARITHMETICS:
        raise ArgumentError("arithmetic", one_of(ARITHMETICS), shown(arithmetic))
    argument = "backend"
    if name is None:
        argument, name = _from_outside()
    return _offered(DEFAULT if name is None else name, arithmetic, argument)


def backend_for(backend: str | Backend | None, **named: Any) -> Backend:
    """The backend of a call: by keyword, with-block, environment variable, or the arrays' library.

    NumPy arrays, and what is no array at all, go to "numba"; other libraries to their own.
    """
    argument = "backend"
    if backend is None:
        argument, backend = _from_outside()
    return library_backend(**named) if backend is None else _offered(backend, "ordered", argument)


def library_backend(**named: Any) -> Backend:
    """The backend of the arrays' own library, "numba" for NumPy's and for what is no array."""
    library = arrays.common_library(named)
    if library == "numpy":
        return _offered(DEFAULT, "ordered", "backend")
    if library in _loaders:
        return _offered(library, "ordered", "backend")
    array = next(array for array in named.values() if arrays.is_foreign(array))
    return namespace_backends(arrays.namespace_of(array), library)[0]


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


def _from_outside() -> tuple[str, str | Backend | None]:
    """What the innermost with-block, or else the environment, chooses; and what it is called."""
    chosen = _chosen.get()
    if chosen is None and (name := os.environ.get(ENVIRONMENT_VARIABLE)):
        return ENVIRONMENT_VARIABLE, name
    return "backend", chosen


def _offered(name: str | Backend, arithmetic: str, argument: str) -> Backend:
    """The backend of that name with this arithmetic."""
    if isinstance(name, Backend):
        # A Backend in hand was chosen with its arithmetic; "ordered" is only the default here.
        if arithmetic in ("ordered", name.arithmetic):
            return name
        offered: tuple[Backend, ...] = (name,)
    elif isinstance(name, str):
        offered = _load(name, argument)
    else:
        raise ArgumentTypeError("backend", "be a name or a Backend", shown(name))
    for backend in offered:
        if backend.arithmetic == arithmetic:
            return backend
    choices = ", ".join(repr(backend.arithmetic) for backend in offered)
    name = name.name if isinstance(name, Backend) else name
    raise ArgumentError(
        "arithmetic", f"be one that backend {name!r} offers ({choices})", repr(arithmetic)
    )


def _load(name: str, argument: str) -> tuple[Backend, ...]:
    if name in _loaded:
        return _loaded[name]
    loader = _loaders.get(name) or _known_loaders().get(name)
    if loader is None:
        raise ArgumentError(argument, one_of(_known_loaders()), repr(name))
    if (state := _state(name)) != "available":
        raise ArgumentError(
            argument, "be a backend whose library is installed", f"{name!r}, {state}"
        )
    result = loader()
    backends = tuple(result) if isinstance(result, Sequence) else (result,)
    if not backends or not all(isinstance(backend, Backend) for backend in backends):
        raise ArgumentTypeError(
            argument,
            "be one whose loader returns a Backend or a sequence of them",
            f"{shown(result)} from that of {name!r}",
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
