"""What there is to compute with: backends, versions, CPU, BLAS, cache."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Container

import numpy as np

import fcbackends as fcb
from fcbackends.backends.registry import ENVIRONMENT_VARIABLES, backends_of
from fcbackends.maths.arithmetic import ARITHMETICS
from fcbackends.report.terminal import print_table

_PACKAGES = ("numpy", "numba", "llvmlite", "array-api-compat")


def show_info() -> None:
    """Print backends with states and classes, what is chosen, versions, CPU, BLAS and cache."""
    states = fcb.list_backends()
    print_table(
        [
            (name, state, *row)
            for name, state in states.items()
            for row in (_conformance(name) if state == "available" else [("", "", "")])
        ],
        ("backend", "state", "arithmetic", "class", "self-test"),
    )
    print()
    print_table(
        [
            ("fcbackends", fcb.__version__),
            ("contract", f"version {fcb.CONTRACT_VERSION}"),
            *(
                (variable, _setting(variable, choices))
                for variable, choices in zip(
                    ENVIRONMENT_VARIABLES.values(), (tuple(states), tuple(ARITHMETICS)), strict=True
                )
            ),
            ("Python", platform.python_version()),
            *((package, importlib.metadata.version(package)) for package in _PACKAGES),
            ("CPU", _cpu()),
            ("BLAS", _blas()),
            ("kernel cache", _cache()),
        ]
    )


def _conformance(name: str) -> list[tuple[str, str, str]]:
    """The exact arithmetics that a backend offers, their class, and what the self-test found."""
    try:
        offered = backends_of(name)
    except Exception as error:  # whatever another package's loader may raise
        return [("", "", f"{type(error).__name__}: {error}")]
    return [(b.arithmetic, *b.conformance) for b in offered if b.arithmetic != "native"]


def _setting(variable: str, choices: Container[str]) -> str:
    """What an environment variable chooses."""
    chosen = os.environ.get(variable)
    unknown = "" if not chosen or chosen in choices else " (no such choice)"
    return f"{chosen}{unknown}" if chosen else "not set"


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
