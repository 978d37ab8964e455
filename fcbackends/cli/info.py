"""What there is to compute with: backends, versions, CPU, BLAS, cache."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import numpy as np

import fcbackends as fcb
from fcbackends.backends.registry import ENVIRONMENT_VARIABLE
from fcbackends.report.terminal import print_table

_PACKAGES = ("numpy", "numba", "llvmlite", "array-api-compat")


def show_info() -> None:
    """Print backends with states and classes, what is chosen, versions, CPU, BLAS and cache."""
    states = fcb.list_backends()
    print_table(
        [(name, state, *_conformance(name, state)) for name, state in states.items()],
        ("backend", "state", "class", "self-test"),
    )
    print()
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    unknown = "" if not chosen or chosen in states else " (no such backend)"
    print_table(
        [
            ("fcbackends", fcb.__version__),
            ("contract", f"version {fcb.CONTRACT_VERSION}"),
            (ENVIRONMENT_VARIABLE, f"{chosen}{unknown}" if chosen else "not set"),
            ("Python", platform.python_version()),
            *((package, importlib.metadata.version(package)) for package in _PACKAGES),
            ("CPU", _cpu()),
            ("BLAS", _blas()),
            ("kernel cache", _cache()),
        ]
    )


def _conformance(name: str, state: str) -> tuple[str, str]:
    """The class of a backend's ordered arithmetic, and what its self-test found."""
    if state != "available":
        return "", ""
    try:
        found = fcb.get_backend(name).conformance
    except Exception as error:  # whatever another package's loader may raise
        return "", f"{type(error).__name__}: {error}"
    return found.letter, found.reason


def _cpu() -> str:
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()}, {os.cpu_count()} cores"


def _blas() -> str:
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')} (NumPy's)"


def _cache() -> str:
    from fcbackends.kernels.cache import cache_directory

    folder = cache_directory()
    if folder is None:
        return "none (no home directory)"
    try:
        files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    except OSError as error:
        return f"{folder} ({error.strerror})"
    return f"{folder} ({len(files)} files, {sum(files) / 1e6:.1f} MB)"
