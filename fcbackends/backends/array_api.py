"""Backends that run the one array-API code on an array library."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop, Plan, Segment
from fcbackends.errors import ArgumentTypeError
from fcbackends.maths import layers, losses, network
from fcbackends.maths.arithmetic import ARITHMETICS, Arithmetic, Array
from fcbackends.maths.network import Form, Method, Params, State
from fcbackends.maths.optimizers import Constants, constants_by_step
from fcbackends.maths.sampling import draw_indices

_INDICES_A_BLOCK = 65_536
"""The draws of so many indices are made at once: few calls, little memory."""

_LONG_PRODUCTS = 10_000_000
"""Products of a step, or of a loss, that are worth asking whether they are called off: a few
milliseconds."""

_SECONDS_BETWEEN_QUESTIONS = 0.001

Batches: TypeAlias = "Callable[[Array, Array, NDArray[np.int64]], Iterator[tuple[Array, Array]]]"


def namespace_backends(
    module: Any,
    name: str,
    arithmetics: Mapping[str, Callable[[Any], Arithmetic]] = ARITHMETICS,
    *,
    loop: Callable[[Arithmetic], Callable[..., Loop]] | None = None,
    hint: str = "",
) -> tuple[Backend, ...]:
    """The backends of an array library, one for each arithmetic.

    Parameters
    ----------
    module : module
        The library; what it lacks of the array API, array-api-compat adds.
    name : str
        What the backends are chosen by.
    arithmetics : mapping
        By name: (the library's functions) -> how its arrays are multiplied and summed. By default
        in the contract's order, fused or not, and as the library does.
    loop : callable, optional
        (arithmetic) -> what makes a training loop of (params, Method); a `StepLoop` by default.
    hint : str
        How to switch on a dtype that the library has switched off.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> [backend.arithmetic for backend in fcb.namespace_backends(np, "mine")]
    ['ordered', 'fused', 'native']
    """
    import array_api_compat

    xp = array_api_compat.array_namespace(module.asarray(0.0))
    loop = loop or (lambda arithmetic: functools.partial(StepLoop, arithmetic))
    return tuple(_backend(name, make(xp), loop, hint) for make in arithmetics.values())


def _backend(
    name: str,
    arithmetic: Arithmetic,
    loop: Callable[[Arithmetic], Callable[..., Loop]],
    hint: str,
    with_rows_per_block: Callable[[int], Backend] | None = None,
) -> Backend:
    import array_api_compat

    xp = arithmetic.xp

    if with_rows_per_block is None and arithmetic.name != "native":

        @functools.cache
        def with_rows_per_block(count: int) -> Backend:
            in_blocks = replace(arithmetic, rows_per_block=count)
            return _backend(name, in_blocks, loop, hint, with_rows_per_block)

    def on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
        # Infinities and NaN are values of the contract; the divergence check speaks of them.
        return np.errstate(all="ignore")(functools.partial(function, arithmetic))

    def asarray(values: Any, dtype: str | None = None) -> Array:
        if isinstance(values, np.ndarray):
            array = arrays.from_numpy(xp, values, dtype)
        else:
            array = values if dtype is None else arrays.with_dtype(xp, values, dtype)
        if dtype is not None and array.dtype != getattr(xp, dtype):
            raise ArgumentTypeError(
                "dtype",
                f"be one that backend {name!r} has switched on",
                f"{dtype} where it makes {array.dtype}{hint}",
            )
        return arrays.without_graph(array)

    def owns(array: Any) -> bool:
        return array_api_compat.is_array_api_obj(array) and (
            array_api_compat.array_namespace(array) is xp
        )

    return Backend(
        name=name,
        arithmetic=arithmetic.name,
        owns=owns,
        asarray=asarray,
        fc_forward=on_arrays(layers.fc_forward),
        fc_backward=on_arrays(layers.fc_backward),
        mean_squared_loss=on_arrays(losses.mean_squared),
        loss_and_gradient=on_arrays(losses.loss_and_gradient),
        probabilities=on_arrays(losses.probabilities),
        predict=on_arrays(network.predict),
        sgd_step=on_arrays(network.sgd_step),
        training_loop=loop(arithmetic),
        rows_per_block=arithmetic.rows_per_block,
        with_rows_per_block=with_rows_per_block,
    )


def batches_of(x: Array, t: Array, indices: NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
    """The samples that each row of `indices` names, in turn."""
    take = arrays.namespace_of(x).take
    drawn = arrays.beside(x, indices)
    for step in range(indices.shape[0]):
        rows = drawn[step, :]
        yield take(x, rows, axis=0), take(t, rows, axis=0)


class _CalledOffError(Exception):
    """A step, or a loss, is left."""


class StepLoop:
    """The training loop as a Python loop over the maths' steps.

    Parameters
    ----------
    arithmetic : Arithmetic
        How to multiply and sum.
    params : tuple of (w, b)
        The first parameters; they are copied.
    method : Method
        How the network computes and learns.
    step, loss_of : callable, optional
        What stands for `fcbackends.maths.network.step` and `loss_of`, without their arithmetic:
        (State, x, t, Form, constants) and (params, x, t, Form). Those that stand for themselves
        are left where they take long and are called off; others are waited for.
    batches : callable, optional
        (x, t, indices (steps, batch_size)) -> the batches (x, t) in turn.
    """

    called_off: Callable[[], bool] | None = None

    def __init__(
        self,
        arithmetic: Arithmetic,
        params: Params,
        method: Method,
        *,
        step: Callable[[State, Array, Array, Form, Constants], tuple[State, Array]] | None = None,
        loss_of: Callable[[Params, Array, Array, Form], Array] | None = None,
        batches: Batches = batches_of,
    ) -> None:
        self._xp = arithmetic.xp
        asking = self._asking(arithmetic)
        self._step = step or self._step_by(arithmetic)
        self._long_step = step or self._step_by(asking)
        self._loss_of = loss_of or functools.partial(network.loss_of, arithmetic)
        self._long_loss_of = loss_of or functools.partial(network.loss_of, asking)
        self._weights = sum(math.prod(w.shape) for w, _ in params)
        self._batches = batches
        self._form = method.form
        self._constants_of = constants_by_step(method.optimizer, method.lr, method.clip_norm)
        first = network.first_state(arithmetic, params, self._form.rule)
        self._state = self._copy(first)
        self._last_finite = self._state

    def _step_by(self, arithmetic: Arithmetic) -> Callable[..., tuple[State, Array]]:
        return functools.partial(network.step, arithmetic)

    def _asking(self, arithmetic: Arithmetic) -> Arithmetic:
        """The arithmetic, asking before a product and within whether it is called off."""

        def ask() -> None:
            if self.called_off is not None and self.called_off():
                raise _CalledOffError

        def turns(start: int, stop: int) -> Iterator[int]:
            count = 1
            while start < stop:
                ask()
                asked, end = time.perf_counter(), min(start + count, stop)
                yield from range(start, end)
                start = end
                if time.perf_counter() - asked < _SECONDS_BETWEEN_QUESTIONS:
                    count *= 2

        def matmul(a: Array, b: Array) -> Array:
            ask()
            return within.matmul(a, b)

        within = arithmetic
        if arithmetic.with_turns:
            changed = arithmetic.with_turns(turns)
            within = replace(arithmetic, matmul=changed.matmul, sum_first=changed.sum_first)
        return replace(within, matmul=matmul)

    @property
    def state(self) -> State:
        """A copy of all that steps change."""
        return self._copy(self._state)

    @state.setter
    def state(self, state: State) -> None:
        self._state = self._copy(state)

    @property
    def params(self) -> Params:
        """A copy of the parameters."""
        return self.state.params

    @property
    def last_finite(self) -> State:
        """A copy of the last state that `step` saw and whose parameters are all finite."""
        finite = network.is_finite(self._xp, self._state.params)
        return self._copy(self._state if finite else self._last_finite)

    def _copy(self, state: State) -> State:
        copied = functools.partial(self._xp.asarray, copy=True)

        def copy_of(params: Params) -> Params:
            return tuple((copied(w), copied(b)) for w, b in params)

        return State(copy_of(state.params), tuple(map(copy_of, state.slots)))

    def prepare(self, x: Array, t: Array, plan: Plan, steps: int) -> None:
        """Nothing to do: what a library compiles, it compiles as it goes."""

    @np.errstate(all="ignore")
    def step(self, x: Array, t: Array, number: int) -> float:
        """Take the step of this number on a batch or one sample; returns the loss before it."""
        if x.ndim == 1:
            x, t = x[None, :], t[None, :]
        if network.is_finite(self._xp, self._state.params):
            self._last_finite = self._state
        return self._advance(self._step, x, t, number)

    def _advance(
        self, step: Callable[..., tuple[State, Array]], x: Array, t: Array, number: int
    ) -> float:
        state, loss = step(self._state, x, t, self._form, self._constants_of(number))
        value = float(loss)
        if math.isfinite(value):
            self._state = state
        return value

    @np.errstate(all="ignore")
    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""
        loss_of = self._long_loss_of if self._is_long(x.shape[0]) else self._loss_of
        try:
            return float(loss_of(self._state.params, x, t, self._form))
        except _CalledOffError:
            return math.nan

    def _is_long(self, samples: int) -> bool:
        return samples * self._weights >= _LONG_PRODUCTS

    @np.errstate(all="ignore")
    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
        losses: list[float] = []
        loss = math.nan
        take_step = self._long_step if self._is_long(plan.batch_size) else self._step
        for step, batch in enumerate(self._drawn(x, t, plan, start, stop), start + 1):
            try:
                batch_loss = self._advance(take_step, *batch, step)
            except _CalledOffError:
                return Segment(step - 1, loss, np.array(losses), False, None)
            if not math.isfinite(batch_loss):
                return Segment(step - 1, loss, np.array(losses), False, diverged_at=step)
            look = step % plan.record_every == 0
            if plan.tol_on == "batch":
                loss = batch_loss
            elif look:
                of_data = self.loss(x, t)
                if math.isnan(of_data) and self.called_off is not None and self.called_off():
                    return Segment(step, loss, np.array(losses), False, None)
                loss = of_data
                if not math.isfinite(loss):
                    return Segment(step, loss, np.array(losses), False, diverged_at=step)
            if look:
                losses.append(loss)
            watched = look or plan.tol_on == "batch"
            if watched and plan.tol is not None and loss <= plan.tol:
                return Segment(step, loss, np.array(losses), True, None)
        return Segment(stop, loss, np.array(losses), False, None)

    def _drawn(
        self, x: Array, t: Array, plan: Plan, start: int, stop: int
    ) -> Iterator[tuple[Array, Array]]:
        """The batches of these steps."""
        block = max(1, _INDICES_A_BLOCK // plan.batch_size)
        for first in range(start, stop, block):
            count = min(block, stop - first)
            indices = draw_indices(
                x.shape[0], first, count, plan.batch_size, plan.sampling, plan.seed
            )
            yield from self._batches(x, t, indices)
