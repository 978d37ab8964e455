"""Tables from CSV, Parquet, .npy and .npz files, or from standard input."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fcbackends.cli.delimited import label, read_delimited
from fcbackends.cli.form import STDIN, Form
from fcbackends.cli.npy import read_arrays, refuse_expanded
from fcbackends.errors import ArgumentError, listed
from fcbackends.files import readable

FORMATS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".npy": "npy", ".npz": "npz"}
SUFFIXES = tuple(FORMATS)


@dataclass(frozen=True)
class Table:
    """Rows and columns of a file.

    Attributes
    ----------
    frame : polars.DataFrame
        The values; of a .csv file, its cells as they are.
    names : tuple of str, or None
        The columns' names, where the file has names.
    targets : tuple of int, or None
        The target columns, where the file itself says which they are.
    form : Form
        How the file is written.
    """

    frame: pl.DataFrame
    names: tuple[str, ...] | None
    targets: tuple[int, ...] | None = None
    form: Form = field(default_factory=Form)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.frame.height

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.frame.width

    def label(self, column: int) -> str:
        """What error texts call a column."""
        return label(self.names, column)

    def called(self, column: int) -> str:
        """The column's name; without one, its position."""
        return self.names[column] if self.names and self.names[column] else str(column)

    def place(self, column: int, row: int) -> str:
        """What error texts call a value's place."""
        return f"{self.label(column)}, row {row + 1} of {self.rows}"

    def without(self, rows: NDArray[np.bool_]) -> Table:
        """The table without the rows for which `rows` is true."""
        return Table(self.frame.filter(~rows), self.names, self.targets, self.form)

    def select(self, option: str, texts: Sequence[str]) -> tuple[int, ...]:
        """The positions of columns given by names, indices and index ranges a:b.

        Each text is a name, or a list of names, indices and ranges with commas between them.

        Raises
        ------
        ArgumentError
            Where one of them names no column, or a column is named twice.
        """
        positions: list[int] = []
        for text in texts:
            items = [text] if text in (self.names or ()) else text.split(",")
            for item in items:
                positions += self._positions(option, item.strip())
        if len({*positions}) < len(positions):
            twice, _ = Counter(positions).most_common(1)[0]
            raise ArgumentError(option, "name each column once", f"{self.label(twice)} twice")
        return tuple(positions)

    def _positions(self, option: str, item: str) -> Sequence[int]:
        if self.names and item in self.names:
            return [self.names.index(item)]
        places = range(self.width)
        with contextlib.suppress(ValueError, IndexError):
            if ":" not in item:
                return [places[int(item)]]
            ends = [int(part) if part else None for part in item.split(":")]
            first, last = ends
            chosen = places[first:last]
            if chosen and all(-self.width <= (end or 0) <= self.width for end in ends):
                return chosen
        there = f"{listed(self.names)}, or " if self.names else ""
        there += f"an index from {-self.width} to {self.width - 1}, or a range a:b of these"
        raise ArgumentError(option, f"name columns that are there ({there})", repr(item))


def read_table(name: str, form: Form | None = None) -> Table:
    """Read a .csv, .tsv, .parquet, .npy or .npz file, or standard input ("-").

    Raises
    ------
    ArgumentError
        Where the file cannot be read as what its name or the form says, or has no rows.
    """
    form = form or Form()
    if name in STDIN and form.format is None:
        raise ArgumentError("--format", "say what standard input holds", "nothing")
    path = None if name == "-" else readable(name, "DATA")
    kind = form.format or (FORMATS.get(path.suffix.lower()) if path else None)
    if kind is None:
        required = f"end in {' or '.join(SUFFIXES)}, or come with `--format`"
        raise ArgumentError("DATA", required, repr(name))
    if kind != "csv":
        _refuse_options_of_csv(name, form)
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("rb")) if path else sys.stdin.buffer
            table = _read(file, kind, form)
    except (ArgumentError, MemoryError):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        # What a damaged or foreign file leads to in four readers is not to be listed.
        reason = str(error).partition("\n\n")[0] or type(error).__name__
        required = f"be a readable .{kind} file"
        raise ArgumentError("DATA", required, f"{name!r}: {reason}") from None
    if not table.rows or not table.width:
        raise ArgumentError("DATA", "have at least one row of numbers", f"none in {name!r}")
    return table


def _refuse_options_of_csv(name: str, form: Form) -> None:
    default = Form()
    for option, given in (
        ("--no-header" if form.header is False else "--header", form.header is not None),
        ("--separator", form.separator is not None),
        ("--decimal", form.decimal != default.decimal),
        ("--encoding", form.encoding != default.encoding),
        ("--comment", form.comment is not None),
    ):
        if given:
            raise ArgumentError(option, "come with a .csv file", repr(name))


def _read(file: IO[bytes], kind: str, form: Form) -> Table:
    if kind == "csv":
        frame, names = read_delimited(file.read(), form)
        return Table(frame, names, form=form)
    if file is sys.stdin.buffer or not file.seekable():
        file = io.BytesIO(file.read())
    if kind == "parquet":
        with _no_native_stderr():
            _refuse_large_parquet(file)
            _refuse_fatal_parquet(file)
            frame = pl.read_parquet(file)
        return Table(frame, tuple(frame.columns), form=form)
    return _array_table(file, form)


def _refuse_large_parquet(file: IO[bytes]) -> None:
    """A billion times the same value take some bytes."""
    scanned = pl.scan_parquet(file)
    rows, columns = scanned.select(pl.len()).collect().item(), len(scanned.collect_schema())
    refuse_expanded("DATA", rows, columns, file.seek(0, io.SEEK_END))
    file.seek(0)


_READING = "import sys, polars; polars.read_parquet(sys.argv[1:] or sys.stdin.buffer)"


def _refuse_fatal_parquet(file: IO[bytes]) -> None:
    """Have a process read it that may die of it: on some damaged files polars aborts."""
    named = [] if isinstance(file, io.BytesIO) else [file.name]
    content = None if named else file.read()
    reading = [sys.executable, "-c", _READING, *named]
    ended = subprocess.run(reading, input=content, capture_output=True).returncode
    if ended < 0:
        raise ValueError(f"damaged so that its reader ends with signal {-ended}")
    file.seek(0)


def _array_table(file: IO[bytes], form: Form) -> Table:
    arrays = read_arrays(file)
    frames = [
        pl.from_numpy(array, [f"{name}{column}" for column in range(array.shape[1])], orient="row")
        for name, array in zip("xt", arrays, strict=False)
    ]
    frame = pl.concat(frames, how="horizontal")
    targets = tuple(range(frames[0].width, frame.width)) or None
    return Table(frame, None, targets, form)


@contextlib.contextmanager
def _no_native_stderr() -> Iterator[None]:
    """Keep the panic messages of compiled code off stderr: the exception says the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
