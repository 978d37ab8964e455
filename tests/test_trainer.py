"""A network held open: pieces, single steps, threads, and what it refuses to be told."""

import threading

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS, DTYPES, JIT_OFF, LONG_RUN, problem
from tests.oracle import assert_same_bits, fast, sample_indices
from tests.test_training import SAMPLINGS, by_hand, settings

pytestmark = pytest.mark.jit_off


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_a_run_in_pieces_has_the_bits_of_one(backend, dtype, sampling, tol_on):
    case = problem(8, (3, 5, 2), 23, dtype)
    way = dict(batch_size=5, sampling=sampling, seed=6, tol_on=tol_on, record_every=7)
    whole = fcb.Trainer(case.params, lr=0.02, backend=backend)
    want = whole.run(case.x, case.t, max_steps=LONG_RUN, **way)
    pieces = fcb.Trainer(case.params, lr=0.02, backend=backend)
    records = {}
    first = [1, 1, 5, 33, 2]
    for size in (*first, LONG_RUN - sum(first)):
        result = pieces.run(case.x, case.t, max_steps=size, **way)
        records.update(
            zip(result.history.steps.tolist(), result.history.losses.tolist(), strict=True)
        )
    assert pieces.steps == whole.steps == want.steps == LONG_RUN
    assert_same_bits(pieces.params, want.params)
    for step, loss in zip(want.history.steps.tolist(), want.history.losses.tolist(), strict=True):
        assert records[step] == loss


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_single_steps_on_the_drawn_rows_have_the_bits_of_a_run(
    backend, dtype, sampling, batch_size
):
    case = problem(9, (3, 5, 2), 11, dtype)
    want = fcb.train(
        case.x, case.t, lr=0.03, batch_size=batch_size, max_steps=100, sampling=sampling,
        seed=3, record_every=1, backend=backend, **settings(case),
    )  # fmt: skip
    trainer = fcb.Trainer(case.params, lr=0.03, backend=backend)
    rows = fcb.sample_indices(11, steps=100, batch_size=batch_size, sampling=sampling, seed=3)
    losses = [trainer.step(case.x[row], case.t[row]) for row in rows]
    assert trainer.steps == 100
    assert_same_bits(trainer.params, want.params)
    assert losses == want.history.losses.tolist()
    assert JIT_OFF or all(type(loss) is float for loss in losses)


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_batches_and_runs_may_alternate(backend):
    case = problem(10, (3, 4, 2), 12, "float64")
    trainer = fcb.Trainer(case.params, lr=0.05, backend=backend)
    trainer.step(case.x[0], case.t[0])
    trainer.step(case.x[:5], case.t[:5])
    trainer.run(case.x, case.t, max_steps=10, batch_size=3, seed=1)
    trainer.step(case.x[1], case.t[1])
    trainer.step(case.x.tolist()[2], case.t.tolist()[2])
    rows = [np.array([0]), np.arange(5)]
    rows += list(sample_indices(12, 10, 3, "replacement", 1, start=2))
    rows += [np.array([1]), np.array([2])]
    want, _ = fast.train(case.params, case.x, case.t, rows, 0.05)
    assert trainer.steps == 14
    assert_same_bits(trainer.params, want)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [2, 3, 7])
def test_an_epoch_run_draws_what_sample_indices_says_across_borders(backend, n):
    case = problem(11, (2, 2), n, "float64")
    want, losses, _ = by_hand(case, 50, 0.02, batch_size=2, sampling="epoch", seed=5)
    result = fcb.train(
        case.x, case.t, lr=0.02, batch_size=2, sampling="epoch", seed=5, max_steps=50,
        record_every=1, backend=backend, **settings(case),
    )  # fmt: skip
    assert result.history.losses.tolist() == losses.tolist()
    assert_same_bits(result.params, want[-1])


def test_a_run_goes_on_far_from_the_start():
    case = problem(12, (2, 2), 5, "float64")
    ends = []
    for backend in BACKENDS:
        trainer = fcb.Trainer(case.params, lr=0.02, backend=backend)
        trainer._steps = 2**40
        trainer.run(case.x, case.t, max_steps=20, sampling="epoch", record_every=3)
        ends.append(trainer.params)
    rows = sample_indices(5, 20, 1, "epoch", 0, start=2**40)
    want, _ = fast.train(case.params, case.x, case.t, rows, 0.02)
    for params in ends:
        assert_same_bits(params, want)


# --- held open -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lr", "steps", "backend", "params", "learning_rate"])
def test_a_trainer_cannot_be_set(name):
    trainer = fcb.Trainer(fcb.init_params((2, 1)), lr=0.1)
    with pytest.raises(AttributeError):
        setattr(trainer, name, 1)
    assert (trainer.lr, trainer.steps) == (0.1, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_that_share_a_trainer_lose_no_step(backend):
    x, t = np.array([1.0, 2.0]), np.array([3.0])
    first, steps = fcb.init_params((2, 4, 1)), 50 if backend == "numpy" else 3000
    alone, shared = (fcb.Trainer(first, lr=1e-4, backend=backend) for _ in range(2))

    def take_steps(trainer, count):
        for _ in range(count):
            trainer.step(x, t)

    take_steps(alone, 4 * steps)
    threads = [threading.Thread(target=take_steps, args=(shared, steps)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.steps == 4 * steps
    assert_same_bits(shared.params, alone.params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_is_broken_off_inside_has_not_been(backend):
    x, t = np.ones((4, 2)), np.ones((4, 1))
    trainer = fcb.Trainer(fcb.init_params((2, 1)), lr=1e-4, backend=backend)
    trainer.run(x, t, max_steps=10)
    before = trainer.params

    def broken(run):
        def broken_off(*args):
            run(*args)
            raise KeyboardInterrupt

        return broken_off

    trainer._loop.run = broken(trainer._loop.run)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(x, t, max_steps=10)
    assert trainer.steps == 10
    assert_same_bits(trainer.params, before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_class_of_a_sample_has_the_bits_of_its_row(backend, dtype):
    case = problem(8, (3, 5, 4), 12, dtype)
    way = dict(loss="cross_entropy", lr=0.1, backend=backend)
    one, row, integer, weighted = (fcb.Trainer(case.params, **way) for _ in range(4))
    for n, x in enumerate(case.x):
        losses = {
            one.step(x, n % 4),
            row.step(x, np.eye(4, dtype=dtype)[n % 4]),
            integer.step(x, np.int64(n % 4)),
            weighted.step(x, n % 4, sample_weight=1.0 if n == 6 else None),
        }
        assert len(losses) == 1
    for other in (row, integer, weighted):
        assert_same_bits(one.params, other.params)
    before = one.params
    for wrong in (-1, 4, 1.0, "1", None):
        with pytest.raises(fcb.ArgumentError, match=r"^`t` must "):
            one.step(case.x[0], wrong)
    with pytest.raises(fcb.ArgumentError, match=r"^`x` must be of shape \(3,\)"):
        one.step(case.x[0, :2], 1)
    assert one.steps == len(case.x)
    assert_same_bits(one.params, before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_takes_arrays_of_any_layout(backend, dtype):
    rng = np.random.default_rng(3)
    x, t = (rng.standard_normal(n).astype(dtype) for n in (3, 2))
    params = fcb.init_params((3, 4, 2), dtype=dtype)
    want = fcb.Trainer(params, lr=0.1, backend=backend)
    losses = {want.step(x, t)}
    read_only = x.copy()
    read_only.flags.writeable = False
    for one in (
        np.repeat(x, 2)[::2],
        x[::-1].copy()[::-1],
        read_only,
        x.astype(x.dtype.newbyteorder()),
    ):
        trainer = fcb.Trainer(params, lr=0.1, backend=backend)
        losses.add(trainer.step(one, np.repeat(t, 3)[::3]))
        assert_same_bits(trainer.params, want.params)
    assert len(losses) == 1
