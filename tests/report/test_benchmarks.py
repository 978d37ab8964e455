"""The benchmarks themselves: how they measure, on given times, and real runs as users do them."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fcbackends as fcb
from benchmarks import measurement, rounds, workloads
from benchmarks.workloads import grids, preparing
from fcbackends.cli import main
from fcbackends.report import runs
from tests.cases import environment

SOURCE = Path(fcb.__file__).parents[1]

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


class SmallLayer:
    """A clock of runs, disturbed or not."""

    step, call = 12e-9, 50e-6

    def __init__(self, disturbed=lambda call: 1.0, step=step, turn=1.0):
        self.disturbed, self.step, self.turn = disturbed, step, turn
        self.calls = []

    def __call__(self, units):
        self.calls.append(units)
        seconds = (self.call + units * self.step) * self.disturbed(len(self.calls))
        # Whoever works for longer than its turn waits for those of others.
        return seconds + (0.02 if seconds > self.turn else 0.0)


ENOUGH = 65_536


@pytest.mark.parametrize(
    "disturbed",
    [
        lambda call: 1.0,
        lambda call: 1.7,
        lambda call: 30.0 if call % 3 else 1.0,
        lambda call: 4.0 if call > 10 else 1.0,
    ],
)
def test_a_disturbed_machine_fits_rounds_too(disturbed):
    found = rounds.fitted(SmallLayer(disturbed), 0.01, ENOUGH)
    assert 0.001 < found.units * SmallLayer.step < 0.05


def test_waiting_for_the_processor_does_not_make_a_round():
    # 0.2 ms of it would be work.
    found = rounds.fitted(SmallLayer(turn=0.0002), 0.01, ENOUGH)
    assert found.units >= ENOUGH


def test_slow_steps_make_shorter_rounds():
    clock = SmallLayer(step=1e-3)
    found = rounds.fitted(clock, 0.01, ENOUGH)
    assert max(clock.calls) < ENOUGH
    assert found.units == 10


def test_only_a_slow_first_call_would_end_the_search_too_early():
    calls = []

    def compiles_each_length(units):
        calls.append(units)
        return units * 1e-5 + (0.5 if calls.count(units) == 1 else 0.0)

    assert rounds.fitted(compiles_each_length, 0.01).units == 1000


def choosing():
    """A backend that does long runs otherwise than short ones, and after a long one all.

    Beside it, which way that is now, and which way its runs went and how many steps they took.
    """
    plain = fcb.get_backend("numpy")
    way, taken = ["short"], []

    def training_loop(*arguments):
        loop = plain.training_loop(*arguments)
        run = loop.run

        def watched_prepare(x, t, plan, steps):
            if steps * plan.batch_size >= 5_000_000:
                way[:] = ["long"]

        def watched_run(x, t, plan, start, stop):
            segment = run(x, t, plan, start, stop)
            taken.append((*way, segment.steps - start))
            return segment

        loop.prepare, loop.run = watched_prepare, watched_run
        return loop

    return dataclasses.replace(plain, training_loop=training_loop), taken


@pytest.mark.parametrize("kind", ["train step", "epoch", "training"])
def test_what_long_runs_use_is_in_place_before_any_is_fitted(kind):
    backend, taken = choosing()
    work = workloads.Workload(kind, (2, 3), 16, "float64", samples=64)
    prepared = preparing.prepare(work, backend)
    prepared.run(1)
    assert {way for way, _ in taken} == {"short"}
    taken.clear()
    prepared.settle()
    # It costs a slow backend no more than it takes to look at a loss.
    assert sum(steps for _, steps in taken) <= 256 // work.batch
    taken.clear()

    def seconds(units):
        prepared.run(units)
        return units * 1e-3

    assert rounds.fitted(seconds, 0.01, 4).units == 10
    prepared.result()
    assert {way for way, _ in taken} == {"long"}


def test_a_visit_settles_the_work_before_it_times_any():
    calls = []
    run, begin, settle = (
        lambda *_, name=name: calls.append(name) for name in ("run", "begin", "settle")
    )
    prepared = preparing.Prepared(run, lambda: None, begin, settle)
    runner = SimpleNamespace(enabled=False, pedantic=lambda run, arguments: run(*arguments))
    measurement.first_visit(prepared, 1, runner)
    assert calls == ["begin", "begin", "settle", "run"]


@pytest.fixture
def first_calls(monkeypatch):
    """What new processes say of first calls, by backend and whether there is a cache by then."""
    asked = []
    seconds = {"jit": (6.0, 0.3), "jax": (2.0, 2.0), "plain": (0.01, 0.0)}

    def first_call(task, cache):
        cached = any(Path(cache).iterdir())
        asked.append((task["backend"], task["workload"], cached))
        if task["backend"] == "jit":
            (Path(cache) / "kernel").touch()
        return seconds[task["backend"]][cached]

    monkeypatch.setattr(measurement, "_first_call_seconds", first_call)
    for name in ("_first_calls", "_compiling", "_compiled"):
        monkeypatch.setattr(measurement, name, {})
    return asked


def named(kind, dtype="float64", sizes=(2, 3)):
    return workloads.Workload(kind, sizes, 1, dtype)


def test_the_cost_of_compiling_is_that_of_each_kind(first_calls):
    found = [
        measurement._compile_seconds(work, "jit", "ordered", first)
        for work, first in (
            (named("forward"), 0.1),
            (named("forward", sizes=(4, 4)), 0.0),
            (named("forward", "float32"), 0.0),
        )
    ]
    assert found == [(6.0, 0.3)] * 3
    assert [cached for _, _, cached in first_calls] == [False, True]
    for kind in ("train step", "training", "epoch"):
        measurement._compile_seconds(named(kind), "jit", "ordered", 0.0)
    assert len(first_calls) == 4


def test_what_leaves_no_cache_is_compiled_anew_in_every_process(first_calls):
    assert measurement._compile_seconds(named("forward"), "jax", "ordered", 0.1) == (2.0, 2.0)
    assert len(first_calls) == 1


def test_what_compiles_nothing_is_asked_once_for_layers_and_once_for_loops(first_calls):
    for kind in ("forward", "backward", "loss", "sgd step", "train step", "training"):
        work = named(kind)
        assert measurement._compile_seconds(work, "plain", "ordered", 0.1) == (None, None)
    asked = [workload.partition(" 2-3")[0] for _, workload, _ in first_calls]
    assert asked == ["forward", "train step"]


def test_a_first_call_that_costs_nothing_is_not_asked_about(first_calls):
    assert measurement._compile_seconds(named("forward"), "jit", "ordered", 0.0) == (None, None)
    assert first_calls == []


def test_visits_take_turns_until_a_slow_benchmark_has_had_its_share():
    slow = measurement.Measured(lambda units: None, 1, 1, 0.0)
    for visits in range(1, measurement.FEWEST_VISITS + 1):
        slow.seconds.append([measurement.SLOW_SECONDS])
        assert slow.is_done == (visits == measurement.FEWEST_VISITS)
    quick = measurement.Measured(lambda units: None, 100, 3, 0.0)
    quick.seconds += [[1e-4] * 3] * measurement.VISITS
    assert not quick.is_done


class Runner:
    """Runs pytest on benchmarks/ in a folder of its own, where the runs are saved."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *arguments, check=True):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", SOURCE / "benchmarks", *arguments],
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
