"""Files of every kind made of valid ones: a file is a function of kind, seed and number."""

import contextlib
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

from tests.cli.troubles import CSV
from tests.report import samples

KINDS = ("csv", "parquet", "npy", "npz", "model", "run")

_NUMBERS = (0, 1, -1, 2, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64)
_VALUES = (
    *_NUMBERS, -(2**63), 10**40, 1e-320, 1e308, -0.0, 0.5, float("nan"), float("inf"), None, True,
    "", "x", "\x1b[2J\x07", "\u202e\u200b", "\ud800", "\0", "a\nb", "y" * 10_000, "<script>",
    [], {}, [[]], [None], {"a": {}}, [1, 2, 3], [0.0] * 40, list(range(1000)),
)  # fmt: skip
_DTYPES = ("<f8", ">f4", "<f2", "|i1", "<u8", "|b1", "<c16", "|O", "<U3", "|S0", "<M8[s]", "|V8")


def seeds(kind):
    """Valid files of a kind, small and of several forms."""
    rng = np.random.default_rng(0)
    array = np.round(rng.normal(size=(12, 3)), 3)
    if kind == "csv":
        words = "a;b;kind;y\n" + "".join(f"{i};{i * i},5;{'uvw'[i % 3]};{i}\n" for i in range(12))
        quoted = '"a, b",y\n"1",2\n"3 ",4\n\n5,6\n'
        texts = (CSV["ok"], words, quoted, CSV["semicolons"], "a b c\n1 2 3\n4 5 6\n", CSV["gap"])
        return [text.encode() for text in texts] + ["ä,y\n1,2\n3,5\n".encode("utf-16")]
    if kind == "parquet":
        frame = pl.DataFrame({"a": array[:, 0], "k": list("uvw") * 4, "n": range(12)})
        frame = frame.with_columns(pl.Series("y", [None, *array[1:, 1]]), b=pl.lit(True))
        compressions = ("uncompressed", "snappy", "zstd", "gzip", "lz4", "brotli")
        written = [io.BytesIO() for _ in compressions]
        for file, compression in zip(written, compressions, strict=True):
            frame.write_parquet(file, compression=compression)
        return [file.getvalue() for file in written]
    if kind == "npy":
        return [_npy(a) for a in (array, np.asfortranarray(array), array.astype(">f4"), array > 0)]
    if kind == "npz":
        members = {"x": array, "t": array[:, 0]}
        return [_npz(members), _npz(members, zipfile.ZIP_STORED), _npz({"arr_0": array})]
    if kind == "run":
        return [json.dumps(small_run(series)).encode() for series in (False, True)]
    return [Path(name).read_bytes() for name in ("ok.safetensors", "classes.safetensors")]


def small_run(series):
    """A run in which most values are such that something is said of them."""
    axes = [{"series": "s", "name": "width", "value": value} for value in (4, 8)]
    losses = {"steps": [1, 2, 3], "losses": [1.0, 0.5, 0.0]}
    saved = samples.run(
        *(
            samples.benchmark(f"w{i}", *who, seconds=1e-5 * (1 + i), **extra)
            for i, extra in enumerate(
                ({"axis": a} for a in axes) if series else ({"losses": losses},)
            )
            for who in samples.BACKENDS[::2]
        )
    )
    for benchmark in saved["benchmarks"]:
        stats, work = benchmark["stats"], benchmark["extra_info"]
        benchmark["stats"] = {name: stats[name] for name in ("median", "q1", "q3")}
        benchmark["stats"]["data"] = stats["data"][:4]
        work |= {"visits": [2, 2], "probes": work["probes"][:4]}
        for name in ("group", "params", "param", "options"):
            del benchmark[name]
    return saved


def case(kind, seed, number):
    """The content of a file."""
    rng = np.random.default_rng([KINDS.index(kind), seed, number])
    choices = seeds(kind)
    content = choices[rng.integers(len(choices))]
    structured = {"npy": _other_npy, "npz": _other_npz, "model": _other_model, "run": _other_json}
    whole = kind in structured and rng.random() < 0.7
    if whole:
        content = structured[kind](rng, content)
    if not whole or rng.random() < 0.1:
        for _ in range(rng.integers(1, 5)):
            content = _other_bytes(rng, content, choices)
    return content


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(arrays, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", _npy(array))
    return file.getvalue()


def _other_bytes(rng, content, others):
    """One of the changes that know nothing of the format."""
    content = bytearray(content)
    first, last = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    other = others[rng.integers(len(others))]
    match rng.integers(8):
        case 0:
            del content[first:]
        case 1:
            del content[first : min(last, first + 20)]
        case 2:
            content[first:first] = content[first:last] * int(rng.integers(1, 4))
        case 3:
            begin = rng.integers(0, len(other))
            content[first:last] = other[begin : begin + int(rng.integers(1, 200))]
        case 4:
            content[first:first] = bytes(rng.integers(0, 256, rng.integers(1, 9)).tolist())
        case 5:
            number = _NUMBERS[rng.integers(len(_NUMBERS))] % 2**64
            width = (1, 2, 4, 8)[rng.integers(4)]
            raw = (number % 256**width).to_bytes(width, ("little", "big")[rng.integers(2)])
            content[first : first + width] = raw
        case _:
            for place in rng.integers(0, max(1, len(content)), rng.integers(1, 6)).tolist():
                content[place : place + 1] = bytes([rng.integers(256)])
    return bytes(content)


def _exchanged(rng, document):
    """The document with some values exchanged, taken out, or put one into the other."""
    document = json.loads(json.dumps(document))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = document
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = keys[rng.integers(len(keys))]
            if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.95:
                at = at[key]
                continue
            is_number = isinstance(at[key], int | float) and rng.random() < 0.7
            match 4 if is_number else rng.integers(6):
                case 0:
                    del at[key]
                case 1 if isinstance(at, dict):
                    at[f"{key}x"] = at.pop(key)
                case 2:
                    at[key] = [at[key]]
                case 3 if isinstance(at, list):
                    at.insert(key, at[key])
                case 4 if isinstance(at[key], int | float):
                    at[key] = (*_NUMBERS, 1e40, 1e-40, 1e300, 0.0, -1e-3)[rng.integers(18)]
                case _:
                    at[key] = _VALUES[rng.integers(len(_VALUES))]
            break
    return document


def _as_json(rng, document):
    text = json.dumps(_exchanged(rng, document))
    if rng.random() < 0.05:
        deep = int(10 ** rng.uniform(2, 6))
        text = text.replace(": ", ": " + "[" * deep + "]" * deep + "," * int(rng.integers(2)), 1)
    return text.encode()


def _other_json(rng, content):
    return _as_json(rng, json.loads(content))


def _other_npy(rng, content):
    """Another header before the same values."""
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    about = {"descr": dtype.str, "fortran_order": fortran, "shape": shape}
    sizes = [*shape, *_NUMBERS, 10**12, 10**30, 3, 12]
    match rng.integers(4):
        case 0:
            count = rng.integers(0, 4)
            about["shape"] = tuple(sizes[rng.integers(len(sizes))] for _ in range(count))
        case 1:
            about["descr"] = _DTYPES[rng.integers(len(_DTYPES))]
        case 2:
            about["fortran_order"] = not fortran
        case _:
            key = list(about)[rng.integers(3)]
            about[key] = _VALUES[rng.integers(len(_VALUES))]
    text = repr(about).encode("utf-8", "replace")
    if rng.random() < 0.1:
        text = b"(" * int(rng.integers(1, 9000)) + text
    version = b"\x02\x00" if rng.random() < 0.2 else b"\x01\x00"
    length = struct.pack("<I" if version == b"\x02\x00" else "<H", min(len(text), 65535))
    return b"\x93NUMPY" + version + length + text + file.read()


def _other_npz(rng, content):
    """Other arrays, under other names, zeros after them, in an archive that is whole."""
    names = ("x", "t", "arr_0", "../x", "/x", "x.npy", "\u202ex", "x\x1b[2J", "")
    file = io.BytesIO()
    methods = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            array, name = old.read(info), info.filename
            if rng.random() < 0.7:
                array = _other_npy(rng, array)
            if rng.random() < 0.2:
                array += bytes(int(10 ** rng.uniform(3, 7.5)))
            if rng.random() < 0.2:
                name = names[rng.integers(len(names))] + ".npy"
            method = methods[rng.integers(4)] if rng.random() < 0.2 else zipfile.ZIP_DEFLATED
            with contextlib.suppress(UserWarning):
                new.writestr(name, array, method)
    return file.getvalue()


def _other_model(rng, content):
    """Another header, or other metadata in it."""
    length = int.from_bytes(content[:8], "little")
    about = json.loads(content[8 : 8 + length])
    if rng.random() < 0.7:
        inner = json.loads(about["__metadata__"]["fcbackends"])
        about["__metadata__"]["fcbackends"] = _as_json(rng, inner).decode()
        text = json.dumps(about).encode()
    else:
        text = _as_json(rng, about)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
