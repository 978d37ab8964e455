"""Ctrl-C as a question that a run asks, so that it can end between two steps.

Ctrl-C is the caller's: a run ends between two steps and then raises KeyboardInterrupt, which ends
the caller's loop as well. Who asks for the result so far, with `on_interrupt` "return", gets it
instead, and decides what goes on.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Literal, TypeAlias

OnInterrupt: TypeAlias = Literal["raise", "return"]


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """A with-block in which Ctrl-C raises nothing; the function given says whether it came.

    It is to be asked after the block as well: Ctrl-C may come after its last question inside. A
    second Ctrl-C raises KeyboardInterrupt as ever. Outside the main thread, and where the program
    has a handler of its own, nothing changes.
    """
    came = threading.Event()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield came.is_set
        return

    def note(signum: int, frame: FrameType | None) -> None:
        came.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
