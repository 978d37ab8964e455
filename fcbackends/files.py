"""Files that can be read before work begins, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from fcbackends.errors import ArgumentError

if sys.platform != "win32":
    import fcntl


def readable(name: str, argument: str, suffixes: Sequence[str] = ()) -> Path:
    """The path of a file that can be opened and has one of the suffixes (any, if none given).

    Raises
    ------
    ArgumentError
        Where it has another suffix or cannot be opened.
    """
    path = _suffixed(name, argument, suffixes)
    try:
        # A FIFO that is closed again has ended for its writer.
        if not stat.S_ISFIFO(path.stat().st_mode):
            path.open("rb").close()
    except (OSError, ValueError) as error:
        came = f"{name!r}: {_reason(error)}"
        raise ArgumentError(argument, "be a readable file", came) from None
    return path


@contextlib.contextmanager
def understood(name: str, argument: str, required: str) -> Iterator[Path]:
    """A file to be read in a with-block: whatever goes wrong there is an ArgumentError of it."""
    # A pipe would be waited for.
    if Path(name).exists() and not (Path(name).is_file() or Path(name).is_dir()):
        raise ArgumentError(argument, required, f"{name!r}: no regular file")
    path = readable(name, argument)
    try:
        yield path
    except Exception as error:
        # A foreign file can go wrong in any line that reads it.
        reason = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        reason = reason or type(error).__name__
        raise ArgumentError(argument, required, f"{name!r}: {_glance(reason)}") from None


def _glance(reason: str) -> str:
    """A reason that a foreign file may have made, in printable characters and not without end."""
    printable = "".join(c if c.isprintable() else "?" for c in " ".join(reason.split()))
    return printable if len(printable) <= 200 else f"{printable[:200]}..."


def writable(name: str, argument: str, suffixes: Sequence[str]) -> Path:
    """The path, links resolved, of a file that can be written later.

    Raises
    ------
    ArgumentError
        Where it has another suffix, is no regular file or one that may not be written, or cannot
        be one, or its folder is not there or takes no files.
    """
    path = _suffixed(name, argument, suffixes)
    try:
        path = Path(os.path.realpath(path))
        there = _status(path)
        in_folder = path.parent.is_dir()
    except (OSError, ValueError) as error:
        came = f"{name!r}: {_reason(error)}"
        raise ArgumentError(argument, "be a file that can be written", came) from None
    if there and stat.S_ISDIR(there.st_mode):
        raise ArgumentError(argument, "be a file", f"{name!r}: a folder")
    if there and not stat.S_ISREG(there.st_mode):
        raise ArgumentError(argument, "be a file", f"{name!r}: a FIFO, socket or device")
    if there and not os.access(path, os.W_OK):
        raise ArgumentError(argument, "be a file that can be written", f"{name!r}: read-only")
    if not in_folder:
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
    try:
        return os.path.realpath(one) == os.path.realpath(other) or os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them is not there yet, or no name of a file
        return False


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file to write beside `path`: at the end it becomes `path`, on any error it vanishes.

    It keeps the mode and, where that is allowed, the owner of a file that was there. What has
    become `path` is on the disk, and stays there if the machine stops. What killed processes left
    of such files in the folder goes.

    Raises
    ------
    OSError
        Of `path`, wherever writing fails.
    """
    try:
        there = _status(path)
        _sweep(path.parent)
        with _new_file(path.parent, 0o600 if there else 0o666) as temporary:
            yield temporary
            if there:
                _take_over(temporary, there)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all, as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def _new_file(folder: Path, mode: int) -> Iterator[Path]:
    """An empty file, locked as long as this process needs it; at the end it is not there."""
    while True:
        # As short for any name of the file, so that none becomes too long by it.
        path = folder / f"{_prefix()}{os.urandom(8).hex()}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        try:
            _lock(handle, wait=True)
            if not path.exists():  # a sweep came before the lock
                continue
            if sys.platform == "win32":  # an open file cannot be renamed
                os.close(handle)
            yield path
            return
        finally:
            path.unlink(missing_ok=True)
            if sys.platform != "win32":
                os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote: their files are not locked."""
    if sys.platform != "win32":
        for path in folder.glob(f"{_prefix()}*"):
            with contextlib.suppress(OSError):  # it may be another user's, or gone
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle, wait=False):
                        path.unlink()
                finally:
                    os.close(handle)


def _prefix() -> str:
    """What the names of this machine's temporary files begin with.

    Some file systems that machines share have locks of each machine alone.
    """
    return f".fcbackends-{zlib.crc32(platform.node().encode()):08x}-"


def _lock(handle: int, *, wait: bool) -> bool:
    """Whether the file is locked by this process now: not where the file system has no locks."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return True
    return False


def _status(path: Path) -> os.stat_result | None:
    """What there is; None for nothing."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _take_over(temporary: Path, there: os.stat_result) -> None:
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # not everybody may
            os.chown(temporary, there.st_uid, there.st_gid)
    temporary.chmod(there.st_mode & 0o777)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _suffixed(name: str, argument: str, suffixes: Sequence[str]) -> Path:
    path = Path(name)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ArgumentError(argument, f"end in {' or '.join(suffixes)}", repr(name))
    return path
