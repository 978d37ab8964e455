"""Checkpoints and model files that are damaged, and processes that are killed as they write."""

import json
import os
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends import tensor_files
from tests.cases import environment, problem

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


# --- kills ---------------------------------------------------------------------------------------

KILLED = textwrap.dedent(
    """
    import json, os, random, signal, sys, time
    import fcbackends as fcb
    import numpy as np

    seed, kills = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    data = np.random.default_rng(seed)
    x = data.normal(size=(100, 3))
    t = x @ data.normal(size=(3, 2))
    how = dict(
        hidden=(16,), optimizer=fcb.Adam(), lr=1e-3, batch_size=8, max_steps=60_000,
        validation=0.2, patience=10_000, record_every=500,
    )

    def train(**kept):
        result = fcb.train(x, t, **how, **kept)
        return fcb.digest((result.params, result.slots))

    start = time.perf_counter()
    wanted = train()
    seconds = time.perf_counter() - start
    done = ends = without = 0
    file = "run"
    while done < kills:
        begun = {"resume": file} if os.path.exists(file) else {}
        without += not begun
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            digest = train(checkpoint=file, checkpoint_every=rng.choice([1, 7, 100, 1000]), **begun)
            os.write(writing, digest.encode())
            os._exit(0)
        os.close(writing)
        time.sleep(rng.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        digest = os.read(reading, 64).decode()
        os.close(reading)
        if os.WIFSIGNALED(status):
            done += 1
        elif digest == wanted:
            ends += 1
            os.unlink(file)
        else:
            raise SystemExit(f"kill {done}: another digest, {digest!r}, status {status}")
    # What the last kill left is whole, and ends on the same bits.
    begun = {"resume": file} if os.path.exists(file) else {}
    assert train(**begun) == wanted
    print(json.dumps({"kills": done, "ends": ends, "begun_anew": without}))
    """
)


def survive_kills(folder, seed, kills):
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(seed), str(kills)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_a_run_survives_kills_at_any_moment(tmp_path):
    assert survive_kills(tmp_path, 0, 30)["kills"] == 30


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_survives_many_kills_at_any_moment(tmp_path, seed):
    assert survive_kills(tmp_path, seed, 100)["kills"] == 100


# --- disks ---------------------------------------------------------------------------------------

FILLED = textwrap.dedent(
    """
    import errno, os, resource, sys
    import fcbackends as fcb
    import numpy as np

    file, fill = sys.argv[1], sys.argv[2]
    x = np.arange(60.0).reshape(20, 3) / 60
    t = x @ np.ones((3, 2))
    how = dict(hidden=(8,), lr=1e-3, max_steps=400)
    wanted = fcb.train(x, t, **how)
    fills = []

    def callback(look):
        if look.step == 200 and not fills:
            fills.append(look.step)
            if fill == "limit":
                resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
            else:
                rest = os.open(fill, os.O_WRONLY | os.O_CREAT)
                try:
                    while True:
                        os.write(rest, bytes(512))
                except OSError:
                    os.close(rest)

    kept = dict(checkpoint=file, callback=callback, record_every=100)
    try:
        fcb.train(x, t, checkpoint_every=150, **kept, **how)
    except OSError as error:
        assert error.errno in (errno.ENOSPC, errno.EFBIG), error
        assert error.filename == os.path.realpath(file), error.filename
        assert "the one before is left" in str(error)
    else:
        raise SystemExit("no error")
    assert [n for n in os.listdir(os.path.dirname(file)) if n != "rest"] == ["run"]
    if fill == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    else:
        os.unlink(fill)
    result = fcb.train(x, t, resume=file, **kept, **how)
    assert fcb.compare(result.params, wanted.params).equal
    assert result.history.steps.tolist() == [100, 200, 300, 400]
    """
)


def fill_up(file, rest):
    ran = subprocess.run(
        [sys.executable, "-c", FILLED, str(file), str(rest)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(os.name != "posix", reason="has no limit on files' sizes")
def test_a_file_that_cannot_grow_leaves_the_checkpoint_before(path):
    fill_up(path.with_name("run"), "limit")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no tmpfs")
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    options = ["-t", "tmpfs", "-o", "size=32k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        fill_up(tmp_path / "run", tmp_path / "rest")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to become another user")
def test_a_folder_that_takes_no_files_is_refused_before_the_run(tmp_path):
    code = textwrap.dedent(
        """
        import os, sys
        import fcbackends as fcb
        how = dict(lr=0.1, max_steps=3, backend="numpy")
        fcb.train([[1.0]], [[1.0]], checkpoint=sys.argv[2], **how)
        os.setuid(65534)
        try:
            fcb.train([[1.0]], [[1.0]], checkpoint=sys.argv[1], **how)
        except fcb.ArgumentError as error:
            print(error)
        """
    )
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    ran = subprocess.run(
        [sys.executable, "-c", code, str(folder / "run"), str(tmp_path / "run")],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith("`checkpoint` must be a file that can be written"), ran
    assert not list(folder.iterdir())
