"""Five thousand networks of mixed shapes on clusters and pools, workers and callers killed."""

import contextlib
import functools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ProcessPoolExecutor

import pytest

import fcbackends as fcb
from fcbackends.sweeps import kept
from tests.sweeps.cases import T, X, table

pytestmark = pytest.mark.campaign

COUNT = 5000
HOW = dict(max_steps=4000, batch_size=4, record_every=1000)
"""Some 20 ms a network."""

KILLED_EVERY = 4.0


@functools.cache
def expected():
    return fcb.train_many(X, T, settings=table(COUNT), **HOW).digest


@contextlib.contextmanager
def cluster(workers):
    """A cluster of Dask's on this machine, as an executor, and a function that kills a worker."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None
        ) as made,
        distributed.Client(made) as client,
    ):

        def kill():
            pids = list(client.run(os.getpid, on_error="ignore").values())
            os.kill(random.choice(pids), signal.SIGKILL)

        yield made.scheduler_address, client.get_executor(), kill


@contextlib.contextmanager
def killing(kill, every=KILLED_EVERY):
    """Kill a worker now and then; gives how often it was done."""
    ended, count = threading.Event(), [0]

    def work():
        while not ended.wait(every):
            with contextlib.suppress(OSError, ValueError, ProcessLookupError):
                kill()
                count[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield count
    finally:
        ended.set()
        thread.join()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_on_a_cluster_of_any_size_there_is_one_digest(workers):
    with cluster(workers) as (_, executor, _):
        sweep = fcb.train_many(X, T, settings=table(COUNT), executor=executor, **HOW)
    assert sweep.digest == expected()


def test_on_a_process_pool_there_is_one_digest():
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        sweep = fcb.train_many(X, T, settings=table(COUNT), executor=executor, verify=0.02, **HOW)
    assert sweep.digest == expected()


@pytest.mark.filterwarnings("ignore")
def test_with_workers_of_a_cluster_killed_there_is_one_digest():
    with cluster(2) as (_, executor, kill), killing(kill) as killed:
        sweep = fcb.train_many(X, T, settings=table(COUNT), executor=executor, **HOW)
    assert killed[0] > 0
    assert sweep.digest == expected()


def test_with_workers_of_a_pool_killed_there_is_one_digest():
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))

    def kill():
        os.kill(random.choice(multiprocessing.active_children()).pid, signal.SIGKILL)

    with killing(kill) as killed:
        sweep = fcb.train_many(X, T, settings=table(COUNT), executor=pool, **HOW)
    assert killed[0] > 0
    assert sweep.digest == expected()


CLIENT = """
import sys
import distributed
import fcbackends as fcb
from tests.sweeps.cases import T, X, table
from tests.sweeps.test_campaign import COUNT, HOW
with distributed.Client(sys.argv[1]) as client:
    executor = client.get_executor()
    fcb.train_many(X, T, settings=table(COUNT), executor=executor, results=sys.argv[2], **HOW)
"""


@pytest.mark.filterwarnings("ignore")
def test_with_its_caller_killed_five_times_there_is_one_digest(tmp_path, monkeypatch):
    path, kills = tmp_path / "results", 0
    with cluster(2) as (address, executor, _):
        command = [sys.executable, "-c", textwrap.dedent(CLIENT), address, str(path)]
        size = 0
        while kills < 5:
            with subprocess.Popen(command) as process:
                while process.poll() is None:
                    if path.exists() and path.stat().st_size > size + 200_000:
                        size = path.stat().st_size
                        process.kill()
                        kills += 1
                        break
                process.wait()
            assert process.returncode == -signal.SIGKILL
        counted = []
        take = kept.Kept._take

        def counts(self, where, pack):
            counted.extend(each.number for each in pack)
            return take(self, where, pack)

        monkeypatch.setattr(kept.Kept, "_take", counts)
        sweep = fcb.train_many(X, T, settings=table(COUNT), executor=executor, results=path, **HOW)
    assert sweep.digest == expected()
    # No network was lost, and none is in the file twice.
    assert sorted(counted) == list(range(COUNT))
