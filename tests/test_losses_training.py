"""Losses in training: single steps, runs and many networks, weights that come later, divergence."""

import threading

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, DTYPES, allow_small_kernels, quick_first
from tests.loss_cases import ADAM, LOSSES, loss_problem, with_weights
from tests.oracle import assert_same_bits, fast, sample_indices

of_each_loss = pytest.mark.parametrize("loss", LOSSES)
of_each_backend = pytest.mark.parametrize("backend", BACKENDS)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)
weighted_or_not = pytest.mark.parametrize("weighted", [False, True])


# --- steps and runs ------------------------------------------------------------------------------


@pytest.mark.jit_off
@of_each_loss
@of_each_backend
@weighted_or_not
def test_a_training_has_the_oracles_bits(weighted, backend, loss):
    case = loss_problem(1, (3, 5, 4), 12, "float64", loss)
    rows = sample_indices(12, 15, 3, "epoch", 5)
    t = with_weights(case) if weighted else case.t
    want, losses = fast.train(case.params, case.x, t, rows, 0.1, "relu", loss, weighted)
    got = fcb.train(
        case.x, case.t, params=case.params, loss=loss, lr=0.1, batch_size=3, sampling="epoch",
        max_steps=15, seed=5, sample_weight=case.weights if weighted else None, backend=backend,
    )  # fmt: skip
    assert_same_bits(got.params, want)
    assert_same_bits(got.history.losses, losses)
    assert got.loss == losses[-1]


@of_each_loss
@of_each_backend
@weighted_or_not
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("small", quick_first([False, True], 1))
def test_one_run_of_many_steps_is_as_many_runs_and_as_single_steps(
    small, batch_size, weighted, backend, loss, monkeypatch
):
    allow_small_kernels(monkeypatch, 99 if small else 0)
    case = loss_problem(2, (3, 4, 3), 20, "float64", loss)
    # What a step gets may not be of weight 0 altogether.
    case.weights[case.weights == 0] = 1
    how = dict(loss=loss, optimizer=ADAM, lr=0.01, backend=backend)
    s = dict(sample_weight=case.weights) if weighted else {}
    run = dict(batch_size=batch_size, sampling="epoch", seed=1)
    whole, parts, singles = (fcb.Trainer(case.params, **how) for _ in range(3))
    whole.run(case.x, case.t, max_steps=120, **run, **s)
    for steps in (1, 1, 18, 50, 50):
        parts.run(case.x, case.t, max_steps=steps, **run, **s)
    rows = fcb.sample_indices(20, steps=120, **run)
    for row in rows:
        # Of one sample also without the axis of samples, and with a plain number.
        at = row[0] if batch_size == 1 and row[0] % 2 else row
        weight = {"sample_weight": case.weights[at]} if weighted else {}
        singles.step(case.x[at], case.t[at], **weight)
    assert_same_bits(parts.params, whole.params)
    assert_same_bits(singles.params, whole.params)
    assert whole.steps == parts.steps == singles.steps == 120


@pytest.mark.slow
@of_each_loss
@weighted_or_not
def test_two_thousand_runs_of_a_step_are_one_run(weighted, loss):
    case = loss_problem(3, (3, 4, 3), 20, "float64", loss)
    how = dict(loss=loss, optimizer=ADAM, lr=0.01)
    s = dict(sample_weight=case.weights) if weighted else {}
    whole, parts = (fcb.Trainer(case.params, **how) for _ in range(2))
    whole.run(case.x, case.t, max_steps=2000, batch_size=2, **s)
    for _ in range(2000):
        parts.run(case.x, case.t, max_steps=1, batch_size=2, **s)
    assert_same_bits(parts.params, whole.params)


@of_each_dtype
@of_each_backend
def test_classes_come_one_by_one_or_in_batches(backend, dtype):
    case = loss_problem(4, (3, 4, 3), 9, dtype, "cross_entropy")
    classes = np.array([0, 2, 1, 1, 0, 2, 2, 0, 1])
    rows = np.eye(3, dtype=dtype)[classes]
    how = dict(loss="cross_entropy", lr=0.1, backend=backend)
    by_name, by_row = (fcb.Trainer(case.params, **how) for _ in range(2))
    for at, weight in (
        (0, None),
        (slice(0, 4), None),
        (3, 2.0),
        (slice(2, 9), [1.5] * 7),
        (5, None),
    ):
        assert by_name.step(case.x[at], classes[at], sample_weight=weight) == by_row.step(
            case.x[at], rows[at], sample_weight=weight
        )
    assert_same_bits(by_name.params, by_row.params)
    assert (by_name.loss, by_name.steps) == ("cross_entropy", 5)


@of_each_backend
@of_each_dtype
def test_a_target_of_one_sample_is_taken_or_refused_as_in_a_batch(dtype, backend):
    case = loss_problem(4, (3, 4, 3), 9, dtype, "cross_entropy")
    how = dict(lr=0.1, backend=backend)
    single, batch = (fcb.Trainer(case.params, loss="cross_entropy", **how) for _ in range(2))
    for n, place in enumerate((2, 0, 1, 1)):
        want = batch.step(case.x[n : n + 1], np.eye(3, dtype=dtype)[[place]])
        assert single.step(case.x[n], place) == want
    for strange in (3, -1, 10**30):
        with pytest.raises((fcb.ArgumentError, fcb.ArgumentTypeError)):
            single.step(case.x[0], strange)
    assert_same_bits(single.params, batch.params)
    params = (*case.params[:-1], (case.params[-1][0][:, :1], case.params[-1][1][:1]))
    single, batch = (fcb.Trainer(params, loss="binary_cross_entropy", **how) for _ in range(2))
    for n, share in enumerate((0.0, 1.0, 0.25, -0.0)):
        t = np.array([share], dtype)
        assert single.step(case.x[n], t) == batch.step(case.x[n : n + 1], t[None])
    for strange in (-0.5, 1.5, np.nan):
        with pytest.raises(fcb.ArgumentError, match="`t` must be from 0 to 1"):
            single.step(case.x[0], np.array([strange], dtype))
    assert_same_bits(single.params, batch.params)


# --- weights that come later ---------------------------------------------------------------------


@of_each_loss
@of_each_backend
@pytest.mark.parametrize("optimizer", [fcb.SGD(), ADAM], ids=str)
def test_weights_may_come_at_any_step(optimizer, backend, loss):
    case = loss_problem(5, (3, 4, 3), 20, "float64", loss)
    how = dict(loss=loss, optimizer=optimizer, lr=0.01, backend=backend)
    ones = np.ones(20)
    plain, weighted, late = (fcb.Trainer(case.params, **how) for _ in range(3))
    for trainer in (plain, weighted, late):
        of_all = dict(sample_weight=ones) if trainer is weighted else {}
        of_one = dict(sample_weight=1.0) if trainer is weighted else {}
        trainer.step(case.x[0], case.t[0], **of_one)
        trainer.run(case.x, case.t, batch_size=4, max_steps=5, **of_all)
        if trainer is late:  # by a single step, and then by a run that has some
            of_one, of_all = dict(sample_weight=1.0), dict(sample_weight=ones)
        trainer.step(case.x[1], case.t[1], **of_one)
        trainer.run(case.x, case.t, batch_size=4, max_steps=5, **of_all)
        # From here on they come without again.
        trainer.step(case.x[2:5], case.t[2:5])
        trainer.run(case.x, case.t, max_steps=5)
    assert_same_bits(weighted.params, plain.params)
    assert_same_bits(late.params, plain.params)
    for trainer in (plain, late):
        trainer.step(case.x, case.t, sample_weight=case.weights)
        trainer.run(case.x, case.t, sample_weight=case.weights, max_steps=5)
    assert_same_bits(late.params, plain.params)
    assert plain.steps == late.steps == weighted.steps + 6 == 24


@of_each_backend
def test_the_first_weights_that_are_refused_change_nothing(backend):
    case = loss_problem(6, (3, 2), 4, "float64", "mean_squared")
    trainer, other = (fcb.Trainer(case.params, lr=0.1, backend=backend) for _ in range(2))
    with pytest.raises(fcb.ArgumentError, match="sample_weight"):
        trainer.step(case.x, case.t, sample_weight=[-1.0] * 4)
    with pytest.raises(fcb.ArgumentError, match="sample_weight"):
        trainer.run(case.x, case.t, sample_weight=[1.0] * 3)
    assert trainer.steps == 0
    assert trainer.step(case.x, case.t) == other.step(case.x, case.t)
    assert_same_bits(trainer.params, other.params)


@of_each_backend
def test_the_last_finite_parameters_outlast_the_first_weights(backend):
    """A gradient overflows while its loss is finite, and only then a sample has a weight."""
    case = loss_problem(7, (2, 3), 5, "float64", "mean_squared")
    case.params[0][0][0], case.x[:, 0] = 0, 0
    trainer = fcb.Trainer(case.params, lr=0.01, backend=backend)
    trainer.step(case.x[0], case.t[0])
    kept = trainer.params
    trainer.step(np.array([1e200, 0.0]), np.array([0.0, -1e150, 0.0]))
    with pytest.raises(fcb.DivergenceError) as raised:
        trainer.step(case.x[1], case.t[1], sample_weight=2.0)
    assert raised.value.step == 3
    assert_same_bits(raised.value.params, kept)


def test_threads_may_share_a_trainer_that_gets_weights():
    case = loss_problem(8, (3, 2), 1, "float64", "huber")
    for _ in range(20):
        trainer = fcb.Trainer(case.params, loss="huber", lr=1e-3)

        def steps(weight, trainer=trainer):
            for _ in range(25):
                trainer.step(case.x[0], case.t[0], sample_weight=weight)

        pool = [threading.Thread(target=steps, args=(w,)) for w in (None, 1.0, None, 1.0)]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
        assert trainer.steps == 100
    alone = fcb.Trainer(case.params, loss="huber", lr=1e-3)
    for _ in range(100):
        alone.step(case.x[0], case.t[0])
    # One sample over and over: in any order, the same steps.
    assert_same_bits(trainer.params, alone.params)


# --- many networks -------------------------------------------------------------------------------


@pytest.mark.jit_off
@of_each_loss
@of_each_backend
@weighted_or_not
def test_many_networks_have_the_bits_of_each_alone(weighted, backend, loss):
    case = loss_problem(9, (3, 4), 20, "float64", loss)
    rows = [[0, 3, 3, 7], np.arange(20), [19, 18, 1]]
    run = dict(loss=loss, hidden=(4,), batch_size=2, max_steps=30, tol_on="data", backend=backend)
    s = case.weights if weighted else None
    results = fcb.train_many(
        case.x, case.t, sample_weight=s, seed=[4, 5, 6], rows=rows, lr=[0.01, 0.02, 0.03], **run
    )
    for seed, lr, own, result in zip((4, 5, 6), (0.01, 0.02, 0.03), rows, results, strict=True):
        s = case.weights[own] if weighted else None
        alone = fcb.train(case.x[own], case.t[own], sample_weight=s, seed=seed, lr=lr, **run)
        assert_same_bits(result.params, alone.params)
        assert result.loss == alone.loss
        assert result.history.losses.tolist() == alone.history.losses.tolist()


# --- what is not finite --------------------------------------------------------------------------


@of_each_loss
@of_each_dtype
@pytest.mark.parametrize("backend", [*BACKENDS, "array_api_strict"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@weighted_or_not
def test_outputs_that_are_not_finite_have_no_finite_loss(weighted, value, backend, dtype, loss):
    case = loss_problem(10, (2, 3), 4, dtype, loss)
    y = loss_problem(11, (2, 3), 4, dtype, "mean_squared").t
    case.t[:] = 1 / 3 if loss == "cross_entropy" else 0.5
    s = np.ones(4) if weighted else None
    for place in [(0, 0), (2, 1), (3, 2)]:
        spoiled = y.copy()
        spoiled[place] = value
        with np.errstate(all="ignore"):
            loss_and_dy = LOSSES[loss](spoiled, case.t, sample_weight=s, backend=backend)
        assert not np.isfinite(float(loss_and_dy.loss))


@pytest.mark.jit_off
@of_each_loss
@of_each_backend
@weighted_or_not
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_a_training_that_meets_them_diverges(value, small, weighted, backend, loss, monkeypatch):
    allow_small_kernels(monkeypatch, 99 if small else 0)
    case = loss_problem(12, (2, 3), 30, "float64", loss)
    case.t[:] = 1 / 3 if loss == "cross_entropy" else 0.5
    order = fcb.sample_indices(30, steps=30, sampling="epoch")[:, 0]
    case.x[order[6]] = value
    run = dict(params=case.params, loss=loss, lr=1e-3, max_steps=30, sampling="epoch")
    s = np.ones(30) if weighted else None
    before = fcb.train(case.x, case.t, **run | dict(max_steps=6), backend="numpy").params
    with pytest.raises(fcb.DivergenceError) as raised:
        fcb.train(case.x, case.t, sample_weight=s, backend=backend, **run)
    assert raised.value.step == 7
    assert_same_bits(raised.value.params, before)
    assert bool(raised.value.data) == (value != 1e308)
    trainer = fcb.Trainer(case.params, loss=loss, lr=1e-3, backend=backend)
    for n in order[:6]:
        trainer.step(case.x[n], case.t[n], sample_weight=1.0 if weighted else None)
    with pytest.raises(fcb.DivergenceError) as raised:
        trainer.step(case.x[order[6]], case.t[order[6]])
    assert trainer.steps == 6
    assert_same_bits(trainer.params, before)
    assert raised.value.step == 7
    assert_same_bits(raised.value.params, before)


@pytest.mark.parametrize("steps", [0, 3, 63, 64, 65])
@pytest.mark.parametrize("optimizer", [fcb.SGD(), ADAM], ids=str)
@of_each_backend
def test_the_last_finite_parameters_of_weighted_steps(backend, optimizer, steps):
    """A gradient overflows while its loss is finite: the parameters before it are kept."""
    case = loss_problem(13, (2, 3), 70, "float64", "mean_squared")
    case.params[0][0][0], case.x[:, 0] = 0, 0
    trainer = fcb.Trainer(case.params, optimizer=optimizer, lr=0.01, backend=backend)
    for n in range(steps):
        trainer.step(case.x[n], case.t[n], sample_weight=1 + case.weights[n])
    kept = trainer.params
    trainer.step(np.array([1e200, 0.0]), np.array([0.0, -1e150, 0.0]), sample_weight=2.0)
    with pytest.raises(fcb.DivergenceError) as raised:
        trainer.step(case.x[0], case.t[0], sample_weight=2.0)
    assert raised.value.step == steps + 2
    assert_same_bits(raised.value.params, kept)
