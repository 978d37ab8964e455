"""The training loop: stop rules, draws, pieces, history, threads, divergence."""

import math
import pickle
import threading
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


# --- pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_a_run_in_pieces_has_the_bits_of_one(backend, dtype, sampling, tol_on):
    case = problem(8, (3, 5, 2), 23, dtype)
    way = dict(batch_size=5, sampling=sampling, seed=6, tol_on=tol_on, record_every=7)
    whole = fcb.Trainer(case.params, lr=0.02, backend=backend)
    want = whole.run(case.x, case.t, max_steps=LONG_RUN, **way)
    pieces = fcb.Trainer(case.params, lr=0.02, backend=backend)
    records = {}
    first = [1, 1, 5, 33, 2]
    for size in (*first, LONG_RUN - sum(first)):
        result = pieces.run(case.x, case.t, max_steps=size, **way)
        records.update(
            zip(result.history.steps.tolist(), result.history.losses.tolist(), strict=True)
        )
    assert pieces.steps == whole.steps == want.steps == LONG_RUN
    assert_same_bits(pieces.params, want.params)
    for step, loss in zip(want.history.steps.tolist(), want.history.losses.tolist(), strict=True):
        assert records[step] == loss


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_single_steps_on_the_drawn_rows_have_the_bits_of_a_run(
    backend, dtype, sampling, batch_size
):
    case = problem(9, (3, 5, 2), 11, dtype)
    want = fcb.train(
        case.x, case.t, lr=0.03, batch_size=batch_size, max_steps=100, sampling=sampling,
        seed=3, record_every=1, backend=backend, **settings(case),
    )  # fmt: skip
    trainer = fcb.Trainer(case.params, lr=0.03, backend=backend)
    rows = fcb.sample_indices(11, steps=100, batch_size=batch_size, sampling=sampling, seed=3)
    losses = [trainer.step(case.x[row], case.t[row]) for row in rows]
    assert trainer.steps == 100
    assert_same_bits(trainer.params, want.params)
    assert losses == want.history.losses.tolist()
    assert JIT_OFF or all(type(loss) is float for loss in losses)


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_batches_and_runs_may_alternate(backend):
    case = problem(10, (3, 4, 2), 12, "float64")
    trainer = fcb.Trainer(case.params, lr=0.05, backend=backend)
    trainer.step(case.x[0], case.t[0])
    trainer.step(case.x[:5], case.t[:5])
    trainer.run(case.x, case.t, max_steps=10, batch_size=3, seed=1)
    trainer.step(case.x[1], case.t[1])
    trainer.step(case.x.tolist()[2], case.t.tolist()[2])
    rows = [np.array([0]), np.arange(5)]
    rows += list(sample_indices(12, 10, 3, "replacement", 1, start=2))
    rows += [np.array([1]), np.array([2])]
    want, _ = fast.train(case.params, case.x, case.t, rows, 0.05)
    assert trainer.steps == 14
    assert_same_bits(trainer.params, want)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [2, 3, 7])
def test_an_epoch_run_draws_what_sample_indices_says_across_borders(backend, n):
    case = problem(11, (2, 2), n, "float64")
    want, losses, _ = by_hand(case, 50, 0.02, batch_size=2, sampling="epoch", seed=5)
    result = fcb.train(
        case.x, case.t, lr=0.02, batch_size=2, sampling="epoch", seed=5, max_steps=50,
        record_every=1, backend=backend, **settings(case),
    )  # fmt: skip
    assert result.history.losses.tolist() == losses.tolist()
    assert_same_bits(result.params, want[-1])


def test_a_run_goes_on_far_from_the_start():
    case = problem(12, (2, 2), 5, "float64")
    ends = []
    for backend in BACKENDS:
        trainer = fcb.Trainer(case.params, lr=0.02, backend=backend)
        trainer._steps = 2**40
        trainer.run(case.x, case.t, max_steps=20, sampling="epoch", record_every=3)
        ends.append(trainer.params)
    rows = sample_indices(5, 20, 1, "epoch", 0, start=2**40)
    want, _ = fast.train(case.params, case.x, case.t, rows, 0.02)
    for params in ends:
        assert_same_bits(params, want)


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


# --- divergence ----------------------------------------------------------------------------------


def finite(params):
    return all(np.isfinite(a).all() for pair in params for a in pair)


def diverging_by_hand(case, lr, limit=20_000):
    """The first step whose loss is not finite, and the last finite parameters and their step."""
    params, last, last_step = case.params, case.params, 0
    rows = sample_indices(len(case.x), limit, 1, "replacement", 0)
    for step, row in enumerate(rows, start=1):
        new, loss = fast.sgd_step(params, case.x[row], case.t[row], lr)
        if not np.isfinite(loss):
            return step, last, last_step
        params = new
        if finite(params):
            last, last_step = params, step
    raise AssertionError("did not diverge")


def hiding_overflow():
    """An update overflows and hides behind a ReLU: the loss is finite for one more step."""
    params = (
        (np.array([[1e-200]]), np.array([0.0])),
        (np.array([[1e200]]), np.array([0.0])),
    )
    case = problem(0, (1, 1, 1), 1, "float64")
    case.params, case.x, case.t = params, np.array([[1.0]]), np.array([[0.0]])
    return case


def unstable():
    """Each step multiplies the error by -1.04: finite for thousands of steps."""
    case = problem(0, (1, 1), 1, "float64")
    case.x = np.array([[1.0]])
    return case


DIVERGING = {
    "slowly": (problem(1, (3, 2), 10, "float64"), 0.9),
    "slowly, float32": (problem(1, (3, 2), 10, "float32"), 0.9),
    "deep": (problem(2, (3, 6, 4, 2), 10, "float64"), 2.0),
    "at once": (problem(3, (3, 2), 10, "float64"), 1e308),
    "at once, deep": (problem(3, (3, 4, 2), 10, "float32"), 3e38),
    "hidden": (hiding_overflow(), 1e120),
    "late": (unstable(), 0.51),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", DIVERGING)
def test_divergence_names_the_step_and_keeps_the_last_finite_parameters(name, backend):
    case, lr = DIVERGING[name]
    step, last, last_step = diverging_by_hand(case, lr)
    assert name != "hidden" or step - last_step == 3
    assert name != "late" or step > 5000
    with pytest.raises(fcb.DivergenceError, match=rf"\bstep {step}\b") as caught:
        fcb.train(case.x, case.t, lr=lr, max_steps=20_000, backend=backend, **settings(case))
    assert caught.value.step == step
    assert_same_bits(caught.value.params, last)

    trainer = fcb.Trainer(case.params, lr=lr, backend=backend)
    with pytest.raises(fcb.DivergenceError):
        trainer.run(case.x, case.t, max_steps=20_000)
    assert_same_bits(trainer.params, last)
    assert trainer.steps == last_step


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", DIVERGING)
def test_a_diverging_single_step_keeps_the_last_finite_parameters(name, backend):
    case, lr = DIVERGING[name]
    step, last, _ = diverging_by_hand(case, lr)
    rows = sample_indices(len(case.x), step, 1, "replacement", 0)[:, 0]
    trainer = fcb.Trainer(case.params, lr=lr, backend=backend)
    for row in rows[:-1]:
        assert math.isfinite(trainer.step(case.x[row], case.t[row]))
    with pytest.raises(fcb.DivergenceError) as caught:
        trainer.step(case.x[rows[-1]], case.t[rows[-1]])
    assert caught.value.step == step
    assert_same_bits(caught.value.params, last)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_overflows_at_the_last_step_is_a_divergence(backend):
    case, lr = DIVERGING["at once"]
    with pytest.raises(fcb.DivergenceError) as caught:
        fcb.train(case.x, case.t, lr=lr, max_steps=1, backend=backend, **settings(case))
    assert caught.value.step == 1
    assert_same_bits(caught.value.params, case.params)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("samples", [3, 1000])
def test_an_overflow_that_a_relu_hides_to_the_end_is_found_again(backend, samples):
    # The network answers 1 to the bit, so nothing moves until the one far target is drawn. Its
    # gradient overflows in the hidden layer, which is silent from then on.
    params = (
        (np.array([[2.0**-664]]), np.array([0.0])),
        (np.array([[2.0**664]]), np.array([0.0])),
    )
    x, t = np.ones((samples, 1)), np.ones((samples, 1))
    t[-1] = -1e110
    order = sample_indices(samples, samples, 1, "epoch", 0)[:, 0]
    step = int(np.argmax(order == samples - 1)) + 1
    trainer = fcb.Trainer(params, lr=0.1, backend=backend)
    with pytest.raises(fcb.DivergenceError) as caught:
        trainer.run(x, t, max_steps=5000, sampling="epoch")
    assert caught.value.step == step
    assert trainer.steps == step - 1
    assert_same_bits(caught.value.params, params)
    assert_same_bits(trainer.params, params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_divergence_of_the_whole_datas_loss(backend):
    # One sample is never drawn in the first step, and alone overflows the whole data's loss.
    case = problem(4, (1, 1), 2, "float64")
    drawn = int(sample_indices(2, 1, 1, "replacement", 0)[0, 0])
    case.x[1 - drawn] = 1e200
    with pytest.raises(fcb.DivergenceError) as caught:
        fcb.train(
            case.x, case.t, lr=0.1, max_steps=9, tol_on="data", record_every=1,
            backend=backend, **settings(case),
        )  # fmt: skip
    assert caught.value.step == 1
    assert finite(caught.value.params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_value_of_the_data_that_is_not_finite_diverges_where_it_is_drawn(backend):
    case = problem(5, (2, 2), 6, "float64")
    trainer = fcb.Trainer(case.params, lr=0.1, backend=backend)
    trainer.step(case.x[0], case.t[0])
    before = trainer.params
    for bad in (np.nan, np.inf, 1e200):
        with pytest.raises(fcb.DivergenceError) as caught:
            trainer.step(np.array([1.0, bad]), case.t[0])
        assert caught.value.step == 2
        assert_same_bits(trainer.params, before)
        assert_same_bits(caught.value.params, before)
    trainer.step(case.x[1], case.t[1])
    assert trainer.steps == 2


def test_a_divergence_travels_between_processes():
    error = fcb.DivergenceError(7, fcb.init_params((2, 1)))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.step, str(copy)) == (7, str(error))
    assert_same_bits(copy.params, error.params)


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
        steps(100)
        before, _ = tracemalloc.get_traced_memory()
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
    runtime = pytest.importorskip("numba.core.runtime")
    nrt = pytest.importorskip("numba.core.runtime._nrt_python")
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


# --- held open -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lr", "steps", "backend", "params", "learning_rate"])
def test_a_trainer_cannot_be_set(name):
    trainer = fcb.Trainer(fcb.init_params((2, 1)), lr=0.1)
    with pytest.raises(AttributeError):
        setattr(trainer, name, 1)
    assert (trainer.lr, trainer.steps) == (0.1, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_that_share_a_trainer_lose_no_step(backend):
    x, t = np.array([1.0, 2.0]), np.array([3.0])
    first, steps = fcb.init_params((2, 4, 1)), 50 if backend == "numpy" else 3000
    alone, shared = (fcb.Trainer(first, lr=1e-4, backend=backend) for _ in range(2))

    def take_steps(trainer, count):
        for _ in range(count):
            trainer.step(x, t)

    take_steps(alone, 4 * steps)
    threads = [threading.Thread(target=take_steps, args=(shared, steps)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.steps == 4 * steps
    assert_same_bits(shared.params, alone.params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_is_broken_off_inside_has_not_been(backend):
    x, t = np.ones((4, 2)), np.ones((4, 1))
    trainer = fcb.Trainer(fcb.init_params((2, 1)), lr=1e-4, backend=backend)
    trainer.run(x, t, max_steps=10)
    before = trainer.params

    def broken(run):
        def broken_off(*args):
            run(*args)
            raise KeyboardInterrupt

        return broken_off

    trainer._loop.run = broken(trainer._loop.run)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(x, t, max_steps=10)
    assert trainer.steps == 10
    assert_same_bits(trainer.params, before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_takes_arrays_of_any_layout(backend, dtype):
    rng = np.random.default_rng(3)
    x, t = (rng.standard_normal(n).astype(dtype) for n in (3, 2))
    params = fcb.init_params((3, 4, 2), dtype=dtype)
    want = fcb.Trainer(params, lr=0.1, backend=backend)
    losses = {want.step(x, t)}
    read_only = x.copy()
    read_only.flags.writeable = False
    for one in (
        np.repeat(x, 2)[::2],
        x[::-1].copy()[::-1],
        read_only,
        x.astype(x.dtype.newbyteorder()),
    ):
        trainer = fcb.Trainer(params, lr=0.1, backend=backend)
        losses.add(trainer.step(one, np.repeat(t, 3)[::3]))
        assert_same_bits(trainer.params, want.params)
    assert len(losses) == 1
