"""Elementary functions: the same bits everywhere, and right at the edges."""

import json

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.maths import elementary
from tests import elementary_oracle as oracle
from tests.cases import DTYPES, JIT_OFF, examples, needs_jit
from tests.elementary_cases import (
    WAYS,
    all_sorts,
    compiled,
    numbers_of_every_size,
    of_each,
    on_numpy,
)
from tests.oracle import assert_same_bits
from tests.targets import TARGETS, X86, host_has
from tests.test_kernel_cache import run

# --- bits ----------------------------------------------------------------------------------------


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


# --- machine code --------------------------------------------------------------------------------

CODE = """
import json
import numpy as np
import fcbackends as fcb
from fcbackends.kernels.elementary import ELEMENTWISE
from tests.elementary_cases import all_sorts
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
