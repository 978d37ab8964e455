"""How the benchmarks run: threads, what is measured, what is saved, and the tables at the end."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from pytest_benchmark.logger import PytestBenchmarkWarning

os.environ.setdefault("JAX_ENABLE_X64", "1")  # float64 in JAX

import fcbackends as fcb
from benchmarks import measurement
from benchmarks.workloads import Workload
from benchmarks.workloads.grids import BY_NAME, GRIDS
from benchmarks.workloads.preparing import backends, prepare
from fcbackends.report import runs
from fcbackends.report.documents import report_document
from fcbackends.report.machine import pinned_threads, this_machine
from fcbackends.report.summary import summarize
from fcbackends.report.terminal import to_text

# Programs, with imports as such.
collect_ignore_glob = ["[!t]*.py"]

_saved: list[runs.Run] = []
_taken: list[tuple[measurement.Measured, Any]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--threads", type=int, default=1, help="threads of BLAS and Numba (default: 1)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    for marker, meaning in (
        ("light", "the grid of a run of some minutes; chosen where no -m is given"),
        ("full", "the whole grid, the light one included"),
        ("study", "how time grows with samples, width, depth and batch"),
    ):
        config.addinivalue_line("markers", f"{marker}: {meaning}")
    # What the runner has to say is no error, be it while it starts or later.
    warnings.filterwarnings("default", category=PytestBenchmarkWarning)
    config.addinivalue_line(
        "filterwarnings", "default::pytest_benchmark.logger.PytestBenchmarkWarning"
    )
    if not config.option.markexpr and not any("::" in argument for argument in config.args):
        config.option.markexpr = "light"
    pinned = pinned_threads(config.getoption("--threads"))
    pinned.__enter__()
    config.add_cleanup(lambda: pinned.__exit__(None, None, None))
    # Each run is kept, with its rounds, so that it can be reported and compared later.
    config.option.benchmark_save_data = True
    if not (config.option.benchmark_save or config.option.benchmark_autosave):
        from pytest_benchmark.utils import get_tag

        config.option.benchmark_autosave = get_tag()
    # The runner's own table of twelve columns shows neither agreement nor baseline.
    if not (config.option.benchmark_compare or config.option.benchmark_verbose):
        config.option.benchmark_quiet = True


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info["fcbackends"] = msgspec.to_builtins(this_machine())


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    # What could be timed and not described has failed as a test, and is no result.
    output_json["benchmarks"] = [b for b in output_json["benchmarks"] if b["extra_info"]]
    _saved[:] = [msgspec.convert(output_json, runs.Run)] if output_json["benchmarks"] else []


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[object]:
    """Once all benchmarks have been visited by their tests, visit them all again and again."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    for visit in range(2, measurement.VISITS + 1):
        again = [(rounds, stats) for rounds, stats in _taken if not rounds.is_done]
        if again and reporter:
            reporter.write_line(f"visit {visit} of {measurement.VISITS}: {len(again)} benchmarks")
        for rounds, stats in again:
            measurement.visit_again(rounds, stats)
    for rounds, stats in _taken:
        stats.extra_info.update(measurement.rounds_taken(rounds, stats.extra_info["samples"]))
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for run in _saved:
        terminalreporter.write_line("")
        terminalreporter.write_line(to_text(report_document(summarize(run))))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of a module runs on that module's workloads, and each of these on all backends."""
    if "workload" in metafunc.fixturenames:
        metafunc.parametrize(
            ("workload", "backend_name", "arithmetic"),
            [
                pytest.param(
                    workload,
                    *backend,
                    id=f"{workload.name}-{backend[0]}-{backend[1]}",
                    marks=[getattr(pytest.mark, grid) for grid in GRIDS[workload.name]],
                )
                for workload in BY_NAME.values()
                if workload.kind in metafunc.module.KINDS
                for backend in backends()
            ],
        )


@pytest.fixture
def measure(benchmark: Any) -> Any:
    """Time a workload on a backend, compare its result with the reference's, keep both."""

    def measured(workload: Workload, backend_name: str, arithmetic: Any) -> None:
        try:
            backend = fcb.get_backend(backend_name, arithmetic=arithmetic)
            prepared = prepare(workload, backend)
        except fcb.ArgumentError as error:
            pytest.skip(str(error))
        benchmark.group = workload.name
        rounds = measurement.first_visit(prepared, workload.units_a_run, benchmark)
        work = measurement.describe(workload, backend, prepared.result(), rounds.first_call)
        benchmark.extra_info.update(msgspec.to_builtins(work))
        if benchmark.enabled:
            _taken.append((rounds, benchmark.stats))
        if work.agreement.stated == "A" and not work.agreement.equal:
            pytest.fail(
                f"{backend_name} is to give the reference's bits, and {work.agreement.different} "
                f"of {work.agreement.values} values differ, by up to {work.agreement.max_ulp} ULP"
            )

    return measured
