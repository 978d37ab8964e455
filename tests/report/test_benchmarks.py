"""The benchmarks themselves: real runs as users do them, and work that ends on the reference."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from benchmarks import measurement, workloads
from benchmarks.workloads import grids, preparing
from fcbackends.cli import main
from fcbackends.report import runs
from tests.cases import environment

SOURCE = Path(fcb.__file__).parents[1]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

BROKEN = """
import dataclasses
import numpy as np
import fcbackends as fcb

def load():
    plain = fcb.get_backend("numpy")

    def forward(*arguments):
        y = plain.fc_forward(*arguments)
        y[0, 0] = np.nextafter(y[0, 0], np.inf)
        return y

    if BREAK:
        return dataclasses.replace(plain, name="broken", fc_forward=forward)
    return dataclasses.replace(plain, name="broken")

fcb.register_backend("broken", load)
"""


class Runner:
    """Runs pytest on benchmarks/ in a folder of its own, where the runs are saved."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *arguments, check=True):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", BENCHMARKS, *arguments],
            cwd=self.folder,
            env=environment(PYTHONPATH=f"{self.folder}{os.pathsep}{SOURCE}"),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def saved(self):
        return sorted((self.folder / runs.STORAGE).glob("*/*.json"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the smallest workload on the backends that [test] brings, twice saved.

    The second finds that the first was made on another machine.
    """
    runner = Runner(tmp_path_factory.mktemp("benchmarks"))
    runner.first = runner("-k", "forward and 2-3")
    (path,) = runner.saved()
    first = json.loads(path.read_text())
    first["machine_info"]["node"] = "elsewhere"
    path.write_text(json.dumps(first))
    runner.second = runner("-k", "forward and 2-3", "--benchmark-compare")
    return runner


@pytest.mark.slow
def test_a_run_is_saved_and_can_be_read(run):
    assert len(run.saved()) == 2
    saved = runs.load(str(run.saved()[0]))
    found = {(b.extra_info.backend, b.extra_info.arithmetic) for b in saved.benchmarks}
    assert {("numpy", "native"), ("numpy", "ordered"), ("numba", "ordered")} <= found
    assert found == {
        ("numpy", "native"),
        *((name, "ordered") for name, state in fcb.list_backends().items() if state == "available"),
        ("numba", "fused"),
    }
    for benchmark in saved.benchmarks:
        work = benchmark.extra_info
        assert work.workload == "forward 2-3 batch 1 float64"
        assert (work.sizes, work.batch, work.multiply_adds) == ((2, 3), 1, 6)
        flushes = work.backend == "jax"  # where it is installed
        stated = "C" if work.arithmetic == "native" else "B" if flushes else "A"
        assert work.agreement.stated == stated
        assert work.agreement.equal or work.agreement.stated == "C"
        assert work.agreement.values == 3
        assert work.samples_per_second == pytest.approx(1 / benchmark.stats.median)
        assert measurement.FEWEST_VISITS <= len(work.visits) <= measurement.VISITS
        assert sum(work.visits) == len(benchmark.stats.data) == len(work.probes)
    machine = saved.machine
    assert (machine.threads.blas, machine.threads.numba) == (1, 1)
    assert machine.cores == os.cpu_count()
    assert machine.versions["numpy"] == np.__version__
    assert len(saved.commit_info.id) in (40, len("unversioned"))


@pytest.mark.slow
def test_the_terminal_ends_with_the_tables(run):
    text = run.first.stdout
    assert "fcbackends: speed and agreement" in text
    table = text[text.index("\nforward 2-3 batch 1 float64\n") :]
    assert re.search(r"\nnumpy native +[\d.]+ .s +1\.00 +C: ", table)
    assert re.search(r"\nnumba +[\d.]+ .s +[\d.]+ +A: all bits equal", table)
    # The runner's own table would only repeat the times.
    assert "Outliers" not in text


@pytest.mark.slow
def test_the_runners_own_tools_read_what_is_saved(run):
    said = run.second.stderr + run.second.stdout
    assert "Comparing against benchmarks from" in said
    assert "machine_info is different" in said
    assert "Outliers" in run.second.stdout
    for arguments in (["list"], ["compare"], ["compare", "--group-by", "group"]):
        done = subprocess.run(
            [sys.executable, "-m", "pytest_benchmark", *arguments],
            cwd=run.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        shown = done.stdout + done.stderr
        assert "forward 2-3 batch 1 float64" in shown or run.saved()[0].name in shown


@pytest.mark.slow
def test_a_backend_that_breaks_the_contract_fails_the_run(tmp_path, capsys):
    runner = Runner(tmp_path)
    chosen = "-k", "forward and 2-3 and broken", "-p", "plugin"
    (tmp_path / "plugin.py").write_text(f"BREAK = False\n{BROKEN}")
    runner(*chosen)
    (tmp_path / "plugin.py").write_text(f"BREAK = True\n{BROKEN}")
    done = runner(*chosen, check=False)
    assert done.returncode == 1
    assert (
        "broken is to give the reference's bits, and 1 of 3 values differ, by up to 1 ULP"
        in done.stdout
    )
    whole, broken = runner.saved()
    (benchmark,) = runs.load(str(broken)).benchmarks
    assert not benchmark.extra_info.agreement.equal
    assert main(["compare", str(whole), str(broken)]) == 1
    assert "lost agreement" in capsys.readouterr().err


@pytest.mark.slow
def test_the_grids(tmp_path):
    def collected(*arguments):
        lines = Runner(tmp_path)("--collect-only", "-q", *arguments).stdout.splitlines()
        return {line for line in lines if "::" in line}

    light, full, study = collected(), collected("-m", "full"), collected("-m", "study")
    assert light < full
    assert len(light) > 60
    assert not study <= full
    for wanted in (
        "forward",
        "backward",
        "loss",
        "sgd step",
        "trainer step",
        "train step",
        "training",
    ):
        assert any(f"[{wanted} " in name for name in light), wanted


def test_every_workload_is_named_once():
    members = [w for grid in grids._GRIDS.values() for w in grid]
    assert {w.name for w in members} == set(grids.BY_NAME)
    for workload in members:
        # The same work in two series would have to be two points.
        kept = grids.BY_NAME[workload.name].axis
        assert workload.axis is None or workload.axis == kept


@pytest.mark.parametrize("kind", ["sgd step", "trainer step", "train step", "training"])
def test_every_kind_ends_on_the_reference(kind):
    name = next(n for n, w in grids.BY_NAME.items() if w.kind == kind and w.batch < 64)
    workload = grids.BY_NAME[name]
    numba = preparing.prepare(workload, fcb.get_backend("numba"))
    found = measurement.agreement(workload, fcb.get_backend("numba"), numba.result())
    assert found.equal
    assert found.values > 3
    assert not measurement.agreement(
        workload, fcb.get_backend("numba"), moved(numba.result())
    ).equal


@pytest.mark.parametrize("recipe", [workloads.CLASSES, workloads.POLICY])
def test_every_recipe_ends_on_the_reference(recipe):
    numba = fcb.get_backend("numba")
    workload = next(w for w in grids.BY_NAME.values() if w.recipe == recipe)
    assert workload.name.endswith(f" {workload.dtype} {recipe.name}")
    result = preparing.prepare(workload, numba).result()
    assert measurement.agreement(workload, numba, result).equal
    usual = preparing.prepare(workload._replace(recipe=workloads.Recipe()), numba).result()
    assert not measurement.agreement(workload, numba, usual).equal


def moved(result):
    """The result with the smallest change in its first array."""
    first, *rest = result
    if isinstance(first, tuple):
        return (moved(first), *rest)
    first = np.array(first)
    first.flat[0] = np.nextafter(first.flat[0], first.dtype.type(9))
    return (first, *rest)
