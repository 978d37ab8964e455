"""How many CPUs this process may use, by its affinity, its control groups and OMP_NUM_THREADS."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MANY = 2**20


def usable_cpus() -> int:
    """The least of the CPUs of the affinity, what control groups grant, and OMP_NUM_THREADS.

    The affinity is read at each call, the others once.
    """
    return min(_affinity(), _granted())


def _affinity() -> int:
    # From 3.13 on it knows what `python -X cpu_count` says as well.
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _of_openmp() -> int | None:
    """OMP_NUM_THREADS, of several levels the first; None where it is no count."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


@functools.cache
def _granted() -> int:
    of_groups = granted_cpus(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    limits = (_MANY, of_groups, _of_openmp())
    return min(limit for limit in limits if limit is not None)


def granted_cpus(membership: Path, root: Path) -> int | None:
    """The whole CPUs, at least one, that Linux's control groups grant; None without a limit.

    `membership` is a file as /proc/self/cgroup, and `root` a folder as /sys/fs/cgroup. A group may
    use no more than each one above it; files that are not there, or hold something else, limit
    nothing.
    """
    try:
        lines = membership.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    shares = [share for line in lines for share in _shares(line, root)]
    return max(1, int(min(shares))) if shares else None


def _shares(line: str, root: Path) -> Iterator[float]:
    """The shares of CPUs, each a quota over its period, along one line of the membership."""
    _, controllers, group = (*line.split(":", 2), "", "")[:3]
    names: tuple[str, ...] = ("cpu.max",)
    if not controllers:
        base = root
    elif "cpu" in controllers.split(","):
        base, names = root / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    else:
        return
    # In a container the path may be the host's, which is not there: its own group is the root.
    inner = PurePosixPath(group.lstrip("/"))
    for folder in (inner, *inner.parents):
        try:
            words = " ".join((base / folder / name).read_text() for name in names).split()
            quota, period = map(int, words)
        except (OSError, ValueError):
            continue  # "max 100000" is no limit either
        if quota > 0 and period > 0:
            yield quota / period
