"""The pictures of a report, as SVG that takes its ink from the page, light or dark."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogFormatter, NullFormatter

from fcbackends.report import figures
from fcbackends.report.layout import Picture, Section
from fcbackends.report.summary import BASELINE, Crossover, Curve, Group, Report, Series

# At least 3 to 1 against white and against the page's dark, and apart for the colour-blind.
_COLORS = ("#8a8f98", "#2f7de1", "#d9730d", "#0f9d76", "#a855f7", "#e0457b", "#8c6d1f", "#0891b2")
_MARKERS = "osD^vPX*"

_INK = "#0a0b0c"
"""Stands for the page's own text colour until the SVG is written."""

_WIDTH = 3.7
"""Inches: what 9.5 points in it become is still 12 pixels where the page is 390 pixels wide."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    **{
        f"{part}color": _INK
        for part in ("text.", "axes.label", "axes.edge", "xtick.", "ytick.", "grid.", "axes.title")
    },
    "axes.titlesize": 9.5,
}

_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")

_Styles = dict[str, tuple[str, str]]


def sections(report: Report) -> list[Section]:
    """Speed-ups, growth with size and losses, each section where there is something to show."""
    styles = _styles(report)
    by_kind: dict[str, list[Group]] = {}
    for workload in report.workloads:
        by_kind.setdefault(workload.kind, []).append(workload)
    found: dict[str, list[Picture | None]] = {
        "Speed": [_speedups(kind, workloads, styles) for kind, workloads in by_kind.items()],
        "Time against size": [_growth(series, styles) for series in report.series],
        "Losses": [
            _losses(workload, list(curves), styles)
            for workload, curves in itertools.groupby(report.curves, lambda curve: curve.workload)
        ],
    }
    return [
        Section(title, pictures=shown)
        for title, pictures in found.items()
        if (shown := tuple(picture for picture in pictures if picture))
    ]


def _styles(report: Report) -> _Styles:
    """Colour and marker of each backend, the same in all pictures."""
    labels = dict.fromkeys(row.label for workload in report.workloads for row in workload.rows)
    return {
        name: (_COLORS[i % len(_COLORS)], _MARKERS[i % len(_MARKERS)])
        for i, name in enumerate(labels)
    }


def _speedups(kind: str, workloads: Sequence[Group], styles: _Styles) -> Picture | None:
    """Bars from 1: to the right faster than NumPy native, to the left slower."""
    groups = [
        (
            workload.name.removeprefix(kind).strip(),
            [
                (row.label, row.speedup)
                for row in workload.rows
                if row.speedup is not None and row.label != BASELINE
            ],
        )
        for workload in workloads
    ]
    groups = [(name, bars) for name, bars in groups if bars]
    if not groups:
        return None
    lines = sum(1 + len(bars) for _, bars in groups)

    def draw(axes: Axes) -> None:
        place = 0.0
        for name, bars in groups:
            axes.annotate(
                _short(name, 44),
                (0, place),
                xycoords=("axes fraction", "data"),
                va="center",
                weight="bold",
                in_layout=False,
            )
            axes.vlines(1, place + 0.5, place + len(bars) + 0.5, color=_INK, linewidth=0.8)
            for backend, speedup in bars:
                place += 1
                color, _ = styles[backend]
                axes.barh(place, speedup - 1, left=1, height=0.7, color=color)
                right = speedup >= 1
                axes.annotate(
                    _bar_label(backend, speedup),
                    (1, place),
                    xytext=(-4 if right else 4, 0),
                    textcoords="offset points",
                    ha="right" if right else "left",
                    va="center",
                    in_layout=False,
                )
            place += 1.3
        axes.set_xlim(*_limits([bar for _, bars in groups for bar in bars]))
        axes.set_ylim(place - 0.6, -0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_PLAIN)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("times as fast as NumPy native")
        axes.set_title(kind)

    caption = f"{kind}: speed against NumPy's own matmul and sums; 1 is as fast, 10 ten times."
    return Picture(_svg(draw, 0.75 + 0.17 * lines, f"speed {kind}"), caption)


def _bar_label(backend: str, speedup: float) -> str:
    return f"{_short(backend)} {figures.factor(speedup)}"


def _limits(bars: Sequence[tuple[str, float]]) -> tuple[float, float]:
    """The axis' ends: on either side of 1, room for its bars and for the labels of the other's."""
    slower, faster = ([bar for bar in bars if (bar[1] >= 1) is side] for side in (False, True))
    # In decades; a label stands on the free side of 1.
    left, right = (
        1.1 * max((abs(math.log10(s)) for _, s in side), default=0.0) + 0.1
        for side in (slower, faster)
    )
    # As shares of the picture, in which 45 characters stand side by side.
    for_faster, for_slower = (
        max((len(_bar_label(*bar)) for bar in side), default=0) / 45 for side in (faster, slower)
    )
    if right / (left + right) < for_slower:
        right = left * for_slower / (1 - for_slower)
    elif left / (left + right) < for_faster:
        left = right * for_faster / (1 - for_faster)
    return 10**-left, 10**right


def _growth(series: Series, styles: _Styles) -> Picture:
    """Time over size, both logarithmic, with the places where lines cross NumPy native's."""

    def draw(axes: Axes) -> None:
        for growth in series.growths:
            color, marker = styles[growth.label]
            axes.loglog(
                growth.sizes,
                growth.seconds,
                color=color,
                marker=marker,
                markersize=4,
                linewidth=1.4,
                label=f"{_short(growth.label)}: exponent {growth.exponent:.2f}",
            )
        for crossover in series.crossovers:
            axes.plot(
                crossover.size,
                crossover.seconds,
                linestyle="none",
                marker="o",
                markersize=9,
                markerfacecolor="none",
                markeredgecolor=_INK,
                label=f"{_short(crossover.backend)} = numpy native at {_size(crossover)}",
            )
        axes.yaxis.set_major_formatter(EngFormatter(unit="s"))
        axes.xaxis.set_major_formatter(_PLAIN)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_xlabel(_AXIS_TITLES[series.axis])
        axes.set_ylabel("time")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0))

    height = 2.6 + 0.18 * (len(series.growths) + len(series.crossovers))
    crossings = "".join(
        f" {crossover.backend} crosses NumPy native at {_size(crossover)}."
        for crossover in series.crossovers
    )
    caption = f"{series.name}: time against {series.axis}.{crossings}"
    return Picture(_svg(draw, height, f"growth {series.name}"), caption)


def _size(crossover: Crossover) -> str:
    return figures.three_digits(crossover.size)


_AXIS_TITLES = {
    "samples": "samples in the data",
    "width": "width of the layers (units)",
    "depth": "depth (layers)",
    "batch": "batch size (samples)",
}


def _losses(workload: str, curves: Sequence[Curve], styles: _Styles) -> Picture:
    """Losses over steps; where lines coincide, the wider ones show beneath the narrower."""

    def draw(axes: Axes) -> None:
        for depth, curve in enumerate(curves):
            color, _ = styles[curve.label]
            axes.plot(
                curve.losses.steps,
                curve.losses.losses,
                color=color,
                linewidth=1.2 + 1.8 * (len(curves) - 1 - depth),
                label=_short(curve.label),
            )
        if any(loss > 0 for curve in curves for loss in curve.losses.losses):
            axes.set_yscale("log", nonpositive="mask")
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_xlabel("step")
        axes.set_ylabel("mean squared loss")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0))

    same = [curve.label for curve in curves if curve.losses == _contract(curves).losses]
    caption = f"{workload}: {_listed(same)} give the same losses to the last bit."
    if len(same) < 2:
        caption = f"{workload}: no two of these give the same losses to the last bit."
    return Picture(_svg(draw, 2.4 + 0.18 * len(curves), f"losses {workload}"), caption)


def _contract(curves: Sequence[Curve]) -> Curve:
    return next((curve for curve in curves if curve.arithmetic == "ordered"), curves[0])


def _short(name: str, length: int = 22) -> str:
    """A name that fits into a picture; the tables have it whole."""
    return name if len(name) <= length else f"{name[: length - 3]}..."


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _svg(draw: Callable[[Axes], None], height: float, name: str) -> str:
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # The page says how wide a picture is; its names must be its own among those of all pictures.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    prefix = re.sub(r"\W+", "-", name)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", svg)
    return svg.replace(_INK, "currentColor")
