"""Networks trained in this process, on as many threads as the backend may use."""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fcbackends.backends.backend import Backend
from fcbackends.sweeps.networks import Network
from fcbackends.training.checkpoint import Runs
from fcbackends.training.interruption import Ending
from fcbackends.training.keeping import Observer
from fcbackends.training.pacing import Outcome, run_segments
from fcbackends.training.results import TrainResult, result_of

_LOOK_SECONDS = 0.05
"""A signal that comes just before Python waits for a lock is noticed once that wait is over: of 240
runs that Ctrl-C was to end on a busy machine, one went on for ever."""

Taken = Callable[[int, TrainResult], object]
"""Given each network's place and result as it ends, by one thread at a time."""


def prepare(networks: Sequence[Network]) -> None:
    """Compile what is to be compiled once, for all, and before Ctrl-C is held back."""
    forms: dict[object, list[Network]] = {}
    for each in networks:
        key = each.problem.sizes, each.method.form, each.plan.batch_size == 1
        forms.setdefault(key, []).append(each)
    for alike in forms.values():
        first = alike[0]
        loop, steps = first.loop(), sum(each.max_steps for each in alike)
        loop.prepare(first.problem.x, first.problem.t, first.plan, steps)
        if looks := first.looks():
            looks.prepare(loop)


def train_here(
    networks: Sequence[Network],
    threads: int,
    ending: Ending,
    taken: Taken,
    runs: Runs | None = None,
    observers: Mapping[int, Observer] = {},
) -> None:
    """Train networks, each on one thread of so many, and hand on what each ends with.

    Where the run has to end, those whose turn has not come have the result of no step. Networks
    that were begun go on, and are kept, as `runs` says; some may have observers.
    """

    def train_one(place: int) -> TrainResult:
        network = networks[place]
        begun = runs.begun[place] if runs else None
        why = ending()
        if why and not begun:
            return not_begun(network, why)
        x, t = network.data()
        outcome = run_segments(
            network.loop(),
            x,
            t,
            network.plan,
            0,
            network.max_steps,
            ending=ending,
            looks=network.looks(),
            keeper=runs.keeper(place) if runs else None,
            begun=begun,
            observer=observers.get(place),
        )
        return _result(network, outcome)

    places = range(len(networks))
    if threads <= 1:
        for place in places:
            taken(place, train_one(place))
        return
    # Imported here: it is a third of the time that importing fcbackends takes.
    from concurrent.futures import ThreadPoolExecutor, wait

    waiting, lock = collections.deque(places), threading.Lock()

    def work() -> None:
        # Each thread takes the next for itself: one that handed them out, and was woken for each
        # that is done, would hold the GIL for it.
        while True:
            try:
                place = waiting.popleft()
            except IndexError:
                return
            try:
                result = train_one(place)
                with lock:
                    taken(place, result)
            except BaseException:
                waiting.clear()
                raise

    backend: Backend = networks[0].problem.backend
    with ThreadPoolExecutor(threads, initializer=backend.set_threads, initargs=(1,)) as pool:
        workers = [pool.submit(work) for _ in range(threads)]
        while wait(workers, timeout=_LOOK_SECONDS).not_done:
            pass
        for worker in workers:
            worker.result()


def not_begun(network: Network, why: str) -> TrainResult:
    """What a network ends with whose turn did not come."""
    return _result(network, Outcome(0, math.nan, np.empty(0), why, network.loop().state))


def _result(network: Network, outcome: Outcome) -> TrainResult:
    arithmetic = network.problem.backend.arithmetic
    return result_of(outcome, arithmetic, network.method, network.plan, 0)
