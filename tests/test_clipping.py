"""Gradients whose norm is bounded: the same bits everywhere, in one run or in many."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.conformance.results import expectations, results
from fcbackends.kernels import threads as threading
from fcbackends.maths import network
from fcbackends.maths.arithmetic import ordered
from tests import oracle
from tests.broken import backend_of
from tests.cases import DTYPES, allow_small_kernels, covering, examples, numbers, problem
from tests.oracle import assert_same_bits, fast

OPTIMIZERS = [
    fcb.SGD(),
    fcb.Adam(weight_decay=0.1, decay_bias=False),
    fcb.SGD(momentum=0.9, nesterov=True, weight_decay=0.01, decay_bias=False),
    fcb.SGD(momentum=0.9),
    fcb.Adam(weight_decay=0.1, decoupled=False),
]
# Two small networks, one of them of single samples; one that is none, and one with wide layers.
SHAPES = [((3, 5, 2), 1), ((8, 6, 1), 7), ((9, 40, 33, 2), 10), ((5, 200, 140, 1), 3)]
STEPS = 30
CLIP = 0.7


def trained(case, batch_size, name, arithmetic="ordered", *, clip_norm=CLIP, **more):
    result = fcb.train(
        case.x,
        case.t,
        params=case.params,
        batch_size=batch_size,
        dtype=case.dtype,
        backend=name,
        arithmetic=arithmetic,
        clip_norm=clip_norm,
        **{"lr": 0.02, "max_steps": STEPS, **more},
    )
    return result.params, result.loss


def norm_of(case):
    """The norm of the whole data's gradient, about."""
    stepped, _ = fcb.sgd_step(case.params, case.x, case.t, 1.0)
    pairs = zip(itertools.chain(*case.params), itertools.chain(*stepped), strict=True)
    return float(np.sqrt(sum(np.sum((old - new) ** 2) for old, new in pairs)))


# --- the norm ------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(0, 9), min_size=2, max_size=4),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32),
    spice=st.sampled_from([0.0, 0.05, 0.3]),
    scale=st.sampled_from([1.0, 1e-20, 1e-160, 1e15]),
    most=st.sampled_from([1e-30, 0.1, 2.0, 1e18]),
)
@examples(200)
def test_gradients_are_clipped_in_the_contracts_order(sizes, dtype, seed, spice, scale, most):
    rng = np.random.default_rng(seed)
    gradients = tuple(
        (numbers(rng, (k, m), dtype, spice, scale), numbers(rng, (m,), dtype, spice, scale))
        for k, m in itertools.pairwise(sizes)
    )
    limit = oracle.constant(most, dtype)
    with np.errstate(all="ignore"):
        got = network.clipped(ordered(np), gradients, limit)
    assert_same_bits(got, oracle.clipped(gradients, most))


def test_a_gradient_of_norm_five_becomes_one_of_norm_one():
    # The loss's gradient at zero is -2t.
    run = dict(params=[([[0.0, 0.0]], [0.0, 0.0])], lr=1.0, max_steps=1)
    x, t = np.array([[0.0]]), np.array([[1.5, 2.0]])
    for name in ("numpy", "numba"):
        for clip_norm, want in ((None, [3.0, 4.0]), (5.0, [3.0, 4.0]), (1.0, [0.6, 0.8])):
            result = fcb.train(x, t, backend=name, clip_norm=clip_norm, **run)
            np.testing.assert_allclose(result.params[0][1], want, rtol=1e-15)


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_bound_that_is_not_reached_changes_no_bit(name):
    case = problem(1, (3, 5, 2), 40, "float64")
    free = trained(case, 4, name, clip_norm=None)
    assert_same_bits(trained(case, 4, name, clip_norm=1e9), free)
    assert fcb.digest(trained(case, 4, name)[0]) != fcb.digest(free[0])


def test_a_step_goes_no_further_than_the_bound():
    case = problem(2, (4, 30, 3), 50, "float64")
    assert norm_of(case) > 3 * CLIP
    params, _ = trained(case, 50, "numba", lr=1.0, max_steps=1, sampling="epoch")
    moved = sum(
        np.sum((new - old) ** 2)
        for pairs in zip(params, case.params, strict=True)
        for new, old in zip(*pairs, strict=True)
    )
    np.testing.assert_allclose(np.sqrt(moved), CLIP, rtol=1e-12)


# --- the same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:2], ids=str)
def test_array_libraries_have_the_same_bits(optimizer, arithmetic, dtype):
    case = problem(3, (3, 5, 2), 40, dtype)
    want = trained(case, 4, "numpy", arithmetic, optimizer=optimizer)
    strict = trained(case, 4, "array_api_strict", arithmetic, optimizer=optimizer)
    assert fcb.digest(strict[0]) == fcb.digest(want[0])
    assert strict[1] == want[1]


@pytest.mark.parametrize(("optimizer", "arithmetic", "dtype"), covering(OPTIMIZERS, 1))
@pytest.mark.parametrize(("threads", "small"), [(1, False), (2, False), (3, False), (2, True)])
def test_kernels_have_numpys_bits(small, threads, optimizer, arithmetic, dtype, monkeypatch):
    monkeypatch.setattr(threading, "get_threads", lambda: threads)
    monkeypatch.setattr(threading, "_PRODUCTS_A_THREAD", 1000)
    shapes = allow_small_kernels(monkeypatch, 99 if small else 0)
    for sizes, batch_size in SHAPES[:2] if small else SHAPES:
        case = problem(4, sizes, 40, dtype)
        want, got = (
            trained(case, batch_size, name, arithmetic, optimizer=optimizer)
            for name in ("numpy", "numba")
        )
        assert_same_bits(got, want, str(sizes))
    # All of the gradient is known before any weight moves: a batch of one goes as any batch does.
    assert [shape.one_sample for shape in shapes] == ([False, False] if small else [])


def test_oracles_steps_are_the_same():
    case = problem(5, (3, 4, 2), 30, "float32")
    schedule = fcb.CosineRate(0.05, STEPS, warmup=4)
    for optimizer in OPTIMIZERS[:2]:
        want, got = (
            trained(case, 3, backend, None, optimizer=optimizer, lr=schedule)
            for backend in (backend_of(fast), "numba")
        )
        assert_same_bits(got, want)


@pytest.mark.parametrize("small", [False, True])
def test_special_values(small, monkeypatch):
    allow_small_kernels(monkeypatch, 99 if small else 0)
    for seed, dtype, scale in itertools.product(range(4), DTYPES, (1.0, 1e-20, 1e15)):
        case = problem(seed, (3, 5, 2), 40, dtype, spice=0.05)
        case.params = problem(seed, (3, 5, 2), 40, dtype).params
        case.x = case.x * case.x.dtype.type(scale)
        ends = []
        for name in ("numpy", "numba"):
            trainer = fcb.Trainer(case.params, lr=0.01, clip_norm=CLIP, backend=name)
            try:
                trainer.run(case.x, case.t, max_steps=20, batch_size=2)
                ends.append((trainer.steps, fcb.digest(trainer.params)))
            except fcb.DivergenceError as error:
                ends.append((error.step, trainer.steps, fcb.digest(error.params)))
        assert ends[0] == ends[1]


# --- negative controls ---------------------------------------------------------------------------


def in_another_order(gradients, most):
    """The squares of each layer are summed row after row."""
    norm = np.sqrt(
        sum(np.add.accumulate((g * g).reshape(-1))[-1] for g in itertools.chain(*gradients))
    )
    scale = most / norm if norm > most else 1
    return tuple((dw * dw.dtype.type(scale), db * db.dtype.type(scale)) for dw, db in gradients)


def dividing(gradients, most):
    """Each by itself: g * most / norm."""
    scaled = oracle.clipped(gradients, most)
    if scaled[0][0] is gradients[0][0]:
        return scaled
    squares = sum(float(np.sum(g.astype(float) ** 2)) for g in itertools.chain(*gradients))
    factor = gradients[0][0].dtype.type(min(1.0, float(most) / np.sqrt(squares)))
    return tuple((dw * factor, db * factor) for dw, db in gradients)


def layer_by_layer(gradients, most):
    return tuple(pair for one in gradients for pair in oracle.clipped((one,), most))


@pytest.mark.parametrize("wrong", [in_another_order, dividing, layer_by_layer])
def test_another_norm_shows(wrong):
    case = problem(6, (4, 7, 3), 40, "float32")
    right, other = (
        trained(case, 3, backend, None)
        for backend in (backend_of(fast), backend_of(fast, clipped=wrong))
    )
    assert fcb.digest(right[0]) != fcb.digest(other[0])
    assert_same_bits(trained(case, 3, "numba")[0], right[0])


def test_the_kit_catches_another_norm():
    from fcbackends.agreement import digest
    from fcbackends.conformance.cases import CASES_A_FORM, make_case

    wrong, caught = backend_of(fast, clipped=layer_by_layer), []
    for index in range(0, 1200 * CASES_A_FORM, CASES_A_FORM):
        case = make_case(0, index)
        clips = case.method.clip_norm is not None and case.method.clip_norm < 1
        if clips and len(case.params) > 1 and case.numbers == "ordinary":
            with np.errstate(all="ignore"):
                got, want = results(wrong, case), expectations("ordered", case)
            caught.append(digest(list(got["params"])) != digest(list(want["params"])))
    assert len(caught) >= 5
    assert sum(caught) >= 0.8 * len(caught)


# --- what overflows ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_squares_that_overflow_move_nothing(name):
    """As the formula has it: all finite gradients times most * (1 / inf)."""
    params = (([[0.0]], [0.0]),)
    x, t = np.array([[1e100]]), np.array([[1e100]])
    result = fcb.train(x, t, params=params, lr=1.0, clip_norm=1.0, max_steps=3, backend=name)
    assert_same_bits(result.params, ((np.array([[0.0]]), np.array([0.0])),))
    momentum = fcb.SGD(momentum=0.5)
    trainer = fcb.Trainer(
        [([[0.0]], [0.0])], optimizer=momentum, lr=1.0, clip_norm=1.0, backend=name
    )
    trainer.step(np.array([0.0]), np.array([1.0]))
    trainer.step(x, t)
    assert_same_bits(trainer.params, ((np.array([[0.0]]), np.array([1.5])),))


@pytest.mark.parametrize("steps", [0, 3, 64, 65])
def test_a_gradient_that_is_not_finite_ends_a_training(steps):
    case = problem(7, (2, 3), 200, "float64")
    case.params[0][0][0], case.x[:, 0] = 0, 0
    ends = []
    for name in ("numpy", "numba"):
        trainer = fcb.Trainer(case.params, lr=0.01, clip_norm=0.1, backend=name)
        for n in range(steps):
            trainer.step(case.x[n], case.t[n])
        kept = fcb.digest(trainer.params)
        trainer.step(np.array([1e200, 0.0]), np.array([0.0, -1e150, 0.0]))
        with pytest.raises(fcb.DivergenceError) as raised:
            trainer.step(case.x[0], case.t[0])
        ends.append((raised.value.step, fcb.digest(raised.value.params)))
        assert ends[-1] == (steps + 2, kept)
    assert ends[0] == ends[1]


# --- in pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:2], ids=str)
def test_many_runs_have_the_bits_of_one(optimizer, name):
    case = problem(8, (2, 5, 3), 20, "float64")
    whole, parts, singles = (
        fcb.Trainer(case.params, optimizer=optimizer, lr=0.02, clip_norm=CLIP, backend=name)
        for _ in range(3)
    )
    assert whole.clip_norm == CLIP
    whole.run(case.x, case.t, max_steps=100, sampling="epoch")
    for steps in (1, 1, 28, 70):
        parts.run(case.x, case.t, max_steps=steps, sampling="epoch")
    for (row,) in fcb.sample_indices(20, steps=100, sampling="epoch"):
        singles.step(case.x[row], case.t[row])
    assert_same_bits(parts.params, whole.params)
    assert_same_bits(singles.params, whole.params)


def test_runs_and_single_steps_may_take_turns(monkeypatch):
    allow_small_kernels(monkeypatch)
    case = problem(9, (2, 5, 3), 20, "float32")
    trainers = [
        fcb.Trainer(case.params, lr=fcb.ExponentialRate(0.1, 0.99), clip_norm=0.3, backend=name)
        for name in ("numpy", "numba")
    ]
    for trainer in trainers:
        for batch_size in (1, 3, 1):
            trainer.step(case.x[0], case.t[0])
            trainer.step(case.x, case.t)
            trainer.run(case.x, case.t, max_steps=7, batch_size=batch_size)
    assert_same_bits(trainers[1].params, trainers[0].params)


def test_many_networks_have_the_bits_of_each_alone():
    case = problem(10, (3, 2), 30, "float64")
    run = dict(hidden=(4,), max_steps=50, clip_norm=0.5)
    results = fcb.train_many(case.x, case.t, seed=[0, 1], lr=[0.01, 0.1], **run)
    for seed, lr, result in zip((0, 1), (0.01, 0.1), results, strict=True):
        alone = fcb.train(case.x, case.t, seed=seed, lr=lr, **run)
        assert_same_bits(result.params, alone.params)


# --- what is refused -----------------------------------------------------------------------------

BOUND = "`clip_norm` must be None or a finite number > 0 in"


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (0, "float64", f"{BOUND} float64, got 0"),
        (-1.0, "float64", f"{BOUND} float64, got -1.0"),
        (float("nan"), "float64", f"{BOUND} float64, got nan"),
        (1e39, "float32", f"{BOUND} float32, got 1e+39"),
        ("1", "float64", f"{BOUND} float64, got '1'"),
    ],
)
def test_a_bound_is_refused(value, dtype, text):
    params = fcb.init_params((1, 1), dtype=dtype)
    error = fcb.ArgumentTypeError if isinstance(value, str) else fcb.ArgumentError
    for call in (
        lambda: fcb.train([[1.0]], [[1.0]], lr=0.1, clip_norm=value, dtype=dtype),
        lambda: fcb.train_many([[1.0]], [[1.0]], lr=[0.1], clip_norm=value, dtype=dtype),
        lambda: fcb.Trainer(params, lr=0.1, clip_norm=value),
    ):
        with pytest.raises(error) as raised:
            call()
        assert str(raised.value) == text


@pytest.mark.jit_off
@pytest.mark.parametrize(("norm", "dtype"), [(np.inf, "float64"), (3.5e38, "float32")])
def test_a_norm_that_is_not_finite_in_the_networks_dtype_is_refused(norm, dtype):
    params = fcb.init_params((1, 1), dtype=dtype)
    with pytest.raises(fcb.ArgumentError, match=r"^`clip_norm` must be "):
        fcb.Trainer(params, lr=0.1, clip_norm=norm)
