"""Settings shared by all tests: what runs by default, in how many processes, on which kernels."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from fcbackends.backends import registry, small_kernels
from tests.cases import CAMPAIGN_EXAMPLES, DTYPES, JIT_OFF, QUICK_EXAMPLES

settings.register_profile(
    "quick",
    deadline=None,  # the first call of a kernel compiles it
    database=None,
    derandomize=True,
    max_examples=QUICK_EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "campaign",
    settings.get_profile("quick"),
    derandomize=False,
    max_examples=CAMPAIGN_EXAMPLES,
    print_blob=True,
)
settings.load_profile("quick")


REGISTRY = {name: dict(getattr(registry, name)) for name in ("_loaders", "_loaded", "_libraries")}


@pytest.fixture(autouse=True)
def _registry_as_imported(monkeypatch):
    """What other tests and examples have registered is not there, and what this one does goes."""
    for name, entries in REGISTRY.items():
        monkeypatch.setattr(registry, name, dict(entries))


@pytest.fixture(autouse=True)
def _no_chosen_backend(monkeypatch):
    """The tests choose their backend themselves, whatever the caller's environment says."""
    monkeypatch.delenv("FCBACKENDS_BACKEND", raising=False)


@pytest.fixture(autouse=True)
def _general_kernel(monkeypatch):
    """Small networks are the general kernel's, too, whatever others left in the cache."""
    monkeypatch.setattr(small_kernels, "_MOST_KERNELS", 0)
    monkeypatch.setattr(small_kernels, "_kernels", {})


@pytest.fixture(autouse=True)
def _fresh_warnings():
    """No test may leave NumPy's error handling changed."""
    before = np.geterr()
    yield
    assert np.geterr() == before


# --- what runs -----------------------------------------------------------------------------------

MOST_PROCESSES = 8
"""Each process makes the fixtures of its tests anew."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Whole folders run without what is slow, and in as many processes as there are cores."""
    if hasattr(config, "workerinput"):
        return  # a worker of xdist runs this hook as well: it would start workers of its own
    chosen = config.option
    if not all(Path(argument).is_dir() for argument in config.args):
        return
    chosen.markexpr = chosen.markexpr or "not slow and not campaign"
    if getattr(chosen, "numprocesses", 0) is None and not (chosen.usepdb or chosen.collectonly):
        chosen.numprocesses, chosen.dist = "auto", "worksteal"
        chosen.maxprocesses = chosen.maxprocesses or MOST_PROCESSES


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Hand to a worker what is chosen: it knows the command line alone."""
    node.workerinput["markexpr"] = node.config.option.markexpr


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.option.markexpr = getattr(config, "workerinput", {}).get(
        "markexpr", config.option.markexpr
    )
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell's jobs in the background ignore Ctrl-C, and so would what the tests start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.markexpr == "campaign":
        settings.load_profile("campaign")
    if JIT_OFF:
        # Kernels as plain Python warn of the overflows that compiled ones pass over.
        np.seterr(all="ignore")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """No examples in tests: to look for them passes over a file that cannot be imported."""
    return [found for found in (yield) if type(found).__name__ != "DoctestModule"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if config.option.markexpr == "campaign":
        for item in items:
            if is_hypothesis_test(getattr(item, "obj", None)):
                item.add_marker("campaign")


def pytest_sessionstart(session):
    """Compile the kernels once, before several processes each do."""
    of_controller = not hasattr(session.config, "workerinput")
    if of_controller and getattr(session.config.option, "tx", None) and not JIT_OFF:
        command = [sys.executable, "-m", "fcbackends", "warmup", "--dtype"]
        source = Path(__file__).parents[1]
        compiling = [
            subprocess.Popen([*command, dtype], cwd=source, stdout=subprocess.DEVNULL)
            for dtype in DTYPES
        ]
        for process in compiling:
            process.wait()


def pytest_report_header():
    return f"fcbackends tests: JIT {'off' if JIT_OFF else 'on'}"
