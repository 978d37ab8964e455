"""Files that the command line writes: whole, in the mode they had, or refused before any work."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fcbackends as fcb
from tests.cli.troubles import CSV, contents

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes, links and limits")

OUTPUTS = {
    "m.safetensors": "train ok.csv --steps 1 --out {}",
    "m.png": "train ok.csv --steps 1 --plot {}",
    "m.svg": "train ok.csv --steps 1 --plot {}",
    "m.pdf": "train ok.csv --steps 1 --plot {}",
    "p.csv": "predict ok.safetensors ok.csv --out {}",
    "p.npy": "predict ok.safetensors ok.csv --out {}",
    "p.parquet": "predict ok.safetensors ok.csv --out {}",
    "v.json": "verify numpy --cases 0 --json {}",
}


@pytest.fixture
def folder(command, tmp_path):
    """Where the commands run, with a table and a model."""
    Path("ok.csv").write_text(CSV["ok"])
    assert command("train ok.csv --steps 3 --out ok.safetensors").status == 0
    return tmp_path


@posix
# JAX warns of any fork, if it was loaded before.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["m.safetensors", "m.pdf", "p.csv", "p.parquet", "v.json"])
def test_what_cannot_be_written_whole_is_not_written(start, folder, name):
    import resource
    import signal

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))

    Path(name).write_text("the old file")
    before = contents(folder)
    process = start(OUTPUTS[name].format(name), preexec_fn=limited)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (1, f"fcbackends: File too large: {folder / name}\n")
    assert contents(folder) == before


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system in memory")
@pytest.mark.parametrize("name", ["p.parquet", "m.pdf"])
def test_a_full_disk_is_named_with_the_file(command, folder, name):
    Path("full").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "full"]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount")
    try:
        Path("full/ballast").write_bytes(bytes(4096))
        ran = command(OUTPUTS[name].format(f"full/{name}"))
        where = folder / "full" / name
        assert (ran.status, ran.err) == (
            1,
            f"fcbackends: No space left on device: {where}\n",
        )
        assert os.listdir("full") == ["ballast"]
    finally:
        subprocess.run(["umount", "full"], check=True)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
@pytest.mark.parametrize("name", ["m.safetensors", "p.csv"])
def test_a_file_keeps_its_mode(command, folder, name, mode):
    Path(name).write_text("the old file")
    Path(name).chmod(mode)
    assert command(OUTPUTS[name].format(name)).status == 0
    assert Path(name).read_bytes() != b"the old file"
    assert stat.S_IMODE(Path(name).stat().st_mode) == mode


@posix
def test_a_new_file_has_the_mode_of_new_files(command, folder):
    mask = os.umask(0o027)
    try:
        assert command("predict ok.safetensors ok.csv --out p.csv").status == 0
    finally:
        os.umask(mask)
    assert stat.S_IMODE(Path("p.csv").stat().st_mode) == 0o640


@posix
def test_a_link_stays_and_what_it_points_to_is_replaced(command, folder):
    Path("there").mkdir()
    Path("there/real.csv").write_text("the old file")
    Path("p.csv").symlink_to("there/real.csv")
    Path("new.csv").symlink_to("there/new.csv")
    for name in ("p.csv", "new.csv"):
        assert command(f"predict ok.safetensors ok.csv --out {name}").status == 0
        assert Path(name).is_symlink()
        assert Path(name).read_text().startswith("y\n")
    assert sorted(os.listdir("there")) == ["new.csv", "real.csv"]


@posix
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_name_that_cannot_be_a_file_is_refused_before_work(command, folder, name):
    suffix = Path(name).suffix
    fifo, long, closed = f"fifo{suffix}", "n" * 260 + suffix, f"{name}/{name}"
    os.mkfifo(fifo)
    Path(name).touch()
    before = contents(folder)
    for given, says in (
        ("", ""),
        (fifo, f"be a file, got '{fifo}': a FIFO, socket or device"),
        (long, f"be a file that can be written, got '{long}': File name too long"),
        (closed, f"be in a folder that exists, got '{closed}'"),
    ):
        option = OUTPUTS[name].split()[-2]
        ran = command(OUTPUTS[name].replace("{}", "").strip(), given)
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"fcbackends: `{option}` must ")
        assert ran.err.count("\n") == 1
        assert says in ran.err
    assert contents(folder) == before
    assert stat.S_ISFIFO(os.stat(fifo).st_mode)


AS_NOBODY = """
import gettext, os, sys
import fcbackends.cli.app, fcbackends.cli.predict  # which nobody may be unable to read
from fcbackends.cli import main
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def open_folder(monkeypatch):
    """One that everybody can get at, where that of the tests may be root's alone."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.chdir(name)
        yield Path(name)


@posix
def test_read_only_files_and_folders_are_refused_before_work(open_folder):
    Path("p.csv").write_text("the old file")
    Path("shut").mkdir()
    for made, mode in (("p.csv", 0o444), ("shut", 0o555), (".", 0o777)):
        Path(made).chmod(mode)
    before = contents(open_folder)
    for out, says in (
        ("p.csv", "`--out` must be a file that can be written, got 'p.csv': read-only"),
        ("shut/p.csv", "`--out` must be in a writable folder, got 'shut/p.csv'"),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, "predict", "no.safetensors", "ok.csv", "--out", out],
            env={**os.environ, "PYTHONPATH": str(Path(fcb.__file__).parents[1])},
            capture_output=True,
            text=True,
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"fcbackends: {says}\n")
    assert contents(open_folder) == before


@posix
def test_text_that_the_terminal_has_no_letters_for(start, folder):
    name = "prix\udce9.safetensors"  # a byte that is no UTF-8
    Path("prices.csv").write_text("a,prix €\n1,2\n2,3\n3,5\n")
    train = start(f"train prices.csv --steps 3 --out {name}", env={"PYTHONIOENCODING": "ascii"})
    out, err = train.communicate(timeout=600)
    assert (train.returncode, err) == (0, "")
    assert r"1: prix \u20ac" in out
    assert r"prix\udce9.safetensors" in out
    predict = start(
        f"predict {name} prices.csv",
        env={"PYTHONIOENCODING": "ascii", "PYTHONWARNDEFAULTENCODING": "0"},
        text=False,
    )
    out, _ = predict.communicate(timeout=600)
    assert out.startswith("prix €\n".encode())


def test_what_was_predicted_is_in_each_kind_of_file(command, folder):
    for name in ("p.csv", "p.npy", "p.parquet"):
        assert command(OUTPUTS[name].format(name)).status == 0
    want = pl.read_csv("p.csv")
    assert want.equals(pl.read_parquet("p.parquet"))
    assert np.array_equal(want.to_numpy(), np.load("p.npy"))
    assert command("predict ok.safetensors ok.csv").out == Path("p.csv").read_text()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
