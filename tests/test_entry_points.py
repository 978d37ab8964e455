"""Backends in processes of their own: installed distributions, and what importing loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fcbackends as fcb


def python(code, *paths, **environment):
    search = os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": search, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def install(folder, entry_points, module):
    """What an installer leaves of a distribution with one module."""
    info = folder / "acme_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fcbackends.backends]\n{entry_points}\n")
    (folder / "acme_backend.py").write_text(module)


def test_a_backend_of_an_installed_distribution_is_found(tmp_path):
    install(
        tmp_path,
        "acme = acme_backend:load\nnumpy = acme_backend:hijack",
        """
import dataclasses, fcbackends
print("imported")
def load():
    return dataclasses.replace(fcbackends.get_backend("numpy"), name="acme")
def hijack():
    raise AssertionError("a taken name stays")
""",
    )
    code = """
import fcbackends as fcb
assert fcb.list_backends()["acme"] == "available"
print("listed")
assert fcb.get_backend("acme").name == "acme"
assert fcb.get_backend("numpy").name == "numpy"
print(fcb.get_backend().name, fcb.fc_forward([1.0], [[2.0]], [3.0]))
"""
    assert python(code, tmp_path) == "listed\nimported\nnumba [5.]\n"
    # The variable names it before anything else has.
    assert python(code, tmp_path, FCBACKENDS_BACKEND="acme").endswith("acme [5.]\n")


HEAVY = (
    "numba llvmlite torch jax dask cupy array_api_strict click rich polars matplotlib safetensors "
    "tqdm scipy sklearn pyarrow pandas"
)


def test_importing_the_package_imports_no_optional_library():
    code = f"""
import sys
import fcbackends
print([name for name in {HEAVY.split()!r} if name in sys.modules])
"""
    assert python(code) == "[]\n"


def test_the_numpy_backend_runs_without_numba_in_the_process():
    code = """
import sys
import fcbackends as fcb
fcb.train([[1.0], [2.0]], [[1.0], [2.0]], lr=0.1, max_steps=3, backend="numpy")
fcb.list_backends()
print([name for name in ("numba", "torch", "jax", "click", "polars") if name in sys.modules])
"""
    assert python(code) == "[]\n"


def test_the_name_of_a_library_that_is_not_installed_may_be_taken():
    missing = [n for n, state in fcb.list_backends().items() if state != "available"]
    if not missing:
        pytest.skip("every library is installed here")
    code = f"""
import fcbackends as fcb
fcb.register_backend({missing[0]!r}, lambda: fcb.get_backend("numpy"))
assert fcb.list_backends()[{missing[0]!r}] == "available"
print(fcb.get_backend({missing[0]!r}).name)
"""
    assert python(code) == "numpy\n"
