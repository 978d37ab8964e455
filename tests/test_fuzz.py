"""Random calls and command lines with hostile arguments, and a check that the check can fail."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from tests.fuzz import calls, commands, judgement
from tests.fuzz.hostile import Trouble

SOURCE = Path(__file__).parents[1]

CASES = 5_000

RECORDS = {
    "CONTRACT_VERSION", "Agreement", "ArgumentError", "ArgumentTypeError", "Arithmetic", "Backend",
    "Conformance", "Difference", "DivergenceError", "FCGradients", "Finding", "History", "Look",
    "LossAndGradient", "Reproduction", "StepLoop", "StepResult", "Sweep", "SweepError",
    "TrainResult", "TrainerState",
}  # fmt: skip
"""What is returned, raised, or made by authors of backends."""

ELSEWHERE = {"list_backends", "load", "namespace_backends"}
"""Without arguments, on files, or for libraries."""

NAMES = {
    "Trainer": "trainer_run",
    "Scaling": "scaling",
    "SGD": "sgd",
    "Adam": "adam",
    "SavedModel": "saved",
}


def found(cases, seed=0, functions=None):
    return [
        f"case {index}: {defect}"
        for index in cases
        for defect in judgement.defects(seed, index, functions)
    ]


def test_everything_public_is_called():
    called = {make.__name__ for make in calls.FUNCTIONS}
    rates = {name for name in fcb.__all__ if name.endswith("Rate")}
    named = {NAMES.get(name, name) for name in {*fcb.__all__} - RECORDS - ELSEWHERE - rates}
    assert named <= called
    assert "rate" in called


def test_a_case_is_a_function_of_seed_and_index():
    def drawn(seed, index):
        words = commands.drawn(judgement.generator(seed, index))
        call = calls.drawn(judgement.generator(seed, index))
        return words, call.function, list(call.arguments)

    assert drawn(1, 2) == drawn(1, 2)
    assert len({str(drawn(seed, index)) for seed in (0, 1) for index in range(20)}) == 40


def test_some_cases():
    assert found(range(300)) == []


@pytest.mark.slow
def test_many_cases():
    assert found(range(CASES)) == []


# --- what the check finds ------------------------------------------------------------------------

WORKING = judgement.FUNCTIONS["relu"]


def changing(a):
    if isinstance(a, np.ndarray) and a.flags.writeable and a.size:
        a.flat[0] = 1
    return WORKING(a)


def warning(a):
    warnings.warn("look", RuntimeWarning, stacklevel=1)
    return WORKING(a)


def ignoring(a):
    np.seterr(all="print")
    return WORKING(a)


def failing(a):
    try:
        return WORKING(a)
    except fcb.ArgumentError as error:
        raise KeyError("a") from error


def talking(a):
    try:
        return WORKING(a)
    except fcb.ArgumentError as error:
        raise fcb.ArgumentError("a" * 2000, error.required, error.got) from None


def wrong(a):
    y = WORKING(a)
    return y if isinstance(a, np.ndarray) and a.flags.c_contiguous else y + 1


def aliasing(a):
    y = WORKING(a)
    return a if isinstance(a, np.ndarray) and a.dtype == y.dtype and not (a < 0).any() else y


def refusing(a):
    if not getattr(getattr(a, "flags", None), "writeable", True):
        raise fcb.ArgumentError("a", "be writeable", "a read-only array")
    return WORKING(a)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (changing, "was changed"), (warning, "RuntimeWarning"), (ignoring, "error state"),
        (failing, "KeyError"), (talking, "a text of"), (wrong, "where plain arrays lead to"),
        (aliasing, "in an argument's memory"), (refusing, "where plain arrays lead to"),
    ],
)  # fmt: skip
def test_the_check_can_fail(function, text):
    of_relu = [i for i in range(1, 9000) if is_of_relu(i)]
    said = found(of_relu, functions={**judgement.FUNCTIONS, "relu": function})
    assert any(text in line for line in said), said[:9]


def is_of_relu(index):
    if judgement.is_command(index):
        return False
    return judgement.generator(0, index).choice(calls.FUNCTIONS) is calls.relu


def test_what_an_argument_raises_comes_through():
    assert list(judgement._wrong_refusal(Trouble())) == []
    assert list(judgement._wrong_refusal(KeyError("a"))) != []


@pytest.mark.parametrize(
    ("status", "said", "raised"),
    [(3, "fcbackends: no\n", None), (2, "", None), (2, "Traceback\nfcbackends: no\n", None),
     (2, "fcbackends: \x1b[31m\n", None), (0, "", ValueError("a"))],
)  # fmt: skip
def test_the_check_of_commands_can_fail(monkeypatch, status, said, raised):
    def main(words):
        sys.stderr.write(said)
        if raised:
            raise raised
        return status

    monkeypatch.setattr(commands, "main", main)
    assert commands.defects(["train"], judgement.folder()) != []


# --- with checked bounds -------------------------------------------------------------------------

KERNELS = """
import numpy as np
from numba import types
from fcbackends.kernels import vectors, views
from fcbackends.kernels.jit import kernel

def arguments(real, arithmetic):
    return types.Array(real, 1, "C"), types.int64, types.int64

FOURS = vectors.vectors(4)

@kernel(arguments)
def number(buffer, at, count):
    return buffer[at + count - 1]

@kernel(arguments)
def row(buffer, at, count):
    return views.row(buffer, at, count).size

@kernel(arguments)
def vector(buffer, at, count):
    return FOURS(buffer, at, count).size

for made, length in ((number, 1), (row, 1), (vector, 4)):
    run, buffer = made("float64"), np.zeros(3 * length)
    assert run(buffer, 0, 3) >= 0 and run(buffer, 2 * length, 1) >= 0
    for at, count in ((length, 3), (3 * length, 1), (-1, 1)):
        try:
            run(buffer, at, count)
        except IndexError:
            continue
        assert made is number and at == -1, (made, at, count)
print("checked")
"""


def with_checked_bounds(folder, *arguments):
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=SOURCE, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_kernels_check_bounds_where_numba_is_to(tmp_path):
    script = tmp_path / "kernels.py"
    script.write_text(KERNELS)
    ran = with_checked_bounds(tmp_path, script)
    assert (ran.stdout, ran.returncode) == ("checked\n", 0), ran.stderr


@pytest.mark.campaign
def test_no_kernel_reads_out_of_bounds(tmp_path):
    ran = with_checked_bounds(tmp_path, "-m", "tests.fuzz", "--cases", str(CASES), "--seed", "2")
    assert ran.returncode == 0, ran.stdout
    assert f"{CASES} cases" in ran.stdout


@pytest.mark.campaign
def test_a_million_cases():
    command = [sys.executable, "-m", "tests.fuzz", "--cases", "1000000", "--seed", "1"]
    assert subprocess.run(command, cwd=SOURCE).returncode == 0
