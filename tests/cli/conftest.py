"""Ways to run the command line: in this process, and as users do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import fcbackends
from fcbackends.cli import main
from tests.cli.troubles import contents, write_files


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    def value(self, name):
        """What the report says in the line that starts with `name`."""
        line = next(line for line in self.out.splitlines() if line.startswith(name + " "))
        return line[len(name) :].strip()


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    """Run `fcbackends` in this process, in an empty folder: a line, and more words as they are."""
    monkeypatch.chdir(tmp_path)

    def run(line, *more):
        status = main([*line.split(), *map(str, more)])
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def start(tmp_path):
    """Start `python -m fcbackends` in an empty folder; what still runs at the end is killed.

    `by` are the words of a program that starts it.
    """
    source = str(Path(fcbackends.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    started = []

    def run(line, *, env=None, by=(), **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen(
            [*by, sys.executable, "-m", "fcbackends", *line.split()],
            cwd=tmp_path,
            env={**environment, **(env or {})},
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def troubles(tmp_path_factory):
    """A folder of files in which something is wrong, and what is in it."""
    folder = tmp_path_factory.mktemp("troubles")
    write_files(folder)
    return folder, contents(folder)
