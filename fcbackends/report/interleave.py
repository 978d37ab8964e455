"""Two revisions measured in turn on this machine, so that its drift falls on both alike.

Each pair of processes, one a revision, does the same work A B, B A, A B and so on, some
milliseconds a turn; new pairs of processes are started several times, since a process keeps what
luck its memory layout gives it. The ratio's interval is that of the pairs of processes.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from fcbackends.errors import ArgumentError
from fcbackends.report.comparison import Change, Comparison, Side
from fcbackends.report.machine import pinned_threads, this_machine
from fcbackends.report.runs import Commit
from fcbackends.report.statistics import ratio_of_pairs, verdict

PROCESS_PAIRS = 9
MOST_TURNS = 10
TURN_SECONDS = 0.01
PAIR_SECONDS = 0.2
"""One pair of processes takes turns at one benchmark for about so long."""

NOISE = 0.03
"""What one revision may differ from itself by, beyond what the pairs of processes show."""

_PACKAGE = "fcbackends"

Ask = Callable[..., dict[str, Any]]
"""Sends a worker one request and returns its answer."""


@dataclass
class _Task:
    """One benchmark, and what the pairs of processes have found so far."""

    workload: str
    backend: str
    arithmetic: str
    units: int = 0
    turns: int = 0
    base: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    log_ratios: list[float] = field(default_factory=list)
    same_bits: bool = True
    error: str | None = None

    @property
    def name(self) -> str:
        return f"{self.workload} {self.backend} {self.arithmetic}"


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
        with _worker(checkout, "NEW", new_folder) as ask:
            tasks = [_Task(**values) for values in ask(list="light")["tasks"]]
        tasks = [task for task in tasks if only in task.name]
        if not tasks:
            raise ArgumentError(f"`--only` must be a text in a benchmark's name, got {only!r}")
        count = PROCESS_PAIRS * len(tasks)
        with tqdm(total=count, unit="benchmark", leave=False, disable=None) as bar:
            for pair in range(PROCESS_PAIRS):
                if all(task.error for task in tasks):
                    break
                with contextlib.ExitStack() as workers:
                    asks = [
                        workers.enter_context(_worker(checkout, argument, folder))
                        for argument, folder in folders.items()
                    ]
                    for task in tasks:
                        _measure(task, asks[0], asks[1], first=pair == 0)
                        bar.update()
        return Comparison(
            base=Side(base, base_commit, None),
            new=Side(new, new_commit, None),
            how="interleaved",
            machine=this_machine(),
            remarks=(),
            changes=tuple(map(_change, tasks)),
        )


def _checkout() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "benchmarks" / "worker.py").is_file():
            return folder
    raise ArgumentError(
        f"`--interleave` must be used in a checkout of {_PACKAGE} with its benchmarks, got {here}"
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
        raise ArgumentError(
            f"`{argument}` must be a revision of {checkout} or a folder, each with the package "
            f"{_PACKAGE} in it, got {name!r}"
        )
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
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, checkout / "benchmarks" / "worker.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def answered() -> dict[str, Any]:
            line = answers.readline()
            if line:
                return dict(json.loads(line))
            stderr.seek(0)
            *_, reason = ["no reason given", *stderr.read().splitlines()]
            raise ArgumentError(f"`{argument}` must be a revision that runs, got: {reason}")

        def ask(**request: Any) -> dict[str, Any]:
            print(json.dumps(request), file=requests, flush=True)
            return answered()

        try:
            package = answered()["package"]
            if Path(package).parent != folder:
                raise ArgumentError(
                    f"`{argument}` must be what is imported, got {package}: uninstall {_PACKAGE} "
                    "or install it with pip's -e"
                )
            yield ask
        finally:
            process.kill()
            process.communicate()


def _measure(task: _Task, ask_base: Ask, ask_new: Ask, *, first: bool) -> None:
    """Let one pair of processes take turns at a benchmark."""
    if task.error:
        return
    asks = ask_base, ask_new
    what = {name: getattr(task, name) for name in ("workload", "backend", "arithmetic")}
    for side, ask in zip(("base", "new"), asks, strict=True):
        if error := ask(**what).get("error"):
            task.error = f"{side}: {error}"
            return
    if first:
        base_digest, new_digest = (ask(result=True)["digest"] for ask in asks)
        task.same_bits = base_digest == new_digest
        task.units, seconds = _units(ask_base)
        task.turns = max(1, min(MOST_TURNS, int(PAIR_SECONDS / (2 * seconds))))
    logs = []
    for turn in range(task.turns):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        times = {side: asks[side](units=task.units)["seconds"] / task.units for side in order}
        task.base.append(times[0])
        task.new.append(times[1])
        logs.append(math.log(times[1] / times[0]))
    task.log_ratios.append(statistics.median(logs))


def _units(ask: Ask) -> tuple[int, float]:
    """How many units make a turn long enough, and its seconds."""
    units = 1
    while True:
        seconds = min(ask(units=units)["seconds"] for _ in range(2))
        if seconds > TURN_SECONDS / 2:
            return units, seconds
        units *= 2


def _change(task: _Task) -> Change:
    ratio = None if task.error else ratio_of_pairs(task.log_ratios)
    return Change(
        workload=task.workload,
        backend=task.backend,
        arithmetic=task.arithmetic,
        base=statistics.median(task.base) if ratio else None,
        new=statistics.median(task.new) if ratio else None,
        ratio=ratio.value if ratio else None,
        low=ratio.low if ratio else None,
        high=ratio.high if ratio else None,
        verdict=verdict(ratio, NOISE) if ratio else "not comparable",
        reason=task.error,
        bits=None
        if task.arithmetic == "native" or task.error
        else "kept"
        if task.same_bits
        else "lost",
    )
