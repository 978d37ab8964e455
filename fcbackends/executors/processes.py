"""Processes of this machine that leave Ctrl-C to their parent, and end with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any


class Processes(ProcessPoolExecutor):
    """A pool of so many processes.

    Parameters
    ----------
    count : int
        How many.
    """

    def __init__(self, count: int) -> None:
        # Libraries with threads of their own, such as JAX, do not survive a fork.
        context = multiprocessing.get_context("spawn")
        super().__init__(count, context, initializer=_live_with_the_parent)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a call made in one of the processes, which this may be the first to need."""
        with _interrupts_held_back():
            return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; unless this is to wait for what is in hand, that is ended, too."""
        if not wait:
            for process in list((self._processes or {}).values()):
                process.terminate()
        # What the processes shared is given back by the time that they have ended.
        super().shutdown(wait=True, cancel_futures=cancel_futures or not wait)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C comes after the block, and never to processes that are started in it.

    It would else come to some of them while they import what tells them to leave it alone.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _live_with_the_parent() -> None:
    """Leave Ctrl-C to the parent process, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
