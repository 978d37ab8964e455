"""Forks of a process whose other threads are at work: what they hold is held for ever in the child.

So a fork waits while one loads a backend, or compiles; a Trainer that one is using is refused in
the child.
"""

from __future__ import annotations

import contextlib
import logging  # noqa: F401  its lock, which Numba takes, is closed at a fork after these here
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, NoReturn

_MOST_SECONDS = 60
"""A fork that waited so long goes on: what it waits for may wait for another library's hook."""

_open = threading.Condition()
_closed = contextlib.ExitStack()
"""The locks that a fork holds: in the child they are open again."""

_works = 0
_of_thread = threading.local()


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """A with-block in which no other thread forks.

    A module that a thread was importing when the process was forked could not be imported in the
    child: its lock would stay closed. Threads may be in such blocks at once.
    """
    global _works
    own = getattr(_of_thread, "works", 0)
    with _open:
        _works += 1
        _of_thread.works = own + 1
    try:
        yield
    finally:
        with _open:
            _works -= 1
            _of_thread.works = own
            _open.notify_all()


def _locks_of_compilers() -> list[Any]:
    """Numba's lock, and the one that llvmlite takes for each call, where they are imported."""
    numbas = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    library = getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None)
    locks = (getattr(held, "_lock", None) for held in (numbas, getattr(library, "_lock", None)))
    return [lock for lock in locks if lock is not None]


def _close() -> None:
    _closed.enter_context(_open)
    # Before the compilers' locks: to load a backend may be to compile.
    own = getattr(_of_thread, "works", 0)
    _open.wait_for(lambda: _works == own, _MOST_SECONDS)
    for lock in _locks_of_compilers():
        if lock.acquire(timeout=_MOST_SECONDS):
            _closed.callback(lock.release)


class _Broken:
    """A lock that nobody gets."""

    def __enter__(self) -> NoReturn:
        raise RuntimeError(
            "this Trainer was taking steps in another thread when the process was forked: make one "
            "here from a `state` that was read before, or fork between its steps"
        )

    def __exit__(self, *error: object) -> None:
        """Not reached."""


_guarded: weakref.WeakSet[Any] = weakref.WeakSet()


def refuse_in_children(trainer: Any) -> None:
    """Let processes that are forked inside of another thread's `with trainer._lock` refuse it.

    That thread's step is half done, and its lock would stay closed.
    """
    _guarded.add(trainer)


def _look_at_locks() -> None:
    _closed.close()
    for trainer in list(_guarded):
        if trainer._lock.acquire(blocking=False):
            trainer._lock.release()
        else:
            trainer._lock = _Broken()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close, after_in_parent=_closed.close, after_in_child=_look_at_locks)
