"""The conformance kit as tests: `pytest --pyargs fcbackends.conformance --backend NAME`."""

from __future__ import annotations

from typing import Any

import pytest

from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import get_backend
from fcbackends.checks import options
from fcbackends.conformance.campaign import command, stated_class
from fcbackends.conformance.golden import GoldenRun, differing_runs, golden_runs
from fcbackends.conformance.running import run_cases
from fcbackends.conformance.selftest import taken_dtypes
from fcbackends.conformance.tally import Level

_CASES_A_TEST = 50


def pytest_generate_tests(metafunc: Any) -> None:
    """Every test for each backend; where none is chosen, for the two that are always there."""
    option = metafunc.config.getoption
    if "run" in metafunc.fixturenames:
        metafunc.parametrize("run", golden_runs(option("--arithmetic", None) or "ordered"), ids=str)
    if "first" in metafunc.fixturenames:
        metafunc.parametrize("first", range(0, option("--cases", 500), _CASES_A_TEST))
    metafunc.parametrize("name", option("--backend", None) or ["numpy", "numba"])


def _backend(name: str, config: pytest.Config) -> Backend:
    return get_backend(name, arithmetic=config.getoption("--arithmetic", None) or "ordered")


def test_the_self_test_finds_the_class_that_is_stated(
    name: str, pytestconfig: pytest.Config
) -> None:
    """A or B: the contract's arithmetic."""
    backend = _backend(name, pytestconfig)
    assert backend.conformance.letter == stated_class(backend), backend.conformance.reason


def test_a_golden_run_ends_on_its_digest(
    name: str, run: GoldenRun, pytestconfig: pytest.Config
) -> None:
    """The same digest on every machine."""
    backend = _backend(name, pytestconfig)
    if run.dtype not in taken_dtypes(backend):
        pytest.skip(f"{name} does not take {run.dtype} here")
    assert differing_runs([run], backend) == ()


def test_random_cases_have_the_bits_of_the_contract(
    name: str, first: int, pytestconfig: pytest.Config
) -> None:
    """Those from `first` on; what differs is told with a command that shows it again."""
    option = pytestconfig.getoption
    rows_per_block = option("--rows-per-block", None)
    backend = options.in_blocks(_backend(name, pytestconfig), rows_per_block)
    seed, last = option("--seed", 0), min(first + _CASES_A_TEST, option("--cases", 500))
    tally = run_cases(backend, seed, range(first, last), taken_dtypes(backend))
    finding = tally.first_below(Level[stated_class(backend)])
    if finding:
        again = command(name, backend.arithmetic, seed, finding, rows_per_block)
        pytest.fail(f"{finding.description}\n{finding.defect}\n{again}", pytrace=False)
