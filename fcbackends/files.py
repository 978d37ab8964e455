"""Files that can be read before work begins, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from fcbackends.errors import ArgumentError


def readable(name: str, argument: str, suffixes: Sequence[str] = ()) -> Path:
    """The path of a file that can be opened and has one of the suffixes (any, if none given).

    Raises
    ------
    ArgumentError
        Where it has another suffix or cannot be opened.
    """
    path = _suffixed(name, argument, suffixes)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ArgumentError(argument, "be a readable file", f"{name!r}: {error.strerror}") from None


def writable(name: str, argument: str, suffixes: Sequence[str]) -> Path:
    """The path, links resolved, of a file that can be written later.

    Raises
    ------
    ArgumentError
        Where it has another suffix or is a folder, or its folder is not there or takes no files.
    """
    path = Path(os.path.realpath(_suffixed(name, argument, suffixes)))
    if path.is_dir():
        raise ArgumentError(argument, "be a file", f"{name!r}: a folder")
    if not path.parent.is_dir():
        raise ArgumentError(argument, "be in a folder that exists", repr(name))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ArgumentError(argument, "be in a writable folder", repr(name))
    return path


def apart(
    written: Sequence[tuple[str, str | None]], read: Sequence[tuple[str, str | None]] = ()
) -> None:
    """Check that no file that a call writes is one that it reads, or writes for something else.

    Both are pairs of an argument and the file's name; None, where there is none, is passed over.

    Raises
    ------
    ArgumentError
        Where two names are of one file: the same path, links resolved, or hard links to it.
    """
    for place, (argument, name) in enumerate(written):
        for other, other_name in (*written[place + 1 :], *read):
            if name is not None and other_name is not None and _is_same(name, other_name):
                got = f"{name!r} and {other_name!r}"
                raise ArgumentError((argument, other), "be different files", got)


def _is_same(one: str, other: str) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there yet
        return False


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path`: at the end it becomes `path`, on any error it vanishes."""
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _suffixed(name: str, argument: str, suffixes: Sequence[str]) -> Path:
    path = Path(name)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ArgumentError(argument, f"end in {' or '.join(suffixes)}", repr(name))
    return path
