"""The command line: `fcbackends`, or `python -m fcbackends`.

Exit status: 0 done; 1 the work failed (the loss diverged, the backends disagree, the disk is
full, nobody reads the output any more); 2 bad input; 130 interrupted, 143 terminated. Whatever
fails says so in one line on stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from fcbackends.cli import interruption
from fcbackends.errors import ArgumentError, DivergenceError, SweepError, both_ends, printable

_EXTRAS = {
    **dict.fromkeys(("click", "rich", "polars", "matplotlib", "safetensors"), "cli"),
    **dict.fromkeys(("cpuinfo", "jinja2", "msgspec", "scipy", "threadpoolctl"), "bench"),
    **dict.fromkeys(("dask", "distributed"), "distributed"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; those of the process if left out, which is then to
        end.
    """
    if argv is not None:
        return _run(argv)
    try:
        interruption.begin()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # What its encoding lacks is shown in ASCII, as on stderr.
            sys.stdout.reconfigure(errors="backslashreplace")
        status = _run(sys.argv[1:])
        interruption.end()
    except KeyboardInterrupt:
        # While the end of something else was told.
        status = _interrupted()
    if interruption.came():
        # All is said and cleared away. The interpreter's own end takes up to 0.2 s more, and has
        # another exit status where KeyboardInterrupt has come through an `exec`, caught or not.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status)
    return status


def _run(argv: Sequence[str]) -> int:
    try:
        with interruption.nothing_else():
            from fcbackends.cli.app import run

            status = run(argv)
            print(end="", flush=True)
            return status
    except ArgumentError as error:
        return _fail(2, str(error))
    except DivergenceError as error:
        # Classes have no scale.
        sides = "inputs" if any("cross_entropy" in word for word in argv) else "both"
        remedy = error.data or f"lower `--lr`, or scale the data with `--standardize {sides}`"
        return _fail(1, "; ".join((error.what, remedy, *getattr(error, "__notes__", ()))))
    except SweepError as error:
        return _fail(1, error.what)
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        return _fail(2, f"this command needs {package}: install `fcbackends[{_EXTRAS[package]}]`")
    except KeyboardInterrupt:
        return _interrupted()
    except MemoryError as error:
        return _fail(1, f"not enough memory: {error}")
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(
            1, f"{error.strerror or error}: {both_ends(str(error.filename or 'stdout'), 400)}"
        )


def _interrupted() -> int:
    return _fail(*interruption.status_and_word())


def _fail(status: int, text: str) -> int:
    print("fcbackends:", printable(" ".join(text.split())), file=sys.stderr)
    return status
