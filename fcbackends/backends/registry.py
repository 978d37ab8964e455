"""Backends by name and arithmetic, and which one a call gets."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from fcbackends import arrays, forks
from fcbackends.backends.array_api import namespace_backends
from fcbackends.backends.backend import Backend
from fcbackends.errors import ArgumentError, ArgumentTypeError, one_of, shown
from fcbackends.maths.arithmetic import ARITHMETICS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Loader: TypeAlias = Callable[[], "Backend | Sequence[Backend]"]

ENTRY_POINT_GROUP = "fcbackends.backends"
ENVIRONMENT_VARIABLES = {"backend": "FCBACKENDS_BACKEND", "arithmetic": "FCBACKENDS_ARITHMETIC"}
_THREADS = "NUMBA_NUM_THREADS"
_KEYS = frozenset(map(os.environ.encodekey, ENVIRONMENT_VARIABLES.values()))
DEFAULT = "numba"
"""What computes with NumPy's arrays, and with what is no array."""
DEFAULT_ARITHMETIC = "ordered"


class _Choice(NamedTuple):
    """What is chosen; None where nothing is."""

    backend: str | Backend | None = None
    arithmetic: str | None = None


_NONE = _Choice()
_of_block: ContextVar[_Choice] = ContextVar("fcbackends_choice", default=_NONE)


def _load_module(name: str) -> Sequence[Backend]:
    """The backends of a library that has a module of its own here."""
    return importlib.import_module(f"fcbackends.backends.{name}").load()


def _load_numba() -> Sequence[Backend]:
    check_numba_settings()
    return _load_module("numba")


def check_numba_settings() -> None:
    """Check what Numba reads from the environment as it is imported, and fails or warns of."""
    setting = os.environ.get(_THREADS, "1").strip()
    if not (setting.isascii() and setting.isdecimal() and setting.strip("0")):
        raise ArgumentError(_THREADS, "be a whole number of at least 1", shown(setting))


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
    "numba": _load_numba,
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


def get_backend(name: str | Backend | None = None, *, arithmetic: str | None = None) -> Backend:
    """The backend of that name and arithmetic, or the one that a call on NumPy arrays would get.

    Parameters
    ----------
    name : str, Backend or None
        A name from `list_backends`; a Backend is returned as it is; None asks, in this order, for
        the one of the innermost `use_backend` block, of the environment variable
        FCBACKENDS_BACKEND, and "numba".
    arithmetic : {"ordered", "fused", "native"} or None
        "ordered" and "fused" keep the contract to the bit, with two roundings or one for a product
        and the sum that takes it; "native" is the library's own matmul and sums. None asks, in
        this order, for the one of the innermost `use_backend` block, of the environment variable
        FCBACKENDS_ARITHMETIC, and "ordered". A Backend has its own.

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
    return backend_for(name, arithmetic)


def backends_of(name: str) -> tuple[Backend, ...]:
    """All backends of that name, one for each arithmetic that it offers."""
    return _load(name, "backend")


def backend_for(backend: str | Backend | None, arithmetic: str | None, **named: Any) -> Backend:
    """The backend of a call: by keyword, with-block, environment variable, or the arrays' library.

    NumPy arrays, and what is no array at all, go to "numba"; other libraries to their own.
    """
    wants_own = arithmetic is None
    if backend is None and wants_own and _of_block.get() is _NONE and _environment_is_silent():
        return _numpys_own(named) or _of_library(None, "arithmetic", named)
    how, arithmetic = _first_choice("arithmetic", arithmetic)
    argument, backend = _first_choice("backend", backend)
    if isinstance(backend, Backend):
        # A Backend in hand was chosen with its arithmetic.
        return backend if wants_own else _of_arithmetic((backend,), backend.name, arithmetic, how)
    if backend is None:
        return _of_library(arithmetic, how, named)
    if not isinstance(backend, str):
        raise ArgumentTypeError("backend", "be a name or a Backend", shown(backend))
    return _of_arithmetic(_load(backend, argument), backend, arithmetic, how)


def name_of(backend: Backend) -> tuple[str, str, int | None]:
    """The name and arithmetic by which `get_backend` gives this very backend, and its blocks' rows.

    Raises
    ------
    ArgumentTypeError
        Where it gives another, or none.
    """
    known, rows = _loaded.get(backend.name, ()), backend.rows_per_block
    if rows is not None:
        known = tuple(
            one.with_rows_per_block(rows)
            for one in known
            if one.with_rows_per_block and one.arithmetic == backend.arithmetic
        )
    if not any(backend is one for one in known):
        required = "be known by its name where a Trainer is copied or pickled"
        raise ArgumentTypeError("backend", required, f"another one than {shown(backend.name)} is")
    return backend.name, backend.arithmetic, rows


def portable(backend: Backend) -> str | Backend:
    """A backend as another process is told of it: by its name, where this leads to it."""
    try:
        return name_of(backend)[0]
    except ArgumentTypeError:
        return backend


def library_backend(**named: Any) -> Backend:
    """The ordered backend of the arrays' own library, "numba" for NumPy's and for no array."""
    return _of_library(None, "arithmetic", named)


@contextlib.contextmanager
def use_backend(
    name: str | Backend | None = None, *, arithmetic: str | None = None
) -> Iterator[Backend]:
    """Use a backend, an arithmetic or both for every call in a with-block, in this thread or task.

    Parameters
    ----------
    name : str, Backend or None
        As for `get_backend`; None leaves the backend as it is outside.
    arithmetic : {"ordered", "fused", "native"} or None
        As for `get_backend`; None leaves the arithmetic as it is outside.

    Raises
    ------
    ArgumentError
        Where there is no such backend, or it does not offer the arithmetic.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> with fcb.use_backend("numpy"), fcb.use_backend(arithmetic="fused"):
    ...     chosen = fcb.get_backend()
    >>> chosen.name, chosen.arithmetic
    ('numpy', 'fused')
    """
    chosen = get_backend(name, arithmetic=arithmetic)
    outer = _of_block.get()
    inner = _Choice(name, arithmetic)
    if name is None:
        inner = inner._replace(backend=outer.backend)
    if arithmetic is None and not isinstance(name, Backend):
        inner = inner._replace(arithmetic=outer.arithmetic)
    token = _of_block.set(inner)
    try:
        yield chosen
    finally:
        _of_block.reset(token)


def _first_choice(what: str, keyword: Any) -> tuple[str, Any]:
    """By keyword, with-block or environment variable; and what it is called there."""
    if keyword is not None:
        return what, keyword
    of_block = getattr(_of_block.get(), what)
    if of_block is None and (value := os.environ.get(ENVIRONMENT_VARIABLES[what])):
        return ENVIRONMENT_VARIABLES[what], value
    return what, of_block


def _environment_is_silent() -> bool:
    """Whether it surely chooses nothing: to ask `get` twice takes 1.5 us, a third of a call."""
    known = getattr(os.environ, "_data", None)
    return known is not None and known.keys().isdisjoint(_KEYS)


def _numpys_own(named: dict[str, Any]) -> Backend | None:
    """The backend that most calls get, for NumPy arrays and without a choice, once it is loaded."""
    for array in named.values():
        if type(array) is not np.ndarray:
            return None
    offered = _loaded.get(DEFAULT)
    return offered[0] if offered and offered[0].arithmetic == DEFAULT_ARITHMETIC else None


def _of_library(arithmetic: str | None, how: str, named: dict[str, Any]) -> Backend:
    """The backend of the arrays' own library."""
    library = arrays.common_library(named)
    if library == "numpy":
        library = DEFAULT
    if library in _loaders:
        return _of_arithmetic(_load(library, "backend"), library, arithmetic, how)
    array = next(array for array in named.values() if arrays.is_foreign(array))
    made = namespace_backends(arrays.namespace_of(array), library)
    return _of_arithmetic(made, library, arithmetic, how)


def _of_arithmetic(
    offered: tuple[Backend, ...], name: str, arithmetic: Any, argument: str
) -> Backend:
    """The one of these backends, all of that name, that has this arithmetic."""
    arithmetic = DEFAULT_ARITHMETIC if arithmetic is None else arithmetic
    if not isinstance(arithmetic, str) or arithmetic not in ARITHMETICS:
        raise ArgumentError(argument, one_of(ARITHMETICS), shown(arithmetic))
    for backend in offered:
        if backend.arithmetic == arithmetic:
            return backend
    choices = ", ".join(repr(backend.arithmetic) for backend in offered)
    raise ArgumentError(
        argument, f"be one that backend {name!r} offers ({choices})", repr(arithmetic)
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
    with forks.held_off():
        result = loader()
    backends = tuple(result) if isinstance(result, Sequence) else (result,)
    if not backends or not all(isinstance(backend, Backend) for backend in backends):
        raise ArgumentTypeError(
            argument,
            "be one whose loader returns a Backend or a sequence of them",
            f"{shown(result)} from that of {name!r}",
        )
    # Of several threads that load it, all get what the first loaded.
    backends = _loaded.setdefault(name, backends)
    if _loaders.get(name, loader) is not loader:  # replaced meanwhile
        _loaded.pop(name, None)
        return _load(name, argument)
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
