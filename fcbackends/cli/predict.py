"""`fcbackends predict MODEL DATA`: a trained network applied to a file."""

from __future__ import annotations

import numpy as np
import polars as pl

from fcbackends.cli.data import read_table
from fcbackends.cli.model import load
from fcbackends.files import apart, replacing, writable

SUFFIXES = (".csv", ".parquet", ".npy")


def predict_file(model_name: str, data: str, header: bool | None, out: str | None) -> None:
    """Write the predictions, in the targets' own units, to a file or as CSV to stdout."""
    path = writable(out, "--out", SUFFIXES) if out else None
    apart([("--out", out)], [("MODEL", model_name), ("DATA", data)])
    model = load(model_name)
    table = read_table(data, header)
    y = model.predict(table.numbers(model.columns_in(table)))
    frame = pl.DataFrame(dict(zip(model.target_names, y.T, strict=True)))
    if path is None:
        print(frame.write_csv(), end="")
        return
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            frame.write_csv(temporary)
        elif path.suffix.lower() == ".parquet":
            frame.write_parquet(temporary)
        else:
            with temporary.open("wb") as file:
                np.save(file, y)
