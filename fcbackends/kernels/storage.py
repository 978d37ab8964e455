"""Files of compiled kernels, a folder for each build: whole and in their place, or not there.

Other processes may write, replace and remove any of them at any time. Kernels are programs: what
does not belong to the user, or root, or what others may write, is neither read nor written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

MOST_BUILDS = 16
"""How many builds' folders are kept: the most recently used."""

BUILD_DIGITS = 24
_BUILD_NAME = re.compile(rf"[0-9a-f]{{{BUILD_DIGITS}}}")
_SEAL_BYTES = hashlib.sha256().digest_size

_HAS_OWNERS = hasattr(os, "geteuid") and os.open in os.supports_dir_fd
"""Elsewhere the user's own cache folder is one that others have no access to."""

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | _NO_LINK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | _NO_LINK


def read(file: Path) -> bytes | None:
    """What `write` put there; None where it is missing, damaged, another one's, or not private."""
    try:
        with _build(file.parent) as build, os.fdopen(_opened(file, build), "rb") as opened:
            content = opened.read()
    except OSError:
        return None
    # A folder's time of change is when its build was last used.
    with contextlib.suppress(OSError):
        os.utime(file.parent)
    seal, payload = content[:_SEAL_BYTES], content[_SEAL_BYTES:]
    return payload if _seal(file, payload) == seal else None


def write(file: Path, payload: bytes) -> None:
    """Put the file there, whole, in its build's folder; OSError where that fails.

    The folder is one that only the user can open. Where it is new, those of the builds that were
    not used for longest are removed.
    """
    folder = file.parent
    try:
        is_new = not folder.is_dir()
        if is_new:
            folder.parent.parent.mkdir(parents=True, exist_ok=True)
        with _build(folder, make=is_new) as build:
            if is_new:
                _remove_old_builds(folder)
            _replace(file, build, _seal(file, payload) + payload)
    except OSError:
        # What another process has put there meanwhile does as well.
        if read(file) is None:
            raise


def _seal(file: Path, payload: bytes) -> bytes:
    """A digest of content and place: a file under another's name is a foreign one."""
    place = f"{file.parent.name}/{file.name}\n"
    return hashlib.sha256(place.encode() + payload).digest()


def is_there(file: Path) -> bool:
    """Whether there is a file that `read` trusts, whole or not."""
    try:
        with _build(file.parent) as build:
            os.close(_opened(file, build))
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _build(folder: Path, *, make: bool = False) -> Iterator[int | None]:
    """A build's folder, opened through that of all builds: nobody can put another in its place.

    None where there are no owners. OSError where one of the two is not there, or not private.
    """
    if not _HAS_OWNERS:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        yield None
        return
    if folder.parent.is_symlink():
        raise PermissionError(errno.EPERM, "it is a link")
    with contextlib.ExitStack() as stack:
        handle = None
        for place in (folder.parent, folder.name):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(place, 0o700, dir_fd=handle)
            handle = os.open(place, _FOLDER, dir_fd=handle)
            stack.callback(os.close, handle)
            _require_private(handle)
        yield handle


def _opened(file: Path, build: int | None) -> int:
    """The file, opened to be read; OSError where it is not there, or not private."""
    handle = os.open(_within(file, build), _READ, dir_fd=build)
    try:
        if build is not None:
            _require_private(handle)
    except OSError:
        os.close(handle)
        raise
    return handle


def _require_private(handle: int) -> None:
    there = os.fstat(handle)
    if there.st_uid not in (os.geteuid(), 0):
        raise PermissionError(errno.EPERM, "it belongs to somebody else")
    if there.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "others may write to it")


def _within(file: Path, build: int | None) -> str:
    """What a file is called in its build's folder, where that is open."""
    return str(file) if build is None else file.name


def _replace(file: Path, build: int | None, content: bytes) -> None:
    """Write beside the file and replace it, so that no reader sees half of it."""
    beside = _within(file.with_name(f"{secrets.token_hex(8)}.new"), build)
    handle = os.open(beside, _WRITE, 0o600, dir_fd=build)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        os.replace(beside, _within(file, build), src_dir_fd=build, dst_dir_fd=build)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside, dir_fd=build)
        raise


def _remove_old_builds(new: Path) -> None:
    """Keep `new` and the most recently used of the other builds.

    A process that uses a removed build has its kernels in memory, and compiles what it lacks.
    """
    with contextlib.suppress(OSError):
        others = [
            folder
            for folder in new.parent.iterdir()
            if _BUILD_NAME.fullmatch(folder.name) and folder != new
        ]
        others.sort(key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in others[MOST_BUILDS - 1 :]:
            shutil.rmtree(folder, ignore_errors=True)
