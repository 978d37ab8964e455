"""A small network under training, as the kernel for its shape has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.small_kernels import Shape
from fcbackends.kernels import small_layout
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.blocks import most_waiting
from fcbackends.kernels.elements import SLOTS
from fcbackends.kernels.layout import aligned_zeros
from fcbackends.kernels.small import DRAWS_A_BLOCK
from fcbackends.kernels.watch import Seen, Watch
from fcbackends.maths.network import State


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

    def run(
        self,
        x: NDArray[Any],
        t: NDArray[Any],
        samples: int,
        pace: NDArray[np.float64],
        watch: Watch,
        losses: NDArray[np.float64],
        epoch_words: NDArray[np.uint64],
        epoch_order: NDArray[np.uint16],
    ) -> Seen:
        """Take the steps that `watch` asks for, or fewer, on flat x and t.

        On `pace` depend the constants of each step.
        """
        order = np.empty(max(1, DRAWS_A_BLOCK // watch.batch_size) * watch.batch_size, np.int64)
        draws = order, epoch_words, epoch_order
        waiting = most_waiting(watch.batch_size, self._rows_per_block)
        blocks = self._rows_per_block, np.empty((waiting, self._plan.unrepeated), self._flat.dtype)
        return Seen(
            *self._kernel(
                *self._how, pace, self._flat, watch, losses, *draws, x, t, samples, *blocks
            )
        )
