"""A summary or a comparison laid out: the words, tables and pictures of every form of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from fcbackends.report import figures
from fcbackends.report.comparison import NOISE, Change, Comparison, Side
from fcbackends.report.layout import Cell, Column, Document, Section, Table, Tone
from fcbackends.report.runs import Commit, Deviation, Machine
from fcbackends.report.summary import Group, Report, Row, Series

_UNITS = {
    "epoch": "epoch",
    "training": "training",
    **dict.fromkeys(("forward", "backward", "loss"), "call"),
}
"""What the time of a kind of work is the time of, where it is not a step."""


def report_document(report: Report, *, pictures: bool = False) -> Document:
    """What one run says.

    Parameters
    ----------
    report : Report
        Its summary.
    pictures : bool
        Whether plots are drawn, for forms that can show them.
    """
    sections = [*map(_group_section, report.workloads)]
    if report.series:
        sections.append(_growth_section(report.series))
    if pictures:
        from fcbackends.report import plots

        sections = [*plots.sections(report), *sections]
    return Document(
        "fcbackends: speed and agreement",
        (*_commit_facts(report.commit, report.date), *machine_facts(report.machine)),
        tuple(sections),
    )


def machine_facts(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Where and with what a run was made."""
    return (
        ("CPU", f"{machine.cpu}, {machine.cores} cores"),
        ("system", machine.os),
        ("Python", machine.python),
        ("libraries", ", ".join(f"{name} {v}" for name, v in machine.versions.items())),
        ("BLAS", machine.blas),
        ("threads", f"BLAS {machine.threads.blas}, Numba {machine.threads.numba}"),
        ("contract", f"version {machine.contract}"),
    )


def _commit_facts(commit: Commit, date: str) -> tuple[tuple[str, str], ...]:
    return ("commit", commit_text(commit)), ("date", date)


def commit_text(commit: Commit) -> str:
    """A revision in short, and whether it was as committed."""
    return commit.id[:12] + (" with uncommitted changes" if commit.dirty else "")


def _group_section(group: Group) -> Section:
    unit = _UNITS.get(group.kind, "step")
    columns = (
        Column("backend"),
        Column(f"time per {unit}", numeric=True),
        Column("x NumPy native", numeric=True),
        Column("agreement"),
        Column("compile", numeric=True),
        Column("from cache", numeric=True),
        Column(f"{unit}s to repay it", numeric=True),
        Column("samples/s", numeric=True),
        Column("middle half of the rounds", numeric=True),
    )
    return Section(group.name, Table(columns, tuple(map(_row_cells, group.rows))))


def _row_cells(row: Row) -> tuple[Cell, ...]:
    repaid = "" if row.repaid_after is None else f"{row.repaid_after:,}"
    if row.repaid_after is None and row.speedup is not None and row.speedup < 1:
        repaid = "never"
    return (
        Cell(row.label),
        Cell(figures.seconds(row.seconds)),
        Cell("" if row.speedup is None else figures.factor(row.speedup)),
        agreement_cell(row.agreement),
        Cell(_compile_text(row.compile_cold_s)),
        Cell(_compile_text(row.compile_cached_s)),
        Cell(repaid),
        Cell(figures.many(row.samples_per_second)),
        Cell(f"{figures.seconds(row.q1)} - {figures.seconds(row.q3)}", "quiet"),
    )


def _compile_text(value: float | None) -> str:
    return "" if value is None else figures.seconds(value)


def agreement_cell(agreement: Deviation) -> Cell:
    """The class, and how many values differ by how much."""
    if agreement.equal:
        return Cell(f"{agreement.stated}: all bits equal", "good")
    text = f"{agreement.stated}: {agreement.different:,} of {agreement.values:,} differ"
    if agreement.stated == "C":
        # Around zero a small error is any number of representable steps.
        return Cell(text, "quiet")
    steps = "NaN" if agreement.max_ulp is None else f"{figures.many(agreement.max_ulp)} ULP"
    return Cell(f"{text}, by up to {steps}", "bad")


def _growth_section(all_series: tuple[Series, ...]) -> Section:
    columns = (
        Column("series"),
        Column("along"),
        Column("backend"),
        Column("from - to", numeric=True),
        Column("exponent", numeric=True),
        Column("95 % interval", numeric=True),
        Column("at the end", numeric=True),
    )
    rows = []
    remarks = [
        "The exponent p of time = c * size**p, by least squares of the logarithms over the whole "
        "range, and between its two largest sizes, where fixed costs weigh least."
    ]
    for series in all_series:
        for growth in series.growths:
            interval = f"{growth.low:.2f} - {growth.high:.2f}"
            rows.append(
                (
                    Cell(series.name),
                    Cell(series.axis),
                    Cell(growth.label),
                    Cell(f"{growth.sizes[0]:,} - {growth.sizes[-1]:,}"),
                    Cell(f"{growth.exponent:.2f}"),
                    Cell(interval if len(growth.sizes) > 2 else "", "quiet"),
                    Cell(f"{growth.last_exponent:.2f}"),
                )
            )
        remarks += [
            f"{series.name}: {crossover.backend} and NumPy native take the same time, "
            f"{figures.seconds(crossover.seconds)}, at {series.axis} "
            f"{figures.three_digits(crossover.size)}."
            for crossover in series.crossovers
        ]
    return Section("How time grows with size", Table(columns, tuple(rows)), tuple(remarks))


def comparison_document(comparisons: Sequence[Comparison]) -> Document:
    """Runs held against one base, one section each."""
    first = comparisons[0]
    news = ", ".join(comparison.new.name for comparison in comparisons)
    return Document(
        f"fcbackends: {news} against {first.base.name}",
        (
            _side_fact("base", first.base),
            *(_side_fact("new", comparison.new) for comparison in comparisons),
            ("measured", _HOW[first.how]),
            *machine_facts(first.machine),
        ),
        tuple(map(_comparison_section, comparisons)),
    )


def _comparison_section(comparison: Comparison) -> Section:
    saved = comparison.how == "saved runs"
    columns = (
        Column("workload"),
        Column("backend"),
        Column("base", numeric=True),
        Column("new", numeric=True),
        Column("change", numeric=True),
        *([Column("yardstick", numeric=True)] if saved else []),
        Column("corrected" if saved else "side by side", numeric=True),
        Column("95 % interval", numeric=True),
        Column("outcome"),
        Column("bits"),
    )
    rows = tuple(_change_cells(change, saved) for change in comparison.changes)
    return Section(
        f"{comparison.new.name}: {_counts(comparison)}",
        Table(columns, rows),
        (
            *comparison.remarks,
            *_reasons(comparison),
            _EXPLAINED[comparison.how],
            *(_drift(comparison.changes) if saved else []),
        ),
    )


_EXPLAINED = {
    "saved runs": "change = new / base. yardstick: the change of a fixed product of matrices, of "
    "no revision, that is timed around every round: what the machine has become slower by. "
    "corrected = change / yardstick, as ratios; interval and outcome are of this.",
    "interleaved": "change = new / base, the medians of all turns. side by side: new / base in "
    "turns next to each other, which the machine's drift falls on alike; interval and outcome are "
    "of this.",
}

_HOW = {
    "saved runs": "each by itself, in one process",
    "interleaved": "both in turn, in several pairs of processes",
}

_TONES: dict[str, Tone | None] = {
    "faster": "good",
    "slower": "bad",
    "within noise": None,
    "not comparable": "quiet",
}

_BITS: dict[str | None, tuple[str, Tone | None]] = {
    "kept": ("all equal", "good"),
    "lost": ("lost agreement", "bad"),
    "won": ("won agreement", "good"),
    "differ": ("differ in both", "bad"),
    None: ("", None),
}


def _side_fact(which: str, side: Side) -> tuple[str, str]:
    parts = [side.name]
    if side.commit:
        parts.append(f"commit {commit_text(side.commit)}")
    if side.date:
        parts.append(side.date)
    return which, ", ".join(parts)


def _change_cells(change: Change, saved: bool) -> tuple[Cell, ...]:
    times = change.base, change.new
    ratios = [change.ratio, *([change.yardstick] if saved else []), change.corrected]
    interval = ""
    if change.low is not None and change.high is not None:
        interval = f"{figures.percent(change.low)} .. {figures.percent(change.high)}"
    return (
        Cell(change.workload),
        Cell(change.label),
        *(Cell("" if time is None else figures.seconds(time)) for time in times),
        *(Cell("" if ratio is None else figures.percent(ratio)) for ratio in ratios),
        Cell(interval, "quiet"),
        Cell(change.outcome, _TONES[change.outcome]),
        Cell(*_BITS[change.bits]),
    )


def _counts(comparison: Comparison) -> str:
    outcomes = [change.outcome for change in comparison.changes]
    counts = [f"{outcomes.count(one)} {one}" for one in _TONES if one in outcomes]
    lost = sum(change.bits == "lost" for change in comparison.changes)
    return ", ".join([*counts, *([f"{lost} lost agreement"] if lost else [])])


def _reasons(comparison: Comparison) -> list[str]:
    """Why benchmarks are not comparable, each reason once."""
    reasons: dict[str, int] = {}
    for change in comparison.changes:
        if change.reason:
            reasons[change.reason] = reasons.get(change.reason, 0) + 1
    return [f"Not comparable, {count}: {reason}." for reason, count in reasons.items()]


def _drift(changes: Sequence[Change]) -> list[str]:
    """What the machine itself did, and a word of caution where more than that moved everything."""
    found = []
    yardsticks = [change.yardstick for change in changes if change.yardstick is not None]
    if yardsticks:
        low, middle, high = min(yardsticks), statistics.median(yardsticks), max(yardsticks)
        found.append(
            f"The yardstick changed by {figures.percent(middle)} (the median; from "
            f"{figures.percent(low)} to {figures.percent(high)})."
        )
    corrected = [change.corrected for change in changes if change.corrected is not None]
    middle = statistics.median(corrected) if corrected else 1.0
    if not 1 / (1 + NOISE) < middle < 1 + NOISE:
        found.append(
            f"Half of the benchmarks changed by {figures.percent(middle)} or more even so: the "
            "machine may have been another in ways that the yardstick does not feel. "
            "--interleave measures both in turn."
        )
    return found
