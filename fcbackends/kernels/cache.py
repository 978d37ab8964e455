"""Compiled kernels on disk, in a form that can slow a run down but never fail it.

Numba's own cache does not see a changed callee in another file, raises where no directory is
writable, raises on a truncated file, and unpickles what anybody has put there. Here one file holds
one kernel, its folder's name is a hash of everything that shapes the machine code, and owner, mode
and content are checked before it is read.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import pickle
import platform
import warnings
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching, compiler, serialize
from numba.core.registry import cpu_target

from fcbackends.kernels import storage

_NOT_IN_CODE = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
"""Numba's settings that leave the machine code as it is."""


class CacheWarning(UserWarning):
    """Compiled kernels cannot be kept; the results are the same."""


def cache_directory() -> Path | None:
    """Where compiled kernels are kept: NUMBA_CACHE_DIR if set, else the user's cache folder.

    None for a user without a home: kernels are programs, and a folder that comes with the working
    directory may hold somebody else's.
    """
    if numba.config.CACHE_DIR:
        return Path(numba.config.CACHE_DIR) / "fcbackends"
    import platformdirs

    try:
        base = Path(platformdirs.user_cache_dir())
    except RuntimeError:
        return None
    # Older versions give "~/.cache" where there is no home.
    return base / "fcbackends" if base.is_absolute() else None


class KernelCache(caching._Cache):  # type: ignore[misc]
    """The cache of one kernel of one signature, in the form a Numba dispatcher asks for.

    Attributes
    ----------
    loaded : bool
        Whether the kernel was read from the cache.
    trouble : str or None
        Why the kernel, compiled, could not be kept.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.loaded = False
        self.trouble: str | None = None

    @property
    def cache_path(self) -> str:
        """The root folder of all kernels."""
        return str(cache_directory() or "")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None where the file is missing, damaged or foreign."""
        # Numba's caches refresh the context first, which imports all that a function could be
        # compiled from (and SciPy) and takes ten times as long as the rest. Kernels count no
        # references and start no threads: they link to nothing of that.
        try:
            payload = storage.read(self._file(target_context.codegen()))
            if payload is None:
                return None
            kernel = compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception:
            # Whatever a damaged file leads to, compiling anew is right.
            return None
        self.loaded = True
        return kernel

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the compiled kernel; where that fails, `trouble` says why."""
        try:
            storage.write(self._file(data.codegen), serialize.dumps(data._reduce()))
        except Exception as error:
            # Whatever stands in the way, the kernel in hand is right.
            self.trouble = getattr(error, "strerror", None) or repr(error)

    def is_kept(self) -> bool:
        """Whether there is a file for the kernel that may be read, whole or not."""
        try:
            return storage.is_there(self._file(cpu_target.target_context.codegen()))
        except OSError:
            return False

    def enable(self) -> None:
        """Nothing to do: the cache is always on."""

    def disable(self) -> None:
        """Nothing to do: the cache is always on."""

    def flush(self) -> None:
        """Nothing to do: files are replaced whole."""

    def _file(self, codegen: Any) -> Path:
        folder = cache_directory()
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, "no home directory")
        if _SOURCES is None:
            raise FileNotFoundError(errno.ENOENT, "no sources to tell one version from the next")
        target = repr((*codegen.magic_tuple(), _build()))
        key = hashlib.sha256(target.encode()).hexdigest()[: storage.BUILD_DIGITS]
        return folder / key / f"{self._name}.kernel"


_warned = False


def warn_once(reason: str) -> None:
    """Warn that compiled kernels are not kept, for the first of all reasons."""
    global _warned
    if _warned:
        return
    _warned = True
    warnings.warn(
        f"compiled kernels are not kept in {cache_directory() or '~'} ({reason}): "
        "each process compiles them anew; set NUMBA_CACHE_DIR to a writable folder of your own",
        CacheWarning,
        stacklevel=3,
    )


def _hash_sources() -> str | None:
    sources = hashlib.sha256()
    try:
        files = sorted(Path(__file__).parent.glob("*.py"))
        for file in files:
            sources.update(file.read_bytes())
    except OSError:
        return None
    return sources.hexdigest() if files else None


# Read when the kernels are imported: by their first use somebody may have changed the files.
_SOURCES = _hash_sources()


@functools.cache
def _build() -> tuple[str | None, ...]:
    """What shapes a kernel's machine code beside the target: sources, versions, options."""
    options = [f"{name}={value}" for name, value in sorted(os.environ.items())]
    return (
        _SOURCES,
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        platform.python_version(),
        *[o for o in options if o.startswith("NUMBA_") and not o.startswith(_NOT_IN_CODE)],
    )
