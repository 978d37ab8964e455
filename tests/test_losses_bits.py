"""Losses: the oracle's bits from every backend and kernel, in any memory, on any threads."""

import itertools

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.kernels import threads as threading
from tests.activation_oracle import NAMES as ACTIVATIONS
from tests.cases import (
    ARITHMETICS,
    BACKENDS,
    DTYPES,
    LAYOUTS,
    allow_small_kernels,
    covering,
    examples,
    numbers,
)
from tests.fused_oracle import fused
from tests.loss_cases import (
    ADAM,
    LOSSES,
    OF_PROBABILITIES,
    OPTIMIZERS,
    loss_problem,
    with_weights,
)
from tests.loss_oracle import loss_and_gradient, probabilities
from tests.oracle import assert_same_bits, fast

ORACLES = {"ordered": fast, "fused": fused}
WAYS = [*BACKENDS, "array_api_strict"]

of_each_loss = pytest.mark.parametrize("loss", LOSSES)
of_each_way = pytest.mark.parametrize("way", WAYS)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)
of_each_arithmetic = pytest.mark.parametrize("arithmetic", ORACLES)
weighted_or_not = pytest.mark.parametrize("weighted", [False, True])


def on_numpy(values):
    if isinstance(values, tuple):
        return tuple(map(on_numpy, values))
    return np.asarray(values)


def of_loss(case, way, loss, y, t, weighted):
    given_weights = case.weights if weighted else None
    return on_numpy(tuple(LOSSES[loss](y, t, sample_weight=given_weights, backend=way)))


# --- one loss ------------------------------------------------------------------------------------


@pytest.mark.jit_off
@of_each_loss
@of_each_dtype
@of_each_way
@weighted_or_not
@pytest.mark.parametrize("spice", [0.0, 0.2])
def test_losses_and_gradients_have_the_oracles_bits(spice, weighted, way, dtype, loss):
    for seed, (count, outputs) in enumerate([(1, 1), (1, 7), (5, 3), (33, 17), (70, 2), (4, 16)]):
        case = loss_problem(seed, (2, outputs), count, dtype, loss)
        y = numbers(np.random.default_rng(seed), (count, outputs), dtype, spice, scale=4.0)
        t = with_weights(case) if weighted else case.t
        want = loss_and_gradient(y, t, loss, weighted)
        got = of_loss(case, way, loss, y, case.t, weighted)
        assert_same_bits(got, want, f"{count, outputs}")


@pytest.mark.jit_off
@pytest.mark.parametrize("loss", OF_PROBABILITIES)
@of_each_dtype
@of_each_way
@pytest.mark.parametrize("spice", [0.0, 0.2])
def test_probabilities_have_the_oracles_bits(spice, way, dtype, loss):
    for shape in [(1, 1), (1, 7), (5, 3), (33, 17), (3, 203)]:
        y = numbers(np.random.default_rng(2), shape, dtype, spice, scale=4.0)
        backend = fcb.get_backend(way)
        with np.errstate(all="ignore"):
            got = backend.probabilities(backend.asarray(y), loss)
        assert_same_bits(np.asarray(got), probabilities(y, loss), str(shape))


@of_each_loss
@of_each_way
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout_serves(layout, way, loss):
    case = loss_problem(5, (2, 6), 9, "float64", loss)
    y = loss_problem(6, (2, 6), 9, "float64", "mean_squared").t
    for weighted in (False, True):
        want = of_loss(case, "numpy", loss, y, case.t, weighted)
        case.weights = LAYOUTS[layout](case.weights)
        got = of_loss(case, way, loss, LAYOUTS[layout](y), LAYOUTS[layout](case.t), weighted)
        assert_same_bits(got, want)


@of_each_loss
@of_each_way
def test_integers_and_other_byte_orders_serve(way, loss):
    t = np.eye(3, dtype="int16")[[0, 2, 1, 1]]
    y, s = np.array([[0, 1, 2], [3, -4, 5], [0, 0, 0], [9, 1, 1]]), np.array([1, 0, 2, 3])
    how = dict(sample_weight=s, backend=way)
    of_floats = dict(sample_weight=s.astype(float), backend="numpy")
    want = LOSSES[loss](y.astype(float), t.astype(float), **of_floats)
    assert_same_bits(on_numpy(tuple(LOSSES[loss](y, t, **how))), tuple(want))
    swapped = (y.astype(">f8"), t.astype(">f8"))
    assert_same_bits(on_numpy(tuple(LOSSES[loss](*swapped, **how))), tuple(want))
    assert_same_bits(on_numpy(tuple(LOSSES[loss](y.tolist(), t.tolist(), **how))), tuple(want))
    single = tuple(LOSSES[loss](y[1], t[1], backend=way))
    whole = LOSSES[loss](y[1:2].astype(float), t[1:2].astype(float), backend="numpy")
    assert_same_bits(on_numpy(single), (whole.loss, whole.dy[0]))


@pytest.mark.jit_off
@pytest.mark.parametrize("loss", OF_PROBABILITIES)
@of_each_way
def test_what_is_true_or_false_is_one_or_zero(way, loss):
    sure = np.eye(3)[[0, 2, 1, 1]]
    y = loss_problem(6, (2, 3), 4, "float32", "mean_squared").t
    params, x = fcb.init_params((2, 3), dtype="float32"), np.ones((4, 2), "f4")
    run = dict(lr=0.1, max_steps=9, loss=loss, backend=way)

    def results(t):
        trainer = fcb.Trainer(params, lr=0.1, loss=loss, backend=way)
        return on_numpy((
            tuple(LOSSES[loss](y, t, backend=way)),
            fcb.sgd_step(params, x, t, 0.1, loss=loss, backend=way).params,
            fcb.train(x, t, **run).params,
            (trainer.step(x, t), trainer.step(x[0], t[0]), trainer.run(x, t, max_steps=3).loss),
            trainer.params,
        ))  # fmt: skip

    assert_same_bits(results(sure > 0), results(sure.astype("f4")))


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.jit_off
@of_each_loss
@of_each_dtype
@of_each_arithmetic
@of_each_way
def test_steps_have_the_oracles_bits(way, arithmetic, dtype, loss):
    case = loss_problem(7, (4, 6, 3), 5, dtype, loss, spice=0.05)
    how = dict(activation="tanh", backend=way, arithmetic=arithmetic)
    oracle = ORACLES[arithmetic]
    want = oracle.sgd_step(case.params, case.x, case.t, 0.3, "tanh", loss)
    got = fcb.sgd_step(case.params, case.x, case.t, 0.3, loss=loss, **how)
    assert_same_bits(on_numpy(tuple(got)), want)
    case = loss_problem(8, (4, 6, 3), 5, dtype, loss)
    want = oracle.sgd_step(case.params, case.x, with_weights(case), 0.3, "tanh", loss, True)
    trainer = fcb.Trainer(case.params, lr=0.3, loss=loss, **how)
    value = trainer.step(case.x, case.t, sample_weight=case.weights)
    assert_same_bits(on_numpy(trainer.params), want[0])
    assert value == want[1]


def ending(case, loss, way, *, weighted=False, run, **how):
    """All that a training tells, however it ends."""
    try:
        result = fcb.train(
            case.x, case.t, params=case.params, loss=loss, dtype=case.dtype.name, seed=3,
            sample_weight=case.weights if weighted else None, backend=way, **how, **run,
        )  # fmt: skip
    except fcb.DivergenceError as error:
        return error.step, fcb.digest(error.params)
    return result.steps, result.loss, result.history.losses.tolist(), fcb.digest(result.params)


STEPS = 60
RUNS = [
    dict(max_steps=STEPS),
    dict(max_steps=STEPS, batch_size=7, sampling="epoch"),
    dict(max_steps=20, batch_size=3, tol_on="data", record_every=3),
]


@of_each_loss
@pytest.mark.parametrize(("optimizer", "arithmetic", "dtype"), covering(OPTIMIZERS, 1))
@weighted_or_not
@pytest.mark.parametrize("threads", [1, 2])
def test_the_general_kernel_ends_as_numpy_does(
    threads, weighted, optimizer, arithmetic, dtype, loss, monkeypatch
):
    monkeypatch.setattr(threading, "get_threads", lambda: threads)
    monkeypatch.setattr(threading, "_PRODUCTS_A_THREAD", 1000)
    # One layer and one output; a wide layer for two threads; rows that fill no vector.
    for sizes in ((3, 1), (9, 40, 17), (2, 5, 4, 3)):
        case = loss_problem(9, sizes, 40, dtype, loss)
        for run in RUNS:
            how = dict(
                weighted=weighted, optimizer=optimizer, arithmetic=arithmetic, lr=0.01,
                activation="tanh", run=run,
            )  # fmt: skip
            want = ending(case, loss, "numpy", **how)
            assert ending(case, loss, "numba", **how) == want


SMALL = [
    ("cross_entropy", (2, 8, 3), 1, True),
    ("cross_entropy", (4, 5), 7, False),
    ("binary_cross_entropy", (3, 5, 1), 1, False),
    ("binary_cross_entropy", (2, 3, 17), 20, True),
    ("huber", (3, 4, 2), 16, True),
    ("huber", (13, 1), 1, False),
    ("mean_squared", (3, 5, 2), 1, True),
    ("mean_squared", (2, 3), 33, True),
]
MORE_SMALL = [
    ("cross_entropy", (3, 4, 40), 3, True),
    ("cross_entropy", (3, 4, 2), 16, True),
    ("cross_entropy", (9, 11, 7, 10), 1, False),
    ("cross_entropy", (1, 1), 1, True),
    ("binary_cross_entropy", (5, 6, 4), 1, True),
    ("binary_cross_entropy", (2, 3, 16), 5, False),
    ("huber", (2, 20, 9), 17, False),
    ("huber", (4, 33, 2), 1, True),
]


@pytest.mark.parametrize(
    ("loss", "sizes", "batch_size", "weighted", "optimizer", "arithmetic", "dtype"),
    [
        *covering([(*case, fcb.SGD()) for case in SMALL], 8),
        *covering([(*case, ADAM) for case in reversed(SMALL)], 0),
        *(
            pytest.param(*case, *how, marks=pytest.mark.campaign)
            for case, *how in itertools.product(MORE_SMALL, (fcb.SGD(), ADAM), ARITHMETICS, DTYPES)
        ),
    ],
)
def test_small_kernels_end_as_numpy_does(
    arithmetic, optimizer, dtype, loss, sizes, batch_size, weighted, monkeypatch
):
    kernels = allow_small_kernels(monkeypatch)
    case = loss_problem(10, sizes, 40, dtype, loss)
    for run in (dict(max_steps=STEPS), dict(max_steps=20, tol_on="data", record_every=3)):
        how = dict(
            weighted=weighted, optimizer=optimizer, arithmetic=arithmetic, lr=0.01,
            run=dict(batch_size=batch_size, **run),
        )  # fmt: skip
        assert ending(case, loss, "numba", **how) == ending(case, loss, "numpy", **how)
    ((kernel, _),) = kernels.items()
    assert (kernel.loss, kernel.weighted) == (loss, weighted)


# --- any of them together ------------------------------------------------------------------------

any_training = dict(
    loss=st.sampled_from(list(LOSSES)),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple),
    batch_size=st.integers(1, 9),
    activation=st.sampled_from(ACTIVATIONS),
    weighted=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32),
    lr=st.sampled_from([0.01, 0.3]),
    spice=st.sampled_from([0.0, 0.0, 0.02]),
    tol_on=st.sampled_from(["batch", "data"]),
)


def assert_all_end_alike(
    ways, loss, sizes, batch_size, activation, weighted, dtype, seed, lr, spice, tol_on, **how
):
    case = loss_problem(seed, sizes, 20, dtype, loss)
    # Parameters stay finite, and so do targets and weights, which are refused otherwise.
    case.x = loss_problem(seed, sizes, 20, dtype, loss, spice).x
    run = dict(max_steps=12, batch_size=batch_size, tol_on=tol_on, record_every=5)
    how = dict(weighted=weighted, activation=activation, lr=lr, run=run, **how)
    want = ending(case, loss, "numpy", **how)
    for way in ways:
        assert ending(case, loss, way, **how) == want, way


@given(**any_training, optimizer=st.sampled_from(OPTIMIZERS[:2]))
@examples(60)
def test_any_training_of_the_general_kernel(optimizer, **choice):
    assert_all_end_alike(["numba"], optimizer=optimizer, arithmetic="ordered", **choice)


@given(
    **any_training,
    optimizer=st.sampled_from(OPTIMIZERS),
    arithmetic=st.sampled_from(["ordered", "fused"]),
)
@examples(25)
def test_any_training_on_strict_arrays(optimizer, arithmetic, **choice):
    how = dict(optimizer=optimizer, arithmetic=arithmetic)
    assert_all_end_alike(["array_api_strict"], **how, **choice)


@pytest.mark.campaign
@given(
    **any_training,
    optimizer=st.sampled_from(OPTIMIZERS),
    arithmetic=st.sampled_from(["ordered", "fused"]),
    small=st.booleans(),
)
@examples(15)
def test_any_training_at_all(optimizer, arithmetic, small, **choice):
    with pytest.MonkeyPatch.context() as patch:
        allow_small_kernels(patch, 99 if small else 0)
        how = dict(optimizer=optimizer, arithmetic=arithmetic)
        assert_all_end_alike(["numba", "array_api_strict"], **how, **choice)


def test_strict_arrays_are_taken_with_weights():
    xp, case = array_api_strict, loss_problem(5, (3, 6, 2), 9, "float32", "cross_entropy")
    run = dict(loss="cross_entropy", lr=0.1, max_steps=20, batch_size=2, dtype="float32")
    want = fcb.train(case.x, case.t, sample_weight=case.weights, hidden=(4,), **run)
    got = fcb.train(
        *map(xp.asarray, (case.x, case.t)), sample_weight=xp.asarray(case.weights), hidden=(4,),
        **run,
    )  # fmt: skip
    assert type(got.params[0][0]) is type(xp.asarray(1.0))
    assert_same_bits(on_numpy(got.params), want.params)


def test_data_that_cannot_be_written_serves_and_stays():
    case = loss_problem(5, (3, 2), 9, "float64", "cross_entropy")
    kept = fcb.digest((case.x, case.t, case.weights))
    for array in (case.x, case.t, case.weights):
        array.flags.writeable = False
    for way in WAYS:
        run = dict(loss="cross_entropy", lr=0.1, backend=way)
        fcb.train(case.x, case.t, sample_weight=case.weights, max_steps=5, **run)
        fcb.cross_entropy_loss(case.t, case.t, sample_weight=case.weights, backend=way)
        fcb.predict_proba(fcb.init_params((3, 2)), case.x, backend=way)
        trainer = fcb.Trainer(fcb.init_params((3, 2)), **run)
        trainer.step(case.x, case.t, sample_weight=case.weights)
    assert fcb.digest((case.x, case.t, case.weights)) == kept
