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


def report_run(name: str | None, kind: str | None, outs: Sequence[str]) -> None:
    """Report one run, on stdout (as text, if no kind is given) or into files."""
    if kind and outs:
        raise ArgumentError(("--format", "--out"), "not come together", f"{kind} and {outs[0]!r}")
    found = str(runs.find(name))
    paths = _writable(outs, [("RUN", found)])
    report = summary.summarize(runs.load(found))

    def of_kind(kind: str) -> str:
        document = documents.report_document(report, pictures=kind == "html")
        return _rendered(kind, document, report)

    if not paths:
        print(of_kind(kind or "text"), end="")
    for path in paths:
        write(path, of_kind(path.suffix[1:].lower()).encode())


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
        write(path, _rendered(path.suffix[1:].lower(), document, found).encode())
    if not paths:
        print(_rendered("text", document, found), end="")
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


def _rendered(kind: str, document: Document, data: Any) -> str:
    """A report as text, md, html or, of its data, json."""
    if kind == "json":
        return msgspec.json.format(msgspec.json.encode(data)).decode() + "\n"
    if kind == "md":
        return to_markdown(document)
    if kind == "text":
        return terminal.to_text(document) + "\n"
    from fcbackends.report.html import to_html

    return to_html(document)
