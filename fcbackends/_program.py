"""How Ctrl-C and SIGTERM end the program `fcbackends` while it is imported: at once.

It comes before all else, and imports next to nothing, since Python's own way ends in a traceback.
What the two do afterwards is up to `fcbackends.cli`. In any other process nothing changes.
"""

import os
import signal
import sys

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def end_at_once(signum: int, frame: object = None) -> None:
    """Say which signal it was, and leave everything as it is."""
    try:
        os.write(2, f"fcbackends: {WORDS[signal.Signals(signum)]}\n".encode())
    finally:
        os._exit(128 + signum)


def _is_this_process() -> bool:
    program, *arguments = getattr(sys, "argv", None) or [""]
    if program == "-m":  # while the package of that name is imported
        name = sys.orig_argv[len(sys.orig_argv) - len(arguments) - 1]
        return name.removeprefix("-m") == "fcbackends"
    # A process that this one starts has its argv, but other arguments of its own.
    is_named_so = os.path.splitext(os.path.basename(program))[0] == "fcbackends"
    return is_named_so and program in sys.orig_argv


if _is_this_process():
    for _signum in WORDS:
        # A shell's jobs in the background ignore Ctrl-C.
        if signal.getsignal(_signum) is not signal.SIG_IGN:
            signal.signal(_signum, end_at_once)
