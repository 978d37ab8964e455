"""Checkpoints and model files that are damaged, or hold what nobody wrote."""

import os
import random

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends import tensor_files
from tests.cases import problem

CASE = problem(1, (2, 1), 12, "float32")
HOW = dict(
    lr=0.01, max_steps=60, dtype="float32", optimizer=fcb.SGD(momentum=0.5),
    validation=0.25, patience=99, record_every=20,
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def write_checkpoint(path):
    fcb.train(CASE.x, CASE.t, checkpoint=path, **HOW)


def read_checkpoint(path):
    fcb.train(CASE.x, CASE.t, resume=path, **HOW)


def write_model(path):
    fcb.save(path, CASE.params)


KINDS = {
    "checkpoint": (
        write_checkpoint,
        read_checkpoint,
        "`resume` must be a checkpoint that `checkpoint` wrote, got",
    ),
    "model": (
        write_model,
        fcb.load,
        "`path` must be a file written by `fcbackends.save` or `fcbackends train --out`, got",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_anywhere_is_recognised(path, kind):
    write, read, required = KINDS[kind]
    write(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(fcb.ArgumentError) as raised:
            read(path)
        assert str(raised.value).startswith(f"{required} '{path}': ")
    path.write_bytes(content + b"\0")
    with pytest.raises(fcb.ArgumentError):
        read(path)
    path.write_bytes(content)
    read(path)


@pytest.mark.parametrize("kind", ["model", pytest.param("checkpoint", marks=pytest.mark.slow)])
@pytest.mark.parametrize("flip", [0x01, 0x80, "another"])
def test_any_byte_that_is_another_is_recognised(path, kind, flip):
    write, read, required = KINDS[kind]
    write(path)
    content, rng = path.read_bytes(), random.Random(1)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= rng.randrange(1, 256) if flip == "another" else flip
        path.write_bytes(damaged)
        with pytest.raises(fcb.ArgumentError) as raised:
            read(path)
        text = str(raised.value)
        assert text.startswith(f"{required} '{path}': ")
        assert text.isprintable()
        assert len(text) < 600


@pytest.mark.parametrize("kind", KINDS)
def test_two_parts_that_change_places_are_recognised(path, kind):
    write, read, _ = KINDS[kind]
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[:-8] + content[-4:] + content[-8:-4])
    with pytest.raises(fcb.ArgumentError, match="damaged: its bytes are not those of its checksum"):
        read(path)


# --- files that are whole, and wrong -------------------------------------------------------------


def rewritten(path, change):
    """The checkpoint with something changed in it and a checksum that fits."""
    about, tensors = tensor_files.read(path, "fcbackends-checkpoint")
    change(about, tensors)
    tensor_files.write(path, "fcbackends-checkpoint", about, tensors)


def of_run(**changes):
    return lambda about, tensors: about["runs"][0].update(changes)


def of_looks(**changes):
    return lambda about, tensors: about["runs"][0]["seen"].update(changes)


def of_tensors(**changes):
    def change(about, tensors):
        for name, values in changes.items():
            tensors["run0." + name.replace("__", ".")] = values

    return change


def without(name):
    return lambda about, tensors: tensors.pop(f"run0.{name}")


@pytest.mark.parametrize(
    "change",
    [
        lambda about, tensors: about.update(version=2),
        lambda about, tensors: about.update(contract=99),
        lambda about, tensors: about.update(first=-1),
        lambda about, tensors: about.update(first=2**63),
        lambda about, tensors: about.update(first=7),
        lambda about, tensors: about.update(runs=[]),
        lambda about, tensors: about.update(runs=7),
        lambda about, tensors: about.update(runs=["text"]),
        lambda about, tensors: about.pop("options"),
        of_run(step=-1),
        of_run(step=61),
        of_run(step="60"),
        of_run(step=40),
        of_run(loss="much"),
        of_run(stop_reason="bored"),
        of_run(stop_reason=[1]),
        of_run(seen=None),
        of_looks(metrics=["none"]),
        of_looks(best=[0, 20, 1.0, 1.0, True]),
        of_looks(best=[9, 20, 1.0, 1.0, True]),
        of_looks(best=[1, 21, 1.0, 1.0, True]),
        of_looks(best=[1]),
        of_tensors(layer0__w=np.ones((3, 1), "f4")),
        of_tensors(layer0__w=np.ones((2, 1), "f8")),
        of_tensors(layer0__w=np.full((2, 1), np.nan, "f4")),
        of_tensors(layer0__b=np.ones((1, 1), "f4")),
        of_tensors(losses=np.ones(9)),
        of_tensors(losses=np.ones(3, "f4")),
        of_tensors(seen__steps=np.array([20, 20, 60])),
        of_tensors(seen__steps=np.array([20, 40, 80])),
        of_tensors(seen__steps=np.array([[20, 40, 60]])),
        of_tensors(seen__losses=np.ones(4)),
        of_tensors(slot0__layer0__w=np.ones((2, 2), "f4")),
        without("losses"),
        without("layer0.w"),
        without("slot0.layer0.b"),
        without("best.layer0.w"),
    ],
)
def test_what_no_run_wrote_is_refused(path, change):
    write_checkpoint(path)
    rewritten(path, change)
    with pytest.raises(fcb.ArgumentError) as raised:
        read_checkpoint(path)
    text = str(raised.value)
    assert text.startswith(f"{KINDS['checkpoint'][2]} '{path}': ")
    assert "damaged" not in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b'{"__metadata__":{"fcbackends":"' + b"[" * 200_000 + b'"}}', 0),
        (b'{"__metadata__":' * 100_000, 0),
        (b'{"__metadata__":{"fcbackends":"{}"},"a":{"dtype":"F64","shape":[1099511627776],'
         b'"data_offsets":[0,8796093022208]}}', 8),
        (b'{"__metadata__":{"fcbackends":"{}"},"a":{"dtype":"F64","shape":[4294967296,4294967296],'
         b'"data_offsets":[0,0]}}', 0),
        (b'{"__metadata__":{"fcbackends":"{\\"version\\": 1' + b"0" * 5000 + b'}"}}', 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_headers_do_nothing_but_raise(path, kind, header, size):
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    with pytest.raises(fcb.ArgumentError) as raised:
        KINDS[kind][1](path)
    assert len(str(raised.value)) < 600
    path.write_bytes((2**63).to_bytes(8, "little") + header)
    with pytest.raises(fcb.ArgumentError, match="a header of 9223372036854775808 bytes in a file "):
        KINDS[kind][1](path)


def test_a_sparse_file_larger_than_memory_is_not_read(path):
    try:
        with path.open("wb") as file:
            file.truncate(2**43)
    except OSError:
        pytest.skip("no sparse files of this size here")
    with pytest.raises(fcb.ArgumentError, match="more than the memory holds"):
        fcb.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no FIFOs")
def test_a_fifo_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(fcb.ArgumentError, match="no regular file"):
        fcb.load(path)
    with pytest.raises(fcb.ArgumentError, match="no regular file"):
        read_checkpoint(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_networks_that_are_not_finite_are_neither_saved_nor_loaded(path, bad):
    params = ((np.array([[1.0], [bad]]), np.array([0.0])),)
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.save(path, params)
    assert str(raised.value).startswith("`model` must hold finite numbers")
    fcb.save(path, fcb.init_params((2, 1)))
    about, tensors = tensor_files.read(path, "fcbackends")
    tensor_files.write(path, "fcbackends", about, tensors | {"layer0.w": params[0][0]})
    with pytest.raises(fcb.ArgumentError, match="parameters that are not finite"):
        fcb.load(path)
