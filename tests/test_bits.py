"""Outputs, gradients, losses and trained parameters have the oracle's bits on every backend."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from tests.cases import (
    BACKENDS,
    DTYPES,
    LAYOUTS,
    LONG_RUN,
    assert_layer_agrees,
    assert_network_agrees,
    examples,
    laid_out,
    problem,
    product,
    special_values,
)
from tests.oracle import assert_same_bits, fast, sample_indices, slow

pytestmark = pytest.mark.jit_off

# The corners of what is promised (sizes 1 to 40, batches 1 to 70, 1 to 3 layers), and between.
GRID = [
    ((1, 1), 1),
    ((1, 1), 70),
    ((40, 40), 70),
    ((40, 1), 7),
    ((1, 40), 33),
    ((2, 3), 1),
    ((3, 2), 2),
    ((4, 4), 4),
    ((5, 8), 5),
    ((8, 5), 8),
    ((17, 16), 31),
    ((33, 9), 64),
    ((1, 1, 1), 3),
    ((2, 8, 3), 1),
    ((40, 40, 40), 70),
    ((13, 21, 6), 32),
    ((6, 40, 1), 17),
    ((1, 1, 1, 1), 1),
    ((40, 40, 40, 40), 70),
    ((4, 7, 5, 3), 9),
    ((10, 1, 12, 2), 40),
]
SPICES = (0.0, 0.02, 0.3)

shapes = st.tuples(
    st.lists(st.integers(1, 40), min_size=2, max_size=4).map(tuple), st.integers(1, 70)
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spice", SPICES)
def test_a_fixed_grid_has_the_oracles_bits(backend, dtype, spice):
    for seed, (sizes, batch) in enumerate(GRID):
        case = problem(seed, sizes, batch, dtype, spice)
        assert_layer_agrees(product(backend), fast, case)
        for lr in (0.7, 0.01):
            assert_network_agrees(product(backend), fast, case, lr=lr)


@given(
    shape=shapes,
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    spice=st.sampled_from((*SPICES, 0.9)),
    layout=st.sampled_from(sorted(LAYOUTS)),
    lr=st.floats(1e-30, 1e3),
)
@examples(60)
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_network_has_the_oracles_bits(backend, shape, seed, dtype, spice, layout, lr):
    sizes, batch = shape
    case = problem(seed, sizes, batch, dtype, spice)
    assert_layer_agrees(product(backend), fast, case, layout=LAYOUTS[layout])
    assert_network_agrees(product(backend), fast, case, lr=lr, layout=LAYOUTS[layout])


@given(
    shape=st.tuples(
        st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple), st.integers(1, 8)
    ),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    spice=st.sampled_from(SPICES),
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_small_networks_have_the_bits_of_the_scalar_loops(backend, shape, seed, dtype, spice):
    case = problem(seed, *shape, dtype, spice)
    assert_layer_agrees(product(backend), slow, case)
    assert_network_agrees(product(backend), slow, case)


# --- layouts -------------------------------------------------------------------------------------


def everything(backend, params, x, t):
    """All public functions on one problem."""
    w, b = params[0]
    dy = fcb.mean_squared_loss(np.array(t), np.zeros_like(np.array(t)), backend=backend).dy
    out = fcb.fc_forward(x, w, b, backend=backend)
    result = fcb.train(
        x, t, params=params, lr=0.01, batch_size=2, max_steps=20, dtype=w.dtype.name,
        record_every=1, backend=backend,
    )  # fmt: skip
    return (
        out,
        fcb.fc_backward(np.ones_like(out), x, w, backend=backend),
        dy,
        fcb.mean_squared_loss(t, t, backend=backend),
        fcb.relu(x),
        fcb.relu_backward(x, x),
        fcb.predict(params, x, backend=backend),
        fcb.sgd_step(params, x, t, 0.1, backend=backend),
        result.params,
        np.asarray(result.history.losses),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_the_memory_layout_changes_no_bit_and_no_argument_changes(backend, dtype, name):
    layout = LAYOUTS[name]
    case = problem(8, (5, 7, 3), 11, dtype)
    case.x[0, 0], case.t[0, 0] = -0.0, np.finfo(dtype).smallest_subnormal
    want = everything(backend, case.params, case.x, case.t)
    params, x, t = laid_out(case.params, layout), layout(case.x), layout(case.t)
    arrays = [x, t, *(a for pair in params for a in pair)]
    before = [(a.tobytes(), a.dtype, a.shape, a.strides, a.flags.writeable) for a in arrays]
    got = everything(backend, params, x, t)
    assert_same_bits(got, want)
    after = [(a.tobytes(), a.dtype, a.shape, a.strides, a.flags.writeable) for a in arrays]
    assert after == before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_single_samples_in_any_layout_step_alike(backend, dtype, name):
    case = problem(9, (4, 6, 2), 30, dtype)
    x, t = LAYOUTS[name](case.x), LAYOUTS[name](case.t)
    trainer = fcb.Trainer(laid_out(case.params, LAYOUTS[name]), lr=0.02, backend=backend)
    losses = [trainer.step(x[i], t[i]) for i in range(30)]
    params, want = fast.train(case.params, case.x, case.t, np.arange(30)[:, None], 0.02)
    assert_same_bits(trainer.params, params)
    assert_same_bits(np.array(losses, dtype), want)


@pytest.mark.parametrize("backend", BACKENDS)
def test_overlapping_and_broadcast_inputs(backend):
    row = np.arange(8.0)
    windows = np.lib.stride_tricks.sliding_window_view(row, 3)
    same = np.broadcast_to(np.array([0.1, -0.0, 3.0]), (6, 3))
    w, b = np.linspace(-1, 1, 6).reshape(3, 2), np.array([0.3, -0.0])
    for x in (windows, same):
        assert_same_bits(fcb.fc_forward(x, w, b, backend=backend), fast.forward(x, w, b))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_array_may_stand_for_two_arguments(backend, dtype):
    a = problem(4, (5, 5), 5, dtype).x
    b = a[0]
    params = ((a, b), (a, b))
    assert_same_bits(fcb.fc_forward(a, a, b, backend=backend), fast.forward(a, a, b))
    assert_same_bits(fcb.fc_backward(a, a, a, backend=backend), fast.backward(a, a, a))
    got = fcb.sgd_step(params, a, a, 0.3, backend=backend)
    assert_same_bits(got, fast.sgd_step(params, a, a, 0.3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_are_arrays_of_their_own(backend):
    case = problem(2, (3, 4, 2), 5, "float64")
    grads = fcb.fc_backward(case.x[:, :2], case.x, np.ones((3, 2)), backend=backend)
    stepped = fcb.sgd_step(case.params, case.x, case.t, 0.1, backend=backend).params
    given = [case.x, case.t, *(a for pair in case.params for a in pair)]
    made = [*grads, *(a for pair in stepped for a in pair)]
    for i, a in enumerate(made):
        assert a.flags.writeable
        assert not any(np.shares_memory(a, g) for g in given)
        assert not any(np.shares_memory(a, other) for other in made[i + 1 :])


# --- one sample, integers, special values --------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_sample_is_a_batch_of_one_without_its_axis(backend, dtype):
    case = problem(6, (5, 4, 3), 1, dtype)
    x, t, (w, b) = case.x[0], case.t[0], case.params[0]
    y = fast.forward(case.x, w, b)
    assert_same_bits(fcb.fc_forward(x, w, b, backend=backend), y[0])
    dw, db, dx = fast.backward(y, case.x, w)
    assert_same_bits(fcb.fc_backward(y[0], x, w, backend=backend), (dw, db, dx[0]))
    out = fast.predict(case.params, case.x)
    assert_same_bits(fcb.predict(case.params, x, backend=backend), out[0])
    loss, dy = fast.loss(out, case.t)
    assert_same_bits(fcb.mean_squared_loss(out[0], t, backend=backend), (loss, dy[0]))
    step = fast.sgd_step(case.params, case.x, case.t, 0.1)
    assert_same_bits(fcb.sgd_step(case.params, x, t, 0.1, backend=backend), step)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("integer", ["int8", "uint8", "int16", "int64", "uint64"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_integer_inputs_are_cast_once_to_the_dtype(backend, integer, dtype):
    rng = np.random.default_rng(1)
    top = min(np.iinfo(integer).max, 2**60)
    x = rng.integers(0, top, (9, 3)).astype(integer)  # not all are exact in float32
    t = rng.integers(0, 100, (9, 2)).astype(integer)
    case = problem(0, (3, 2), 1, dtype)
    w, b = case.params[0]
    xf, tf = x.astype(dtype), t.astype(dtype)
    assert_same_bits(fcb.fc_forward(x, w, b, backend=backend), fast.forward(xf, w, b))
    got = fcb.sgd_step(case.params, x, t, 1e-9, backend=backend)
    assert_same_bits(got, fast.sgd_step(case.params, xf, tf, 1e-9))
    lr = 1e-3 / float(xf.max()) ** 2
    run = dict(lr=lr, params=case.params, batch_size=3, max_steps=50, dtype=dtype)
    rows = sample_indices(9, 50, 3, "replacement", 0)
    want, _ = fast.train(case.params, xf, tf, rows, lr)
    assert_same_bits(fcb.train(x, t, backend=backend, **run).params, want)
    before = fcb.digest(want)
    assert fcb.digest(fcb.train(xf, tf, backend=backend, **run).params) == before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pair_of_special_values(backend, dtype):
    v = special_values(dtype)
    ones, zeros = np.ones(len(v), dtype), np.full(len(v), -0.0, dtype)
    x, w = v[:, None], v[None, :]
    ops = product(backend)
    assert_same_bits(ops.forward(x, w, zeros), fast.forward(x, w, zeros), "products")
    two = np.stack([v, v[::-1]], axis=1)
    w_two = np.stack([ones, v])
    assert_same_bits(ops.forward(two, w_two, v), fast.forward(two, w_two, v), "sums")
    y, t = np.repeat(v[:, None], len(v), 1), np.repeat(v[None, :], len(v), 0)
    assert_same_bits(ops.loss(y, t)[1], fast.loss(y, t)[1], "dy")
    for one, other in zip(y.reshape(-1, 1, 1), t.reshape(-1, 1, 1), strict=True):
        assert_same_bits(ops.loss(one, other), fast.loss(one, other), "loss")
    assert_same_bits(ops.relu(v), fast.relu(v), "relu")
    assert_same_bits(ops.relu_backward(y, t), fast.relu_backward(y, t), "relu_backward")
    assert_same_bits(ops.backward(y, two, w_two), fast.backward(y, two, w_two), "gradients")


# --- training ------------------------------------------------------------------------------------

RUNS = [
    ((2, 3), 1, 500, "replacement"),
    ((1, 1), 1, 9, "epoch"),
    ((33, 7), 1, 40, "epoch"),
    ((5, 8), 1, 40, "replacement"),
    ((40, 40), 1, 50, "replacement"),
    ((1, 1), 7, 20, "epoch"),
    ((40, 5), 70, 90, "replacement"),
    ((7, 40), 13, 40, "epoch"),
    ((3, 9, 2), 1, 60, "epoch"),
    ((40, 12, 4), 5, 33, "replacement"),
    ((4, 6, 5, 2), 8, 50, "replacement"),
    ((12, 40, 3, 1), 32, 70, "epoch"),
]


@pytest.mark.parametrize("steps", [LONG_RUN, pytest.param(4 * LONG_RUN, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "batch", "samples", "sampling"), RUNS)
def test_a_long_run_has_the_oracles_bits(sizes, batch, samples, sampling, dtype, steps):
    case = problem(batch, sizes, samples, dtype)
    rows = sample_indices(samples, steps, batch, sampling, seed=3)
    params, losses = fast.train(case.params, case.x, case.t, rows, 0.01)
    assert np.isfinite(losses).all()
    for backend in BACKENDS:
        result = fcb.train(
            case.x, case.t, params=case.params, lr=0.01, batch_size=batch, max_steps=steps,
            sampling=sampling, seed=3, dtype=dtype, backend=backend, record_every=1,
        )  # fmt: skip
        assert result.steps == steps
        assert_same_bits(result.params, params, backend)
        assert_same_bits(np.asarray(result.history.losses, dtype), losses, backend)
        assert_same_bits(np.asarray(result.loss, dtype), losses[-1], backend)
        assert fcb.digest(result.params) == fcb.digest(params)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_long_chain_of_single_steps_has_the_oracles_bits(backend, dtype):
    case = problem(5, (6, 10, 2), 50, dtype)
    rows = np.arange(LONG_RUN)[:, None] % 50
    want, losses = fast.train(case.params, case.x, case.t, rows, 0.01)
    params, got = case.params, []
    for (i,) in rows:
        params, loss = fcb.sgd_step(params, case.x[i], case.t[i], 0.01, backend=backend)
        got.append(loss)
    assert_same_bits(params, want)
    assert_same_bits(np.array(got), losses)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_among_subnormals_and_signed_zeros(backend, dtype):
    case = problem(7, (3, 4, 2), 20, dtype)
    small = np.asarray(np.sqrt(np.finfo(dtype).smallest_normal), dtype)
    x, t = (case.x * small).astype(dtype), (case.t * small).astype(dtype)
    x[::3], t[::4] = -0.0, 0.0
    params = tuple((w, (b * small).astype(dtype)) for w, b in case.params)
    rows = sample_indices(20, 200, 3, "replacement", 0)
    want, losses = fast.train(params, x, t, rows, 0.5)
    # Every loss is subnormal or zero, and they are not all the same.
    assert losses.max() < np.finfo(dtype).smallest_normal * 100
    assert len(np.unique(losses)) > 10
    result = fcb.train(
        x, t, params=params, lr=0.5, batch_size=3, max_steps=200, dtype=dtype, backend=backend,
        record_every=1,
    )  # fmt: skip
    assert_same_bits(result.params, want)
    assert_same_bits(np.asarray(result.history.losses, dtype), losses)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_learning_rate_is_rounded_once_to_float32(backend):
    case = problem(1, (4, 3), 6, "float32")
    for lr in (0.1, 0.01, 1 / 3, np.float32(0.1), np.float64(0.1), 3e-39, 3e38):
        got = fcb.sgd_step(case.params, case.x, case.t, lr, backend=backend)
        assert_same_bits(got, fast.sgd_step(case.params, case.x, case.t, lr))


def test_steps_of_many_shapes_in_threads_have_the_bits_of_one_after_another():
    cases = [
        problem(30 + i, (3, 2 + i, 2), 1 + i % 3, dtype) for i in range(12) for dtype in DTYPES
    ]

    def steps():
        made = [fcb.sgd_step(c.params, c.x, c.t, 0.01 * (1 + i)) for i, c in enumerate(cases)]
        return [(result.params, result.loss) for result in made]

    want = [fast.sgd_step(c.params, c.x, c.t, 0.01 * (1 + i)) for i, c in enumerate(cases)]
    with ThreadPoolExecutor(4) as pool:
        rounds = [pool.submit(steps) for _ in range(20)]
    for made in rounds:
        for (params, loss), (want_params, want_loss) in zip(made.result(), want, strict=True):
            assert_same_bits(params, want_params)
            assert loss == want_loss
