"""Ctrl-C and SIGTERM in a process that is the program `fcbackends`.

The first of them is a KeyboardInterrupt, which a run of training holds back until it has ended by
itself; the second ends the process at once.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fcbackends._program import WORDS, end_at_once
from fcbackends.training.interruption import INTERRUPTING

_SECONDS_TO_NOTICE = 0.1

_came: list[int] = []
"""The first of the two signals that came, if one did."""


def begin() -> None:
    """From now on the first signal is a KeyboardInterrupt, of the main thread.

    Where that is inside something that takes long, such as a compiler, or where another thing
    swallows it, the signal ends the process at once.
    """
    INTERRUPTING.add(_interrupt)
    sys.unraisablehook = _end_or_say
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    # `told` is held as well: it is to live as long as the process.
    threading.Thread(target=_watch, args=(heard, told), daemon=True).start()
    _handle(_interrupt)


def came() -> bool:
    """Whether one of the two has come."""
    return bool(_came)


def end() -> None:
    """From now on a signal ends the process, with no word of what it ended in."""
    _handle(signal.SIG_DFL)


@contextlib.contextmanager
def nothing_else() -> Iterator[None]:
    """A with-block that a signal ends with KeyboardInterrupt, whatever was made of that inside."""
    try:
        yield
    except BaseException:
        if not _came:
            raise
        raise KeyboardInterrupt from None
    if _came:
        raise KeyboardInterrupt


def status_and_word() -> tuple[int, str]:
    """The exit status after a KeyboardInterrupt, and what to say."""
    signum = signal.Signals(*_came or [signal.SIGINT])
    return 128 + signum, WORDS[signum]


def _interrupt(signum: int, frame: object = None) -> None:
    if _came:
        end_at_once(signum)
    _came.append(signum)
    raise KeyboardInterrupt


def _watch(heard: socket.socket, told: socket.socket) -> None:
    """Read what signals come, as soon as they do, beside the main thread."""
    is_first = True
    while True:
        signum = heard.recv(1)[0]
        if signum not in WORDS:
            continue
        if is_first:
            is_first = False
            time.sleep(_SECONDS_TO_NOTICE)
            # A run of training that holds it back has its own way to end.
            if _came or signal.getsignal(signum) is not _interrupt:
                continue
        end_at_once(signum)


def _end_or_say(unraisable: Any) -> None:
    if _came:
        end_at_once(_came[0])
    sys.__unraisablehook__(unraisable)


def _handle(handler: Callable[[int, Any], Any] | signal.Handlers) -> None:
    for signum in WORDS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, handler)
