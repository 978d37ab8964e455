"""The scores of a sweep's networks against each option of its grid, as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fcbackends.cli.grid import Grid, spelled
from fcbackends.cli.scores import DIVERGED
from fcbackends.files import write

_DOTS, _LINE = "#56B4E9", "#D55E00"
"""Of Okabe and Ito's palette, which all eyes tell apart."""

_WIDE_SPREAD = 10
"""Positive numbers whose largest is so many times the least have a logarithmic axis."""


def plot_scores(
    rows: Sequence[Mapping[str, Any]], grid: Grid, score: str, label: str, path: Path
) -> None:
    """Draw a panel for each option of the grid into a .png, .svg or .pdf file.

    Dots are networks, the line is the median of those of a value; how many diverged stands above.
    """
    across = len(grid) if len(grid) <= 3 else math.ceil(math.sqrt(len(grid)))
    down = -(-len(grid) // across)
    figure = Figure(figsize=(max(5.0, 3.8 * across), 4.0 * down), layout="constrained")
    scores = [row[score] for row in rows if row[score] is not None]
    first = None
    for place, (name, values) in enumerate(grid.items()):
        axes = figure.add_subplot(down, across, place + 1, sharey=first)
        first = first or axes
        axes.set_xlabel(name)
        if place % across == 0:
            axes.set_ylabel(label)
        _panel(axes, rows, name, values, score)
        axes.grid(axis="y", alpha=0.3)
    if first is not None and _is_wide(scores):
        first.set_yscale("log")
    if first is not None and scores:
        first.legend(loc="best", fontsize="small")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    write(path, drawn.getbuffer())


def _panel(
    axes: Any, rows: Sequence[Mapping[str, Any]], name: str, values: Sequence[Any], score: str
) -> None:
    in_order = sorted(values) if _are_numbers(values) else list(values)
    is_log = name == "lr" and _is_wide(in_order)
    at = np.log10(in_order) if is_log else np.arange(float(len(in_order)))
    width = 0.3 * (float(np.diff(at).min()) if len(at) > 1 else 1.0)
    middles = []
    for place, value in zip(at, in_order, strict=True):
        kept = value if not isinstance(value, tuple) else spelled(value)
        own = [row for row in rows if row[name] == kept]
        scores = np.array([row[score] for row in own if row[score] is not None])
        # Side by side in the rows' order, so that dots of the same score are seen.
        beside = np.linspace(-width, width, len(scores)) if len(scores) > 1 else np.zeros(1)
        label = "a network" if place == at[0] else None
        alpha = min(1.0, max(0.15, 20 / max(1, len(scores))))
        x = place + beside[: len(scores)]
        axes.scatter(_on_axis(x, is_log), scores, s=12, c=_DOTS, alpha=alpha, label=label, lw=0)
        middles.append(np.median(scores) if len(scores) else math.nan)
        diverged = sum(row["stop_reason"] == DIVERGED for row in own)
        if diverged:
            axes.annotate(
                f"{diverged}\ndiverged",
                (_on_axis(place, is_log), 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize="x-small",
            )
    axes.plot(_on_axis(at, is_log), middles, c=_LINE, marker="o", ms=5, lw=1.5, label="median")
    if is_log:
        axes.set_xscale("log")
        return
    texts = [spelled(value) or "none" for value in in_order]
    is_long = sum(map(len, texts)) > 40
    axes.set_xticks(at, texts, rotation=45 if is_long else 0, ha="right" if is_long else "center")
    axes.set_xlim(-0.6, len(at) - 0.4)


def _on_axis(place: Any, is_log: bool) -> Any:
    return 10**place if is_log else place


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _is_wide(values: Sequence[float]) -> bool:
    """Whether they are positive and spread over a decade or more."""
    return bool(values) and min(values) > 0 and max(values) >= _WIDE_SPREAD * min(values)
