"""Model files and checkpoints with any value in them replaced: a result, or one line."""

import math
import random
from pathlib import Path

import numpy as np
import pytest

from fcbackends import tensor_files

VALUES = (
    None, True, 0, -1, 2**70, 1e308, math.nan, math.inf, "", "b", "\ud800", "\x1b[31m\n",
    "x" * 9999, [], [0], [0, 0], ["a", "a"], [[1]], [None], [2**70], {}, {"name": "Adam"}, [{}],
)  # fmt: skip
ARRAYS = (
    np.ones(0), np.ones(1), np.ones((2, 2)), np.ones((3, 1), "f4"), np.full(2, np.nan), np.int64(3),
    np.ones((1, 0)), np.ones((0, 1)), np.zeros(3),
)  # fmt: skip


def places(value, place=()):
    """All places in nested JSON."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
        value, list
    ) else ()  # fmt: skip
    for key, entry in inner:
        yield from places(entry, (*place, key))


def replaced(value, place, new):
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = replaced(copy[place[0]], place[1:], new)
    return copy


def without(value, place):
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) == 1:
        del copy[place[0]]
    else:
        copy[place[0]] = without(copy[place[0]], place[1:])
    return copy


def changed(about, tensors, rng):
    """Every place of the JSON with some other values, and without it; every array as another."""
    for place in places(about):
        if not place:
            continue
        yield without(about, place), tensors
        for new in rng.sample(VALUES, 6):
            yield replaced(about, place, new), tensors
    for name in tensors:
        yield about, {key: array for key, array in tensors.items() if key != name}
        for new in rng.sample(ARRAYS, 4):
            yield about, tensors | {name: np.asarray(new)}


@pytest.fixture
def kept(command):
    rng = np.random.default_rng(1)
    rows = ["a,b,c,y"] + [
        f"{rng.normal():.3f},{rng.choice(['u', 'v', 'w'])},{'' if i % 9 == 2 else i % 3},{i % 2}"
        for i in range(40)
    ]
    Path("d.csv").write_text("\n".join(rows) + "\n")
    line = (
        "train d.csv --missing mean --standardize inputs --hidden 3 --validation 0.2 --patience 2 "
        "--optimizer sgd --momentum 0.5 --epochs 3"
    )
    ran = command(f"{line} --loss cross_entropy --out classes.safetensors --checkpoint run")
    assert (ran.status, ran.err) == (0, "")
    ran = command(f"{line} --out numbers.safetensors")
    assert (ran.status, ran.err) == (0, "")
    return line


def assert_a_result_or_one_line(ran, *, may_hold_nan=False):
    # A run goes on from any finite numbers, be it only to where they are not finite.
    assert ran.status in (0, 2) or "is not finite" in ran.err, ran
    if ran.status:
        assert ran.out == ""
        assert ran.err.startswith("fcbackends: ")
        assert ran.err.count("\n") == 1
        assert ran.err[:-1].isprintable()
        assert len(ran.err) < 1000
    else:
        assert ran.err == ""
        assert may_hold_nan or "nan" not in ran.out.lower()


@pytest.mark.parametrize("name", ["classes", "numbers"])
@pytest.mark.parametrize("options", ["", "--unknown zeros"])
def test_models_with_anything_in_them(command, kept, name, options):
    path = Path(f"{name}.safetensors")
    about, tensors = tensor_files.read(path, "fcbackends")
    statuses = []
    for new, arrays in changed(about, tensors, random.Random(1)):
        tensor_files.write(Path("m"), "fcbackends", new, arrays)
        ran = command(f"predict m d.csv {options}")
        # A class may be called so.
        assert_a_result_or_one_line(ran, may_hold_nan=name == "classes")
        statuses.append(ran.status)
    assert len(statuses) > 300
    assert statuses.count(2) > len(statuses) / 2


def test_checkpoints_with_anything_in_them(command, kept):
    about, tensors = tensor_files.read(Path("run"), "fcbackends-checkpoint")
    statuses = []
    for new, arrays in changed(about, tensors, random.Random(1)):
        tensor_files.write(Path("c"), "fcbackends-checkpoint", new, arrays)
        ran = command(f"{kept} --loss cross_entropy --resume c")
        assert_a_result_or_one_line(ran)
        statuses.append(ran.status)
    assert len(statuses) > 300
    assert statuses.count(2) > len(statuses) / 2
