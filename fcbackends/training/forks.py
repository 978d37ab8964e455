"""Trainers in a process that was forked while another thread was using them.

That thread is not there any more, its lock stays closed, and its step is half done: waiting would
have no end. So what is asked of such a Trainer is refused.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, NoReturn

_guarded: weakref.WeakSet[Any] = weakref.WeakSet()


class _Broken:
    """A lock that nobody gets."""

    def __enter__(self) -> NoReturn:
        raise RuntimeError(
            "this Trainer was taking steps in another thread when the process was forked: make one "
            "here from a `state` that was read before, or fork between its steps"
        )

    def __exit__(self, *error: object) -> None:
        """Not reached."""


def refuse_in_children(trainer: Any) -> None:
    """Let processes that are forked inside of another thread's `with trainer._lock` refuse it."""
    _guarded.add(trainer)


def _look_at_locks() -> None:
    for trainer in list(_guarded):
        if trainer._lock.acquire(blocking=False):
            trainer._lock.release()
        else:
            trainer._lock = _Broken()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_look_at_locks)
