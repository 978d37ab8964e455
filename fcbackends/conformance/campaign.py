"""A backend held against the class that it states: self-test, golden runs and random cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from fcbackends.backends.backend import Backend, Conformance, ConformanceClass
from fcbackends.backends.registry import get_backend
from fcbackends.checks import options
from fcbackends.conformance.cases import CASES_A_FORM
from fcbackends.conformance.golden import differing_runs, golden_runs
from fcbackends.conformance.running import run_cases
from fcbackends.conformance.selftest import self_test, taken_dtypes
from fcbackends.conformance.tally import Finding, Level, Tally
from fcbackends.errors import ArgumentError, shown
from fcbackends.executors.processes import Processes
from fcbackends.training.progress import progress_bar

_CASES_A_PART = 8 * CASES_A_FORM
MOST_CASES = 2**63
"""Below this are the indices of cases; from it on, what their forms are drawn from."""

_MOST_PROCESSES = 1024
_PARTS_A_PROCESS = 60
"""Then a process makes room for a new one: JAX keeps what it compiles, 8.8 GB after ten minutes."""


@dataclass(frozen=True)
class Verdict:
    """What was found of one backend.

    Attributes
    ----------
    backend, arithmetic : str
        Which it is.
    seed : int
        What the random cases were made from.
    stated : {"A", "B", "C"}
        The class that it has to keep; see `stated_class`.
    self_test : Conformance
        The class that the self-test found, with the reason.
    golden_runs : int
        How many golden runs there were.
    golden : tuple of str
        Those that ended on another digest.
    tally : Tally
        What the random cases have shown.
    rows_per_block : int or None
        How many samples a block of their sums had.

    Examples
    --------
    >>> from fcbackends.conformance import verify
    >>> verdict = verify("numpy", cases=20)
    >>> verdict.passed, verdict.observed, verdict.tally.different
    (True, 'A', 0)
    """

    backend: str
    arithmetic: str
    seed: int
    stated: ConformanceClass
    self_test: Conformance
    golden_runs: int
    golden: tuple[str, ...]
    tally: Tally
    rows_per_block: int | None = None

    @property
    def observed(self) -> str:
        """The best class that all of it leaves open; "none" where not even the bounds hold."""
        golden = Level.C if self.golden else Level.A
        return max(Level[self.self_test.letter], golden, self.tally.level).name

    @property
    def passed(self) -> bool:
        """Whether it keeps its class."""
        return Level[self.observed] <= Level[self.stated]

    @property
    def first(self) -> Finding | None:
        """The first case in which it does not, or else the first where bits differ, if any."""
        return self.tally.first_below(Level[self.stated]) or self.tally.first_below(Level.A)

    @property
    def command(self) -> str:
        """The command line that shows this case again; "" if there is none."""
        if not self.first:
            return ""
        how = self.arithmetic, self.seed, self.first, self.rows_per_block
        return command(self.backend, *how)


def command(
    name: str, arithmetic: str, seed: int, finding: Finding, rows_per_block: int | None = None
) -> str:
    """The command line that shows a case again."""
    chosen = "" if arithmetic == "ordered" else f" --arithmetic {arithmetic}"
    chosen += "" if rows_per_block is None else f" --rows-per-block {rows_per_block}"
    return f"fcbackends verify {name}{chosen} --seed {seed} --case {finding.case}"


def stated_class(backend: Backend) -> ConformanceClass:
    """The class that a backend has to keep.

    Native arithmetic states C. The others state A, or B where the self-test finds that subnormal
    numbers become zero: where it finds class C, the backend misses what it states.
    """
    if backend.arithmetic == "native":
        return "C"
    return "B" if backend.conformance.letter == "B" else "A"


def verify(
    backend: str | Backend,
    *,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
    cases: int = 1000,
    seed: int = 0,
    first: int = 0,
    processes: int = 1,
    progress: bool | None = False,
) -> Verdict:
    """Hold a backend against the contract.

    The self-test and the golden runs come first. Then random cases are compared to the bit with
    the contract, written down a second time in `fcbackends.conformance.reference`, or for relations
    with the backend's own results. Native arithmetic has no golden runs, and cases of layers alone,
    whose errors are held against their bounds.

    Parameters
    ----------
    backend : str or Backend
        A name from `list_backends`, or a backend.
    arithmetic : {"ordered", "fused", "native"} or None
        Which of the backends of that name; see `get_backend`.
    rows_per_block : int or None
        Where it is a number, the random cases have sums over samples in blocks of so many, and
        half of them several of these; self-test and golden runs have one block.
    cases : int
        How many random cases: those with the indices from `first` on.
    seed : int
        From 0 to 2**64 - 1. A case is a pure function of seed and index, and of the dtypes that the
        backend takes.
    first : int
        The index of the first case.
    processes : int
        How many processes, up to 1024, share the cases; with more than one, `backend` must be a
        name that is known in a new process. What is found does not depend on their number.
    progress : bool or None
        Whether a progress bar is shown; None: on a terminal.

    Returns
    -------
    Verdict

    Raises
    ------
    ArgumentError
        Where there is no such backend, for numbers below 0 (`processes`: 1), for indices of
        cases from 2**63 on, and for several processes with a Backend.
    """
    plain = get_backend(backend, arithmetic=arithmetic)
    chosen = options.in_blocks(plain, rows_per_block)
    cases, first = options.integer("cases", cases, 0), options.integer("first", first, 0)
    if first + cases > MOST_CASES:
        required = "end at an index below 2**63"
        raise ArgumentError("cases", required, f"{shown(cases)} from {shown(first)} on")
    seed, processes = options.seed(seed), options.integer("processes", processes, 1)
    if processes > 1 and not isinstance(backend, str):
        required = "be 1 for a Backend, which other processes do not know by a name"
        raise ArgumentError("processes", required, f"{processes}")
    dtypes = taken_dtypes(chosen)
    found = self_test(chosen)
    runs = golden_runs(chosen.arithmetic, dtypes)
    golden = differing_runs(runs, plain)
    total = Tally()
    all_cases = range(first, first + cases)
    if processes == 1:
        parts = _parts(all_cases)
        tallies: Iterator[Tally] = (run_cases(chosen, seed, part, dtypes) for part in parts)
    else:
        few = min(processes, _MOST_PROCESSES)
        tallies = _in_processes(few, chosen, seed, all_cases, dtypes)
    with progress_bar(cases, " cases", progress) as advanced:
        for tally in tallies:
            total += tally
            advanced(tally.cases)
    return Verdict(
        backend=chosen.name if isinstance(backend, Backend) else backend,
        arithmetic=chosen.arithmetic,
        seed=seed,
        stated=stated_class(chosen),
        self_test=found,
        golden_runs=len(runs),
        golden=golden,
        tally=total,
        rows_per_block=chosen.rows_per_block,
    )


def _parts(cases: range) -> Iterator[range]:
    for start in range(0, len(cases), _CASES_A_PART):
        yield cases[start : start + _CASES_A_PART]


def _in_processes(
    processes: int, backend: Backend, seed: int, cases: range, dtypes: tuple[str, ...]
) -> Iterator[Tally]:
    # Not the pool's own max_tasks_per_child, which hangs on Python 3.11.
    together = processes * _PARTS_A_PROCESS * _CASES_A_PART
    for start in range(0, len(cases), together):
        parts = list(_parts(cases[start : start + together]))
        yield from _in_pool(processes, backend, seed, parts, dtypes)


def _in_pool(
    processes: int, backend: Backend, seed: int, parts: Sequence[range], dtypes: tuple[str, ...]
) -> Iterator[Tally]:
    pool = Processes(processes)
    left = {}
    try:
        for part in parts:
            how = backend.arithmetic, backend.rows_per_block
            task = pool.submit(_run_part, backend.name, *how, seed, part, dtypes)
            left[task] = part
        for done in as_completed(list(left)):
            yield done.result()
            del left[done]
    except BrokenProcessPool:
        start = min(part.start for part in left.values())
        died = Finding(start, "a case from here on", "the process that ran it died")
        yield Tally(findings={Level.none: died})
    except BaseException:
        # They would first end the cases in hand, which took up to 16 s on a busy machine.
        for worker in list(pool._processes.values()):
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _run_part(
    name: str,
    arithmetic: str,
    rows_per_block: int | None,
    seed: int,
    part: range,
    dtypes: tuple[str, ...],
) -> Tally:
    backend = options.in_blocks(get_backend(name, arithmetic=arithmetic), rows_per_block)
    return run_cases(backend, seed, part, dtypes)
