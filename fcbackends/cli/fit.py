"""`fcbackends train DATA`: from a file to a trained network, a model file and a report."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.cli.data import Table, read_table
from fcbackends.cli.files import writable
from fcbackends.cli.model import Floats, Model, Scaling, cast
from fcbackends.report.terminal import print_table

DEFAULT_BATCH = 32
DEFAULT_EPOCHS = 100

_STOPPED = {
    "tolerance": "tolerance reached",
    "max_steps": "all steps taken",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class Options:
    """The options of `fcbackends train DATA`, as its help describes them."""

    header: bool | None
    target: tuple[str, ...]
    hidden: tuple[int, ...] | None
    lr: float
    batch: int | None
    steps: int | None
    epochs: int | None
    tol: float | None
    tol_on: Literal["batch", "data"]
    sampling: Literal["replacement", "epoch"]
    standardize: Literal["inputs", "targets", "both"] | None
    holdout: float | None
    seed: int
    dtype: Literal["float32", "float64"]
    backend: str | None
    out: str | None
    plot: str | None


@dataclass(frozen=True)
class Part:
    """Some rows, as the network sees them (x, t), and the targets in their own units."""

    x: Floats
    t: Floats
    own_t: Floats


@dataclass(frozen=True)
class Prepared:
    """A file's columns in their roles, its rows in theirs, and the scales applied to both."""

    table: Table
    targets: tuple[int, ...]
    inputs: Scaling | None
    outputs: Scaling | None
    training: Part
    held_out: Part | None


def train_file(data: str, options: Options) -> None:
    """Train on a file, write what was asked for and print a report.

    Raises KeyboardInterrupt at the end if the training was interrupted: what there was by then is
    written and reported.
    """
    out = writable(options.out, "--out", [".safetensors"]) if options.out else None
    picture = _picture_path(options.plot)
    backend = fcb.get_backend(options.backend)
    prepared = _prepare(read_table(data, options.header), options)
    batch, steps = _batch_and_steps(options, len(prepared.training.x))
    train = functools.partial(
        fcb.train,
        prepared.training.x,
        prepared.training.t,
        hidden=options.hidden or (),
        lr=options.lr,
        batch_size=batch,
        tol=options.tol,
        tol_on=options.tol_on,
        sampling=options.sampling,
        seed=options.seed,
        dtype=options.dtype,
        backend=backend,
    )
    started = time.perf_counter()
    first = train(max_steps=1)
    if first.stop_reason == "interrupted":
        raise KeyboardInterrupt
    # Before the training, so that Ctrl-C does not wait for it.
    _evaluate(first.params, prepared.training.x[:1], prepared.training.t[:1], backend)
    ready = time.perf_counter()
    result = train(max_steps=steps)
    ended = time.perf_counter()

    model = Model(
        params=tuple((as_numpy(w), as_numpy(b)) for w, b in result.params),
        names=prepared.table.names,
        targets=prepared.targets,
        inputs=prepared.inputs,
        outputs=prepared.outputs,
    )
    if out:
        model.save(out)
    if picture:
        from fcbackends.cli.plot import plot_loss

        plot_loss(result.history, f"loss of the {options.tol_on}", picture)
    print_table(
        [
            *_describe(model, prepared),
            ("backend", f"{backend.name}, {options.dtype}"),
            ("steps", f"{result.steps} of batch {batch}, {_STOPPED[result.stop_reason]}"),
            (
                "time",
                f"{ended - ready:.3g} s, after {ready - started:.3g} s of loading or compiling",
            ),
            *_losses(model, prepared, backend),
            ("digest", fcb.digest(model.params)),
            *(("written", path) for path in (options.out, options.plot) if path),
        ]
    )
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt


def _prepare(table: Table, options: Options) -> Prepared:
    targets = _targets(table, options.target)
    x = table.numbers([column for column in range(table.width) if column not in targets])
    t = table.numbers(targets)
    trained_on, held_out = _split(table.rows, options.holdout, options.seed)
    scaled = options.standardize
    inputs = Scaling.fit(x[trained_on]) if scaled in ("inputs", "both") else None
    outputs = Scaling.fit(t[trained_on]) if scaled in ("targets", "both") else None
    network_x = cast(inputs.apply(x) if inputs else x, options.dtype)
    network_t = cast(outputs.apply(t) if outputs else t, options.dtype)
    training, rest = (
        Part(network_x[rows], network_t[rows], t[rows]) for rows in (trained_on, held_out)
    )
    return Prepared(table, targets, inputs, outputs, training, rest if len(held_out) else None)


def _picture_path(name: str | None) -> Path | None:
    if not name:
        return None
    # Loaded before the training: it takes longer than Ctrl-C may.
    from fcbackends.cli.plot import SUFFIXES

    return writable(name, "--plot", SUFFIXES)


def _targets(table: Table, texts: Sequence[str]) -> tuple[int, ...]:
    if texts and table.targets:
        raise fcb.ArgumentError(
            f"`--target` must not come with a file whose array 't' holds the targets, got "
            f"{', '.join(texts)!r}"
        )
    targets = table.targets or table.select(texts or ["-1"])
    if len(targets) == table.width:
        raise fcb.ArgumentError(
            f"`--target` must leave a feature column, got all columns ({table.width})"
        )
    return targets


def _split(
    rows: int, share: float | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to train on and the rows held out, each in the file's order."""
    if share is None:
        return np.arange(rows), np.arange(0)
    held = round(share * rows) if 0 < share < 1 else 0
    if not 0 < held < rows:
        raise fcb.ArgumentError(
            f"`--holdout` must be a share between 0 and 1 that leaves rows on both sides of the "
            f"split, got {share} of {rows} rows"
        )
    order = fcb.sample_indices(rows, steps=1, batch_size=rows, sampling="epoch", seed=seed)[0]
    return np.sort(order[held:]), np.sort(order[:held])


def _batch_and_steps(options: Options, rows: int) -> tuple[int, int]:
    batch = min(DEFAULT_BATCH, rows) if options.batch is None else options.batch
    if options.steps is not None and options.epochs is not None:
        raise fcb.ArgumentError(
            f"`--steps` and `--epochs` must not come together, got {options.steps} and "
            f"{options.epochs}"
        )
    if options.steps is not None:
        return batch, options.steps
    epochs = DEFAULT_EPOCHS if options.epochs is None else options.epochs
    return batch, math.ceil(epochs * rows / max(batch, 1))


def _describe(model: Model, prepared: Prepared) -> list[tuple[str, str]]:
    def with_names(columns: Sequence[int]) -> str:
        names = prepared.table.names
        return f"{len(columns)}{': ' if names else ''}" + ", ".join(
            names[column] for column in columns if names
        )

    held_out = f", {len(prepared.held_out.x)} held out" if prepared.held_out else ""
    sizes = [len(model.features), *(len(b) for _, b in model.params)]
    values = sum(w.size + b.size for w, b in model.params)
    return [
        ("samples", f"{len(prepared.training.x)}{held_out}"),
        ("inputs", with_names(model.features)),
        ("outputs", with_names(model.targets)),
        ("network", f"{' -> '.join(map(str, sizes))}, {values} parameters"),
    ]


def _losses(model: Model, prepared: Prepared, backend: fcb.Backend) -> Iterator[tuple[str, str]]:
    for name, part in (("training", prepared.training), ("held-out", prepared.held_out)):
        if part is None:
            continue
        y, loss = _evaluate(model.params, part.x, part.t, backend)
        text = f"{loss:.6g}"
        if model.outputs:
            own = fcb.mean_squared_loss(model.restore(y), part.own_t, backend=backend).loss
            text += f" standardised, {float(own):.6g} in the targets' own units"
        yield f"{name} loss", text


def _evaluate(params: Any, x: Floats, t: Floats, backend: fcb.Backend) -> tuple[Floats, float]:
    """The network's outputs, and their loss."""
    y = as_numpy(fcb.predict(params, x, backend=backend))
    return y, float(fcb.mean_squared_loss(y, t, backend=backend).loss)
