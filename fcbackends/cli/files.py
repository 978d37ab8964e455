"""Files that can be read before work begins, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fcbackends.errors import ArgumentError


def readable(name: str, argument: str, suffixes: Sequence[str] = ()) -> Path:
    """The path of a file that can be opened and has one of the suffixes (any, if none given)."""
    path = _suffixed(name, argument, suffixes)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ArgumentError(
            f"`{argument}` must be a readable file, got {name!r}: {error.strerror}"
        ) from None


def writable(name: str, argument: str, suffixes: Sequence[str]) -> Path:
    """The path of a file that can be written later: its folder is there and takes files."""
    path = Path(os.path.realpath(_suffixed(name, argument, suffixes)))
    if path.is_dir():
        raise ArgumentError(f"`{argument}` must be a file, got {name!r}: a folder")
    if not path.parent.is_dir():
        raise ArgumentError(f"`{argument}` must be in a folder that exists, got {name!r}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ArgumentError(f"`{argument}` must be in a writable folder, got {name!r}")
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path`: at the end it becomes `path`, on any error it vanishes."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _suffixed(name: str, argument: str, suffixes: Sequence[str]) -> Path:
    path = Path(name)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ArgumentError(f"`{argument}` must end in {' or '.join(suffixes)}, got {name!r}")
    return path
