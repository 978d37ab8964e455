"""From a table and what its columns are for to a network and the rows that it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fcbackends as fcb
from fcbackends.checks import options
from fcbackends.cli import targets as target_columns
from fcbackends.cli import values
from fcbackends.cli.data import Table
from fcbackends.cli.features import Features, choose
from fcbackends.cli.form import Columns
from fcbackends.cli.model import Model
from fcbackends.cli.scaling import cast
from fcbackends.models.scaling import Floats, Scaling
from fcbackends.training.validation import split

_ADVICE = "`--missing drop` leaves such rows out, `--missing mean` or `median` fills features in"


PARTS = ("training", "validation", "held-out")


@dataclass(frozen=True)
class Part:
    """Some rows, as the network is trained on them (x, t), and the targets in their own units."""

    x: Floats
    t: NDArray[Any]
    own_t: Floats


@dataclass(frozen=True)
class Prepared:
    """A network before training, and the rows that it is trained and held against.

    Attributes
    ----------
    model : Model
        The network, with the columns and scales of the table.
    parts : dict of str to Part
        The rows of `PARTS`, where there are any.
    dropped_rows : int
        How many rows were left out for a missing value.
    notes : sequence of (column, what became of it)
        What was encoded, filled in and left out.
    """

    model: Model
    parts: dict[str, Part]
    dropped_rows: int
    notes: Sequence[tuple[str, str]]


def prepare(
    table: Table,
    columns: Columns,
    *,
    loss: str,
    hidden: Sequence[int] | None,
    standardize: str | None,
    holdout: float | None,
    validation: float | None,
    seed: int,
    split_seed: int | None,
    dtype: str,
) -> Prepared:
    """The network and its rows, from a table.

    Rows are held out as `split_seed` says, or `seed` where there is none.

    Raises
    ------
    ArgumentError
        Where columns are not there or cannot be what they are to be, or a value is missing and
        nothing was said of that.
    """
    targets = target_columns.chosen(table, columns.target, loss)
    chosen = _features(table, columns, targets)
    categorical = _categorical(table, columns.categorical, chosen)
    features = choose(table, chosen, categorical, columns.text)
    if not features.columns:
        raise fcb.ArgumentError("--text", "leave a feature column", "drop, and only text columns")
    x = features.encode(table, features.columns)
    _refuse_empty(table, features, x)
    t, classes = target_columns.encoded(table, targets, loss)
    if classes and standardize in ("targets", "both"):
        required = f"be inputs where `--loss` is {loss}"
        raise fcb.ArgumentError("--standardize", required, standardize)
    kept = _kept(table, features, x, targets, t, columns.missing)
    if not kept.all():
        table, x, t = table.without(~kept), x[kept], t[kept]
    splits = ("--seed", seed) if split_seed is None else ("--split-seed", split_seed)
    left, held_out = _split("--holdout", np.arange(table.rows), holdout, splits)
    trained_on, validated = _split("--validation", left, validation, splits)
    gaps = np.isnan(x)
    if columns.missing in ("mean", "median"):
        features = features.fitted(table, x[trained_on], columns.missing)
        x = features.filled(x, table, features.columns, _ADVICE)
    inputs = outputs = None
    if standardize in ("inputs", "both"):
        inputs = _scaling(x[trained_on], features.one_hot)
    if standardize in ("targets", "both"):
        outputs = _scaling(t[trained_on])
    network_x = cast(inputs.apply(x) if inputs else x, dtype)
    network_t: NDArray[Any] = cast(outputs.apply(t) if outputs else t, dtype)
    width = t.shape[1]
    if classes and loss == "cross_entropy":
        network_t, width = t[:, 0].astype(np.int64), len(classes[0])
    sizes = (x.shape[1], *(hidden or ()), width)
    params = fcb.init_params(sizes, seed=seed, dtype=dtype)
    parts = {
        name: Part(*(_at(rows, values) for values in (network_x, network_t, t)))
        for name, rows in zip(PARTS, (trained_on, validated, held_out), strict=True)
        if len(rows)
    }
    model = Model(
        params,
        table.names,
        targets,
        features,
        table.width,
        inputs,
        outputs,
        loss=loss,
        classes=classes,
    )
    notes = _notes(table, chosen, features, gaps)
    return Prepared(model, parts, int((~kept).sum()), notes)


def _features(table: Table, columns: Columns, targets: Sequence[int]) -> tuple[int, ...]:
    """The positions of the feature columns."""
    aimed = {*targets}
    others = [column for column in range(table.width) if column not in aimed]
    if columns.features and columns.drop:
        got = f"{', '.join(columns.features)!r} and {', '.join(columns.drop)!r}"
        raise fcb.ArgumentError(("--features", "--drop"), "not come together", got)
    option, texts = ("--drop", columns.drop) if columns.drop else ("--features", columns.features)
    if not texts:
        return tuple(others)
    named = table.select(option, texts)
    for column in named:
        if column in aimed:
            raise fcb.ArgumentError(option, "name no target", table.label(column))
    if option == "--features":
        return tuple(sorted(named))
    if len(named) == len(others):
        raise fcb.ArgumentError(option, "leave a feature column", f"all of them ({len(others)})")
    left_out = {*named}
    return tuple(column for column in others if column not in left_out)


def _categorical(table: Table, texts: Sequence[str], features: Sequence[int]) -> tuple[int, ...]:
    named = table.select("--categorical", texts)
    for column in named:
        if column not in features:
            got = f"{table.label(column)}, which is none"
            raise fcb.ArgumentError("--categorical", "name feature columns", got)
    return named


def _refuse_empty(table: Table, features: Features, x: NDArray[np.float64]) -> None:
    empty = np.flatnonzero(np.isnan(x).all(axis=0))
    if len(empty):
        column = features.of_inputs[int(empty[0])]
        got = f"none in {table.label(column)}: {values.leave_out(table, column)}"
        raise fcb.ArgumentError("DATA", "hold values in each feature column", got)


def _kept(
    table: Table,
    features: Features,
    x: NDArray[np.float64],
    targets: Sequence[int],
    t: NDArray[np.float64],
    missing: str | None,
) -> NDArray[np.bool_]:
    """Which rows are taken: those with targets, and to drop others, with all features."""
    if missing is None:
        features.filled(x, table, features.columns, _ADVICE)
        for row, place in np.argwhere(np.isnan(t)).tolist():
            values.refuse_missing(table, targets[place], row, _ADVICE)
    needed = np.hstack([x, t]) if missing == "drop" else t
    kept: NDArray[np.bool_] = np.isnan(needed).sum(axis=1) == 0
    if not kept.any():
        got = f"a missing value in each of {table.rows}"
        raise fcb.ArgumentError("--missing", "leave rows to train on", got)
    return kept


def _split(
    option: str, rows: NDArray[np.int64], share: float | None, seed: tuple[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to go on with and those of the share, each in the file's order.

    `seed` is an option and its value.
    """
    if share is None:
        return rows, rows[:0]
    try:
        left, taken = split(len(rows), share, options.seed(seed[1]))
    except fcb.ArgumentError as error:
        raise error.renamed({"validation": option, "seed": seed[0]}) from None
    return rows[left], rows[taken]


def _at(rows: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
    """These rows of all, without a copy where they are all."""
    return values if len(rows) == len(values) else values[rows]


def _scaling(values: NDArray[np.float64], one_hot: NDArray[np.bool_] | bool = False) -> Scaling:
    """The columns' scales; categories are left as they are."""
    try:
        fitted = Scaling.fit(values)
    except fcb.ArgumentError as error:
        raise error.renamed({"x": "--standardize"}) from None
    return Scaling(np.where(one_hot, 0.0, fitted.mean), np.where(one_hot, 1.0, fitted.scale))


def _notes(
    table: Table, chosen: Sequence[int], features: Features, gaps: NDArray[np.bool_]
) -> list[tuple[str, str]]:
    """What became of columns that are no numbers or have gaps."""
    notes = []
    start = 0
    kept = dict(zip(features.columns, features.categories, strict=True))
    for column in chosen:
        if column not in kept:
            notes.append((table.called(column), "text, left out"))
            continue
        names = kept[column]
        width = 1 if names is None else len(names)
        if names is not None:
            said = [f"{width} inputs: {', '.join(names)}"]
        else:
            said = ["1 input: false 0, true 1"] if column in features.booleans else []
        missing = int(gaps[:, start].sum())
        if missing and features.fill:
            fill = features.fill[start : start + width]
            value = f"{fill[0]:.6g}" if names is None else names[int(np.argmax(fill))]
            said.append(f"{missing} missing, filled with {value}")
        start += width
        if said:
            notes.append((table.called(column), "; ".join(said)))
    return notes
