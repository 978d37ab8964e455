"""Sums over samples in blocks of rows: their bits, for one layer, one loss and one step."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.conformance.running import run_cases
from fcbackends.kernels import blocks
from fcbackends.maths.arithmetic import joined
from tests.blocks_oracle import ORACLES, in_blocks, tree
from tests.cases import DTYPES, JIT_OFF, examples, numbers, problem, quick_first
from tests.loss_cases import targets, weights
from tests.loss_oracle import NAMES
from tests.oracle import assert_same_bits, fast

pytestmark = pytest.mark.jit_off

BACKENDS = ("numpy", "numba", "array_api_strict")
SIZES = [1, 63, 64, 65, 127, 128, 129, 192, 200, 1000]
if JIT_OFF:
    SIZES = SIZES[:-1]
ROWS = (64, 7, 1)
of_each_arithmetic = pytest.mark.parametrize("arithmetic", ORACLES)
of_each_backend = pytest.mark.parametrize("backend", BACKENDS)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def layer(samples, dtype, seed=0, inputs=5, outputs=3):
    """x, w, and a dy whose sums round at nearly every term."""
    rng = np.random.default_rng([seed, samples])
    shapes = (samples, inputs), (inputs, outputs), (samples, outputs)
    x, w, dy = (numbers(rng, shape, dtype) for shape in shapes)
    return dy * 10.0 ** rng.integers(-3, 4, (samples, 1)).astype(dtype), x, w


# --- the tree ------------------------------------------------------------------------------------


@given(st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=300))
@examples(100)
def test_a_stream_of_blocks_is_joined_as_the_tree_has_it(values):
    with np.errstate(all="ignore"):
        terms = [np.float64(value) for value in values]
        assert_same_bits(joined(iter(terms)), tree(terms))


@pytest.mark.parametrize("count", [*range(1, 70), 127, 128, 129, 1000])
def test_the_joins_are_those_of_the_tree_one_by_one(count):
    class Term(str):
        def __add__(self, other):
            return Term(f"({self}{other})")

    terms = [Term(f"{i} ") for i in range(count)]
    assert joined(terms) == tree(terms)


@pytest.mark.parametrize("size", [1, 2, 3, 64])
@pytest.mark.parametrize("rows", [1, 2, 3, 63, 64, 65, 128, 129, 8192, 8193])
def test_as_many_sums_wait_as_there_is_room_for(rows, size):
    count, waiting, most = -(-rows // size), 0, 0
    for done in range(1, count + 1):
        most = max(most, waiting + 1)
        waiting = bin(done).count("1")
    assert blocks.most_waiting(rows, size) >= (most if count > 1 else 0)
    assert (blocks.most_waiting(rows, size) == 0) == (count == 1)


# --- one layer, one loss, one step ---------------------------------------------------------------


@of_each_dtype
@of_each_arithmetic
@of_each_backend
@pytest.mark.parametrize("samples", quick_first(SIZES, 8, pytest.mark.campaign))
def test_gradients_of_a_layer_have_the_oracles_bits(samples, backend, arithmetic, dtype):
    dy, x, w = layer(samples, dtype)
    make = fcb.get_backend(backend).asarray
    for size in ROWS:
        want = in_blocks(ORACLES[arithmetic], size).backward(dy, x, w)
        got = fcb.fc_backward(
            *map(make, (dy, x, w)), backend=backend, arithmetic=arithmetic, rows_per_block=size
        )
        assert_same_bits(tuple(map(np.asarray, got)), want, f"{size} rows")


@of_each_dtype
@of_each_backend
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", NAMES)
def test_losses_have_the_oracles_bits(loss, weighted, backend, dtype):
    rng = np.random.default_rng(3)
    make = fcb.get_backend(backend).asarray
    for samples, size in ((65, 64), (64, 64), (129, 64), (23, 5)):
        y = numbers(rng, (samples, 3), dtype)
        t = targets(3, loss, (samples, 3), dtype)
        own = weights(3, samples, dtype)
        rows = np.column_stack([t, own]) if weighted else t
        want = in_blocks(fast, size).loss_and_gradient(y, rows, loss, weighted)
        how = dict(backend=backend, rows_per_block=size)
        if weighted:
            how["sample_weight"] = make(own)
        got = getattr(fcb, f"{loss}_loss")(make(y), make(t), **how)
        assert_same_bits(tuple(map(np.asarray, got)), want, f"{samples} samples")


@of_each_dtype
@of_each_arithmetic
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("sizes", [(4, 3), (5, 9, 2), (3, 70, 40, 1)], ids=str)
def test_a_step_has_the_oracles_bits(sizes, backend, arithmetic, dtype):
    for samples, size in ((200, 64), (130, 33), (9, 2)):
        case = problem(samples, sizes, samples, dtype)
        oracle = in_blocks(ORACLES[arithmetic], size)
        want = oracle.sgd_step(case.params, case.x, case.t, 0.7)
        got = fcb.sgd_step(
            case.params, case.x, case.t, 0.7,
            backend=backend, arithmetic=arithmetic, rows_per_block=size,
        )  # fmt: skip
        assert_same_bits(tuple(got), want, f"{samples} samples")


@of_each_dtype
@of_each_arithmetic
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_special_values_go_through_blocks(backend, arithmetic, dtype):
    rng = np.random.default_rng(5)
    for samples, inputs, outputs in ((130, 17, 33), (70, 3, 1), (300, 70, 2)):
        x, w, dy = (
            numbers(rng, shape, dtype, 0.02)
            for shape in ((samples, inputs), (inputs, outputs), (samples, outputs))
        )
        how = dict(backend=backend, arithmetic=arithmetic, rows_per_block=32)
        want = in_blocks(ORACLES[arithmetic], 32).backward(dy, x, w)
        assert_same_bits(tuple(fcb.fc_backward(dy, x, w, **how)), want)


@of_each_backend
def test_up_to_one_block_the_bits_are_those_without(backend):
    make = fcb.get_backend(backend).asarray
    for samples in (0, 1, 5, 64):
        dy, x, w = map(make, layer(samples, "float32"))
        want = fcb.fc_backward(dy, x, w, backend=backend)
        for size in (64, 65, 2**62, 2**70):
            got = fcb.fc_backward(dy, x, w, backend=backend, rows_per_block=size)
            assert_same_bits(tuple(map(np.asarray, got)), tuple(map(np.asarray, want)))


@of_each_dtype
@of_each_arithmetic
@of_each_backend
def test_blocks_have_bits_of_their_own(backend, arithmetic, dtype):
    """The control: where nothing were summed in blocks, the tests above would see it."""
    dy, x, w = layer(200, dtype)
    make = fcb.get_backend(backend).asarray

    def of(**size):
        given = map(make, (dy, x, w))
        gradients = fcb.fc_backward(*given, backend=backend, arithmetic=arithmetic, **size)
        losses = [
            fcb.mean_squared_loss(
                make(x * factor), make(x), backend=backend, arithmetic=arithmetic, **size
            ).loss
            for factor in range(8)
        ]
        return [*map(np.asarray, gradients), np.array([float(loss) for loss in losses])]

    plain, in_64, in_7 = of(), of(rows_per_block=64), of(rows_per_block=7)
    for one, other in ((plain, in_64), (plain, in_7), (in_64, in_7)):
        alike = [fcb.compare(a, b).equal for a, b in zip(one, other, strict=True)]
        assert alike == [False, False, True, False]  # a gradient of inputs has no such sums


def test_one_sample_needs_no_axis():
    got = fcb.fc_backward([1.0, 2.0], [3.0], [[4.0, 5.0]], rows_per_block=1)
    want = fcb.fc_backward([1.0, 2.0], [3.0], [[4.0, 5.0]])
    assert_same_bits(tuple(got), tuple(want))


# --- which backends there are --------------------------------------------------------------------


@of_each_backend
def test_a_backend_with_blocks_is_the_same_each_time(backend):
    plain = fcb.get_backend(backend)
    one = plain.with_rows_per_block(64)
    assert (plain.rows_per_block, one.rows_per_block) == (None, 64)
    assert one is plain.with_rows_per_block(64)
    assert one is plain.with_rows_per_block(7).with_rows_per_block(64)
    assert one.conformance == plain.conformance
    # In hand, it keeps its own.
    dy, x, w = map(plain.asarray, layer(200, "float64"))
    want = fcb.fc_backward(dy, x, w, rows_per_block=64, backend=backend)
    got = fcb.fc_backward(dy, x, w, backend=one)
    assert_same_bits(tuple(map(np.asarray, got)), tuple(map(np.asarray, want)))


def test_a_class_does_not_depend_on_the_blocks():
    assert fcb.get_backend("numpy").with_rows_per_block(1).conformance.letter == "A"


NO_COUNT = "`rows_per_block` must be an integer of at least 1, got "
CALLS = {
    "fc_backward": lambda **how: fcb.fc_backward([[1.0]], [[1.0]], [[1.0]], **how),
    "mean_squared_loss": lambda **how: fcb.mean_squared_loss([[1.0]], [[1.0]], **how),
    "huber_loss": lambda **how: fcb.huber_loss([[1.0]], [[1.0]], **how),
    "cross_entropy_loss": lambda **how: fcb.cross_entropy_loss([[1.0]], [0], **how),
    "binary_cross_entropy_loss": lambda **how: fcb.binary_cross_entropy_loss([[1.0]], [[1]], **how),
    "sgd_step": lambda **how: fcb.sgd_step((([[1.0]], [1.0]),), [[1.0]], [[1.0]], 0.1, **how),
    "train": lambda **how: fcb.train([[1.0]], [[1.0]], lr=0.1, max_steps=1, **how),
    "train_many": lambda **how: fcb.train_many(
        [[1.0]], [[1.0]], seed=[0], lr=0.1, max_steps=1, **how
    ),
    "Trainer": lambda **how: fcb.Trainer((([[1.0]], [1.0]),), lr=0.1, **how),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_texts_of_refusals(call):
    CALLS[call](rows_per_block=np.int64(3))
    for wrong, shown in ((0, "0"), (-3, "-3"), (True, "True")):
        with pytest.raises(fcb.ArgumentError) as raised:
            CALLS[call](rows_per_block=wrong)
        assert (
            str(raised.value) == f"`rows_per_block` must be an integer of at least 1, got {shown}"
        )
    for wrong, shown in ((2.0, "2.0"), ("64", "'64'"), ([64], "[64]")):
        with pytest.raises(fcb.ArgumentTypeError) as raised:
            CALLS[call](rows_per_block=wrong)
        assert (
            str(raised.value) == f"`rows_per_block` must be an integer of at least 1, got {shown}"
        )
    text = "`rows_per_block` must be None with backend 'numpy' in arithmetic 'native', got 64"
    with pytest.raises(fcb.ArgumentError) as raised:
        CALLS[call](rows_per_block=64, backend="numpy", arithmetic="native")
    assert str(raised.value) == text


def test_a_backend_that_has_no_blocks_is_not_asked_for_them():
    plain = dataclasses.replace(fcb.get_backend("numpy"), name="plain", with_rows_per_block=None)
    fcb.train([[1.0]], [[1.0]], lr=0.1, max_steps=1, backend=plain)
    text = "^`rows_per_block` must be None with backend 'plain' in arithmetic 'ordered', got 64$"
    with pytest.raises(fcb.ArgumentError, match=text):
        fcb.train([[1.0]], [[1.0]], lr=0.1, max_steps=1, backend=plain, rows_per_block=64)


# --- the kit -------------------------------------------------------------------------------------


@of_each_arithmetic
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_kit_finds_the_bits_of_blocks(backend, arithmetic):
    chosen = fcb.get_backend(backend, arithmetic=arithmetic).with_rows_per_block(7)
    tally = run_cases(chosen, 5, range(24), DTYPES)
    assert (tally.different, tally.level.name) == (0, "A")


def test_the_kit_finds_a_backend_that_takes_no_notice_of_blocks():
    plain = fcb.get_backend("numpy")
    wrong = dataclasses.replace(plain, rows_per_block=7)
    assert run_cases(wrong, 5, range(60), DTYPES).different > 0
    assert run_cases(plain, 5, range(60), DTYPES).different == 0


def test_the_kit_finds_blocks_that_are_joined_in_a_row():
    plain = fcb.get_backend("numpy")

    def backward(dy, x, w):
        parts = [plain.fc_backward(dy[i : i + 7], x[i : i + 7], w) for i in range(0, len(x), 7)]
        if len(parts) < 2:
            return plain.fc_backward(dy, x, w)
        dw, db = sum(p.dw for p in parts[1:]) + parts[0].dw, sum(p.db for p in parts)
        return plain.fc_backward(dy, x, w)._replace(dw=dw, db=db)

    right = plain.with_rows_per_block(7)
    wrong = dataclasses.replace(right, fc_backward=backward)
    assert run_cases(wrong, 5, range(60), DTYPES).different > 0
