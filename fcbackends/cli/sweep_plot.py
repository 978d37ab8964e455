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
from fcbackends.cli.scores import UNFINISHED, quartiles_of
from fcbackends.files import write

_DOTS, _LINE, _CROSS = "#56B4E9", "#D55E00", "#000000"
"""Of Okabe and Ito's palette, which all eyes tell apart."""

_WIDE_SPREAD = 10
"""Positive numbers whose largest is so many times the least have a logarithmic axis."""


def plot_scores(
    rows: Sequence[Mapping[str, Any]], grid: Grid, score: str, label: str, path: Path
) -> None:
    """Draw a panel for each option of the grid into a .png, .svg or .pdf file.

    Dots are networks, those of a seed one above the other; the line is the median of all networks
    of a value, of which those that diverged are the worst. How many these are stands above.
    """
    across = len(grid) if len(grid) <= 3 else math.ceil(math.sqrt(len(grid)))
    down = -(-len(grid) // across)
    figure = Figure(figsize=(max(5.0, 3.8 * across), 4.0 * down), layout="constrained")
    scores = [row[score] for row in rows if row[score] is not None]
    first: Any = None
    for place, (name, values) in enumerate(grid.items()):
        axes = figure.add_subplot(down, across, place + 1, sharey=first)
        axes.set_xlabel(name)
        if place % across == 0:
            axes.set_ylabel(label)
        axes.grid(axis="y", alpha=0.3)
        if first is None:
            first = axes
            if _is_wide(scores):
                axes.set_yscale("log")
            axes.margins(y=0.15)
        _panel(axes, rows, name, values, score)
    handles = {
        text: handle
        for axes in figure.axes
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    legend = figure.legend(
        handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles)
    )
    for handle in filter(None, legend.legend_handles):
        handle.set_alpha(1)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    write(path, drawn.getbuffer())


def _panel(
    axes: Any, rows: Sequence[Mapping[str, Any]], name: str, values: Sequence[Any], score: str
) -> None:
    in_order = sorted(values) if _are_numbers(values) else list(values)
    is_log = name == "lr" and _is_wide(in_order)
    at = np.log10(in_order) if is_log else np.arange(float(len(in_order)))
    gap = float(np.diff(at).min()) if len(at) > 1 else 1.0
    seeds = sorted({row["seed"] for row in rows})
    beside = dict(zip(seeds, np.linspace(-gap / 4, gap / 4, len(seeds) + 2)[1:-1], strict=True))
    middles = []
    for place, value in zip(at, in_order, strict=True):
        kept = spelled(value) if isinstance(value, tuple) else value
        own = [row for row in rows if row[name] == kept and row["stop_reason"] not in UNFINISHED]
        scored = [row for row in own if row[score] is not None]
        axes.scatter(
            _on_axis(np.array([place + beside[row["seed"]] for row in scored]), is_log),
            [row[score] for row in scored],
            s=12,
            c=_DOTS,
            alpha=min(0.9, max(0.2, 50 / (len(scored) or 1))),
            linewidths=0,
            label="a network",
        )
        middle = quartiles_of([row[score] for row in own])[1] if own else math.nan
        middles.append(middle if math.isfinite(middle) else math.nan)
        if len(own) > len(scored):
            above = dict(transform=axes.get_xaxis_transform(), clip_on=False)
            point = float(_on_axis(place, is_log)), 0.96
            axes.plot(*point, "x", c=_CROSS, ms=5, ls="none", label="diverged", **above)
            text = f"  {len(own) - len(scored)}"
            axes.text(*point, text, color=_CROSS, va="center", fontsize="small", **above)
    axes.plot(_on_axis(at, is_log), middles, c=_LINE, marker="o", ms=5, lw=1.5, label="median")
    texts = [spelled(value) or "none" for value in in_order]
    is_long = sum(map(len, texts)) > 36
    if is_log:
        axes.set_xscale("log")
        axes.set_xticks([], minor=True)
    turned = dict(rotation=40, ha="right") if is_long else {}
    axes.set_xticks(_on_axis(at, is_log), texts, **turned)
    axes.set_xlim(*map(float, _on_axis(np.array([at[0] - gap / 2, at[-1] + gap / 2]), is_log)))


def _on_axis(place: Any, is_log: bool) -> Any:
    return 10**place if is_log else place


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _is_wide(values: Sequence[float]) -> bool:
    """Whether they are positive and spread over a decade or more."""
    return bool(values) and min(values) > 0 and max(values) >= _WIDE_SPREAD * min(values)
