"""Networks on executors' workers: the bits that they have alone, whatever befalls the workers."""

import collections
import functools
import multiprocessing
import signal
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.executors import dispatch
from fcbackends.sweeps import worker
from tests.sweeps.cases import HOW, T, X, alone, table, told

TABLE = table(23)


@functools.cache
def expected():
    return [told(alone(row)) for row in TABLE]


def swept(**how):
    return fcb.train_many(X, T, settings=TABLE, **(HOW | how))


def test_here_each_of_a_mixed_table_is_as_alone():
    sweep = swept()
    assert [told(result) for result in sweep] == expected()
    assert sweep.digests == tuple(fcb.digest(result.params) for result in sweep)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("only_result", [False, True])
def test_on_workers_each_is_as_alone(workers, count, only_result):
    sweep = swept(executor=workers(count, only_result=only_result))
    assert [told(result) for result in sweep] == expected()
    assert sweep.digest == swept().digest


def test_on_threads_and_processes_each_is_as_alone():
    with ThreadPoolExecutor(3) as executor:
        assert [told(result) for result in swept(executor=executor)] == expected()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        assert [told(result) for result in swept(executor=executor)] == expected()


def test_digest_is_of_digests_in_order(workers):
    import hashlib

    sweep = swept(executor=workers())
    text = "".join(fcb.digest(result.params) for result in sweep)
    assert sweep.digest == hashlib.sha256(text.encode()).hexdigest()
    turned = fcb.train_many(X, T, settings=TABLE[::-1], **HOW)
    assert turned.digest != sweep.digest
    assert sorted(turned.digests) == sorted(sweep.digests)


@pytest.mark.parametrize("backend", ["numpy", "array_api_strict"])
def test_backend_and_arithmetic_are_those_of_this_side(workers, backend):
    rows = [{"hidden": h, "seed": s} for h in [(), (4,)] for s in (0, 1)]
    with fcb.use_backend(backend, arithmetic="fused"):
        sweep = fcb.train_many(X, T, settings=rows, lr=0.1, executor=workers(), **HOW)
        here = fcb.train_many(X, T, settings=rows, lr=0.1, **HOW)
    assert {result.arithmetic for result in sweep} == {"fused"}
    assert {type(result.params[0][0]) for result in sweep} == {type(here[0].params[0][0])}
    assert sweep.digest == here.digest


def test_validation_patience_and_weights_come_along(workers):
    how = dict(validation=(X[:20], T[:20]), patience=1, record_every=5, lr=0.3)
    how |= dict(sample_weight=np.linspace(0, 2, 120), seed=range(9), max_steps=300)
    here = fcb.train_many(X, T, **(HOW | how))
    assert {result.stop_reason for result in here} >= {"patience"}
    sweep = fcb.train_many(X, T, executor=workers(), **(HOW | how))
    assert [told(result) for result in sweep] == [told(result) for result in here]


def test_diverged_networks_are_told_and_the_others_go_on(workers):
    rows = [{"lr": lr, "seed": s} for lr in (0.01, 1e9) for s in range(3)]
    here = fcb.train_many(X, T, settings=rows, **HOW)
    sweep = fcb.train_many(X, T, settings=rows, executor=workers(), **HOW)
    assert [result.stop_reason for result in sweep] == ["max_steps"] * 3 + ["diverged"] * 3
    assert [told(result) for result in sweep] == [told(result) for result in here]


# --- data ----------------------------------------------------------------------------------------


def test_data_travel_about_once_a_worker(workers):
    x, t = np.random.default_rng(1).random((20_000, 3)), np.ones(20_000)
    executor = workers(3)
    fcb.train_many(x, t, seed=range(60), lr=0.01, max_steps=2000, executor=executor)
    sent = collections.Counter(executor.data_sent)
    assert set(sent) <= {1, 2, 3}
    # A task that brings them may come to a worker that has them.
    assert sum(sent.values()) <= 6
    assert executor.bytes < (sum(sent.values()) + 0.5) * (x.nbytes + t.nbytes)
    # A worker that has them asks no more; a task that brings them to another may come to it.
    before = len(executor.jobs)
    fcb.train_many(x, t, seed=range(5), lr=0.01, max_steps=10, executor=executor)
    assert len([job for job in executor.jobs[before:] if job.data]) <= 3


def test_mapped_files_travel_as_their_paths(workers, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((20_000, 3)))
    np.save(tmp_path / "t.npy", np.ones(20_000))
    x, t = (np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "t.npy"))
    executor = workers()
    how = dict(seed=range(5), lr=0.01, max_steps=30)
    sweep = fcb.train_many(x, t, executor=executor, **how)
    assert sweep.digest == fcb.train_many(np.array(x), np.array(t), **how).digest
    assert executor.data_sent
    assert executor.bytes < 50_000
    # Of a part of a file the rows travel.
    assert (
        fcb.train_many(x[5:], t[5:], executor=executor, **how).digest
        == fcb.train_many(np.array(x)[5:], np.array(t)[5:], **how).digest
    )


def test_a_mapped_file_that_is_another_on_a_worker_is_told(workers, tmp_path):
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")

    def other(number, task, job):
        if job.data is not None:
            np.save(tmp_path / "new.npy", X + 1)
            (tmp_path / "new.npy").replace(tmp_path / "x.npy")

    with pytest.raises(fcb.SweepError, match="the same data on each worker"):
        fcb.train_many(x, T, seed=[0], lr=0.1, executor=workers(before=other), **HOW)


# --- what befalls workers ------------------------------------------------------------------------


def test_a_task_that_fails_runs_again(workers):
    failed = set()

    def fails_once(number, task, job):
        key = min(job.numbers)
        if key not in failed:
            failed.add(key)
            raise OSError("connection lost")

    sweep = swept(executor=workers(before=fails_once))
    assert failed
    assert [told(result) for result in sweep] == expected()


def test_a_network_that_always_fails_is_told_by_name_and_the_rest_kept(workers):
    attempts = collections.Counter()

    def never(number, task, job):
        if 7 in job.numbers:
            attempts[tuple(job.numbers)] += 1
            raise MemoryError("no more of it")

    with pytest.raises(fcb.SweepError) as caught:
        swept(executor=workers(before=never))
    error = caught.value
    assert set(error.failures) == {7}
    assert str(error).startswith(
        "1 of 23 networks failed: network 7 (hidden=(4,), lr=0.0025, seed=7, optimizer=Adam("
    )
    assert "MemoryError: no more of it" in str(error)
    assert sum(attempts.values()) == 4
    assert error.results[7] is None
    kept = [told(r) for n, r in enumerate(error.results) if n != 7]
    assert kept == expected()[:7] + expected()[8:]


def test_an_executor_that_breaks_is_made_again(workers):
    made = []

    def breaks(number, task, job):
        if len(made) < 4 and task == 3:
            raise BrokenExecutor("a worker died")

    def make():
        made.append(workers(before=breaks))
        return made[-1]

    sweep = swept(executor=make)
    assert len(made) >= 2
    assert [told(result) for result in sweep] == expected()


def breaks_with_several(number, task, job):
    if len(job.numbers) > 1:
        raise BrokenExecutor("a worker died")


def once(executor):
    """A function that makes an executor, and fails from then on."""
    made = [executor]

    def make():
        if not made:
            raise OSError("no node is free")
        return made.pop()

    return make


def shutting_down(executor):
    """Takes seven jobs, and then no more."""
    submit = executor.submit

    def submit_some(*args):
        if len(executor.jobs) == 7:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return submit(*args)

    executor.submit = submit_some
    return executor


@pytest.mark.parametrize(
    ("before", "made", "text"),
    [
        (breaks_with_several, lambda executor: executor,
         "BrokenExecutor: the executor broke: give a function that makes another"),
        (breaks_with_several, once, "OSError: no node is free"),
        (None, shutting_down, "RuntimeError: cannot schedule new futures after shutdown"),
    ],
    ids=["breaks", "is not made again", "shuts down"],
)  # fmt: skip
def test_an_executor_that_takes_no_more_is_told_and_the_rest_kept(
    workers, tmp_path, before, made, text
):
    results = tmp_path / "results"
    executor = made(workers(before=before))
    with pytest.raises(fcb.SweepError) as caught:
        swept(executor=executor, results=results)
    error = caught.value
    assert [reason for reason in error.failures.values() if text not in reason] == []
    done = [number for number, result in enumerate(error.results) if result is not None]
    assert {*done} | {*error.failures} == {*range(23)}
    assert 0 < len(done) < 23
    assert [told(error.results[n]) for n in done] == [expected()[n] for n in done]
    # What came before is kept, and the same call goes on.
    executor = workers()
    assert [told(r) for r in swept(executor=executor, results=results)] == expected()
    assert {number for job in executor.jobs for number in job.numbers} == {*error.failures}


def kill_once(path):
    """Kill the worker that comes here first."""
    import os

    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()


@pytest.mark.slow
def test_a_process_pool_whose_worker_is_killed_is_replaced(tmp_path):
    rows = [{"seed": s, "hidden": (4,)} for s in range(60)]
    how = dict(lr=0.01, max_steps=20_000, batch_size=3)
    killed = tmp_path / "killed"
    pool = ProcessPoolExecutor(
        2, multiprocessing.get_context("spawn"), initializer=kill_once, initargs=(killed,)
    )
    sweep = fcb.train_many(X, T, settings=rows, executor=pool, **how)
    assert killed.exists()
    assert pool._broken
    assert sweep.digest == fcb.train_many(X, T, settings=rows, **how).digest


# --- the end before the end ----------------------------------------------------------------------


def test_ctrl_c_keeps_what_is_done_and_cancels_the_rest(workers, monkeypatch):
    # Each network is a task.
    for seconds in ("TASK_SECONDS", "_LEAST_SECONDS", "_CLIENT_SECONDS"):
        monkeypatch.setattr(dispatch, seconds, 0.0)
    held = threading.Event()

    def interrupts(number, task, job):
        if task == 8:
            signal.raise_signal(signal.SIGINT)
        if task > 7:
            held.wait(20)

    executor = workers(1, before=interrupts)
    sweep = swept(executor=executor, on_interrupt="return")
    held.set()
    reasons = [result.stop_reason for result in sweep]
    assert set(reasons) == {"max_steps", "interrupted"}
    for result, row, want in zip(sweep, TABLE, expected(), strict=True):
        if result.stop_reason == "interrupted":
            assert result.steps == 0
            sizes = (3, *row["hidden"], 1)
            first = fcb.init_params(sizes, seed=row["seed"], dtype="float64")
            assert fcb.compare(result.params, first).equal
        else:
            assert told(result) == want
    executor.shutdown()
    assert executor.cancelled > 0
    with pytest.raises(KeyboardInterrupt):
        swept(executor=workers(1, before=interrupts))


def test_a_time_limit_ends_workers_too(workers):
    how = dict(seed=range(4), lr=1e-6, max_steps=10**9, time_limit=1.0, executor=workers())
    sweep = fcb.train_many(X, T, **how)
    assert {result.stop_reason for result in sweep} == {"time_limit"}


# --- refusals ------------------------------------------------------------------------------------

EXECUTOR = "must have a method `submit`, or be a function that makes what has one, got"


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"executor": 3}, f"`executor` {EXECUTOR} 3"),
        ({"executor": lambda: 3}, f"`executor` {EXECUTOR} 3"),
        ({"verify": 0.1}, "`verify` must come with `executor`, got 0.1 without"),
        *(
            ({"verify": share, "executor": ThreadPoolExecutor},
             f"`verify` must be None or a share > 0, at most 1, of the networks, got {share}")
            for share in (0, -1, 1.5, float("nan"))
        ),
        ({"checkpoint": "a", "executor": ThreadPoolExecutor},
         "`checkpoint` must be left out with `executor`, where `results` keeps what is done, "
         "got a file"),
        ({"checkpoint": "a", "results": "b"},
         "`checkpoint` must be left out with `results`, where `results` keeps what is done, "
         "got a file"),
        ({"checkpoint": "a"},
         "`checkpoint` must be left out with `settings`, where `results` keeps what is done, "
         "got a file"),
    ],
)  # fmt: skip
def test_what_is_refused_costs_nothing(how, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fcb.ArgumentError) as caught:
        swept(**how)
    assert str(caught.value) == text
    assert not list(tmp_path.iterdir())


def test_a_worker_of_another_contract_is_told(workers, monkeypatch):
    def older(number, task, job):
        monkeypatch.setattr(worker, "CONTRACT_VERSION", 1)

    with pytest.raises(fcb.SweepError, match="contract version 2 is asked for; this worker's"):
        fcb.train_many(X, T, seed=[0], lr=0.1, executor=workers(1, before=older), **HOW)
