"""Compiled kernels on disk: they spare time, and can do no harm."""

import os
import pickle
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.kernels import sampling, storage
from tests.cases import needs_jit, quick_first

pytestmark = needs_jit
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits, modes and homes")

SOURCE = Path(fcb.__file__).parents[1]
CODE = """
import numpy as np
import fcbackends as fcb
for dtype in ("float64", "float32"):
    y, t = (np.array([[value]], dtype) for value in (16, 15))
    loss, dy = fcb.mean_squared_loss(y, t)
    print(loss, fcb.digest(dy))
"""
RIGHT = "".join(f"1.0 {fcb.digest(np.array([[2.0]], dtype))}\n" for dtype in ("float64", "float32"))


def start(cache, code=CODE, *options, cwd=SOURCE, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    folder = {} if cache is None else {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, *options, "-c", code],
        env={**inherited, "PYTHONPATH": str(SOURCE), **folder, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def run(*arguments, **options):
    process = start(*arguments, **options)
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    return process.returncode, out, err


def run_without_a_word(*arguments, **options):
    assert run(*arguments, **options) == (0, RIGHT, "")


def run_with_one_warning(*arguments, reason="", **options):
    """Every warning is shown, and there is one for all kernels."""
    status, out, err = run(*arguments, "-Walways", **options)
    assert (status, out) == (0, RIGHT)
    assert err.count("CacheWarning") == err.count("are not kept in") == 1
    assert reason in err


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    run_without_a_word(folder)
    return folder


@pytest.fixture
def cache(filled, tmp_path):
    """A folder with both kernels, to be spoiled."""
    return shutil.copytree(filled, tmp_path / "cache")


def test_a_second_process_reads_what_the_first_compiled(cache):
    made = files(cache)
    assert len(made) == 2
    run_without_a_word(cache)
    assert files(cache) == made
    # Another option of the compiler is another kernel; the number of threads is none.
    run_without_a_word(cache, NUMBA_NUM_THREADS="1")
    assert files(cache) == made
    run_without_a_word(cache, NUMBA_OPT="1")
    assert len(files(cache)) == 4


@pytest.mark.slow
def test_another_version_of_the_kernels_is_another_build(filled, tmp_path):
    shutil.copytree(SOURCE / "fcbackends", tmp_path / "fcbackends")
    cache = shutil.copytree(filled, tmp_path / "cache")
    run_without_a_word(cache, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert len(files(cache)) == 2
    with open(tmp_path / "fcbackends/kernels/layers.py", "a") as source:
        source.write("# A changed kernel.\n")
    run_without_a_word(cache, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert len(files(cache)) == 4


SPOILED = {
    "one bit": lambda content, other: content[:40] + bytes([content[40] ^ 1]) + content[41:],
    "empty": lambda content, other: b"",
    "cut": lambda content, other: content[:-1],
    "stump": lambda content, other: content[:7],
    "another kernel": lambda content, other: other,
    "foreign": lambda content, other: pickle.dumps("a foreign file"),
}


@pytest.mark.parametrize("how", quick_first(SPOILED, 1))
def test_a_spoiled_file_is_compiled_anew(cache, how):
    made = files(cache)
    (path, content), (_, other) = made.items()
    path.write_bytes(SPOILED[how](content, other))
    run_without_a_word(cache)
    again = files(cache)
    assert again.keys() == made.keys()
    assert len(storage.read(path)) > 1000


@pytest.mark.parametrize(
    "payload",
    quick_first([b"no pickle", pickle.dumps({"foreign": 1}), pickle.dumps((None,) * 9)], 1),
)
def test_a_whole_file_of_something_else_is_compiled_anew(cache, payload):
    for path in files(cache):
        storage.write(path, payload)
    run_without_a_word(cache)
    assert all(len(content) > 1000 for content in files(cache).values())


TRAINS = """
import fcbackends as fcb
from fcbackends.backends import small_kernels
small_kernels._MOST_KERNELS = 0  # the general kernels, whose parts are called
x, t = [[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]], [[1.0], [5.0], [2.0]]
for momentum in {momenta}:
    optimizer = fcb.SGD(momentum=momentum)
    print(momentum, fcb.digest(fcb.train(x, t, optimizer=optimizer, lr=0.01, max_steps=9).params))
"""


def test_kernels_of_two_processes_keep_their_own_parts_in_a_third(tmp_path):
    """Parts of one name, made for other values in each process, may not stand for each other."""
    x, t = np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]]), np.array([[1.0], [5.0], [2.0]])
    how = dict(lr=0.01, max_steps=9, backend="numpy")
    right = {
        momentum: f"{momentum} {fcb.digest(fcb.train(x, t, optimizer=optimizer, **how).params)}\n"
        for momentum, optimizer in ((u, fcb.SGD(momentum=u)) for u in (0.0, 0.5))
    }
    for momenta in ([0.0], [0.5], [0.0, 0.5], [0.5, 0.0]):
        want = "".join(right[momentum] for momentum in momenta)
        assert run(tmp_path, TRAINS.format(momenta=momenta)) == (0, want, "")


@pytest.mark.slow
def test_processes_that_compile_the_same_kernels_at_once(tmp_path):
    started = [start(tmp_path / "new" / "cache") for _ in range(3)]
    ended = [(*process.communicate(timeout=600), process.returncode) for process in started]
    assert ended == [(RIGHT, "", 0)] * 3
    assert len(files(tmp_path)) == 2
    run_without_a_word(tmp_path / "new" / "cache")


@pytest.mark.slow
def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "a file").write_text("")
    run_with_one_warning(tmp_path / "a file" / "below", CODE, reason="set NUMBA_CACHE_DIR to")


@posix
def test_a_read_only_folder(cache, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, cache, *(path for path in cache.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    if os.access(empty, os.W_OK):
        pytest.skip("root may write anywhere")
    run_without_a_word(cache)
    run_with_one_warning(empty, CODE, reason="Permission denied")


@pytest.mark.slow
def test_a_folder_in_a_kernels_place(cache):
    for path in files(cache):
        path.unlink()
        path.mkdir()
    run_with_one_warning(cache, CODE)
    assert files(cache) == {}


@pytest.mark.slow
def test_a_disk_that_is_full(tmp_path):
    full = """
import errno, os
def replace(source, target, **_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)
os.replace = replace
"""
    run_with_one_warning(tmp_path, full + CODE, reason="No space left on device")
    assert files(tmp_path) == {}


@posix
@pytest.mark.slow
def test_a_file_that_cannot_be_written_whole(tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    run_with_one_warning(tmp_path, limited + CODE, reason="File too large", cwd=tmp_path)
    assert files(tmp_path) == {}


@posix
def test_kernels_are_the_users_alone(tmp_path):
    """Where everybody may write, as in /tmp, the first to come makes a folder of their own."""
    tmp_path.chmod(0o1777)
    mask = os.umask(0)
    try:
        run_without_a_word(tmp_path)
    finally:
        os.umask(mask)
    made = list(tmp_path.rglob("*"))
    assert len(made) == 4
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    run_without_a_word(tmp_path)


def places(cache):
    """The folder of all builds, that of a build, and a kernel."""
    (build,) = (cache / "fcbackends").iterdir()
    return cache / "fcbackends", build, min(build.iterdir())


def as_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


NOT_PRIVATE = {
    "the group may write": lambda path: path.chmod(path.stat().st_mode | 0o020),
    "all may write": lambda path: path.chmod(path.stat().st_mode | 0o002),
    "another owner": lambda path: os.chown(path, 65534, -1),
    "a link": as_link,
}


@posix
@pytest.mark.parametrize("place", range(3), ids=["folder", "build", "kernel"])
@pytest.mark.parametrize("how", NOT_PRIVATE)
def test_what_is_not_the_users_alone_is_not_read(cache, place, how):
    path = places(cache)[place]
    file = places(cache)[2]
    assert storage.read(file)
    if how == "another owner" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    NOT_PRIVATE[how](path)
    assert storage.read(file) is None
    assert not storage.is_there(file)
    if path.is_dir():
        with pytest.raises(OSError, match=r"may write|somebody else|a link|directory"):
            storage.write(file, b"a program")
        return
    # In a folder that is private, a kernel of others is replaced.
    storage.write(file, b"a program")
    assert storage.read(file) == b"a program"


@posix
@pytest.mark.parametrize("how", quick_first(["all may write", "the group may write", "a link"], 1))
def test_a_shared_folder_of_kernels_is_warned_of_and_not_used(cache, how):
    folder = cache / "fcbackends"
    evil = b"cos\nsystem\n(S'touch " + bytes(cache / "run") + b"'\ntR."
    for path in files(folder):
        storage.write(path, evil)
    NOT_PRIVATE[how](folder)
    before = list(cache.rglob("*"))
    reason = "it is a link" if how == "a link" else "others may write to it"
    run_with_one_warning(cache, CODE, reason=reason)
    assert list(cache.rglob("*")) == before


@posix
@pytest.mark.slow
def test_a_user_without_a_home(tmp_path):
    homeless = """
import os, pwd
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid
for name in ("HOME", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
"""
    run_with_one_warning(None, homeless + CODE, reason="no home directory", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own place")
def test_the_users_own_cache_folder(tmp_path):
    run_without_a_word(None, HOME=str(tmp_path), XDG_CACHE_HOME="")
    assert len(files(tmp_path / ".cache" / "fcbackends")) == len(files(tmp_path)) == 2


def builds(folder):
    return sorted(path.name for path in folder.iterdir())


def test_builds_that_were_not_used_for_longest_go_when_a_new_one_comes(tmp_path):
    names = [f"{i:024x}" for i in range(storage.MOST_BUILDS + 3)]
    for i, name in enumerate(names):
        storage.write(tmp_path / name / "a.kernel", b"a")
        os.utime(tmp_path / name, (1e9 + i, 1e9 + i))
    (tmp_path / "somebody else's").mkdir()
    assert builds(tmp_path) == [*names[-storage.MOST_BUILDS :], "somebody else's"]
    oldest, _, *others = names[-storage.MOST_BUILDS :]
    # The oldest is used; then come another kernel of a build that is there, and a new build.
    assert storage.read(tmp_path / oldest / "a.kernel") == b"a"
    storage.write(tmp_path / others[0] / "b.kernel", b"b")
    assert len(builds(tmp_path)) == storage.MOST_BUILDS + 1
    storage.write(tmp_path / ("f" * 24) / "a.kernel", b"a")
    assert builds(tmp_path) == [oldest, *others, "f" * 24, "somebody else's"]


@pytest.mark.slow
def test_a_build_that_goes_while_it_is_in_use_comes_again(cache):
    removes = f"""
import shutil
from fcbackends.kernels import layers
layers.loss_and_gradient("float64")
shutil.rmtree({str(cache)!r})
"""
    run_without_a_word(cache, removes + CODE)
    name = "layers.loss_and_gradient-ordered-float32.kernel"
    assert [path.name for path in files(cache)] == [name]


OTHER_NUMBAS = {
    "without the class of libraries": "from numba.core import codegen; del codegen.JITCodeLibrary",
    "with another list of libraries": """
from numba.core import codegen
class Library(codegen.JITCodeLibrary):
    @property
    def _linking_libraries(self):
        raise AttributeError
codegen.JITCodeLibrary = Library
""",
    "that makes machine code whatever it is told": """
from numba.core import typed_passes
def run_pass(self, state, numbas=typed_passes.NativeLowering.run_pass):
    state.flags.no_compile = False
    return numbas(self, state)
typed_passes.NativeLowering.run_pass = run_pass
""",
    "that links what is final": """
from numba.core import codegen
def link(self, numbas=codegen.CPUCodeLibrary._get_module_for_linking):
    assert self._finalized
    return numbas(self)
codegen.CPUCodeLibrary._get_module_for_linking = link
""",
}
AS_NUMBA_DOES = """
from fcbackends.kernels import jit
print(jit._as_numba_does)
"""


def test_kernels_are_compiled_as_wholes(tmp_path):
    assert run(tmp_path, CODE + AS_NUMBA_DOES) == (0, f"{RIGHT}False\n", "")


@pytest.mark.parametrize("numba", quick_first(OTHER_NUMBAS, 1))
def test_another_numba_compiles_in_its_own_way(numba, tmp_path):
    code = OTHER_NUMBAS[numba] + CODE + AS_NUMBA_DOES
    assert run(tmp_path, code) == (0, f"{RIGHT}True\n", "")
    run_without_a_word(tmp_path)


def test_a_part_cannot_be_called_but_by_kernels():
    with pytest.raises(KeyError, match="is called by kernels alone"):
        sampling.word(np.uint64(1), 2)
