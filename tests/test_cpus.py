"""How many threads a call may use: what was set, or what the process may use of the machine."""

import os
import threading

import pytest

from fcbackends.kernels.cache import cache_directory
from fcbackends.kernels.cpus import granted_cpus
from fcbackends.kernels.threads import get_threads, set_threads
from tests.cases import needs_jit
from tests.test_kernel_cache import run as run_process

# The lines of /proc/self/cgroup, files below /sys/fs/cgroup, and the CPUs that they grant.
GROUPS = {
    "no groups": ("", {}, None),
    "2: no limit": ("0::/", {"cpu.max": "max 100000"}, None),
    "2: one and a half": ("0::/", {"cpu.max": "150000 100000"}, 1),
    "2: a tenth": ("0::/", {"cpu.max": "10000 100000"}, 1),
    "2: three": ("0::/a/b", {"a/b/cpu.max": "300000 100000"}, 3),
    "2: from above": (
        "0::/a/b",
        {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 50000", "cpu.max": "800000 100000"},
        4,
    ),
    "2: the host's path": ("0::/a/b", {"cpu.max": "200000 100000"}, 2),
    "1: no limit": (
        "3:cpu,cpuacct:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        None,
    ),
    "1: two": (
        "4:memory:/a\n3:cpuacct,cpu:/a\n0::/",
        {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        2,
    ),
    "another controller": (
        "3:cpuset:/a",
        {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"},
        None,
    ),
    "nonsense": ("0::/\nno line\n:\n", {"cpu.max": "much of it"}, None),
    "no time": ("0::/", {"cpu.max": "0 0"}, None),
}


@pytest.mark.parametrize("name", GROUPS)
def test_control_groups(name, tmp_path):
    lines, files, want = GROUPS[name]
    membership, root = tmp_path / "membership", tmp_path / "root"
    membership.write_text(lines)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    assert granted_cpus(membership, root) == want
    assert granted_cpus(tmp_path / "none", root) is None


# --- the order in which they are asked -----------------------------------------------------------

ASK = """
import os
from fcbackends.kernels import cpus
cpus.granted_cpus = lambda membership, root: {granted}
cpus._affinity = lambda: {affinity}
from fcbackends.kernels.threads import get_threads, set_threads
import numba
{before}
print(get_threads())
"""


@needs_jit
@pytest.mark.parametrize(
    ("granted", "affinity", "variables", "before", "want"),
    [
        (None, 5, {}, "", 5),
        (3, 5, {}, "", 3),
        (7, 5, {}, "", 5),
        (7, 5, {"OMP_NUM_THREADS": "2"}, "", 2),
        (7, 5, {"OMP_NUM_THREADS": "4,2"}, "", 4),
        (7, 5, {"OMP_NUM_THREADS": "many"}, "", 5),
        (7, 5, {"OMP_NUM_THREADS": "0"}, "", 5),
        (7, 5, {"OMP_NUM_THREADS": ""}, "", 5),
        (2, 3, {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "4"}, "", 4),
        (2, 3, {"NUMBA_NUM_THREADS": "4"}, "numba.set_num_threads(3)", 3),
        (2, 3, {"NUMBA_NUM_THREADS": "4"}, "numba.set_num_threads(3); set_threads(6)", 6),
    ],
)
def test_what_is_set_goes_before_what_there_is(granted, affinity, variables, before, want):
    code = ASK.format(granted=granted, affinity=affinity, before=before)
    variables = {"OMP_NUM_THREADS": "64", **variables}
    folder = cache_directory().parent
    assert run_process(folder, code, **variables) == (0, f"{want}\n", "")


def test_a_number_that_is_set_is_of_one_thread():
    before, seen = get_threads(), []

    def work():
        set_threads(before + 1)
        seen.append(get_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before + 1]
    assert get_threads() == before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_an_affinity_that_changes_is_seen():
    code = """
import os
from fcbackends.kernels.threads import get_threads
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
print(get_threads())
"""
    assert run_process(cache_directory().parent, code) == (0, "1\n", "")


@needs_jit
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the system's threads")
def test_to_ask_starts_no_threads():
    code = """
import os
import numpy, numba
before = len(os.listdir("/proc/self/task"))
from fcbackends.kernels.threads import get_threads
get_threads()
print(len(os.listdir("/proc/self/task")) - before)
numba.get_num_threads()
print(len(os.listdir("/proc/self/task")) - before)
"""
    folder = cache_directory().parent
    numba = dict(NUMBA_NUM_THREADS="4", NUMBA_THREADING_LAYER="workqueue")
    status, out, err = run_process(folder, code, **numba)
    assert (status, err) == (0, "")
    ours, numbas = map(int, out.split())
    assert ours == 0 < numbas
