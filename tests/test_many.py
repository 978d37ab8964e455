"""Many networks at once: each ends as it would alone."""

import _thread
import contextlib
import dataclasses
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.backends import small_kernels
from fcbackends.kernels.elements import PLAIN
from fcbackends.kernels.threads import get_threads
from fcbackends.sweeps import many
from tests.cases import (
    BACKENDS,
    DTYPES,
    JIT_OFF,
    LAYOUTS,
    allow_small_kernels,
    laid_out,
    needs_jit,
    problem,
)
from tests.oracle import assert_same_bits
from tests.test_divergence import DIVERGING, finite

pytestmark = pytest.mark.jit_off

SEEDS = (0, 7, 2**64 - 1)
RATES = (0.01, 0.05, 0.002)
STEPS = 30 if JIT_OFF else 200

# One network after another, as many at once as there are cores, and three.
WAYS = {
    "numpy": "numpy",
    "numba": "numba",
    "numba in three threads": dataclasses.replace(fcb.get_backend("numba"), get_threads=lambda: 3),
}
ways = pytest.mark.parametrize("way", WAYS)


def told(result):
    """All that a result tells, its bits included."""
    history = (result.history.steps.tolist(), result.history.losses.tolist())
    return fcb.digest(result.params), result.loss, result.steps, result.stop_reason, history


def data(dtype="float64", samples=40):
    case = problem(1, (3, 2), samples, dtype)
    return case.x, case.t


# --- each as alone -------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), (5,), (4, 3)])
@pytest.mark.parametrize(
    "run",
    [
        {},
        {"sampling": "epoch", "batch_size": 4, "record_every": 7},
        {"tol": 1.2, "tol_on": "data", "record_every": 3},
        {"tol": 0.05, "sampling": "epoch"},
    ],
    ids=["plain", "epochs", "whole data", "tolerance"],
)
def test_each_network_is_as_if_alone(way, dtype, hidden, run):
    x, t = data(dtype)
    rows = [np.arange(30), [5, 2, 2, 39, 0, 7], np.arange(40, dtype=np.uint8)[::-2]]
    run = dict(hidden=hidden, max_steps=STEPS, dtype=dtype, **run)
    results = fcb.train_many(x, t, seed=SEEDS, lr=RATES, rows=rows, backend=WAYS[way], **run)
    assert isinstance(results, tuple)
    assert len(results) == 3
    for result, seed, lr, own in zip(results, SEEDS, RATES, rows, strict=True):
        own = np.asarray(own)
        alone = fcb.train(x[own], t[own], seed=seed, lr=lr, backend="numpy", **run)
        assert told(result) == told(alone)
    assert len({fcb.digest(result.params) for result in results}) == 3


@ways
def test_what_is_no_sequence_serves_all(way):
    x, t = data()
    run = dict(max_steps=20, backend=WAYS[way])
    alone = {
        (seed, lr): told(fcb.train(x, t, seed=seed, lr=lr, **(run | {"backend": "numpy"})))
        for seed in SEEDS
        for lr in RATES
    }
    for seeds, rates in (
        (SEEDS, 0.05),
        (np.array(SEEDS, np.uint64), np.float64(0.05)),
        (SEEDS, np.array(0.05)),
        (7, list(RATES)),
        (np.array(7), np.array(RATES)),
        (range(1), 0.01),
    ):
        results = fcb.train_many(x, t, seed=seeds, lr=rates, **run)
        pairs = np.broadcast(np.array(seeds, np.uint64), np.array(rates))
        assert [told(r) for r in results] == [alone[int(s), float(lr)] for s, lr in pairs]
    # Rows of the whole data in their order are the whole data.
    results = fcb.train_many(x, t, rows=[range(40), None], lr=0.05, **run)
    assert [told(r) for r in results] == [alone[0, 0.05]] * 2


@ways
def test_first_parameters_are_every_networks(way):
    case = problem(2, (3, 4, 2), 30, "float32")
    run = dict(params=case.params, batch_size=3, max_steps=25, dtype="float32")
    results = fcb.train_many(case.x, case.t, seed=SEEDS, lr=RATES, backend=WAYS[way], **run)
    for result, seed, lr in zip(results, SEEDS, RATES, strict=True):
        alone = fcb.train(case.x, case.t, seed=seed, lr=lr, backend="numpy", **run)
        assert told(result) == told(alone)
    # Each has its own memory.
    made = [a for result in results for pair in result.params for a in pair]
    for i, a in enumerate(made):
        assert a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in made[i + 1 :])
        assert not any(np.shares_memory(a, b) for pair in case.params for b in pair)


@given(
    count=st.integers(1, 7),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    samples=st.integers(1, 30),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    tol_on=st.sampled_from(["batch", "data"]),
    threads=st.integers(1, 4),
)
def test_any_networks(count, sizes, samples, batch_size, seed, dtype, tol_on, threads):
    case = problem(seed, tuple(sizes), samples, dtype)
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, 2**63, count)
    rates = rng.uniform(1e-4, 1e-2, count)
    rows = [rng.integers(0, samples, rng.integers(1, 2 * samples + 1)) for _ in range(count)]
    run = dict(hidden=sizes[1:-1], batch_size=batch_size, max_steps=12, dtype=dtype, tol=0.3)
    run |= dict(tol_on=tol_on, record_every=5)
    several = dataclasses.replace(fcb.get_backend("numba"), get_threads=lambda: threads)
    results = fcb.train_many(
        case.x, case.t, seed=seeds, lr=rates, rows=rows, backend=several, **run
    )
    for i, result in enumerate(results):
        own_x, own_t = case.x[rows[i]], case.t[rows[i]]
        alone = fcb.train(own_x, own_t, seed=seeds[i], lr=rates[i], backend="numpy", **run)
        assert told(result) == told(alone)


def test_networks_that_together_are_worth_a_kernel_get_one(monkeypatch):
    x, t = data()
    shapes = allow_small_kernels(monkeypatch)
    monkeypatch.setattr(small_kernels, "is_there", lambda *family: False)
    monkeypatch.setattr(small_kernels, "_is_first", lambda *names: False)
    gain = small_kernels.gain_of_step((3, 2))
    monkeypatch.setattr(small_kernels, "WORTH_COMPILING", 90 * gain)
    run = dict(lr=0.01, max_steps=20)
    fcb.train_many(x, t, seed=[0, 1], backend="numba", **run)
    assert shapes == {}
    results = fcb.train_many(x, t, seed=SEEDS, backend="numba", **run)
    how = "mean_squared", False, True
    assert set(shapes) == {((3, 2), (), *how, PLAIN, "float64", "ordered", False)}
    for result, seed in zip(results, SEEDS, strict=True):
        assert told(result) == told(fcb.train(x, t, seed=seed, backend="numpy", **run))


# --- what the caller keeps -----------------------------------------------------------------------


@ways
@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_of_the_callers_changes(way, name):
    case = problem(3, (3, 4, 2), 20, "float64")
    layout = LAYOUTS[name]
    x, t, params = layout(case.x), layout(case.t), laid_out(case.params, layout)
    rows = [layout(np.arange(5, 15)), layout(np.arange(20))]
    seeds, rates = layout(np.array([1, 2])), layout(np.array([0.1, 0.2]))
    arrays = [x, t, seeds, rates, *rows, *(a for pair in params for a in pair)]
    before = [(a.tobytes(), a.dtype, a.shape, a.strides, a.flags.writeable) for a in arrays]
    run = dict(max_steps=10, backend=WAYS[way])
    got = fcb.train_many(x, t, seed=seeds, lr=rates, rows=rows, params=params, **run)
    after = [(a.tobytes(), a.dtype, a.shape, a.strides, a.flags.writeable) for a in arrays]
    assert after == before
    want = fcb.train_many(
        case.x, case.t, seed=[1, 2], lr=[0.1, 0.2], rows=[range(5, 15), range(20)],
        params=case.params, **run,
    )  # fmt: skip
    assert [told(r) for r in got] == [told(r) for r in want]


@needs_jit
def test_the_callers_number_of_threads_stays():
    before = get_threads()
    fcb.train_many(*data(), seed=SEEDS, lr=0.01, max_steps=10, backend="numba")
    fcb.train_many(
        *data(), seed=SEEDS, lr=0.01, max_steps=10, backend=WAYS["numba in three threads"]
    )
    assert get_threads() == before


@ways
def test_progress_counts_networks(way, capfd):
    run = dict(seed=SEEDS, lr=0.01, max_steps=20, backend=WAYS[way])
    silent = [fcb.train_many(*data(), progress=progress, **run) for progress in (False, None)]
    assert capfd.readouterr() == ("", "")
    shown = fcb.train_many(*data(), progress=True, **run)
    out, err = capfd.readouterr()
    assert out == ""
    assert "3.00/3.00" in err
    assert [told(r) for r in shown] == [told(r) for r in silent[0]] == [told(r) for r in silent[1]]


# --- divergence ----------------------------------------------------------------------------------


# Thousands of steps are left to compiled kernels.
DIVERGING_WAYS = [
    (name, way)
    for name in DIVERGING
    for way in WAYS
    if name != "late" or not (JIT_OFF or way == "numpy")
]


@pytest.mark.parametrize("tol_on", ["batch", "data"])
@pytest.mark.parametrize("record_every", [7] if JIT_OFF else [1, 7, 10**6])
@pytest.mark.parametrize(("name", "way"), DIVERGING_WAYS)
def test_a_network_that_diverges_leaves_the_others_alone(name, way, record_every, tol_on):
    case, lr = DIVERGING[name]
    run = dict(max_steps=10_000 if name == "late" else 500, tol_on=tol_on)
    run["record_every"] = record_every
    first = dict(params=case.params, dtype=case.dtype.name)
    rates = [1e-9, lr, 1e-9]
    results = fcb.train_many(case.x, case.t, lr=rates, backend=WAYS[way], **first, **run)
    calm = fcb.train(case.x, case.t, lr=1e-9, backend="numba", **first, **run)
    assert told(results[0]) == told(results[2]) == told(calm)

    trainer = fcb.Trainer(case.params, lr=lr, backend="numba")
    with pytest.raises(fcb.DivergenceError) as caught:
        trainer.run(case.x, case.t, **run)
    diverged = results[1]
    assert (diverged.stop_reason, diverged.steps) == ("diverged", trainer.steps)
    assert_same_bits(diverged.params, caught.value.params)
    assert finite(diverged.params)
    # No other loss stands in for one that is not finite, and the records are of steps it took.
    assert np.isnan(diverged.loss)
    steps, losses = (part.tolist() for part in diverged.history[:2])
    records = list(range(record_every, diverged.steps + 1, record_every))
    if tol_on == "batch" and diverged.steps > 0:
        run["max_steps"] = diverged.steps
        again = fcb.train(case.x, case.t, lr=lr, backend="numba", **first, **run)
        assert losses == again.history.losses.tolist()[: len(records)]
    # The whole data's loss may be what is not finite, at the last of the records.
    assert np.isfinite(losses).all()
    assert steps in ([records] if tol_on == "batch" else [records, records[:-1]])


# --- Ctrl-C --------------------------------------------------------------------------------------

CHILD = """
import dataclasses
import threading
import numpy as np
import fcbackends as fcb
from fcbackends.backends import numba as backend
rng = np.random.default_rng(0)
x, t = rng.standard_normal((500, 2)), rng.standard_normal((500, 3))
name = {backend!r}
if name == "three":
    name = dataclasses.replace(fcb.get_backend("numba"), get_threads=lambda: 3)
run = dict(lr=1e-6, backend=name, record_every=10**9, tol_on={tol_on!r})
fcb.train_many(x, t, seed=range(4), max_steps=100_000, tol=1e300, **(run | dict(record_every=1)))
plain, at_once, running = fcb.get_backend(name), {at_once}, set()

def training_loop(params, method):
    loop = plain.training_loop(params, method)
    go_on = loop.run
    def noted(x, t, plan, start, stop):
        segment = go_on(x, t, plan, start, stop)
        if stop > start and len(running) < at_once:
            running.add(id(loop))
            if len(running) == at_once:
                print("running", flush=True)
        return segment
    loop.run = noted
    return loop

several = dataclasses.replace(plain, training_loop=training_loop)
results = fcb.train_many(x, t, seed=range(8), max_steps=10**12, on_interrupt="return",
    **(run | dict(backend=several)))
for seed, r in enumerate(results):
    alone = fcb.init_params((2, 3), seed=seed)
    if r.steps:
        alone = fcb.train(x, t, seed=seed, max_steps=r.steps, **run).params
    history = r.history.steps.tolist(), r.history.losses.tolist()
    fits = history == (([r.steps], [r.loss]) if r.steps else ([], []))
    print(r.stop_reason, r.steps, fcb.digest(alone) == fcb.digest(r.params), fits)
"""


@needs_jit
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("tol_on", ["batch", "data"])
@pytest.mark.parametrize(("backend", "at_once"), [("numpy", 1), ("numba", 1), ("three", 3)])
def test_ctrl_c_ends_all_networks(backend, at_once, tol_on):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(backend=backend, at_once=at_once, tol_on=tol_on)],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "running\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 8
    for line in lines:
        reason, _, as_alone, fits = line.split()
        assert (reason, as_alone, fits) == ("interrupted", "True", "True")
    # Those whose turn had not come are where they began.
    begun = [int(line.split()[1]) > 0 for line in lines]
    assert begun[0]
    assert begun == sorted(begun, reverse=True)
    if backend != "numba":
        assert sum(begun) == at_once


@needs_jit
def test_ctrl_c_is_noticed_that_wakes_nobody():
    """As one does that comes just before the main thread waits: a flag is set, and that is all."""
    plain, first = fcb.get_backend("numba"), [True]

    def training_loop(params, method):
        loop = plain.training_loop(params, method)
        run = loop.run

        def interrupting(*args):
            if first and first.pop():
                time.sleep(0.3)  # the main thread waits by now
                _thread.interrupt_main()
            return run(*args)

        loop.run = interrupting
        return loop

    backend = dataclasses.replace(plain, training_loop=training_loop, get_threads=lambda: 2)
    case = problem(4, (3, 2), 20, "float64")
    how = dict(lr=1e-6, backend=backend, max_steps=10**8, on_interrupt="return")
    results = fcb.train_many(case.x, case.t, seed=[0, 1], **how)
    assert [result.stop_reason for result in results] == ["interrupted"] * 2


@ways
@pytest.mark.parametrize("given", [True, False])
def test_networks_that_ctrl_c_keeps_from_beginning_stay_as_they_are(way, given, monkeypatch):
    @contextlib.contextmanager
    def interrupted_at_once():
        yield lambda: True

    monkeypatch.setattr(many, "interruptible", interrupted_at_once)
    case = problem(4, (3, 4, 2), 20, "float32")
    run = dict(hidden=(4,), lr=0.1, dtype="float32", backend=WAYS[way], on_interrupt="return")
    run |= dict(params=case.params) if given else {}
    results = fcb.train_many(case.x, case.t, seed=SEEDS, **run)
    for result, seed in zip(results, SEEDS, strict=True):
        first = case.params if given else fcb.init_params((3, 4, 2), seed=seed, dtype="float32")
        assert_same_bits(result.params, first)
        assert (result.stop_reason, result.steps) == ("interrupted", 0)
        assert np.isnan(result.loss)
        assert len(result.history.steps) == len(result.history.losses) == 0
        result.params[0][0][...] = 7  # a copy: nothing else changes


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refused_call_trains_nothing(backend):
    def training_loop(params, method):
        raise AssertionError("no network is to be trained")

    idle = dataclasses.replace(fcb.get_backend(backend), training_loop=training_loop)
    for bad in (
        dict(seed=[0, -1]),
        dict(seed=[0, 1], lr=[0.1]),
        dict(seed=[0, 1], lr=[0.1, 0.0]),
        dict(rows=[[0, 1], [40]]),
        dict(rows=[[0, 1], [0, 1, 2]], batch_size=3, sampling="epoch"),
        dict(seed=[0, 1], progress="yes"),
    ):
        with pytest.raises(fcb.ArgumentError):
            fcb.train_many(*data(), **{"lr": 0.1, "backend": idle, **bad})
