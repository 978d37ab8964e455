"""Products of every size go through tiles, panels and blocks with the oracle's bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.kernels import layers, matmul, tiles
from fcbackends.kernels.activations import codes
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.blocks import ONE_BLOCK, most_waiting
from fcbackends.kernels.layout import ROWS_A_PASS
from fcbackends.kernels.threads import ALONE
from tests.blocks_oracle import in_blocks
from tests.cases import DTYPES, JIT_OFF, examples, needs_jit, numbers, problem
from tests.oracle import assert_same_bits, bits, fast

pytestmark = pytest.mark.jit_off

# Around the edges of vectors, tiles, passes and blocks of any target.
EDGES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 255, 256, 257, 300)
if JIT_OFF:
    EDGES = EDGES[:12]
SPICES = (0.0, 0.02, 0.3)


def layer(seed, samples, inputs, outputs, dtype, spice):
    """x, w, b, and a gradient dy of the output."""
    rng = np.random.default_rng(seed)
    shapes = ((samples, inputs), (inputs, outputs), (outputs,), (samples, outputs))
    return tuple(numbers(rng, shape, dtype, spice) for shape in shapes)


def assert_products_agree(x, w, b, dy):
    got = fcb.fc_forward(x, w, b, backend="numba")
    assert_same_bits(got, fast.forward(x, w, b), "y")
    got = fcb.fc_backward(dy, x, w, backend="numba")
    assert_same_bits(got, fast.backward(dy, x, w), "dw, db, dx")


@given(
    size=st.tuples(*[st.sampled_from(EDGES)] * 3),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    spice=st.sampled_from(SPICES),
)
@examples(20 if JIT_OFF else 100)
def test_products_around_every_edge(size, seed, dtype, spice):
    assert_products_agree(*layer(seed, *size, dtype, spice))


@given(
    sizes=st.lists(st.sampled_from(EDGES[1:]), min_size=2, max_size=4),
    samples=st.sampled_from(EDGES),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    spice=st.sampled_from(SPICES),
)
@examples(10 if JIT_OFF else 60)
def test_networks_around_every_edge(sizes, samples, seed, dtype, spice):
    case = problem(seed, tuple(sizes), samples, dtype, spice)
    got = fcb.predict(case.params, case.x, backend="numba")
    assert_same_bits(got, fast.predict(case.params, case.x), "y")


@given(
    sizes=st.lists(st.sampled_from(EDGES[1:]), min_size=2, max_size=3),
    samples=st.sampled_from(EDGES[1:]),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    spice=st.sampled_from(SPICES),
)
@examples(10 if JIT_OFF else 60)
def test_steps_around_every_edge(sizes, samples, seed, dtype, spice):
    # A network's weights are cut into panels, which those of a layer on its own are not.
    case = problem(seed, tuple(sizes), samples, dtype, spice)
    for x, t in ((case.x, case.t), (case.x[:1], case.t[:1])):
        got = fcb.sgd_step(case.params, x, t, 0.7, backend="numba")
        assert_same_bits(got, fast.sgd_step(case.params, x, t, 0.7))


# Samples, inputs and outputs. Backward, `inputs` and `samples` are rows of a product as well.
PATHS = {
    "one row, long and rest": (1, 33, 1003),
    "one row, no rest": (1, 5, 512),
    "one row, many terms": (1, 600, 300),
    "one row backward": (70, 1, 301),
    "one term": (65, 1, 65),
    "one column": (65, 65, 1),
    "blocks of rows": (520, 9, 33),
    "blocks of terms": (33, 520, 33),
    "blocks of both": (300, 515, 70),
    "rows far apart": (33, 40, 530),
    "rows far apart, blocks of terms": (64, 257, 515),
    "rows far apart, blocks of rows": (258, 530, 34),
    "rows not far apart enough": (64, 40, 127),
    "too few rows far apart": (15, 12, 530),
}


@needs_jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spice", SPICES)
@pytest.mark.parametrize("path", PATHS)
def test_each_way_through_a_product(path, spice, dtype):
    assert_products_agree(*layer(3, *PATHS[path], dtype, spice))


@needs_jit
@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", PATHS)
def test_each_way_through_a_fused_product(path, dtype):
    x, w, b, dy = layer(4, *PATHS[path], dtype, 0.02)
    found, wanted = (
        [fcb.fc_forward(x, w, b, **chosen), *fcb.fc_backward(dy, x, w, **chosen)]
        for chosen in (
            dict(backend="numba", arithmetic="fused"),
            dict(backend="numpy", arithmetic="fused"),
        )
    )
    assert_same_bits(found, wanted)


def test_the_sizes_reach_each_way():
    # The paths' names are true of any target: of 16 to 64 bytes a vector, and 6 or 8 rows a tile.
    far, block = matmul._FAR_APART_BYTES, matmul._TERMS_A_BLOCK
    for itemsize in (4, 8):
        long = matmul.PANELS_OF_ONE_ROW * matmul.PANEL_ROW_BYTES // itemsize
        assert PATHS["one row, long and rest"][2] > long
        assert PATHS["one row, long and rest"][2] % long > 0
        assert PATHS["one row, no rest"][2] % long == 0
        assert PATHS["one row backward"][2] > long
        assert PATHS["rows far apart"][2] * itemsize >= far
        assert PATHS["rows far apart, blocks of rows"][1] * itemsize >= far
    assert PATHS["rows far apart"][0] >= 4 * tiles.ROWS
    assert PATHS["rows far apart, blocks of terms"][1] > block
    assert PATHS["rows far apart, blocks of rows"][0] > matmul.ROWS_A_BLOCK
    assert PATHS["too few rows far apart"][0] < 4 * tiles.ROWS
    assert PATHS["rows not far apart enough"][2] * 8 < far


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sizes_can_tell_one_order_from_another(dtype):
    for path, (samples, inputs, outputs) in PATHS.items():
        if inputs > 2:
            x, w, b, _ = layer(3, samples, inputs, outputs, dtype, 0.0)
            right = fast.forward(x, w, b)
            assert bits(fast.forward(x[:, ::-1], w[::-1], b)) != bits(right), path


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_of_no_terms_is_a_positive_zero(dtype):
    zeros = np.array([-0.0, 0.0, 3.0], dtype)
    nothing = np.empty((2, 0), dtype)
    y = fcb.fc_forward(nothing, np.empty((0, 3), dtype), zeros, backend="numba")
    assert_same_bits(y, np.array([[0.0, 0.0, 3.0]] * 2, dtype))
    grads = fcb.fc_backward(nothing[:0], np.empty((0, 3), dtype), np.empty((3, 0), dtype))
    assert_same_bits(grads, (np.empty((3, 0), dtype), np.empty(0, dtype), np.empty((0, 3), dtype)))
    dw, db, dx = fcb.fc_backward(
        np.empty((0, 3), dtype), nothing[:0, :0], np.empty((0, 3), dtype), backend="numba"
    )
    assert_same_bits((dw, db, dx), (np.empty((0, 3), dtype), zeros * 0 + 0, nothing[:0]))
    dx = fcb.fc_backward(nothing, np.ones((2, 3), dtype), np.empty((3, 0), dtype)).dx
    assert_same_bits(dx, np.zeros((2, 3), dtype))


def between(room, shape):
    """A part of `room`, in its middle, as an array of this shape that does not begin a vector."""
    size = int(np.prod(shape))
    start = (len(room) - size) // 2 | 1
    return room[start : start + size].reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 3, 5), (1, 7, 150), (9, 17, 33), (37, 9, 70), (33, 5, 530)])
def test_a_product_leaves_what_stands_around_it(size, dtype):
    samples, inputs, outputs = size
    x, w, b, dy = layer(5, *size, dtype, 0.0)

    def among(value, array):
        room = np.full(array.size + 400, value, dtype)
        part = between(room, array.shape)
        part[...] = array
        return room, part

    (_, x_in), (_, w_in), (_, dy_in), (_, wt_in) = (among(np.nan, a) for a in (x, w, dy, w.T))
    made = []
    for shape in ((samples, outputs), (inputs, outputs), (samples, inputs)):
        made.append(among(7, np.full(shape, np.nan)))
    (_, y), (_, dw), (_, dx) = made
    db = np.empty(outputs, dtype)
    name, tag = np.dtype(dtype).name, ARITHMETICS["ordered"]
    layers.forward(name)(tag, x_in, w_in, b, codes("identity", name)[0], y, ALONE)
    assert_same_bits(y, fast.forward(x, w, b))
    for rows_per_block in (ONE_BLOCK, 16):
        waiting = most_waiting(samples, rows_per_block)
        tile = ROWS_A_PASS * matmul.PANEL_ROW_BYTES // dy.itemsize
        sums, _ = among(np.nan, np.full((1, waiting * max(tile, outputs)), np.nan))
        how = rows_per_block, sums[200:-200].reshape(1, -1)
        layers.backward(name)(tag, dy_in, x_in, wt_in, dw, db, dx, *how, ALONE)
        want = fast if rows_per_block == ONE_BLOCK else in_blocks(fast, rows_per_block)
        assert_same_bits((dw, db, dx), want.backward(dy, x, w))
        assert np.isnan(sums[:200]).all()
        assert np.isnan(sums[-200:]).all()
    for room, part in made:
        part[...] = 7
        assert (room == 7).all()
