"""A network under training in one flat buffer, moved on by the fused kernels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.arrays import dtype_of, is_plain
from fcbackends.backends import small_kernels
from fcbackends.backends.loop import Plan, Segment
from fcbackends.backends.small_kernels import Shape
from fcbackends.backends.small_network import SmallNetwork
from fcbackends.kernels import layout, training
from fcbackends.kernels.arithmetic import ARITHMETICS
from fcbackends.kernels.blocks import ONE_BLOCK
from fcbackends.kernels.elements import MOST_CONSTANTS, SLOTS, is_paced
from fcbackends.kernels.jit import entry
from fcbackends.kernels.sampling import MAX_SHUFFLED, new_epochs
from fcbackends.kernels.threads import ALONE, run_in_threads, threads_for
from fcbackends.kernels.training import Data
from fcbackends.kernels.watch import Seen, Watch
from fcbackends.maths.activations import of_hidden_layers
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Method, Params, State, is_finite
from fcbackends.maths.optimizers import constants_by_step
from fcbackends.maths.sampling import stream_key
from fcbackends.maths.schedules import Schedule, rates

_RATES_AT_ONCE = 2**14
"""Steps of a schedule whose rates are computed for one call of a kernel: they fit the cache."""

_LONG_PRODUCTS = 100_000_000
"""Multiply-adds of a step, or of a loss, that are worth asking whether they are called off: some
milliseconds. To start the threads for it takes 0.1 ms."""

_LONG_DESCENT_PRODUCTS, _LONG_DESCENT_ROWS = 1_000_000_000, 64
"""Multiply-adds and rows of a batch from which on weights move when all of the gradient is there.
To sum that takes longer than it may take to leave a step; to keep it, little beside it."""

_ROWS_OF_DATA = 64
"""Rows that go at once where the loss of the whole data is computed, if a batch has fewer."""


def plain(array: Array) -> NDArray[Any]:
    """The array as kernels read it: rows one after another, aligned; copied only if it is not."""
    if type(array) is np.ndarray and is_plain(array):
        return array
    return np.require(array, requirements=["C", "A"])


def _row(array: Array) -> NDArray[Any]:
    return plain(array).reshape(-1)


class FusedLoop:
    """A network under training, as `fcbackends.backends.loop.Loop` has it.

    Parameters
    ----------
    arithmetic : str
        A name in the kernels' table.
    params : tuple of (w, b)
        The first parameters; they are copied.
    method : Method
        How the network computes and learns.
    capacity : int
        Rows that there is room for; more make room as they come.
    rows_per_block : int
        How many samples are a block of a sum over samples.
    """

    _small: SmallNetwork | None = None
    _is_linked = False
    _moves_at_last = False
    called_off: Callable[[], bool] | None = None
    _written_down = 0
    _source: tuple[str, int, int] = "", 0, 0
    _epochs = new_epochs(0, 0)

    def __init__(
        self,
        arithmetic: str,
        params: Params,
        method: Method,
        *,
        capacity: int = 1,
        rows_per_block: int = ONE_BLOCK,
    ) -> None:
        self._sizes = (params[0][0].shape[0], *(w.shape[1] for w, _ in params))
        self._dtype = params[0][0].dtype
        self._names = (dtype_of(self._dtype), arithmetic)
        self._form, self._rows_per_block = method.form, rows_per_block
        self._activations = of_hidden_layers(self._form.activation, len(params) - 1)
        self._slots = SLOTS[self._form.rule.update]
        self._is_paced = is_paced(self._form.rule)
        self._lay_out(capacity, 1)
        self.restart(params, method)
        # What `last_finite` goes back to until a step has looked at the weights.
        previous = self._shared.previous
        self._network.memory[previous : previous + len(self._state)] = self._state

    def restart(self, params: Params, method: Method) -> None:
        """Begin anew, from other parameters of these sizes, with a method of another rate."""
        self._constants_of = constants_by_step(method.optimizer, method.lr)
        self._schedule = method.lr if isinstance(method.lr, Schedule) else None
        first = method.lr.lr if isinstance(method.lr, Schedule) else method.lr
        self._pace = np.array([first, *method.optimizer.betas, method.optimizer.weight_decay])
        self._small = None
        self._write_constants(1)
        if method.clip_norm is not None:
            self._constants()[MOST_CONSTANTS] = method.clip_norm
        if self._slots:
            self._state[self._shared.theta_size :] = 0
        self._write(params)

    def _lay_out(self, capacity: int, threads: int) -> None:
        self._layout = layout.lay_out(
            self._sizes,
            capacity,
            threads,
            self._dtype.itemsize,
            between=self._activations,
            loss=self._form.loss,
            weighted=self._form.weighted,
            slots=self._slots,
            clipped=self._form.rule.clipped,
            kept=self._form.rule.clipped or self._moves_at_last,
            rows_per_block=self._rows_per_block,
        )
        self._shared = shared = self._layout.shared
        arithmetic = ARITHMETICS[self._names[1]]
        self._network = layout.new_network(self._layout, self._dtype, arithmetic)
        if self._is_linked:
            layout.link(self._layout, self._network)
        memory = self._network.memory
        self._state = memory[shared.theta : shared.theta + shared.state_size]
        self._copies = [
            layout.views(self._layout, memory, shared.theta + copy * shared.theta_size)
            for copy in range(1 + self._slots)
        ]
        self._transposed = layout.transposed(self._layout, memory)

    @property
    def nbytes(self) -> int:
        """The size of the buffer."""
        return self._network.memory.nbytes

    def _constants(self) -> NDArray[Any]:
        at = self._shared.constants
        return self._network.memory[at : at + MOST_CONSTANTS + self._form.rule.clipped]

    def _write_constants(self, step: int) -> None:
        """Put those of this step where kernels read them, unless they are there: all of SGD are."""
        constants = self._constants_of(step)
        with np.errstate(over="ignore", under="ignore"):
            self._constants()[: len(constants)] = constants

    def _write(self, params: Params) -> None:
        """Put parameters where the weights stand, and break off what was written down of steps."""
        layout.write(self._copies[0], params)
        for to, (w, _) in zip(self._transposed, params[1:], strict=True):
            to[...] = w.T
        self._network.memory[self._shared.taken + 1] = False

    def _make_room(self, rows: int, threads: int, *, at_last: bool = False) -> None:
        """Make room for so many rows and threads, or to move weights at last, if it lacks."""
        most_rows, most_threads = self._shared.capacity, self._layout.threads
        if rows <= most_rows and threads <= most_threads and at_last <= self._moves_at_last:
            return
        self._moves_at_last |= at_last
        lasting = self._network.memory[: self._layout.lasting]
        self._lay_out(max(rows, most_rows), max(threads, most_threads))
        self._network.memory[: len(lasting)] = lasting

    @property
    def state(self) -> State:
        """A copy of all that steps change."""
        if self._small:
            return self._small.state
        return self._read()

    @state.setter
    def state(self, state: State) -> None:
        if self._small:
            self._small.state = state
            return
        self._write(state.params)
        for views, pairs in zip(self._copies[1:], state.slots, strict=True):
            layout.write(views, pairs)

    def _read(self) -> State:
        params, *slots = map(layout.read, self._copies)
        return State(params, tuple(slots))

    @property
    def params(self) -> Params:
        """A copy of the parameters."""
        if self._small:
            return self._small.state.params
        return layout.read(self._copies[0])

    @property
    def last_finite(self) -> State:
        """A copy of the last state that `step` saw and whose parameters are all finite."""
        self._hand_to(None)
        shared, memory = self._shared, self._network.memory
        state = self._read()
        if is_finite(np, state.params):
            return state
        # The steps since the copy was made are taken again, from there to where values overflow.
        now = memory[: self._layout.lasting].copy()
        self._state[:] = memory[shared.previous : shared.previous + shared.state_size]
        state = self._read()
        self._write(state.params)
        inputs, size = self._sizes[0], self._sizes[0] + shared.target_size
        taken = int(memory[shared.taken])
        samples = memory[shared.taken + 2 :][: taken * size]
        number = self._written_down - taken
        for sample in samples.reshape(-1, size):
            number += 1
            if self._is_paced:
                self._write_constants(number)
            self._take_step(self._network, sample[:inputs], sample[inputs:], 1, False, ALONE)
            moved = self._read()
            if not is_finite(np, moved.params):
                break
            state = moved
        memory[: len(now)] = now
        return state

    def step(self, x: Array, t: Array, number: int, *, guarded: bool = True) -> float:
        """Take the step of this number on a batch or one sample; returns the loss before it."""
        if self._small:
            self._hand_to(None)
        rows, take_step = 1, self._take_step
        if x.ndim == 2:
            rows = x.shape[0]
            self._make_room(rows, 1)
            x, t = _row(x), _row(t)
            if rows > self._rows_per_block:
                take_step = self._take_step_in_blocks
        if not self._is_paced:
            return take_step(self._network, x, t, rows, guarded, ALONE)
        self._write_constants(number)
        loss = take_step(self._network, x, t, rows, guarded, ALONE)
        if self._network.memory[self._shared.taken + 1] and loss - loss == 0.0:
            self._written_down = number
        return loss

    def _link(self) -> None:
        """From now on, general kernels may work on the network."""
        if not self._is_linked:
            layout.link(self._layout, self._network)
            self._is_linked = True

    def _take_step(self, *arguments: Any) -> float:
        """Take a step, the first: the kernel comes in this method's place.

        A cached property has a lock until Python 3.11; a process that was forked while another
        thread held it waited for ever.
        """
        self._link()
        # It finds its constants written.
        rule = self._form.rule._replace(scheduled=False)
        take_step = entry(training.single_step(rule)(*self._names))
        self._take_step = take_step  # type: ignore[method-assign]
        return take_step(*arguments)

    def _take_step_in_blocks(self, *arguments: Any) -> float:
        """Take a step on several blocks of rows."""
        self._link()
        rule = self._form.rule._replace(scheduled=False)
        return entry(training.single_step(rule, in_blocks=True)(*self._names))(*arguments)

    def _work_together(self, rows: int, products: int, *, at_last: bool = False) -> int:
        """Have what general kernels need for so many rows; returns how many threads."""
        threads = threads_for(products)
        self._link()
        self._make_room(max(rows, _ROWS_OF_DATA), threads, at_last=at_last)
        return threads

    def _work_on_batches(self, rows: int) -> int:
        at_last = self._is_long_descent(rows)
        return self._work_together(rows, 3 * self._products(rows), at_last=at_last)

    def _asked(self, products: int) -> Callable[[], bool] | None:
        """What is asked whether work of so many multiply-adds is called off, if it is long."""
        return self.called_off if products >= _LONG_PRODUCTS else None

    def _stepping(self, rows: int) -> Callable[..., Any]:
        """The kernel that takes steps on batches of so many rows."""
        how = dict(at_last=self._is_long_descent(rows), in_blocks=rows > self._rows_per_block)
        return training.stepping(self._form.rule, **how)(*self._names)

    def _is_long_descent(self, rows: int) -> bool:
        products = self._products(rows)
        return rows >= _LONG_DESCENT_ROWS and products >= _LONG_DESCENT_PRODUCTS

    def _products(self, rows: int) -> int:
        return rows * sum(k * m for k, m in itertools.pairwise(self._sizes))

    def _epochs_of(
        self, plan: Plan, samples: int, threads: int
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
        """Each thread's memory of an epoch; it lasts, so that short runs need no new shuffle."""
        source = plan.sampling, plan.seed, samples
        if source != self._source or threads > len(self._epochs[0]):
            table = samples if plan.sampling == "epoch" and samples <= MAX_SHUFFLED else 0
            self._source, self._epochs = source, new_epochs(threads, table)
        return self._epochs

    @np.errstate(all="ignore")
    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""
        samples = x.shape[0]
        small, network = self._small, self._network
        self._hand_to(None)
        products = self._products(samples)
        threads = self._work_together(min(samples, self._shared.capacity), products)
        kernel = entry(training.data_loss(*self._names))
        what = self._network, Data(_row(x), _row(t), samples)
        loss = run_in_threads(kernel, threads, *what, called_off=self._asked(products))
        if self._network is network:
            # It has the state still: to make another took a third of a look's 57 us.
            self._small = small
        return loss

    def _shape(self, plan: Plan, samples: int) -> Shape:
        _, loss, rule, weighted = self._form
        # The norm of the whole gradient is known before any weight moves.
        activations, one_sample = self._activations, plan.batch_size == 1 and not rule.clipped
        of_kernel = activations, loss, weighted, one_sample, rule, *self._names
        most = max(plan.batch_size, samples if plan.tol_on == "data" else 0)
        return Shape(self._sizes, *of_kernel, most > self._rows_per_block)

    def _in_small_hands(self, shape: Shape) -> None:
        """Hand the state to the kernel for the shape, if there is one in this process."""
        if self._small is None or self._small.shape != shape:
            kernel = small_kernels.known(shape)
            how = self._constants(), self._rows_per_block
            self._hand_to(kernel and SmallNetwork(shape, kernel, *how))

    def _hand_to(self, small: SmallNetwork | None) -> None:
        """From now on the state stands with a small network or, with None, here."""
        if small is not self._small:
            state, self._small = self.state, small
            self.state = state

    def prepare(self, x: Array, t: Array, plan: Plan, steps: int) -> None:
        """Compile, or read from the cache, what `run` needs, and make room for it.

        Where so many steps, which all loops take together, are worth it, that is a kernel for the
        shape of this network; other loops of the shape use it as well.
        """
        if not small_kernels.make(self._shape(plan, x.shape[0]), steps):
            self._stepping(plan.batch_size)
            self._work_on_batches(plan.batch_size)

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
        if not self._schedule:
            return self._run(x, t, plan, start, stop, self._pace)
        losses, segment = [], Segment(start, 0.0, np.empty(0), False, None)
        for first in range(start, stop, _RATES_AT_ONCE):
            count = min(_RATES_AT_ONCE, stop - first)
            pace = np.concatenate([self._pace, rates(self._schedule, first, count)])
            before, segment = segment, self._run(x, t, plan, first, first + count, pace)
            losses.append(segment.losses)
            if plan.tol_on == "data" and not len(segment.losses):  # no look
                segment = segment._replace(loss=before.loss)
            left = segment.steps < first + count
            if segment.reached or segment.diverged_at is not None or left:
                break
        return segment._replace(losses=np.concatenate(losses))

    def _run(
        self,
        x: Array,
        t: Array,
        plan: Plan,
        start: int,
        stop: int,
        pace: NDArray[np.float64],
    ) -> Segment:
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
        x, t, samples = _row(x), _row(t), x.shape[0]
        self._in_small_hands(self._shape(plan, samples))
        with np.errstate(all="ignore"):
            if self._small:
                threads = self._small.threads_for(plan.batch_size)
                epochs = self._epochs_of(plan, samples, threads)
                seen = self._small.run(x, t, samples, pace, watch, losses, *epochs, threads)
            else:
                seen = self._run_general(plan, Data(x, t, samples), pace, watch, losses)
        recorded = losses[: seen.recorded]
        return Segment(seen.step, seen.loss, recorded, seen.reached, seen.diverged_at or None)

    def _run_general(
        self,
        plan: Plan,
        data: Data,
        pace: NDArray[np.float64],
        watch: Watch,
        losses: NDArray[np.float64],
    ) -> Seen:
        batch_size = watch.batch_size
        threads = self._work_on_batches(batch_size)
        self._network.memory[self._shared.taken + 1] = False
        kernel = entry(self._stepping(batch_size))
        products = self._products(max(3 * batch_size, data.samples if watch.on_data else 0))
        order = np.empty((threads, batch_size), np.int64)
        epochs = self._epochs_of(plan, data.samples, threads)
        what = data, pace, watch, losses, order, *epochs
        called_off = self._asked(products)
        return run_in_threads(kernel, threads, self._network, *what, called_off=called_off)
