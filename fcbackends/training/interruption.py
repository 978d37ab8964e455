"""Ctrl-C as a question that a run asks, so that it can end between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a training between two steps.

    It ends the caller's loop as any KeyboardInterrupt does; who asks for what there is so far
    catches it.

    Attributes
    ----------
    result : TrainResult or tuple of TrainResult
        What `train`, `Trainer.run` or `train_many` had by then, its stop_reason "interrupted".
    """

    def __init__(self, result: Any) -> None:
        super().__init__("training was interrupted; what there is so far is kept in `.result`")
        self.result = result


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
