"""Saved benchmark runs: the files that pytest-benchmark writes, with what `benchmarks/` adds."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from fcbackends.errors import ArgumentError
from fcbackends.maths import CONTRACT_VERSION

STORAGE = Path(".benchmarks")
"""Where pytest-benchmark keeps its runs, in the folder that it was started in."""


_LARGEST_FILE = 2**28
"""Bytes; a run of the whole grid, every round of it kept, has some million."""

# What a run says of itself is shown and computed with: texts of one line in which nothing is for a
# terminal to obey, and numbers of which ratios and logarithms are finite.
_UNSHOWN = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_Text: TypeAlias = Annotated[str, Meta(max_length=1000, pattern=f"^[^{_UNSHOWN}]*$")]
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=10**18)]
_Size: TypeAlias = Annotated[int, Meta(ge=1, le=10**18)]
_Seconds: TypeAlias = Annotated[float, Meta(gt=1e-15, lt=1e15)]


class Computed(msgspec.Struct, frozen=True):
    """What computed: a backend, in an arithmetic."""

    backend: _Text
    arithmetic: _Text

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
    different: _Count
    values: _Count
    max_ulp: Annotated[int, Meta(ge=0)] | None
    stated: Literal["A", "B", "C"]

    def __post_init__(self) -> None:
        """Refuse a distance that is none; what `Meta` compares with has 63 bits at most."""
        if self.max_ulp is not None and self.max_ulp > 2**64:
            raise ValueError("a distance of more steps than there are")


class Axis(msgspec.Struct, frozen=True):
    """The series that a benchmark is a point of, what grows along it, and how far it is here."""

    series: _Text
    name: Literal["samples", "width", "depth", "batch"]
    value: _Size


class Losses(msgspec.Struct, frozen=True):
    """The watched loss over a training run."""

    steps: tuple[_Count, ...]
    losses: tuple[Annotated[float, Meta(ge=0, le=1e300)], ...]

    def __post_init__(self) -> None:
        """Refuse other numbers of steps and losses."""
        if len(self.steps) != len(self.losses):
            raise ValueError(f"{len(self.steps)} steps and {len(self.losses)} losses")


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

    workload: _Text
    kind: _Text
    sizes: tuple[_Count, ...]
    batch: _Count
    dtype: Literal["float32", "float64"]
    multiply_adds: _Count
    samples: _Count
    agreement: Deviation
    samples_per_second: Annotated[float, Meta(ge=0, lt=1e30)] = 0.0
    visits: tuple[_Size, ...] = ()
    probes: tuple[_Seconds, ...] = ()
    compile_cold_s: Annotated[float, Meta(ge=0, lt=1e15)] | None = None
    compile_cached_s: Annotated[float, Meta(ge=0, lt=1e15)] | None = None
    axis: Axis | None = None
    losses: Losses | None = None


class Times(msgspec.Struct, frozen=True):
    """Seconds a step: of each round in the order they were taken, and their quartiles."""

    median: _Seconds
    q1: _Seconds
    q3: _Seconds
    data: tuple[_Seconds, ...] = ()


class Benchmark(msgspec.Struct, frozen=True):
    """One backend on one piece of work."""

    fullname: _Text
    stats: Times
    extra_info: Work

    def __post_init__(self) -> None:
        """Refuse visits of other rounds than those that were kept."""
        rounds, visits = len(self.extra_info.probes), self.extra_info.visits
        if sum(visits) != rounds:
            raise ValueError(f"visits of {sum(visits)} rounds with {rounds} probes")

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

    blas: _Count
    numba: _Count


class Machine(msgspec.Struct, frozen=True):
    """Where and with what a run was made; the contract's version is 1 where none was saved."""

    cpu: _Text
    cores: _Count
    os: _Text
    python: _Text
    versions: dict[_Text, _Text]
    blas: _Text
    threads: Threads
    contract: _Count = 1


class MachineInfo(msgspec.Struct, frozen=True):
    """pytest-benchmark's own entry, of which only ours is read."""

    fcbackends: Machine


class Commit(msgspec.Struct, frozen=True):
    """The revision that was measured."""

    id: _Text
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
    benchmarks: Annotated[tuple[Benchmark, ...], Meta(max_length=10_000)]
    datetime: _Text

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
        Where there is no such run, it was not saved by `pytest benchmarks/`, a text or a number in
        it is none that a run can have, or its bits follow a later version of the contract.
    """
    path = find(name, argument)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise ValueError(f"more than {_LARGEST_FILE:,} bytes")
        run = msgspec.json.decode(content, type=Run)
    except OSError as error:
        came = f"{str(path)!r}: {error.strerror}"
        raise ArgumentError(argument, "be a readable file", came) from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
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
