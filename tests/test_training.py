"""The training loop: stop rules, draws, pieces, history, threads, divergence."""

import math
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, DTYPES, JIT_OFF, LONG_RUN, linear_data, needs_jit, problem
from tests.oracle import assert_same_bits, fast, init_params, sample_indices

pytestmark = pytest.mark.jit_off

SAMPLINGS = ("replacement", "epoch")


def by_hand(case, steps, lr, *, batch_size=1, sampling="replacement", seed=0, record_every=1):
    """Parameters after each step, the batches' losses, and the whole data's losses."""
    params, all_params, losses, whole = case.params, [], [], []
    rows = sample_indices(len(case.x), steps, batch_size, sampling, seed)
    for row in rows:
        params, loss = fast.sgd_step(params, case.x[row], case.t[row], lr)
        all_params.append(params)
        losses.append(float(loss))
        whole.append(float(fast.loss(fast.predict(params, case.x), case.t)[0]))
    return all_params, np.array(losses), np.array(whole)


def settings(case, **more):
    return dict(params=case.params, dtype=case.dtype.name, **more)


# --- where a run stops ---------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_run_stops_after_the_update_whose_batch_meets_the_tolerance(
    backend, dtype, sampling, batch_size
):
    case = problem(1, (3, 6, 2), 20, dtype)
    way = dict(batch_size=batch_size, sampling=sampling, seed=4)
    params, losses, _ = by_hand(case, 300, 0.02, **way)
    tol = float(np.sort(losses)[5])  # met to the bit: at most, not below
    stop = int(np.argmax(losses <= tol)) + 1
    result = fcb.train(
        case.x, case.t, lr=0.02, max_steps=300, tol=tol, backend=backend,
        **settings(case), **way,
    )  # fmt: skip
    assert (result.stop_reason, result.steps) == ("tolerance", stop)
    assert result.loss == losses[stop - 1] <= tol
    assert_same_bits(result.params, params[stop - 1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("record_every", [None, 1, 7])
@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_run_on_the_whole_data_looks_after_the_update_at_each_record(
    backend, dtype, record_every, batch_size
):
    case = problem(2, (3, 5, 2), 20, dtype)
    params, _, whole = by_hand(case, 300, 0.02, batch_size=batch_size)
    every = record_every or math.ceil(20 / batch_size)
    looks = np.arange(every, 301, every)
    tol = float(whole[looks - 1][len(looks) // 2])
    stop = int(looks[np.argmax(whole[looks - 1] <= tol)])
    result = fcb.train(
        case.x, case.t, lr=0.02, max_steps=300, tol=tol, tol_on="data", batch_size=batch_size,
        record_every=record_every, backend=backend, **settings(case),
    )  # fmt: skip
    assert (result.stop_reason, result.steps) == ("tolerance", stop)
    assert result.loss == whole[stop - 1]
    assert_same_bits(result.params, params[stop - 1])
    assert result.history.steps.tolist() == looks[looks <= stop].tolist()
    assert result.history.losses.tolist() == whole[looks[looks <= stop] - 1].tolist()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("samples", [1, 2, 50, 257])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_whole_datas_loss_has_the_oracles_bits(backend, samples, batch_size):
    case = problem(3, (4, 6, 3), samples, "float32")
    result = fcb.train(
        case.x, case.t, lr=0.01, max_steps=5, tol_on="data", record_every=2,
        batch_size=batch_size, backend=backend, **settings(case),
    )  # fmt: skip
    params, _, whole = by_hand(case, 5, 0.01, batch_size=batch_size)
    assert result.history.steps.tolist() == [2, 4, 5]
    assert result.history.losses.tolist() == whole[[1, 3, 4]].tolist()
    assert result.loss == whole[4]
    assert_same_bits(result.params, params[4])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_without_a_tolerance_all_steps_are_taken(backend, tol_on):
    x, t = np.zeros((4, 2)), np.zeros((4, 1))
    params = ((np.zeros((2, 1)), np.zeros(1)),)
    run = dict(lr=0.1, params=params, max_steps=9, tol_on=tol_on, backend=backend)
    result = fcb.train(x, t, **run)
    assert (result.loss, result.steps, result.stop_reason) == (0.0, 9, "max_steps")
    met = fcb.train(x, t, tol=0, **run)
    first_look = 1 if tol_on == "batch" else 4
    assert (met.loss, met.steps, met.stop_reason) == (0.0, first_look, "tolerance")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tolerance_met_at_the_last_step_is_met(backend):
    case = problem(4, (2, 3), 10, "float64")
    _, losses, _ = by_hand(case, 50, 0.05)
    stop = int(np.argmin(losses)) + 1
    result = fcb.train(
        case.x, case.t, lr=0.05, max_steps=stop, tol=float(losses.min()), backend=backend,
        **settings(case),
    )  # fmt: skip
    assert (result.steps, result.stop_reason) == (stop, "tolerance")


# --- what a run starts from, and its history -----------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), (4,), (5, 3)])
def test_the_first_parameters_and_the_draws_come_from_the_seed(backend, dtype, hidden):
    case = problem(5, (3, 2), 30, dtype)
    case.params = init_params((3, *hidden, 2), 9, dtype)
    want, losses, _ = by_hand(case, 80, 0.01, seed=9)
    result = fcb.train(
        case.x, case.t, hidden=hidden, lr=0.01, max_steps=80, seed=9, dtype=dtype,
        backend=backend,
    )  # fmt: skip
    assert_same_bits(result.params, want[-1])
    assert result.loss == losses[-1]
    other = fcb.train(
        case.x, case.t, hidden=hidden, lr=0.01, max_steps=80, seed=8, dtype=dtype,
        backend=backend,
    )  # fmt: skip
    assert fcb.digest(other.params) != fcb.digest(result.params)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("record_every", [None, 1, 4, 10, 99, 100, 10**6])
def test_the_history_holds_each_record_and_the_last_step(backend, record_every):
    case = problem(6, (2, 3), 10, "float64")
    _, losses, _ = by_hand(case, 99, 0.01)
    result = fcb.train(
        case.x, case.t, lr=0.01, max_steps=99, record_every=record_every, backend=backend,
        **settings(case),
    )  # fmt: skip
    every = record_every or 1
    steps = sorted({*range(every, 100, every), 99})
    assert result.history.steps.dtype == np.int64
    assert result.history.losses.dtype == np.float64
    assert result.history.steps.tolist() == steps
    assert result.history.losses.tolist() == losses[np.array(steps) - 1].tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_default_history_has_about_a_thousand_records(backend):
    case = problem(6, (1, 1), 10, "float64")
    for max_steps, every in ((999, 1), (2999, 2), (5000, 5)):
        result = fcb.train(
            case.x, case.t, lr=0.01, max_steps=max_steps, backend=backend, **settings(case)
        )
        want = sorted({*range(every, max_steps + 1, every), max_steps})
        assert result.history.steps.tolist() == want


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_are_numpys_and_own_their_memory(backend):
    case = problem(7, (2, 4, 3), 10, "float32")
    trainer = fcb.Trainer(case.params, lr=0.1, backend=backend)
    result = trainer.run(case.x, case.t, max_steps=3)
    assert type(result.loss) is float or JIT_OFF
    assert type(result.steps) is int
    kept = fcb.digest(result.params)
    for w, b in trainer.params:  # a copy: writing to it changes nothing
        w[...], b[...] = 7, 7
    trainer.run(case.x, case.t, max_steps=3)
    assert fcb.digest(result.params) == kept
    first = fcb.Trainer(case.params, lr=0.1, backend=backend)
    assert fcb.digest(first.params) == fcb.digest(case.params)


# --- backends and threads agree ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("hidden", [(), (7,), (6, 4)])
def test_both_backends_stop_at_the_same_step_with_the_same_digest(dtype, sampling, hidden):
    case = problem(13, (4, 3), 40, dtype)
    for seed in (0, 1, 2**63 - 1):
        ends = set()
        for backend in BACKENDS:
            r = fcb.train(
                case.x, case.t, hidden=hidden, lr=0.02, batch_size=4, max_steps=400, tol=0.8,
                sampling=sampling, seed=seed, dtype=dtype, backend=backend,
            )  # fmt: skip
            history = (r.history.steps.tobytes(), r.history.losses.tobytes())
            ends.add((r.steps, r.stop_reason, r.loss, fcb.digest(r.params), history))
        assert len(ends) == 1


@needs_jit
def test_two_threads_train_at_once_with_the_same_bits():
    case = problem(14, (20, 16, 4), 64, "float32")

    def train(seed):
        r = fcb.train(
            case.x, case.t, lr=0.01, batch_size=16, max_steps=20 * LONG_RUN, seed=seed,
            backend="numba", **settings(case),
        )  # fmt: skip
        return fcb.digest(r.params)

    alone = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(train, range(4))) == alone


# --- the display, and memory ---------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_progress_goes_to_stderr_only_where_it_is_asked_for(backend, capfd):
    x, t = linear_data(50)
    run = dict(lr=0.005, max_steps=200, backend=backend)
    silent = fcb.train(x, t, progress=False, **run)
    default = fcb.train(x, t, **run)  # stderr is no terminal here
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    shown = fcb.train(x, t, progress=True, **run)
    out, err = capfd.readouterr()
    assert out == ""
    assert "200/200" in err
    assert f"loss {shown.loss:.3g}]" in err
    assert fcb.digest(shown.params) == fcb.digest(silent.params) == fcb.digest(default.params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_steps_leave_no_memory_behind(backend):
    case = problem(15, (4, 6, 2), 1, "float64")
    trainer = fcb.Trainer(case.params, lr=1e-3, backend=backend)
    x, t = case.x[0], case.t[0]

    def steps(count):
        for _ in range(count):
            trainer.step(x, t)

    steps(100)
    tracemalloc.start()
    try:
        # Python keeps up to 2000 small tuples for its next ones, and a step of NumPy's fills that.
        steps(8000)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        steps(2000)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2000
    assert peak - before < 20_000


@needs_jit
def test_a_long_run_takes_no_more_memory_than_a_short_one(monkeypatch):
    # On a clock that stands still, a run has as many segments on any machine.
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    x, t = linear_data()
    peaks = []
    # The first two compile: a kernel for any shape, and, for many steps, one for this shape.
    for max_steps in (200 * LONG_RUN, 10_000, 10_000, 200 * LONG_RUN):
        tracemalloc.start()
        try:
            fcb.train(x, t, lr=1e-4, max_steps=max_steps, record_every=1000, backend="numba")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[3] < peaks[2] + 30_000


@needs_jit
def test_compiled_steps_allocate_nothing(monkeypatch):
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    from numba.core import runtime
    from numba.core.runtime import _nrt_python as nrt

    case = problem(16, (5, 8, 3), 40, "float64")
    trainer = fcb.Trainer(case.params, lr=1e-4, backend="numba")
    trainer.run(case.x, case.t, batch_size=4, max_steps=10)
    if nrt.memsys_stats_enabled():
        enabled = True
    else:
        enabled = False
        nrt.memsys_enable_stats()
    try:
        before = runtime.rtsys.get_allocation_stats()
        trainer.run(case.x, case.t, batch_size=4, max_steps=100 * LONG_RUN)
        after = runtime.rtsys.get_allocation_stats()
    finally:
        if not enabled:
            nrt.memsys_disable_stats()
    # A few a segment, of which a run on that clock has a handful.
    assert after.alloc - before.alloc < 100
    assert after.alloc - before.alloc == after.free - before.free


@pytest.mark.jit_off
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [3, 7, 10])
def test_the_last_loss_of_the_data_is_that_under_the_last_parameters(backend, steps):
    x = np.arange(12.0).reshape(6, 2) / 12
    t = x @ np.array([[1.0], [2.0]])
    how = dict(lr=0.1, max_steps=steps, tol_on="data", record_every=5, backend=backend)
    result = fcb.train(x, t, **how)
    loss, _ = fcb.mean_squared_loss(fcb.predict(result.params, x), t)
    assert result.loss == float(loss)
    assert result.history.losses[-1] == result.loss
