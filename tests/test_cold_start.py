"""What a new process imports: no more than what it then uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcbackends.kernels.cache import cache_directory
from tests.cases import needs_jit

SOURCE = Path(__file__).parents[1]
LOSS = "fcb.mean_squared_loss(np.ones((2, 3)), np.ones((2, 3)))"
STEP = "fcb.sgd_step(fcb.init_params((2, 3)), np.ones(2), np.ones(3), 0.1)"
TRAIN = "fcb.train(np.ones((9, 2)), np.ones((9, 3)), lr=0.1, max_steps=9)"


def imported(code, cache):
    """The modules that a process has imported when it has run the code."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        cwd=SOURCE,
    )
    return set(result.stdout.split())


def test_importing_imports_numpy_and_little_else(tmp_path):
    of_numpy = imported("import numpy", tmp_path)
    names = {
        name.partition(".")[0]
        for name in imported("import fcbackends", tmp_path) - of_numpy
        if not name.startswith(("fcbackends", "org", "numpy.", "numpy.typing"))
    }
    heavy = {"array_api_compat", "asyncio", "hashlib", "llvmlite", "numba", "platformdirs", "tqdm"}
    assert not names & heavy
    assert names <= sys.stdlib_module_names


def after(work, cache):
    return imported(f"import numpy as np\nimport fcbackends as fcb\n{work}", cache)


@needs_jit
def test_compiling_imports_what_compiles(tmp_path):
    assert "numba.np.linalg" in after(LOSS, tmp_path)


@needs_jit
@pytest.mark.parametrize("work", [LOSS, STEP, TRAIN])
def test_a_kernel_is_read_without_what_compiles_it(work):
    cache = cache_directory().parent
    after(work, cache)  # compiles it, where no other test has
    reads = after(work, cache)
    assert not reads & {"array_api_compat.numpy", "numba.np.linalg", "scipy.linalg", "tqdm"}
