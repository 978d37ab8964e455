"""The backend of fused, compiled kernels on NumPy arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.arrays import is_plain
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Plan, Segment
from fcbackends.kernels import layers as layer_kernels
from fcbackends.kernels import linear as linear_kernels
from fcbackends.kernels import network as networks
from fcbackends.kernels import training as training_kernels
from fcbackends.kernels.matmul import PANEL_BYTES, PANEL_ROW_BYTES
from fcbackends.kernels.sampling import EPOCH_WORDS
from fcbackends.kernels.threads import new_meeting, run_in_threads
from fcbackends.kernels.tiles import VECTOR_BYTES
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.layers import FCGradients
from fcbackends.maths.losses import LossAndGradient
from fcbackends.maths.network import Method, Params, State, StepResult
from fcbackends.maths.sampling import stream_key

_PRODUCTS_A_THREAD = 4_000_000
"""Multiply-adds, some 0.1 ms of them, that are worth a further thread."""

_WORTH_A_KERNEL = 50_000
"""Samples from which on a kernel is compiled for the shape of a small layer: that takes a second
once, is then read from the cache in some milliseconds, and makes a step of the notebook 15 times
faster."""

_MOST_KERNELS = 32
"""So many shapes have kernels of their own in a process; the others use the general one."""

_ROWS_OF_DATA = 64
"""Rows that go at once where the loss of the whole data is computed, if a batch has fewer."""


def _plain(array: Array) -> NDArray[Any]:
    """The array as kernels read it: rows one after another, aligned; copied only if it is not."""
    if type(array) is np.ndarray and is_plain(array):
        return array
    return np.require(array, requirements=["C", "A"])


def _row(array: Array) -> NDArray[Any]:
    return _plain(array).reshape(-1)


def _zeros(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin where a vector register's worth of memory does.

    Rows that straddle cache lines took a step of 64-32-10 from 16 to 23 us.
    """
    space = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    start = -space.ctypes.data % VECTOR_BYTES
    return space[start : start + size * dtype.itemsize].view(dtype)


def _threads(products: int) -> int:
    """How many threads are worth their while for so many multiply-adds."""
    worth = 1 + products // _PRODUCTS_A_THREAD
    return worth if worth == 1 else min(worth, get_threads())


def get_threads() -> int:
    """How many threads this thread's calls may use, where that pays: Numba's own setting."""
    from numba import get_num_threads

    return int(get_num_threads())


def set_threads(count: int) -> None:
    """Set how many threads this thread's calls may use."""
    from numba import set_num_threads

    set_num_threads(count)


def _panel_room(threads: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.empty((threads, PANEL_BYTES // dtype.itemsize), dtype)


def _affine(x: Array, w: Array, b: Array, *, activate: bool) -> NDArray[Any]:
    y = np.empty((x.shape[0], w.shape[1]), x.dtype)
    kernel = layer_kernels.forward(x.dtype.name)
    threads = _threads(x.shape[0] * w.size)
    x, w, b, panels = _plain(x), _plain(w), _plain(b), _panel_room(threads, x.dtype)
    run_in_threads(lambda thread: kernel(x, w, b, y, activate, panels, thread, threads), threads)
    return y


def fc_forward(x: Array, w: Array, b: Array) -> NDArray[Any]:
    """y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m]."""
    return _affine(x, w, b, activate=False)


def fc_backward(dy: Array, x: Array, w: Array) -> FCGradients:
    """dw, db and dx, as in `fcbackends.maths`."""
    dw, db, dx = (
        np.empty_like(w, order="C"),
        np.empty(w.shape[1], w.dtype),
        np.empty(x.shape, x.dtype),
    )
    kernel = layer_kernels.backward(x.dtype.name)
    threads = _threads(2 * x.shape[0] * w.size)
    dy, x, w_transposed, panels = _plain(dy), _plain(x), _plain(w.T), _panel_room(threads, x.dtype)
    run_in_threads(
        lambda thread: kernel(dy, x, w_transposed, dw, db, dx, panels, thread, threads), threads
    )
    return FCGradients(dw, db, dx)


def mean_squared_loss(y: Array, t: Array) -> LossAndGradient:
    """The loss and its gradient, as in `fcbackends.maths`."""
    dy = np.empty(y.shape, y.dtype)
    samples = y.shape[0]
    loss = layer_kernels.mean_squared_loss(y.dtype.name)(
        _plain(y), _plain(t), dy, 1 / samples, 2 / samples
    )
    return LossAndGradient(y.dtype.type(loss), dy)


def predict(params: Params, x: Array, activation: str = "relu") -> NDArray[Any]:
    """The network's output: ReLU between the layers, none after the last."""
    for layer, (w, b) in enumerate(params):
        x = _affine(x, w, b, activate=layer < len(params) - 1)
    return x


def sgd_step(params: Params, x: Array, t: Array, method: Method) -> StepResult:
    """One step on the batch: new parameters, and the loss under the old ones."""
    loop = FusedLoop(params, method, rows=x.shape[0])
    loss = loop.step(x, t, guarded=False)
    return StepResult(loop.params, x.dtype.type(loss))


class FusedLoop:
    """A network in one flat buffer, moved on by the fused kernels."""

    def __init__(self, params: Params, method: Method, rows: int = 1) -> None:
        self._shapes = [w.shape for w, _ in params]
        self._sizes = (self._shapes[0][0], *(m for _, m in self._shapes))
        self._dtype = params[0][0].dtype
        self._dtype_name = self._dtype.name
        self._lr = method.lr
        self._expected = 0
        self._lay_out(rows, 1)
        self.state = State(params)
        self._weights(networks.PREVIOUS)[:] = self._weights(networks.THETA)

    def _make_room(self, rows: int, threads: int) -> None:
        """Make room for so many rows and threads, where there is less."""
        if rows <= self._room and threads <= self._threads:
            return
        params, previous = self.params, self._weights(networks.PREVIOUS)
        self._lay_out(max(rows, self._room), max(threads, self._threads))
        self.state = State(params)
        self._weights(networks.PREVIOUS)[:] = previous

    def _lay_out(self, rows: int, threads: int) -> None:
        network = networks.layout(self._sizes, rows, threads, self._dtype.itemsize)
        self._memory = _zeros(networks.buffer_size(network, threads), self._dtype)
        self._network, self._room, self._threads = network, rows, threads
        self._memory[network[-1, networks.LEARNING_RATE]] = self._lr
        for thread in range(threads):
            own = network[0, networks.INPUT] + thread * network[-1, networks.INPUT_SIZE]
            self._matrix(own, rows, self._sizes[0] + 1)[:, -1] = 1
        for layer in network[1:-1]:
            self._matrix(layer[networks.INPUT], rows, layer[networks.INPUTS] + 1)[:, -1] = 1

    def _weights(self, copy: int) -> NDArray[Any]:
        """All weights as they stand in the buffer's copy THETA or PREVIOUS."""
        at, size = self._network[-1, copy], self._network[-1, networks.THETA_SIZE]
        return self._memory[at : at + size]

    def _matrix(self, at: int, rows: int, columns: int) -> NDArray[Any]:
        return self._memory[at : at + rows * columns].reshape(rows, columns)

    def _panels(self, copy: int) -> Iterator[list[tuple[slice, NDArray[Any]]]]:
        """Each layer's panels in the buffer's copy THETA or PREVIOUS, and their columns."""
        offset = self._network[-1, copy] - self._network[-1, networks.THETA]
        width = PANEL_ROW_BYTES // self._dtype.itemsize
        for layer, (k, m) in zip(self._network, self._shapes, strict=False):
            at = layer[networks.WEIGHTS] + offset
            yield [
                (
                    slice(first, first + width),
                    self._matrix(at + (k + 1) * first, k + 1, min(width, m - first)),
                )
                for first in range(0, m, width)
            ]

    def _unflatten(self, copy: int) -> Params:
        pairs = []
        for panels, (k, m) in zip(self._panels(copy), self._shapes, strict=True):
            w, b = np.empty((k, m), self._dtype), np.empty(m, self._dtype)
            for columns, panel in panels:
                w[:, columns], b[columns] = panel[:-1], panel[-1]
            pairs.append((w, b))
        return tuple(pairs)

    @property
    def params(self) -> Params:
        """A copy of the parameters."""
        return self._unflatten(networks.THETA)

    @property
    def state(self) -> State:
        """A copy of all that steps change."""
        return State(self.params)

    @state.setter
    def state(self, state: State) -> None:
        params = state.params
        for panels, (w, b) in zip(self._panels(networks.THETA), params, strict=True):
            for columns, panel in panels:
                panel[:-1], panel[-1] = w[:, columns], b[columns]
        for layer, (w, _) in zip(self._network[1:-1], params[1:], strict=True):
            k, m = w.shape
            self._matrix(layer[networks.TRANSPOSED], m, k)[:] = w.T

    @property
    def last_finite(self) -> Params:
        """A copy of the last parameters that `step` saw and whose values are all finite."""
        finite = bool(np.isfinite(self._weights(networks.THETA)).all())
        return self._unflatten(networks.THETA if finite else networks.PREVIOUS)

    def step(self, x: Array, t: Array, *, guarded: bool = True) -> float:
        """Take one step on a batch or one sample; returns the loss before it."""
        if x.ndim == 2:
            self._make_room(x.shape[0], 1)
        x, t = _row(x), _row(t)
        return self._take_step(self._network, self._memory, x, t, guarded)

    @functools.cached_property
    def _take_step(self) -> Callable[..., float]:
        return training_kernels.take_step(self._dtype_name)

    def _work_together(self, rows: int, products: int) -> int:
        """Make room for so many rows and all threads that are worth it; returns their number."""
        threads = _threads(products)
        self._make_room(max(rows, _ROWS_OF_DATA), threads)
        return threads

    def _products(self, rows: int) -> int:
        return rows * sum(k * m for k, m in self._shapes)

    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""
        threads = self._work_together(min(x.shape[0], self._room), self._products(x.shape[0]))
        kernel = training_kernels.data_loss(self._dtype_name)
        x, t, meeting = _row(x), _row(t), new_meeting(threads)
        return run_in_threads(
            lambda thread: kernel(
                self._network, self._memory, x, t, self._room, meeting, thread, threads
            ),
            threads,
            meeting,
        )

    def prepare(self, x: Array, t: Array, plan: Plan, steps: int) -> None:
        """Compile, or read, what so many steps need."""
        self._expected = steps
        self.run(x, t, plan, 0, 0)

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
        losses = np.empty(stop // plan.record_every - start // plan.record_every)
        watch = (
            np.uint64(stream_key(plan.seed)),
            start,
            stop,
            plan.batch_size,
            plan.sampling == "epoch",
            plan.tol_on == "data",
            -1.0 if plan.tol is None else plan.tol,
            plan.record_every,
        )
        x, t = _row(x), _row(t)
        kernel = _linear_kernel(self._sizes, self._dtype_name, plan, self._expected)
        with np.errstate(all="ignore"):
            if kernel:
                result = self._run_linear(kernel, x, t, losses, plan.batch_size, watch)
            else:
                result = self._run_general(x, t, losses, plan.batch_size, watch)
        steps, loss, recorded, reached, diverged_at = result
        return Segment(steps, loss, losses[:recorded], reached, diverged_at or None)

    def _run_linear(
        self,
        kernel: Callable[..., _Ran],
        x: Array,
        t: Array,
        losses: NDArray[np.float64],
        batch_size: int,
        watch: tuple[Any, ...],
    ) -> _Ran:
        ((w, b),) = self.params
        theta = np.concatenate([w.reshape(-1), b])
        batches = max(1, linear_kernels.DRAWS_A_BLOCK // batch_size)
        order = np.empty(batches * batch_size, np.int64)
        epoch_words = np.zeros(EPOCH_WORDS, np.uint64)
        lr = self._dtype.type(self._lr)
        ran = kernel(theta, x, t, losses, order, epoch_words, lr, *watch)
        self.state = State(((theta[: w.size].reshape(w.shape), theta[w.size :]),))
        return ran

    def _run_general(
        self,
        x: Array,
        t: Array,
        losses: NDArray[np.float64],
        batch_size: int,
        watch: tuple[Any, ...],
    ) -> _Ran:
        threads = self._work_together(batch_size, 3 * self._products(batch_size))
        kernel = training_kernels.train_steps(self._dtype_name)
        order = np.empty((threads, batch_size), np.int64)
        epoch_words = np.zeros((threads, EPOCH_WORDS), np.uint64)
        meeting = new_meeting(threads)

        def work(thread: int) -> _Ran:
            return kernel(
                self._network,
                self._memory,
                x,
                t,
                losses,
                order,
                epoch_words,
                self._room,
                meeting,
                thread,
                threads,
                *watch,
            )

        return run_in_threads(work, threads, meeting)


_Ran: TypeAlias = "tuple[int, float, int, bool, int]"
"""What a kernel returns of its steps: see `fcbackends.kernels.training.train_steps`."""

_shapes_with_kernels: set[tuple[Any, ...]] = set()


def _linear_kernel(
    sizes: tuple[int, ...], dtype: str, plan: Plan, steps: int
) -> Callable[..., _Ran] | None:
    """The kernel for a small layer of constant shape, where one is worth compiling."""
    inputs, outputs = sizes[0], sizes[-1]
    if len(sizes) != 2 or not linear_kernels.is_small(inputs, outputs):
        return None
    shape = inputs, outputs, plan.batch_size == 1, dtype
    if shape not in _shapes_with_kernels:
        too_short = steps * plan.batch_size < _WORTH_A_KERNEL
        if too_short or len(_shapes_with_kernels) == _MOST_KERNELS:
            return None
        _shapes_with_kernels.add(shape)
    family = linear_kernels.linear_steps(inputs, outputs, one_sample=plan.batch_size == 1)
    return family(dtype)


def load() -> Backend:
    """The backend of kernels."""
    return _BACKEND


_BACKEND = Backend(
    name="numba",
    arithmetic="ordered",
    owns=lambda array: isinstance(array, np.ndarray),
    asarray=np.asarray,
    fc_forward=fc_forward,
    fc_backward=fc_backward,
    mean_squared_loss=mean_squared_loss,
    predict=predict,
    sgd_step=sgd_step,
    training_loop=FusedLoop,
    get_threads=get_threads,
    set_threads=set_threads,
)
