"""Tests on changed code: which statements each test runs, and whether it sees a mutant."""

from __future__ import annotations

import ast
import builtins
import contextlib
import gc
import hashlib
import importlib.abc
import importlib.machinery
import itertools
import json
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType

import pytest

from tests.mutation.mutants import ROOMS, ROOT, Mutant, files, mutated

TESTS = "not slow and not campaign"
KEPT = ROOT / ".pytest_cache" / "mutation"

LONGEST = 1.0
"""Seconds of the processor: a test that takes longer without the JIT is left out."""

MOST_SECONDS = 5.0
"""So long may the tests of one mutant take in all."""

Runs = dict[str, tuple[float, list[tuple[str, int]]]]
"""For each test the seconds that it takes, and the statements it runs: files and lines."""


# --- which statements each test runs -------------------------------------------------------------


def runs_of_tests(test_files: Iterable[str]) -> Runs:
    """The runs of all tests that pass, kept in a file until the test file or the rooms change."""
    source = b"".join((ROOT / file).read_bytes() for room in ROOMS for file in files(room))
    runs: Runs = {}
    for test_file in test_files:
        digest = hashlib.sha256(source + (ROOT / test_file).read_bytes()).hexdigest()[:16]
        kept = KEPT / f"{digest}.json"
        if not kept.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            _in_child(lambda: _record(test_file, kept), None)  # noqa: B023
        runs |= json.loads(kept.read_text())
    return runs


def _record(test_file: str, kept) -> int:
    recorder = _Recorder()
    _pytest([test_file], recorder)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps(recorder.runs))
    partial.rename(kept)
    return 0


class _Recorder(importlib.abc.MetaPathFinder):
    """Has each statement of the rooms note that it ran."""

    def __init__(self) -> None:
        self.runs: Runs = {}
        self._statements: list[tuple[str, int]] = []
        self._passed = True
        self._seen = builtins._statements_run = bytearray(1 << 16)
        sys.meta_path.insert(0, self)
        signal.signal(signal.SIGPROF, lambda *_: pytest.skip("takes too long"))

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] != "fcbackends" or name.split(".")[1:2] not in [[r] for r in ROOMS]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        spec.loader = _Loader(name, spec.origin, self._statements)
        return spec

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self._seen[:] = bytes(len(self._seen))
        self._passed, begun = True, _seconds()
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
        yield
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = _seconds() - begun
        if self._passed and seconds < LONGEST:
            ran = list(itertools.compress(self._statements, self._seen))
            self.runs[item.nodeid] = seconds, ran
        return True

    def pytest_runtest_logreport(self, report):
        self._passed = self._passed and report.passed


def _seconds() -> float:
    """The processor's time of this process and of those it has waited for."""
    return sum(os.times()[:4])


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name, path, statements):
        super().__init__(name, path)
        self._statements = statements

    def get_code(self, fullname):
        tree = ast.parse(self.get_data(self.path))
        file = os.path.relpath(self.path, ROOT)
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                self._note(function, file)
        return compile(ast.fix_missing_locations(tree), self.path, "exec")

    def _note(self, node, file):
        if getattr(node, "_noted", False):
            return
        node._noted = True
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            block = getattr(node, field, None)
            if not isinstance(block, list):
                continue
            noted = []
            for statement in block:
                if isinstance(statement, ast.stmt):
                    number = len(self._statements)
                    self._statements.append((file, statement.lineno))
                    note = ast.parse(f"_statements_run[{number}] = 1").body[0]
                    noted.append(ast.copy_location(note, statement))
                self._note(statement, file)
                noted.append(statement)
            setattr(node, field, noted)


# --- mutants against tests -----------------------------------------------------------------------


def judge(
    sample: Iterable[Mutant], runs: Runs, test_files: list[str], told: Callable[[Mutant, str], None]
) -> None:
    """Tell of each mutant whether it is "killed", "timeout" or "survived".

    It is "not run" if no test runs it, "not made" if its function cannot take the change.
    """
    running = defaultdict(list)
    for test, (seconds, statements) in runs.items():
        for file, line in statements:
            running[file, line].append((seconds, test))
    _pytest(test_files, _Judge(sample, running, told))


_OUTCOMES = {0: "survived", 1: "killed", 2: "not made"}


class _Judge:
    """A session of pytest that has collected the tests forks for each mutant."""

    def __init__(self, sample, running, told):
        self._sample, self._running, self._told = sample, running, told

    def pytest_runtestloop(self, session):
        items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()
        for mutant in self._sample:
            chosen, total = [], 0.0
            for seconds, test in _alternating(self._running[mutant.file, mutant.statement]):
                if total + seconds <= MOST_SECONDS:
                    chosen.append(items[test])
                    total += seconds
            if not chosen:
                self._told(mutant, "not run")
                continue
            code = _in_child(lambda: _is_killed(mutant, chosen), 5 + 3 * total)  # noqa: B023
            self._told(mutant, _OUTCOMES.get(code, "timeout"))
        return True


def _alternating(tests: list[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    """The fastest case of each test, then the second of each, and so on."""
    cases = defaultdict(list)
    for seconds, test in sorted(tests):
        cases[test.split("[")[0]].append((seconds, test))
    for in_turn in itertools.zip_longest(*cases.values()):
        yield from filter(None, in_turn)


def _is_killed(mutant: Mutant, items) -> int:
    try:
        _patch(mutated(mutant))
    except ValueError:
        return 2
    session = items[0].session
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _patch(codes: dict[CodeType, CodeType]) -> None:
    """Change the functions that are there, in whatever tables and closures they are kept."""
    gc.unfreeze()
    changed = 0
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__ in codes:
            function.__code__ = codes[function.__code__]
            changed += 1
    if not changed:
        raise ValueError(f"no function runs any of {list(codes)}")


def _in_child(work: Callable[[], int], most_seconds: float | None) -> int:
    """What work returns in a process of its own; 1 if it fails, less than 0 if it takes too long.

    The time is the processor's: how busy the machine is does not change the outcome. One that
    waits for ever uses none, and has twenty times as long by the clock.
    """
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            if most_seconds is not None:
                most = int(most_seconds) + 1
                resource.setrlimit(resource.RLIMIT_CPU, (most, most))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 1)
                os.dup2(nowhere, 2)
            code = work()
        os._exit(code)
    begun = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            # A crash is seen; SIGXCPU and the SIGKILL after it are the end of the time.
            return code if code in (-signal.SIGXCPU, -signal.SIGKILL) or code >= 0 else 1
        if most_seconds is not None and time.monotonic() - begun > 20 * most_seconds:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _pytest(test_files: Iterable[str], plugin: object) -> None:
    options = ["-q", "-n0", "-s", "--assert=plain", "-p", "no:cacheprovider", "-m", TESTS]
    pytest.main([*options, *(str(ROOT / file) for file in test_files)], plugins=[plugin])
