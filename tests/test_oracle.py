"""The oracle itself: its quick form equals the scalar loops, and both equal exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from tests.cases import DTYPES, assert_layer_agrees, assert_network_agrees, problem
from tests.oracle import assert_same_bits, bits, fast, slow

SHAPES = [((1, 1), 1), ((2, 3), 5), ((7, 4), 70), ((40, 40), 3), ((5, 6, 2), 9), ((3, 4, 5, 2), 4)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spice", [0.0, 0.1])
@pytest.mark.parametrize(("sizes", "batch"), SHAPES)
def test_the_quick_oracle_equals_the_scalar_loops(sizes, batch, spice, dtype):
    case = problem(batch, sizes, batch, dtype, spice)
    assert_layer_agrees(fast, slow, case)
    assert_network_agrees(fast, slow, case)


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_oracles_train_alike(dtype):
    case = problem(3, (3, 5, 2), 20, dtype)
    rows = np.random.default_rng(0).integers(0, 20, (60, 4))
    quick = fast.train(case.params, case.x, case.t, rows, 0.02)
    plain = slow.train(case.params, case.x, case.t, rows, 0.02)
    assert_same_bits(quick, plain)
    assert plain[1][-1] < plain[1][0]


def test_each_product_and_each_sum_is_rounded_once():
    rng = np.random.default_rng(5)
    x, w, b = rng.standard_normal((4, 9)), rng.standard_normal((9, 3)), rng.standard_normal(3)
    y = slow.forward(x, w, b)
    for n in range(4):
        for m in range(3):
            # float(Fraction) rounds the exact value once, to nearest, ties to even.
            total = float(Fraction(x[n, 0]) * Fraction(w[0, m]))
            for k in range(1, 9):
                term = float(Fraction(x[n, k]) * Fraction(w[k, m]))
                total = float(Fraction(total) + Fraction(term))
            assert y[n, m] == float(Fraction(total) + Fraction(b[m]))


def test_empty_sums_are_plus_zero():
    x, w, b = np.empty((2, 0)), np.empty((0, 3)), np.full(3, -0.0)
    for oracle in (slow, fast):
        assert_same_bits(oracle.forward(x, w, b), np.zeros((2, 3)))


def test_a_first_term_of_minus_zero_stays():
    x, w, b = np.array([[-0.0]]), np.array([[1.0]]), np.array([-0.0])
    for oracle in (slow, fast):
        assert np.signbit(oracle.forward(x, w, b)).all()


def test_bits_tell_zeros_apart_and_nans_together():
    assert bits(np.array([0.0])) != bits(np.array([-0.0]))
    assert bits(np.array([np.nan])) == bits(-np.array([np.nan]))
    assert bits(np.float32(1)) != bits(np.float64(1))
    assert bits(np.zeros((1, 2))) != bits(np.zeros((2, 1)))
    with pytest.raises(AssertionError, match="1 of 2 values differ"):
        assert_same_bits(np.array([1.0, 0.0]), np.array([1.0, -0.0]))
