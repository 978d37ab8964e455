"""Executors of the tests' own: workers that are threads with names, and faults to plant in them."""

import contextvars
import pickle
import queue
import threading
from concurrent.futures import Future

import pytest

from fcbackends.executors import reply
from fcbackends.sweeps import shipping, worker
from fcbackends.training import shard

_name = contextvars.ContextVar("name", default=0)


@pytest.fixture
def workers(monkeypatch):
    """A function that makes an executor whose threads pass for processes; see `Workers`."""
    here = reply.where()

    def where():
        return here._replace(process=_name.get()) if _name.get() else here

    monkeypatch.setattr(worker, "where", where)
    monkeypatch.setattr(shard, "where", where)
    made = []

    def make(count=2, **faults):
        made.append(Workers(count, **faults))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown()


class Workers:
    """Threads that take jobs, in turn, as other processes would: pickled, with data of their own.

    Parameters
    ----------
    count : int
        How many there are; their processes are numbered from 1.
    before : callable
        (number of the worker, number of the task from 0, job) -> None, or it raises.
    around : callable
        (number of the worker) -> a context in which a job is done.
    only_result : bool
        Whether what `submit` returns has nothing but `result`.
    """

    def __init__(self, count, before=None, around=None, only_result=False):
        self.jobs, self.bytes, self.data_sent, self.cancelled = [], 0, [], 0
        self._before, self._around, self._only_result = before, around, only_result
        self._queues = [queue.SimpleQueue() for _ in range(count)]
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function, *args):
        pickled, future = pickle.dumps((function, args)), Future()
        with self._lock:
            self.bytes += len(pickled)
            task = len(self.jobs)
            self._queues[task % len(self._queues)].put((task, pickled, future))
            self.jobs.append(args[0])
        return _Only(future) if self._only_result else future

    def shutdown(self, wait=True):
        for waiting in self._queues:
            waiting.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _run(self, number):
        _name.set(number)
        held = {}
        while (entry := self._queues[number - 1].get()) is not None:
            task, pickled, future = entry
            if not future.set_running_or_notify_cancel():
                self.cancelled += 1
                continue
            function, (job,) = pickle.loads(pickled)
            try:
                if self._before:
                    self._before(number, task, job)
                future.set_result(pickle.loads(pickle.dumps(self._do(function, job, number, held))))
            except BaseException as error:
                future.set_exception(error)

    def _do(self, function, job, number, held):
        if function is not worker.work:
            return function(job)
        # Each worker has its own data, as processes have.
        with _alone:
            shared, shipping._held = shipping._held, held.setdefault("data", type(shipping._held)())
            try:
                if job.data is not None:
                    self.data_sent.append(number)
                if self._around:
                    with self._around(number):
                        return function(job)
                return function(job)
            finally:
                shipping._held = shared


_alone = threading.Lock()


class _Only:
    def __init__(self, future):
        self._future = future

    def result(self):
        return self._future.result()
