"""What a run was made with: versions and the machine, without names of users, hosts or folders."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from fcbackends.backends.backend import Backend

_PACKAGES = ("numpy", "numba", "llvmlite", "array-api-compat")


def versions(backend: Backend) -> dict[str, str]:
    """Those of the package, of Python, and of the libraries that compute."""
    found = {
        # It stands above all that is imported here.
        "fcbackends": sys.modules[__name__.partition(".")[0]].__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }
    # Libraries have several distributions for one module; what runs says what it is.
    library = getattr(sys.modules.get(backend.name), "__version__", None)
    return found if library is None else {**found, backend.name: str(library)}


def machine() -> dict[str, str]:
    """The system, its architecture and the kind of its CPU."""
    from llvmlite import binding

    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu": str(binding.get_host_cpu_name()),
    }
