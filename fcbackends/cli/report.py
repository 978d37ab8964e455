"""`fcbackends report` and `fcbackends compare`: saved runs read, reports written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from fcbackends.errors import ArgumentError, printable
from fcbackends.files import apart, writable, write
from fcbackends.report import comparison, documents, runs, summary, terminal
from fcbackends.report.interleave import compare_revisions as interleaved
from fcbackends.report.layout import Document
from fcbackends.report.markdown import to_markdown

SUFFIXES = (".md", ".html", ".json")


def report_run(name: str | None, outs: Sequence[str]) -> None:
    """Report one run, on stdout or into files."""
    found = str(runs.find(name))
    paths = _writable(outs, [("RUN", found)])
    report = summary.summarize(runs.load(found))
    if not paths:
        print(terminal.to_text(documents.report_document(report)))
    for path in paths:
        pictured = path.suffix.lower() == ".html"
        _write(path, documents.report_document(report, pictures=pictured), report)


def compare_runs(
    names: Sequence[str],
    *,
    interleave: bool,
    only: str | None,
    fail_slower: float | None,
    outs: Sequence[str],
) -> int:
    """Compare runs, or revisions, with the first of them; 1 where one of them fails."""
    if len(names) < 2:
        raise ArgumentError("BASE NEW...", "be at least two runs", str(len(names)))
    base, *news = names
    read = [] if interleave else [("BASE", base), *(("NEW", new) for new in news)]
    paths = _writable(outs, [(called, str(runs.find(name, called))) for called, name in read])
    if only is not None and not interleave:
        raise ArgumentError("--only", "come with `--interleave`", "saved runs")
    if interleave:
        found = [interleaved(base, new, only or "") for new in news]
    else:
        base_run = runs.load(base, "BASE")
        found = [
            comparison.compare_runs(base_run, runs.load(new, "NEW"), (base, new)) for new in news
        ]
    document = documents.comparison_document(found)
    for path in paths:
        _write(path, document, found)
    if not paths:
        print(terminal.to_text(document))
    failures = [change for one in found for change in one.failures(fail_slower)]
    for change in failures:
        why = "lost agreement" if change.bits == "lost" else f"slower: {change.corrected:.3f}"
        text = f"failed: {change.workload}, {change.label}: {why}"
        print(printable(text), file=sys.stderr)
    return 1 if failures else 0


def show_schema(of_comparisons: bool) -> None:
    """Print the JSON Schema of what is written to .json files."""
    written = tuple[comparison.Comparison, ...] if of_comparisons else summary.Report
    schema = msgspec.json.schema(written)
    print(msgspec.json.format(msgspec.json.encode(schema)).decode())


def _writable(outs: Sequence[str], read: Sequence[tuple[str, str]]) -> list[Path]:
    apart([("--out", out) for out in outs], read)
    return [writable(out, "--out", SUFFIXES) for out in outs]


def _write(path: Path, document: Document, data: Any) -> None:
    suffix = path.suffix.lower()
    if suffix == ".json":
        text = msgspec.json.format(msgspec.json.encode(data)).decode() + "\n"
    elif suffix == ".md":
        text = to_markdown(document)
    else:
        from fcbackends.report.html import to_html

        text = to_html(document)
    write(path, text.encode())
