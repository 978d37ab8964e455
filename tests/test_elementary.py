"""Elementary functions: the same bits everywhere, near the exact values, right at the edges."""

import json

import array_api_strict
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.kernels.elementary import ELEMENTWISE
from fcbackends.kernels.libm import c_fma
from fcbackends.maths import elementary
from tests import elementary_oracle as oracle
from tests.cases import DTYPES, JIT_OFF, examples, needs_jit, special_values
from tests.oracle import assert_same_bits, bits
from tests.test_kernel_cache import run
from tests.test_targets import TARGETS, X86, host_has

of_each = pytest.mark.parametrize("name", oracle.NAMES)


@np.errstate(all="ignore")
def on_numpy(name, x):
    return getattr(elementary, name)(np, x)


@np.errstate(all="ignore")
def on_strict(name, x):
    return np.asarray(getattr(elementary, name)(array_api_strict, array_api_strict.asarray(x)))


def compiled(name, x):
    y = np.empty_like(x)
    ELEMENTWISE[name](x.dtype.name)(x, y)
    return y


def around(values, dtype, each=6):
    """So many numbers below and above each."""
    rows = [np.array(values, dtype)]
    for side in (-np.inf, np.inf):
        row = rows[0]
        for _ in range(each):
            row = np.nextafter(row, dtype(side))
            rows.append(row)
    return np.sort(np.concatenate(rows))


def turns():
    """Where an algorithm goes from one way to another, or from one exponent to the next."""
    of_exp = [(k + 0.5) * np.log(2) for k in (*range(-6, 6), -1075, -1022, -151, -127, 127, 1023)]
    of_log = [2.0**k * np.sqrt(2) for k in (-1060, -1022, -150, -127, -2, -1, 0, 1, 9, 127, 1023)]
    of_scaling = [2.0**k for k in (-501, -500, 499, 500, -28, -29, -54, -53)]
    of_ends = [710.0, 709.782712893384, 745.1332191019412, 746.0, 88.72284, 103.97208, 22.0, 40.0]
    return [*of_exp, *of_log, *of_scaling, *of_ends, np.log(np.sqrt(2) - 1), 1.0]


def numbers_of_every_size(dtype, seed, count):
    """One number and more of every exponent, of both signs, and many of the sizes that occur."""
    info, rng = np.finfo(dtype), np.random.default_rng(seed)
    lowest = info.minexp - info.nmant
    exponents = np.arange(lowest, info.maxexp)
    each = (1 + rng.random(exponents.size)) * 2.0**exponents
    # The uniform numbers of NumPy lack the last bits.
    some = [
        rng.uniform(-size, size, count) * (1 + rng.random(count))
        for size in (0.1, 0.2, 1, 3, 20, 50, 375)
    ]
    return np.concatenate([each, -each, *some]).astype(dtype)


def all_sorts(name, dtype, count=200):
    kind = np.dtype(dtype).type
    with np.errstate(all="ignore"):
        ends = around([s * v for v in turns() for s in (-1, 1)], kind, each=2)
        x = np.concatenate(
            [special_values(dtype), ends, numbers_of_every_size(dtype, 1, count)], dtype=kind
        )
    return np.concatenate([x, abs(x)]) if name == "log" else x


# --- bits ----------------------------------------------------------------------------------------

WAYS = {"NumPy": on_numpy, "array_api_strict": on_strict, "compiled": compiled}


@pytest.mark.jit_off
@of_each
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_numbers_of_every_kind_have_the_bits_of_the_oracle(name, dtype, way):
    x = all_sorts(name, dtype, 20 if JIT_OFF else 2000)
    assert_same_bits(WAYS[way](name, x), oracle.in_order(name, x), name)


@of_each
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_bits_have_the_same_compiled_as_on_numpy(name, dtype):
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    rng = np.random.default_rng(2)
    x = rng.integers(0, np.iinfo(unsigned).max, 200_000, unsigned, endpoint=True).view(dtype)
    assert_same_bits(compiled(name, x), on_numpy(name, x), name)


@of_each
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_numbers_have_the_same_bits_everywhere(name, dtype):
    @examples(100)
    @given(st.lists(st.floats(width=32 if dtype == "float32" else 64), min_size=1, max_size=20))
    def holds(values):
        x = np.array(values, dtype)
        want = oracle.in_order(name, x)
        for way, function in WAYS.items():
            assert_same_bits(function(name, x), want, way)

    holds()


@of_each
def test_float32_is_float64_rounded_once(name):
    x = all_sorts(name, "float32")
    with np.errstate(all="ignore"):
        want = on_numpy(name, x.astype(np.float64)).astype(np.float32)
    assert_same_bits(on_numpy(name, x), want, name)


@of_each
def test_where_a_number_stands_in_a_row_does_not_matter(name):
    x = all_sorts(name, "float64")[:150]
    want = on_numpy(name, x)
    for start, stop in [(0, 1), (1, 9), (3, 20), (5, 38), (7, 140)]:
        assert_same_bits(compiled(name, x[start:stop].copy()), want[start:stop], name)


@of_each
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3, 4)])
def test_arrays_of_any_shape_are_taken_and_not_changed(name, shape):
    x = np.random.default_rng(3).uniform(0.1, 2, shape)
    before = x.copy()
    x.setflags(write=False)
    y = on_numpy(name, x)
    assert np.shape(y) == shape
    assert_same_bits(x, before)


def test_a_library_without_float64_is_refused(monkeypatch):
    narrow = array_api_strict.astype
    monkeypatch.setattr(
        array_api_strict, "astype", lambda a, dtype, **k: narrow(a, array_api_strict.float32, **k)
    )
    x = array_api_strict.ones((2,), dtype=array_api_strict.float32)
    with pytest.raises(fcb.ArgumentTypeError, match=r"^`x` must be of a library that has float64"):
        elementary.exp(array_api_strict, x)


# --- nearness ------------------------------------------------------------------------------------

BOUNDS = {"exp": 0.7, "log": 0.75, "sigmoid": 0.7, "tanh": 0.8, "softplus": 0.75}
"""What the docstrings state, in units of the last place. The largest errors of ten million numbers
each were 0.64, 0.69, 0.64, 0.76 and 0.68."""
SUBNORMAL_BOUND = 0.8
"""Rounded twice; 0.77 was the largest."""


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


# --- edges ---------------------------------------------------------------------------------------

INF, NAN = float("inf"), float("nan")
EDGES = {
    "exp": [(-INF, 0.0), (INF, INF), (0.0, 1.0), (-0.0, 1.0), (-746.0, 0.0), (710.0, INF)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1.0, NAN), (-INF, NAN), (INF, INF), (1.0, 0.0)],
    "sigmoid": [(-INF, 0.0), (INF, 1.0), (0.0, 0.5), (-0.0, 0.5), (40.0, 1.0), (-746.0, 0.0)],
    "tanh": [(-INF, -1.0), (INF, 1.0), (0.0, 0.0), (-0.0, -0.0), (-20.0, -1.0)],
    "softplus": [(-INF, 0.0), (INF, INF), (-746.0, 0.0), (41.0, 41.0)],
}


@pytest.mark.jit_off
@of_each
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_edges_are_exact(name, dtype, way):
    x, want = np.array([*EDGES[name], (NAN, NAN)], dtype).T.copy()
    assert_same_bits(WAYS[way](name, x), want, name)


@pytest.mark.jit_off
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_subnormals_and_the_largest_numbers_are_like_others(dtype, way):
    info, function = np.finfo(dtype), WAYS[way]
    tiny = np.array([info.smallest_subnormal, info.smallest_normal], dtype)
    assert_same_bits(function("tanh", tiny), tiny)
    assert_same_bits(function("tanh", -tiny), -tiny)
    assert (function("log", -tiny) != function("log", -tiny)).all()
    huge = np.array([info.max, -info.max], dtype)
    assert function("exp", huge).tolist() == [INF, 0.0]
    assert function("sigmoid", huge).tolist() == [1.0, 0.0]
    assert function("tanh", huge).tolist() == [1.0, -1.0]
    assert function("softplus", huge).tolist() == [info.max, 0.0]


def test_what_functions_have_in_common_is_kept():
    x = numbers_of_every_size("float64", 4, 5000)
    assert_same_bits(on_numpy("tanh", -x), -on_numpy("tanh", x))
    p, q = on_numpy("sigmoid", x), on_numpy("sigmoid", -x)
    assert abs(p + q - 1).max() <= 2.0**-52
    assert (abs(on_numpy("tanh", x)) <= 1).all()
    assert ((p >= 0) & (p <= 1)).all()
    assert (on_numpy("softplus", x) >= np.maximum(x, 0)).all()
    least = on_numpy("softplus", -abs(x))
    sums = np.maximum(x, 0) + least
    assert abs(sums - on_numpy("softplus", x)).max() <= np.spacing(sums).max()


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


# --- controls ------------------------------------------------------------------------------------


def agrees(name, x):
    return bits(compiled(name, x)) == bits(on_numpy(name, x))


CONSTANTS = [("exp", "_EXP", i) for i in range(10)] + [("log", "_LOG", i) for i in range(7)]


def of_full_length(seed, count):
    """Numbers from 1/2 to 2, each with bits in its last places."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 1, count) * (1 + rng.random(count))


@pytest.mark.parametrize(("name", "table", "index"), CONSTANTS)
def test_a_control_with_a_constant_changed_is_found(name, table, index, monkeypatch):
    x = of_full_length(6, 20_000)
    assert agrees(name, x)
    changed = list(getattr(elementary, table))
    # The first by their last bit, the others by what reaches the last bits of a result.
    changed[index] *= 1 + 2.0 ** min(-52 + 8 * index, -4)
    monkeypatch.setattr(elementary, table, tuple(changed))
    assert not agrees(name, x)


REDUCTION = {"_PER_LN2": 2.0**-52, "_LN2_HIGH": 2.0**-41, "_LN2_LOW": 2.0**-20, "_SQRT2": 2.0**-4}
"""Its constants, and by how much they are changed: others of their digits reach few results."""


@pytest.mark.parametrize("constant", REDUCTION)
def test_a_control_that_is_reduced_otherwise_is_found(constant, monkeypatch):
    ends = around(turns(), np.float64)
    x = np.concatenate([of_full_length(6, 20_000) * 300, abs(ends[np.isfinite(ends)])])
    assert agrees("exp", x)
    assert agrees("log", x)
    changed = getattr(elementary, constant) * (1 + REDUCTION[constant])
    monkeypatch.setattr(elementary, constant, changed)
    assert not (agrees("exp", x) and agrees("log", x))


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "softplus"])
def test_a_control_that_fuses_products_and_sums_is_found(name, monkeypatch):
    x = of_full_length(7, 5000)
    assert agrees(name, x)
    fma = c_fma("float64")

    def fused(xp, x):
        k = xp.round(x * elementary._PER_LN2)
        h = x - k * elementary._LN2_HIGH
        r = fma(-k, elementary._LN2_LOW, h)
        p = np.zeros_like(r)
        for c in elementary._EXP[::-1]:
            p = fma(p, r, np.full_like(r, c))
        return k, h, 0.5 * (r * r) + fma(r * r * r, p, -k * elementary._LN2_LOW)

    monkeypatch.setattr(elementary, "_exponential", fused)
    assert not agrees(name, x)


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "softplus"])
def test_a_control_that_loses_what_rounding_takes_misses_its_bound(name, monkeypatch):
    monkeypatch.setattr(elementary, "fast_two_sum", lambda a, b: (a + b, np.zeros_like(a + b)))
    x = of_full_length(8, 2000) * np.array([1, -1] * 1000)
    errors = [oracle.units(y, name, v) for y, v in zip(on_numpy(name, x), x, strict=True)]
    assert max(errors) > BOUNDS[name]


# --- machine code --------------------------------------------------------------------------------

CODE = """
import json
import numpy as np
import fcbackends as fcb
from fcbackends.kernels.elementary import ELEMENTWISE
from tests.test_elementary import all_sorts
digests, code = [], {}
for name, family in ELEMENTWISE.items():
    for dtype in ("float32", "float64"):
        x = all_sorts(name, dtype)
        y = np.empty_like(x)
        family(dtype)(x, y)
        digests.append(fcb.digest(y))
        code[f"{name} {dtype}"] = "".join(family(dtype).inspect_asm().values())
print(json.dumps({"digests": digests, "code": code}))
"""


@needs_jit
@pytest.mark.slow
@pytest.mark.parametrize("target", ["generic", "AVX2", "host"])
def test_every_target_has_the_same_bits_and_vectors(target, tmp_path):
    if target == "AVX2" and not (X86 and host_has("avx2", "fma")):
        pytest.skip("this machine cannot run what is compiled for AVX2")
    status, out, err = run(tmp_path, CODE, **TARGETS[target])
    assert status == 0, err
    said = json.loads(out)
    want = [
        fcb.digest(on_numpy(name, all_sorts(name, dtype)))
        for name in oracle.NAMES
        for dtype in DTYPES
    ]
    assert said["digests"] == want
    if X86 and target != "generic":  # which is compiled without optimization
        for kernel, code in said["code"].items():
            assert "vmulpd" in code, kernel
            assert "vgather" not in code, kernel
            assert "vfmadd" not in code, kernel
