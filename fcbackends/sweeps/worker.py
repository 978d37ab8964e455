"""What a worker does: it trains some networks and sends back what they ended with."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fcbackends import agreement
from fcbackends.executors.reply import Reply, Where, where
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.network import Params
from fcbackends.sweeps import shipping
from fcbackends.sweeps.here import prepare, train_here
from fcbackends.sweeps.networks import Data, How, Network, networks_of
from fcbackends.sweeps.packs import Ended, packed
from fcbackends.sweeps.settings import Settings
from fcbackends.training.results import TrainResult

_TRACED = 64
"""Digests on the way of a network that is audited; each takes some 0.03 ms."""

Trace = Sequence[tuple[int, str]]


class Job(NamedTuple):
    """Some networks to train.

    Attributes
    ----------
    key : str
        The content of their data.
    data : Data or None
        The data, where the worker may not have them.
    how : How
        What computes.
    shared, own : mapping, sequence of mapping
        The settings of all, and of each.
    numbers : sequence of int
        Which networks they are.
    traced : collection of int
        Those of which digests on the way are wanted.
    seconds_left : float or None
        The end of the time limit.
    not_on, only_on : Where or None
        The process that is not to do it, or the only one.
    within : (int, int) or None
        The steps between which each step's digest is wanted; None for some over the whole run.
    contract : int
        The version of the contract that its bits are to be of.
    """

    key: str
    data: Data | None
    how: How
    shared: Mapping[str, Any]
    own: Sequence[Mapping[str, Any]]
    numbers: Sequence[int]
    traced: Collection[int] = ()
    seconds_left: float | None = None
    not_on: Where | None = None
    only_on: Where | None = None
    within: tuple[int, int] | None = None
    contract: int = CONTRACT_VERSION


class Tracer:
    """Takes digests on the way of a run.

    Parameters
    ----------
    every : int
        Steps between two of them.
    within : (int, int) or None
        Only after the first of these steps, and up to the second.
    """

    def __init__(self, every: int, within: tuple[int, int] | None = None) -> None:
        self._every = every
        self._first, self._last = within or (0, sys.maxsize)
        self.trace: list[tuple[int, str]] = []

    def next_after(self, step: int) -> int:
        """The next step whose parameters are wanted."""
        wanted = max((step // self._every + 1) * self._every, self._first)
        return wanted if wanted <= self._last else sys.maxsize

    def take(self, step: int, params: Params) -> None:
        """Digest the parameters."""
        if not self.trace or self.trace[-1][0] != step:
            self.trace.append((step, agreement.digest(params)))


def work(job: Job) -> Reply:
    """Do a job on the worker that this runs on, on as many threads as the worker has.

    That is one, as executors hand out tasks, or what NUMBA_NUM_THREADS says where it is set.

    Raises
    ------
    RuntimeError
        Where this is for another version of the contract.
    """
    if job.contract != CONTRACT_VERSION:
        known = f"this worker's fcbackends has {CONTRACT_VERSION}"
        raise RuntimeError(f"contract version {job.contract} is asked for; {known}")
    begun, here = time.perf_counter(), where()
    if job.not_on == here or (job.only_on and job.only_on != here):
        return Reply("not here", here)
    given = shipping.held(job.key)
    if given is None and job.data is not None:
        given = shipping.hold(job.key, job.data)
    if given is None:
        return Reply("no data", here)
    networks = networks_of(given, job.how, Settings(job.shared, job.own, False))
    prepare(networks)
    ready = time.perf_counter()
    limit = None if job.seconds_left is None else begun + job.seconds_left
    ended = trained(networks, job.numbers, job.traced, limit, job.within)
    seconds = time.perf_counter() - ready
    content = packed(ended, here, networks[0].problem.dtype)
    return Reply("done", here, content, seconds, time.perf_counter() - begun)


def trained(
    networks: Sequence[Network],
    numbers: Sequence[int],
    traced: Collection[int],
    limit: float | None = None,
    within: tuple[int, int] | None = None,
) -> list[Ended]:
    """Train networks that have these numbers, until `time.perf_counter` is at the limit."""
    backend = networks[0].problem.backend
    tracers = {
        place: Tracer(1 if within else -(-networks[place].max_steps // _TRACED), within)
        for place, number in enumerate(numbers)
        if number in traced
    }
    results: dict[int, TrainResult] = {}

    def ending() -> str | None:
        return "time_limit" if limit is not None and time.perf_counter() >= limit else None

    before = backend.get_threads()
    threads = min(before, len(networks)) if os.environ.get("NUMBA_NUM_THREADS") else 1
    try:
        # Kernels of one network would take more threads than the worker is meant to have.
        backend.set_threads(1)
        train_here(networks, threads, ending, results.__setitem__, observers=tracers)
    finally:
        backend.set_threads(before)
    return [
        Ended(
            number,
            results[place],
            agreement.digest(results[place].params),
            tracers[place].trace if place in tracers else (),
        )
        for place, number in enumerate(numbers)
    ]
