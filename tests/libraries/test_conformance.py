"""The classes of the other libraries, and a flush-to-zero that one of them switches on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fcbackends as fcb
from fcbackends.conformance import stated_class, verify
from fcbackends.conformance.running import run_cases
from fcbackends.conformance.tally import Level
from tests.cases import DTYPES

EXACT = "every bit is as it must be"
FLUSHED = "subnormals become zero in float32 and float64"


def test_the_self_test_finds_each_librarys_class(library):
    expected = ("B", FLUSHED) if library.name == "jax" else ("A", EXACT)
    assert library.backend.conformance == expected


def test_each_library_passes_some_cases(library):
    tally = run_cases(library.backend, 1, range(24), DTYPES)
    assert tally.cases == 24
    assert tally.level == (Level.B if library.name == "jax" else Level.A)


@pytest.mark.slow
def test_each_library_keeps_its_class(library):
    letter = "B" if library.name == "jax" else "A"
    verdict = verify(library.name, cases=96, seed=1)
    assert (verdict.stated, verdict.observed, verdict.passed) == (letter, letter, True)
    assert verdict.golden == ()
    assert (verdict.tally.different == 0) == (letter == "A")


def test_native_arithmetic_of_each_library_stays_within_its_bound(library):
    verdict = verify(library.name, arithmetic="native", cases=24)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("C", "C", True)
    assert verdict.tally.error_share <= 1


def run(code, **environment):
    source = str(Path(fcb.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


SHOW = """
import fcbackends as fcb
for name in {names}:
    found = fcb.get_backend(name).conformance
    print(name, *found)
"""


def test_jax_without_64_bits_says_so():
    pytest.importorskip("jax")
    (line,) = run(SHOW.format(names=("jax",)), JAX_ENABLE_X64="0")
    assert line == "jax B subnormals become zero in float32; float64 is switched off"


def test_a_flush_to_zero_that_pytorch_has_set_is_found():
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(False):
        pytest.skip("PyTorch cannot set this CPU to flush")
    names = ("numpy", "numba", "torch")
    lines = run("import torch\ntorch.set_flush_denormal(True)\n" + SHOW.format(names=names))
    assert lines == [f"{name} B {FLUSHED}" for name in names]


def test_the_stated_class_of_a_library_that_flushes_is_b():
    pytest.importorskip("jax")
    assert stated_class(fcb.get_backend("jax")) == "B"
