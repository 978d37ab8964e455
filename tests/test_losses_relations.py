"""Losses: what shifts, orders of classes, names of classes and weights of samples may change."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from tests.cases import BACKENDS, DTYPES
from tests.loss_cases import ADAM, LOSSES, loss_problem
from tests.oracle import assert_same_bits

WAYS = [*BACKENDS, "array_api_strict"]

of_each_loss = pytest.mark.parametrize("loss", LOSSES)
of_each_way = pytest.mark.parametrize("way", WAYS)
of_each_backend = pytest.mark.parametrize("backend", BACKENDS)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def on_numpy(values):
    if isinstance(values, tuple):
        return tuple(map(on_numpy, values))
    return np.asarray(values)


# --- shifts and orders ---------------------------------------------------------------------------


@given(
    st.lists(st.integers(-500, 500), min_size=1, max_size=9),
    st.integers(-2000, 2000),
    st.integers(-10, 10),
    st.sampled_from(DTYPES),
)
def test_a_shift_that_rounds_nothing_changes_no_bit(row, shift, exponent, dtype):
    # Multiples of one power of two, few enough bits long: sums and differences are exact.
    y = np.ldexp(np.array([row], dtype), exponent)
    by = np.ldexp(np.array(shift, dtype), exponent)
    t = np.full_like(y, 0)
    t[0, len(row) // 2] = 1
    for backend in BACKENDS:
        want, got = (fcb.cross_entropy_loss(v, t, backend=backend) for v in (y, y + by))
        assert_same_bits(tuple(got), tuple(want))
        p, q = (fcb.get_backend(backend).probabilities(v, "cross_entropy") for v in (y, y + by))
        assert_same_bits(q, p)


@of_each_loss
@of_each_dtype
@of_each_way
def test_two_classes_and_all_samples_may_change_places(way, dtype, loss):
    # Sums of two terms are the same in either order; those over samples are not.
    case = loss_problem(1, (3, 2), 6, dtype, loss)
    y = loss_problem(2, (3, 2), 6, dtype, "mean_squared").t
    how = dict(sample_weight=case.weights, backend=way)
    want = on_numpy(tuple(LOSSES[loss](y, case.t, **how)))
    got = on_numpy(tuple(LOSSES[loss](y[:, ::-1], case.t[:, ::-1], **how)))
    assert_same_bits((got[0], got[1][:, ::-1]), want)
    turned = dict(sample_weight=case.weights[::-1], backend=way)
    got = on_numpy(tuple(LOSSES[loss](y[::-1], case.t[::-1], **turned)))
    assert_same_bits(got[1][::-1], want[1])
    assert float(got[0]) == pytest.approx(float(want[0]), rel=1e-5 if dtype == "float32" else 1e-14)


@of_each_dtype
@of_each_backend
def test_any_order_of_classes_has_the_same_loss_but_for_roundings(backend, dtype):
    case = loss_problem(3, (3, 12), 5, dtype, "cross_entropy")
    y = loss_problem(4, (3, 12), 5, dtype, "mean_squared").t
    order = np.random.default_rng(0).permutation(12)
    want = fcb.cross_entropy_loss(y, case.t, backend=backend)
    got = fcb.cross_entropy_loss(y[:, order], case.t[:, order], backend=backend)
    # Sums of twelve terms, each rounded to half a unit.
    close = dict(rtol=12 * float(np.finfo(dtype).eps), atol=float(np.finfo(dtype).eps))
    np.testing.assert_allclose(got.loss, want.loss, **close)
    np.testing.assert_allclose(got.dy, want.dy[:, order], **close)


# --- names of classes ----------------------------------------------------------------------------

CLASSES = np.array([2, 0, 3, 3, 1, 0, 2])
KINDS = {
    "int64": CLASSES,
    "uint8": CLASSES.astype("u1"),
    "int8": CLASSES.astype("i1"),
    "other byte order": CLASSES.astype(">i4"),
    "unsigned, of 64 bits": CLASSES.astype("u8"),
    "list": CLASSES.tolist(),
    "tuple": tuple(CLASSES.tolist()),
    "strided": np.repeat(CLASSES, 3)[::3],
    "backwards": CLASSES[::-1].copy()[::-1],
}


def all_results(case, t, way, dtype, single=None):
    """What each function that takes targets makes of these."""
    run = dict(loss="cross_entropy", lr=0.1, backend=way)
    trainer = fcb.Trainer(case.params, **run)
    losses = [trainer.step(case.x, t)]
    if single is not None:
        losses.append(trainer.step(case.x[2], single))
    losses.append(trainer.run(case.x, t, max_steps=5, batch_size=2).loss)
    train = dict(params=case.params, max_steps=9, dtype=dtype, **run)
    ends = [
        fcb.train(case.x, t, tol_on="data", record_every=3, **train).params,
        fcb.train(case.x, t, sample_weight=case.weights, **train).params,
        fcb.train_many(case.x, t, seed=[1, 2], rows=[[0, 2], [5, 1, 1]], **train)[1].params,
        fcb.sgd_step(case.params, case.x, t, 0.1, loss="cross_entropy", backend=way).params,
        tuple(fcb.cross_entropy_loss(case.y, t, backend=way)),
        tuple(fcb.cross_entropy_loss(case.y, t, sample_weight=case.weights, backend=way)),
    ]
    return on_numpy((trainer.params, *ends)), losses


@of_each_dtype
@of_each_way
def test_classes_have_the_bits_of_rows_with_a_one(way, dtype):
    case = loss_problem(5, (3, 5, 4), 7, dtype, "cross_entropy")
    case.y = loss_problem(6, (3, 4), 7, dtype, "mean_squared").t
    rows = np.eye(4, dtype=dtype)[CLASSES]
    want = all_results(case, rows, way, dtype, rows[2])
    kinds = list(KINDS)[:2] if way == "array_api_strict" else KINDS
    singles = itertools.cycle((3, np.int64(3), np.array(3, "u1")))
    for kind, single in zip(kinds, singles, strict=False):
        got = all_results(case, KINDS[kind], way, dtype, single)
        assert_same_bits(got[0], want[0], kind)
        assert got[1] == want[1], kind
    single = fcb.cross_entropy_loss(case.y[2], 3, backend=way)
    assert_same_bits(
        on_numpy(tuple(single)),
        on_numpy(tuple(fcb.cross_entropy_loss(case.y[2], rows[2], backend=way))),
    )


@of_each_backend
def test_there_are_as_many_classes_as_are_named_or_said(backend):
    x, t = np.arange(8.0).reshape(4, 2), [0, 1, 1, 0]
    run = dict(loss="cross_entropy", lr=0.1, max_steps=5, backend=backend)
    widths = {None: 2, 2: 2, 5: 5, np.int64(3): 3}
    for classes, width in widths.items():
        result = fcb.train(x, t, classes=classes, hidden=(3,), **run)
        assert result.params[-1][0].shape == (3, width)
        rows = np.eye(width)[t]
        same = fcb.train(x, rows, classes=classes, hidden=(3,), **run)
        assert_same_bits(result.params, same.params)
        (many,) = fcb.train_many(x, t, classes=classes, hidden=(3,), seed=[0], **run)
        assert_same_bits(many.params, result.params)
    params = fcb.init_params((2, 6))
    for classes in (None, 6):
        result = fcb.train(x, t, params=params, classes=classes, **run)
        assert result.params[0][1].shape == (6,)


@pytest.mark.parametrize("loss", ["mean_squared", "huber", "binary_cross_entropy"])
def test_targets_of_one_output_may_be_a_row(loss):
    case = loss_problem(7, (3, 1), 6, "float64", loss)
    t = case.t[:, 0]
    run = dict(loss=loss, lr=0.1, max_steps=7)
    want = fcb.train(case.x, case.t, **run).params
    assert_same_bits(fcb.train(case.x, t, **run).params, want)
    assert_same_bits(fcb.train_many(case.x, t, seed=[0], **run)[0].params, want)
    trainer = fcb.Trainer(fcb.init_params((3, 1)), loss=loss, lr=0.1)
    trainer.run(case.x, t, max_steps=7)
    assert_same_bits(trainer.params, want)


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.jit_off
@of_each_loss
@of_each_dtype
@of_each_way
def test_weights_of_one_change_no_bit_and_of_two_double(way, dtype, loss):
    case = loss_problem(8, (3, 4), 9, dtype, loss)
    y = loss_problem(9, (3, 4), 9, dtype, "mean_squared").t
    plain = on_numpy(tuple(LOSSES[loss](y, case.t, backend=way)))
    for factor in (1, 2, 0.25):
        for kind in (dtype, "float64", "float32"):
            s = np.full(9, factor, kind)
            got = on_numpy(tuple(LOSSES[loss](y, case.t, sample_weight=s, backend=way)))
            # A power of two goes through all sums as a factor.
            assert_same_bits(got, tuple(v * np.dtype(dtype).type(factor) for v in plain))
    ones = LOSSES[loss](y, case.t, sample_weight=[1] * 9, backend=way)
    assert_same_bits(on_numpy(tuple(ones)), plain)


@pytest.mark.jit_off
@of_each_loss
@of_each_dtype
@of_each_way
def test_a_sample_of_weight_zero_has_no_part_in_the_gradient(way, dtype, loss):
    case = loss_problem(8, (3, 5, 4), 9, dtype, loss)
    case.weights[:] = 1
    case.weights[[2, 5, 8]] = 0
    other = loss_problem(10, (3, 5, 4), 9, dtype, loss)
    without = case.weights == 0
    x, t = (
        np.where(without[:, None], mine, theirs)
        for mine, theirs in ((other.x, case.x), (other.t, case.t))
    )
    ends = []
    for inputs, targets in ((case.x, case.t), (x, t)):
        trainer = fcb.Trainer(case.params, loss=loss, lr=0.1, optimizer=ADAM, backend=way)
        losses = [
            trainer.step(inputs, targets, sample_weight=case.weights),
            trainer.run(
                inputs, targets, sample_weight=case.weights, batch_size=3, max_steps=6
            ).loss,
        ]
        ends.append((on_numpy(trainer.params), np.array(losses)))
    assert_same_bits(ends[1], ends[0])
    kept = ~without
    y = loss_problem(11, (3, 4), 9, dtype, "mean_squared").t
    dy = on_numpy(LOSSES[loss](y, case.t, sample_weight=case.weights, backend=way).dy)
    assert not dy[without].any()
    alone = on_numpy(LOSSES[loss](y[kept], case.t[kept], backend=way).dy)
    # Of nine samples, not six: another factor.
    np.testing.assert_allclose(dy[kept] * 9, alone * 6, rtol=1e-5)


@of_each_loss
@of_each_backend
def test_weights_are_as_repeated_samples(backend, loss):
    case = loss_problem(12, (3, 4), 5, "float64", loss)
    y = loss_problem(13, (3, 4), 5, "float64", "mean_squared").t
    times = np.array([1, 3, 0, 2, 2])
    weighted = LOSSES[loss](y, case.t, sample_weight=times, backend=backend)
    repeated = LOSSES[loss](np.repeat(y, times, 0), np.repeat(case.t, times, 0), backend=backend)
    # Eight samples, where five are told of.
    assert weighted.loss * 5 / 8 == pytest.approx(repeated.loss, rel=1e-14)
