"""Which samples a step draws: the published generator, its uniformity, and its borders."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.backends import fused_loop
from fcbackends.backends.loop import Plan
from fcbackends.maths.network import Method
from tests import oracle
from tests.cases import JIT_OFF, allow_small_kernels, needs_jit

pytestmark = pytest.mark.jit_off

SAMPLINGS = ("replacement", "epoch")
SEEDS = (0, 1, 12345, 2**32, 2**63 - 1, 2**64 - 1)


def chi_square_is_ordinary(counts, expected):
    """Within 4.5 standard deviations of its mean, for a statistic of many cells."""
    counts = np.asarray(counts, float)
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = counts.size - 1
    return abs(statistic - freedom) < 4.5 * np.sqrt(2 * freedom)


def test_the_generator_is_splitmix64():
    # The first words that SplitMix64's authors' C code gives from the state 1234567.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [oracle.word(1234567, c) for c in range(3)] == published


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 500, 2**20 + 1, 2**31 - 1, 2**32 - 1])
def test_draws_equal_the_published_formula(n, seed, sampling):
    batch = min(n, 4)
    for start in (0, 3, 10**9):
        got = fcb.sample_indices(
            n, steps=7, batch_size=batch, sampling=sampling, seed=seed, start=start
        )
        want = oracle.sample_indices(n, 7, batch, sampling, seed, start)
        assert got.dtype == np.int64
        assert got.shape == (7, batch)
        assert np.array_equal(got, want)


@st.composite
def draws(draw, numbers):
    """Some steps of batches of so many samples: anywhere, or beside the border of two epochs."""
    n = draw(numbers)
    batch, steps = draw(st.integers(1, min(n, 9))), draw(st.integers(0, 5))
    last = (2**63 - 1) // batch - steps
    anywhere = st.integers(0, last) | st.integers(0, 70) | st.just(last)
    border = draw(st.integers(0, 2**63 // n) | st.integers(0, 3)) * n // batch
    beside = st.integers(border - 3, border).map(lambda start: min(max(start, 0), last))
    return n, batch, draw(anywhere | beside), steps


BORDERS = st.sampled_from([2**b + off for b in (16, 17) for off in (-1, 0, 1)])


@given(
    drawn=draws(st.integers(1, 70) | BORDERS | st.integers(1, 2**32 - 1)),
    seed=st.integers(0, 2**64 - 1),
    sampling=st.sampled_from(SAMPLINGS),
)
def test_any_draw_equals_the_published_formula(drawn, seed, sampling):
    n, batch, start, steps = drawn
    got = fcb.sample_indices(
        n, steps=steps, batch_size=batch, sampling=sampling, seed=seed, start=start
    )
    want = oracle.sample_indices(n, steps, batch, sampling, seed, start)
    assert np.array_equal(got, want)
    assert got.shape == (steps, batch)


# --- what the kernels draw -----------------------------------------------------------------------


@pytest.fixture(params=["a kernel for the shape", "the general kernel"])
def _kernels(request, monkeypatch):
    of_shape = request.param == "a kernel for the shape"
    allow_small_kernels(monkeypatch, 9 if of_shape else 0)


def new_loop():
    """A layer that stays at zero, so that its losses are the mean squares of the targets drawn."""
    zero = np.zeros((1, 1)), np.zeros(1)
    return fcb.get_backend("numba").training_loop((zero,), Method(0.0))


def assert_draws(loop, n, batch, start, steps, seed, sampling="epoch"):
    plan = Plan(batch, sampling, seed, None, "batch", 1)
    numbers = np.arange(float(n))[:, None]
    loop.prepare(0 * numbers, numbers, plan, steps)
    segment = loop.run(0 * numbers, numbers, plan, start, start + steps)
    rows = oracle.sample_indices(n, steps, batch, sampling, seed, start)
    want = [sum(i * i for i in row) * (1 / batch) for row in rows.tolist()]
    assert segment.losses.tolist() == want


FEW = st.integers(1, 20 if JIT_OFF else 70)


@pytest.mark.usefixtures("_kernels")
@given(
    drawn=draws(FEW if JIT_OFF else FEW | BORDERS),
    seed=st.integers(0, 2**64 - 1),
    sampling=st.sampled_from(SAMPLINGS),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_draw_of_a_kernel_equals_the_published_formula(drawn, seed, sampling):
    n, batch, start, steps = drawn
    assert_draws(new_loop(), n, batch, min(start, 2**63 - 2 - steps), steps, seed, sampling)


@pytest.mark.usefixtures("_kernels")
@given(
    runs=st.lists(
        st.tuples(
            st.sampled_from([5, 13]),
            st.integers(1, 3),
            st.integers(0, 5),
            st.integers(1, 5),
            st.integers(0, 1),
            st.sampled_from(["epoch", "epoch", "replacement"]),
        ),
        max_size=9,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_loop_keeps_of_an_epoch_serves_no_other(runs):
    loop = new_loop()
    for run in runs:
        assert_draws(loop, *run)


@needs_jit
def test_all_threads_of_a_loop_draw_alike(monkeypatch):
    loop = new_loop()
    for n in (100, 2**16 + 1):
        for threads in (1, 3, 2):
            monkeypatch.setattr(fused_loop, "threads_for", lambda products, n=threads: n)
            assert_draws(loop, n, 96, n // 96 - threads, 5, seed=1)


@needs_jit
@pytest.mark.usefixtures("_kernels")
def test_a_loop_goes_from_shuffled_epochs_to_computed_ones_and_back():
    loop, border = new_loop(), 2**16
    for n, start in ((border, border), (border + 1, border), (border, border), (7, 7), (border, 9)):
        for seed in (1, 2, 1):
            assert_draws(loop, n, 1, start - 3, 6, seed)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_rows_do_not_depend_on_where_reading_starts(sampling):
    def draw(**which):
        return fcb.sample_indices(10, batch_size=3, sampling=sampling, seed=5, **which)

    whole = draw(steps=40)
    for start, steps in ((0, 1), (1, 39), (17, 4), (39, 1)):
        assert np.array_equal(draw(steps=steps, start=start), whole[start : start + steps])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 100, 257])
def test_every_epoch_is_a_permutation(n):
    for seed in SEEDS:
        drawn = fcb.sample_indices(n, steps=6 * n, sampling="epoch", seed=seed).reshape(6, n)
        assert np.array_equal(np.sort(drawn, axis=1), np.tile(np.arange(n), (6, 1)))


def test_the_first_two_samples_change_places_in_half_of_the_computed_orders():
    n, swapped = 2**16 + 1, []
    for seed in range(4):
        order = fcb.sample_indices(n, steps=n, sampling="epoch", seed=seed)[:, 0]
        for sample in (0, 1):
            (place,) = np.flatnonzero(order == sample)
            assert oracle.draw(int(place), n, "epoch", seed) == sample
            assert_draws(new_loop(), n, 1, int(place), 1, seed)
        swapped.append(oracle.order_of_epoch(n, seed, 0).words[16] >= 2**63)
    assert set(swapped) == {False, True}


@pytest.mark.parametrize(("n", "batch"), [(10, 3), (10, 4), (7, 5), (5, 5), (100, 33)])
def test_a_batch_runs_on_across_the_border_of_two_epochs(n, batch):
    steps = 4 * n
    rows = fcb.sample_indices(n, steps=steps, batch_size=batch, sampling="epoch", seed=3)
    ones = fcb.sample_indices(n, steps=steps * batch, sampling="epoch", seed=3)
    assert np.array_equal(rows.reshape(-1), ones.reshape(-1))
    assert np.bincount(rows.reshape(-1), minlength=n).tolist() == [4 * batch] * n


def test_epochs_and_seeds_differ():
    first = fcb.sample_indices(50, steps=100, sampling="epoch", seed=0).reshape(2, 50)
    other = fcb.sample_indices(50, steps=50, sampling="epoch", seed=1).reshape(50)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other)
    for sampling in SAMPLINGS:
        seen = {
            fcb.sample_indices(10**6, steps=8, sampling=sampling, seed=seed).tobytes()
            for seed in range(200)
        }
        assert len(seen) == 200


@pytest.mark.parametrize("n", [2, 3, 10, 500, 4096])
@pytest.mark.parametrize("seed", [0, 7])
def test_draws_with_replacement_are_uniform(n, seed):
    draws = fcb.sample_indices(n, steps=100 * n, seed=seed).reshape(-1)
    assert chi_square_is_ordinary(np.bincount(draws, minlength=n), 100)


def test_consecutive_draws_are_independent():
    draws = fcb.sample_indices(20, steps=80_001, seed=1).reshape(-1)
    for gap in (1, 2, 3):
        pairs = draws[:-gap][: 80_000 - 80_000 % gap] * 20 + draws[gap:][:80_000]
        counts = np.bincount(pairs, minlength=400)
        assert chi_square_is_ordinary(counts, len(pairs) / 400)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (64, 32, 10), (3, 5, 7, 2)])
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_first_parameters_equal_the_published_formula(sizes, seed, dtype):
    got = fcb.init_params(sizes, seed=seed, dtype=dtype)
    oracle.assert_same_bits(got, oracle.init_params(sizes, seed, dtype))


def test_first_weights_are_uniform_between_their_bounds():
    ((w, _), (v, _)) = fcb.init_params((100, 50, 200), seed=0)
    for a, k in ((w, 100), (v, 50)):
        bound = np.sqrt(6 / k)
        counts, _ = np.histogram(a, bins=20, range=(-bound, bound))
        assert counts.sum() == a.size
        assert chi_square_is_ordinary(counts, a.size / 20)
