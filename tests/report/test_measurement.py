"""How the benchmarks measure: rounds, visits and the cost of compiling, on given times."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

import fcbackends as fcb
from benchmarks import measurement, rounds, workloads
from benchmarks.workloads import preparing


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
