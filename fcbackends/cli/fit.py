"""`fcbackends train DATA`: from a file to a trained network, a model file and a report."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.checks import options
from fcbackends.cli import classification, regression
from fcbackends.cli.data import read_table
from fcbackends.cli.descent import optimizer_of, rate_of
from fcbackends.cli.form import Columns, Form
from fcbackends.cli.model import Model
from fcbackends.cli.outcome import evaluate, is_long, outcomes
from fcbackends.cli.preparing import Prepared, prepare
from fcbackends.files import apart, writable
from fcbackends.maths.activations import Activations
from fcbackends.report.terminal import print_table
from fcbackends.training.checkpoint import CheckpointFile

DEFAULT_BATCH = 32
DEFAULT_EPOCHS = 100

_STOPPED = {
    "tolerance": "tolerance reached",
    "max_steps": "all steps taken",
    "patience": "out of patience",
    "time_limit": "out of time",
    "interrupted": "interrupted",
}


def train_file(
    data: str,
    *,
    form: Form,
    columns: Columns,
    hidden: Sequence[int] | None,
    activation: Activations,
    loss: str,
    optimizer: str,
    momentum: float | None,
    nesterov: bool,
    weight_decay: float,
    lr: float,
    schedule: str,
    decay_every: int | None,
    decay_factor: float | None,
    warmup: int,
    clip_norm: float | None,
    batch_size: int | None,
    max_steps: int | None,
    epochs: int | None,
    standardize: str | None,
    holdout: float | None,
    validation: float | None,
    patience: int | None,
    seed: int,
    dtype: str,
    backend: str | None,
    arithmetic: str | None,
    checkpoint: str | None,
    checkpoint_every: int | None,
    resume: str | None,
    out: str | None,
    keep_diverged: bool,
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
        nothing is written but, with `keep_diverged`, the last finite network.
    KeyboardInterrupt
        At the end, if the training was: what there was by then is written and reported.
    """
    model_path = None if out is None else writable(out, "--out", [".safetensors"])
    picture = _picture_path(plot)
    descent = optimizer_of(optimizer, momentum, nesterov, weight_decay)
    apart([("--out", out), ("--plot", plot), ("--checkpoint", checkpoint)], [("DATA", data)])
    apart([("--out", out), ("--plot", plot)], [("--resume", resume)])
    if keep_diverged and not out:
        raise fcb.ArgumentError("--keep-diverged", "come with `--out`", "it without")
    if checkpoint_every is not None and not checkpoint:
        got = f"{checkpoint_every} without"
        raise fcb.ArgumentError("--checkpoint-every", "come with `--checkpoint`", got)
    if patience is not None and validation is None:
        raise fcb.ArgumentError("--patience", "come with `--validation`", f"{patience} without")
    chosen = fcb.get_backend(backend, arithmetic=arithmetic)
    prepared = prepare(
        read_table(data, form),
        columns,
        loss=loss,
        hidden=hidden,
        standardize=standardize,
        holdout=holdout,
        validation=validation,
        seed=seed,
        dtype=dtype,
    )
    activation = options.activation(activation, len(hidden or ()))
    untrained, parts = replace(prepared.model, activation=activation), prepared.parts
    part, held = parts["training"], parts.get("validation")
    batch, steps = _batch_and_steps(batch_size, max_steps, epochs, len(part.x))
    rate = rate_of(lr, schedule, decay_every, decay_factor, warmup, steps)
    # What it needs is loaded before the training, so that Ctrl-C waits for none of it.
    first_loss = evaluate(untrained, part, chosen).loss
    prepared_by = {
        **asdict(columns),
        "standardize": standardize,
        "holdout": holdout,
        "validation": validation,
    }

    def named(path: str | None) -> Any:
        return None if path is None else CheckpointFile(path, prepared_by)

    def trained(params: Any) -> Model:
        own = tuple((as_numpy(w), as_numpy(b)) for w, b in params)
        return replace(untrained, params=own, arithmetic=chosen.arithmetic)

    started = time.perf_counter()
    try:
        result = fcb.train(
            part.x,
            part.t,
            params=untrained.params,
            activation=activation,
            loss=loss,
            optimizer=descent,
            lr=rate,
            clip_norm=clip_norm,
            batch_size=batch,
            max_steps=steps,
            seed=seed,
            dtype=dtype,
            validation=(held.x, held.t) if held else None,
            patience=patience,
            backend=chosen,
            on_interrupt="return",
            checkpoint=named(checkpoint),
            checkpoint_every=checkpoint_every,
            resume=named(resume),
            **how,
        )
        seconds = time.perf_counter() - started
        model = trained(result.params)
        leaves = result.stop_reason == "interrupted" and is_long(model, parts)
        found = {} if leaves else outcomes(model, parts, chosen, result)
    except fcb.ArgumentError as error:
        arrays = ("x", "t", "validation[0]", "validation[1]", "params")
        raise error.renamed(dict.fromkeys(arrays, "DATA")) from None
    except fcb.DivergenceError as error:
        if keep_diverged and model_path:
            trained(error.params).save(model_path)
            error.add_note(f"the last finite network is in {out}")
        raise
    said, tables, trouble = [("losses", "not computed, which would take long")], [], None
    if found and model.classes:
        said = classification.describe(model, found)
        tables = classification.tables(model, found)
        trouble = classification.warning(model, found, standardize)
    elif found:
        said = regression.describe(model, found, chosen)
        trouble = regression.warning(model, found, standardize, chosen)
    is_best = patience is not None and result.best_step is not None
    kept = "" if not is_best else f"; the network is that of step {result.best_step}"
    taken = result.steps if result.best_step is None else result.history.steps[-1]
    if model_path:
        model.save(model_path)
    if picture:
        from fcbackends.cli.plot import plot_loss

        plot_loss(result.history, f"of the {how['tol_on']}", picture)
    print_table(
        [
            *_describe(model, prepared),
            ("backend", f"{chosen.name}, {chosen.arithmetic}, {dtype}"),
            *([] if descent == fcb.SGD() else [("optimizer", str(descent))]),
            *([] if rate == lr else [("learning rate", str(rate))]),
            *([] if clip_norm is None else [("gradient", f"of a norm of at most {clip_norm:g}")]),
            ("steps", f"{taken} of batch {batch}, {_STOPPED[result.stop_reason]}{kept}"),
            ("time", f"{seconds:.3g} s, with loading or compiling"),
            ("initial loss", f"{first_loss:.6g}"),
            *said,
            ("digest", fcb.digest(model.params)),
            *(("written", path) for path in (out, plot, checkpoint) if path),
        ]
    )
    if prepared.notes:
        print()
        print_table(prepared.notes, ("column", "what became of it"))
    for text in tables:
        print(f"\n{text}")
    if trouble:
        print(f"\nwarning: {trouble}")
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt


def _picture_path(name: str | None) -> Path | None:
    if name is None:
        return None
    # Loaded before the training: it takes longer than Ctrl-C may.
    from fcbackends.cli.plot import SUFFIXES

    return writable(name, "--plot", SUFFIXES)


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


def _describe(model: Model, prepared: Prepared) -> list[tuple[str, str]]:
    def with_names(columns: Sequence[int]) -> str:
        names = f": {', '.join(model.names[column] for column in columns)}" if model.names else ""
        return f"{len(columns)}{names}"

    parts, columns = prepared.parts, model.features.columns
    others = "".join(
        f", {len(parts[name].x)} {what}"
        for name, what in (("validation", "to validate"), ("held-out", "held out"))
        if name in parts
    )
    dropped = prepared.dropped_rows
    left_out = f", {dropped} left out for missing values" if dropped else ""
    sizes = [len(model.params[0][0]), *(len(b) for _, b in model.params)]
    inputs = "" if sizes[0] == len(columns) else f"{sizes[0]}, of columns "
    values = sum(w.size + b.size for w, b in model.params)
    names = [model.activation] if isinstance(model.activation, str) else model.activation
    between = f", {' and '.join(names)}" if len(sizes) > 2 else ""
    return [
        ("samples", f"{len(parts['training'].x)}{others}{left_out}"),
        ("inputs", inputs + with_names(columns)),
        *_targets(model, with_names(model.targets)),
        ("network", f"{' -> '.join(map(str, sizes))}, {values} parameters{between}"),
    ]


def _targets(model: Model, targets: str) -> list[tuple[str, str]]:
    """The outputs and, where these are classes, what they are called."""
    if not model.classes:
        return [("outputs", targets)]
    names = zip(model.target_names, model.classes, strict=True)
    return [("targets", targets), *(("classes", f"{', '.join(c)} of {t}") for t, c in names)]
