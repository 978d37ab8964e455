"""The golden runs end on their digests, whatever computes them."""

import itertools

import pytest

import fcbackends as fcb
from fcbackends.conformance.golden import RUNS, differing_runs, golden_digests, golden_runs
from fcbackends.kernels import threads as threading
from tests.broken import backend_of, reversed_backward
from tests.cases import DTYPES, allow_small_kernels, needs_jit
from tests.fused_oracle import fused
from tests.oracle import fast

ARITHMETICS = {name: golden_runs(name) for name in ("ordered", "fused")}
ORACLES = {"ordered": backend_of(fast), "fused": backend_of(fused, arithmetic="fused")}


def test_every_run_has_one_digest_of_its_own():
    known = golden_digests()
    assert list(known) == [str(run) for run in RUNS]
    for runs in ARITHMETICS.values():
        assert len({known[str(run)] for run in runs}) == len(runs) >= 64
    # One rounding fewer shows in all but the smallest layer.
    pairs = zip(*ARITHMETICS.values(), strict=True)
    alike = [a.sizes for a, b in pairs if known[str(a)] == known[str(b)]]
    assert set(alike) == {(1, 1)}
    assert all(
        len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in known.values()
    )


def test_runs_differ_in_all_that_shapes_a_run():
    assert {len(run.sizes) for run in RUNS} == {2, 3, 4}
    assert {run.dtype for run in RUNS} == {"float32", "float64"}
    assert {run.sampling for run in RUNS} == {"replacement", "epoch"}
    assert {run.batch_size for run in RUNS} >= {1, 9}
    assert {run.dtype for run in golden_runs("fused", ("float32",))} == {"float32"}
    assert golden_runs("native") == ()


def one_of_each_recipe(runs):
    """Of the runs alike but for their sizes, samples and dtype, the cheapest."""
    cheap = sorted(runs, key=lambda run: run.steps * run.batch_size * sum(run.sizes))
    return list({run[6:]: run for run in reversed(cheap)}.values())


@pytest.mark.parametrize(
    ("arithmetic", "runs"),
    [
        ("ordered", ARITHMETICS["ordered"]),
        # A fused sum of the oracle's takes a hundred times as long.
        ("fused", one_of_each_recipe(ARITHMETICS["fused"])),
        pytest.param("fused", ARITHMETICS["fused"], marks=pytest.mark.campaign),
    ],
    ids=["ordered", "fused", "fused, all"],
)
def test_the_oracle_ends_on_the_digests(arithmetic, runs):
    assert len(runs) >= 19
    assert differing_runs(runs, ORACLES[arithmetic]) == ()


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_numpy_ends_on_the_digests(arithmetic):
    backend = fcb.get_backend("numpy", arithmetic=arithmetic)
    assert differing_runs(ARITHMETICS[arithmetic], backend) == ()


# Strict arrays have NumPy's code and take 20 times as long. `fcbackends verify` does all runs.
@pytest.mark.parametrize(("arithmetic", "dtype"), [("ordered", "float64"), ("fused", "float32")])
def test_strict_arrays_end_on_the_digests(arithmetic, dtype):
    runs = one_of_each_recipe(run for run in ARITHMETICS[arithmetic] if run.dtype == dtype)
    assert len(runs) == 19
    assert differing_runs(runs, fcb.get_backend("array_api_strict", arithmetic=arithmetic)) == ()


@needs_jit
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_compiled_kernels_end_on_the_digests(arithmetic, threads, monkeypatch):
    monkeypatch.setattr(threading, "get_threads", lambda: threads)
    monkeypatch.setattr(threading, "_PRODUCTS_A_THREAD", 10_000)
    backend = fcb.get_backend("numba", arithmetic=arithmetic)
    assert differing_runs(ARITHMETICS[arithmetic], backend) == ()


@needs_jit
@pytest.mark.campaign
@pytest.mark.parametrize(("arithmetic", "dtype"), [*itertools.product(ARITHMETICS, DTYPES)])
def test_kernels_of_constant_shapes_end_on_the_digests(arithmetic, dtype, monkeypatch):
    shapes = allow_small_kernels(monkeypatch)
    runs = [run for run in ARITHMETICS[arithmetic] if run.dtype == dtype]
    assert differing_runs(runs, fcb.get_backend("numba", arithmetic=arithmetic)) == ()
    assert len(shapes) == 31


def test_a_defect_changes_the_digests():
    runs = golden_runs("ordered")
    wrong = differing_runs(runs, backend_of(fast, backward=reversed_backward))
    # A batch of one has no sum to reverse.
    batches = {str(run) for run in runs if run.batch_size > 1}
    assert set(wrong) <= batches
    assert len(wrong) >= 0.9 * len(batches)
