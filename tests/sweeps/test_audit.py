"""An audit finds workers whose bits are others: which, on what machine, and from which step on."""

import contextlib
import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.executors.reply import where
from tests.float_state import SETS_REGISTER, needs_x86
from tests.sweeps.cases import HOW, T, X, table

TABLE = table(12)


def swept(**how):
    return fcb.train_many(X, T, settings=TABLE, **(HOW | how))


def off_from(step, factor=1 + 2**-40):
    """A Numba backend whose parameters are off after one step."""
    real = fcb.get_backend("numba")

    def training_loop(params, method):
        loop = real.training_loop(params, method)
        run = loop.run

        def off(x, t, plan, start, stop):
            if not start < step <= stop:
                return run(x, t, plan, start, stop)
            if start < step - 1:
                run(x, t, plan, start, step - 1)
            run(x, t, plan, step - 1, step)
            state = loop.state
            first, *others = state.params
            loop.state = state._replace(params=((first[0] * factor, first[1]), *others))
            return run(x, t, plan, step, stop) if step < stop else run(x, t, plan, step, step)

        loop.run = off
        return loop

    return dataclasses.replace(real, training_loop=training_loop)


@contextlib.contextmanager
def replaced(backend):
    """Have another backend by the name of Numba's, as on a worker whose kernels were replaced."""
    real = fcb.get_backend("numba")
    fcb.register_backend("numba", lambda: backend)
    try:
        yield
    finally:
        fcb.register_backend("numba", lambda: real)


def only_on(worker, context):
    return lambda number: context() if number == worker else contextlib.nullcontext()


@pytest.mark.parametrize("share", [1, 0.3, 0.01])
def test_workers_of_the_same_bits_are_found_nothing_of(workers, share):
    executor = workers(3)
    sweep = swept(executor=executor, verify=share)
    assert sweep.digest == swept().digest
    again = [job for job in executor.jobs if job.not_on]
    audited = {number for job in again for number in job.numbers}
    assert len(audited) == np.ceil(share * 12)


@pytest.mark.parametrize("step", [1, 2, 17, 39, 40])
def test_a_worker_whose_kernel_was_replaced_is_found(workers, step):
    executor = workers(3, around=only_on(2, lambda: replaced(off_from(step))))
    with pytest.raises(fcb.SweepError) as caught:
        swept(executor=executor, verify=1)
    error = caught.value
    (finding,) = error.findings
    here = where()
    assert (finding.host, finding.cpu, finding.process) == (here.host, here.cpu, 2)
    assert finding.steps == (step - 1, step)
    trained = {n for job in executor.jobs if not job.not_on for n in job.numbers}
    assert set(finding.networks) <= trained
    assert str(error).startswith(
        f"process 2 on host {here.host!r} (CPU {here.cpu}) gave network {finding.number} ("
    )
    assert f"other bits than this process from step {step} on" in str(error)
    # What it had trained was trained again.
    assert [fcb.digest(r.params) for r in error.results] == list(swept().digests)
    assert not error.failures


def test_the_step_is_found_within_long_runs_too(workers):
    how = dict(max_steps=5000, seed=range(6), lr=0.01, batch_size=2)
    executor = workers(2, around=only_on(1, lambda: replaced(off_from(3210))))
    with pytest.raises(fcb.SweepError) as caught:
        fcb.train_many(X, T, executor=executor, verify=1, **how)
    (finding,) = caught.value.findings
    assert finding.steps == (3209, 3210)
    assert finding.process == 1


def test_without_an_audit_it_is_not_found(workers):
    executor = workers(2, around=only_on(1, lambda: replaced(off_from(5))))
    assert swept(executor=executor).digest != swept().digest


def test_a_single_worker_is_held_against_this_process(workers):
    executor = workers(1, around=only_on(1, lambda: replaced(off_from(5))))
    with pytest.raises(fcb.SweepError) as caught:
        swept(executor=executor, verify=0.5)
    (finding,) = caught.value.findings
    assert finding.process == 1
    # No other worker is there: this process trained its networks again.
    assert [fcb.digest(r.params) for r in caught.value.results] == list(swept().digests)


def test_doubted_results_in_a_file_count_no_more(workers, tmp_path):
    path = tmp_path / "results"
    executor = workers(2, around=only_on(1, lambda: replaced(off_from(5))))
    with pytest.raises(fcb.SweepError):
        swept(executor=executor, verify=1, results=path)
    assert swept(results=path).digest == swept().digest


def test_an_audit_goes_on_after_a_call_that_ended(workers, tmp_path, monkeypatch):
    path = tmp_path / "results"
    from fcbackends.sweeps import audit

    # The first call audits nothing that it has trained.
    with monkeypatch.context() as patch:
        patch.setattr(audit.Audit, "first", lambda *rest: None)
        swept(executor=workers(1), verify=0.5, results=path)
    executor = workers(2)
    swept(executor=executor, verify=0.5, results=path)
    assert {number for job in executor.jobs for number in job.numbers if job.not_on}
    assert all(job.not_on for job in executor.jobs)
    executor = workers(2)
    swept(executor=executor, verify=0.5, results=path)
    assert not executor.jobs


def flush(path):
    """Take subnormal numbers for zero, in the worker that comes here first."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return
    space = {}
    exec(SETS_REGISTER, space)
    space["set_register"](space["FLUSHES"])


@needs_x86
@pytest.mark.slow
def test_a_process_that_flushes_subnormals_is_found(tmp_path):
    # Gradients are subnormal, and parameters are what comes of them.
    x = np.full((40, 2), 1e-160)
    t = np.full((40, 1), 1e-150)
    params = ((np.zeros((2, 1)), np.zeros(1)),)
    rows = [{"seed": seed} for seed in range(40)]
    how = dict(lr=0.01, max_steps=30_000, params=params, settings=rows)
    pool = ProcessPoolExecutor(
        2, multiprocessing.get_context("spawn"), initializer=flush, initargs=(tmp_path / "one",)
    )
    with pool, pytest.raises(fcb.SweepError) as caught:
        fcb.train_many(x, t, executor=pool, verify=0.1, **how)
    (finding,) = caught.value.findings
    assert finding.steps == (0, 1)
    expected = fcb.train_many(x, t, **how)
    assert [fcb.digest(r.params) for r in caught.value.results] == list(expected.digests)
