"""What the networks of a sweep are worth: a row for each, and the best settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.cli.classification import accuracy
from fcbackends.cli.grid import Grid, points, spelled
from fcbackends.cli.model import Model
from fcbackends.cli.outcome import evaluate
from fcbackends.cli.preparing import Part

UNFINISHED = ("interrupted", "time_limit", "failed")
"""Stop reasons of networks that have no score, as their training did not come to its end."""

DIVERGED = "diverged"


class Setting(NamedTuple):
    """The networks of one setting of a grid, over its seeds.

    Attributes
    ----------
    point : mapping
        The options of the setting.
    done : int
        How many networks came to their end.
    diverged : int
        How many of them diverged.
    quartiles : sequence of float
        The first, second and third of the scores, where a network that diverged has an infinite
        one; NaN where no network is done.
    accuracy : float or None
        The median of the accuracies, where there are any.
    """

    point: dict[str, Any]
    done: int
    diverged: int
    quartiles: Sequence[float]
    accuracy: float | None


def rows_of(
    grid: Grid,
    seeds: Sequence[int],
    results: Sequence[fcb.TrainResult | None],
    model: Model,
    parts: dict[str, Part],
    backend: fcb.Backend,
) -> list[dict[str, Any]]:
    """A row for each network: number, seed, setting, scores on each part, and how it ended.

    Scores are None where a network was not trained to its end, or diverged.
    """
    settings = points(grid)
    rows = []
    for number, result in enumerate(results):
        point = settings[number // len(seeds)]
        own = replace(model, activation=point.get("activation", model.activation))
        rows.append(
            {
                "number": number,
                "seed": seeds[number % len(seeds)],
                **{name: spelled(v) if isinstance(v, tuple) else v for name, v in point.items()},
                **_ended(result, own, parts, backend),
            }
        )
    return rows


def score_of(part: str) -> str:
    """The column of the loss on a part."""
    return f"{part.replace('-', '_')}_loss"


def table_of(rows: Sequence[dict[str, Any]], grid: Grid) -> pl.DataFrame:
    """The rows as a table; a column of a grid has the type of its values."""
    names = {name: values[0] for name, values in grid.items()}
    kinds = {"number": pl.Int64, "seed": pl.UInt64, "steps": pl.Int64}
    schema: dict[str, Any] = {}
    for column in rows[0]:
        kind: Any = kinds.get(column, pl.Float64)
        if column in names and not isinstance(names[column], float):
            kind = pl.Int64 if isinstance(names[column], int) else pl.String
        schema[column] = pl.String if column in ("stop_reason", "digest") else kind
    return pl.DataFrame(rows, schema=schema, orient="row")


def settings_by_score(
    rows: Sequence[dict[str, Any]], grid: Grid, seeds: Sequence[int], part: str
) -> list[Setting]:
    """The settings that have a network done, from the least median of scores on."""
    found = []
    for place, point in enumerate(points(grid)):
        own = rows[place * len(seeds) : (place + 1) * len(seeds)]
        done = [row for row in own if row["stop_reason"] not in UNFINISHED]
        if not done:
            continue
        scores = [row[score_of(part)] for row in done]
        shares = (row.get(_accuracy_of(part)) for row in done)
        right = [share for share in shares if share is not None]
        middle = float(np.median(right)) if right else None
        diverged = scores.count(None)
        found.append(Setting(point, len(done), diverged, quartiles_of(scores), middle))
    return sorted(found, key=lambda setting: setting.quartiles[1])


def quartiles_of(scores: Sequence[float | None]) -> list[float]:
    """The first, second and third quartile, where None is the worst: infinite."""
    values = sorted(math.inf if score is None else score for score in scores)

    def at(share: float) -> float:
        place = share * (len(values) - 1)
        low, high = values[math.floor(place)], values[math.ceil(place)]
        # NumPy finds NaN where one of them is infinite.
        return low + (place % 1) * (high - low) if math.isfinite(high) else high

    return [at(0.25), at(0.5), at(0.75)]


def best_of(rows: Sequence[dict[str, Any]], part: str) -> dict[str, Any] | None:
    """The row of the least score, the first of them; None where no network has one."""
    scored = [row for row in rows if row[score_of(part)] is not None]
    return min(scored, key=lambda row: row[score_of(part)], default=None)


def _accuracy_of(part: str) -> str:
    return f"{part.replace('-', '_')}_accuracy"


def _ended(
    result: fcb.TrainResult | None, model: Model, parts: dict[str, Part], backend: fcb.Backend
) -> dict[str, Any]:
    reason = result.stop_reason if result else "failed"
    scores: dict[str, float | None] = dict.fromkeys(_score_columns(model, parts))
    if result and reason not in (*UNFINISHED, DIVERGED):
        own = tuple((as_numpy(w), as_numpy(b)) for w, b in result.params)
        found = _scores(replace(model, params=own), parts, backend)
        if all(map(math.isfinite, found.values())):
            scores |= found
        else:
            # As in `train`, which writes no such network.
            reason = DIVERGED
    is_done = result is not None and reason not in UNFINISHED
    last = result.loss if result and is_done and math.isfinite(result.loss) else None
    return {
        **scores,
        "last_loss": last,
        "steps": result.steps if result else None,
        "stop_reason": reason,
        "digest": fcb.digest(result.params) if result and is_done else None,
    }


def _score_columns(model: Model, parts: dict[str, Part]) -> Iterator[str]:
    for part in parts:
        yield score_of(part)
        if model.classes:
            yield _accuracy_of(part)


def _scores(model: Model, parts: dict[str, Part], backend: fcb.Backend) -> dict[str, float]:
    found = {}
    for name, part in parts.items():
        outcome = evaluate(model, part, backend)
        found[score_of(name)] = outcome.loss
        if model.classes:
            found[_accuracy_of(name)] = accuracy(model, outcome)
    return found
