"""Processes that work on request: started, asked line by line, and killed at the end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Ask: TypeAlias = Callable[..., Any]
"""ask(name, argument=value...): has a worker call its function of that name; returns the result."""


class WorkerError(Exception):
    """A worker's function has raised; the text is its error, by name."""


class WorkerEndedError(Exception):
    """A worker is no longer there; the text is the last line that it wrote on stderr."""


@contextlib.contextmanager
def worker(program: Path, environment: Mapping[str, str] | None = None) -> Iterator[Ask]:
    """A Python program that serves, in a process of its own: see `benchmarks/service.py`.

    Parameters
    ----------
    program : Path
        Its file.
    environment : mapping, optional
        What its environment has beside this process's.

    Yields
    ------
    callable
        Asks it, and waits for its answer; raises `WorkerError` and `WorkerEndedError`.
    """
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def ask(name: str, /, **arguments: Any) -> Any:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps([name, arguments]), file=requests, flush=True)
            line = answers.readline()
            if not line:
                stderr.seek(0)
                *_, reason = ["no reason given", *stderr.read().splitlines()]
                raise WorkerEndedError(reason)
            result, error = json.loads(line)
            if error:
                raise WorkerError(error)
            return result

        try:
            yield ask
        finally:
            process.kill()
            process.communicate()
