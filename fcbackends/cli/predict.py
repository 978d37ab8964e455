"""`fcbackends predict MODEL DATA`: a trained network applied to a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from fcbackends.cli.data import Table, read_table
from fcbackends.cli.form import Form
from fcbackends.cli.model import load
from fcbackends.errors import ArgumentError
from fcbackends.files import apart, replacing, writable

SUFFIXES = (".csv", ".parquet", ".npy")


def predict_file(
    model_name: str, data: str, *, form: Form, unknown: str, keep: Sequence[str], out: str | None
) -> None:
    """Write the predictions, in the targets' own units, to a file or as CSV to stdout."""
    path = writable(out, "--out", SUFFIXES) if out else None
    suffix = path.suffix.lower() if path else ".csv"
    if keep and suffix == ".npy":
        raise ArgumentError("--keep", "come with a .csv or .parquet file", repr(out))
    apart([("--out", out)], [("MODEL", model_name), ("DATA", data)])
    model = load(model_name)
    table = read_table(data, form)
    carried = _carried(table, keep)
    y = model.predict(model.inputs_in(table, zeros=unknown == "zeros"))
    names = [f"predicted_{name}" if name in carried else name for name in model.target_names]
    frame = pl.DataFrame({**carried, **dict(zip(names, y.T, strict=True))})
    if path is None:
        print(frame.write_csv(), end="")
        return
    with replacing(path) as temporary:
        if suffix == ".csv":
            frame.write_csv(temporary)
        elif suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            with temporary.open("wb") as file:
                np.save(file, y)


def _carried(table: Table, keep: Sequence[str]) -> dict[str, pl.Series]:
    """The columns to write as they are, by name; without names, by position."""
    return {
        table.names[column] if table.names else f"x{column}": table.frame.to_series(column)
        for column in table.select("--keep", keep)
    }
