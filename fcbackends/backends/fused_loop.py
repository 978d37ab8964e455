"""A network under training in one flat buffer, moved on by the fused kernels."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.kernels import layout, linear, training
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.jit import entry
from fcbackends.kernels.sampling import EPOCH_WORDS
from fcbackends.kernels.threads import Team, new_barrier_state, run_in_threads, threads_for
from fcbackends.kernels.training import Data
from fcbackends.kernels.watch import Seen, Watch
from fcbackends.records import Array, Params, Plan, Segment
from fcbackends.sampling import stream_key

_WORTH_A_KERNEL = 50_000
"""Samples from which on a kernel is compiled for the shape of a small layer: that takes a second
once, is then read from the cache in some milliseconds, and makes a step of the notebook 15 times
faster."""

_MOST_KERNELS = 32
"""So many shapes have kernels of their own in a process; the others use the general one."""

_ROWS_OF_DATA = 64
"""Rows that go at once where the loss of the whole data is computed, if a batch has fewer."""

_PLAIN = 0x0001 | 0x0100
"""NumPy's flags for contiguous and aligned; the flags object has no cheaper test for both."""


def plain(array: Array) -> NDArray[Any]:
    """The array as kernels read it: rows one after another, aligned; copied only if it is not."""
    if type(array) is np.ndarray and array.flags.num & _PLAIN == _PLAIN:
        return array
    return np.require(array, requirements=["C", "A"])


def _row(array: Array) -> NDArray[Any]:
    return plain(array).reshape(-1)


class FusedLoop:
    """A network in one flat buffer; see `Loop`."""

    def __init__(
        self, params: Params, lr: float, *, capacity: int = 1, arithmetic: str = "ordered"
    ) -> None:
        self._sizes = (params[0][0].shape[0], *(w.shape[1] for w, _ in params))
        self._dtype = params[0][0].dtype
        self._names = (self._dtype.name, arithmetic)
        self._lr = lr
        self._alone = Team(0, 1, new_barrier_state(1))
        self._lay_out(capacity, 1)
        self.params = params
        layout.write(self._network, self._shared.previous, params)

    def _lay_out(self, capacity: int, threads: int) -> None:
        self._capacity, self._most_threads = capacity, threads
        self._network = layout.new_network(
            self._sizes,
            capacity,
            threads,
            self._dtype,
            ARITHMETICS[self._names[1]],
            activation="relu",
            loss="mean_squared",
            optimizer="sgd",
        )
        (self._shared,) = self._network.shared
        self._network.memory[self._shared.lr] = self._lr

    def _make_room(self, rows: int, threads: int) -> None:
        """Make room for so many rows and threads, where there is less."""
        if rows <= self._capacity and threads <= self._most_threads:
            return
        params, previous = self.params, layout.read(self._network, self._shared.previous)
        self._lay_out(max(rows, self._capacity), max(threads, self._most_threads))
        self.params = params
        layout.write(self._network, self._shared.previous, previous)

    @property
    def params(self) -> Params:
        """A copy of the parameters."""
        return layout.read(self._network, self._shared.theta)

    @params.setter
    def params(self, params: Params) -> None:
        layout.write(self._network, self._shared.theta, params)

    @property
    def last_finite(self) -> Params:
        """A copy of the last parameters that `step` saw and whose values are all finite."""
        params = self.params
        if all(np.isfinite(array).all() for pair in params for array in pair):
            return params
        return layout.read(self._network, self._shared.previous)

    def step(self, x: Array, t: Array, *, guarded: bool = True) -> float:
        """Take one step on a batch or one sample; returns the loss before it."""
        if x.ndim != 1 or t.ndim != 1 or x.flags.num & t.flags.num & _PLAIN != _PLAIN:
            rows = 1 if x.ndim == 1 else x.shape[0]
            self._make_room(rows, 1)
            return self._take_step(self._network, _row(x), _row(t), rows, guarded, self._alone)
        return self._take_step(self._network, x, t, 1, guarded, self._alone)

    @functools.cached_property
    def _take_step(self) -> Callable[..., float]:
        return entry(training.take_step(*self._names))

    def _work_together(self, rows: int, products: int) -> int:
        """Make room for so many rows and all threads that are worth it; returns their number."""
        threads = threads_for(products)
        self._make_room(max(rows, _ROWS_OF_DATA), threads)
        return threads

    def _products(self, rows: int) -> int:
        return rows * sum(k * m for k, m in itertools.pairwise(self._sizes))

    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""
        samples = x.shape[0]
        threads = self._work_together(min(samples, self._capacity), self._products(samples))
        kernel = entry(training.data_loss(*self._names))
        data = Data(_row(x), _row(t), samples)
        return run_in_threads(lambda team: kernel(self._network, data, team), threads)

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
        losses = np.empty(stop // plan.record_every - start // plan.record_every)
        watch = Watch(
            np.uint64(stream_key(plan.seed)),
            start,
            stop,
            plan.batch_size,
            plan.sampling == "epoch",
            plan.tol_on == "data",
            -1.0 if plan.tol is None else plan.tol,
            plan.record_every,
        )
        data = Data(_row(x), _row(t), x.shape[0])
        kernel = _linear_kernel(self._sizes, self._names, plan)
        with np.errstate(all="ignore"):
            if kernel:
                seen = self._run_linear(kernel, data, watch, losses)
            else:
                seen = self._run_general(data, watch, losses)
        recorded = losses[: seen.recorded]
        return Segment(seen.step, seen.loss, recorded, seen.reached, seen.diverged_at or None)

    def _run_linear(
        self, kernel: Callable[..., Seen], data: Data, watch: Watch, losses: NDArray[np.float64]
    ) -> Seen:
        ((w, b),) = self.params
        theta = np.concatenate([w.reshape(-1), b])
        batches = max(1, linear.DRAWS_A_BLOCK // watch.batch_size)
        order = np.empty(batches * watch.batch_size, np.int64)
        epoch_words = np.zeros(EPOCH_WORDS, np.uint64)
        seen = kernel(
            self._network.arithmetic,
            self._shared.loss,
            self._shared.optimizer,
            self._dtype.type(self._lr),
            theta,
            data,
            watch,
            losses,
            order,
            epoch_words,
        )
        self.params = ((theta[: w.size].reshape(w.shape), theta[w.size :]),)
        return seen

    def _run_general(self, data: Data, watch: Watch, losses: NDArray[np.float64]) -> Seen:
        threads = self._work_together(watch.batch_size, 3 * self._products(watch.batch_size))
        kernel = entry(training.train_steps(*self._names))
        order = np.empty((threads, watch.batch_size), np.int64)
        epoch_words = np.zeros((threads, EPOCH_WORDS), np.uint64)

        def work(team: Team) -> Seen:
            return kernel(self._network, data, watch, losses, order, epoch_words, team)

        return run_in_threads(work, threads)


_shapes_with_kernels: set[tuple[Any, ...]] = set()


def _linear_kernel(
    sizes: tuple[int, ...], names: tuple[str, str], plan: Plan
) -> Callable[..., Seen] | None:
    """The kernel for a small layer of constant shape, where one is worth compiling."""
    inputs, outputs = sizes[0], sizes[-1]
    if len(sizes) != 2 or not linear.is_small(inputs, outputs):
        return None
    shape = inputs, outputs, plan.batch_size == 1, *names
    if shape not in _shapes_with_kernels:
        too_short = plan.steps * plan.batch_size < _WORTH_A_KERNEL
        if too_short or len(_shapes_with_kernels) == _MOST_KERNELS:
            return None
        _shapes_with_kernels.add(shape)
    family = linear.linear_steps(inputs, outputs, one_sample=plan.batch_size == 1)
    return entry(family(*names))
