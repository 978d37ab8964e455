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
from concurrent.futures import ProcessPoolExecutor

import pytest

import fcbackends as fcb
from fcbackends.sweeps import kept
from tests.sweeps.cases import T, X, table

pytestmark = pytest.mark.campaign

COUNT = 5000
HOW = dict(max_steps=4000, batch_size=4, record_every=1000)
"""Some 2 ms a network."""


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


def killing(monkeypatch, kill):
    """From here on, kill a worker whenever another thousand networks are done."""
    take, done = kept.Kept._take, [0]

    def taking(self, where, pack):
        new = take(self, where, pack)
        before, done[0] = done[0], done[0] + new
        if before // 1000 < done[0] // 1000 < COUNT // 1000:
            kill()
        return new

    monkeypatch.setattr(kept.Kept, "_take", taking)
    return done


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
def test_with_workers_of_a_cluster_killed_there_is_one_digest(monkeypatch):
    killed = []
    with cluster(2) as (_, executor, kill):
        done = killing(monkeypatch, lambda: killed.append(kill()))
        sweep = fcb.train_many(X, T, settings=table(COUNT), executor=executor, **HOW)
    assert (len(killed), done[0]) == (4, COUNT)
    assert sweep.digest == expected()


def test_with_workers_of_a_pool_killed_there_is_one_digest(monkeypatch):
    pool, killed = ProcessPoolExecutor(2, multiprocessing.get_context("spawn")), []

    def kill():
        killed.append(random.choice(multiprocessing.active_children()).pid)
        os.kill(killed[-1], signal.SIGKILL)

    done = killing(monkeypatch, kill)
    sweep = fcb.train_many(X, T, settings=table(COUNT), executor=pool, **HOW)
    assert (len(killed), done[0]) == (4, COUNT)
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
