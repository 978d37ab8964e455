"""Cases run on a backend, and judged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fcbackends.backends.backend import Backend
from fcbackends.conformance.cases import Case, make_case
from fcbackends.conformance.judgement import compare_results, level_of, promised
from fcbackends.conformance.relations import relation
from fcbackends.conformance.results import results
from fcbackends.conformance.tally import Finding, Level, Tally


def run_cases(
    backend: Backend, seed: int, indices: Iterable[int], dtypes: tuple[str, ...]
) -> Tally:
    """Run the cases of these indices, with numbers of these dtypes."""
    total = Tally()
    bounded = backend.arithmetic == "native"
    # Overflows and NaN are among the cases.
    with np.errstate(all="ignore"):
        for index in indices:
            rows = backend.rows_per_block
            case = make_case(seed, index, dtypes=dtypes, bounded=bounded, rows_per_block=rows)
            total += _run_case(backend, case, index)
    return total


def _run_case(backend: Backend, case: Case, index: int) -> Tally:
    try:
        if case.kind == "relation":
            pairs = relation(backend, case)
            found = {name: got for name, (got, _) in pairs.items()}
            wanted = {name: want for name, (_, want) in pairs.items()}
        else:
            found, wanted = results(backend, case), promised(backend, case)
    except Exception as error:  # whatever somebody's backend raises
        raised = Finding(index, str(case), f"{type(error).__name__}: {error}")
        return Tally(cases=1, findings={Level.none: raised})
    compared = compare_results(found, wanted)
    level, share = level_of(backend, case, found, wanted, compared)
    findings: dict[Level, Finding] = {}
    if level > Level.A:
        findings[level] = Finding(index, str(case), compared.defect)
    return Tally(1, compared.values, compared.different, compared.max_ulp, share, findings)
