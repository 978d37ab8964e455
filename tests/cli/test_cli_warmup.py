"""Compiling ahead: every kernel is kept, or the command says why not."""

import re

import numpy as np
import pytest

from fcbackends.backends import (
    numba,  # noqa: F401, makes the families
    small_kernels,
)
from fcbackends.kernels import cache
from fcbackends.kernels.jit import FAMILIES
from tests.cases import needs_jit
from tests.test_kernel_cache import run as run_process

LINE = r"(\S+)-(float32|float64) +(compiled in \d+\.\d s|read from the cache in \d+ ms)"


def kernels(out):
    """Name, dtype and what was done, of each line but the last."""
    *lines, last = out.splitlines()
    assert last.startswith("kept in ")
    return [re.fullmatch(LINE, line).groups() for line in lines]


LOSS_ALONE = """
import sys
from fcbackends.backends import numba
from fcbackends.cli import main
from fcbackends.kernels.jit import FAMILIES
for name in FAMILIES.keys() - {"layers.loss_and_gradient"}:
    del FAMILIES[name]
sys.exit(main(["warmup", "--dtype", "float32"]))
"""
"""`fcbackends warmup`, if that were the only family of kernels."""


@needs_jit
def test_a_kernel_that_was_compiled_is_read_by_the_next_process(tmp_path):
    cache = tmp_path / "cache"
    for done in ("compiled", "read"):
        status, out, err = run_process(cache, LOSS_ALONE)
        assert (status, err) == (0, "")
        ((name, dtype, what),) = kernels(out)
        assert (name, dtype) == ("layers.loss_and_gradient", "float32")
        assert what.startswith(done)
    assert out.splitlines()[-1] == f"kept in {cache / 'fcbackends'}"


@needs_jit
@pytest.mark.slow
def test_what_was_compiled_is_read_by_the_next_process(start, tmp_path):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    process = start("warmup --dtype float32", env=environment)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    compiled = kernels(out)
    assert {name for name, _, _ in compiled} == FAMILIES.keys()
    assert all(done.startswith("compiled") for _, _, done in compiled)
    assert out.splitlines()[-1] == f"kept in {tmp_path / 'cache' / 'fcbackends'}"

    # One process reads them all, and then compiles: nothing that a kernel links to is missing.
    process = start("warmup --dtype float32 --dtype float64 --dtype float32", env=environment)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    read, others = kernels(out)[: len(compiled)], kernels(out)[len(compiled) :]
    assert [(name, dtype) for name, dtype, _ in read] == [k[:2] for k in compiled]
    assert all(done.startswith("read") for _, _, done in read)
    assert [(name, dtype) for name, dtype, _ in others] == [(k, "float64") for k, _, _ in compiled]


@needs_jit
def test_both_dtypes_by_default(command):
    ran = command("warmup")
    assert (ran.status, ran.err) == (0, "")
    assert [(name, dtype) for name, dtype, _ in kernels(ran.out)] == [
        (name, dtype) for dtype in ("float64", "float32") for name in FAMILIES
    ]
    assert ran.out.splitlines()[-1] == f"kept in {cache.cache_directory()}"


@needs_jit
def test_small_layers_by_their_sizes(command):
    ran = command("warmup --dtype float32 --sizes 2-3 --sizes 1-1 --sizes 2-3")
    assert (ran.status, ran.err) == (0, "")
    small = [name for name, _, _ in kernels(ran.out)][len(FAMILIES) :]
    assert small == [
        f"small.small_steps_{shape}_{batches}"
        for shape in ("2_3", "1_1")
        for batches in ("one", "any")
    ]


@needs_jit
def test_kernels_of_a_training_with_other_options(command, tmp_path, monkeypatch):
    options = "--activation tanh --loss cross_entropy --optimizer sgd --momentum 0.9"
    ran = command(f"warmup --dtype float32 --sizes 2-4-3 {options} --schedule cosine")
    assert (ran.status, ran.err) == (0, "")
    assert [name for name, _, _ in kernels(ran.out)][len(FAMILIES) :] == [
        "training.train_steps_momentum_none_all_scheduled",
        "training.take_step_momentum_none_all",
        *(
            f"small.small_steps_2_4_3_{batches}_tanh_cross_entropy_momentum_none_all_scheduled"
            for batches in ("one", "any")
        ),
    ]
    data = tmp_path / "data.csv"
    rows = np.random.default_rng(0).integers(0, 3, (30, 3))
    np.savetxt(data, rows, fmt="%d", delimiter=",", header="a,b,c", comments="")
    # For some steps of a training, a kernel is read where it is kept, and compiled nowhere.
    monkeypatch.setattr(small_kernels, "_MOST_KERNELS", 9)
    for batch in (1, 7):
        monkeypatch.setattr(small_kernels, "_kernels", {})
        run = f"--dtype float32 --hidden 4 {options} --schedule cosine --batch {batch} --steps 9"
        ran = command(f"train {data} {run}")
        assert (ran.status, ran.err) == (0, "")
        assert [shape.one_sample for shape in small_kernels._kernels] == [batch == 1]


@needs_jit
@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "--sizes 2-4-4-3 --activation tanh,relu,tanh",
            "`--activation` must be one name, or a sequence of 2, one a hidden layer, got "
            "('tanh', 'relu', 'tanh')",
        ),
        (
            "--optimizer adam --nesterov",
            "`--nesterov` must come with --optimizer sgd, got --optimizer adam",
        ),
        (
            "--loss hinge",
            "`--loss` must be one of 'mean_squared', 'huber', 'cross_entropy', "
            "'binary_cross_entropy', got 'hinge'",
        ),
    ],
)
def test_options_that_no_training_takes(command, line, text):
    ran = command(f"warmup {line}")
    assert (ran.status, ran.out, ran.err) == (2, "", f"fcbackends: {text}\n")


@needs_jit
def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "a file").write_text("")
    status, out, err = run_process(tmp_path / "a file", LOSS_ALONE)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"fcbackends: compiled kernels cannot be kept \(.+\): .+\n", err)
    assert str(tmp_path / "a file" / "fcbackends") in err


@pytest.mark.parametrize("line", ["warmup", "warmup --dtype float64"])
def test_without_a_compiler(start, line):
    process = start(line, env={"NUMBA_DISABLE_JIT": "1"})
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (2, "")
    assert err == "fcbackends: `NUMBA_DISABLE_JIT` must be 0 or left out, got '1'\n"
