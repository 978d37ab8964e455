"""A network held open: for data that arrives in pieces, and to go on later."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop, LossScope
from fcbackends.backends.registry import backend_for, name_of
from fcbackends.checks import data, options, targets
from fcbackends.errors import DivergenceError
from fcbackends.forks import refuse_in_children
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Method, Params, State
from fcbackends.maths.optimizers import SGD, Optimizer
from fcbackends.maths.sampling import Sampling
from fcbackends.maths.schedules import Rate, rate_at
from fcbackends.training.asked import Asked, asked_for
from fcbackends.training.checkpoint import FileName, opened
from fcbackends.training.interruption import OnInterrupt
from fcbackends.training.looks import Callback
from fcbackends.training.results import TrainResult
from fcbackends.training.runs import deadline_of, ended, looks_at, run_loop
from fcbackends.training.state import TrainerState, fitting
from fcbackends.training.validation import apart


class Trainer:
    """A network under training, held open: for data that arrives in pieces, and to go on later.

    Threads may share one: their steps and runs are taken one after another. Copies of one, and what
    was pickled, go on by themselves, on the backend of that name.

    Parameters
    ----------
    params : sequence of (w, b)
        The first parameters, one pair a layer: w (inputs, outputs), b (outputs,), float32 or
        float64, all finite. They are not changed.
    activation : str or sequence of str
        What goes between the layers: "relu", "leaky_relu" (slope 0.01), "tanh", "sigmoid" or
        "identity"; of a sequence, each hidden layer has its own.
    loss : {"mean_squared", "huber", "cross_entropy", "binary_cross_entropy"}
        What is made small, a mean over samples: see `mean_squared_loss`, `huber_loss`,
        `cross_entropy_loss` (of softmax) and `binary_cross_entropy_loss`.
    optimizer : SGD or Adam
        How parameters move, given their gradient; by default plain SGD.
    lr : float or schedule
        Learning rate: finite and > 0; rounded once to the dtype of `params`. Or one for each step,
        by its number in `steps`: a `ConstantRate`, `StepRate`, `ExponentialRate` or `CosineRate`.
    clip_norm : float, optional
        The largest norm of the gradient of all parameters together, finite and > 0: where it is
        larger, all of the gradient is scaled down.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.

    Attributes
    ----------
    steps : int
        How many steps have been taken.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> trainer = fcb.Trainer(fcb.init_params((2, 1)), lr=0.1)
    >>> for x in ([0.0, 1.0], [1.0, 0.0], [1.0, 1.0]):
    ...     loss = trainer.step(x, [x[0] + x[1]])
    >>> trainer.steps
    3
    """

    __slots__ = (
        "__weakref__",
        "_backend",
        "_classes",
        "_dtype",
        "_like",
        "_lock",
        "_loop",
        "_method",
        "_plain",
        "_sizes",
        "_steps",
        "_t_limits",
        "_t_shape",
        "_x_shape",
    )

    def __init__(
        self,
        params: Any,
        *,
        activation: str | Sequence[str] = "relu",
        loss: str = "mean_squared",
        optimizer: Optimizer = SGD(),
        lr: Rate,
        clip_norm: float | None = None,
        backend: str | Backend | None = None,
        arithmetic: str | None = None,
        rows_per_block: int | None = None,
    ) -> None:
        chosen = backend_for(backend, arithmetic, **data.leaves(params))
        chosen = options.in_blocks(chosen, rows_per_block)
        network = data.params(chosen, params)
        data.not_empty(network)
        self._backend = chosen
        self._dtype = arrays.dtype_of(network[0][0])
        rate = options.rate(lr, self._dtype)
        activation = options.activation(activation, len(network) - 1)
        loss = options.choice("loss", loss, LOSSES)
        clip_norm = options.clip_norm(clip_norm, self._dtype)
        how = options.optimizer(optimizer)
        self._method = Method(rate, activation, loss, how, clip_norm=clip_norm)
        self._steps = 0
        self._sizes = network[0][0].shape[0], network[-1][0].shape[1]
        self._x_shape, self._t_shape = self._sizes[:1], self._sizes[1:]
        # No view: it would keep the whole.
        self._like = arrays.namespace_of(network[0][0]).zeros_like(network[0][0][:0, :])
        self._plain = np.dtype(self._dtype) if chosen.owns(np.empty(0)) else None
        self._t_limits = targets.limits(loss, self._sizes[1])
        self._classes = self._sizes[1] if loss == "cross_entropy" else 0
        self._loop: Loop = chosen.training_loop(network, self._method)
        data.finite(self._loop.params)
        # A callback of a run may ask for what it guards.
        self._lock = threading.RLock()
        refuse_in_children(self)

    @property
    def backend(self) -> Backend:
        """What computes."""
        return self._backend

    @property
    def optimizer(self) -> Optimizer:
        """How parameters move, given their gradient."""
        return self._method.optimizer

    @property
    def lr(self) -> Rate:
        """The learning rate or its schedule, as it was given."""
        return self._method.lr

    @property
    def clip_norm(self) -> float | None:
        """The largest norm of the gradient, if there is one."""
        return self._method.clip_norm

    @property
    def activation(self) -> str | tuple[str, ...]:
        """What goes between the layers, as `predict` takes it."""
        return self._method.activation

    @property
    def loss(self) -> str:
        """The name of what is made small, as `predict_proba` takes it."""
        return self._method.loss

    @property
    def steps(self) -> int:
        """How many steps have been taken."""
        return self._steps

    @property
    def params(self) -> Params:
        """A copy of the parameters as they stand."""
        with self._lock:
            return self._loop.params

    @property
    def state(self) -> TrainerState:
        """A copy of all that steps change; it can be set, to go on from there to the bit.

        It may come from another Trainer of the same layers, dtype and optimizer, another process
        or another backend.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            Where what it is set to does not fit.

        Examples
        --------
        >>> import fcbackends as fcb
        >>> one, other = (fcb.Trainer(fcb.init_params((1, 1)), lr=0.1) for _ in range(2))
        >>> loss = one.step([1.0], [2.0])
        >>> other.state = one.state
        >>> other.steps, one.step([1.0], [2.0]) == other.step([1.0], [2.0])
        (1, True)
        """
        with self._lock:
            return TrainerState(*self._loop.state, self._steps)

    @state.setter
    def state(self, state: TrainerState) -> None:
        with self._lock:
            given = self._loop.state, self.optimizer, self._backend, self._own
            self._loop.state, self._steps = fitting(state, *given)

    def __getstate__(self) -> tuple[Any, ...]:
        with self._lock:
            finite, state = self._loop.last_finite.params, self.state
            return name_of(self._backend), self._method._asdict(), finite, state

    def __setstate__(self, given: tuple[Any, ...]) -> None:
        known, method, finite, state = given
        how = dict(zip(("backend", "arithmetic", "rows_per_block"), known, strict=False))
        how |= {name: value for name, value in method.items() if name != "weighted"}
        Trainer.__init__(self, finite, **how)
        if method["weighted"]:
            self._take_weights()
        # Its last step may have left parameters that are not finite.
        self._loop.state, self._steps = State(state.params, state.slots), state.steps

    def _own(self, params: Params) -> Params:
        return data.params(self._backend, params, self._dtype, beside={"params": self._like})

    def step(self, x: Any, t: Any, *, sample_weight: Any = None) -> float:
        """Take one step on data that has just come.

        Parameters
        ----------
        x : array (K,) or (N, K)
            Inputs of one sample, or of a batch.
        t : array (M,) or (N, M)
            Its targets; of the loss "cross_entropy" the class serves as well, an integer or (N,).
        sample_weight : float or array (N,), optional
            As for `train`.

        Returns
        -------
        float
            The loss before the step.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            Where shapes or dtypes do not fit the network.
        DivergenceError
            Where the loss is not finite: the step is not taken.
        """
        loop, x_row, t_row = self._loop, x, t
        # One sample and its target that need no check; a call would take 0.1 us of 2.
        dtype = self._plain
        if (
            sample_weight is not None
            or type(x) is not np.ndarray
            or x.dtype is not dtype
            or x.shape != self._x_shape
        ):
            x_row, t_row = self._checked(x, t, sample_weight)
        elif type(t) is int and 0 <= t < self._classes:
            t_row = np.zeros(self._classes, dtype)
            t_row[t] = 1.0
        elif (
            type(t) is not np.ndarray
            or t.dtype is not dtype
            or t.shape != self._t_shape
            or not (self._t_limits is None or self._t_limits[0] <= t[0] <= self._t_limits[1])
        ):
            x_row, t_row = self._checked(x, t, sample_weight)
        with self._lock:
            # Where samples have weights from now on, another takes its place.
            if loop is self._loop:
                loss = loop.step(x_row, t_row, self._steps + 1)
                # The difference of a finite number with itself, and of no other, is zero.
                if loss - loss != 0.0:
                    params, slots = loop.last_finite
                    rate = rate_at(self._method.lr, self._steps + 1)
                    found = data.not_finite(x_row, t_row)
                    raise DivergenceError(self._steps + 1, params, loss, rate, slots, found)
                self._steps += 1
                return loss
        return self.step(x, t, sample_weight=sample_weight)

    def _checked(self, x: Any, t: Any, sample_weight: Any) -> tuple[Array, Array]:
        loss = self._method.loss
        x, t = targets.for_network(self._backend, self._like, x, t, loss, self._sizes[1])
        data.fits(self._sizes, x, t)
        data.same_samples("x", x, "t", t)
        data.at_least_one_sample("x", x)
        rows = data.as_batch(t)
        targets.suit(rows, loss)
        if sample_weight is not None or self._method.weighted:
            rows = self._with_weights(rows, sample_weight)
        if sample_weight is not None:
            with self._lock:
                self._take_weights()
        return x, rows[0, ...] if x.ndim == 1 else rows

    def _take_weights(self) -> None:
        """From now on samples have weights, each of those that come without one 1."""
        if not self._method.weighted:
            self._method = self._method._replace(weighted=True)
            state, finite = self._loop.state, self._loop.last_finite
            self._loop = self._backend.training_loop(finite.params, self._method)
            self._loop.state = state
            self._plain = None

    def _with_weights(self, t: Array, sample_weight: Any) -> Array:
        if sample_weight is None:
            sample_weight = np.ones(t.shape[0], self._dtype)
        return targets.weighted(self._backend, t, sample_weight, of_one=True)

    def run(
        self,
        x: Any,
        t: Any,
        *,
        sample_weight: Any = None,
        batch_size: int = 1,
        max_steps: int = 100_000,
        time_limit: float | None = None,
        tol: float | None = None,
        tol_on: LossScope = "batch",
        sampling: Sampling = "replacement",
        seed: int = 0,
        record_every: int | None = None,
        validation: tuple[Any, Any] | float | None = None,
        patience: int | None = None,
        callback: Callback | None = None,
        progress: bool | None = None,
        on_interrupt: OnInterrupt = "raise",
        checkpoint: FileName | None = None,
        checkpoint_every: int | None = None,
        resume: FileName | None = None,
    ) -> TrainResult:
        """Take up to `max_steps` further steps on samples drawn from x and t.

        The arguments, the result and the errors are those of `train`. The draws go on from
        `steps`: two runs of 500 steps give the bits of one of 1000. Where a run raises
        KeyboardInterrupt, the steps that it took are kept.

        A run with `patience` ends, and goes on later, where its validation loss was smallest, with
        the optimizer's state and the number of steps as they were there. Where `callback` raises
        an exception other than StopIteration, the Trainer is back where the run began. With
        `resume` it goes on where that run stood, which counts its own `steps`.
        """
        deadline = deadline_of(time_limit)
        loss, outputs = self._method.loss, self._sizes[1]
        t = targets.as_batch(self._backend, t, loss, outputs=outputs)
        x, t = data.training_data(self._backend, x, t, self._dtype, {"params": self._like})
        data.fits(self._sizes, x, t)
        targets.suit(t, loss)
        max_steps = options.integer("max_steps", max_steps, 1)
        shown = options.progress(progress)
        returns = options.returns(on_interrupt)
        with self._lock:
            if sample_weight is not None:
                self._take_weights()
            if self._method.weighted:
                t = self._with_weights(t, sample_weight)
            given = self._backend, x, t, self._dtype, validation, seed
            all_x, all_t = x, t
            x, t, held = apart(*given, loss=loss, outputs=outputs)
            looks = looks_at(self._method, held, patience, callback)
            first = self._steps
            plan = options.plan(
                samples=x.shape[0],
                start=first,
                max_steps=max_steps,
                batch_size=batch_size,
                tol=tol,
                tol_on=tol_on,
                sampling=sampling,
                seed=seed,
                record_every=record_every,
                by_epoch=held is not None,
            )
            before = self._loop.state

            def asked() -> Asked:
                return asked_for(
                    self._backend,
                    [self._sizes[0], *(b.shape[0] for _, b in before.params)],
                    self._dtype,
                    [self._method],
                    [plan],
                    first=first,
                    max_steps=max_steps,
                    patience=looks.patience if looks else None,
                    validation=validation if isinstance(validation, float) else held,
                    calls_back=callback is not None,
                    x=all_x,
                    t=all_t,
                )._replace(of_trainer=True)

            runs = opened(checkpoint, checkpoint_every, resume, 1, asked, self._own)
            first = first if runs.first is None else runs.first
            try:
                outcome, interrupted = run_loop(
                    self._loop, x, t, plan, first, first + max_steps, deadline, shown, looks,
                    runs.keeper(0), runs.begun[0],
                )  # fmt: skip
            except BaseException:
                # How far a run came that something broke off inside is not known.
                self._loop.state = before
                raise
            self._steps = outcome.steps
            rest = self._method, plan, first, interrupted, returns, x, t
            return ended(outcome, self._backend.arithmetic, *rest)
