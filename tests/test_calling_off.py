"""A step that is left in its middle is undone, and a run out of time has the bits of its steps."""

import itertools

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.backends import array_api, fused_loop
from fcbackends.backends.loop import Plan
from fcbackends.kernels import threads
from fcbackends.maths.network import Method
from tests.cases import BACKENDS, problem

CASE, WIDE = (problem(3, (5, hidden, 20, 3), 70, "float32") for hidden in (20, 140))
PLAN = Plan(70, "replacement", 7, None, "batch", 4)
METHODS = {
    "sgd": Method(0.01),
    "tanh": Method(0.01, activation="tanh"),
    "adam": Method(0.01, optimizer=fcb.Adam()),
    "clipped": Method(0.01, optimizer=fcb.SGD(momentum=0.9), clip_norm=0.1),
    "scheduled": Method(fcb.ExponentialRate(0.01, factor=0.9)),
}


def after(count):
    """A question whose answer is no, so many times, and then yes."""
    asked = itertools.count()
    return lambda: next(asked) >= count


@pytest.fixture
def all_is_long(monkeypatch):
    monkeypatch.setattr(array_api, "_LONG_PRODUCTS", 0)
    monkeypatch.setattr(array_api, "_SECONDS_BETWEEN_QUESTIONS", 0.0)
    monkeypatch.setattr(fused_loop, "_LONG_PRODUCTS", 0)
    monkeypatch.setattr(threads, "_SECONDS_BETWEEN_QUESTIONS", 1e-4)


def loop_of(backend, method, case=CASE):
    return fcb.get_backend(backend).training_loop(case.params, method)


def stepped(loop, plan, count, case=CASE):
    """What a loop that is let alone is like after so many steps, and the losses it has seen."""
    segment = loop.run(case.x, case.t, plan, 0, count) if count else None
    return loop.state, [] if segment is None else segment.losses.tolist()


@pytest.mark.parametrize("scope", ["batch", "data"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_that_is_left_is_undone(all_is_long, backend, method, scope):
    plan = PLAN._replace(tol_on=scope)
    for count in (0, 1, 3, 8, 30):
        loop = loop_of(backend, METHODS[method])
        loop.called_off = after(count)
        segment = loop.run(CASE.x, CASE.t, plan, 0, 10**9)
        assert not segment.reached
        assert segment.diverged_at is None
        loop.called_off = None
        state, losses = stepped(loop_of(backend, METHODS[method]), plan, segment.steps)
        assert fcb.digest(loop.state) == fcb.digest(state)
        # The loss of the whole data is what it may have been called off from.
        assert segment.losses.tolist() in (losses, losses[:-1] if scope == "data" else losses)
        # It goes on as if nothing had been.
        loop.run(CASE.x, CASE.t, plan, segment.steps, segment.steps + 2)
        state, _ = stepped(loop_of(backend, METHODS[method]), plan, segment.steps + 2)
        assert fcb.digest(loop.state) == fcb.digest(state)


@pytest.mark.jit_off
@pytest.mark.parametrize("at_last", [False, True], ids=["as it comes", "at last"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads_agree_on_the_last_step(all_is_long, monkeypatch, count, method, at_last):
    monkeypatch.setattr(threads, "_PRODUCTS_A_THREAD", 1)
    monkeypatch.setattr(threads, "get_threads", lambda: count)
    if at_last:
        monkeypatch.setattr(fused_loop, "_LONG_DESCENT_PRODUCTS", 0)
    for questions in (0, 1, 4, 20):
        loop = loop_of("numba", METHODS[method], WIDE)
        loop.called_off = after(questions)
        segment = loop.run(WIDE.x, WIDE.t, PLAN, 0, 10**9)
        with monkeypatch.context() as patch:
            patch.setattr(fused_loop, "_LONG_DESCENT_PRODUCTS", 10**18)
            patch.setattr(threads, "get_threads", lambda: 1)
            state, losses = stepped(
                loop_of("numba", METHODS[method], WIDE), PLAN, segment.steps, WIDE
            )
        assert fcb.digest(loop.state) == fcb.digest(state)
        assert segment.losses.tolist() == losses


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_of_much_data_can_be_left(all_is_long, backend):
    loop = loop_of(backend, METHODS["sgd"])
    loop.called_off = lambda: True
    x, t = np.tile(CASE.x, (20, 1)), np.tile(CASE.t, (20, 1))
    left = loop.loss(x, t)
    loop.called_off = None
    whole = loop.loss(x, t)
    assert np.isfinite(whole)
    assert np.isnan(left) or left == whole


RUNS = {
    "train": lambda **run: fcb.train(CASE.x, CASE.t, params=CASE.params, dtype="float32", **run),
    "trainer": lambda backend, lr, **run: fcb.Trainer(CASE.params, lr=lr, backend=backend).run(
        CASE.x, CASE.t, **run
    ),
    "many": lambda **run: fcb.train_many(
        CASE.x, CASE.t, params=CASE.params, dtype="float32", seed=[0], **run
    )[0],
}


@pytest.mark.jit_off
@pytest.mark.parametrize("how", [{}, {"tol_on": "data"}, {"patience": 3}])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_without_time_takes_no_step(backend, run, how):
    if "patience" in how:
        how = {**how, "validation": (CASE.x, CASE.t)}
    result = RUNS[run](backend=backend, lr=0.01, time_limit=1e-9, **how)
    assert (result.stop_reason, result.steps) == ("time_limit", 0)
    assert np.isnan(result.loss)
    assert len(result.history.steps) == len(result.history.losses) == 0
    assert fcb.digest(result.params) == fcb.digest(CASE.params)


@pytest.mark.parametrize("how", [{}, {"tol_on": "data"}, {"validation": 0.2}])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_out_of_time_has_the_bits_of_its_steps(backend, run, how, monkeypatch):
    if run == "many":
        how = {k: (CASE.x, CASE.t) if k == "validation" else v for k, v in how.items()}
    # So slow a clock that a segment is a step.
    seconds = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(seconds) * 0.2)
    how = dict(backend=backend, lr=1e-3, record_every=3, **how)
    result = RUNS[run](max_steps=10**9, time_limit=9.0, **how)
    assert result.stop_reason == "time_limit"
    assert result.steps > 0
    again = RUNS[run](max_steps=result.steps, **how)
    assert fcb.digest(again.params) == fcb.digest(result.params)
    assert result.history.losses[:-1].tolist() == again.history.losses[:-1].tolist()
    if "tol_on" not in how and "validation" not in how:
        assert result.loss == again.loss


@pytest.mark.jit_off
@pytest.mark.parametrize("run", RUNS)
def test_a_run_with_time_enough_is_as_ever(run):
    result = RUNS[run](backend="numpy", lr=0.01, max_steps=9, time_limit=1e9)
    assert (result.stop_reason, result.steps) == ("max_steps", 9)


def test_many_networks_share_the_time(monkeypatch):
    # So slow a clock that a segment is a step.
    seconds = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(seconds) * 0.2)
    x, t = CASE.x, CASE.t
    results = fcb.train_many(
        x, t, seed=range(3), lr=1e-3, max_steps=10**9, time_limit=9.0, backend="numpy"
    )
    assert [result.stop_reason for result in results] == ["time_limit"] * 3
    assert results[0].steps > 0
    assert results[-1].steps == 0
