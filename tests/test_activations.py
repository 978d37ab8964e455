"""Activations: the oracle's bits on every backend, gradients of the loss, and refusals."""

import array_api_strict
import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.kernels.activations import codes
from tests.activation_oracle import NAMES
from tests.cases import BACKENDS, DTYPES, allow_small_kernels, covering, numbers, problem
from tests.fused_oracle import fused
from tests.oracle import assert_same_bits, fast
from tests.test_gradients import central_differences, relative_error

pytestmark = pytest.mark.jit_off

ORACLES = {"ordered": fast, "fused": fused}
DEEP = (5, 17, 3, 9, 2)
MIXED = [("tanh", "relu", "sigmoid"), ("leaky_relu", "identity", "tanh")]
CHOICES = [*NAMES, *MIXED]

of_each_choice = pytest.mark.parametrize("activation", CHOICES, ids=str)
of_each_arithmetic = pytest.mark.parametrize("arithmetic", ORACLES)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)


# --- bits ----------------------------------------------------------------------------------------


@of_each_choice
@of_each_arithmetic
@of_each_dtype
@pytest.mark.parametrize("backend", [*BACKENDS, "array_api_strict"])
@pytest.mark.parametrize("spice", [0.0, 0.2])
def test_outputs_and_steps_have_the_oracles_bits(spice, backend, dtype, arithmetic, activation):
    case = problem(3, DEEP, 6, dtype, spice)
    how = dict(activation=activation, backend=backend, arithmetic=arithmetic)
    oracle = ORACLES[arithmetic]
    y = fcb.predict(case.params, case.x, **how)
    assert_same_bits(np.asarray(y), oracle.predict(case.params, case.x, activation))
    new, loss = fcb.sgd_step(case.params, case.x, case.t, 0.3, **how)
    want = oracle.sgd_step(case.params, case.x, case.t, 0.3, activation)
    new = tuple((np.asarray(w), np.asarray(b)) for w, b in new)
    assert_same_bits((new, np.asarray(loss)), want)


@of_each_dtype
@pytest.mark.parametrize("name", NAMES)
def test_the_kernels_row_by_row_are_as_the_maths_on_all_sorts_of_numbers(name, dtype):
    rng = np.random.default_rng(4)
    for count in (1, 7, 16, 203):
        # One layer of weight one hands the numbers on as they are.
        x = numbers(rng, (3, count), dtype, spice=0.3, scale=3.0)
        one, none = np.eye(count, dtype=dtype), np.full(count, -0.0, dtype)
        params = ((np.ones((1, 1), dtype), none[:1]),) * 2
        column = x.reshape(-1, 1)
        got = fcb.predict(params, column, activation=name, backend="numba")
        assert_same_bits(got, fcb.predict(params, column, activation=name, backend="numpy"))
        wide = ((one, none),) * 2
        finite = np.where(np.isfinite(x), x, 0).astype(dtype)
        got = fcb.predict(wide, finite, activation=name, backend="numba")
        assert_same_bits(got, fcb.predict(wide, finite, activation=name, backend="numpy"))


@pytest.mark.parametrize("name", NAMES)
def test_what_becomes_of_nan_and_of_zeros(name):
    params = ((np.array([[1.0]]), np.array([-0.0])),) * 2
    x = np.array([[np.nan], [-0.0], [0.0]])
    want = np.array([[np.nan], [0.5], [0.5]]) if name == "sigmoid" else x
    for backend in BACKENDS:
        assert_same_bits(fcb.predict(params, x, activation=name, backend=backend), want)


def trained(case, backend, activation, arithmetic, batch_size, **run):
    result = fcb.train(
        case.x, case.t, params=case.params, activation=activation, lr=0.01, seed=2,
        batch_size=batch_size, backend=backend, arithmetic=arithmetic, dtype=case.dtype.name,
        **run,
    )  # fmt: skip
    return result.params, result.history.losses


@pytest.mark.parametrize(
    ("sizes", "batch_size", "activation", "arithmetic", "dtype"),
    covering(
        [
            ((4, 11, 5, 2), 1, ("tanh", "sigmoid")),
            ((4, 11, 5, 2), 7, ("sigmoid", "leaky_relu")),
            ((2, 8, 1), 1, "leaky_relu"),
            ((2, 8, 1), 1, "sigmoid"),
            ((3, 4, 2), 7, "identity"),
            ((3, 33, 2), 1, "tanh"),
            ((13, 3, 1), 5, "tanh"),
        ],
        2,
    ),
)
@pytest.mark.parametrize("small", [False, True])
def test_trainings_end_as_numpys_do(
    small, dtype, arithmetic, sizes, batch_size, activation, monkeypatch
):
    kernels = allow_small_kernels(monkeypatch, 99 if small else 0)
    case = problem(7, sizes, 40, dtype)
    for run in (dict(max_steps=60), dict(max_steps=20, tol_on="data", record_every=3)):
        want = trained(case, "numpy", activation, arithmetic, batch_size, **run)
        got = trained(case, "numba", activation, arithmetic, batch_size, **run)
        assert_same_bits(got, want)
    assert len(kernels) == small


def test_a_small_kernel_is_of_its_activations_alone(monkeypatch):
    kernels = allow_small_kernels(monkeypatch)
    case = problem(7, (2, 3, 1), 8, "float64")
    digests = {fcb.digest(trained(case, "numba", n, "ordered", 1, max_steps=30)) for n in NAMES}
    assert len(digests) == len(kernels) == len(NAMES)
    assert {shape.activations for shape in kernels} == {(name,) for name in NAMES}


@of_each_dtype
def test_a_trainer_keeps_its_activation(dtype):
    case = problem(5, (3, 6, 4, 2), 20, dtype)
    activation = ("tanh", "sigmoid")
    trainers = [
        fcb.Trainer(case.params, activation=activation, lr=0.01, backend=name) for name in BACKENDS
    ]
    for trainer in trainers:
        assert trainer.activation == activation
        for x, t in zip(case.x[:5], case.t[:5], strict=True):
            trainer.step(x, t)
        trainer.step(case.x, case.t)
        assert trainer.run(case.x, case.t, max_steps=30).activation == activation
    assert_same_bits(trainers[1].params, trainers[0].params)


def test_many_networks_are_trained_with_it():
    case = problem(5, (3, 6, 2), 20, "float64")
    how = dict(hidden=(6,), activation=["tanh"], lr=0.01, max_steps=40)
    results = fcb.train_many(case.x, case.t, seed=range(3), **how)
    alone = fcb.train(case.x, case.t, seed=2, **how)
    assert_same_bits(results[2].params, alone.params)
    assert {result.activation for result in (*results, alone)} == {("tanh",)}
    y = fcb.predict(alone.params, case.x, activation=alone.activation)
    assert not np.array_equal(y, fcb.predict(alone.params, case.x))


def test_relu_is_the_default():
    case = problem(5, (3, 6, 2), 20, "float64")
    want = fcb.train(case.x, case.t, hidden=(6,), lr=0.01, max_steps=40)
    got = fcb.train(case.x, case.t, hidden=(6,), activation=("relu",), lr=0.01, max_steps=40)
    assert want.activation == "relu"
    assert_same_bits(got.params, want.params)
    assert codes("relu", "float64") == codes("relu", "float32")


def test_strict_arrays_are_taken():
    case = problem(5, (3, 6, 2), 4, "float32")
    xp = array_api_strict
    params = tuple((xp.asarray(w), xp.asarray(b)) for w, b in case.params)
    y = fcb.predict(params, xp.asarray(case.x), activation="tanh")
    assert_same_bits(np.asarray(y), fast.predict(case.params, case.x, "tanh"))


# --- gradients -----------------------------------------------------------------------------------


@of_each_choice
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_goes_down_the_losses_slope(backend, activation):
    case = problem(11, (3, 5, 4, 3, 2), 7, "float64")
    how = dict(activation=activation, backend=backend)
    # With a rate of one a step subtracts the gradient itself.
    stepped = fcb.sgd_step(case.params, case.x, case.t, 1.0, **how).params
    for layer, pair in enumerate(case.params):
        for part in (0, 1):

            def loss_at(values, layer=layer, part=part):
                params = [list(pair) for pair in case.params]
                params[layer][part] = values
                y = fcb.predict(params, case.x, **how)
                return float(fcb.mean_squared_loss(y, case.t, backend=backend).loss)

            numeric = central_differences(loss_at, pair[part], h=1e-5)
            # h**2 times a third derivative, and the loss's rounding over h.
            assert relative_error(pair[part] - stepped[layer][part], numeric) < 1e-8


# --- refusals ------------------------------------------------------------------------------------

PARAMS = fcb.init_params((3, 4, 5, 2))
X, T = np.ones((6, 3)), np.ones((6, 2))
CALLS = {
    "predict": lambda activation: fcb.predict(PARAMS, X, activation=activation),
    "sgd_step": lambda activation: fcb.sgd_step(PARAMS, X, T, 0.1, activation=activation),
    "Trainer": lambda activation: fcb.Trainer(PARAMS, activation=activation, lr=0.1),
    "train": lambda activation: fcb.train(X, T, hidden=(4, 5), activation=activation, lr=0.1),
    "train_many": lambda activation: fcb.train_many(
        X, T, hidden=(4, 5), activation=activation, lr=[0.1]
    ),
}
ONE_OF = "be one of 'relu', 'leaky_relu', 'tanh', 'sigmoid', 'identity'"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("activation", "error", "text"),
    [
        ("swish", fcb.ArgumentError, f"`activation` must {ONE_OF}, got 'swish'"),
        (("tanh", "swish"), fcb.ArgumentError, f"`activation[1]` must {ONE_OF}, got 'swish'"),
        (("tanh", 3), fcb.ArgumentError, f"`activation[1]` must {ONE_OF}, got 3"),
        (
            ("tanh",),
            fcb.ArgumentError,
            "`activation` must be one name, or a sequence of 2, one a hidden layer, got ('tanh',)",
        ),
        (
            3,
            fcb.ArgumentTypeError,
            f"`activation` must {ONE_OF}, or a sequence of them, one a hidden layer, got 3",
        ),
    ],
    ids=str,
)
def test_another_activation_is_refused(activation, error, text, call):
    with pytest.raises(error) as raised:
        CALLS[call](activation)
    assert type(raised.value) is error
    assert str(raised.value) == text


def test_without_hidden_layers_any_one_name_serves():
    for activation in ("tanh", ()):
        result = fcb.train(X, T, activation=activation, lr=0.1, max_steps=3)
        assert_same_bits(result.params, fcb.train(X, T, lr=0.1, max_steps=3).params)
    with pytest.raises(fcb.ArgumentError, match="a sequence of 0"):
        fcb.train(X, T, activation=("tanh",), lr=0.1)
