"""Two revisions measured in turn on this machine, so that its drift falls on both alike.

Each pair of processes, one a revision, does the same work A B, B A, A B and so on, some
milliseconds a turn; new pairs of processes are started several times, since a process keeps what
luck its memory layout gives it. The ratio's interval is that of the pairs of processes.
"""

from __future__ import annotations

import contextlib
import io
import math
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tqdm.auto import tqdm

from fcbackends.errors import ArgumentError, printable
from fcbackends.report.comparison import Change, Comparison, Side
from fcbackends.report.machine import pinned_threads, this_machine
from fcbackends.report.runs import Commit
from fcbackends.report.statistics import outcome, ratio_of_pairs
from fcbackends.report.workers import Ask, WorkerEndedError, WorkerError, worker

PROCESS_PAIRS = 9
MOST_TURNS = 10
TURN_SECONDS = 0.01
PAIR_SECONDS = 0.2
"""One pair of processes takes turns at one benchmark for about so long."""

NOISE = 0.03
"""What one revision may differ from itself by, beyond what the pairs of processes show."""

_PACKAGE = "fcbackends"

Workers = Callable[[str], contextlib.AbstractContextManager[Ask]]
"""Starts a process with the package of "BASE" or of "NEW"."""


@dataclass
class _Task:
    """One benchmark, and what the pairs of processes have found so far.

    Attributes
    ----------
    work : dict
        What the workers are asked for: workload, backend and arithmetic.
    units, warm, turns : int
        Units a turn, units to do beforehand in a new process, turns a pair of processes.
    times : list of tuple
        Of each turn, the seconds of a unit in the base and in the new revision.
    log_ratios : list of float
        Of each pair of processes, the median of its turns' log(new / base).
    same_bits : bool
        Whether both ended on the same bits.
    error : str or None
        Why it cannot be done.
    """

    work: dict[str, str]
    units: int = 0
    warm: int = 0
    turns: int = 0
    times: list[tuple[float, float]] = field(default_factory=list)
    log_ratios: list[float] = field(default_factory=list)
    same_bits: bool = True
    error: str | None = None


def compare_revisions(base: str, new: str, only: str = "") -> Comparison:
    """Measure two revisions in turn, with the benchmarks of the checkout.

    Parameters
    ----------
    base, new : str
        Revisions of the git checkout that the working folder is in, or folders with the package
        in them.
    only : str
        Measures only the benchmarks whose "workload backend arithmetic" contains this text.

    Raises
    ------
    ArgumentError
        Where there is no such revision, no benchmarks, or none that `only` chooses.
    """
    checkout = _checkout()
    with contextlib.ExitStack() as stack:
        stack.enter_context(pinned_threads(1))
        base_folder, base_commit = stack.enter_context(_sources(checkout, base, "BASE"))
        new_folder, new_commit = stack.enter_context(_sources(checkout, new, "NEW"))
        folders = {"BASE": base_folder, "NEW": new_folder}
        changes = changes_in_turn(lambda side: _worker(checkout, side, folders[side]), only)
        return Comparison(
            base=Side(printable(base), base_commit, None),
            new=Side(printable(new), new_commit, None),
            how="interleaved",
            machine=this_machine(),
            remarks=(),
            changes=changes,
        )


def changes_in_turn(start: Workers, only: str = "") -> tuple[Change, ...]:
    """What pairs of workers find on each benchmark whose name contains `only`."""
    with start("NEW") as ask:
        tasks = [_Task(work) for work in ask("tasks", grid="light") if only in _name(work)]
    if not tasks:
        raise ArgumentError("--only", "be a text in a benchmark's name", repr(only))
    total = PROCESS_PAIRS * len(tasks)
    with tqdm(total=total, unit="benchmark", leave=False, disable=None) as bar:
        for _ in range(PROCESS_PAIRS):
            if all(task.error for task in tasks):
                break
            with start("BASE") as ask_base, start("NEW") as ask_new:
                for task in tasks:
                    if not task.error:
                        _measure(task, ask_base, ask_new)
                    bar.update()
    return tuple(map(_change, tasks))


def _name(work: dict[str, str]) -> str:
    return " ".join(work[key] for key in ("workload", "backend", "arithmetic"))


def _checkout() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "benchmarks" / "worker.py").is_file():
            return folder
    raise ArgumentError(
        "--interleave", f"be used in a checkout of {_PACKAGE} with its benchmarks", str(here)
    )


@contextlib.contextmanager
def _sources(checkout: Path, name: str, argument: str) -> Iterator[tuple[Path, Commit | None]]:
    """The folder in which a revision's package is, and which commit that is."""
    folder = Path(name)
    if (folder / _PACKAGE / "__init__.py").is_file():
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", _PACKAGE)
        yield folder.resolve(), Commit(commit.decode().strip(), bool(changed)) if commit else None
        return
    commit = _git(checkout, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    archive = commit and _git(checkout, "archive", commit.decode().strip(), _PACKAGE)
    if not (commit and archive):
        required = f"be a revision of {checkout} or a folder, each with the package {_PACKAGE}"
        raise ArgumentError(argument, f"{required} in it", repr(name))
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(temporary, filter="data")
        yield Path(temporary).resolve(), Commit(commit.decode().strip())


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git says, or None where it fails."""
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


@contextlib.contextmanager
def _worker(checkout: Path, argument: str, folder: Path) -> Iterator[Ask]:
    """A process with the package of a folder, and the checkout's benchmarks."""
    try:
        program = checkout / "benchmarks" / "worker.py"
        with worker(program, {"PYTHONPATH": str(folder)}) as ask:
            package = ask("package")
            if Path(package).parent != folder:
                advice = f"uninstall {_PACKAGE} or install it with pip's -e"
                raise ArgumentError(argument, "be what is imported", f"{package}: {advice}")
            yield ask
    except WorkerEndedError as error:
        raise ArgumentError(argument, "be a revision that runs", str(error)) from None


def _measure(task: _Task, ask_base: Ask, ask_new: Ask) -> None:
    """Let one pair of processes take turns at a benchmark."""
    asks = {"base": ask_base, "new": ask_new}
    for side, ask in asks.items():
        try:
            # An older revision may lack anything that today's workloads use.
            ask("seconds", **task.work, units=max(1, task.warm))
        except WorkerError as error:
            task.error = f"{side}: {error}"
            return
    if not task.turns:
        base_digest, new_digest = (ask("digest", **task.work) for ask in asks.values())
        task.same_bits = base_digest == new_digest
        task.units, task.warm, seconds = ask_base("fitted", **task.work, wanted=TURN_SECONDS)
        ask_new("seconds", **task.work, units=task.warm)
        task.turns = max(1, min(MOST_TURNS, int(PAIR_SECONDS / (2 * seconds))))
    times = []
    for turn in range(task.turns):
        taken = {}
        for side in sorted(asks, reverse=turn % 2 == 1):
            taken[side] = asks[side]("seconds", **task.work, units=task.units) / task.units
        times.append((taken["base"], taken["new"]))
    task.times += times
    task.log_ratios.append(statistics.median(math.log(new / base) for base, new in times))


def _change(task: _Task) -> Change:
    found = Change(
        task.work["backend"],
        task.work["arithmetic"],
        workload=task.work["workload"],
        reason=task.error,
    )
    if task.error:
        return found
    base, new = (statistics.median(times) for times in zip(*task.times, strict=True))
    side_by_side = ratio_of_pairs(task.log_ratios)
    return msgspec.structs.replace(
        found,
        base=base,
        new=new,
        ratio=new / base,
        corrected=side_by_side.value,
        low=side_by_side.low,
        high=side_by_side.high,
        outcome=outcome(side_by_side, NOISE),
        bits=None if found.arithmetic == "native" else "kept" if task.same_bits else "lost",
    )
