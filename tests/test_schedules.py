"""Schedules: each step's rate by its number, and the same bits everywhere."""

import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.backends import fused_loop
from fcbackends.backends.loop import Plan
from fcbackends.kernels import threads as threading
from fcbackends.maths.network import Method
from fcbackends.maths.optimizers import constants_by_step
from fcbackends.maths.schedules import rates
from tests.cases import (
    DTYPES,
    LONG_RUN,
    allow_small_kernels,
    covering,
    examples,
    problem,
    quick_first,
)
from tests.oracle import assert_same_bits
from tests.schedule_oracle import rate

LAST = 2**63 - 1
SCHEDULES = [
    fcb.CosineRate(0.05, steps=30, end=0.001, warmup=4),
    fcb.StepRate(0.05, every=7, factor=0.3, warmup=3),
    fcb.ExponentialRate(0.05, factor=0.9),
    fcb.ConstantRate(0.05, warmup=20),
]
OPTIMIZERS = [
    fcb.Adam(weight_decay=0.1, decay_bias=False),
    fcb.SGD(),
    fcb.SGD(momentum=0.9, weight_decay=0.01),
    fcb.Adam(weight_decay=0.1, decoupled=False),
]
SHAPES = [((3, 5, 2), 1), ((8, 6, 1), 7), ((9, 40, 33, 2), 10)]
STEPS = 40


# --- rates ---------------------------------------------------------------------------------------

whole = st.one_of(st.integers(1, 40), st.integers(1, LAST))
first_rates = st.floats(1e-300, 1e300)
factors = st.floats(2.0**-1000, 1)
warmups = st.one_of(st.integers(0, 40), st.integers(0, LAST))
cosines = st.tuples(first_rates, whole, st.floats(0, 1e300), warmups).filter(lambda f: f[1] > f[3])
schedules = st.one_of(
    st.builds(fcb.ConstantRate, first_rates, warmups),
    st.builds(fcb.StepRate, first_rates, whole, factors, warmups),
    st.builds(fcb.ExponentialRate, first_rates, factors, warmups),
    cosines.map(lambda fields: fcb.CosineRate(*fields)),
)


@given(schedules, st.one_of(st.integers(0, 50), st.integers(0, LAST - 10)), st.integers(1, 10))
@examples(200)
def test_rates_are_the_contracts(schedule, after, count):
    got = rates(schedule, after, count)
    assert got.dtype == np.float64
    assert got.tolist() == [rate(schedule, after + 1 + i) for i in range(count)]


@given(schedules, st.integers(0, 600))
def test_constants_come_in_any_order_of_steps(schedule, late):
    constants_of = constants_by_step(fcb.SGD(), schedule)
    for step in (1, 2, late + 1, late + 2, 300, 2):
        assert constants_of(step)[0] == rate(schedule, step)


@given(st.integers(1, 10**6), st.floats(0, 1))
@examples(200)
def test_a_cosine_is_one_to_eight_roundings(steps, share):
    n = min(int(share * steps), steps - 1)
    (got,) = rates(fcb.CosineRate(1.0, steps), n, 1)
    with mpmath.workprec(120):
        want = (1 + mpmath.cos(mpmath.pi * n / steps)) / 2
        assert abs(mpmath.mpf(got) - want) <= 8 * want * mpmath.mpf(2) ** -53


@given(st.floats(0.5, 1), st.integers(0, 1000))
def test_a_power_is_one_to_two_roundings_a_factor(factor, n):
    (got,) = rates(fcb.ExponentialRate(1.0, factor), n, 1)
    with mpmath.workprec(120):
        want = mpmath.mpf(factor) ** n
        assert abs(got - want) <= 2 * (n + 1) * want * mpmath.mpf(2) ** -53


def test_a_cosine_falls_from_its_first_rate_to_its_end():
    for steps, end in itertools.product((1, 2, 3, 10, 999), (0.0, 0.01)):
        found = rates(fcb.CosineRate(0.1, steps, end), 0, steps + 3)
        assert (found[0], set(found[steps:])) == (0.1, {end})
        assert (np.diff(found) <= 0).all()


def test_a_warm_up_rises_in_equal_parts():
    for schedule in SCHEDULES:
        found = rates(schedule, 0, schedule.warmup + 1)
        parts = np.arange(1, schedule.warmup + 1)
        np.testing.assert_array_equal(found[:-1], 0.05 * (parts / max(schedule.warmup, 1)))
        assert found[-1] == 0.05


# --- trainings -----------------------------------------------------------------------------------


def trained(case, lr, optimizer, batch_size, name, arithmetic="ordered", **more):
    result = fcb.train(
        case.x,
        case.t,
        params=case.params,
        optimizer=optimizer,
        lr=lr,
        batch_size=batch_size,
        dtype=case.dtype,
        backend=name,
        arithmetic=arithmetic,
        **{"max_steps": STEPS, **more},
    )
    return result.params, result.loss, result.history.losses


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_array_libraries_have_the_same_bits(schedule, arithmetic, dtype):
    case = problem(1, (3, 5, 2), 40, dtype)
    want = trained(case, schedule, fcb.Adam(), 4, "numpy", arithmetic)
    strict = trained(case, schedule, fcb.Adam(), 4, "array_api_strict", arithmetic)
    assert fcb.digest(strict[0]) == fcb.digest(want[0])
    assert strict[1] == want[1]


@pytest.mark.parametrize(("optimizer", "arithmetic", "dtype"), covering(OPTIMIZERS, 1))
@pytest.mark.parametrize(("threads", "small"), [(1, False), (2, False), (2, True)])
def test_kernels_have_numpys_bits(small, threads, optimizer, arithmetic, dtype, monkeypatch):
    monkeypatch.setattr(threading, "get_threads", lambda: threads)
    monkeypatch.setattr(threading, "_PRODUCTS_A_THREAD", 1000)
    shapes = allow_small_kernels(monkeypatch, 99 if small else 0)
    for (sizes, batch_size), schedule in zip(
        SHAPES[:2] if small else SHAPES, SCHEDULES, strict=False
    ):
        case = problem(2, sizes, 40, dtype)
        want, got = (
            trained(case, schedule, optimizer, batch_size, name, arithmetic)
            for name in ("numpy", "numba")
        )
        assert_same_bits(got[0], want[0], str(sizes))
        assert got[1] == want[1]
    assert {shape.rule.scheduled for shape in shapes} == ({True} if small else set())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_kernels_follow_every_schedule(schedule, monkeypatch):
    allow_small_kernels(monkeypatch)
    case = problem(3, (3, 5, 2), 40, "float64")
    run = dict(optimizer=fcb.SGD(), batch_size=1)
    want, got = (trained(case, schedule, name=name, **run) for name in ("numpy", "numba"))
    assert_same_bits(got, want)


def test_the_rates_of_a_schedule_are_those_of_steps_with_each_alone():
    case = problem(4, (3, 5, 2), 40, "float32")
    indices = fcb.sample_indices(40, steps=STEPS, batch_size=3)
    for schedule in SCHEDULES:
        params = case.params
        for step, rows in enumerate(indices, 1):
            lr = rate(schedule, step)
            params, _ = fcb.sgd_step(params, case.x[rows], case.t[rows], lr or 1e-30)
        assert_same_bits(trained(case, schedule, fcb.SGD(), 3, "numba")[0], params)


def test_a_rate_one_step_late_shows():
    """A negative control: that all agree would say little if rates made no difference."""
    case = problem(4, (3, 5, 2), 40, "float32")
    ends = [
        fcb.digest(trained(case, schedule, fcb.SGD(), 3, "numba")[0])
        for schedule in (
            0.05,
            fcb.CosineRate(0.05, steps=STEPS),
            fcb.CosineRate(0.05, steps=STEPS + 1),
            fcb.CosineRate(0.05, steps=STEPS, warmup=1),
            fcb.StepRate(0.05, every=STEPS - 1),
            fcb.ExponentialRate(0.05, factor=0.999),
            fcb.ConstantRate(0.05, warmup=2),
        )
    ]
    assert len(set(ends)) == len(ends)
    same = fcb.StepRate(0.05, every=STEPS), fcb.ConstantRate(0.05, warmup=1)
    for schedule in same:
        assert fcb.digest(trained(case, schedule, fcb.SGD(), 3, "numba")[0]) == ends[0]


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("schedule", quick_first(SCHEDULES, 2))
@pytest.mark.parametrize("optimizer", [fcb.SGD(), fcb.Adam(weight_decay=0.1)], ids=str)
def test_many_runs_have_the_bits_of_one(optimizer, schedule, name):
    case = problem(5, (2, 5, 3), 20, "float64")
    whole, parts, singles = (
        fcb.Trainer(case.params, optimizer=optimizer, lr=schedule, backend=name) for _ in range(3)
    )
    assert whole.lr == schedule
    whole.run(case.x, case.t, max_steps=80, sampling="epoch")
    for steps in (1, 1, 18, 25, 35):
        parts.run(case.x, case.t, max_steps=steps, sampling="epoch")
    for (row,) in fcb.sample_indices(20, steps=80, sampling="epoch"):
        singles.step(case.x[row], case.t[row])
    assert whole.steps == parts.steps == singles.steps == 80
    assert_same_bits(parts.params, whole.params)
    assert_same_bits(singles.params, whole.params)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_a_run_longer_than_a_table_of_rates(tol_on, small, monkeypatch):
    allow_small_kernels(monkeypatch, 99 if small else 0)
    case = problem(6, (3, 5, 2), 40, "float64")
    schedule = fcb.CosineRate(0.02, steps=LONG_RUN, warmup=10)
    run = dict(optimizer=fcb.SGD(), batch_size=2, max_steps=LONG_RUN, tol_on=tol_on, record_every=9)
    want = trained(case, schedule, name="numpy", **run)
    tol = float(np.median(want[2]))
    for more in ({}, {"tol": tol}):
        want = trained(case, schedule, name="numpy", **run, **more)
        for length in (1, 7, 64):
            monkeypatch.setattr(fused_loop, "_RATES_AT_ONCE", length)
            assert_same_bits(trained(case, schedule, name="numba", **run, **more), want)


def test_a_segment_tells_its_last_look_wherever_its_tables_end(monkeypatch):
    monkeypatch.setattr(fused_loop, "_RATES_AT_ONCE", 5)
    case = problem(7, (3, 5, 2), 40, "float64")
    plan = Plan(2, "replacement", 1, None, "data", 8)
    segments = []
    for name in ("numpy", "numba"):
        loop = fcb.get_backend(name).training_loop(case.params, Method(SCHEDULES[0]))
        segments.append(loop.run(case.x, case.t, plan, 3, 23))
    want, got = segments
    assert (got.steps, got.loss, got.reached) == (want.steps, want.loss, want.reached)
    assert got.losses.tolist() == want.losses.tolist()


@pytest.mark.parametrize("steps", [0, 3, 64, 65, 130])
def test_the_last_finite_parameters_of_single_steps(steps):
    """A gradient overflows while its loss is finite: the parameters before it are kept."""
    case = problem(8, (2, 3), 200, "float64")
    case.params[0][0][0], case.x[:, 0] = 0, 0
    ends = []
    for name in ("numpy", "numba"):
        trainer = fcb.Trainer(case.params, lr=fcb.ExponentialRate(0.05, 0.97), backend=name)
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
    case = problem(9, (3, 4, 2), 50, "float32")
    ends = []
    for name in ("numpy", "numba"):
        with pytest.raises(fcb.DivergenceError) as raised:
            trained(case, fcb.ConstantRate(30.0, warmup=500), fcb.SGD(), 1, name, max_steps=2000)
        ends.append((raised.value.step, fcb.digest(raised.value.params)))
    assert ends[0] == ends[1]


def test_many_networks_have_the_bits_of_each_alone():
    case = problem(10, (3, 2), 30, "float64")
    run = dict(hidden=(4,), max_steps=50)
    lrs = [0.01, SCHEDULES[0], SCHEDULES[1]]
    results = fcb.train_many(case.x, case.t, seed=[0, 1, 2], lr=lrs, **run)
    for seed, lr, result in zip((0, 1, 2), lrs, results, strict=True):
        alone = fcb.train(case.x, case.t, seed=seed, lr=lr, **run)
        assert_same_bits(result.params, alone.params)
    for result in fcb.train_many(case.x, case.t, seed=[1], lr=SCHEDULES[0], **run):
        assert_same_bits(result.params, results[1].params)


# --- what is refused -----------------------------------------------------------------------------

RATE = "`lr` must be a finite number > 0, got"
COUNT = "must be an integer from {} to 2**63 - 1, got"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fcb.ConstantRate(0), f"{RATE} 0"),
        (lambda: fcb.ConstantRate(float("inf")), f"{RATE} inf"),
        (lambda: fcb.ConstantRate(0.1, -1), f"`warmup` {COUNT.format(0)} -1"),
        (lambda: fcb.ConstantRate(0.1, 2**63), f"`warmup` {COUNT.format(0)} {2**63}"),
        (lambda: fcb.StepRate(0.1, 0), f"`every` {COUNT.format(1)} 0"),
        (lambda: fcb.StepRate(0.1, 5, 0.0), "`factor` must be a number > 0 and <= 1, got 0.0"),
        (
            lambda: fcb.ExponentialRate(0.1, 1.5),
            "`factor` must be a number > 0 and <= 1, got 1.5",
        ),
        (lambda: fcb.CosineRate(0.1, 0), f"`steps` {COUNT.format(1)} 0"),
        (lambda: fcb.CosineRate(0.1, 9, -0.1), "`end` must be a finite number >= 0, got -0.1"),
        (
            lambda: fcb.CosineRate(0.1, 9, warmup=9),
            "`steps` must be more than the 9 steps of `warmup`, got 9",
        ),
        (
            lambda: fcb.train([[1.0]], [[1.0]], lr=fcb.ConstantRate(1e39), dtype="float32"),
            "`lr` must be a schedule whose rates are finite in float32, the first > 0, got "
            "ConstantRate(lr=1e+39, warmup=0)",
        ),
        (
            lambda: fcb.train([[1.0]], [[1.0]], lr=fcb.CosineRate(1, 5, 1e39), dtype="float32"),
            "`lr` must be a schedule whose rates are finite in float32, the first > 0, got "
            "CosineRate(lr=1.0, steps=5, end=1e+39, warmup=0)",
        ),
    ],
)
def test_a_number_is_refused(make, text):
    with pytest.raises(fcb.ArgumentError) as raised:
        make()
    assert str(raised.value) == text


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fcb.ConstantRate("0.1"), f"{RATE} '0.1'"),
        (lambda: fcb.ConstantRate(0.1, 5.0), f"`warmup` {COUNT.format(0)} 5.0"),
        (lambda: fcb.StepRate(0.1, "5"), f"`every` {COUNT.format(1)} '5'"),
        (lambda: fcb.StepRate(0.1, True), f"`every` {COUNT.format(1)} True"),
        (
            lambda: fcb.sgd_step([([[1.0]], [1.0])], [1.0], [1.0], fcb.ConstantRate(0.1)),
            "`lr` must be a finite number > 0 in float64, got ConstantRate(lr=0.1, warmup=0)",
        ),
        (
            lambda: fcb.train([[1.0]], [[1.0]], lr="fast"),
            "`lr` must be a finite number > 0 in float64, got 'fast'",
        ),
    ],
)
def test_a_type_is_refused(make, text):
    with pytest.raises(fcb.ArgumentTypeError) as raised:
        make()
    assert str(raised.value) == text


def test_records_are_frozen_equal_and_hashable():
    schedule = fcb.StepRate(np.float32(0.5), np.int64(3))
    assert schedule == fcb.StepRate(0.5, 3, 0.1, 0)
    assert len({schedule, fcb.StepRate(0.5, every=3)}) == 1
    with pytest.raises(AttributeError):
        schedule.lr = 0.1
