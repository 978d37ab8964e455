"""One rounding for a product and a sum, made of ones that round each: against exact fractions."""

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.kernels.libm import c_fma
from fcbackends.maths.arithmetic import ARITHMETICS
from fcbackends.maths.fma import branchless, fma
from tests.cases import DTYPES, examples, special_values
from tests.fused_oracle import fma as exact_fma
from tests.oracle import assert_same_bits

WAYS = {
    "fma": lambda a, b, c: fma(np, a, b, c),
    "branchless": lambda a, b, c: branchless(np, a, b, c),
    "C": lambda a, b, c: c_fma(c.dtype.name)(a, b, c),
}


def exact(a, b, c):
    return np.array([exact_fma(*triple) for triple in zip(a, b, c, strict=True)], c.dtype)


@np.errstate(all="ignore")
def assert_exact(a, b, c):
    want = exact(a, b, c)
    for name, way in WAYS.items():
        assert_same_bits(way(a, b, c), want, name)


def from_parts(rng, count, dtype, exponents, mantissas):
    """Numbers with exponent fields of this range and mantissas of so many leading bits."""
    info = np.finfo(dtype)
    unsigned = np.uint32 if dtype == "float32" else np.uint64
    low, high = exponents
    field = rng.integers(max(low, 0), min(high, 2 * info.maxexp - 2) + 1, count).astype(unsigned)
    mantissa = rng.integers(0, 2**info.nmant, count).astype(unsigned)
    left_out = unsigned(info.nmant - mantissas)
    sign = rng.integers(0, 2, count).astype(unsigned) << unsigned(8 * unsigned().itemsize - 1)
    return (sign | field << unsigned(info.nmant) | mantissa >> left_out << left_out).view(dtype)


def bias(dtype):
    return np.finfo(dtype).maxexp - 1


@pytest.mark.jit_off
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_triple_of_special_values_is_exact(dtype):
    values = special_values(dtype)
    assert_exact(*(grid.ravel() for grid in np.meshgrid(values, values, values)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["ordinary", "short", "any", "subnormal", "underflowing", "huge"])
@pytest.mark.parametrize("third", ["any", "cancelling", "half a unit", "far below", "far above"])
def test_numbers_of_every_size_are_exact(third, kind, dtype):
    rng, count, info = np.random.default_rng(1), 400, np.finfo(dtype)
    middle, digits = bias(dtype), info.nmant
    exponents = {
        "ordinary": (middle - 3, middle + 1),
        "short": (middle - 3, middle + 1),
        "any": (0, 2 * middle),
        "subnormal": (0, digits + 3),
        "underflowing": (middle // 2 - digits, middle // 2 + 3),
        "huge": (middle * 3 // 2 - 6, middle * 3 // 2 + 2),
    }[kind]
    a, b = (
        from_parts(rng, count, dtype, exponents, digits // 2 if kind == "short" else digits)
        for _ in range(2)
    )
    with np.errstate(all="ignore"):
        product = a * b
        scale = {
            "cancelling": -(1 + info.eps * rng.integers(-2, 3, count)),
            "half a unit": 2.0 ** rng.integers(digits - 2, digits + 4, count),
            "far below": 2.0 ** rng.integers(-3 * digits, -digits, count),
            "far above": 2.0 ** rng.integers(digits, 4 * digits, count),
        }
        if third == "any":
            c = from_parts(rng, count, dtype, (0, 2 * middle), digits)
        else:
            c = (product * scale[third].astype(dtype)).astype(dtype)
    assert_exact(a, b, c)


@pytest.mark.parametrize("dtype", DTYPES)
def test_traps_of_rounding_twice_are_exact(dtype):
    """Products that lie between two numbers, moved from there by less than either can show."""
    rng, count, digits = np.random.default_rng(2), 2000, np.finfo(dtype).nmant + 1
    half = digits // 2 + 1
    a = (2 ** (half - 1) + rng.integers(0, 2 ** (half - 2), count) * 2 + 1).astype(dtype)
    b = (2 ** (half - 1) + rng.integers(0, 2 ** (half - 2), count) * 2 + 1).astype(dtype)
    c = (rng.choice([-1, 1], count) * 2.0 ** rng.integers(-3 * digits, 0, count)).astype(dtype)
    assert_exact(a, b, c)
    scales = 2.0 ** rng.integers(-60, 60, count)
    assert_exact((a * scales).astype(dtype), b, (c * scales).astype(dtype))


def floats(dtype):
    return st.floats(width=32 if dtype == "float32" else 64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_numbers_are_exact(dtype):
    @examples(200)
    @given(st.lists(st.tuples(*[floats(dtype)] * 3), min_size=1, max_size=8))
    def holds(triples):
        assert_exact(*np.array(triples, dtype).T.copy())

    holds()


def test_a_control_that_rounds_twice_is_wrong_in_the_traps():
    a, b, c = (np.array([v], np.float32) for v in (2049, 8191, -(2.0**-30)))
    twice = (a.astype(float) * b + c).astype(np.float32)
    assert twice != exact(a, b, c) == fma(np, a, b, c)
    ordered = a * b + c
    assert ordered != exact(a, b, c)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operands_broadcast_and_are_not_changed(dtype):
    rng = np.random.default_rng(3)
    a, b, c = rng.random((4, 1), dtype), rng.random((1, 5), dtype), rng.random((4, 5), dtype)
    for array in (a, b, c):
        array.setflags(write=False)
    want = exact(*(np.broadcast_to(v, (4, 5)).ravel() for v in (a, b, c))).reshape(4, 5)
    assert_same_bits(fma(np, a, b, c), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_keeps_to_the_array_api(dtype):
    values = special_values(dtype)[::3]
    grid = [g.ravel() for g in np.meshgrid(values, values, values)]
    strict = [array_api_strict.asarray(g) for g in grid]
    with np.errstate(all="ignore"):
        found = fma(array_api_strict, *strict), branchless(array_api_strict, *strict)
        assert_same_bits([np.asarray(f) for f in found], [exact(*grid)] * 2)


def test_a_library_without_float64_is_refused_by_name(monkeypatch):
    narrow = array_api_strict.astype
    monkeypatch.setattr(
        array_api_strict, "astype", lambda a, dtype, **k: narrow(a, array_api_strict.float32, **k)
    )
    one = array_api_strict.ones((2, 2), dtype=array_api_strict.float32)
    text = "^`arithmetic` must be 'ordered' or 'native' where the library has no float64, got 'fu"
    with pytest.raises(fcb.ArgumentTypeError, match=text):
        ARITHMETICS["fused"](array_api_strict).matmul(one, one)
