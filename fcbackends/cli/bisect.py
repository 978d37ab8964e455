"""`fcbackends bisect`: the first step at which two runs part, on the data of a file."""

from __future__ import annotations

from typing import Any

import click

import fcbackends as fcb
from fcbackends.cli.fitting import fitting_of
from fcbackends.cli.recorded import OF_BITS, options_in
from fcbackends.cli.reproduce import arrays_of
from fcbackends.differences.finding import is_backend_name
from fcbackends.report.terminal import print_table
from fcbackends.training.records import Record, read, understood


def bisect_files(a: str, b: str, data: str, train: click.Command) -> int:
    """Compare two records, or a record and a backend; 0 where nothing differs, else 1.

    Raises
    ------
    ArgumentError
        Where a record or the file is refused, or the file's arrays are not the records'.
    """
    names = {"A": a, "B": b}
    records = {
        argument: read(name, argument)
        for argument, name in names.items()
        if not is_backend_name(name)
    }
    if not records:
        required = "be a record, of which the other side is to repeat the run"
        raise fcb.ArgumentError(("A", "B"), required, {"A": repr(a), "B": repr(b)})
    argument, record = next(iter(records.items()))
    if record.command is None:
        has = [name for name in ("sample_weight", "params") if record.data.get(name)]
        if has:
            required = (
                "be of a command, or of data x and t alone (from Python, "
                "`fcbackends.first_difference` takes the rest)"
            )
            raise fcb.ArgumentError(argument, required, f"one with {', '.join(has)}")
        x, t = arrays_of(record, data)
        given: dict[str, Any] = {}
    else:
        x, t, given = _by_command(argument, record, data, train)
    try:
        found = fcb.first_difference(a, b, x, t, **given)
    except fcb.ArgumentError as error:
        arrays = ("x", "t", "params", "sample_weight", "validation")
        renamed = {"a": "A", "b": "B", **dict.fromkeys(arrays, "DATA")}
        raise error.renamed(renamed) from None
    if found is None:
        print_table([("A", a), ("B", b), ("same bits", "yes")])
        return 0
    print_table([("A", a), ("B", b), ("same bits", "no"), *found.rows()])
    return 1


def _by_command(
    argument: str, record: Record, data: str, train: click.Command
) -> tuple[Any, Any, dict[str, Any]]:
    """The arrays that the command of a record made of a file."""
    with understood(record.name, argument):
        words = options_in(record.command or (), train)

    def work(data: str, **how: Any) -> Any:
        own = {name: how[name] for name in how if name in {*OF_BITS, "form", "columns"}}
        fitting = fitting_of(data, **own)
        part = fitting.prepared.parts["training"]
        assert part is not None
        return part.x, part.t, {"params": fitting.model.params}

    with train.make_context("train", [*words, "--", data], obj=work) as ctx:
        found: tuple[Any, Any, dict[str, Any]] = train.invoke(ctx)
    return found
