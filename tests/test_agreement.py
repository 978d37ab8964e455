"""compare and digest: bits, not values."""

import hashlib
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from tests.cases import DTYPES, LAYOUTS, laid_out, problem, special_values


def hexdigest(params):
    """SHA-256 as documented: per array "path:dtype:shape;" and little-endian bits in row order."""
    parts = []

    def visit(value, path):
        if isinstance(value, (tuple, list)):
            for i, item in enumerate(value):
                visit(item, (*path, i))
            return
        value = np.asarray(value)
        shape = ",".join(str(n) for n in value.shape)
        parts.append(f"{'.'.join(map(str, path))}:{value.dtype.name}:{shape};".encode())
        letter, quiet = ("<f", 0x7FC00000) if value.dtype.itemsize == 4 else ("<d", 0x7FF8 << 48)
        for v in value.reshape(-1).tolist():
            nan = struct.pack("<I" if letter == "<f" else "<Q", quiet)
            parts.append(nan if math.isnan(v) else struct.pack(letter, v))

    visit(params, ())
    return hashlib.sha256(b"".join(parts)).hexdigest()


# --- compare -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_bits_are_equal_in_any_layout(dtype):
    case = problem(0, (3, 4, 2), 1, dtype, spice=0.3)
    for layout in LAYOUTS.values():
        assert fcb.compare(case.params, laid_out(case.params, layout)) == (True, 0, 0, None)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_of_two_signs_differ_by_one_step(dtype):
    a, b = np.array([1, 0.0], dtype), np.array([1, -0.0], dtype)
    assert fcb.compare(a, b) == (False, 1, 1, (1,))


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_nan_equals_any_nan_and_no_number(dtype):
    unsigned = f"u{np.dtype(dtype).itemsize}"
    quiet = np.array([np.nan], dtype)
    for pattern in ((-quiet).view(unsigned), quiet.view(unsigned) + 5):
        assert fcb.compare(quiet, pattern.view(dtype)) == (True, 0, 0, None)
    assert fcb.compare(quiet, np.ones(1, dtype)) == (False, 1, None, (0,))
    assert fcb.compare(np.ones(1, dtype), quiet) == (False, 1, None, (0,))


@pytest.mark.parametrize("dtype", DTYPES)
def test_ulp_distances(dtype):
    info, one = np.finfo(dtype), np.ones((), dtype)
    least = info.smallest_subnormal
    up = np.nextafter(one, one + one)
    bits = 8 * info.dtype.itemsize
    exponent_of_all_ones = int(np.array(np.inf, dtype).view(f"u{bits // 8}"))
    pairs = [
        (one, up, 1),
        (one, np.nextafter(up, one + one), 2),
        (-one, -up, 1),
        (least, -least, 3),  # least, +0, -0, -least
        (0.0, least, 1),
        (-0.0, least, 2),
        (info.max, np.inf, 1),
        (-np.inf, np.inf, 2 * exponent_of_all_ones + 1),
    ]
    for a, b, distance in pairs:
        a, b = np.array([a], dtype), np.array([b], dtype)
        assert fcb.compare(a, b).max_ulp == distance, (a, b)
        assert fcb.compare(b, a).max_ulp == distance, (b, a)
        assert type(fcb.compare(a, b).max_ulp) is int


def test_the_largest_distance_and_the_first_place_are_named():
    a = [(np.zeros((2, 3)), np.ones(3)), (np.ones((3, 1)), np.ones(1))]
    b = [(np.zeros((2, 3)), np.ones(3)), (np.ones((3, 1)), np.ones(1))]
    b[0][1][2] += 2 * np.finfo(float).eps
    b[1][0][1, 0] += 5 * np.finfo(float).eps
    assert fcb.compare(a, b) == (False, 2, 5, (0, 1, 2))
    assert fcb.compare(a[1], b[1]) == (False, 1, 5, (0, 1, 0))
    b[1][1][0] = np.nan
    assert fcb.compare(a, b) == (False, 3, None, (0, 1, 2))


def test_scalars_and_results_compare():
    assert fcb.compare(np.float64(1), np.array(1.0)).equal
    assert fcb.compare(np.array(1.0), np.array(2.0)).first == ()
    x, t = np.ones((4, 2)), np.ones((4, 3))
    a = fcb.sgd_step(fcb.init_params((2, 3)), x, t, 0.1, backend="numpy")
    b = fcb.sgd_step(fcb.init_params((2, 3)), x, t, 0.1, backend="numba")
    assert fcb.compare(a, b).equal


def test_tuples_compare_with_lists_and_empty_arrays_are_equal():
    assert fcb.compare((np.ones(2), [np.zeros(1)]), [np.ones(2), (np.zeros(1),)]).equal
    assert fcb.compare(np.empty((0, 3)), np.empty((0, 3))).equal


@given(
    a=st.lists(st.floats(width=32), min_size=1, max_size=5),
    steps=st.integers(0, 100),
)
def test_the_distance_is_the_number_of_nextafter_steps(a, steps):
    start = np.array(a, np.float32)
    if np.isnan(start).any():
        start = np.where(np.isnan(start), np.float32(1), start)
    moved = start.copy()
    for _ in range(steps):
        moved = np.nextafter(moved, np.float32(np.inf))
    crossed = (np.signbit(start) != np.signbit(moved)) | ((start == 0) & (moved != 0))
    got = fcb.compare(start, moved)
    stuck = np.isinf(moved)
    if not stuck.any() and not crossed.any():
        assert got.max_ulp == steps
        assert got.equal == (steps == 0)


# --- digest --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_digest_follows_its_documented_bytes(dtype):
    for seed in range(3):
        params = problem(seed, (3, 4, 2), 1, dtype, spice=0.3).params
        assert fcb.digest(params) == hexdigest(params)
    values = special_values(dtype)
    assert fcb.digest(values) == hexdigest(values)
    assert fcb.digest([values.reshape(5, 5)]) == hexdigest([values.reshape(5, 5)])


def test_digests_that_every_machine_gives():
    ramp = ((np.arange(6.0).reshape(2, 3), np.array([0.5, -0.0, np.inf])),)
    assert fcb.digest(ramp) == GOLDEN["float64"]
    single = tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in ramp)
    assert fcb.digest(single) == GOLDEN["float32"]
    assert fcb.digest(fcb.init_params((2, 8, 3), seed=1)) == GOLDEN["init"]


GOLDEN = {
    "float64": "8c474dfa0c0a3974c938fd19fc9db8a9d9af3c90a48c20bca4c7ef1f7ed13609",
    "float32": "32e93292331ab6e3eadf6f3d0a5949f9242f0f78e0690d9e094fba7bac31f73e",
    "init": "23b808d0e53ff0c7d0818d6578602b0fca19a93ae8075ce932d426e98e8f6494",
}


def test_the_digest_sees_bits_shapes_dtypes_and_places_only():
    base = np.array([1.0, 0.0, np.nan, 2.0])
    for layout in LAYOUTS.values():
        assert fcb.digest(layout(base)) == fcb.digest(base)
    assert fcb.digest(-np.array([np.nan])) == fcb.digest(np.array([np.nan]))
    assert fcb.digest((base,)) == fcb.digest([base])
    others = [
        np.array([1.0, -0.0, np.nan, 2.0]),
        np.array([1.0, 0.0, np.nan, np.nextafter(2, 3)]),
        base.reshape(2, 2),
        base.reshape(4, 1),
        base.astype(np.float32),
        (base,),
        ((base,),),
        (base[:2], base[2:]),
    ]
    digests = {fcb.digest(a) for a in [base, *others]}
    assert len(digests) == len(others) + 1


def test_the_digest_changes_no_argument():
    payload = (np.array([np.nan]).view("u8") + 5).view("f8")
    before = payload.tobytes()
    fcb.digest(payload)
    fcb.compare(payload, payload)
    assert payload.tobytes() == before
