"""Losses: values by plain formulas, gradients by differences, and what probabilities are."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fcbackends as fcb
from tests.activation_oracle import NAMES as ACTIVATIONS
from tests.cases import BACKENDS, DTYPES, special_values
from tests.loss_cases import LOSSES, OF_PROBABILITIES, loss_problem, targets, weights
from tests.test_gradients import central_differences, relative_error

pytestmark = pytest.mark.jit_off

of_each_loss = pytest.mark.parametrize("loss", LOSSES)
of_each_backend = pytest.mark.parametrize("backend", BACKENDS)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)
weighted_or_not = pytest.mark.parametrize("weighted", [False, True])


# --- values --------------------------------------------------------------------------------------


def exact_loss(loss, y, t):
    """A sample's loss by the textbook, to far more digits than float64 has."""
    y, t = ([mpmath.mpf(float(v)) for v in values] for values in (y, t))
    pairs = list(zip(y, t, strict=True))
    if loss == "mean_squared":
        return mpmath.fsum((a - b) ** 2 for a, b in pairs)
    if loss == "huber":
        distances = [abs(a - b) for a, b in pairs]
        return mpmath.fsum(d**2 / 2 if d <= 1 else d - mpmath.mpf(1) / 2 for d in distances)
    if loss == "cross_entropy":
        total = mpmath.fsum(map(mpmath.exp, y))
        return -mpmath.fsum(b * mpmath.log(mpmath.exp(a) / total) for a, b in pairs)
    yes = [1 / (1 + mpmath.exp(-a)) for a in y]
    return -mpmath.fsum(
        b * mpmath.log(p) + (1 - b) * mpmath.log(1 - p)
        for p, (_, b) in zip(yes, pairs, strict=True)
    )


@of_each_loss
@of_each_dtype
@of_each_backend
@weighted_or_not
def test_values_are_the_textbooks(weighted, backend, dtype, loss):
    for seed, (count, outputs) in enumerate([(1, 1), (1, 4), (7, 3), (20, 10)]):
        y = 5 * loss_problem(seed, (2, outputs), count, dtype, "mean_squared").t
        t, s = targets(seed, loss, y.shape, dtype), weights(seed, count, dtype)
        if loss == "cross_entropy":
            # Probabilities that sum to 1 exactly.
            shares = np.random.default_rng(seed).multinomial(64, np.ones(outputs) / outputs, count)
            t = (shares / 64).astype(dtype)
        got = LOSSES[loss](y, t, sample_weight=s if weighted else None, backend=backend).loss
        with mpmath.workprec(300):
            factors = [mpmath.mpf(float(v)) if weighted else 1 for v in s]
            each = [exact_loss(loss, *row) for row in zip(y, t, strict=True)]
            want = mpmath.fsum(f * v for f, v in zip(factors, each, strict=True)) / count
            # Each of some count + outputs + 8 operations adds half a unit at most, of sums that are
            # never below their terms, or of 1 in the logarithm.
            off = (count + outputs + 8) * float(np.finfo(dtype).eps) / 2
            assert abs(float(got) - want) <= off * (want + max(factors))


@of_each_backend
def test_small_cases_by_hand(backend):
    of = {name: (lambda *a, f=f: f(*a, backend=backend)) for name, f in LOSSES.items()}
    value, dy = of["mean_squared"]([[1.0, 2.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]])
    assert (value, dy.tolist()) == (7.0, [[1.0, 2.0], [0.0, 3.0]])
    value, dy = of["huber"]([[0.5, 1.0, -3.0, 1.5]], [[0.0, 0.0, 0.0, 0.0]])
    assert (value, dy.tolist()) == (0.125 + 0.5 + 2.5 + 1.0, [[0.5, 1.0, -1.0, 1.0]])
    value, dy = of["cross_entropy"]([[math.log(3.0), 0.0]], [0])
    assert value == pytest.approx(-math.log(0.75), rel=1e-15)
    assert dy == pytest.approx(np.array([[-0.25, 0.25]]), rel=1e-15)
    value, dy = of["binary_cross_entropy"]([[math.log(3.0)]], [[1]])
    assert value == pytest.approx(-math.log(0.75), rel=1e-15)
    assert dy == pytest.approx(np.array([[-0.25]]), rel=1e-15)


# --- gradients -----------------------------------------------------------------------------------


@of_each_loss
@of_each_backend
@weighted_or_not
@pytest.mark.parametrize(("count", "outputs"), [(1, 1), (1, 5), (6, 4)])
def test_the_gradient_is_that_of_the_loss(count, outputs, weighted, backend, loss):
    case = loss_problem(3, (2, outputs), count, "float64", loss)
    how = dict(sample_weight=case.weights if weighted else None, backend=backend)
    y = 2 * loss_problem(4, (2, outputs), count, "float64", "mean_squared").t
    numeric = central_differences(lambda v: float(LOSSES[loss](v, case.t, **how).loss), y, h=1e-5)
    dy = LOSSES[loss](y, case.t, **how).dy
    # h**2 times a third derivative, and the loss's rounding over h; of one class, dy is 0.
    assert np.max(np.abs(dy - numeric)) < 1e-9 * max(1, np.max(np.abs(numeric)))


@of_each_loss
@pytest.mark.parametrize("activation", ACTIVATIONS)
@of_each_backend
@weighted_or_not
def test_a_step_goes_down_the_losses_slope(weighted, backend, activation, loss):
    case = loss_problem(11, (3, 5, 4, 3), 7, "float64", loss)
    weight = case.weights if weighted else None
    how = dict(activation=activation, backend=backend)
    # With a rate of one a step subtracts the gradient itself.
    trainer = fcb.Trainer(case.params, loss=loss, lr=1.0, **how)
    value = trainer.step(case.x, case.t, sample_weight=weight)
    stepped = trainer.params

    def loss_at(params):
        y = fcb.predict(params, case.x, **how)
        return float(LOSSES[loss](y, case.t, sample_weight=weight, backend=backend).loss)

    assert value == loss_at(case.params)
    for layer, pair in enumerate(case.params):
        for part in (0, 1):

            def with_values(values, layer=layer, part=part):
                params = [list(pair) for pair in case.params]
                params[layer][part] = values
                return loss_at(params)

            numeric = central_differences(with_values, pair[part], h=1e-5)
            # h**2 times a third derivative, and the loss's rounding over h.
            assert relative_error(pair[part] - stepped[layer][part], numeric) < 1e-7


# --- probabilities -------------------------------------------------------------------------------


def proba(loss, y, backend="numpy"):
    """The probabilities of outputs as they are: one layer hands them on."""
    one, none = np.eye(y.shape[1], dtype=y.dtype), np.full(y.shape[1], -0.0, y.dtype)
    return fcb.predict_proba(((one, none),), y, loss=loss, backend=backend)


def logits(dtype, least=1):
    """Rows of finite logits of any size, and often alike."""
    width = np.finfo(dtype).bits
    finite = [float(v) for v in special_values(dtype) if np.isfinite(v)]
    each = st.one_of(
        st.floats(allow_nan=False, allow_infinity=False, width=width),
        st.floats(-50, 50, width=width),
        st.sampled_from(finite),
    )
    rows = st.lists(each, min_size=least, max_size=12)
    alike = st.tuples(each, st.integers(least, 12)).map(lambda pair: [pair[0]] * pair[1])
    return st.one_of(rows, alike).map(lambda row: np.array([row], dtype))


LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in DTYPES}
LEAST = {dtype: float(np.finfo(dtype).smallest_subnormal) for dtype in DTYPES}


@np.errstate(all="ignore")
def assert_are_probabilities(y, dtype):
    unit, most = float(np.finfo(dtype).eps) / 2, y.shape[1]
    for backend in BACKENDS:
        # The outputs as they are; a layer would add its products with zeros.
        p = fcb.get_backend(backend).probabilities(y, "cross_entropy")
        assert p.dtype == y.dtype
        assert np.all((p >= 0) & (p <= 1))
        # The sum's roundings, the reciprocal's and the product's; what is subnormal loses more.
        bound = (most + 1) * unit / (1 - (most + 1) * unit) + most * LEAST[dtype]
        assert abs(math.fsum(p[0].tolist()) - 1) <= bound
        assert p[0, np.argmax(y)] == np.max(p)
        if np.all(y == y[0, 0]):
            assert np.all(p == 1 / p.dtype.type(most))
        yes = fcb.get_backend(backend).probabilities(y, "binary_cross_entropy")
        assert np.all((yes >= 0) & (yes <= 1))
        assert np.all((yes >= 0.5) == (y >= 0) | (yes == 0.5))


@np.errstate(all="ignore")
def assert_losses_are_bounded(y, dtype):
    for m in {0, y.shape[1] - 1, int(np.argmax(y)), int(np.argmin(y))}:
        for backend in BACKENDS:
            value, dy = fcb.cross_entropy_loss(y, [m], backend=backend)
            assert value >= 0
            assert not np.signbit(value)
            # Beyond the dtype's range is only a loss that is so by itself.
            gap = np.max(y) - y[0, m]
            assert np.isfinite(value) == np.isfinite(gap + np.log(y.dtype.type(y.shape[1])))
            assert np.all(np.abs(dy) <= 1)
            assert -1 <= dy[0, m] <= 0
            t = np.zeros_like(y)
            t[0, m] = 1
            value, dy = fcb.binary_cross_entropy_loss(y, t, backend=backend)
            assert value >= 0
            assert np.all(np.abs(dy) <= 1)


@given(logits("float32"))
@example(np.array([[LARGEST["float32"], -LARGEST["float32"]]], "f4"))
@example(np.array([[-LARGEST["float32"]] * 3], "f4"))
@example(np.array([[LEAST["float32"], -0.0, 0.0]], "f4"))
@example(np.array([[-0.0]], "f4"))
def test_any_finite_logits_of_float32_have_probabilities_and_a_loss(y):
    assert_are_probabilities(y, "float32")
    assert_losses_are_bounded(y, "float32")


@given(logits("float64"))
@example(np.array([[LARGEST["float64"], -LARGEST["float64"]]]))
@example(np.array([[-LARGEST["float64"]] * 3]))
@example(np.array([[LEAST["float64"], -0.0, 0.0]]))
@example(np.array([[-0.0]]))
def test_any_finite_logits_of_float64_have_probabilities_and_a_loss(y):
    assert_are_probabilities(y, "float64")
    assert_losses_are_bounded(y, "float64")


@of_each_dtype
@of_each_backend
def test_the_probabilities_of_thousands_of_classes_sum_to_one(backend, dtype):
    y = loss_problem(1, (1, 3000), 3, dtype, "mean_squared").t
    p = fcb.get_backend(backend).probabilities(y, "cross_entropy")
    bound = 3001 * float(np.finfo(dtype).eps) / 2 * 1.001
    assert all(abs(math.fsum(row) - 1) <= bound for row in p.tolist())
    assert fcb.cross_entropy_loss(y, p, backend=backend).loss > 0


@of_each_backend
def test_one_class_is_sure(backend):
    y = np.array([[3.0], [-1e300]])
    assert proba("cross_entropy", y, backend).tolist() == [[1.0], [1.0]]
    value, dy = fcb.cross_entropy_loss(y, [0, 0], backend=backend)
    assert value == 0
    assert dy.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("loss", OF_PROBABILITIES)
@of_each_backend
def test_predict_proba_goes_through_the_network(backend, loss):
    case = loss_problem(2, (3, 5, 4), 6, "float64", loss)
    how = dict(activation="tanh", backend=backend)
    p = fcb.predict_proba(case.params, case.x, loss=loss, **how)
    y = fcb.predict(case.params, case.x, **how)
    one = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    want = one if loss == "cross_entropy" else 1 / (1 + np.exp(-y))
    np.testing.assert_allclose(p, want, rtol=1e-14)
    single = fcb.predict_proba(case.params, case.x[1], loss=loss, **how)
    assert single.shape == (4,)
    assert single.tolist() == p[1].tolist()
    none = fcb.predict_proba(case.params, case.x[:0], loss=loss, **how)
    assert none.shape == (0, 4)
