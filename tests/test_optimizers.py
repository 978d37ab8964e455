"""Optimizers: the same bits everywhere, in one run or in many, and fields that are checked."""

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.kernels import threads as threading
from tests.cases import BACKENDS, DTYPES, allow_small_kernels, covering, problem, quick_first
from tests.oracle import assert_same_bits

OPTIMIZERS = [
    fcb.Adam(weight_decay=0.1, decay_bias=False),
    fcb.SGD(momentum=0.9, nesterov=True, weight_decay=0.01, decay_bias=False),
    fcb.SGD(momentum=0.9),
    fcb.SGD(weight_decay=0.1),
    fcb.Adam(),
    fcb.Adam(beta1=0.0, beta2=0.5, weight_decay=0.1, decoupled=False),
]
# A small network of single samples, one of batches, and one that is none.
SHAPES = [((3, 5, 2), 1), ((8, 6, 1), 7), ((9, 40, 33, 2), 10)]
STEPS = 30


def trained(case, optimizer, batch_size, name, arithmetic="ordered", **more):
    result = fcb.train(
        case.x,
        case.t,
        params=case.params,
        optimizer=optimizer,
        lr=0.01,
        batch_size=batch_size,
        max_steps=STEPS,
        dtype=case.dtype,
        backend=name,
        arithmetic=arithmetic,
        **more,
    )
    return result.params, result.loss


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_array_libraries_have_the_same_bits(optimizer, arithmetic, dtype):
    case = problem(1, (3, 5, 2), 40, dtype)
    want = trained(case, optimizer, 4, "numpy", arithmetic)
    strict = trained(case, optimizer, 4, "array_api_strict", arithmetic)
    assert fcb.digest(strict[0]) == fcb.digest(want[0])
    assert strict[1] == want[1]


@pytest.mark.parametrize(("optimizer", "arithmetic", "dtype"), covering(OPTIMIZERS, 1))
@pytest.mark.parametrize(("threads", "small"), [(1, False), (2, False), (2, True)])
def test_kernels_have_numpys_bits(small, threads, optimizer, arithmetic, dtype, monkeypatch):
    monkeypatch.setattr(threading, "get_threads", lambda: threads)
    monkeypatch.setattr(threading, "_PRODUCTS_A_THREAD", 1000)
    shapes = allow_small_kernels(monkeypatch, 99 if small else 0)
    for sizes, batch_size in SHAPES[:2] if small else SHAPES:
        case = problem(2, sizes, 40, dtype)
        want, got = (
            trained(case, optimizer, batch_size, name, arithmetic) for name in ("numpy", "numba")
        )
        assert_same_bits(got[0], want[0], str(sizes))
        assert got[1] == want[1]
    assert len(shapes) == 2 * small


@pytest.mark.parametrize(
    ("sizes", "dtype"),
    quick_first(
        [
            ((3, 40, 33, 10), "float64"),
            ((3, 33, 17, 40), "float32"),
            ((3, 12, 9, 20, 5), "float64"),
            ((4, 16, 32, 2), "float32"),
        ],
        2,
    ),
)
def test_weights_that_stand_in_two_ways_stay_the_same(sizes, dtype, monkeypatch):
    shapes = allow_small_kernels(monkeypatch)
    case = problem(10, sizes, 40, dtype)
    how = dict(optimizer=fcb.Adam(), batch_size=1)
    want, got = (trained(case, name=name, **how) for name in ("numpy", "numba"))
    assert_same_bits(got, want)
    assert len(shapes) == 1


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("small", [False, True])
def test_any_activations_go_with_any_optimizer(small, batch_size, monkeypatch):
    shapes = allow_small_kernels(monkeypatch, 99 if small else 0)
    case = problem(9, (3, 4, 5, 2), 40, "float32")
    how = dict(optimizer=OPTIMIZERS[0], activation=("tanh", "leaky_relu"))
    want, got = (
        trained(case, batch_size=batch_size, name=name, **how) for name in ("numpy", "numba")
    )
    assert_same_bits(got, want)
    assert {(shape.activations, shape.rule) for shape in shapes} == (
        {(how["activation"], OPTIMIZERS[0].rule)} if small else set()
    )


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("optimizer", quick_first(OPTIMIZERS, 2))
def test_many_runs_have_the_bits_of_one(optimizer, name):
    case = problem(3, (2, 5, 3), 20, "float64")
    whole, parts, singles = (
        fcb.Trainer(case.params, optimizer=optimizer, lr=0.01, backend=name) for _ in range(3)
    )
    whole.run(case.x, case.t, max_steps=300, sampling="epoch")
    for steps in (1, 1, 98, 100, 100):
        parts.run(case.x, case.t, max_steps=steps, sampling="epoch")
    for (row,) in fcb.sample_indices(20, steps=300, sampling="epoch"):
        singles.step(case.x[row], case.t[row])
    assert whole.steps == parts.steps == singles.steps == 300
    assert_same_bits(parts.params, whole.params)
    assert_same_bits(singles.params, whole.params)


def test_runs_and_single_steps_may_take_turns():
    case = problem(4, (2, 5, 3), 20, "float32")
    optimizer = fcb.Adam(beta2=0.9)
    trainers = [
        fcb.Trainer(case.params, optimizer=optimizer, lr=0.01, backend=name)
        for name in ("numpy", "numba")
    ]
    for trainer in trainers:
        assert trainer.optimizer == optimizer
        for batch_size in (1, 3, 1):
            trainer.step(case.x[0], case.t[0])
            trainer.step(case.x[:4], case.t[:4])
            trainer.run(case.x, case.t, max_steps=7, batch_size=batch_size)
    assert_same_bits(trainers[1].params, trainers[0].params)


@pytest.mark.parametrize("steps", [0, 3, 63, 64, 65, 130])
@pytest.mark.parametrize("optimizer", [fcb.Adam(), fcb.SGD(momentum=0.9)], ids=str)
def test_the_last_finite_parameters_of_single_steps(optimizer, steps):
    """A gradient overflows while its loss is finite: the parameters before it are kept."""
    case = problem(5, (2, 3), 200, "float64")
    case.params[0][0][0], case.x[:, 0] = 0, 0
    ends = []
    for name in ("numpy", "numba"):
        trainer = fcb.Trainer(case.params, optimizer=optimizer, lr=0.01, backend=name)
        for n in range(steps):
            trainer.step(case.x[n], case.t[n])
        kept = fcb.digest(trainer.params)
        trainer.step(np.array([1e200, 0.0]), np.array([0.0, -1e150, 0.0]))
        with pytest.raises(fcb.DivergenceError) as raised:
            trainer.step(case.x[0], case.t[0])
        ends.append((raised.value.step, fcb.digest(raised.value.params)))
        assert ends[-1] == (steps + 2, kept)
    assert ends[0] == ends[1]


def test_a_run_that_diverges_goes_back_to_the_same_step():
    case = problem(6, (3, 4, 2), 50, "float32")
    ends = []
    for name in ("numpy", "numba"):
        with pytest.raises(fcb.DivergenceError) as raised:
            fcb.train(
                case.x,
                case.t,
                params=case.params,
                optimizer=fcb.SGD(momentum=0.99),
                lr=3.0,
                dtype="float32",
                max_steps=2000,
                backend=name,
            )
        ends.append((raised.value.step, fcb.digest(raised.value.params)))
    assert ends[0] == ends[1]


def test_many_networks_have_the_bits_of_each_alone():
    case = problem(7, (3, 2), 30, "float64")
    optimizer = fcb.Adam(weight_decay=0.01)
    run = dict(optimizer=optimizer, hidden=(4,), max_steps=50)
    results = fcb.train_many(case.x, case.t, seed=[0, 1], lr=[0.01, 0.1], **run)
    for seed, lr, result in zip((0, 1), (0.01, 0.1), results, strict=True):
        alone = fcb.train(case.x, case.t, seed=seed, lr=lr, **run)
        assert_same_bits(result.params, alone.params)


def test_what_is_zero_is_left_out():
    case = problem(8, (3, 5, 2), 40, "float32")
    plain = trained(case, fcb.SGD(), 3, "numba")
    assert_same_bits(trained(case, fcb.SGD(0, False, 0, False), 3, "numba"), plain)


@pytest.mark.parametrize("backend", BACKENDS)
def test_adams_first_steps_are_as_long_as_the_rate(backend):
    lr, start = 1e-6, ((np.array([[0.5]]), np.array([0.25])),)
    trainer = fcb.Trainer(start, lr=lr, optimizer=fcb.Adam(), backend=backend)
    for step in range(1, 6):
        trainer.step(np.array([1.0]), np.array([3.0]))
        ((w, b),) = trainer.params
        np.testing.assert_allclose([w[0, 0] - 0.5, b[0] - 0.25], step * lr, rtol=1e-4)


def test_a_late_step_settles():
    """1 - beta**t is 1 for good: any later step has the same constants, at no more cost."""
    late, later = (next(fcb.Adam().constants(0.1, after=10**n)) for n in (6, 15))
    assert late == later
    assert late[0] == 0.1
    assert late[2] == 1.0


# --- fields --------------------------------------------------------------------------------------

BELOW_ONE = "must be a number >= 0 and < 1, got"
DECAY = "must be a finite number >= 0 in float32, got"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fcb.SGD(momentum=1), f"`momentum` {BELOW_ONE} 1"),
        (lambda: fcb.SGD(momentum=-0.1), f"`momentum` {BELOW_ONE} -0.1"),
        (lambda: fcb.SGD(momentum=float("nan")), f"`momentum` {BELOW_ONE} nan"),
        (lambda: fcb.SGD(weight_decay=-1), f"`weight_decay` {DECAY} -1"),
        (lambda: fcb.SGD(weight_decay=1e39), f"`weight_decay` {DECAY} 1e+39"),
        (
            lambda: fcb.SGD(nesterov=True),
            "`momentum` must be > 0 where `nesterov` is True, got 0.0",
        ),
        (lambda: fcb.Adam(beta1=1.0), f"`beta1` {BELOW_ONE} 1.0"),
        (lambda: fcb.Adam(beta2=-1), f"`beta2` {BELOW_ONE} -1"),
        (lambda: fcb.Adam(eps=0), "`eps` must be a finite number > 0, got 0"),
        (lambda: fcb.Adam(weight_decay=float("inf")), f"`weight_decay` {DECAY} inf"),
    ],
)
def test_a_number_is_refused(make, text):
    with pytest.raises(fcb.ArgumentError) as raised:
        make()
    assert str(raised.value) == text


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fcb.SGD(momentum="0.9"), f"`momentum` {BELOW_ONE} '0.9'"),
        (lambda: fcb.SGD(momentum=True), f"`momentum` {BELOW_ONE} True"),
        (lambda: fcb.SGD(nesterov=1), "`nesterov` must be True or False, got 1"),
        (lambda: fcb.Adam(decoupled=None), "`decoupled` must be True or False, got None"),
        (lambda: fcb.Adam(eps=None), "`eps` must be a finite number > 0, got None"),
        (
            lambda: fcb.train([[1.0]], [[1.0]], optimizer="adam", lr=0.1),
            "`optimizer` must be a `SGD` or an `Adam`, got 'adam'",
        ),
        (
            lambda: fcb.train_many([[1.0]], [[1.0]], optimizer=None, lr=[0.1]),
            "`optimizer` must be a `SGD` or an `Adam`, got None",
        ),
        (
            lambda: fcb.Trainer(fcb.init_params((1, 1)), optimizer=fcb.SGD, lr=0.1),
            f"`optimizer` must be a `SGD` or an `Adam`, got {fcb.SGD!r}",
        ),
    ],
)
def test_a_type_is_refused(make, text):
    with pytest.raises(fcb.ArgumentTypeError) as raised:
        make()
    assert str(raised.value) == text


def test_records_are_frozen_equal_and_hashable():
    optimizer = fcb.SGD(np.float32(0.5), weight_decay=1)
    assert optimizer == fcb.SGD(0.5, weight_decay=1.0)
    assert len({optimizer, fcb.SGD(0.5, weight_decay=1.0)}) == 1
    with pytest.raises(AttributeError):
        optimizer.momentum = 0.1
