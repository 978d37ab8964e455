"""Looks at a run: the validation loss, patience, and what the history says of them."""

import array_api_strict
import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.training import pacing
from tests.cases import BACKENDS, DTYPES, allow_small_kernels, problem
from tests.oracle import assert_same_bits

OPTIMIZERS = [fcb.SGD(), fcb.SGD(momentum=0.9), fcb.Adam()]


def case_and_held(seed, sizes, dtype, samples=23):
    """A problem, and validation data of another one."""
    case, other = problem(seed, sizes, samples, dtype), problem(seed + 1, sizes, 9, dtype)
    how = dict(params=case.params, dtype=dtype)
    return case, (other.x, other.t), how


def loss_at(case, held, step, how):
    """The validation loss after so many steps, one run for each."""
    params = fcb.train(case.x, case.t, **(how | dict(max_steps=step))).params
    x, t = held
    y = fcb.predict(params, x, activation=how.get("activation", "relu"))
    return float(fcb.mean_squared_loss(y, t).loss)


# --- the validation loss -------------------------------------------------------------------------


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_it_is_the_loss_under_the_parameters_after_the_step(tol_on, dtype, small, monkeypatch):
    allow_small_kernels(monkeypatch, 99 if small else 0)
    case, held, how = case_and_held(1, (3, 5, 2), dtype)
    how |= dict(lr=0.01, batch_size=4, sampling="epoch", optimizer=fcb.Adam(), tol_on=tol_on)
    alone = fcb.train(case.x, case.t, record_every=6, max_steps=20, **how)
    want = [loss_at(case, held, step, how) for step in (6, 12, 18, 20)]
    for backend in BACKENDS:
        result = fcb.train(
            case.x, case.t, record_every=6, max_steps=20, validation=held, backend=backend, **how
        )
        assert_same_bits(result.params, alone.params)
        assert (result.loss, result.steps, result.stop_reason) == (alone.loss, 20, "max_steps")
        assert result.history.steps.tolist() == [6, 12, 18, 20]
        assert result.history.losses.tolist() == alone.history.losses.tolist()
        assert result.history.validation_losses.tolist() == want
        assert result.best_validation_loss == min(want)
        assert result.best_step == (6, 12, 18, 20)[want.index(min(want))]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_looks_do_not_depend_on_how_a_run_is_cut(optimizer, seconds, monkeypatch):
    case, held, how = case_and_held(2, (3, 5, 2), "float64")
    how |= dict(lr=0.01, optimizer=optimizer, max_steps=300, record_every=7, validation=held)
    want = fcb.train(case.x, case.t, backend="numpy", **how)
    monkeypatch.setattr(pacing, "_SEGMENT_SECONDS", seconds)
    result = fcb.train(case.x, case.t, **how)
    assert_same_bits(result[:2], want[:2])
    assert_same_bits(result.history[:4], want.history[:4])
    assert (result.best_step, result.best_validation_loss) == (
        want.best_step,
        want.best_validation_loss,
    )


def test_other_libraries_have_the_same_looks():
    case, held, how = case_and_held(3, (3, 5, 2), "float64")
    how |= dict(lr=0.05, max_steps=60, record_every=5, patience=3)
    want = fcb.train(case.x, case.t, validation=held, **how)
    strict = [array_api_strict.asarray(array) for array in (case.x, case.t, *held)]
    for given in (tuple(strict[2:]), held):
        got = fcb.train(*strict[:2], validation=given, **how)
        assert fcb.digest(got.params) == fcb.digest(want.params)
        assert_same_bits(got.history[:3], want.history[:3])
    share = fcb.train(*strict[:2], validation=0.3, **how)
    want = fcb.train(case.x, case.t, validation=0.3, **how)
    assert fcb.digest(share.params) == fcb.digest(want.params)
    assert_same_bits(share.history[:3], want.history[:3])


@pytest.mark.parametrize("batch_size", [1, 7, 23, 40])
def test_a_look_comes_once_an_epoch(batch_size):
    case, held, how = case_and_held(4, (3, 2), "float64")
    how |= dict(lr=0.01, batch_size=batch_size, max_steps=100)
    result = fcb.train(case.x, case.t, validation=held, **how)
    epoch = -(-23 // batch_size)
    assert result.history.steps.tolist()[:-1] == list(range(epoch, 100, epoch))
    assert result.history.steps[-1] == 100


def test_a_share_is_held_out_by_the_seed():
    case, _, how = case_and_held(5, (3, 2), "float64", samples=20)
    how |= dict(lr=0.01, max_steps=50, seed=8)
    order = fcb.sample_indices(20, steps=1, batch_size=20, sampling="epoch", seed=8)[0]
    held, trained = np.sort(order[:6]), np.sort(order[6:])
    want = fcb.train(
        case.x[trained], case.t[trained], validation=(case.x[held], case.t[held]), **how
    )
    trainer = fcb.Trainer(case.params, lr=0.01)
    del how["params"], how["lr"]
    for got in (
        fcb.train(case.x, case.t, validation=0.3, lr=0.01, params=case.params, **how),
        trainer.run(case.x, case.t, validation=0.3, max_steps=50, seed=8),
    ):
        assert_same_bits(got.params, want.params)
        assert_same_bits(got.history[:3], want.history[:3])


def test_the_history_says_rates_and_no_more_where_nothing_is_asked():
    case, _, how = case_and_held(6, (3, 2), "float64")
    result = fcb.train(case.x, case.t, lr=0.25, max_steps=10, record_every=4, **how)
    assert result.history.steps.tolist() == [4, 8, 10]
    assert result.history.rates.tolist() == [0.25] * 3
    assert result.history.validation_losses.shape == (0,)
    assert result.history.metrics == {}
    assert result.best_step is result.best_validation_loss is None
    assert result.optimizer == fcb.SGD()


# --- losses, weights, schedules ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "huber"])
def test_it_is_of_the_loss_that_is_trained_on(loss, dtype):
    rng = np.random.default_rng(20)
    x, own = rng.standard_normal((2, 15, 3)).astype(dtype)
    t, own_t = rng.integers(0, 2, (2, 15))
    how = dict(hidden=(4,), loss=loss, lr=0.1, max_steps=30, record_every=10, dtype=dtype)
    results = [
        fcb.train(x, t, validation=(own, own_t), patience=9, backend=name, **how)
        for name in BACKENDS
    ]
    assert_same_bits(results[0].history[:4], results[1].history[:4])
    assert_same_bits(results[0].params, results[1].params)
    y = fcb.predict(results[0].params, own)
    if loss == "cross_entropy":
        value = fcb.cross_entropy_loss(y, own_t).loss
    else:
        value = getattr(fcb, f"{loss}_loss")(y, own_t[:, None].astype(dtype)).loss
    assert results[0].best_validation_loss == float(value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [False, True])
def test_it_has_no_weights(share, backend):
    """Samples of the validation count alike, whatever those trained on weigh."""
    case, held, how = case_and_held(21, (3, 5, 2), "float64", samples=30)
    order = fcb.sample_indices(30, steps=1, batch_size=30, sampling="epoch")[0]
    trained = np.sort(order[9:])
    weights = np.linspace(0, 2, 30)
    how |= dict(lr=0.05, max_steps=40, record_every=10, backend=backend)
    if share:
        rows = np.sort(order[:9])
        held = case.x[rows], case.t[rows]
        result = fcb.train(case.x, case.t, sample_weight=weights, validation=0.3, **how)
        case.x, case.t, weights = case.x[trained], case.t[trained], weights[trained]
    else:
        result = fcb.train(case.x, case.t, sample_weight=weights, validation=held, **how)
    alone = fcb.train(case.x, case.t, sample_weight=weights, **how)
    assert_same_bits(result.params, alone.params)
    y = fcb.predict(result.params, held[0])
    assert result.history.validation_losses[-1] == float(fcb.mean_squared_loss(y, held[1]).loss)
    trainer = fcb.Trainer(case.params, lr=0.05, backend=backend)
    del how["lr"], how["params"], how["dtype"], how["backend"]
    again = trainer.run(case.x, case.t, sample_weight=weights, validation=held, **how)
    assert_same_bits(again.params, result.params)
    assert_same_bits(again.history[:4], result.history[:4])


def test_a_schedule_stands_in_the_history_and_goes_on():
    case, held, _ = case_and_held(22, (3, 2), "float64")
    rate = fcb.CosineRate(0.1, steps=40, warmup=8)
    seen = []
    trainer = fcb.Trainer(case.params, lr=rate)
    whole = fcb.train(
        case.x, case.t, params=case.params, lr=rate, max_steps=40, record_every=4,
        callback=seen.append,
    )  # fmt: skip
    assert [look.rate for look in seen] == whole.history.rates.tolist()
    assert whole.history.rates[:2].tolist() == [0.1 * (4 / 8), 0.1]
    parts = [
        trainer.run(case.x, case.t, max_steps=20, record_every=4, validation=held) for _ in range(2)
    ]
    rates = np.concatenate([part.history.rates for part in parts])
    assert_same_bits(rates, whole.history.rates)
    assert_same_bits(trainer.params, whole.params)


# --- patience ------------------------------------------------------------------------------------


def stopped(losses, patience):
    """The looks that there are, and the best of them, by hand."""
    for count in range(1, len(losses) + 1):
        best = losses.index(min(losses[:count]))
        if count - 1 - best >= patience:
            return count, best
    return len(losses), losses.index(min(losses))


def turning(seed, **how):
    """Noisy targets that a network learns by heart: its validation loss turns at some step."""
    rng = np.random.default_rng(seed)
    x, own = rng.standard_normal((12, 3)), rng.standard_normal((30, 3))
    t, own_t = (
        np.sin(a.sum(1, keepdims=True)) + rng.standard_normal((len(a), 1)) for a in (x, own)
    )
    how = dict(hidden=(16,), lr=0.02, batch_size=3, max_steps=600, record_every=4) | how
    return x, t, (own, own_t), how


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("patience", [1, 5])
def test_a_run_ends_where_the_validation_loss_was_smallest(patience, optimizer, backend):
    x, t, held, how = turning(7, optimizer=optimizer, backend=backend)
    whole = fcb.train(x, t, validation=held, **how)
    count, best = stopped(whole.history.validation_losses.tolist(), patience)
    result = fcb.train(x, t, validation=held, patience=patience, **how)
    assert count < len(whole.history.steps)
    assert result.stop_reason == "patience"
    assert_same_bits(result.history[:4], [part[:count] for part in whole.history[:4]])
    assert result.best_step == result.steps == whole.history.steps[best]
    assert result.best_validation_loss == whole.history.validation_losses[best]
    # As a run of so many steps ends.
    again = fcb.train(x, t, **(how | dict(max_steps=result.steps)))
    assert_same_bits([result.params, result.slots], [again.params, again.slots])
    assert result.loss == again.loss


@pytest.mark.parametrize("stop", ["max_steps", "tolerance"])
def test_patience_that_does_not_run_out_ends_at_the_best_look_too(stop):
    x, t, held, how = turning(7)
    whole = fcb.train(x, t, validation=held, **how)
    if stop == "tolerance":
        how |= dict(tol=float(np.sort(whole.history.losses)[1]))
        whole = fcb.train(x, t, validation=held, **how)
    result = fcb.train(x, t, validation=held, patience=10**6, **how)
    assert result.stop_reason == whole.stop_reason == stop
    assert_same_bits(result.history[:4], whole.history[:4])
    assert result.steps == result.best_step == whole.best_step < whole.steps


def test_the_first_of_equal_looks_is_the_best():
    """Inputs of zeros teach a bias alone; a step that moves nothing leaves the loss as it is."""
    x, t = np.zeros((4, 2)), np.zeros((4, 1))
    result = fcb.train(
        x, t, params=[(np.ones((2, 1)), np.zeros(1))], lr=0.1, max_steps=99, record_every=3,
        validation=(x + 1, t), patience=4,
    )  # fmt: skip
    assert result.history.steps.tolist() == [3, 6, 9, 12, 15]
    assert result.history.validation_losses.tolist() == [4.0] * 5
    assert (result.best_step, result.steps, result.stop_reason) == (3, 3, "patience")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_validation_loss_that_is_not_finite_is_the_greatest(backend):
    x, t = np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[1.0], [2.0]])
    how = dict(lr=0.1, max_steps=99, record_every=1, backend=backend)
    for value in (1e200, np.nan):
        never = fcb.train(x, t, validation=([[0.0, value]], [[0.0]]), patience=3, **how)
        assert not np.isfinite(never.history.validation_losses).any()
        assert never.history.steps.tolist() == [1, 2, 3, 4]
        assert (never.best_step, never.steps, never.stop_reason) == (1, 1, "patience")
    # The weight falls from 1000 to 500; up to step 2 the square of its product overflows.
    one, held = (np.ones((1, 1)), np.zeros((1, 1))), (np.array([[2.1e151]]), np.zeros((1, 1)))
    params = [(np.array([[1e3]]), np.zeros(1))]
    result = fcb.train(*one, params=params, validation=held, patience=2, **how)
    finite = np.isfinite(result.history.validation_losses)
    assert finite.tolist() == [False, False] + [True] * (len(finite) - 2)
    assert result.best_step > 3


def test_a_run_that_diverges_is_as_without_looks():
    case, held, how = case_and_held(8, (3, 4, 2), "float64")
    how |= dict(lr=3.0, max_steps=5000, record_every=2)
    with pytest.raises(fcb.DivergenceError) as alone:
        fcb.train(case.x, case.t, **how)
    with pytest.raises(fcb.DivergenceError) as watched:
        fcb.train(case.x, case.t, validation=held, patience=10**6, **how)
    assert watched.value.step == alone.value.step
    assert_same_bits(watched.value.params, alone.value.params)


# --- a Trainer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_looks_change_no_bit_of_what_follows(optimizer, backend):
    case, held, _ = case_and_held(13, (3, 5, 2), "float64")
    make = dict(optimizer=optimizer, lr=0.01, backend=backend)
    whole, halves, singles = (fcb.Trainer(case.params, **make) for _ in range(3))
    steps = 5000 if backend == "numba" else 200
    want = whole.run(case.x, case.t, max_steps=steps, validation=held, record_every=100)
    parts = [
        halves.run(case.x, case.t, max_steps=steps // 2, validation=held, record_every=100)
        for _ in range(2)
    ]
    for (row,) in fcb.sample_indices(23, steps=steps):
        singles.step(case.x[row], case.t[row])
    for trainer in (halves, singles):
        assert_same_bits(trainer.state, whole.state)
    assert_same_bits(
        np.concatenate([part.history.validation_losses for part in parts]),
        want.history.validation_losses,
    )


def test_a_trainer_goes_on_from_the_best_look():
    x, t, held, _ = turning(14)
    make = dict(optimizer=fcb.Adam(), lr=0.02)
    run = dict(batch_size=3, record_every=4, seed=3)
    first = fcb.init_params((3, 16, 1))
    trainer, plain = (fcb.Trainer(first, **make) for _ in range(2))
    result = trainer.run(x, t, validation=held, patience=2, max_steps=600, **run)
    assert result.stop_reason == "patience"
    assert trainer.steps == result.steps == result.best_step
    plain.run(x, t, max_steps=result.steps, **run)
    assert_same_bits(trainer.state, plain.state)
    for one in (trainer, plain):
        one.run(x, t, max_steps=30, **run)
    assert_same_bits(trainer.state, plain.state)


# --- many networks -------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("patience", [None, 2])
def test_many_networks_stop_each_by_itself(patience, backend):
    x, t, held, how = turning(15, backend=backend, max_steps=200)
    how |= dict(validation=held, patience=patience)
    rates = [0.05, 0.001, 0.02]
    del how["lr"]
    results = fcb.train_many(x, t, seed=[1, 2, 3], lr=rates, **how)
    for seed, lr, result in zip([1, 2, 3], rates, results, strict=True):
        alone = fcb.train(x, t, seed=seed, lr=lr, **how)
        assert_same_bits([*result[:2], result.slots], [*alone[:2], alone.slots])
        assert_same_bits(result.history[:4], alone.history[:4])
        assert result[2:4] == alone[2:4]
        assert result[-2:] == alone[-2:]
    assert patience is None or len({len(result.history.steps) for result in results}) > 1


def test_a_network_of_many_that_diverges_has_the_looks_before():
    case, held, how = case_and_held(16, (3, 4, 2), "float64")
    how |= dict(max_steps=500, record_every=1, validation=held)
    calm, wild = fcb.train_many(case.x, case.t, lr=[0.001, 3.0], **how)
    assert (calm.stop_reason, wild.stop_reason) == ("max_steps", "diverged")
    lengths = {len(part) for part in wild.history[:4]}
    assert len(lengths) == 1
    assert wild.history.steps.tolist() == list(range(1, wild.steps + 1))
