"""Files in which something is wrong, and those that are right beside them."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

import fcbackends as fcb

CSV = {
    "ok": "a,b,y\n1,2,3\n4,5,6\n7,8,10\n2,2,1\n",
    "long": "a,b\n1,2\n\n3,4,5\n",
    "short": "a,b\n1,2\n3\n",
    "numbers": "1,-2e3\n3,4\n",
    "gap": "1,,3\n4,5,6\n",
    "text": "1,2,x3\n4,5,6\n",
    "unnamed": ",b,y\n1,2,3\n",
    "words": "a,kind,y\n1,,3\n1,x,3\n",
    "nan": "a,y\n1,2\nNaN,3\n",
    "inf": "a,y\n1,2\n4,-inf\n",
    "large": "a,y\n1,2\n4,1e999\n",
    "missing": "a,y\n1,2\n ,3\n",
    "empty": "",
    "lines": "\n\r\n",
    "header": "a,b\n",
    "twice": "a,b,a\n1,2,3\n",
    "one": "a\n1\n2\n",
    "quote": 'a,b\n1,"2\n3,4\n',
    "semicolons": "a;b\n1;2\n",
    "tiny": "a,y\n1e200,1\n-1e200,2\n",
}


def write_files(folder):
    """One file of each kind of trouble."""
    for name, text in CSV.items():
        (folder / f"{name}.csv").write_text(text)
    (folder / "bytes.csv").write_bytes(bytes(range(128, 256)) * 4)
    (folder / "data.txt").write_text("1")
    (folder / "folder.csv").mkdir()
    (folder / "folder.safetensors").mkdir()
    for suffix in ("parquet", "npy", "npz", "safetensors"):
        (folder / f"foreign.{suffix}").write_text("hello, hello, hello")
    parquet = {
        "ok": {"a": [1.0, 2.0], "y": [3.0, 1.0]},
        "null": {"a": [1.0, 2.0], "y": [None, 1.0]},
        "words": {"a": [1.0, 2.0], "d": ["p", "q"]},
        "days": {"a": [date(2024, 1, 5), date(2024, 1, 6)], "d": [1, 2]},
        "none": {"a": [], "y": []},
    }
    for name, columns in parquet.items():
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    arrays = {
        "ok": np.arange(12.0).reshape(4, 3),
        "line": np.arange(3.0),
        "complex": np.ones((3, 2), complex),
        "texts": np.array([["a", "b"]]),
        "object": np.array([[1, None]], dtype=object),
        "nan": np.array([[1, 2], [3, np.nan]]),
        "none": np.ones((0, 3)),
        "large": np.array([[1e300, 1.0], [2e300, 3.0]]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    x, t = np.ones((4, 2)), np.ones(4)
    archives = {
        "ok": {"x": x, "t": t},
        "rows": {"x": x, "t": t[:3]},
        "names": {"a": x, "b": t},
        "cube": {"x": np.ones((2, 2, 2)), "t": t},
        "untargeted": {"x": x, "t": np.ones((4, 0))},
        "nothing": {},
    }
    for name, members in archives.items():
        np.savez(folder / f"{name}.npz", **members)
    write_models(folder)
    for name in ("ok.parquet", "ok.npy", "ok.npz", "ok.safetensors"):
        content = (folder / name).read_bytes()
        (folder / f"cut{Path(name).suffix}").write_bytes(content[: len(content) * 2 // 3])


def write_models(folder):
    w, b = np.ones((2, 1)), np.ones(1)
    about = {"version": 1, "names": ["a", "b", "y"], "targets": [2]}
    tensors = {"layer0.w": w, "layer0.b": b}
    models = {
        "ok": (tensors, about),
        "bare": (tensors, None),
        "newer": (tensors, {"version": 4}),
        "contract": (tensors, {**about, "contract": fcb.CONTRACT_VERSION + 1}),
        "layerless": ({}, about),
        "biasless": ({"layer0.w": w}, about),
        "misfit": ({**tensors, "layer1.w": np.ones((3, 1)), "layer1.b": b}, about),
        "halves": ({"layer0.w": w.astype("float16"), "layer0.b": b.astype("float16")}, about),
        "misnamed": (tensors, {**about, "names": ["a", "y"]}),
        "mistargeted": (tensors, {**about, "targets": [7]}),
        "misscaled": ({**tensors, "inputs.mean": b, "inputs.scale": b}, about),
        "numbers": (tensors, 7),
    }
    for name, (arrays, text) in models.items():
        metadata = None if text is None else {"fcbackends": json.dumps(text)}
        save_file(arrays, folder / f"{name}.safetensors", metadata=metadata)


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
