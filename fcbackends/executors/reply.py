"""What a worker says of a task, and who it is."""

from __future__ import annotations

import os
import platform
from typing import Any, NamedTuple


class Where(NamedTuple):
    """A process that works: its machine's name, the kind of its CPU, and its number there."""

    host: str
    cpu: str
    process: int


class Reply(NamedTuple):
    """What came of a task.

    Attributes
    ----------
    said : {"done", "no data", "not here"}
        Whether it was done, or why not.
    where : Where
        The worker.
    content : bytes, or any picklable object
        What it made.
    seconds : float
        What that took, compilation left out.
    busy : float
        What all took.
    """

    said: str
    where: Where
    content: Any = b""
    seconds: float = 0.0
    busy: float = 0.0


def where() -> Where:
    """The process that asks."""
    from llvmlite import binding

    cpu = f"{binding.get_host_cpu_name()} {platform.machine()}"
    return Where(platform.node(), cpu, os.getpid())
