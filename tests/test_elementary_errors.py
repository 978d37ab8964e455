"""Elementary functions are as near to the exact values as they say: against mpmath."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcbackends.maths import elementary
from tests import elementary_oracle as oracle
from tests.cases import DTYPES, examples
from tests.elementary_cases import (
    BOUNDS,
    SUBNORMAL_BOUND,
    all_sorts,
    around,
    of_each,
    on_numpy,
    turns,
)


def bound(name, y):
    is_subnormal = abs(float(y)) < np.finfo(np.float64).smallest_normal
    return SUBNORMAL_BOUND if is_subnormal else BOUNDS[name]


@of_each
def test_errors_are_within_what_is_stated(name):
    x = all_sorts(name, "float64", 500)
    x = x[np.isfinite(x) & ((x > 0) | (name != "log"))]
    y = on_numpy(name, x)
    for value, got in zip(x, y, strict=True):
        if np.isfinite(got):
            assert oracle.units(got, name, value) <= bound(name, got), value


@of_each
def test_the_error_of_any_number_is_within_what_is_stated(name):
    @examples(400)
    @given(st.floats(2.0**-1074 if name == "log" else -745.0, 709.7))
    def holds(value):
        got = on_numpy(name, np.array(value))
        assert oracle.units(got, name, value) <= bound(name, got)

    holds()


@of_each
def test_float32_is_the_nearest_one(name):
    x = all_sorts(name, "float32", 500)
    x = x[np.isfinite(x) & ((x > 0) | (name != "log"))]
    for value, got in zip(x, on_numpy(name, x), strict=True):
        assert oracle.is_rounded_well(got, name, value), value


@of_each
@pytest.mark.parametrize("dtype", DTYPES)
def test_larger_numbers_have_no_smaller_results_about_the_turns(name, dtype):
    """But for one unit in float64, where two that are not the nearest ones may change places."""
    kind = np.dtype(dtype).type
    x = np.array(turns())
    with np.errstate(all="ignore"):
        x = around(x if name == "log" else np.concatenate([-x, x]), kind, each=40)
        y = on_numpy(name, x[np.isfinite(x)])
    allowed = np.spacing(abs(y[1:])) if dtype == "float64" else kind(0)
    with np.errstate(invalid="ignore"):
        assert not np.any(y[1:] - y[:-1] < -allowed)


def test_a_softmax_without_division_is_near_the_exact_one():
    """Log-softmax, z - max - log(sum(exp(z - max))), and exp of it."""
    rng = np.random.default_rng(5)
    z = 5 * rng.standard_normal((50, 10))
    shifted = z - z.max(axis=1, keepdims=True)
    total = on_numpy("exp", shifted).cumsum(axis=1)[:, -1:]
    p = on_numpy("exp", shifted - on_numpy("log", total))
    with mpmath.workprec(120):
        for row, got in zip(z, p, strict=True):
            powers = [mpmath.exp(mpmath.mpf(v)) for v in row]
            for power, value in zip(powers, got, strict=True):
                # exp makes an absolute error of its argument, 4 units of 8 to 40, a relative one.
                assert abs(value / (power / sum(powers)) - 1) < 32 * 2.0**-52


# --- where the constants come from ---------------------------------------------------------------


def through_chebyshev_points(function, low, high, count):
    """The coefficients of the polynomial through so many points of Chebyshev's."""
    low, high = mpmath.mpf(low), mpmath.mpf(high)
    points = [
        (low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * count))
        for i in range(count)
    ]
    powers = mpmath.matrix([[x**j for j in range(count)] for x in points])
    return [float(c) for c in mpmath.lu_solve(powers, mpmath.matrix(list(map(function, points))))]


def test_constants_are_what_they_are_derived_from():
    with mpmath.workprec(200):
        ln2, root = mpmath.log(2), mpmath.sqrt(2)
        assert float(1 / ln2) == elementary._PER_LN2
        assert mpmath.nint(ln2 * 2**42) / 2**42 == elementary._LN2_HIGH
        assert float(ln2 - elementary._LN2_HIGH) == elementary._LN2_LOW
        assert float(root) == elementary._SQRT2
        of_exp = through_chebyshev_points(
            lambda r: (mpmath.expm1(r) - r - r * r / 2) / r**3, -ln2 / 2, ln2 / 2, 10
        )
        assert tuple(of_exp) == elementary._EXP

        def series(z):
            s = mpmath.sqrt(z)
            return (2 * mpmath.atanh(s) / s - 2) / z

        of_log = through_chebyshev_points(series, 0, ((root - 1) / (root + 1)) ** 2, 7)
        assert tuple(of_log) == elementary._LOG
