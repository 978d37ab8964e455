"""Files made to do harm: they are refused in one line, in little memory, and run nothing."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fcbackends as fcb
from fcbackends.cli import npy
from fcbackends.cli.data import read_table
from fcbackends.cli.values import numbers
from tests.cli.troubles import CSV

REPORT = "\x1b]0;owned\x07\x1b[2J"
"""Sets a terminal's title, and clears it."""

STRANGE = {
    "escapes": REPORT,
    "a bell and a backspace": "a\x07\x08b",
    "C1 controls": "a\x9b31mb",
    "text that turns": "a\u202egnp.exe\u2069",
    "no width": "a\u200b\u200d\ufeffb",
    "line ends": "a\u2028b\x85c",
}


def header(shape, dtype="<f8", fortran=False):
    """The beginning of an .npy file that declares such an array."""
    written = io.BytesIO()
    about = {"descr": dtype, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(written, about)
    return written.getvalue()


def archive(name, *members, method=zipfile.ZIP_DEFLATED, zeros=0):
    """An .npz file of (name, header); `zeros` bytes follow the header of each."""
    with zipfile.ZipFile(name, "w", method) as made:
        for member, begin in members:
            with made.open(member, "w", force_zip64=True) as file:
                file.write(begin)
                for _ in range(zeros >> 20):
                    file.write(bytes(2**20))


class Touching:
    """What a pickle of it does when it is read."""

    def __reduce__(self):
        return os.system, ("touch owned",)


def refusal(command, name, *more):
    ran = command(f"train {name} --steps 1", *more)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("fcbackends: `")
    assert ran.err.count("\n") == 1
    return ran.err


def test_no_file_is_unpickled(command, tmp_path):
    objects = np.array([[Touching(), 1]], dtype=object)
    np.save("a.npy", objects, allow_pickle=True)
    np.savez("a.npz", objects)
    for name in ("p.npy", "p.npz", "p.parquet", "p.safetensors", "p.csv"):
        Path(name).write_bytes(pickle.dumps(Touching()))
    for name in ("a.npy", "a.npz", "p.npy", "p.npz", "p.parquet", "p.csv"):
        refusal(command, name)
    assert command("predict p.safetensors a.npy").status == 2
    assert command("report p.csv").status == 2
    assert not Path("owned").exists()


def test_an_archive_far_larger_than_its_file(command, monkeypatch):
    monkeypatch.setattr(npy, "_LARGE", 2**24)
    archive("b.npz", ("arr_0.npy", header((2**23, 1))), zeros=2**26)
    says = refusal(command, "b.npz")
    assert says.startswith(
        "fcbackends: `DATA` must take at most 1 GiB, or 100 times what it takes in its file, got "
        "8,388,608 x 1 values in "
    )
    assert says.endswith(" bytes: `numpy.savez` stores an array as it is\n")
    archive("b.npz", ("x.npy", header((2**23, 1))), ("t.npy", header((2**23,))), zeros=2**26)
    assert refusal(command, "b.npz").startswith("fcbackends: `x` must take at most 1 GiB, or")
    # What is as large as its file, or not large, is read.
    archive("b.npz", ("x.npy", header((2**23, 1))), zeros=2**26, method=zipfile.ZIP_STORED)
    assert read_table("b.npz").rows == 2**23
    np.savez_compressed("b.npz", x=np.zeros((2**17, 4)), t=np.zeros(2**17))
    assert read_table("b.npz").targets == (4,)


def test_a_parquet_file_of_one_value_many_times(command, monkeypatch):
    monkeypatch.setattr(npy, "_LARGE", 2**24)
    pl.select(a=pl.repeat(1.0, 2**22), y=pl.repeat(2.0, 2**22)).write_parquet("b.parquet")
    says = refusal(command, "b.parquet")
    assert (
        "must take at most 1 GiB, or 100 times what it takes in its file, got 4,194,304 x 2" in says
    )


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "|u1", "<f2"])
def test_arrays_come_as_they_were_written(monkeypatch, tmp_path, dtype, fortran):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(npy, "_BLOCK", 7)
    order = "F" if fortran else "C"
    array = np.asarray(np.arange(33).reshape(11, 3), dtype=dtype, order=order)
    np.save("a.npy", array)
    np.savez_compressed("a.npz", array)
    np.savez("b.npz", t=array[:, 0], x=array)
    np.testing.assert_array_equal(numbers(read_table("a.npy"), range(3)), array)
    np.testing.assert_array_equal(numbers(read_table("a.npz"), range(3)), array)
    both = read_table("b.npz")
    assert both.targets == (3,)
    np.testing.assert_array_equal(numbers(both, range(4)), np.hstack([array, array[:, :1]]))


@pytest.mark.parametrize(
    ("shape", "dtype", "says"),
    [
        ((10**12, 3), "<f8", "shape (1000000000000, 3) of float64 in a file of"),
        ((10**30, 10**30), "<f8", "float64 in a file of"),
        ((-2, 3), "<f8", "shape (-2, 3) of float64"),
        ((2, 3, 4), "<f8", "`DATA` must be 2-D"),
        ((0, 10**30), "<f8", "not be empty"),
        ((2, 3), "|O", "Object arrays cannot be loaded"),
        ((2, 3), "<U100000", "hold integers or floats"),
        ((2, 3), "<M8[s]", "hold integers or floats"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_sizes_that_are_not_so(command, kind, shape, dtype, says):
    content = header(shape, dtype) + bytes(4)
    if kind == "npy":
        Path("a.npy").write_bytes(content)
    else:
        archive("a.npz", ("a.npy", content))
    assert says in refusal(command, f"a.{kind}")


def test_archives_that_are_no_archives_of_numpy(command):
    good = header((1, 2)) + bytes(16)
    for says, members, method in (
        ("several arrays of one name", [("x.npy", good), ("x", good)], zipfile.ZIP_DEFLATED),
        ("not compressed by NumPy", [("../../x.npy", good)], zipfile.ZIP_LZMA),
        ("got '../../x', '/etc/y'", [("../../x.npy", good), ("/etc/y.npy", good)], 0),
        ("magic string is not correct", [("x.npy", b"no array at all")], 0),
    ):
        archive("a.npz", *members, method=method)
        assert says in refusal(command, "a.npz")


@pytest.mark.parametrize("what", STRANGE)
def test_names_and_values_do_nothing_to_the_terminal(command, what):
    text = STRANGE[what]
    assert not text.isprintable()
    rows = [[f"{c}{text}" for c in "abc"], ["1", f"u{text}", f"q{text}"], ["2", f"v{text}", "3"]]
    frame = pl.DataFrame(rows[1:] * 3, schema=rows[0], orient="row")
    frame.write_parquet("t.parquet")
    lines = [
        "train t.parquet --target 2 --loss cross_entropy --steps 1 --out m.safetensors",
        "train t.parquet --target 1 --steps 1",
        "train t.parquet --target 9",
        "train t.parquet --drop 0,0",
        "predict m.safetensors u.parquet",
    ]
    frame.select(pl.first(), pl.all().exclude(frame.columns[0]).str.to_uppercase()).write_parquet(
        "u.parquet"
    )
    shown = ""
    for line in lines:
        ran = command(line)
        assert ran.status == (0 if "--out" in line else 2)
        shown += ran.out + ran.err
    assert all(line.isprintable() for line in shown.split("\n"))
    assert repr(text)[1:-1] in shown


def test_csv_on_a_terminal_has_no_escapes(command, start, tmp_path):
    Path("t.csv").write_text(f"a,{REPORT}y\n1,2\n3,4\n")
    assert command("train t.csv --steps 1 --out m.safetensors").status == 0
    assert command("predict m.safetensors t.csv").out.startswith(f"{REPORT}y\n")
    if sys.platform == "win32":
        return
    terminal, stdout = os.openpty()
    process = start("predict m.safetensors t.csv", stdout=stdout)
    os.close(stdout)
    process.communicate(timeout=600)
    shown = os.read(terminal, 10_000)
    os.close(terminal)
    assert shown.startswith(rb"\x1b]0;owned\x07\x1b[2Jy")
    assert b"\x1b" not in shown


def test_long_texts_and_many_columns_make_no_long_errors(command):
    Path("t.csv").write_text(f"{'a' * 10**6},b\n{'1' * 10**5}x,2\n3,4\n5,6\n7,8\n")
    assert len(refusal(command, "t.csv")) < 500
    assert len(refusal(command, "t.csv", "--target", "z")) < 500
    names = ",".join(f"c{i}" for i in range(20_000))
    Path("wide.csv").write_text(f"{names}\n{','.join(['1'] * 20_000)}\n")
    assert len(refusal(command, "wide.csv", "--target", "z")) < 1000
    assert "twice" in refusal(command, "wide.csv", "--target", "0:20000,7")
    Path("wide.csv").write_text(f"{names},c19999\n{','.join(['1'] * 20_001)}\n")
    assert "got 'c19999' twice" in refusal(command, "wide.csv")


def test_a_line_longer_than_a_value_may_be(command):
    names = ",".join(f"column{i}" for i in range(20_000))
    Path("wide.csv").write_text(f"{names}\n{','.join(['1'] * 20_000)}\n")
    assert command("train wide.csv --steps 1 --lr 1e-9").status == 0


IN_LITTLE_MEMORY = """
import resource, sys
from fcbackends.cli.data import read_table
from fcbackends.errors import ArgumentError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_table(sys.argv[1])
except ArgumentError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in KiB")
def test_a_table_takes_the_memory_of_its_values(tmp_path, monkeypatch):
    """And a bomb that of its refusal."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(500_000, 10))
    np.save("a.npy", values)
    os.chdir(tmp_path)
    archive("b.npz", ("arr_0.npy", header((2**22, 50))), zeros=2**22 * 50 * 8)
    said, taken = {}, {}
    for name in ("a.npy", "b.npz"):
        ran = subprocess.run(
            [sys.executable, "-c", IN_LITTLE_MEMORY, name],
            env={**os.environ, "PYTHONPATH": str(Path(fcb.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        )
        *said[name], memory = ran.stdout.splitlines()
        taken[name] = int(memory)
    assert said["a.npy"] == []
    assert said["b.npz"][0].startswith("`DATA` must take at most 1 GiB")
    assert taken["a.npy"] < 1.5 * values.nbytes
    assert taken["b.npz"] < 2**24


def test_a_fifo_is_read_once(command, tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo("t.csv")
    writing = subprocess.Popen(
        [sys.executable, "-c", f"open('t.csv', 'w').write({CSV['ok']!r})"], stderr=subprocess.PIPE
    )
    ran = command("train t.csv --steps 1")
    assert (ran.status, ran.err) == (0, "")
    assert writing.communicate(timeout=60)[1] == b""
