"""`fcbackends predict MODEL DATA`: a trained network applied to a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fcbackends.cli.data import Table, read_table
from fcbackends.cli.form import Form
from fcbackends.cli.model import Model, load
from fcbackends.cli.targets import named
from fcbackends.errors import ArgumentError, printable
from fcbackends.files import apart, writable, write

SUFFIXES = (".csv", ".parquet", ".npy")


def predict_file(
    model_name: str,
    data: str,
    *,
    form: Form,
    unknown: str,
    probabilities: bool,
    keep: Sequence[str],
    out: str | None,
) -> None:
    """Write the predictions, in the targets' own units or classes, to a file or to stdout."""
    path = None if out is None else writable(out, "--out", SUFFIXES)
    suffix = path.suffix.lower() if path else ".csv"
    if keep and suffix == ".npy":
        raise ArgumentError("--keep", "come with a .csv or .parquet file", repr(out))
    apart([("--out", out)], [("MODEL", model_name), ("DATA", data)])
    model = load(model_name)
    if probabilities and not model.classes:
        got = f"one of numbers, trained on {model.loss}"
        raise ArgumentError("--probabilities", "come with a model of classes", got)
    table = read_table(data, form)
    carried = _carried(table, keep)
    x = model.inputs_in(table, zeros=unknown == "zeros")
    predicted = _predicted(model, x, probabilities)
    # What writes into a file itself hides that the disk is full in errors of its own.
    written = io.BytesIO()
    if path and suffix == ".npy":
        held = list(predicted.values())
        held = held[len(model.targets) :] if probabilities else held
        np.save(written, np.column_stack([_plain(series) for series in held]))
        write(path, written.getbuffer())
        return
    columns = {f"predicted_{n}" if n in carried else n: s for n, s in predicted.items()}
    for name in columns:
        if name in carried:
            raise ArgumentError("--keep", "name no column that a prediction is called", repr(name))
    frame = pl.DataFrame({**carried, **columns})
    if suffix == ".csv":
        frame.write_csv(written)
    else:
        frame.write_parquet(written)
    if path:
        write(path, written.getbuffer())
    else:
        _show(written.getvalue())


def _show(csv: bytes) -> None:
    """Write to stdout, to a pipe or a file the very bytes that `--out` writes."""
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None or sys.stdout.isatty():
        print("\n".join(map(printable, csv.decode().splitlines())))
    else:
        sys.stdout.flush()
        stream.write(csv)
        stream.flush()


def _predicted(model: Model, x: NDArray[np.float64], probabilities: bool) -> dict[str, pl.Series]:
    """The columns of the prediction, by name."""
    y = model.predict(x)
    if not model.classes:
        return dict(zip(model.target_names, map(pl.Series, y.T), strict=True))
    columns = {
        target: named(codes, classes)
        for target, codes, classes in zip(
            model.target_names, model.codes(y).T, model.classes, strict=True
        )
    }
    if probabilities:
        names: Sequence[str] = model.target_names
        if len(model.classes) == 1:
            names = model.classes[0] if model.loss == "cross_entropy" else model.classes[0][1:]
        p = model.probabilities(x)
        columns |= {f"p_{name}": pl.Series(p[:, i]) for i, name in enumerate(names)}
    return columns


def _plain(series: pl.Series) -> NDArray[Any]:
    """An array that a file can hold without pickling."""
    if series.dtype == pl.String:
        return np.array(series.to_list())
    return series.to_numpy()


def _carried(table: Table, keep: Sequence[str]) -> dict[str, pl.Series]:
    """The columns to write as they are, by name; without names, by position."""
    return {
        table.names[column] if table.names else f"x{column}": table.frame.to_series(column)
        for column in table.select("--keep", keep)
    }
