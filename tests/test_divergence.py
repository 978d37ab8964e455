"""Losses and parameters that stop being finite, and the way back."""

import math
import pickle

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, problem
from tests.oracle import assert_same_bits, fast, sample_indices
from tests.test_training import settings

pytestmark = pytest.mark.jit_off


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
    spoiled = min(step, last_step + 1)
    with pytest.raises(fcb.DivergenceError, match=rf"\bstep {spoiled}\b") as caught:
        fcb.train(case.x, case.t, lr=lr, max_steps=20_000, backend=backend, **settings(case))
    error = caught.value
    assert (error.step, error.lr) == (spoiled, lr)
    row = sample_indices(len(case.x), spoiled, 1, "replacement", 0)[-1]
    _, loss = fast.sgd_step(last, case.x[row], case.t[row], lr)
    assert_same_bits(np.array(error.loss), np.array(float(loss)))
    assert np.isfinite(loss) == (spoiled < step)
    assert_same_bits(error.params, last)

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


@pytest.mark.parametrize("before", [0, 1, 63, 64, 65, 130])
@pytest.mark.parametrize("after", [0, 1, 63, 70])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("between", ["nothing", "a batch", "a run"])
def test_a_hidden_overflow_is_found_however_many_steps_are_around_it(before, after, rows, between):
    # The far target's gradient overflows in the hidden layer, which is then silent but for x = 0.
    params = (
        (np.array([[2.0**-664]]), np.array([0.0])),
        (np.array([[2.0**664]]), np.array([0.0])),
    )
    ends = []
    for backend in BACKENDS:
        trainer = fcb.Trainer(params, lr=0.1, backend=backend)

        def step(x, t, rows=1, trainer=trainer):
            trainer.step(np.full((rows, 1), x), np.full((rows, 1), t))

        for _ in range(before):
            trainer.step(np.array([0.0]), np.array([0.5]))
        if between == "a batch":
            step(0.0, 0.25, rows=3)
        elif between == "a run":
            trainer.run(np.zeros((1, 1)), np.ones((1, 1)), max_steps=2)
        step(1.0, -1e110, rows)
        for _ in range(after):
            step(1.0, 1.0, rows)
        last = trainer.params
        for _ in range(2):
            with pytest.raises(fcb.DivergenceError) as caught:
                step(0.0, 0.0)
            ends.append((caught.value.step, caught.value.params, trainer.params))
        assert finite(caught.value.params)
        assert not finite(last)
        assert_same_bits(trainer.params, last)
    assert len({step for step, *_ in ends}) == 1
    for end in ends:
        assert_same_bits(end[1:], ends[0][1:])


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
def test_a_value_of_the_data_that_is_too_large_diverges_where_it_is_drawn(backend):
    case = problem(5, (2, 2), 6, "float64")
    trainer = fcb.Trainer(case.params, lr=0.1, backend=backend)
    trainer.step(case.x[0], case.t[0])
    before = trainer.params
    for bad in (np.nan, np.inf):  # to blame, and not the learning rate
        with pytest.raises(fcb.DivergenceError, match=f"`x` holds {bad} in row 0, in float64"):
            trainer.step(np.array([1.0, bad]), case.t[0])
        assert_same_bits(trainer.params, before)
    with pytest.raises(fcb.DivergenceError) as caught:
        trainer.step(np.array([1.0, 1e200]), case.t[0])
    assert caught.value.step == 2
    assert_same_bits(trainer.params, before)
    assert_same_bits(caught.value.params, before)
    trainer.step(case.x[1], case.t[1])
    assert trainer.steps == 2


def test_a_divergence_travels_between_processes():
    slots = (fcb.init_params((2, 1), seed=1),)
    error = fcb.DivergenceError(7, fcb.init_params((2, 1)), math.inf, 0.5, slots)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.step, copy.loss, copy.lr, str(copy)) == (7, math.inf, 0.5, str(error))
    assert_same_bits(copy.slots, slots)
    assert_same_bits(copy.params, error.params)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", DIVERGING)
@pytest.mark.parametrize("chunk", [1, 7])
def test_divergence_is_the_same_in_runs_of_any_length(name, backend, chunk):
    case, lr = DIVERGING[name]
    with pytest.raises(fcb.DivergenceError) as whole:
        fcb.train(case.x, case.t, lr=lr, max_steps=20_000, backend=backend, **settings(case))
    trainer = fcb.Trainer(case.params, lr=lr, backend=backend)
    if whole.value.step > 50:
        trainer.run(case.x, case.t, max_steps=whole.value.step - 20)

    def go_on():
        for _ in range(200):
            trainer.run(case.x, case.t, max_steps=chunk)

    with pytest.raises(fcb.DivergenceError) as caught:
        go_on()
    for field in ("step", "lr"):
        assert getattr(caught.value, field) == getattr(whole.value, field)
    assert_same_bits(np.array(caught.value.loss), np.array(whole.value.loss))
    assert_same_bits(caught.value.params, whole.value.params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_optimizer_kept_goes_with_the_last_finite_parameters(backend):
    case = problem(6, (3, 4, 2), 10, "float64")
    how = dict(optimizer=fcb.SGD(momentum=0.9), backend=backend)
    with pytest.raises(fcb.DivergenceError) as caught:
        fcb.train(case.x, case.t, lr=2.0, max_steps=5000, params=case.params, **how)
    trainer = fcb.Trainer(case.params, lr=2.0, **how)
    trainer.run(case.x, case.t, max_steps=caught.value.step - 1)
    assert_same_bits(caught.value.params, trainer.params)
    assert_same_bits(caught.value.slots, trainer.state.slots)

    alone = fcb.Trainer(case.params, lr=2.0, **how)
    rows = sample_indices(len(case.x), 5000, 1, "replacement", 0)[:, 0]

    def go_on():
        for row in rows:
            alone.step(case.x[row], case.t[row])

    with pytest.raises(fcb.DivergenceError) as single:
        go_on()
    assert_same_bits(single.value.params, trainer.params)
    assert_same_bits(single.value.slots, trainer.state.slots)
    assert not math.isfinite(single.value.loss)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_single_step_that_diverges_names_its_own_rate(backend):
    rate = fcb.StepRate(0.5, every=1, factor=0.5)
    trainer = fcb.Trainer(fcb.init_params((1, 1)), lr=rate, backend=backend)
    for _ in range(3):
        trainer.step([0.1], [0.2])
    with pytest.raises(fcb.DivergenceError) as raised:
        trainer.step([1e200], [0.2])
    assert (raised.value.step, raised.value.lr) == (4, 0.5**4)
