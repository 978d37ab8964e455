"""`fcbackends sweep DATA`: a network for each setting of a grid and each seed, and their scores."""

from __future__ import annotations

import contextlib
import io
import math
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import polars as pl

import fcbackends as fcb
from fcbackends.cli.data import read_table
from fcbackends.cli.descent import optimizer_of
from fcbackends.cli.fit import described, picture_path
from fcbackends.cli.fitting import check_patience, recipe_of
from fcbackends.cli.form import Columns, Form
from fcbackends.cli.grid import MOST_NETWORKS, Grid, called, grid_of, points, spelled
from fcbackends.cli.outcome import evaluate
from fcbackends.cli.preparing import Prepared, prepare
from fcbackends.cli.scores import (
    DIVERGED,
    UNFINISHED,
    Setting,
    best_of,
    rows_of,
    score_of,
    settings_by_score,
    table_of,
)
from fcbackends.cli.workers import executor_of
from fcbackends.errors import printable
from fcbackends.files import apart, writable, write
from fcbackends.report.terminal import print_table
from fcbackends.sweeps.sweep import Sweep

_HELD_OUT = 0.2
_MOST_SHOWN = 10
_DATA = ("x", "t", "params", "validation")


def sweep_file(
    data: str,
    *,
    grids: Sequence[str],
    train: click.Command,
    given: Mapping[str, str],
    words: Sequence[str],
    seeds: Sequence[int],
    form: Form,
    columns: Columns,
    standardize: str | None,
    holdout: float | None,
    validation: float | None,
    split_seed: int,
    dtype: str,
    backend: str | None,
    arithmetic: str | None,
    rows_per_block: int | None,
    time_limit: float | None,
    scheduler: str | None,
    workers: int | None,
    verify: float | None,
    out: str | None,
    plot: str | None,
    results: str | None,
    **how: Any,
) -> None:
    """Train the networks of a grid on a file, write what was asked for and print the best.

    The options are those that the command's help describes; `how` are those of networks. `given`
    has the options that were given, and how they are spelled; `words` are those that bits depend
    on, for the command that trains the best network again.

    Raises
    ------
    ArgumentError
        Where an option or the file is refused; nothing has then been done.
    SweepError
        At the end, where networks failed or workers had other bits: the rest is written.
    KeyboardInterrupt
        At the end, if the training was: what there was by then is written and reported.
    """
    path = None if out is None else writable(out, "--out", (".parquet", ".csv"))
    picture = picture_path(plot)
    if results is not None:
        writable(results, "--results", ())
    apart([("--out", out), ("--plot", plot), ("--results", results)], [("DATA", data)])
    if verify is not None and scheduler is None and workers is None:
        required = "come with `--scheduler` or `--workers`"
        raise fcb.ArgumentError("--verify", required, f"{verify:g} without")
    grid = grid_of(grids, train, given)
    count = math.prod(map(len, grid.values()))
    if count * len(seeds) > MOST_NETWORKS:
        got = f"{count} settings and {len(seeds)} seeds"
        required = f"come to {MOST_NETWORKS} networks at the most"
        raise fcb.ArgumentError(("--grid", "--seeds"), required, got)
    settings = points(grid)
    if holdout is None and validation is None:
        holdout, words = _HELD_OUT, [*words, "--holdout", str(_HELD_OUT)]
    spellings = {param.name or "": param.opts[0] for param in train.params}
    with _renamed(grid, spellings):
        asked = [_with_optimizer({**how, **point}) for point in settings]
        for each in asked:
            check_patience(each["patience"], validation)
    chosen = fcb.get_backend(backend, arithmetic=arithmetic)
    prepared = prepare(
        read_table(data, form),
        columns,
        loss=asked[0]["loss"],
        hidden=asked[0]["hidden"],
        standardize=standardize,
        holdout=holdout,
        validation=validation,
        seed=0,
        split_seed=split_seed,
        dtype=dtype,
    )
    with _renamed(grid, spellings):
        recipes = _recipes(asked, prepared)
    part = "validation" if validation is not None else "held-out"
    parts = {name: part for name, part in prepared.parts.items() if name != "training"}
    # What it needs is loaded before the training, so that Ctrl-C waits for none of it.
    model = replace(prepared.model, activation=recipes[0]["activation"])
    evaluate(model, parts[part], chosen)
    trouble: fcb.SweepError | None = None
    started = time.perf_counter()
    made: Sequence[fcb.TrainResult | None]
    with executor_of(scheduler, workers) as executor:
        try:
            with _renamed(grid, spellings):
                made = _trained(
                    prepared,
                    recipes,
                    seeds,
                    backend=chosen,
                    dtype=dtype,
                    rows_per_block=rows_per_block,
                    executor=executor,
                    verify=verify,
                    results=results,
                    time_limit=time_limit,
                )
        except fcb.SweepError as error:
            made, trouble = error.results, error
    seconds = time.perf_counter() - started
    rows = rows_of(grid, seeds, made, model, parts, chosen)
    if path:
        write(path, _encoded(table_of(rows, grid), path))
    if picture:
        from fcbackends.cli.sweep_plot import plot_scores

        plot_scores(rows, grid, score_of(part), f"{part} loss", picture)
    print_table(
        [
            *described(model, prepared),
            ("networks", f"{len(rows)}: {len(settings)} settings, {len(seeds)} seeds"),
            ("backend", f"{chosen.name}, {chosen.arithmetic}, {dtype}"),
            ("score", f"{asked[0]['loss']} loss of the {part} rows, split by seed {split_seed}"),
            ("done", _counts(rows)),
            ("time", f"{seconds:.3g} s, with loading or compiling"),
            ("contract", f"version {fcb.CONTRACT_VERSION}"),
            ("digest", _digest(made, rows)),
            *(("written", name) for name in (out, plot, results) if name),
        ]
    )
    shown = settings_by_score(rows, grid, seeds, part)
    if shown:
        print(f"\nthe best settings, by the median {part} loss of their seeds")
        _print_settings(shown[:_MOST_SHOWN], grid)
    best = best_of(rows, part)
    if best:
        score = f"{best[score_of(part)]:.6g}"
        print(f"\nthe best network is number {best['number']}, of a {part} loss of {score}:")
        point = settings[best["number"] // len(seeds)]
        chooses = [] if "split_seed" in given else ["--split-seed", str(split_seed)]
        own = [*_spelled(point, spellings), "--seed", str(best["seed"])]
        again = [*words, *_computes(backend, chosen), *chooses, *own]
        again += ["--", data] if data.startswith("-") and data != "-" else [data]
        print(printable(f"fcbackends train {shlex.join(again)}"))
    if trouble:
        raise trouble
    if any(row["stop_reason"] == "interrupted" for row in rows):
        raise KeyboardInterrupt


def _with_optimizer(how: dict[str, Any]) -> dict[str, Any]:
    """The options of a network, with the optimizer that they come to."""
    numbers = [how.pop(name) for name in ("momentum", "nesterov", "weight_decay")]
    return {**how, "optimizer": optimizer_of(how["optimizer"], *numbers)}


def _recipes(asked: Sequence[dict[str, Any]], prepared: Prepared) -> list[dict[str, Any]]:
    """For each setting the arguments of `fcbackends.train` that say how a network learns."""
    rows = len(prepared.parts["training"].x)
    recipes = []
    for each in asked:
        if _kind(each["loss"]) != _kind(asked[0]["loss"]):
            required = "be losses of the same targets: of numbers, of classes, or of pairs"
            got = f"{asked[0]['loss']!r} and {each['loss']!r}"
            raise fcb.ArgumentError("loss", required, got)
        recipes.append({**recipe_of(rows, **each), "hidden": each["hidden"] or ()})
    return recipes


def _kind(loss: str) -> str:
    return loss if "cross_entropy" in loss else "numbers"


def _trained(
    prepared: Prepared,
    recipes: Sequence[dict[str, Any]],
    seeds: Sequence[int],
    **how: Any,
) -> Sequence[fcb.TrainResult]:
    """What `train_many` makes of it: networks of a setting follow each other, by seeds."""
    part, held = prepared.parts["training"], prepared.parts.get("validation")
    shared, classes = recipes[0], prepared.model.classes
    own = [
        {name: value for name, value in recipe.items() if value != shared[name]}
        for recipe in recipes
    ]
    varied = {name for each in own for name in each}
    return fcb.train_many(
        part.x,
        part.t,
        settings=[
            {"seed": seed, **{name: recipe[name] for name in recipe if name in varied}}
            for recipe in recipes
            for seed in seeds
        ],
        validation=(held.x, held.t) if held else None,
        classes=len(classes[0]) if classes and shared["loss"] == "cross_entropy" else None,
        on_interrupt="return",
        **shared,
        **how,
    )


@contextlib.contextmanager
def _renamed(grid: Grid, spellings: Mapping[str, str]) -> Iterator[None]:
    """A with-block whose refusals call arguments as the command line does: DATA, or of the grid."""
    names = {place: called(name) for name in grid for place in (name, spellings[name])}
    names |= {"seed": "--seeds", "networks": "--grid", **dict.fromkeys(_DATA, "DATA")}
    try:
        yield
    except fcb.ArgumentError as error:
        bare = {
            argument: re.sub(r"settings\[\d+\]\.|\[\d+\]", "", argument)
            for argument in error.arguments
        }
        raise error.renamed(
            {argument: names.get(name, name) for argument, name in bare.items()}
        ) from None


def _spelled(point: Mapping[str, Any], spellings: Mapping[str, str]) -> list[str]:
    """The options of a setting as words of `train`."""
    own = [(spellings[name], spelled(value)) for name, value in point.items() if value != ()]
    return [word for option in own for word in option]


def _computes(backend: str | None, chosen: fcb.Backend) -> list[str]:
    """The options that choose what computes as here, where that is not what comes by itself."""
    name = ["--backend", chosen.name] if backend else []
    return name + (["--arithmetic", chosen.arithmetic] if chosen.arithmetic != "ordered" else [])


def _encoded(table: pl.DataFrame, path: Path) -> memoryview:
    written = io.BytesIO()
    if path.suffix.lower() == ".csv":
        table.write_csv(written)
    else:
        table.write_parquet(written)
    return written.getbuffer()


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    reasons = [row["stop_reason"] for row in rows]
    left = {"of them diverged": DIVERGED, "failed": "failed"}
    left |= {"interrupted": "interrupted", "out of time": "time_limit"}
    counts = {text: reasons.count(reason) for text, reason in left.items()}
    done = sum(reason not in UNFINISHED for reason in reasons)
    found = [str(done), *(f"{count} {text}" for text, count in counts.items() if count)]
    return ", ".join(found)


def _digest(made: Sequence[fcb.TrainResult | None], rows: Sequence[Mapping[str, Any]]) -> str:
    """The digest of digests, where all networks are done."""
    whole = [result for result in made if result is not None]
    if any(row["digest"] is None for row in rows):
        return "none, as not all networks are done"
    return Sweep.of(whole, [row["digest"] for row in rows]).digest


def _print_settings(settings: Sequence[Setting], grid: Grid) -> None:
    has_accuracy = settings[0].accuracy is not None
    header = (*grid, "networks", "median", "quartiles", "diverged")
    table = []
    for point, done, diverged, (low, middle, high), accuracy in settings:
        said = [] if accuracy is None else [f"{accuracy:.4f}"]
        quartiles = f"{_number(low)} to {_number(high)}"
        values = [spelled(value) or "none" for value in point.values()]
        table.append((*values, str(done), _number(middle), quartiles, str(diverged), *said))
    if has_accuracy:
        header = (*header, "accuracy")
    print_table(table, header, right=[len(grid), len(grid) + 1, len(grid) + 3, len(grid) + 4])


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "none"
