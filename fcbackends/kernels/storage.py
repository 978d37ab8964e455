"""Files of compiled kernels, a folder for each build: whole and in their place, or not there.

Other processes may write, replace and remove any of them at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

MOST_BUILDS = 16
"""How many builds' folders are kept: the most recently used."""

BUILD_DIGITS = 24
_BUILD_NAME = re.compile(rf"[0-9a-f]{{{BUILD_DIGITS}}}")
_SEAL_BYTES = hashlib.sha256().digest_size


def read(file: Path) -> bytes | None:
    """What `write` put there; None where the file is missing, damaged, or another one's."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    # A folder's time of change is when its build was last used.
    with contextlib.suppress(OSError):
        os.utime(file.parent)
    seal, payload = content[:_SEAL_BYTES], content[_SEAL_BYTES:]
    return payload if _seal(file, payload) == seal else None


def write(file: Path, payload: bytes) -> None:
    """Put the file there, whole, in its build's folder; OSError where that fails.

    Where the folder is new, those of the builds that were not used for longest are removed.
    """
    try:
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True, exist_ok=True)
            _remove_old_builds(file.parent)
        _replace(file, _seal(file, payload) + payload)
    except OSError:
        # What another process has put there meanwhile does as well.
        if read(file) is None:
            raise


def _seal(file: Path, payload: bytes) -> bytes:
    """A digest of content and place: a file under another's name is a foreign one."""
    place = f"{file.parent.name}/{file.name}\n"
    return hashlib.sha256(place.encode() + payload).digest()


def _replace(file: Path, content: bytes) -> None:
    """Write beside the file and replace it, so that no reader sees half of it."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(handle, "wb") as beside:
            beside.write(content)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
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
