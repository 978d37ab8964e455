"""One small network: a kernel for its shape gives the bits of the general one and of NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.backends import small_kernels
from fcbackends.backends.loop import Plan
from fcbackends.kernels.elements import PLAIN
from fcbackends.kernels.small import (
    DRAWS_A_BLOCK,
    MOST_TERMS_OF_ANY,
    MOST_UNITS_AT_ONCE,
    MOST_WEIGHTS_OF_ANY,
    MOST_WEIGHTS_OF_ONE,
    SAMPLES_AT_ONCE,
    is_small,
    weights_of,
)
from fcbackends.maths.network import Method
from tests.cases import (
    DTYPES,
    JIT_OFF,
    allow_small_kernels,
    examples,
    needs_jit,
    problem,
    quick_first,
)
from tests.oracle import assert_same_bits

pytestmark = pytest.mark.jit_off

# Each compiles a kernel for the dtype. Among them are sums by rows, by columns and in both ways,
# vectors that are filled and that are not, several vectors a row, and more weights than are copied.
LAYERS = [
    ((1, 1), 2, "float32"),
    ((2, 3), 1, "float64"),
    ((2, 3), 7, "float32"),
    ((2, 8, 1), 1, "float32"),
    ((13, 1), 1, "float32"),
    ((31, 1), 600, "float32"),
    ((1, 16), 7, "float64"),
    ((1, 1), 1, "float64"),
    ((2, 3), 1, "float32"),
    ((2, 3), 600, "float64"),
    ((3, 5), 1, "float64"),
    ((3, 5), 7, "float32"),
    ((13, 1), 2, "float64"),
    ((31, 1), 1, "float64"),
    ((1, 16), 1, "float32"),
    ((3, 5, 2), 1, "float64"),
    ((1, 1, 1, 1), 1, "float32"),
    ((9, 11, 7, 3), 1, "float64"),
    ((17, 9, 4, 5, 2), 1, "float32"),
    ((8, 16, 1), 16, "float32"),
    ((1, 10, 1), 4, "float64"),
    ((3, 33, 2), 1, "float64"),
    ((5, 7, 6, 3), 33, "float64"),
    ((32, 3, 2), 5, "float32"),
    ((2, 20, 9), 17, "float32"),
    ((4, 50, 50, 2), 1, "float32"),
    ((1, 200, 20), 1, "float64"),
]
if JIT_OFF:
    LAYERS = [layer for layer in LAYERS if layer[1] < 30 and weights_of(layer[0]) < 200]
SAMPLINGS = ("replacement", "epoch")
SHORT = 20 if JIT_OFF else 100


@pytest.fixture(autouse=True)
def shapes(monkeypatch):
    """Every run is worth a kernel of its own; the shapes that have got one."""
    return allow_small_kernels(monkeypatch)


def key(sizes, one_sample, dtype, arithmetic="ordered"):
    """What a kernel of ReLU and plain SGD is known by."""
    return small_kernels.Shape(
        sizes,
        ("relu",) * (len(sizes) - 2),
        "mean_squared",
        False,
        one_sample,
        PLAIN,
        dtype,
        arithmetic,
    )


def ending(case, name, **run):
    """All that a run tells, of whatever way it ends."""
    trainer = fcb.Trainer(case.params, lr=run.pop("lr", 0.01), backend=name)
    try:
        r = trainer.run(case.x, case.t, **run)
    except fcb.DivergenceError as error:
        assert_same_bits(trainer.params, error.params)
        return "diverged", trainer.steps, error.step, fcb.digest(error.params)
    history = (r.history.steps.tolist(), r.history.losses.tolist())
    return r.stop_reason, r.steps, r.loss, fcb.digest(r.params), history


def assert_both_end_alike(case, **run):
    want = ending(case, "numpy", **run)
    assert ending(case, "numba", **run) == want
    return want


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(("shape", "batch_size", "dtype"), quick_first(LAYERS, 6))
def test_each_shape_ends_as_numpy_does(shape, batch_size, dtype, sampling, shapes):
    case = problem(1, shape, 650, dtype)
    run = dict(batch_size=batch_size, sampling=sampling, seed=5)
    max_steps = SHORT if batch_size < 600 else 30
    for tol_on, record_every in (("batch", None), ("batch", 7), ("data", 1), ("data", 7)):
        run |= dict(tol_on=tol_on, record_every=record_every)
        steps = max_steps if tol_on == "batch" else min(30, max_steps)
        free = assert_both_end_alike(case, max_steps=steps, **run)
        assert free[:2] == ("max_steps", steps)
        losses = free[-1][1]
        tol = sorted(losses)[len(losses) // 2]
        met = assert_both_end_alike(case, max_steps=steps, tol=tol, **run)
        assert met[0] == "tolerance"
        # A tolerance just below all losses, where all that are looked at are in the history.
        below = 0.0 if (tol_on, record_every) == ("batch", 7) else np.nextafter(min(losses), 0)
        missed = assert_both_end_alike(case, max_steps=steps, tol=float(below), **run)
        assert missed[0] == "max_steps"
    assert set(shapes) == {key(shape, batch_size == 1, dtype)}


@needs_jit
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(("batch_size", "max_steps"), [(1, 4000), (7, 1500), (600, 40)])
def test_a_run_across_the_blocks_of_draws(batch_size, max_steps, sampling):
    dtype = "float64" if batch_size == 600 else "float32"
    case = problem(2, (2, 3), 611, dtype)
    assert max_steps * batch_size > 7 * DRAWS_A_BLOCK
    run = dict(batch_size=batch_size, sampling=sampling, record_every=1)
    assert_both_end_alike(case, max_steps=max_steps, **run)


@pytest.mark.parametrize("border", [-1, 0, 1])
@pytest.mark.parametrize(("batch_size", "dtype"), [(1, "float64"), (7, "float32")])
def test_a_run_that_ends_beside_a_border_of_the_blocks(batch_size, dtype, border):
    case = problem(3, (2, 3), 20, dtype)
    loops = [
        b.training_loop(case.params, Method(0.01)) for b in map(fcb.get_backend, ("numpy", "numba"))
    ]
    steps = 2 * (DRAWS_A_BLOCK // batch_size) + border
    if JIT_OFF:
        steps = DRAWS_A_BLOCK // batch_size + border
    plan = Plan(batch_size, "epoch", 3, None, "batch", 1)
    for loop in loops:
        loop.prepare(case.x, case.t, plan, steps)
    # In one call of the kernel, from a step that is not the first.
    want, got = (loop.run(case.x, case.t, plan, 3, 3 + steps) for loop in loops)
    assert (got.steps, got.loss, got.reached) == (want.steps, want.loss, want.reached)
    assert np.asarray(got.losses).tolist() == want.losses.tolist()
    assert_same_bits(loops[1].params, loops[0].params)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_a_run_in_pieces_has_the_bits_of_one(tol_on, sampling, dtype):
    case = problem(4, (2, 3), 23, dtype)
    steps = 50 if JIT_OFF else 500
    run = dict(sampling=sampling, tol_on=tol_on, record_every=7, seed=2)
    whole, pieces = (fcb.Trainer(case.params, lr=0.01, backend=name) for name in ("numpy", "numba"))
    want = whole.run(case.x, case.t, max_steps=2 * steps, **run)
    records = {}
    for _ in range(2):
        got = pieces.run(case.x, case.t, max_steps=steps, **run)
        records |= dict(zip(got.history.steps.tolist(), got.history.losses.tolist(), strict=True))
    assert (got.steps, got.loss) == (want.steps, want.loss)
    assert_same_bits(got.params, want.params)
    for step, loss in zip(want.history.steps.tolist(), want.history.losses.tolist(), strict=True):
        assert records[step] == loss


@pytest.mark.parametrize(("shape", "batch_size", "dtype"), quick_first(LAYERS, 6))
def test_divergence_ends_as_numpys(shape, batch_size, dtype):
    case = problem(5, shape, 650, dtype)
    for lr in (3.0, float(np.finfo(dtype).max) / 2):
        for tol_on in ("batch", "data"):
            end = assert_both_end_alike(
                case, lr=lr, max_steps=2000, batch_size=batch_size, tol_on=tol_on, record_every=2
            )
            assert end[0] == "diverged"


def test_divergence_of_the_whole_datas_loss():
    case = problem(6, (2, 3), 50, "float64")
    case.x[int(np.setdiff1d(range(50), fcb.sample_indices(50, steps=9))[0])] = 1e200
    run = dict(max_steps=9, tol_on="data", record_every=4)
    assert assert_both_end_alike(case, **run)[:3] == ("diverged", 4, 4)


@given(
    layer=st.sampled_from([layer for layer in LAYERS if layer[1] < 600]),
    samples=st.integers(8, 60),
    seed=st.integers(0, 2**32),
    spice=st.sampled_from([0.02, 0.3]),
    scale=st.sampled_from([1.0, 1e-20, 1e-150]),
    finite=st.booleans(),
    lr=st.sampled_from([1e-3, 0.1, 0.7]),
    sampling=st.sampled_from(SAMPLINGS),
    tol_on=st.sampled_from(["batch", "data"]),
)
@examples(15 if JIT_OFF else 30)
def test_special_values(layer, samples, seed, spice, scale, finite, lr, sampling, tol_on):
    shape, batch_size, dtype = layer
    case = problem(seed, shape, samples, dtype, spice)
    plain = problem(seed, shape, samples, dtype)
    case.params = plain.params
    if finite:  # and small enough to go on: signed zeros, subnormals
        case.x, case.t = (
            np.where(np.abs(a) <= 4, a, a.dtype.type(-0.0)) * a.dtype.type(scale)
            for a in (case.x, case.t)
        )
    run = dict(lr=lr, batch_size=batch_size, sampling=sampling, tol_on=tol_on, record_every=3)
    assert_both_end_alike(case, max_steps=30, **run)


# --- which layers get a kernel -------------------------------------------------------------------


def train_both(shape, max_steps=20, batch_size=1):
    case = problem(7, shape, 30, "float64")
    return assert_both_end_alike(case, max_steps=max_steps, batch_size=batch_size)


def test_only_so_many_shapes_get_kernels(shapes, monkeypatch):
    monkeypatch.setattr(small_kernels, "_MOST_KERNELS", 1)
    for shape in ((2, 3), (1, 1), (3, 5), (2, 3)):
        train_both(shape)
        assert set(shapes) == {key((2, 3), True, "float64")}


def test_which_networks_are_small():
    assert MOST_WEIGHTS_OF_ONE == 256 * 256
    assert is_small((255, 256), one_sample=True)
    assert not is_small((256, 256), one_sample=True)
    assert is_small((1, MOST_UNITS_AT_ONCE - 1), one_sample=True)
    assert not is_small((1, MOST_UNITS_AT_ONCE), one_sample=True)
    units = MOST_UNITS_AT_ONCE // SAMPLES_AT_ONCE
    assert is_small((1, units - 1), one_sample=False)
    assert not is_small((1, units), one_sample=False)
    assert weights_of((20, 20, 4)) <= MOST_WEIGHTS_OF_ANY < weights_of((20, 22, 3))
    assert is_small((20, 20, 4), one_sample=False)
    assert not is_small((20, 22, 3), one_sample=False)
    assert is_small((MOST_TERMS_OF_ANY, 1), one_sample=False)
    assert not is_small((MOST_TERMS_OF_ANY + 1, 1), one_sample=False)
    assert is_small((MOST_TERMS_OF_ANY + 1, 1), one_sample=True)
    assert not any(is_small((3, 0, 1), one_sample=one) for one in (True, False))


def test_larger_networks_get_none(shapes):
    for shape in ((MOST_TERMS_OF_ANY + 1, 1), (20, 22, 3), (1, 128)):
        train_both(shape, batch_size=2)
    assert shapes == {}
    train_both((20, 20, 4), batch_size=2)
    assert set(shapes) == {key((20, 20, 4), False, "float64")}


@needs_jit
def test_a_kernel_is_compiled_once_it_repays_it_and_read_at_once(shapes, monkeypatch):
    there = []
    monkeypatch.setattr(small_kernels, "is_there", lambda *family: bool(there))
    monkeypatch.setattr(small_kernels, "_is_first", lambda rule, *names: False)
    gain = small_kernels.gain_of_step((3, 5, 2))
    monkeypatch.setattr(small_kernels, "WORTH_COMPILING", 55 * gain)
    for _ in range(2):
        train_both((3, 5, 2), max_steps=20)
        assert shapes == {}
    # The steps of all runs count together.
    train_both((3, 5, 2), max_steps=20)
    assert set(shapes) == {key((3, 5, 2), True, "float64")}
    train_both((3, 5, 3), max_steps=1)
    assert len(shapes) == 1
    there.append(True)
    train_both((3, 5, 3), max_steps=1)
    assert len(shapes) == 2


@needs_jit
def test_the_first_network_gets_one_where_the_general_kernel_is_not_there(shapes, monkeypatch):
    monkeypatch.setattr(small_kernels, "WORTH_COMPILING", 1e9)
    monkeypatch.setattr(small_kernels, "is_there", lambda *family: False)
    train_both((2, 3), max_steps=1)
    train_both((3, 5), max_steps=1)
    assert set(shapes) == {key((2, 3), True, "float64")}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "batch_size"), [((2, 3), 7), ((5, 9, 3), 1), ((4, 3, 3, 2), 1)])
def test_fused_sums_have_numpys_bits(shape, batch_size, dtype, shapes):
    case = problem(9, shape, 50, dtype)
    with fcb.use_backend(arithmetic="fused"):
        for tol_on in ("batch", "data"):
            assert_both_end_alike(
                case, max_steps=40, batch_size=batch_size, tol_on=tol_on, record_every=3
            )
    assert set(shapes) == {key(shape, batch_size == 1, dtype, "fused")}


@pytest.mark.parametrize("count", [1, SAMPLES_AT_ONCE - 1, SAMPLES_AT_ONCE, SAMPLES_AT_ONCE + 1])
def test_the_whole_datas_loss_of_any_number_of_samples(count):
    case = problem(10, (3, 4, 2), count, "float64")
    for batch_size in (1, 2):
        run = dict(max_steps=4, batch_size=batch_size, tol_on="data", record_every=1)
        assert assert_both_end_alike(case, **run)[0] == "max_steps"


def test_a_trainer_may_go_from_one_kernel_to_another(shapes, monkeypatch):
    case = problem(8, (2, 5, 3), 30, "float64")
    got, want = (fcb.Trainer(case.params, lr=0.01, backend=name) for name in ("numba", "numpy"))
    for most, batch_size in ((9, 1), (0, 1), (9, 1), (0, 4), (9, 4), (9, 1)):
        monkeypatch.setattr(small_kernels, "_MOST_KERNELS", most)
        if most == 0:
            shapes.clear()
        ends = [
            trainer.run(case.x, case.t, max_steps=9, batch_size=batch_size)
            for trainer in (got, want)
        ]
        assert ends[0].loss == ends[1].loss
        for rows in (0, slice(0, 3), 1, 2):
            losses = [trainer.step(case.x[rows], case.t[rows]) for trainer in (got, want)]
            assert losses[0] == losses[1]
        assert_same_bits(got.params, want.params)


# --- single steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_single_steps_of_any_memory_layout(dtype, shapes):
    case = problem(11, (3, 5, 2), 100, dtype)
    got, want = (fcb.Trainer(case.params, lr=0.01, backend=name) for name in ("numba", "numpy"))
    for trainer in (got, want):
        trainer.run(case.x, case.t, max_steps=1)
    assert shapes
    strided = np.asfortranarray(case.x)
    for n in range(100):
        x = strided[n] if n % 2 else case.x[n, ::-1][::-1]
        assert got.step(x, case.t[n]) == want.step(x, case.t[n])
    assert_same_bits(got.params, want.params)


@pytest.mark.parametrize("steps", [0, 1, 31, 32, 33, 70])
def test_the_last_finite_weights_of_single_steps(steps, shapes):
    """A step whose weights overflow while its loss is finite: the ones before are kept."""
    case = problem(12, (2, 3), 100, "float64")
    trainers = [fcb.Trainer(case.params, lr=1.0, backend=name) for name in ("numba", "numpy")]
    ends = []
    for trainer in trainers:
        trainer.run(case.x, case.t * 0, max_steps=1, tol=1e9)
        for n in range(steps):
            trainer.step(case.x[n] * 0.1, case.t[n])
        for _ in range(40):
            try:
                trainer.step(np.array([1e150, 0.0]), np.array([0.0, -1e154, 0.0]))
            except fcb.DivergenceError as error:
                is_finite = all(np.isfinite(a).all() for pair in error.params for a in pair)
                ends.append((error.step, is_finite, fcb.digest(error.params)))
                break
    assert [end[1] for end in ends] == [True, True]
    assert ends[0] == ends[1]
