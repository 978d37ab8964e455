"""Settings shared by all tests."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from fcbackends.backends import registry

settings.register_profile(
    "house",
    deadline=None,  # the first call of a kernel compiles it
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


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
def _fresh_warnings():
    """No test may leave NumPy's error handling changed."""
    before = np.geterr()
    yield
    assert np.geterr() == before


JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def pytest_configure(config):
    config.addinivalue_line("markers", "jit_off: runs quickly with NUMBA_DISABLE_JIT=1 as well")
    if JIT_OFF:
        # Kernels as plain Python warn of the overflows that compiled ones pass over.
        np.seterr(all="ignore")


def pytest_report_header():
    return f"fcbackends tests: JIT {'off' if JIT_OFF else 'on'}"
