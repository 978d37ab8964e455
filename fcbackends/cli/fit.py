"""`fcbackends train DATA`: from a file to a trained network, a model file and a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.cli import classification, regression
from fcbackends.cli.fitting import fitting_of
from fcbackends.cli.model import Model
from fcbackends.cli.outcome import evaluate, is_long, outcomes
from fcbackends.cli.preparing import Prepared
from fcbackends.cli.recorded import command_of
from fcbackends.files import apart, writable, write
from fcbackends.report.terminal import print_table
from fcbackends.training.checkpoint import CheckpointFile
from fcbackends.training.recording import Recorder
from fcbackends.training.records import encoded

STOPPED = {
    "tolerance": "tolerance reached",
    "max_steps": "all steps taken",
    "patience": "out of patience",
    "time_limit": "out of time",
    "interrupted": "interrupted",
}


def train_file(
    data: str,
    *,
    out: str | None,
    plot: str | None,
    keep_diverged: bool,
    checkpoint: str | None,
    checkpoint_every: int | None,
    resume: str | None,
    record: str | None,
    digest_every: int | None,
    time_limit: float | None,
    words: Sequence[str],
    **how: Any,
) -> None:
    """Train on a file, write what was asked for and print a report.

    The options are those that the command's help describes, given as `words`; `how` goes to
    `fitting_of`.

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
    picture = picture_path(plot)
    record_path = None if record is None else writable(record, "--record", [])
    named = [("--out", out), ("--plot", plot), ("--record", record)]
    apart([*named, ("--checkpoint", checkpoint)], [("DATA", data)])
    apart(named, [("--resume", resume)])
    for option, needed, value, is_there in (
        ("--keep-diverged", "--out", "it" if keep_diverged else None, out),
        ("--checkpoint-every", "--checkpoint", checkpoint_every, checkpoint),
        ("--digest-every", "--record", digest_every, record),
    ):
        if value is not None and not is_there:
            raise fcb.ArgumentError(option, f"come with `{needed}`", f"{value} without")
    fitting = fitting_of(data, **how)
    recorder = None
    if record_path:
        command = command_of(words, data, fitting.backend)
        recorder = Recorder(None, digest_every, fitting.prepared_by, command)
    # What it needs is loaded before the training, so that Ctrl-C waits for none of it.
    untrained, parts, chosen = fitting.model, fitting.prepared.parts, fitting.backend
    first_loss = evaluate(untrained, parts["training"], chosen).loss

    def kept_in(path: str | None) -> Any:
        return None if path is None else CheckpointFile(path, fitting.prepared_by)

    def trained(params: Any) -> Model:
        own = tuple((as_numpy(w), as_numpy(b)) for w, b in params)
        return replace(untrained, params=own, arithmetic=chosen.arithmetic)

    started = time.perf_counter()
    try:
        result = fitting.train(
            on_interrupt="return",
            time_limit=time_limit,
            checkpoint=kept_in(checkpoint),
            checkpoint_every=checkpoint_every,
            resume=kept_in(resume),
            record=recorder,
        )
        seconds = time.perf_counter() - started
        model = trained(result.params)
        leaves = result.stop_reason == "interrupted" and is_long(model, parts)
        found = {} if leaves else outcomes(model, parts, chosen, result)
    except fcb.DivergenceError as error:
        if keep_diverged and model_path:
            trained(error.params).save(model_path)
            error.add_note(f"the last finite network is in {out}")
        raise
    said, tables, trouble = [("losses", "not computed, which would take long")], [], None
    if found and model.classes:
        said = classification.describe(model, found)
        tables = classification.tables(model, found)
        trouble = classification.warning(model, found, how["standardize"])
    elif found:
        said = regression.describe(model, found, chosen)
        trouble = regression.warning(model, found, how["standardize"], chosen)
    is_best = how["patience"] is not None and result.best_step is not None
    kept = "" if not is_best else f"; the network is that of step {result.best_step}"
    taken = result.steps if result.best_step is None else result.history.steps[-1]
    if model_path:
        model.save(model_path)
    if picture:
        from fcbackends.cli.plot import plot_loss

        plot_loss(result.history, f"of the {how['tol_on']}", picture)
    if record_path and recorder:
        write(record_path, encoded(recorder.document))
    print_table(
        [
            *described(model, fitting.prepared),
            ("network", _network(model)),
            ("backend", f"{chosen.name}, {chosen.arithmetic}, {how['dtype']}"),
            *fitting.described,
            ("steps", f"{taken} of batch {fitting.batch}, {STOPPED[result.stop_reason]}{kept}"),
            ("time", f"{seconds:.3g} s, with loading or compiling"),
            ("initial loss", f"{first_loss:.6g}"),
            *said,
            ("digest", fcb.digest(model.params)),
            *(("written", path) for path in (out, plot, checkpoint, record) if path),
        ]
    )
    if fitting.prepared.notes:
        print()
        print_table(fitting.prepared.notes, ("column", "what became of it"))
    for text in tables:
        print(f"\n{text}")
    if trouble:
        print(f"\nwarning: {trouble}")
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt


def picture_path(name: str | None) -> Path | None:
    """The path of the picture of `--plot`, if there is to be one."""
    if name is None:
        return None
    # Loaded before the training: it takes longer than Ctrl-C may.
    from fcbackends.cli.plot import SUFFIXES

    return writable(name, "--plot", SUFFIXES)


def described(model: Model, prepared: Prepared) -> list[tuple[str, str]]:
    """What a report says of the rows, of the inputs and of the targets."""

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
    width = len(model.params[0][0])
    inputs = "" if width == len(columns) else f"{width}, of columns "
    return [
        ("samples", f"{len(parts['training'].x)}{others}{left_out}"),
        ("inputs", inputs + with_names(columns)),
        *_targets(model, with_names(model.targets)),
    ]


def _network(model: Model) -> str:
    """Its layers' sizes, and what is between them."""
    sizes = [len(model.params[0][0]), *(len(b) for _, b in model.params)]
    values = sum(w.size + b.size for w, b in model.params)
    names = [model.activation] if isinstance(model.activation, str) else model.activation
    between = f", {' and '.join(names)}" if len(sizes) > 2 else ""
    return f"{' -> '.join(map(str, sizes))}, {values} parameters{between}"


def _targets(model: Model, targets: str) -> list[tuple[str, str]]:
    """The outputs and, where these are classes, what they are called."""
    if not model.classes:
        return [("outputs", targets)]
    names = zip(model.target_names, model.classes, strict=True)
    return [("targets", targets), *(("classes", f"{', '.join(c)} of {t}") for t, c in names)]
