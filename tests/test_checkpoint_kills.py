"""Runs whose process is killed, whose disk is full, or whose folder takes no files."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from fcbackends import files
from tests.cases import environment


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


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
    assert train(checkpoint=file, **begun) == wanted
    assert os.listdir(".") == [file]
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


UNFINISHED = textwrap.dedent(
    """
    import os, pathlib, sys
    from fcbackends import files

    with files.replacing(pathlib.Path("other")):
        print("writes", flush=True)
        sys.stdin.read()
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="has no locks to know them by")
def test_only_what_killed_processes_left_is_removed(path):
    started = []
    try:
        for _ in range(2):
            how = dict(cwd=path.parent, env=environment(), stdin=subprocess.PIPE)
            code = [sys.executable, "-c", UNFINISHED]
            started.append(subprocess.Popen(code, stdout=subprocess.PIPE, text=True, **how))
            assert started[-1].stdout.readline() == "writes\n"
        lives, killed = started
        both = set(path.parent.iterdir())
        killed.kill()
        killed.wait()
        strangers = {path.with_name(name) for name in (".fcbackends-x", "other-1")}
        for stranger in strangers:
            stranger.write_text("kept")
        files.write(path, b"content")
        left = set(path.parent.iterdir()) - strangers - {path}
        assert len(both) == 2
        assert len(left) == 1
        assert left < both
        lives.communicate("")
        assert lives.returncode == 0
        assert set(path.parent.iterdir()) == strangers | {path, path.with_name("other")}
    finally:
        for process in started:
            process.kill()
            process.communicate()


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
