"""Many networks, each with the bits that it would have alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from fcbackends.backends import registry
from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import LossScope, Plan
from fcbackends.checks import options
from fcbackends.environment import warn_if_disturbed
from fcbackends.errors import ArgumentError, SweepError
from fcbackends.executors.reply import Where
from fcbackends.maths.optimizers import SGD, Optimizer
from fcbackends.maths.sampling import Sampling
from fcbackends.maths.schedules import Rate
from fcbackends.sweeps.asked import asked_for
from fcbackends.sweeps.finding import Finding, audited
from fcbackends.sweeps.here import not_begun, prepare, train_here
from fcbackends.sweeps.kept import Kept
from fcbackends.sweeps.networks import Data, How, Network, networks_of
from fcbackends.sweeps.packs import Ended
from fcbackends.sweeps.settings import settings_of
from fcbackends.sweeps.shipping import key_of, keys_of, portable
from fcbackends.sweeps.sweep import Sweep
from fcbackends.training import asked
from fcbackends.training.checkpoint import FileName, opened
from fcbackends.training.interruption import OnInterrupt, ending, interruptible
from fcbackends.training.progress import progress_bar
from fcbackends.training.results import TrainResult
from fcbackends.training.runs import deadline_of


def train_many(
    x: Any,
    t: Any,
    *,
    seed: int | Sequence[int] = 0,
    optimizer: Optimizer | Sequence[Optimizer] = SGD(),
    lr: Rate | Sequence[Rate] | None = None,
    clip_norm: float | None = None,
    rows: Sequence[Any] | None = None,
    hidden: Sequence[int] | Sequence[Sequence[int]] = (),
    params: Any = None,
    activation: str | Sequence[str] = "relu",
    loss: str | Sequence[str] = "mean_squared",
    classes: int | None = None,
    sample_weight: Any = None,
    batch_size: int = 1,
    max_steps: int = 100_000,
    time_limit: float | None = None,
    tol: float | None = None,
    tol_on: LossScope = "batch",
    sampling: Sampling = "replacement",
    dtype: str = "float64",
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
    record_every: int | None = None,
    validation: tuple[Any, Any] | None = None,
    patience: int | None = None,
    progress: bool | None = None,
    on_interrupt: OnInterrupt = "raise",
    checkpoint: FileName | None = None,
    checkpoint_every: int | None = None,
    resume: FileName | None = None,
    settings: Any = None,
    executor: Any = None,
    verify: float | None = None,
    results: FileName | None = None,
) -> Sweep:
    """Train many networks, on all cores that the backend may use or on an executor's workers.

    `seed`, `lr`, `rows`, `hidden`, `optimizer` and `loss` may each be a sequence with one entry for
    each network; what is not a sequence serves them all. Network i has the bits of

        train(x[rows[i]], t[rows[i]], seed=seed[i], lr=lr[i], hidden=hidden[i], ...)

    wherever it is trained.

    Parameters
    ----------
    x, t : array (N, K) and (N, M) or (N,)
        Inputs and targets, one sample a row; cast once to `dtype`.
    seed : int or sequence of int
        Of each network's draws and first parameters.
    lr : float, schedule, or sequence of them
        Each network's learning rate, as for `train`.
    rows : sequence of integer arrays, optional
        The rows of the data that each network is trained on, in this order; all by default.
    hidden : sequence of int, or sequence of such sequences
        The sizes of each network's layers between inputs and outputs.
    optimizer, loss : as for `train`, or sequence of such
        Each network's.
    params : sequence of (w, b), optional
        First parameters for all networks, instead of those of their seeds.
    clip_norm, activation, classes, sample_weight, batch_size, max_steps, tol, tol_on, sampling, \
    dtype, backend, arithmetic, rows_per_block, record_every
        As for `train`.
    validation : (x, t), optional
        As for `train`, the same data for all networks; no share.
    time_limit : float, optional
        As for `train`, for all networks together. Those whose turn has not come by then are
        returned as after Ctrl-C.
    patience : int, optional
        As for `train`: each network stops by itself.
    progress : bool, optional
        As for `train`; the bar counts networks.
    on_interrupt : {"raise", "return"}
        As for `train`. Networks whose turn had not come when Ctrl-C came are returned with their
        first parameters, no steps and a loss of NaN. So are those that an executor's workers had
        in hand: Ctrl-C cancels the rest there.
    checkpoint, checkpoint_every, resume
        As for `train`; one file holds all networks, and is written after so many steps of all of
        them together. Only for networks in this process that differ in nothing but `seed`, `lr`
        and `rows`; `results` keeps any.
    settings : sequence of mapping, or frame of pandas or polars, optional
        A table with a row for each network and a column for each option in which they differ:
        those that may be sequences, `activation`, `clip_norm`, `batch_size`, `max_steps`, `tol`,
        `tol_on`, `sampling`, `record_every` or `patience`. What a row does not have, or has as
        None or NaN, is that of the call. An optimizer may be named: "sgd", "adam".
    executor : executor, or callable, optional
        Whatever has `submit(function, *args)`, whose results have `result()`: a process pool of
        `concurrent.futures`, Dask's `Client.get_executor()`, one of loky or mpi4py. Or a function
        that makes it, and makes another where one breaks (a process pool that breaks is replaced
        anyhow). Networks travel in tasks of about half a second, data once a worker; those that
        are memory-mapped .npy files travel as their paths. A task whose worker dies, or that
        raises, is tried again, four times in all. Each task is one thread's, or as many as
        NUMBA_NUM_THREADS says on the worker. Results are arrays of the backend's library.
    verify : float, optional
        So large a share of the networks is trained a second time, on another worker, and the bits
        are compared; where no other takes it, by this process. Where they differ, this process
        tells which worker is wrong, and that worker's networks are trained again elsewhere.
    results : path, optional
        A file that grows with each result, and from which the same call goes on after it was
        killed.

    Returns
    -------
    Sweep
        A tuple of TrainResult in the order of the networks, with one digest of all. Where `train`
        would raise DivergenceError, the stop_reason is "diverged", params are the last finite
        ones, after `steps` steps, loss is NaN, and the history holds the finite losses up to
        there.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above; nothing has then been done.
    SweepError
        At the end, where networks failed four times, the executor took no more, or `verify` found
        a worker with other bits. It has all results that there are.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> x = np.arange(20.0).reshape(10, 2) % 7
    >>> t = x @ np.array([[3.0], [5.0]]) + 2
    >>> results = fcb.train_many(x, t, seed=[0, 1, 2], lr=0.01, max_steps=1000)
    >>> alone = fcb.train(x, t, seed=1, lr=0.01, max_steps=1000)
    >>> fcb.compare(results[1].params, alone.params).equal
    True

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> table = [{"hidden": (), "lr": 0.01}, {"hidden": (4,), "lr": 0.001}]
    >>> with ThreadPoolExecutor(2) as executor:
    ...     sweep = fcb.train_many(x, t, settings=table, executor=executor, max_steps=1000)
    >>> sweep.digest == fcb.train_many(x, t, settings=table, max_steps=1000).digest
    True
    """
    deadline = deadline_of(time_limit)
    given = Data(x, t, sample_weight, options.validation(validation, shares=False), params)
    own = dict(seed=seed, lr=lr, rows=rows, hidden=hidden, optimizer=optimizer, loss=loss)
    own |= dict(activation=activation, clip_norm=clip_norm, batch_size=batch_size)
    own |= dict(max_steps=max_steps, tol=tol, tol_on=tol_on, sampling=sampling)
    own |= dict(record_every=record_every, patience=patience)
    wanted = settings_of(settings, own)
    how = How(dtype, backend, arithmetic, classes, rows_per_block)
    networks = networks_of(given, how, wanted)
    chosen = networks[0].problem.backend
    shown, returns = options.progress(progress), options.returns(on_interrupt)
    executor = options.executor(executor)
    share = options.verify(verify, has_executor=executor is not None)
    if checkpoint is not None or resume is not None:
        _check_checkpoints(networks, executor, results)
    runs = opened(
        checkpoint,
        checkpoint_every,
        resume,
        len(networks),
        lambda: _asked(networks),
        networks[0].problem.own,
    )
    if executor is None and results is None:
        carried, keys = None, {}
    else:
        carried = portable(given)
        keys = keys_of(carried)
    name = None if results is None else options.path("results", results)
    kept = Kept(networks, name, lambda: asked_for(networks, keys))
    warn_if_disturbed(2)
    missing = kept.missing()
    left = [networks[number] for number in missing]
    failures: dict[int, str] = {}
    findings: Sequence[Finding] = ()
    if executor is None:
        prepare(left)
    with (
        contextlib.closing(kept),
        interruptible() as interrupted,
        progress_bar(len(left), "network", shown) as advanced,
    ):
        why = ending(interrupted, deadline)
        if executor is None:
            threads = min(chosen.get_threads(), len(left))

            def took(place: int, result: TrainResult) -> None:
                advanced(kept.take_here(missing[place], result))

            train_here(left, threads, why, took, runs)
        else:
            assert carried is not None
            # What it stands on takes a third of the time that importing fcbackends does.
            from fcbackends.sweeps.elsewhere import train_elsewhere

            def taken(content: bytes, where: Where, pack: Sequence[Ended]) -> None:
                advanced(kept.take(where, pack, content))

            failures, findings = train_elsewhere(
                executor,
                networks,
                wanted,
                carried,
                key_of(keys),
                how._replace(
                    backend=registry.portable(chosen),
                    arithmetic=chosen.arithmetic,
                    rows_per_block=chosen.rows_per_block,
                ),
                missing,
                audited(share, len(networks), key_of(keys)),
                kept.to_audit(),
                why,
                deadline,
                taken,
                kept.note,
            )
        reason = why() or ""
    if runs.kept:
        runs.kept.write()
    if interrupted() and not returns:
        raise KeyboardInterrupt

    def otherwise(number: int) -> TrainResult | None:
        return None if number in failures else not_begun(networks[number], reason)

    made = kept.results(otherwise)
    if failures or findings:
        raise SweepError(made, failures, tuple(findings))
    return Sweep.of(made, kept.digests())


def _check_checkpoints(networks: Sequence[Network], executor: Any, results: Any) -> None:
    """Check that one checkpoint can hold these networks."""
    first = networks[0]
    alike = (
        first.problem.sizes == each.problem.sizes
        and first.max_steps == each.max_steps
        and first.patience == each.patience
        and first.method._replace(lr=0.0) == each.method._replace(lr=0.0)
        and _of_all(first.plan) == _of_all(each.plan)
        for each in networks
    )
    required = "be left out with `{}`, where `results` keeps what is done"
    for other, is_there in (
        ("executor", executor is not None),
        ("results", results is not None),
        ("settings", not all(alike)),
    ):
        if is_there:
            raise ArgumentError("checkpoint", required.format(other), "a file")


def _of_all(plan: Plan) -> Plan:
    return plan._replace(seed=0, record_every=0)


def _asked(networks: Sequence[Network]) -> asked.Asked:
    first = networks[0]
    return asked.asked_for(
        first.problem.backend,
        first.problem.sizes,
        first.problem.dtype,
        [each.method for each in networks],
        [each.plan for each in networks],
        first=0,
        max_steps=first.max_steps,
        patience=first.patience,
        validation=first.held,
        x=first.problem.x,
        t=first.problem.t,
        params=first.problem.given,
        rows=[each.rows for each in networks],
    )
