"""Training: networks held open, and whole runs."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends import checks
from fcbackends.errors import DivergenceError
from fcbackends.initialization import init_params
from fcbackends.interface import Backend
from fcbackends.interruption import interruptible
from fcbackends.records import Array, Loop, LossScope, Params, Plan, Sampling
from fcbackends.registry import backend_for
from fcbackends.sampling import draw_indices
from fcbackends.segments import Outcome, is_finite, run_segments

_BAR_DELAY_SECONDS = 2.0

_PLAIN = 0x0001 | 0x0100
"""NumPy's flags for contiguous and aligned; the flags object has no cheaper test for both."""


class History(NamedTuple):
    """The watched loss over a run: step numbers, counted from 1, and the losses there."""

    steps: NDArray[np.int64]
    losses: NDArray[np.float64]


class TrainResult(NamedTuple):
    """What a run of training ends with.

    Attributes
    ----------
    params : tuple of (w, b)
        The trained parameters.
    loss : float
        With `tol_on` "batch" the last batch's loss, under the parameters before its step; with
        "data" the whole data's loss under `params`.
    steps : int
        The number of the last step, counted from 1 over all runs of a Trainer.
    stop_reason : str
        "tolerance", "max_steps" or "interrupted" (by Ctrl-C).
    history : History
        The loss at each multiple of `record_every` and at the last step.
    """

    params: Params
    loss: float
    steps: int
    stop_reason: str
    history: History


class Trainer:
    """A network under training, held open: for data that arrives in pieces, and to go on later.

    Parameters
    ----------
    params : sequence of (w, b)
        The first parameters, one pair a layer: w (inputs, outputs), b (outputs,), float32 or
        float64, all finite. They are not changed.
    lr : float
        Learning rate: finite and > 0; rounded once to the dtype of `params`.
    backend : str, Backend or None
        What computes; see `get_backend`.

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

    def __init__(self, params: Any, *, lr: float, backend: str | Backend | None = None) -> None:
        self.backend = backend_for(backend, **checks.leaves(params))
        network = checks.params(self.backend, params)
        checks.not_empty(network)
        self._dtype = checks.dtype_of(network[0][0])
        self.lr = checks.learning_rate(lr, self._dtype)
        self.steps = 0
        self._x_shape, self._t_shape = (network[0][0].shape[0],), (network[-1][0].shape[1],)
        self._numpy_dtype = np.dtype(self._dtype)
        self._takes_numpy = self.backend.owns(np.empty(0))
        self._network = network
        self._loop: Loop = self.backend.training_loop(network, self.lr)
        checks.finite(is_finite(self._loop.params))

    @property
    def params(self) -> Params:
        """A copy of the parameters as they stand."""
        return self._loop.params

    def step(self, x: Any, t: Any) -> float:
        """Take one step on data that has just come.

        Parameters
        ----------
        x : array (K,) or (N, K)
            Inputs of one sample, or of a batch.
        t : array (M,) or (N, M)
            Its targets.

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
        if not self._are_plain(x, t):
            x, t = self._checked(x, t)
        loss = self._loop.step(x, t)
        # The difference of a finite number with itself, and of no other, is zero.
        if loss - loss != 0.0:
            raise DivergenceError(self.steps + 1, self._loop.last_finite)
        self.steps += 1
        return loss

    def _are_plain(self, x: Any, t: Any) -> bool:
        """Whether they are one sample and its target that the loop can read as they are."""
        dtype = self._numpy_dtype
        return (
            type(x) is type(t) is np.ndarray
            and x.shape == self._x_shape
            and t.shape == self._t_shape
            and x.dtype is dtype
            and t.dtype is dtype
            and x.flags.num & t.flags.num & _PLAIN == _PLAIN
            and self._takes_numpy
        )

    def _checked(self, x: Any, t: Any) -> tuple[Array, Array]:
        x, t = checks.arrays_for(self.backend, self._network, x=x, t=t)
        checks.fits(self._network, x, t)
        checks.same_samples("x", x, "t", t)
        checks.at_least_one_sample("x", x)
        return (x[None, :], t[None, :]) if x.ndim == 1 else (x, t)

    def run(
        self,
        x: Any,
        t: Any,
        *,
        batch_size: int = 1,
        max_steps: int = 100_000,
        tol: float | None = None,
        tol_on: LossScope = "batch",
        sampling: Sampling = "replacement",
        seed: int = 0,
        record_every: int | None = None,
        progress: bool | None = None,
    ) -> TrainResult:
        """Take up to `max_steps` further steps on samples drawn from x and t.

        The arguments, the result and the errors are those of `train`. The draws go on from
        `steps`: two runs of 500 steps give the bits of one of 1000.
        """
        x, t = checks.data(self.backend, x, t, self._dtype, {"params": self._network[0][0]})
        checks.fits(self._network, x, t)
        max_steps = checks.count("max_steps", max_steps, 1)
        plan = checks.plan(
            samples=x.shape[0],
            start=self.steps,
            max_steps=max_steps,
            batch_size=batch_size,
            tol=tol,
            tol_on=tol_on,
            sampling=sampling,
            seed_=seed,
            record_every=record_every,
        )
        shown = checks.progress(progress)
        return self._run(x, t, plan, self.steps + max_steps, shown)

    def _run(self, x: Array, t: Array, plan: Plan, stop: int, progress: bool | None) -> TrainResult:
        first = self.steps
        # No step: what has to be compiled is compiled before Ctrl-C is held back.
        self._loop.run(x, t, plan, first, first)
        with (
            interruptible() as interrupted,
            progress_bar(stop - first, "step", progress) as advanced,
        ):
            outcome = run_segments(
                self._loop, x, t, plan, first, stop, interrupted=interrupted, advanced=advanced
            )
        self.steps = outcome.steps
        if outcome.diverged_at is not None:
            raise DivergenceError(outcome.diverged_at, self.params)
        return result_of(outcome, self.params, plan, first)


def train(
    x: Any,
    t: Any,
    *,
    hidden: Sequence[int] = (),
    params: Any = None,
    lr: float,
    batch_size: int = 1,
    max_steps: int = 100_000,
    tol: float | None = None,
    tol_on: LossScope = "batch",
    sampling: Sampling = "replacement",
    seed: int = 0,
    dtype: str = "float64",
    backend: str | Backend | None = None,
    record_every: int | None = None,
    progress: bool | None = None,
) -> TrainResult:
    """Train a fully connected network by SGD on the mean squared loss.

    Step s, counted from 1, draws its batch as a pure function of (seed, s), takes one `sgd_step`
    on it, and then stops where the watched loss is at most `tol`. Backends of the same arithmetic
    end on the same bits, after the same number of steps.

    Parameters
    ----------
    x : array (N, K)
        Inputs, one sample a row; cast once to `dtype`.
    t : array (N, M)
        Targets; cast once to `dtype`.
    hidden : sequence of int
        The sizes of the layers between inputs and outputs; without any, a linear regression.
    params : sequence of (w, b), optional
        The first parameters, of dtype `dtype`; `init_params((K, *hidden, M), seed=seed,
        dtype=dtype)` by default. They are not changed.
    lr : float
        Learning rate: finite and > 0 in `dtype`.
    batch_size : int
        Samples a step.
    max_steps : int
        The most steps to take.
    tol : float, optional
        Stop where the watched loss is at most this.
    tol_on : {"batch", "data"}
        What is watched: the loss of each step's batch, before the update, or the whole data's,
        after it, at each multiple of `record_every`. One batch can meet `tol` by luck.
    sampling : {"replacement", "epoch"}
        Draw each sample from all, or go through a new permutation of them all in each epoch; a
        batch may run on into the next epoch.
    seed : int
        Of the draws and of the first parameters, from 0 to 2**64 - 1.
    dtype : {"float64", "float32"}
        Of all arithmetic.
    backend : str, Backend or None
        What computes; see `get_backend`.
    record_every : int, optional
        The steps between two entries of the history; by default a thousandth of `max_steps`, or
        with `tol_on` "data" as many as one epoch has, ceil(N / batch_size).
    progress : bool, optional
        A progress bar on stderr: always, never, or (None) after two seconds on a terminal.

    Returns
    -------
    TrainResult
        Ctrl-C ends the run with the parameters so far and stop_reason "interrupted".

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above; nothing has then been done.
    DivergenceError
        Where the loss stops being finite; it names the step and keeps the last finite parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> x = np.arange(20.0).reshape(10, 2) % 7
    >>> t = x @ np.array([[3.0], [5.0]]) + 2
    >>> result = fcb.train(x, t, lr=0.01, tol=1e-20, tol_on="data")
    >>> result.stop_reason
    'tolerance'
    >>> np.round(result.params[0][0], 6)
    array([[3.],
           [5.]])
    """
    given = checks.leaves(params)
    chosen = backend_for(backend, x=x, t=t, **given)
    dtype = checks.dtype_name(dtype)
    x, t = checks.data(chosen, x, t, dtype, given)
    sizes = (x.shape[1], *checks.hidden_sizes(hidden), t.shape[1])
    if params is None:
        params = init_params(sizes, seed=seed, dtype=dtype)
    params = checks.first_params(chosen, params, sizes[1:-1], dtype, x)
    return Trainer(params, lr=lr, backend=chosen).run(
        x,
        t,
        batch_size=batch_size,
        max_steps=max_steps,
        tol=tol,
        tol_on=tol_on,
        sampling=sampling,
        seed=seed,
        record_every=record_every,
        progress=progress,
    )


def sample_indices(
    n_samples: int,
    *,
    steps: int,
    batch_size: int = 1,
    sampling: Sampling = "replacement",
    seed: int = 0,
    start: int = 0,
) -> NDArray[np.int64]:
    """The samples that `train` draws.

    Parameters
    ----------
    n_samples : int
        The number of samples, up to 2**32 - 1.
    steps : int
        The number of steps.
    batch_size, sampling, seed
        As for `train`.
    start : int
        How many steps come before.

    Returns
    -------
    array of int64 (steps, batch_size)
        Row i holds the samples of step start + i + 1.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> sorted(fcb.sample_indices(5, steps=5, sampling="epoch").ravel().tolist())
    [0, 1, 2, 3, 4]
    """
    samples, first, count, size, way = checks.drawing(n_samples, start, steps, batch_size, sampling)
    return draw_indices(samples, first, count, size, way, checks.seed(seed))


def result_of(outcome: Outcome, params: Params, plan: Plan, first: int) -> TrainResult:
    """What a run of training after step `first` ends with."""
    last, every = outcome.steps, plan.record_every
    steps = np.arange((first // every + 1) * every, last + 1, every, dtype=np.int64)
    losses = outcome.losses
    if outcome.diverged_at is not None:
        # Backends differ in what they last looked at, and records may lie on either side.
        count = min(len(steps), len(losses))
        history = History(steps[:count], losses[:count])
        return TrainResult(params, math.nan, last, outcome.stop_reason, history)
    if last % every != 0:
        steps, losses = np.append(steps, last), np.append(losses, outcome.loss)
    history = History(steps, losses)
    return TrainResult(params, outcome.loss, last, outcome.stop_reason, history)


@contextlib.contextmanager
def progress_bar(total: int, unit: str, progress: bool | None) -> Iterator[Callable[[int], object]]:
    """A with-block with a progress bar, if it is to be shown; the function given moves it on."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if not (on_terminal if progress is None else progress):
        yield lambda steps: None
        return
    from tqdm.auto import tqdm

    delay = 0.0 if progress else _BAR_DELAY_SECONDS
    with tqdm(total=total, unit=unit, unit_scale=True, delay=delay) as bar:
        yield bar.update
