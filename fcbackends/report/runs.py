"""Saved benchmark runs: the files that pytest-benchmark writes, with what `benchmarks/` adds."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Literal

import msgspec

from fcbackends.errors import ArgumentError
from fcbackends.maths import CONTRACT_VERSION

STORAGE = Path(".benchmarks")
"""Where pytest-benchmark keeps its runs, in the folder that it was started in."""


class Computed(msgspec.Struct, frozen=True):
    """What computed: a backend, in an arithmetic."""

    backend: str
    arithmetic: str

    @property
    def label(self) -> str:
        """The backend's name, with its arithmetic where that is not the contract's.

        Examples
        --------
        >>> Computed("numpy", "native").label
        'numpy native'
        """
        is_plain = self.arithmetic == "ordered"
        return self.backend if is_plain else f"{self.backend} {self.arithmetic}"


class Deviation(msgspec.Struct, frozen=True):
    """How far a benchmark's result was from the reference's.

    Attributes
    ----------
    equal : bool
        Whether all bits were the same.
    different, values : int
        How many values differed, out of how many.
    max_ulp : int or None
        The largest distance in representable steps; None where a NaN met a number.
    stated : {"A", "B", "C"}
        The class that the backend keeps: exact, exact but for subnormals, bounded.
    """

    equal: bool
    different: int
    values: int
    max_ulp: int | None
    stated: Literal["A", "B", "C"]


class Axis(msgspec.Struct, frozen=True):
    """The series that a benchmark is a point of, what grows along it, and how far it is here."""

    series: str
    name: Literal["samples", "width", "depth", "batch"]
    value: int


class Losses(msgspec.Struct, frozen=True):
    """The watched loss over a training run."""

    steps: tuple[int, ...]
    losses: tuple[float, ...]


class Work(Computed, frozen=True, kw_only=True):
    """What `benchmarks/` tells of one benchmark beside its times.

    Attributes
    ----------
    workload : str
        The work, in words; the same for all backends.
    kind : str
        The part of the library that is measured: "forward", "train step" and so on.
    sizes : tuple of int
        The layers' sizes, inputs first.
    batch : int
        Samples a step.
    dtype : str
        Of the numbers.
    multiply_adds : int
        Products in one step.
    samples : int
        Samples gone through in what is timed.
    agreement : Deviation
        From the reference.
    samples_per_second : float
        Samples gone through in a second, by the median of all rounds.
    visits : tuple of int
        How many rounds were taken at a time; other benchmarks' rounds lie between them.
    probes : tuple of float
        For each round, the seconds of a fixed piece of work around it.
    compile_cold_s, compile_cached_s : float or None
        Seconds that the first call of a process takes longer than the next, without and with the
        kernel cache; None where it was not measured.
    axis : Axis or None
        The series that it belongs to.
    losses : Losses or None
        The losses of a whole training.
    """

    workload: str
    kind: str
    sizes: tuple[int, ...]
    batch: int
    dtype: Literal["float32", "float64"]
    multiply_adds: int
    samples: int
    agreement: Deviation
    samples_per_second: float = 0.0
    visits: tuple[int, ...] = ()
    probes: tuple[float, ...] = ()
    compile_cold_s: float | None = None
    compile_cached_s: float | None = None
    axis: Axis | None = None
    losses: Losses | None = None


class Times(msgspec.Struct, frozen=True):
    """Seconds a step: of each round in the order they were taken, and their quartiles."""

    median: float
    q1: float
    q3: float
    data: tuple[float, ...] = ()


class Benchmark(msgspec.Struct, frozen=True):
    """One backend on one piece of work."""

    fullname: str
    stats: Times
    extra_info: Work

    @property
    def visits(self) -> list[tuple[float, float]]:
        """Of each visit, the medians of its rounds and of their probes; none if not saved."""
        data, probes = self.stats.data, self.extra_info.probes
        if len(data) != len(probes):
            return []
        ends = list(itertools.accumulate(self.extra_info.visits))
        return [
            (statistics.median(data[first:end]), statistics.median(probes[first:end]))
            for first, end in itertools.pairwise((0, *ends))
        ]


class Threads(msgspec.Struct, frozen=True):
    """How many threads each pool had."""

    blas: int
    numba: int


class Machine(msgspec.Struct, frozen=True):
    """Where and with what a run was made; the contract's version is 1 where none was saved."""

    cpu: str
    cores: int
    os: str
    python: str
    versions: dict[str, str]
    blas: str
    threads: Threads
    contract: int = 1


class MachineInfo(msgspec.Struct, frozen=True):
    """pytest-benchmark's own entry, of which only ours is read."""

    fcbackends: Machine


class Commit(msgspec.Struct, frozen=True):
    """The revision that was measured."""

    id: str
    dirty: bool = False


class Run(msgspec.Struct, frozen=True):
    """A saved run.

    Attributes
    ----------
    machine_info : MachineInfo
        Where it was made.
    commit_info : Commit
        Of which revision.
    benchmarks : tuple of Benchmark
        In the order in which they ran.
    datetime : str
        When, in UTC, as ISO 8601.
    """

    machine_info: MachineInfo
    commit_info: Commit
    benchmarks: tuple[Benchmark, ...]
    datetime: str

    @property
    def machine(self) -> Machine:
        """Where the run was made."""
        return self.machine_info.fcbackends


def load(name: str | None, argument: str = "RUN") -> Run:
    """Read a saved run.

    Parameters
    ----------
    name : str or None
        A file; or a run's number, or the beginning of its name, in the storage folder; None: the
        newest run there.
    argument : str
        What an error calls it.

    Raises
    ------
    ArgumentError
        Where there is no such run, it was not saved by `pytest benchmarks/`, or its bits follow a
        later version of the contract.
    """
    path = find(name, argument)
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        came = f"{str(path)!r}: {error.strerror}"
        raise ArgumentError(argument, "be a readable file", came) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        came = f"{str(path)!r}: {error}"
        raise ArgumentError(argument, "be a run saved by `pytest benchmarks/`", came) from None
    if run.machine.contract > CONTRACT_VERSION:
        required = f"be a run of the contract's version {CONTRACT_VERSION} or an older one"
        came = f"{str(path)!r} of version {run.machine.contract}"
        raise ArgumentError(argument, required, came)
    if not run.benchmarks:
        raise ArgumentError(argument, "be a run with benchmarks in it", f"none in {str(path)!r}")
    return run


def find(name: str | None, argument: str = "RUN") -> Path:
    """The file of the run that `load` reads for this name.

    Raises
    ------
    ArgumentError
        Where there is no such run.
    """
    if name is not None and Path(name).exists():
        return Path(name)
    files = STORAGE.glob("*/[0-9][0-9][0-9][0-9]_*.json")
    # Each Python has a folder and numbers of its own there.
    saved = sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))
    if name is None:
        if saved:
            return saved[-1]
        required = "be given, or found among what `pytest benchmarks/` saves"
        raise ArgumentError(argument, required, f"no run in {str(STORAGE)!r}")
    chosen = [path for path in saved if path.name.startswith(name)]
    if len(chosen) == 1:
        return chosen[0]
    there = ", ".join(path.stem for path in saved[-5:]) or "none"
    required = f"be a file, or a saved run of {str(STORAGE)!r} (the newest: {there})"
    many = f", which {len(chosen)} of them start with" if chosen else ""
    raise ArgumentError(argument, required, f"{name!r}{many}")
