"""The peers' benchmark as users run it: with whatever peers and compilers there are."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

import fcbackends as fcb

SOURCE = Path(fcb.__file__).parents[1]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WORK = "train step 2-3 batch 1 float64"

HAS_COMPILER = any(map(shutil.which, ("cc", "gcc", "clang")))

JUDGED = f"""
import numpy as np
import contest, contestants, workloads

work = next(work for work in contest.WORKS if work.name == {WORK!r})
wanted = contestants.reference(work, "ordered")

class Idle(contestants.NotebookLoop):
    def go(self):
        pass

class Faster(contestants.NumbaTraining):
    def start(self, units):
        super().start(2 * units)

class Bit(contestants.NumbaTraining):
    def result(self):
        (w, b), = super().result()
        return ((np.nextafter(w, 9), b),)

for peer in (Idle, Faster, Bit, contestants.NumbaTraining, contestants.NotebookLoop):
    found = contest.agreement(work, peer(work), wanted)
    print(found["kept"], found["agreement"])
"""

SETTLED = f"""
import contest, contestants

work = next(work for work in contest.WORKS if work.name == {WORK!r})
calls = []

class Watched(contestants.NumbaTraining):
    def start(self, units):
        calls.append(units)
        super().start(units)

contest.units_of(work, Watched(work))
assert calls[0] >= 10**8 > max(calls[1:]), calls
"""

IN_C = """
import compiled, contest, contestants
from workloads import Workload

for sizes, batch, dtype in (
    ((3, 2), 5, "float32"),
    ((2, 8, 1), 1, "float32"),
    ((4, 16, 2), 1, "float64"),
    ((5, 7, 6, 3, 2), 1, "float64"),
    ((5, 7, 6, 3, 2), 3, "float32"),
):
    work = Workload("train step", sizes, batch, dtype)
    found = contest.agreement(work, compiled.CLoop(work), contestants.reference(work, "ordered"))
    assert found["agreement"] == "all bits equal", (work, found)
"""


def run(*command, path=SOURCE):
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A short run on the smallest work: its output, and what it saved."""
    saved = tmp_path_factory.mktemp("peers") / "peers.json"
    chosen = "--threads", "1", "--rounds", "2", "--only", WORK, "--json", str(saved)
    done = run(BENCHMARKS / "peers.py", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(saved.read_text())


@pytest.mark.slow
def test_the_table_has_ratios_and_agreement(done):
    text, _ = done
    assert re.search(r"^1 thread(, held to 1 core)?: ", text, re.MULTILINE)
    table = text[text.index(f"\n{WORK}\n") :]
    assert "x fcbackends numba" in table
    assert re.search(r"\nfcbackends numba +[\d.]+ .s +1\.00 +1\.00 to 1\.00 +all bits equal", table)
    assert re.search(r"\nfcbackends numpy, ordered +[\d.]+ .s +[\d,.]+ .* all bits equal", table)
    assert re.search(r"\nfcbackends numba, fused +[\d.]+ .s .* all bits equal", table)
    assert re.search(r"\nNumPy, the notebook's loop .* (within |equal values)", table)
    assert "NOT KEPT" not in text


@pytest.mark.slow
def test_c_gives_the_same_bits_where_there_is_a_compiler(done):
    text, _ = done
    if HAS_COMPILER:
        assert re.search(r"\nC, sizes constant .* all bits equal", text)
    else:
        assert "left out: C: no compiler found" in text


@pytest.mark.slow
@pytest.mark.parametrize(("package", "name"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_peers_take_part_or_are_left_out_by_name(done, package, name):
    text, _ = done
    if importlib.util.find_spec(package) is None:
        assert f"left out: {package}: not installed" in text
        assert f"\n{name}" not in text
    else:
        assert re.search(rf"\n{name}, .* (within |equal values)", text)


@pytest.mark.slow
def test_fann_takes_part_or_is_left_out_by_name(done):
    text, _ = done
    if all(map(find_library, ("floatfann", "doublefann"))):
        assert re.search(r"\nFANN, incremental .* (within |equal values)", text)
    else:
        assert "left out: FANN: not installed" in text


@pytest.mark.slow
def test_all_rounds_are_saved(done):
    _, ((saved),) = done
    assert saved["threads"] == 1
    (work,) = saved["works"]
    assert work["work"] == WORK
    for row in work["rows"]:
        assert row["kept"]
        assert len(row["seconds"]) == 2
        assert min(row["seconds"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ["batch 32 float32 cross_entropy adam", "batch 1 float32 tanh adam"]
)
def test_every_recipe_has_peers_that_do_it(recipe):
    done = run(BENCHMARKS / "peers.py", "--threads", "1", "--rounds", "1", "--only", recipe)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\nfcbackends numba +[\d.]+ .s .* all bits equal", done.stdout)
    for package, name in (("torch", "PyTorch"), ("jax", "JAX")):
        if importlib.util.find_spec(package):
            assert re.search(rf"\n{name}, .* (within |equal values)", done.stdout)


def test_who_does_other_work_is_found_out():
    done = run("-c", JUDGED, path=f"{BENCHMARKS}{os.pathsep}{SOURCE}")
    assert done.returncode == 0, done.stderr
    idle, faster, bit, numba, notebook = done.stdout.splitlines()
    assert idle.startswith("False within ")
    assert faster.startswith("False 9 values differ")
    assert bit == "False 6 values differ, by up to 1 ULP"
    assert numba == "True all bits equal"
    assert notebook.startswith("True ")


def test_a_contestant_is_settled_before_its_turns_are_fitted():
    done = run("-c", SETTLED, path=f"{BENCHMARKS}{os.pathsep}{SOURCE}")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not HAS_COMPILER, reason="no compiler")
def test_c_gives_the_bits_of_networks_of_any_depth_and_batch():
    done = run("-c", IN_C, path=f"{BENCHMARKS}{os.pathsep}{SOURCE}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--only", "3-2"), "`--only` must be a text in a work's name, got '3-2'"),
        (("--rounds", "0"), "`--rounds` must be at least 1, got 0"),
        (("--threads", "0"), "`--threads` must be from 1 to "),
    ],
)
def test_bad_arguments(arguments, error):
    done = run(BENCHMARKS / "peers.py", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"peers: {error}")
