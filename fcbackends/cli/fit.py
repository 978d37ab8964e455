"""`fcbackends train DATA`: from a file to a trained network, a model file and a report."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.checks import options
from fcbackends.cli.data import Table, read_table
from fcbackends.cli.descent import optimizer_of, rate_of
from fcbackends.cli.model import Model
from fcbackends.cli.scaling import cast
from fcbackends.files import apart, writable
from fcbackends.maths.activations import Activations
from fcbackends.models.scaling import Floats, Scaling
from fcbackends.report.terminal import print_table
from fcbackends.training.validation import split

DEFAULT_BATCH = 32
DEFAULT_EPOCHS = 100

_STOPPED = {
    "tolerance": "tolerance reached",
    "max_steps": "all steps taken",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class Part:
    """Some rows, as the network sees them (x, t), and the targets in their own units."""

    x: Floats
    t: Floats
    own_t: Floats


def train_file(
    data: str,
    *,
    header: bool | None,
    target: Sequence[str],
    hidden: Sequence[int] | None,
    activation: Activations,
    optimizer: str,
    momentum: float | None,
    nesterov: bool,
    weight_decay: float,
    lr: float,
    schedule: str,
    decay_every: int | None,
    decay_factor: float | None,
    warmup: int,
    batch_size: int | None,
    max_steps: int | None,
    epochs: int | None,
    standardize: str | None,
    holdout: float | None,
    seed: int,
    dtype: str,
    backend: str | None,
    arithmetic: str | None,
    out: str | None,
    plot: str | None,
    **how: Any,
) -> None:
    """Train on a file, write what was asked for and print a report.

    The options are those that the command's help describes; `how` goes to `fcbackends.train`.

    Raises
    ------
    ArgumentError
        Where an option or the file is refused; nothing has then been done.
    DivergenceError
        Where the loss, at last also that of all rows trained on or held out, is not finite:
        nothing is written.
    KeyboardInterrupt
        At the end, if the training was: what there was by then is written and reported.
    """
    model_path = writable(out, "--out", [".safetensors"]) if out else None
    picture = _picture_path(plot)
    descent = optimizer_of(optimizer, momentum, nesterov, weight_decay)
    apart([("--out", out), ("--plot", plot)], [("DATA", data)])
    chosen = fcb.get_backend(backend, arithmetic=arithmetic)
    table = read_table(data, header)
    untrained, parts = _prepare(table, target, hidden, standardize, holdout, seed, dtype)
    activation = options.activation(activation, len(hidden or ()))
    untrained = replace(untrained, activation=activation)
    part = parts["training"]
    batch, steps = _batch_and_steps(batch_size, max_steps, epochs, len(part.x))
    rate = rate_of(lr, schedule, decay_every, decay_factor, warmup, steps)
    # What it needs is loaded before the training, so that Ctrl-C waits for none of it.
    _, first_loss = _evaluate(untrained, part, chosen)
    started = time.perf_counter()
    result = fcb.train(
        part.x,
        part.t,
        params=untrained.params,
        activation=activation,
        optimizer=descent,
        lr=rate,
        batch_size=batch,
        max_steps=steps,
        seed=seed,
        dtype=dtype,
        backend=chosen,
        on_interrupt="return",
        **how,
    )
    seconds = time.perf_counter() - started

    params = tuple((as_numpy(w), as_numpy(b)) for w, b in result.params)
    model = replace(untrained, params=params, arithmetic=result.arithmetic)
    losses = _losses(model, parts, chosen, result)
    if model_path:
        model.save(model_path)
    if picture:
        from fcbackends.cli.plot import plot_loss

        plot_loss(result.history, f"loss of the {how['tol_on']}", picture)
    print_table(
        [
            *_describe(model, parts),
            ("backend", f"{chosen.name}, {chosen.arithmetic}, {dtype}"),
            *([] if descent == fcb.SGD() else [("optimizer", str(descent))]),
            *([] if rate == lr else [("learning rate", str(rate))]),
            ("steps", f"{result.steps} of batch {batch}, {_STOPPED[result.stop_reason]}"),
            ("time", f"{seconds:.3g} s, with loading or compiling"),
            ("initial loss", f"{first_loss:.6g}"),
            *losses,
            ("digest", fcb.digest(model.params)),
            *(("written", path) for path in (out, plot) if path),
        ]
    )
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt


def _prepare(
    table: Table,
    target: Sequence[str],
    hidden: Sequence[int] | None,
    scaled: str | None,
    holdout: float | None,
    seed: int,
    dtype: str,
) -> tuple[Model, dict[str, Part]]:
    """The network before training, and the rows that it is trained and held against."""
    targets = _targets(table, target)
    x = table.numbers([column for column in range(table.width) if column not in targets])
    t = table.numbers(targets)
    trained_on, held_out = _split(table.rows, holdout, seed)
    inputs = _scaling(x[trained_on]) if scaled in ("inputs", "both") else None
    outputs = _scaling(t[trained_on]) if scaled in ("targets", "both") else None
    network_x = cast(inputs.apply(x) if inputs else x, dtype)
    network_t = cast(outputs.apply(t) if outputs else t, dtype)
    sizes = (x.shape[1], *(hidden or ()), t.shape[1])
    params = fcb.init_params(sizes, seed=seed, dtype=dtype)
    return Model(params, table.names, targets, inputs, outputs), {
        name: Part(network_x[rows], network_t[rows], t[rows])
        for name, rows in (("training", trained_on), ("held-out", held_out))
        if len(rows)
    }


def _scaling(values: NDArray[np.float64]) -> Scaling:
    try:
        return Scaling.fit(values)
    except fcb.ArgumentError as error:
        raise error.renamed({"x": "--standardize"}) from None


def _picture_path(name: str | None) -> Path | None:
    if not name:
        return None
    # Loaded before the training: it takes longer than Ctrl-C may.
    from fcbackends.cli.plot import SUFFIXES

    return writable(name, "--plot", SUFFIXES)


def _targets(table: Table, texts: Sequence[str]) -> tuple[int, ...]:
    if texts and table.targets:
        required = "not come with a file whose array 't' holds the targets"
        raise fcb.ArgumentError("--target", required, repr(", ".join(texts)))
    targets = table.targets or table.select(texts or ["-1"])
    if len(targets) == table.width:
        got = f"all columns ({table.width})"
        raise fcb.ArgumentError("--target", "leave a feature column", got)
    return targets


def _split(
    rows: int, share: float | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to train on and the rows held out, each in the file's order."""
    if share is None:
        return np.arange(rows), np.arange(0)
    try:
        return split(rows, share, options.seed(seed))
    except fcb.ArgumentError as error:
        raise error.renamed({"validation": "--holdout"}) from None


def _batch_and_steps(
    batch: int | None, steps: int | None, epochs: int | None, rows: int
) -> tuple[int, int]:
    batch = min(DEFAULT_BATCH, rows) if batch is None else batch
    if steps is None:
        return batch, math.ceil((DEFAULT_EPOCHS if epochs is None else epochs) * rows / batch)
    if epochs is not None:
        raise fcb.ArgumentError(
            ("--steps", "--epochs"), "not come together", f"{steps} and {epochs}"
        )
    return batch, steps


def _describe(model: Model, parts: dict[str, Part]) -> list[tuple[str, str]]:
    def with_names(columns: Sequence[int]) -> str:
        names = f": {', '.join(model.names[column] for column in columns)}" if model.names else ""
        return f"{len(columns)}{names}"

    held_out = f", {len(parts['held-out'].x)} held out" if "held-out" in parts else ""
    sizes = [len(model.features), *(len(b) for _, b in model.params)]
    values = sum(w.size + b.size for w, b in model.params)
    names = [model.activation] if isinstance(model.activation, str) else model.activation
    between = f", {' and '.join(names)}" if len(sizes) > 2 else ""
    return [
        ("samples", f"{len(parts['training'].x)}{held_out}"),
        ("inputs", with_names(model.features)),
        ("outputs", with_names(model.targets)),
        ("network", f"{' -> '.join(map(str, sizes))}, {values} parameters{between}"),
    ]


def _losses(
    model: Model, parts: dict[str, Part], backend: fcb.Backend, result: fcb.TrainResult
) -> list[tuple[str, str]]:
    """What is said of the losses of all rows; DivergenceError where one is not finite."""
    said = []
    for name, part in parts.items():
        y, loss = _evaluate(model, part, backend)
        if not math.isfinite(loss):
            raise fcb.DivergenceError(result.steps, result.params)
        text = f"{loss:.6g}"
        if model.outputs:
            own = fcb.mean_squared_loss(model.restore(y), part.own_t, backend=backend).loss
            text += f" standardised, {float(own):.6g} in the targets' own units"
        said.append((f"{name} loss", text))
    return said


def _evaluate(model: Model, part: Part, backend: fcb.Backend) -> tuple[Floats, float]:
    """The network's outputs, and their loss."""
    y = as_numpy(fcb.predict(model.params, part.x, activation=model.activation, backend=backend))
    return y, float(fcb.mean_squared_loss(y, part.t, backend=backend).loss)
