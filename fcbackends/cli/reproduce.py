"""`fcbackends reproduce`: a recorded run repeated, and its bits compared."""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import fcbackends as fcb
from fcbackends.cli import values
from fcbackends.cli.data import read_table
from fcbackends.cli.fit import STOPPED
from fcbackends.cli.fitting import fitting_of
from fcbackends.cli.form import Form
from fcbackends.cli.recorded import OF_BITS, options_in
from fcbackends.report.terminal import print_table
from fcbackends.training.provenance import machine, versions
from fcbackends.training.records import Record, read, understood
from fcbackends.training.reproduction import repeated


def reproduce_file(name: str, data: str, backend: str | None, train: click.Command) -> int:
    """Repeat a record's run on a file; 0 where the bits are the same, else 1.

    Raises
    ------
    ArgumentError
        Where the record or the file is refused, or the file's arrays are not the record's.
    """
    record = read(name, "RECORD")
    chosen = backend or record.backend
    if record.command is None:
        found = _on_arrays(record, data, chosen)
    else:
        found = _by_command(record, data, chosen, train)
    used = fcb.get_backend(chosen, arithmetic=record.options["arithmetic"])
    last = f"{found.steps}, {STOPPED.get(record.outcome['stop_reason'], 'stopped')} in the record"
    rows = [
        ("record", name),
        ("backend", f"{used.name}, {used.arithmetic}, {record.options['dtype']}"),
        ("steps", last),
        ("same bits", "yes" if found.equal else "no"),
    ]
    if found.first_difference:
        rows.append(
            ("parted", "after step {}, at or before step {}".format(*found.first_difference))
        )
    if found.reason:
        rows.append(("note" if found.equal else "reason", found.reason))
    if not found.equal:
        rows += _other_versions(record, used)
    if found.result:
        rows.append(("digest", fcb.digest(found.result.params)))
    print_table(rows)
    return 0 if found.equal else 1


def _by_command(record: Record, data: str, backend: str, train: click.Command) -> fcb.Reproduction:
    """The command of a record again, but for what it wrote."""
    with understood(record.name, "RECORD"):
        words = options_in(record.command or (), train)

    def work(data: str, **how: Any) -> fcb.Reproduction:
        own = {name: how[name] for name in how if name in {*OF_BITS, "form", "columns"}}
        fitting = fitting_of(data, **own)
        return repeated(
            record,
            lambda repetition: fitting.train(record=repetition),
            fitting.prepared_by,
        )

    chosen = ["--backend", backend, "--arithmetic", record.options["arithmetic"]]
    with train.make_context("train", [*words, *chosen, "--", data], obj=work) as ctx:
        return train.invoke(ctx)


def _on_arrays(record: Record, data: str, backend: str) -> fcb.Reproduction:
    """A run that a program made, on the arrays of a file."""
    has = [
        *(name for name in ("sample_weight", "params") if record.data.get(name)),
        *(["validation data"] if record.options["validation"] == "(x, t)" else []),
        *(["a callback"] if record.options["callback"] else []),
    ]
    if has:
        required = (
            "be of a command, or of data x and t alone (from Python, `fcbackends.reproduce` takes "
            "the rest)"
        )
        raise fcb.ArgumentError("RECORD", required, f"one with {', '.join(has)}")
    x, t = arrays_of(record, data)
    try:
        return fcb.reproduce(record.name, x, t, backend=backend)
    except fcb.ArgumentError as error:
        raise error.renamed({"x": "DATA", "t": "DATA"}) from None


def arrays_of(record: Record, data: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """x and t of a file; t is the last columns, as many as the record's has, or the classes."""
    table = read_table(data, Form())
    is_of_classes = record.options["loss"] == "cross_entropy"
    width = len(table.targets or [0])
    if not (table.targets or is_of_classes):
        shape = record.data["t"]["shape"]
        width = shape[1] if len(shape) == 2 else 1
    columns = range(table.width)
    if not 0 < width < table.width:
        required = f"have columns of x, and {width} of t"
        raise fcb.ArgumentError("DATA", required, f"{table.width} columns")
    t = values.numbers(table, columns[table.width - width :])
    x = values.numbers(table, columns[: table.width - width])
    return x, t[:, 0].astype(np.int64) if is_of_classes and width == 1 else t


def _other_versions(record: Record, backend: fcb.Backend) -> list[tuple[str, str]]:
    """What is not here as it was where the record was made."""
    here = {**versions(backend), **machine(), "backend": backend.name}
    there = {
        **record.made_with["versions"],
        **record.made_with["machine"],
        "backend": record.backend,
    }
    return [
        (name, f"{there[name]} in the record, {here.get(name, 'none')} here")
        for name in there
        if there[name] != here.get(name)
    ]
