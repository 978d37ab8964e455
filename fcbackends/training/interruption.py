"""Ctrl-C and the end of a run's time as questions, so that a run can end between two steps.

Ctrl-C is the caller's: a run ends between two steps and then raises KeyboardInterrupt, which ends
the caller's loop as well. Who asks for the result so far, with `on_interrupt` "return", gets it
instead, and decides what goes on.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal, TypeAlias

OnInterrupt: TypeAlias = Literal["raise", "return"]

Ending: TypeAlias = "Callable[[], str | None]"
"""Why a run is to end now: the stop reason "interrupted" or "time_limit", or None."""

INTERRUPTING: set[Any] = {signal.default_int_handler}
"""Handlers of signals that raise KeyboardInterrupt and that a run may hold back: Python's own and,
where the process is a program that ends with its run, that program's."""


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """A with-block in which Ctrl-C raises nothing; the function given says whether it came.

    It is to be asked after the block as well: Ctrl-C may come after its last question inside. A
    second Ctrl-C raises KeyboardInterrupt as ever. So it is with SIGTERM, where that is a program's
    way to be interrupted. Outside the main thread, and where the program has a handler of its own,
    nothing changes.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    both = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before: dict[signal.Signals, Any] = {k: v for k, v in both.items() if v in INTERRUPTING}

    def note(signum: int, frame: FrameType | None) -> None:
        came.set()
        restore()
        # It may count them; what it raises is what is held back.
        with contextlib.suppress(KeyboardInterrupt):
            before[signal.Signals(signum)](signum, frame)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield came.is_set
    finally:
        restore()


def ending(
    interrupted: Callable[[], bool], deadline: float | None, breaks_off: bool = False
) -> Ending:
    """Why a run is to end: Ctrl-C, or that `time.perf_counter` has reached the deadline.

    Where Ctrl-C `breaks_off` a run, since nobody wants to know how it stands, KeyboardInterrupt is
    raised at once: of 1e8 parameters, to see that they are finite takes 0.5 s.
    """

    def why() -> str | None:
        if interrupted():
            if breaks_off:
                raise KeyboardInterrupt
            return "interrupted"
        if deadline is not None and time.perf_counter() >= deadline:
            return "time_limit"
        return None

    return why
