"""The command line as a process: terminal, signals, pipes, exit status."""

import os
import re
import signal
import sys

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.cli import outcome
from fcbackends.cli.model import load

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, pipes and terminals")


def table(tmp_path, rows=200):
    values = np.random.default_rng(0).normal(size=(rows, 6))
    np.save(tmp_path / "table.npy", values)
    return values


def test_notebook(start):
    process = start("train --seed 7")
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    x = fcb.sample_indices(10, steps=500, batch_size=2, seed=7)
    t = x @ [[3, 7, 4], [5, 2, 6]] + [2, 9, 3]
    result = fcb.train(x, t, lr=0.005, tol=1e-20, seed=7, record_every=1000)
    lines = out.splitlines()
    for step, loss in zip(*result.history[:2], strict=True):
        assert f"{step} {loss:.6e} {loss:.6e}" in [" ".join(line.split()) for line in lines]
    assert "recovered: yes" in lines
    assert f"all bits agree: yes, after {result.steps} steps" in lines
    assert f"digest {fcb.digest(result.params)}" in lines
    assert lines[-1].startswith("numba is ")
    assert lines[-1].endswith(" times faster than numpy")


def test_notebook_in_float32(command):
    ran = command("train --dtype float32")
    assert (ran.status, ran.err) == (0, "")
    assert "recovered: yes" in ran.out
    assert "all bits agree: yes" in ran.out


def test_notebook_says_no(command, monkeypatch):
    train = fcb.train

    def wrong(*arguments, backend, **options):
        result = train(*arguments, backend="numpy", **options)
        if backend == "numpy":
            return result
        (w, b), *rest = result.params
        return result._replace(params=((w, b + 1e-3), *rest))

    monkeypatch.setattr(fcb, "train", wrong)
    monkeypatch.setattr("fcbackends.cli.notebook._TIMED_SECONDS", 0.0)
    ran = command("train")
    assert ran.status == 1
    assert "recovered: no" in ran.out
    assert "all bits agree: no, 3 values differ by up to " in ran.out


def test_info(command, monkeypatch, tmp_path):
    monkeypatch.setenv("FCBACKENDS_BACKEND", "nothing")  # names no backend: info computes nothing
    ran = command("info")
    assert (ran.status, ran.err) == (0, "")
    for name, state in fcb.list_backends().items():
        assert ran.value(name).startswith(state)
    assert re.search(r"^numba +available +ordered +A +every bit is as it must be$", ran.out, re.M)
    assert re.search(r"^numba +available +fused +A +every bit is as it must be$", ran.out, re.M)
    assert ran.value("fcbackends") == fcb.__version__
    assert ran.value("contract") == f"version {fcb.CONTRACT_VERSION}"
    assert ran.value("FCBACKENDS_BACKEND") == "nothing (no such choice)"
    assert ran.value("FCBACKENDS_ARITHMETIC") == "not set"
    assert ran.value("Python") == sys.version.partition(" ")[0]
    assert ran.value("CPU").endswith(" cores")
    assert ran.value("BLAS").endswith("(NumPy's)")
    assert ran.value("kernel cache").endswith(" MB)")
    monkeypatch.setattr("fcbackends.kernels.cache.cache_directory", lambda: None)
    assert command("info").value("kernel cache") == "none (no home directory)"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "train --help",
        "predict --help",
        "info --help",
        "verify --help",
        "warmup --help",
        "-h",
        "train -h",
    ],
)
def test_help(start, line):
    process = start(line)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("Usage: fcbackends")


@posix
@pytest.mark.parametrize(
    ("signum", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_training_that_is_ended(start, tmp_path, backend, signum, status, word, monkeypatch):
    import termios

    monkeypatch.chdir(tmp_path)
    table(tmp_path)
    terminal, stderr = os.openpty()
    termios.tcsetwinsize(stderr, (24, 80))
    process = start(
        "train table.npy --hidden 16 --lr 1e-3 --steps 100000000 --out m.safetensors "
        f"--backend {backend}",
        stderr=stderr,
    )
    os.close(stderr)
    shown = b""
    while b"/100M" not in shown:  # the progress bar: training goes on
        shown += os.read(terminal, 1000)
    process.send_signal(signum)
    out, _ = process.communicate(timeout=600)
    while not shown.endswith(f"fcbackends: {word}\r\n".encode()):
        shown += os.read(terminal, 1000)
    os.close(terminal)
    assert process.returncode == status
    steps = next(line.split() for line in out.splitlines() if line.startswith("steps"))
    assert steps[2:] == ["of", "batch", "32,", "interrupted"]
    assert 0 < int(steps[1]) < 100_000_000
    assert f"digest         {fcb.digest(load('m.safetensors').params)}" in out.splitlines()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "table.npy"]


@pytest.mark.parametrize("limit", [0, 10**9])
def test_losses_that_take_long_are_left_out_after_ctrl_c(command, tmp_path, monkeypatch, limit):
    table(tmp_path)
    monkeypatch.setattr(outcome, "_LONG_PRODUCTS", limit)
    line = "train table.npy --steps 50 --out m.safetensors"
    whole = command(line)
    train = fcb.train

    def interrupted(*given, **how):
        return train(*given, **how)._replace(stop_reason="interrupted")

    monkeypatch.setattr(fcb, "train", interrupted)
    ran = command(line)
    assert (whole.status, ran.status, ran.err) == (0, 130, "fcbackends: interrupted\n")
    assert ("not computed, which would take long" in ran.out) == (limit == 0)
    assert ("\nR2 " in ran.out) == (limit > 0)
    digests = [re.findall(r"digest +(\w{64})", ran.out) for ran in (whole, ran)]
    assert len(digests[0]) == 1
    assert digests[0] == digests[1]


@pytest.mark.parametrize("line", ["train", "train table.npy --steps 5 --out m.safetensors"])
def test_ctrl_c_while_kernels_load(command, tmp_path, monkeypatch, line):
    table(tmp_path)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fcb, "train", interrupted)
    ran = command(line)
    assert (ran.status, ran.err) == (130, "fcbackends: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["table.npy"]


@posix
@pytest.mark.parametrize(
    "line", ["info", "--help", "train table.npy --steps 5", "predict m.safetensors table.npy"]
)
def test_a_reader_that_leaves(start, tmp_path, command, line):
    table(tmp_path, rows=5000)
    if "m.safetensors" in line:
        assert command("train table.npy --steps 2 --out m.safetensors").status == 0
    process = start(line)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(start):
    with open("/dev/full", "w") as full:
        process = start("info", stdout=full)
        _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (1, "fcbackends: No space left on device: stdout\n")


@posix
def test_no_stdout_at_all(start):
    # A `preexec_fn` would fork this process, which JAX, once loaded, warns of.
    process = start("info", stdout=None, by=("sh", "-c", 'exec "$@" >&-', "sh"))
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
