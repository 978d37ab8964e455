"""A small network under training, as the kernel for its shape has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.small_kernels import Shape
from fcbackends.kernels import small_layout
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.blocks import most_waiting, parts_of
from fcbackends.kernels.elements import SLOTS
from fcbackends.kernels.layout import aligned_zeros
from fcbackends.kernels.small import DRAWS_A_BLOCK, weights_of
from fcbackends.kernels.small_blocks import Shared
from fcbackends.kernels.small_layout import LANES
from fcbackends.kernels.threads import Team, get_threads, run_in_threads
from fcbackends.kernels.watch import Seen, Watch
from fcbackends.maths.network import State

_PRODUCTS_A_THREAD = 1_000_000
"""Multiply-adds of a step that are worth a further thread: some 50 us, where to wait for each
other takes threads one."""


class SmallNetwork:
    """The weights of a small network, and the ways to move them on.

    Parameters
    ----------
    shape : Shape
        What `kernel` is for.
    kernel : callable
        From `fcbackends.kernels.small`.
    constants : array
        The update's constants.
    rows_per_block : int
        How many samples are a block of a sum.
    """

    def __init__(
        self,
        shape: Shape,
        kernel: Callable[..., Any],
        constants: NDArray[Any],
        rows_per_block: int,
    ) -> None:
        self.shape = shape
        self._kernel = kernel
        self._plan = small_layout.plan(shape.sizes, one_sample=shape.one_sample)
        rows = 1 + SLOTS[shape.rule.update]
        memory = aligned_zeros(rows * self._plan.weights, np.dtype(shape.dtype))
        self._memory = memory.reshape(rows, -1)
        self._how = ARITHMETICS[shape.arithmetic], constants
        self._rows_per_block = rows_per_block
        self._flat = self._memory.reshape(-1)

    @property
    def state(self) -> State:
        """A copy of all that steps change."""
        params, *slots = (
            tuple((w.copy(), b.copy()) for w, b in small_layout.read(self._plan, part))
            for part in self._memory
        )
        return State(params, tuple(slots))

    @state.setter
    def state(self, state: State) -> None:
        for part, pairs in zip(self._memory, (state.params, *state.slots), strict=True):
            small_layout.write(self._plan, part, pairs)

    def threads_for(self, batch_size: int) -> int:
        """How many threads are worth their while for a batch: they share its blocks of rows."""
        blocks = -(-batch_size // self._rows_per_block)
        if blocks == 1:
            return 1
        products = 3 * batch_size * weights_of(self.shape.sizes)
        return min(blocks, 1 + products // _PRODUCTS_A_THREAD, get_threads())

    def run(
        self,
        x: NDArray[Any],
        t: NDArray[Any],
        samples: int,
        pace: NDArray[np.float64],
        watch: Watch,
        losses: NDArray[np.float64],
        epoch_words: NDArray[np.uint64],
        epoch_orders: NDArray[np.uint16],
        threads: int,
    ) -> Seen:
        """Take the steps that `watch` asks for, or fewer, on flat x and t.

        On `pace` depend the constants of each step. Of epochs each thread has a row.
        """
        if self.shape.in_blocks:
            how = pace, watch, losses, epoch_words, epoch_orders, (x, t, samples), threads
            return self._run_in_blocks(*how)
        order = np.empty(max(1, DRAWS_A_BLOCK // watch.batch_size) * watch.batch_size, np.int64)
        draws = order, epoch_words[0], epoch_orders[0]
        return Seen(
            *self._kernel(*self._how, pace, self._flat, watch, losses, *draws, x, t, samples, 0)
        )

    def _run_in_blocks(
        self,
        pace: NDArray[np.float64],
        watch: Watch,
        losses: NDArray[np.float64],
        epoch_words: NDArray[np.uint64],
        epoch_orders: NDArray[np.uint16],
        data: Any,
        threads: int,
    ) -> Seen:
        """Take them with sums in blocks; what the first thread moves is kept."""
        batch, size, real = watch.batch_size, self._plan.unrepeated, self._memory.dtype
        rows_per_part, parts = parts_of(batch, self._rows_per_block, threads)
        of_parts = aligned_zeros(2 * parts * (size + LANES), real)
        room = most_waiting(batch, self._rows_per_block) * size
        waiting = [aligned_zeros(room, real) for _ in range(threads)]
        draws = DRAWS_A_BLOCK if self.shape.one_sample else batch
        orders = np.empty((threads, draws), np.int64)
        states = [self._flat, *(self._flat.copy() for _ in range(1, threads))]
        seen = [losses, *(np.empty_like(losses) for _ in range(1, threads))]

        def work(team: Team) -> Any:
            own = team.thread
            shared = Shared(self._rows_per_block, rows_per_part, waiting[own], of_parts, team)
            draws = orders[own], epoch_words[own], epoch_orders[own]
            return self._kernel(
                *self._how, pace, states[own], watch, seen[own], *draws, *data, shared
            )

        return Seen(*run_in_threads(work, threads))
