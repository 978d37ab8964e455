"""Negative controls: a loss that is wrong in its values, gradient, order or weights is found."""

import numpy as np
import pytest

from fcbackends.maths import elementary, losses
from fcbackends.maths.arithmetic import ordered
from fcbackends.maths.losses import Loss, LossAndGradient
from tests.cases import DTYPES
from tests.loss_cases import LOSSES, loss_problem, with_weights
from tests.loss_oracle import loss_and_gradient
from tests.oracle import assert_same_bits
from tests.test_gradients import central_differences

NUMPY = ordered(np)


def assert_agrees_with_the_oracle(function, loss, dtype, weighted):
    for seed in range(20):
        # Few samples: in a sum over many a last bit gets lost.
        case = loss_problem(seed, (2, 12), 3, dtype, loss)
        y = 2 * loss_problem(100 + seed, (2, 12), 3, dtype, "mean_squared").t
        t = with_weights(case) if weighted else case.t
        got = function(NUMPY, y, t, loss, weighted)
        assert_same_bits(tuple(got), loss_and_gradient(y, t, loss, weighted))


def assert_gradient_is_of_the_loss(function, loss):
    case = loss_problem(1, (2, 4), 5, "float64", loss)
    y = loss_problem(2, (2, 4), 5, "float64", "mean_squared").t
    numeric = central_differences(
        lambda v: float(function(NUMPY, v, case.t, loss, False).loss), y, h=1e-5
    )
    assert np.max(np.abs(function(NUMPY, y, case.t, loss, False).dy - numeric)) < 1e-9


def sums(terms):
    return NUMPY.sum_first(terms.T)


def exponentials(y, t, exp=elementary.exp, log=elementary.log):
    z = y - np.max(y, axis=1, keepdims=True)
    e = exp(np, z)
    return z, e, sums(e), log


def softmax_divided(arithmetic, y, t):
    z, e, total, log = exponentials(y, t)
    return log(np, total) - sums(t * z), e / total[:, None] - t


def softmax_through_logarithms(arithmetic, y, t):
    z, _, total, log = exponentials(y, t)
    of_classes = z - log(np, total)[:, None]
    return -sums(t * of_classes), elementary.exp(np, of_classes) - t


def softmax_of_the_library(arithmetic, y, t):
    z, e, total, log = exponentials(y, t, lambda _, v: np.exp(v), lambda _, v: np.log(v))
    return log(np, total) - sums(t * z), e * np.reciprocal(total)[:, None] - t


def softmax_summed_in_pairs(arithmetic, y, t):
    z, e, _, log = exponentials(y, t)
    total = np.sum(e, axis=1)
    return log(np, total) - sums(t * z), e * np.reciprocal(total)[:, None] - t


def softmax_without_a_shift(arithmetic, y, t):
    e = elementary.exp(np, y)
    total = sums(e)
    return elementary.log(np, total) - sums(t * y), e * np.reciprocal(total)[:, None] - t


def entropy_backwards(arithmetic, y, t):
    z, e, total, log = exponentials(y[:, ::-1], t[:, ::-1])
    dy = (e * np.reciprocal(total)[:, None])[:, ::-1] - t
    return log(np, total) - sums(t[:, ::-1] * z), dy


def gradient_without_targets(arithmetic, y, t):
    loss, dy = losses._cross_entropy(arithmetic, y, t)
    return loss, dy + t * 1e-6


def yes_or_no_by_two_logarithms(arithmetic, y, t):
    p = elementary.sigmoid(np, y)
    one = y.dtype.type(1)
    terms = t * elementary.log(np, p) + (one - t) * elementary.log(np, one - p)
    return -sums(terms), p - t


def yes_or_no_in_another_order(arithmetic, y, t):
    above = np.where(y > 0, y, y.dtype.type(0))
    terms = above + (elementary.softplus(np, -np.abs(y)) - t * y)
    return sums(terms), elementary.sigmoid(np, y) - t


def huber_at_two(arithmetic, y, t):
    d = y - t
    a = np.abs(d)
    half, two = y.dtype.type(0.5), y.dtype.type(2)
    return sums(np.where(a <= 2, half * (d * d), two * a - two)), np.clip(d, -two, two)


def huber_of_squares(arithmetic, y, t):
    loss, _ = losses._huber(arithmetic, y, t)
    return loss, y - t


def squares_of_one_sum(arithmetic, y, t):
    d = y - t
    return sums((d * d)[:, ::-1]), d


def half_squares(arithmetic, y, t):
    d = y - t
    return sums(d * d), d * d.dtype.type(0.5)


BROKEN = [
    *(("cross_entropy", function) for function in (
        softmax_divided, softmax_through_logarithms, softmax_of_the_library,
        softmax_summed_in_pairs, softmax_without_a_shift, entropy_backwards,
        gradient_without_targets,
    )),
    *(("binary_cross_entropy", function) for function in (
        yes_or_no_by_two_logarithms, yes_or_no_in_another_order,
    )),
    *(("huber", function) for function in (huber_at_two, huber_of_squares)),
    *(("mean_squared", function) for function in (squares_of_one_sum, half_squares)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_right_agrees(loss, weighted, dtype):
    assert_agrees_with_the_oracle(losses.loss_and_gradient, loss, dtype, weighted)
    assert_gradient_is_of_the_loss(losses.loss_and_gradient, loss)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "function"), BROKEN, ids=lambda v: getattr(v, "__name__", v))
def test_another_formula_or_order_is_found(function, loss, dtype, monkeypatch):
    monkeypatch.setitem(losses.LOSSES, loss, Loss(function, losses.LOSSES[loss].factor))
    with pytest.raises(AssertionError, match="values differ in their bits"):
        assert_agrees_with_the_oracle(losses.loss_and_gradient, loss, dtype, False)


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        ("mean_squared", half_squares),
        ("huber", huber_of_squares),
        ("cross_entropy", gradient_without_targets),
    ],
)
def test_a_gradient_of_something_else_is_found(loss, function, monkeypatch):
    monkeypatch.setitem(losses.LOSSES, loss, Loss(function, losses.LOSSES[loss].factor))
    with pytest.raises(AssertionError):
        assert_gradient_is_of_the_loss(losses.loss_and_gradient, loss)


# --- weights -------------------------------------------------------------------------------------


def parts(y, t, loss):
    outputs = y.shape[1]
    weights = t[:, outputs]
    of_samples, factor, _ = losses.LOSSES[loss]
    return weights, *of_samples(NUMPY, y, t[:, :outputs]), y.dtype.type(factor / len(y))


def over_the_sum_of_weights(arithmetic, y, t, loss, weighted):
    weights, each, g, share = parts(y, t, loss)
    total, sum_of = NUMPY.sum_first(weights * each), NUMPY.sum_first(weights)
    return LossAndGradient(total / sum_of, g * (weights * share)[:, None])


def one_factor_after_the_other(arithmetic, y, t, loss, weighted):
    weights, each, g, share = parts(y, t, loss)
    total = NUMPY.sum_first(weights * each) * y.dtype.type(1 / len(y))
    return LossAndGradient(total, (g * weights[:, None]) * share)


def weights_of_the_gradient_alone(arithmetic, y, t, loss, weighted):
    weights, each, g, share = parts(y, t, loss)
    total = NUMPY.sum_first(each) * y.dtype.type(1 / len(y))
    return LossAndGradient(total, g * (weights * share)[:, None])


def weights_of_the_next_sample(arithmetic, y, t, loss, weighted):
    weights, each, g, share = parts(y, t, loss)
    turned = np.roll(weights, 1)
    total = NUMPY.sum_first(turned * each) * y.dtype.type(1 / len(y))
    return LossAndGradient(total, g * (turned * share)[:, None])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "function",
    [
        over_the_sum_of_weights,
        one_factor_after_the_other,
        weights_of_the_gradient_alone,
        weights_of_the_next_sample,
    ],
)
def test_other_weights_are_found(function, loss, dtype):
    with pytest.raises(AssertionError, match="values differ in their bits"):
        assert_agrees_with_the_oracle(function, loss, dtype, True)
