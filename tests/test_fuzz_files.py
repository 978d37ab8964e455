"""A short run of the fuzzer of files: `python -m tests.fuzz.files` is the long one."""

import sys

import pytest

from tests.cases import needs_jit

pytestmark = [needs_jit, pytest.mark.skipif(sys.platform != "linux", reason="limits of memory")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet", "npy", "npz", "model", "run"])
def test_damaged_files_of(kind):
    from tests.fuzz import files

    assert list(files.findings(kind, seed=1, cases=40)) == []
