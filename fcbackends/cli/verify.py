"""`fcbackends verify`: backends held against the contract, in a table and a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fcbackends as fcb
from fcbackends.checks.options import in_blocks
from fcbackends.conformance import Verdict, verify
from fcbackends.conformance.campaign import MOST_CASES
from fcbackends.errors import shown
from fcbackends.files import writable, write
from fcbackends.kernels.cpus import usable_cpus
from fcbackends.report.terminal import print_table

_HEADER = (
    *("backend", "class", "found", "golden runs", "cases", "values", "differ", "by up to"),
    "self-test",
)

_CASES_WORTH_A_PROCESS = 500


def verify_backends(
    names: Sequence[str],
    *,
    arithmetic: str | None,
    rows_per_block: int | None,
    cases: int,
    seed: int,
    case: int | None,
    processes: int | None,
    out: str | None,
) -> int:
    """Print what is found of these backends, or of all there are; 1 where one misses its class."""
    path = None if out is None else writable(out, "--json", (".json",))
    if case is not None:
        cases = 1
        if case >= MOST_CASES:
            raise fcb.ArgumentError("--case", "be below 2**63", shown(case))
    if processes is None:
        processes = min(usable_cpus(), 1 + cases // _CASES_WORTH_A_PROCESS)
    if not names:
        names = [name for name, state in fcb.list_backends().items() if state == "available"]
    for name in names:
        # Before the first is verified, the last is known.
        in_blocks(fcb.get_backend(name, arithmetic=arithmetic), rows_per_block)
    verdicts = []
    for name in names:
        verdict = verify(
            name,
            arithmetic=arithmetic,
            rows_per_block=rows_per_block,
            cases=cases,
            seed=seed,
            first=case or 0,
            processes=processes,
            progress=None,
        )
        verdicts.append(verdict)
    print_table(map(_row, verdicts), _HEADER, right=range(3, 8))
    for verdict in verdicts:
        for line in _remarks(verdict):
            print(line)
    if path:
        _write(path, verdicts, seed)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _row(verdict: Verdict) -> Sequence[str]:
    tally, ordered = verdict.tally, verdict.arithmetic == "ordered"
    blocks = "" if verdict.rows_per_block is None else f" in blocks of {verdict.rows_per_block}"
    golden = f"{verdict.golden_runs - len(verdict.golden)} of {verdict.golden_runs}"
    return (
        verdict.backend + ("" if ordered else f" {verdict.arithmetic}") + blocks,
        verdict.stated,
        verdict.observed,
        golden if verdict.golden_runs else "",
        f"{tally.cases:,}",
        f"{tally.values:,}",
        f"{tally.different:,}",
        "NaN" if tally.max_ulp is None else f"{tally.max_ulp:,} ULP" if tally.max_ulp else "",
        verdict.self_test.reason,
    )


def _remarks(verdict: Verdict) -> Iterator[str]:
    """What the table has no room for: what failed, and the first case that differs."""
    name, first = verdict.backend, verdict.first
    if verdict.tally.error_share is not None:
        yield f"\n{name}: the largest error is {verdict.tally.error_share:.3f} of its bound"
    if not verdict.passed:
        yield f"\n{name} misses class {verdict.stated}"
    for run in verdict.golden[:1]:
        yield f"\n{name}: another digest after {run}"
    if first:
        yield f"\n{name}, case {first.case}: {first.description}"
        yield f"  {first.defect}"
        yield f"  {verdict.command}"


def _write(path: Path, verdicts: Sequence[Verdict], seed: int) -> None:
    content = {
        "fcbackends": fcb.__version__,
        "contract": fcb.CONTRACT_VERSION,
        "seed": seed,
        "backends": [_as_json(verdict) for verdict in verdicts],
    }
    write(path, f"{json.dumps(content, indent=2)}\n".encode())


def _as_json(verdict: Verdict) -> dict[str, Any]:
    tally, first = verdict.tally, verdict.first
    return {
        "backend": verdict.backend,
        "arithmetic": verdict.arithmetic,
        "rows_per_block": verdict.rows_per_block,
        "stated": verdict.stated,
        "observed": verdict.observed,
        "passed": verdict.passed,
        "self_test": {"class": verdict.self_test.letter, "reason": verdict.self_test.reason},
        "golden_runs": verdict.golden_runs,
        "golden_different": list(verdict.golden),
        "cases": tally.cases,
        "values": tally.values,
        "different": tally.different,
        "max_ulp": tally.max_ulp,
        "error_share": tally.error_share,
        "first": first and {**first._asdict(), "command": verdict.command},
    }
