"""The golden runs end on their digests, whatever computes them."""

import pytest

import fcbackends as fcb
from fcbackends.backends import fused_loop
from fcbackends.conformance.golden import RUNS, differing_runs, golden_digests, golden_runs
from fcbackends.kernels import threads as threading
from tests.broken import backend_of, reversed_backward
from tests.cases import needs_jit
from tests.oracle import fast


def test_every_run_has_one_digest_of_its_own():
    known = golden_digests()
    assert len(RUNS) >= 64
    assert list(known) == [str(run) for run in RUNS]
    assert len(set(known.values())) == len(RUNS)
    assert all(
        len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in known.values()
    )


def test_runs_differ_in_all_that_shapes_a_run():
    assert {len(run.sizes) for run in RUNS} == {2, 3, 4}
    assert {run.dtype for run in RUNS} == {"float32", "float64"}
    assert {run.sampling for run in RUNS} == {"replacement", "epoch"}
    assert {run.batch_size for run in RUNS} >= {1, 9}
    assert {run.dtype for run in golden_runs(("float32",))} == {"float32"}


def test_the_oracle_ends_on_the_digests():
    assert differing_runs(RUNS, backend_of(fast)) == ()


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("numpy", RUNS),
        ("array_api_strict", RUNS[::7]),
        pytest.param("array_api_strict", RUNS, marks=pytest.mark.slow),
    ],
    ids=["numpy", "some on array_api_strict", "array_api_strict"],
)
def test_array_api_backends_end_on_the_digests(name, runs):
    assert differing_runs(runs, fcb.get_backend(name)) == ()


@needs_jit
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("constant_shapes", [False, True])
def test_compiled_kernels_end_on_the_digests(threads, constant_shapes, monkeypatch):
    monkeypatch.setattr(threading, "get_threads", lambda: threads)
    monkeypatch.setattr(threading, "_PRODUCTS_A_THREAD", 10_000)
    monkeypatch.setattr(fused_loop, "_WORTH_A_KERNEL", 1 if constant_shapes else 10**9)
    monkeypatch.setattr(fused_loop, "_small_kernels", {})
    assert differing_runs(RUNS, fcb.get_backend("numba")) == ()
    assert len(fused_loop._small_kernels) == (12 if constant_shapes else 0)


def test_a_defect_changes_the_digests():
    wrong = differing_runs(RUNS, backend_of(fast, backward=reversed_backward))
    # A batch of one has no sum to reverse.
    batches = {str(run) for run in RUNS if run.batch_size > 1}
    assert set(wrong) <= batches
    assert len(wrong) >= 0.9 * len(batches)
