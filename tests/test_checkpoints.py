"""Runs that are broken off and gone on with: the bits of runs that never stopped."""

import dataclasses
import errno
import itertools
import os

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends import tensor_files
from fcbackends.training import keeping
from tests.cases import BACKENDS, problem
from tests.oracle import assert_same_bits
from tests.test_optimizers import OPTIMIZERS

pytestmark = pytest.mark.jit_off

CASE = problem(1, (3, 5, 2), 30, "float64")
CLASSES = np.arange(30) % 3
WEIGHTS = np.linspace(0.5, 2.0, 30)


class BrokenOffError(Exception):
    pass


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.checkpoint"


@pytest.fixture
def broken_off(monkeypatch):
    """Call a function; the run in it ends as if killed, just after a checkpoint past a step."""

    def call(function, step):
        keep = keeping.Keeper.keep

        def kill(self, standing):
            keep(self, standing)
            if standing.step >= step:
                raise BrokenOffError

        with monkeypatch.context() as patch:
            patch.setattr(keeping.Keeper, "keep", kill)
            with pytest.raises(BrokenOffError):
                function()

    return call


def assert_same_result(one, other):
    """All that a result holds, to the bit."""
    assert_same_bits(one.params, other.params)
    assert_same_bits(one.slots, other.slots)
    for a, b in zip(one.history[:4], other.history[:4], strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(one.history.metrics) == list(other.history.metrics)
    for name, values in one.history.metrics.items():
        np.testing.assert_array_equal(values, other.history.metrics[name])
    assert (one.steps, one.stop_reason) == (other.steps, other.stop_reason)
    np.testing.assert_array_equal(one.loss, other.loss)
    assert (one.best_step, one.best_validation_loss) == (
        other.best_step,
        other.best_validation_loss,
    )


def metrics(look):
    told = {"weight": float(look.params[0][0][0, 0])}
    return told | ({"early": 1.0} if look.step < 100 else {})


WAYS = {
    "plain": dict(lr=0.01),
    "epochs": dict(lr=0.01, sampling="epoch", batch_size=7, seed=5),
    "schedule": dict(lr=fcb.StepRate(0.01, every=100, factor=0.5, warmup=30)),
    "cosine": dict(lr=fcb.CosineRate(0.01, steps=400), clip_norm=0.5),
    "tolerance": dict(lr=0.01, tol=0.3, tol_on="data", record_every=7),
    "validation": dict(lr=0.01, validation=0.2, record_every=11),
    "patience": dict(lr=0.3, validation=(CASE.x[:4], CASE.t[:4]), patience=80, record_every=3),
    "callback": dict(lr=0.01, callback=metrics, record_every=13),
    "weights": dict(lr=0.01, sample_weight=WEIGHTS, validation=0.3, patience=9),
    "fused": dict(lr=0.01, arithmetic="fused", hidden=(4, 3), activation=("tanh", "sigmoid")),
    "float32": dict(lr=0.01, dtype="float32", hidden=(4,), loss="huber"),
    "params": dict(lr=0.01, params=CASE.params, activation="leaky_relu"),
    **{str(o): dict(lr=0.01, optimizer=o, hidden=(4,)) for o in OPTIMIZERS},
}


@pytest.mark.parametrize(("backend", "other"), [*itertools.permutations(BACKENDS), ("numba",) * 2])
@pytest.mark.parametrize("name", WAYS)
def test_a_run_goes_on_to_the_bit(path, broken_off, name, backend, other):
    def train(**how):
        return fcb.train(CASE.x, CASE.t, max_steps=400, **WAYS[name], **how)

    whole = train(backend=backend)
    broken_off(lambda: train(backend=backend, checkpoint=path, checkpoint_every=37), 100)
    # Once more, with checkpoints elsewhere in time, in the same file.
    again = dict(checkpoint=path, resume=path)
    if whole.steps > 200:
        broken_off(lambda: train(backend=other, checkpoint_every=53, **again), 180)
    assert_same_result(train(backend=other, checkpoint_every=400, **again), whole)
    # A run that has ended is read, and nothing is left to do.
    content = path.read_bytes()
    assert_same_result(train(backend=backend, **again), whole)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("threads", [1, 2])
def test_with_another_number_of_threads(path, broken_off, threads):
    case = problem(2, (40, 60, 8), 200, "float32")
    how = dict(lr=1e-3, hidden=(60,), batch_size=64, max_steps=60, dtype="float32")
    whole = fcb.train(case.x, case.t, **how)
    backend = fcb.get_backend("numba")
    backend.set_threads(threads)
    try:
        kept = dict(checkpoint=path, checkpoint_every=10)
        broken_off(lambda: fcb.train(case.x, case.t, **how, **kept), 30)
        backend.set_threads(3 - threads)
        assert_same_result(fcb.train(case.x, case.t, resume=path, **how), whole)
    finally:
        backend.set_threads(2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", [fcb.SGD(), fcb.Adam()], ids=str)
def test_a_trainers_run_goes_on_in_another_trainer(path, broken_off, backend, optimizer):
    def trainer():
        return fcb.Trainer(CASE.params, lr=0.01, optimizer=optimizer, backend=backend)

    how = dict(batch_size=2, seed=3, sampling="epoch")
    whole, first, second = trainer(), trainer(), trainer()
    for each in (whole, first):
        each.run(CASE.x, CASE.t, max_steps=70, **how)
        each.step(CASE.x[0], CASE.t[0])
    wanted = whole.run(CASE.x, CASE.t, max_steps=300, **how)

    def run(trainer, **kept):
        return trainer.run(CASE.x, CASE.t, max_steps=300, **how, **kept)

    broken_off(lambda: run(first, checkpoint=path, checkpoint_every=50), 200)
    assert first.steps == 71
    assert_same_result(run(second, resume=path), wanted)
    assert second.steps == 371
    assert_same_bits(second.state, whole.state)
    # It goes on as the other does.
    for each in (whole, second):
        each.run(CASE.x, CASE.t, max_steps=20, **how)
    assert_same_bits(second.state, whole.state)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("every", [None, 1, 150, 10_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_many_networks_go_on(path, broken_off, monkeypatch, backend, every, threads):
    rows = [np.arange(20), np.arange(5, 30), np.arange(30), np.arange(0, 30, 2)]
    how = dict(
        seed=[0, 1, 2, 3], lr=[0.01, fcb.StepRate(0.02, every=50, factor=0.5), 0.3, 1e6],
        rows=rows, hidden=(4,), optimizer=fcb.SGD(momentum=0.5), max_steps=200,
        validation=(CASE.x[:4], CASE.t[:4]), patience=60, backend=backend,
    )  # fmt: skip
    whole = fcb.train_many(CASE.x, CASE.t, **how)
    assert whole[3].stop_reason == "diverged"
    chosen = fcb.get_backend("numba")
    chosen.set_threads(threads)
    monkeypatch.setattr(keeping, "SECONDS_APART", 0.0)
    monkeypatch.setattr("fcbackends.training.checkpoint.SECONDS_APART", 0.0)
    try:
        kept = dict(checkpoint=path, checkpoint_every=every)
        broken_off(lambda: fcb.train_many(CASE.x, CASE.t, **how, **kept), 20)
        if every == 10_000:
            assert not path.exists()
            return
        resumed = fcb.train_many(CASE.x, CASE.t, resume=path, **how, **kept)
        again = fcb.train_many(CASE.x, CASE.t, resume=path, **how)
    finally:
        chosen.set_threads(2)
    for results in (resumed, again):
        for one, other in zip(results, whole, strict=True):
            assert_same_result(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("look", [1, 2, 5])
@pytest.mark.parametrize(
    "how",
    [
        dict(validation=(CASE.x[:4], CASE.t[:4]), patience=5, lr=0.3, record_every=11),
        dict(tol=1e-3, tol_on="data", record_every=13),
        dict(tol_on="data", record_every=13, validation=(CASE.x[:4], CASE.t[:4])),
    ],
    ids=["patience", "tolerance", "both"],
)
def test_a_run_that_ends_within_a_look_looks_again(path, monkeypatch, backend, look, how):
    """Nobody had the time to compute the loss of that look: it is no part of what is kept."""
    how = {"lr": 0.01, "max_steps": 100, **how}
    plain = fcb.get_backend(backend)
    whole = fcb.train(CASE.x, CASE.t, backend=plain, **how)
    at, ends, now = look * how["record_every"], [], [0]

    def training_loop(params, method):
        loop = plain.training_loop(params, method)
        run, loss = loop.run, loop.loss

        def loss_called_off(x, t):
            if now[0] == at:
                ends.append("time_limit")
            return np.nan if ends else loss(x, t)

        def run_called_off(x, t, plan, start, stop):
            segment = run(x, t, plan, start, at if start < at < stop else stop)
            now[0] = segment.steps
            if now[0] == at and plan.tol_on == "data":
                ends.append("time_limit")
                return segment._replace(losses=segment.losses[:-1], reached=False)
            return segment

        loop.run, loop.loss = run_called_off, loss_called_off
        return loop

    on_clock = dataclasses.replace(plain, training_loop=training_loop)
    with monkeypatch.context() as patch:
        patch.setattr("fcbackends.training.runs.ending", lambda *_: lambda: (ends or [None])[-1])
        patch.setattr("fcbackends.training.pacing._GRACE_SECONDS", 0.0)
        ended = fcb.train(
            CASE.x, CASE.t, backend=on_clock, checkpoint=path, checkpoint_every=100, **how
        )
    assert ended.stop_reason == "time_limit"
    about, _ = tensor_files.read(path, "fcbackends-checkpoint")
    assert (about["runs"][0]["step"], about["runs"][0]["stop_reason"]) == (at, "")
    assert_same_result(fcb.train(CASE.x, CASE.t, resume=path, backend=plain, **how), whole)


def test_numbers_of_numpy_are_numbers(path):
    one, few, rate = np.int64(1), np.int32(9), np.float32(0.25)
    how = dict(
        hidden=(np.int16(4),), lr=rate, batch_size=one, max_steps=few, seed=np.uint64(3), tol=rate,
        record_every=one, clip_norm=rate, validation=np.float32(0.5), patience=few,
    )  # fmt: skip
    whole = fcb.train(CASE.x, CASE.t, checkpoint=path, checkpoint_every=few, **how)
    assert_same_result(fcb.train(CASE.x, CASE.t, resume=path, **how), whole)
    run = fcb.Trainer(CASE.params, lr=rate).run
    run(CASE.x, CASE.t, validation=0.5, patience=few, max_steps=few, checkpoint=path)


def test_classes_go_on(path, broken_off):
    def train(**how):
        return fcb.train(
            CASE.x, CLASSES, loss="cross_entropy", hidden=(4,), optimizer=fcb.Adam(), lr=0.01,
            max_steps=200, **how,
        )  # fmt: skip

    broken_off(lambda: train(checkpoint=path, checkpoint_every=50), 100)
    assert_same_result(train(resume=path), train())


def test_by_default_it_is_kept_now_and_then_and_at_the_end(path, monkeypatch):
    now = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: 3.0 * next(now))
    written = []
    write = tensor_files.write
    monkeypatch.setattr(
        tensor_files, "write", lambda *how: (written.append(how[2]["runs"]), write(*how))
    )
    fcb.train(CASE.x, CASE.t, lr=0.01, max_steps=300, checkpoint=path)
    steps = [run["step"] for (run,) in written]
    assert len(steps) > 5
    assert steps == sorted(set(steps))
    assert steps[-1] == 300
    assert [run["stop_reason"] for (run,) in written] == [""] * (len(steps) - 1) + ["max_steps"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_diverges_leaves_its_last_checkpoint(path, backend):
    case = problem(3, (1, 1), 1, "float64")
    how = dict(lr=0.51, max_steps=20_000, params=case.params, backend=backend)
    with pytest.raises(fcb.DivergenceError) as whole:
        fcb.train([[1.0]], case.t, **how)
    with pytest.raises(fcb.DivergenceError):
        fcb.train([[1.0]], case.t, checkpoint=path, checkpoint_every=1000, **how)
    with pytest.raises(fcb.DivergenceError) as resumed:
        fcb.train([[1.0]], case.t, resume=path, **how)
    assert str(resumed.value) == str(whole.value)
    assert_same_bits(resumed.value.params, whole.value.params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_that_are_not_finite_are_never_kept(path, backend):
    """An overflow that a ReLU hides is found at the next checkpoint."""
    params = (
        (np.array([[2.0**-664]]), np.array([0.0])),
        (np.array([[2.0**664]]), np.array([0.0])),
    )
    x, t = np.ones((1000, 1)), np.ones((1000, 1))
    t[-1] = -1e110
    order = fcb.sample_indices(1000, steps=1000, sampling="epoch")[:, 0]
    step = int(np.argmax(order == 999)) + 1
    how = dict(params=params, lr=0.1, sampling="epoch", max_steps=5000, backend=backend)
    with pytest.raises(fcb.DivergenceError) as caught:
        fcb.train(x, t, checkpoint=path, checkpoint_every=10, **how)
    assert caught.value.step == step
    _, tensors = tensor_files.read(path, "fcbackends-checkpoint")
    assert_same_bits(tensors["run0.layer0.w"], params[0][0])


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(path, monkeypatch):
    how = dict(lr=0.01, max_steps=400)
    whole = fcb.train(CASE.x, CASE.t, **how)
    write, count = tensor_files.write, itertools.count()

    def fill_up(*given):
        if next(count) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*given)

    with monkeypatch.context() as patch:
        patch.setattr(tensor_files, "write", fill_up)
        with pytest.raises(OSError, match="the one before is left") as raised:
            fcb.train(CASE.x, CASE.t, checkpoint=path, checkpoint_every=100, **how)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert tensor_files.read(path, "fcbackends-checkpoint")[0]["runs"][0]["step"] == 200
    assert_same_result(fcb.train(CASE.x, CASE.t, resume=path, **how), whole)
