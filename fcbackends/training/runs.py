"""Whole runs of training."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Loop, LossScope, Plan
from fcbackends.checks import data, options
from fcbackends.environment import warn_if_disturbed
from fcbackends.errors import DivergenceError
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.network import Method
from fcbackends.maths.optimizers import SGD, Optimizer
from fcbackends.maths.sampling import Sampling
from fcbackends.maths.schedules import Rate, rate_at
from fcbackends.training.asked import Asked, asked_for
from fcbackends.training.checkpoint import FileName, opened
from fcbackends.training.interruption import OnInterrupt, ending, interruptible
from fcbackends.training.keeping import Keeper, Observer, Standing
from fcbackends.training.looks import Callback, Looks
from fcbackends.training.pacing import Outcome, run_segments
from fcbackends.training.problem import checked
from fcbackends.training.progress import progress_bar
from fcbackends.training.recording import recording_of
from fcbackends.training.results import TrainResult, result_of
from fcbackends.training.sharding import train_sharded
from fcbackends.training.validation import Pair, apart


def train(
    x: Any,
    t: Any,
    *,
    hidden: Sequence[int] = (),
    params: Any = None,
    activation: str | Sequence[str] = "relu",
    loss: str = "mean_squared",
    classes: int | None = None,
    sample_weight: Any = None,
    optimizer: Optimizer = SGD(),
    lr: Rate,
    clip_norm: float | None = None,
    batch_size: int = 1,
    max_steps: int = 100_000,
    time_limit: float | None = None,
    tol: float | None = None,
    tol_on: LossScope = "batch",
    sampling: Sampling = "replacement",
    seed: int = 0,
    dtype: str = "float64",
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
    record_every: int | None = None,
    validation: tuple[Any, Any] | float | None = None,
    patience: int | None = None,
    callback: Callback | None = None,
    progress: bool | None = None,
    on_interrupt: OnInterrupt = "raise",
    checkpoint: FileName | None = None,
    checkpoint_every: int | None = None,
    resume: FileName | None = None,
    record: FileName | None = None,
    digest_every: int | None = None,
    shards: int | None = None,
    local_steps: int | None = None,
    executor: Any = None,
) -> TrainResult:
    """Train a fully connected network on a loss of its outputs, by SGD or another optimizer.

    Step s, counted from 1, draws its batch as a pure function of (seed, s), takes one step on it
    (by default an `sgd_step`), and then stops where the watched loss is at most `tol`. Backends of
    the same arithmetic end on the same bits, after the same number of steps.

    Parameters
    ----------
    x : array (N, K)
        Inputs, one sample a row; cast once to `dtype`.
    t : array (N, M) or (N,)
        Targets; cast once to `dtype`. Those of one output may be given as (N,). Of the loss
        "cross_entropy" they are probabilities (N, M), or classes 0, 1, ... as integers (N,).
    hidden : sequence of int
        The sizes of the layers between inputs and outputs; without any, a linear regression.
    params : sequence of (w, b), optional
        The first parameters, of dtype `dtype`; `init_params((K, *hidden, M), seed=seed,
        dtype=dtype)` by default. They are not changed.
    activation : str or sequence of str
        What goes between the layers: "relu", "leaky_relu" (slope 0.01), "tanh", "sigmoid" or
        "identity"; of a sequence, each hidden layer has its own.
    loss : {"mean_squared", "huber", "cross_entropy", "binary_cross_entropy"}
        What is made small, a mean over samples: see `mean_squared_loss`, `huber_loss`,
        `cross_entropy_loss` (of softmax) and `binary_cross_entropy_loss`.
    classes : int, optional
        How many classes there are; by default as many as `params` have outputs, or up to the
        largest in t.
    sample_weight : array (N,), optional
        What each sample's loss and gradient are multiplied by: finite, >= 0, not all of it 0.
        A batch's loss is still the sum over its samples divided by their number.
    optimizer : SGD or Adam
        How parameters move, given their gradient; by default plain SGD.
    lr : float or schedule
        Learning rate: finite and > 0 in `dtype`; or one for each step, of a `ConstantRate`,
        `StepRate`, `ExponentialRate` or `CosineRate`.
    clip_norm : float, optional
        The largest norm of the gradient of all parameters together, finite and > 0 in `dtype`:
        where it is larger, all of the gradient is scaled down.
    batch_size : int
        Samples a step.
    max_steps : int
        The most steps to take.
    time_limit : float, optional
        The most seconds from the call on, > 0: after them the run ends with the steps that it has
        taken, be it none. To compile a kernel, which takes seconds once, is not broken off.
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
    arithmetic : str or None
        How products join their sums; see `get_backend`.
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.
    record_every : int, optional
        The steps between two entries of the history; by default a thousandth of `max_steps`, or
        with `tol_on` "data" or with `validation` as many as one epoch has, ceil(N / batch_size).
    validation : (x, t) or float, optional
        Data whose loss is computed at each look: after each `record_every` steps and after the
        last. Arrays of the columns of x and t, cast likewise; or a share of the rows, chosen by
        the seed and then not trained on.
    patience : int, optional
        Stop after so many looks without a smaller validation loss; one that is not finite counts
        as the greatest. However the run then ends, unless it diverges, its parameters are those of
        the look with the smallest loss, the first of several.
    callback : callable, optional
        Called at each look with a `Look`; a mapping of names to numbers that it returns goes into
        the history. Where it raises StopIteration, the run ends there; other exceptions go through
        to the caller.
    progress : bool, optional
        A progress bar on stderr: always, never, or (None) after two seconds on a terminal.
    on_interrupt : {"raise", "return"}
        What Ctrl-C leads to, once the step under way is done, or left and undone where it is long:
        KeyboardInterrupt, or the result so far, with stop_reason "interrupted".
    checkpoint : str or path, optional
        A file to keep the run in as it goes: it is replaced as a whole, so that one that is whole
        is left whenever the process ends. It is written at the end as well, at Ctrl-C, and at the
        time limit.
    checkpoint_every : int, optional
        The steps between two of them; by default as many as take ten seconds.
    resume : str or path, optional
        A checkpoint to go on from: the bits and the history of a run that never stopped, on any
        backend of class A. All other arguments are to be those that it began with, but for
        `backend`, `time_limit`, `progress`, `on_interrupt`, the checkpoint's and the record's, and
        what a `callback` does.
    record : str or path, optional
        A file of JSON that is written at the end, also after Ctrl-C or the time limit: all that it
        takes to repeat the run, as `reproduce` does, digests of the data, and what came of it. Of a
        run that goes on from a checkpoint it has digests from there on.
    digest_every : int, optional
        The steps between two digests of the parameters in the record; by default such that there
        are at most some thousand, and that they take little time.
    shards, local_steps : int, optional
        Train on V shards of the rows, of N / V consecutive ones each: all begin with the same
        parameters, each takes so many steps on samples of its own, and then parameters, and what
        the optimizer keeps beside them, become the mean over the shards: their sum in a binary tree
        over the shards, times 1/V, rounded once. Then they begin again. Bits hang on both numbers,
        and not on who computes; those of one shard are those without. x, t and sample_weight may
        then also be lists of .npy files, rows one after another, or Dask arrays: of these, and of
        files mapped to memory, only the rows that are drawn are read, where they are needed. The
        loss is the mean of the shards' last batches', looked at after each round; `record_every` is
        a multiple of `local_steps`. Without checkpoints, records, `tol_on` "data" and a share for
        `validation`.
    executor : executor, or callable, optional
        Where the shards take their steps, as for `train_many`; in this process by default. Files
        are then to be where workers find them.

    Returns
    -------
    TrainResult

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above, or not as in the run that `resume` goes on
        with; nothing has then been done.
    DivergenceError
        Where the loss, or at a checkpoint or the end a parameter, is not finite; it names the step
        and what in the data may be the cause, and keeps the last finite parameters.
    OSError
        Where a checkpoint or the record cannot be written; what was there before is left.
    ImportError
        Where a checkpoint is asked for, and safetensors not installed.
    RuntimeError
        Where a shard failed four times on an executor's workers, or it takes no more.

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
    asked_of = dict(locals())
    deadline = deadline_of(time_limit)
    if any(value is not None for value in (shards, local_steps, executor)):
        return train_sharded(x, t, asked_of, shards, local_steps, executor, deadline)
    of_loss = loss, classes, sample_weight
    of_network = hidden, params, dtype, backend, arithmetic
    problem = checked(x, t, *of_network, *of_loss, rows_per_block)
    activation = options.activation(activation, len(problem.sizes) - 2)
    rate, optimizer = options.rate(lr, problem.dtype), options.optimizer(optimizer)
    clip_norm = options.clip_norm(clip_norm, problem.dtype)
    method = Method(rate, activation, problem.loss, optimizer, problem.weighted, clip_norm)
    given = problem.backend, problem.x, problem.t, problem.dtype
    outputs = problem.sizes[-1]
    x, t, held = apart(*given, validation, seed, loss=problem.loss, outputs=outputs)
    max_steps = options.integer("max_steps", max_steps, 1)
    plan = options.plan(
        samples=x.shape[0],
        start=0,
        max_steps=max_steps,
        batch_size=batch_size,
        tol=tol,
        tol_on=tol_on,
        sampling=sampling,
        seed=seed,
        record_every=record_every,
        by_epoch=held is not None,
    )
    looks = looks_at(method, held, patience, callback)
    shown = options.progress(progress)
    returns = options.returns(on_interrupt)
    recording = recording_of(record, digest_every, checkpoint, resume)
    loop = problem.backend.training_loop(problem.first_params(plan.seed), method)
    if problem.given is not None:
        data.finite(loop.params)

    @functools.cache
    def asked() -> Asked:
        return asked_for(
            problem.backend,
            problem.sizes,
            problem.dtype,
            [method],
            [plan],
            first=0,
            max_steps=max_steps,
            patience=looks.patience if looks else None,
            validation=validation if isinstance(validation, float) else held,
            calls_back=callback is not None,
            x=problem.x,
            t=problem.t,
            params=problem.given,
        )

    runs = opened(checkpoint, checkpoint_every, resume, 1, asked, problem.own)
    kept = runs.keeper(0), runs.begun[0]
    stop = max_steps
    if recording:
        stop = recording.begin(asked(), problem.backend, plan, looks)
    breaks_off = not (returns or kept[0] or recording)
    paced = deadline, shown, looks, *kept, recording
    outcome, interrupted = run_loop(loop, x, t, plan, 0, stop, *paced, breaks_off=breaks_off)
    arithmetic = problem.backend.arithmetic
    of_run = outcome, arithmetic, method, plan, 0, interrupted
    if recording and outcome.diverged_at is None:
        recording.end(ended(*of_run, True, x, t))
    return ended(*of_run, returns, x, t)


def deadline_of(time_limit: Any) -> float | None:
    """When, on the clock of `time.perf_counter`, a run that begins now is to end, if it is."""
    seconds = options.time_limit(time_limit)
    return None if seconds is None else time.perf_counter() + seconds


def looks_at(
    method: Method, held: Pair | None, patience: Any, callback: Any = None
) -> Looks | None:
    """The looks at a run that these arguments of `train` ask for, if they do."""
    patience = options.patience(patience, validates=held is not None)
    callback = options.callback(callback)
    if held is None and callback is None:
        return None
    return Looks(held, patience, callback, method.lr)


def run_loop(
    loop: Loop,
    x: Array,
    t: Array,
    plan: Plan,
    first: int,
    stop: int,
    deadline: float | None,
    progress: bool | None,
    looks: Looks | None,
    keeper: Keeper | None = None,
    begun: Standing | None = None,
    observer: Observer | None = None,
    *,
    breaks_off: bool = False,
) -> tuple[Outcome, bool]:
    """Take the steps `first` + 1 to `stop`, or fewer; how they ended, and whether Ctrl-C came.

    KeyboardInterrupt, where that `breaks_off` the run.
    """
    warn_if_disturbed(3)
    # What has to be compiled is compiled before Ctrl-C is held back.
    loop.prepare(x, t, plan, stop - first)
    if looks:
        looks.prepare(loop)
    with (
        interruptible() as interrupted,
        progress_bar(stop - first, "step", progress) as advanced,
    ):
        outcome = run_segments(
            loop,
            x,
            t,
            plan,
            first,
            stop,
            ending=ending(interrupted, deadline, breaks_off),
            advanced=advanced,
            looks=looks,
            keeper=keeper,
            begun=begun,
            observer=observer,
        )
    return outcome, interrupted()


def ended(
    outcome: Outcome,
    arithmetic: str,
    method: Method,
    plan: Plan,
    first: int,
    interrupted: bool,
    returns: bool,
    x: Array,
    t: Array,
) -> TrainResult:
    """The result of a run after step `first`, or what is raised instead.

    `interrupted` says whether Ctrl-C came, be it after the last step, and `returns` whether there
    is a result all the same.
    """
    if interrupted and not returns:
        raise KeyboardInterrupt
    if outcome.diverged_at is not None:
        rate, (params, slots) = rate_at(method.lr, outcome.diverged_at), outcome.state
        found = data.not_finite(x, t)
        raise DivergenceError(outcome.diverged_at, params, outcome.loss, rate, slots, found)
    stop_reason = "interrupted" if interrupted else outcome.stop_reason
    outcome = outcome._replace(stop_reason=stop_reason)
    return result_of(outcome, arithmetic, method, plan, first)
