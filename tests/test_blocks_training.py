"""Trainings whose sums over samples are in blocks: kernels, threads, looks, files."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends import tensor_files
from fcbackends.backends import fused_loop, small_kernels, small_network
from fcbackends.kernels import blocks
from fcbackends.kernels import threads as parts
from fcbackends.kernels.threads import run_in_threads
from tests.blocks_oracle import ORACLES, in_blocks
from tests.cases import DTYPES, JIT_OFF, allow_small_kernels, covering, problem, quick_first
from tests.loss_cases import loss_problem
from tests.loss_oracle import NAMES
from tests.oracle import assert_same_bits, sample_indices
from tests.record_cases import HOW, T, X, opened, rewritten

pytestmark = pytest.mark.jit_off

SMALL, WIDE, DEEP = (5, 4, 3), (6, 140, 3), (3, 20, 33, 2)
WAYS = [("small", 1), ("general", 2), ("small", 2), ("general", 1)]
SHAPES = SMALL, WIDE, DEEP, (70, 1), (1, 1)


@pytest.fixture
def ways(monkeypatch):
    """Choose how kernels train: one for a small network's shape, or the general one, and threads.

    What is returned says how many threads each run was given since.
    """
    allow_small_kernels(monkeypatch)
    make, asked = small_kernels.make, []

    def noting(work, count, *arguments, **asked_of):
        asked.append(count)
        return run_in_threads(work, count, *arguments, **asked_of)

    for module in (fused_loop, small_network):
        monkeypatch.setattr(module, "run_in_threads", noting)
    for module in (parts, small_network):
        monkeypatch.setattr(module, "_PRODUCTS_A_THREAD", 1)

    def use(kind, threads):
        asked.clear()
        monkeypatch.setattr(small_kernels, "make", make if kind == "small" else lambda *_: False)
        for module in (parts, small_network):
            monkeypatch.setattr(module, "get_threads", lambda: threads)
        return asked

    return use


def trained(case, backend, size, **run):
    how = dict(lr=0.01, max_steps=5, record_every=2, dtype=case.dtype.name) | run
    r = fcb.train(case.x, case.t, params=case.params, backend=backend, rows_per_block=size, **how)
    return (
        fcb.digest(r.params),
        r.loss,
        r.history.losses.tolist(),
        r.history.validation_losses.tolist(),
    )


# --- the bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize(("size", "arithmetic", "dtype"), covering([64, 7], 2))
def test_runs_end_on_the_oracles_bits(size, arithmetic, dtype, sampling):
    case = problem(1, SMALL, 150, dtype)
    rows = sample_indices(150, 5, 129, sampling, 3)
    oracle = in_blocks(ORACLES[arithmetic], size)
    want, losses = oracle.train(case.params, case.x, case.t, rows, 0.01)
    for backend in ("numpy", "numba"):
        got = fcb.train(
            case.x, case.t, params=case.params, lr=0.01, max_steps=5, batch_size=129, seed=3,
            sampling=sampling, backend=backend, arithmetic=arithmetic, dtype=dtype,
            rows_per_block=size, record_every=1,
        )  # fmt: skip
        assert_same_bits(got.params, want)
        assert got.history.losses.tolist() == losses.tolist()


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize(("kind", "threads", "arithmetic", "dtype"), covering(WAYS, 4))
def test_kernels_of_every_loss_have_numpys_bits(kind, threads, arithmetic, dtype, loss, ways):
    if loss != "mean_squared" and (JIT_OFF or arithmetic == "fused"):
        pytest.skip("a loss's kernel knows no arithmetic")
    case = loss_problem(2, SMALL, 140, dtype, loss)
    used = ways(kind, threads)
    run = dict(
        loss=loss, sample_weight=case.weights, batch_size=67, sampling="epoch",
        arithmetic=arithmetic,
    )  # fmt: skip
    assert trained(case, "numba", 16, **run) == trained(case, "numpy", 16, **run)
    assert {*used} == {threads}


@pytest.mark.parametrize("batch_size", [1, 2, 63, 64, 65, 128, 130])
@pytest.mark.parametrize("sizes", quick_first([(s,) for s in SHAPES], 3, pytest.mark.campaign))
def test_any_shape_and_batch_has_numpys_bits(sizes, batch_size, ways):
    if JIT_OFF and (sizes == WIDE or batch_size > 65):
        pytest.skip("too slow")
    case = problem(3, sizes, 140, "float32")
    for size in (64, 9):
        want = trained(case, "numpy", size, batch_size=batch_size)
        for threads in (1, 2, 3):
            ways("general", threads)
            assert trained(case, "numba", size, batch_size=batch_size) == want, (size, threads)


@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize(
    "sizes", quick_first([(SMALL,), ((13, 14, 9, 2),), ((1, 1),)], 1, pytest.mark.campaign)
)
def test_threads_share_a_small_networks_batch(sizes, sampling, ways):
    case = problem(10, sizes, 300, "float32")
    run = dict(sampling=sampling, tol=0.0, tol_on="data", max_steps=7)
    for batch_size, size in ((300, 64), (300, 1), (257, 16), (65, 64), (130, 7)):
        want = trained(case, "numpy", size, batch_size=batch_size, **run)
        for threads in (1, 2, 3, 4):
            used = ways("small", threads)
            got = trained(case, "numba", size, batch_size=batch_size, **run)
            assert got == want
            assert min(threads, -(-batch_size // size)) in used


@pytest.mark.parametrize("threads", [1, 2])
def test_a_small_networks_threads_end_where_one_does(threads, ways):
    """A run that stops, and one that diverges, in the middle of what was asked for."""
    case = problem(11, SMALL, 300, "float64")
    ways("small", threads)
    how = dict(
        params=case.params, batch_size=200, dtype="float64", backend="numba", rows_per_block=16
    )
    stopped = fcb.train(case.x, case.t, lr=0.01, max_steps=500, tol=4.0, **how)
    ways("small", 1)
    alone = fcb.train(case.x, case.t, lr=0.01, max_steps=500, tol=4.0, **how)
    assert (stopped.stop_reason, stopped.steps) == (alone.stop_reason, alone.steps)
    assert (stopped.stop_reason, fcb.digest(stopped.params)) == (
        "tolerance",
        fcb.digest(alone.params),
    )
    ends = []
    for count in (threads, 1):
        ways("small", count)
        with pytest.raises(fcb.DivergenceError) as raised:
            fcb.train(case.x, case.t, lr=1e9, max_steps=500, **how)
        ends.append((raised.value.step, fcb.digest(raised.value.params)))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 64, 65, 4096, 4097, 100_000])
@pytest.mark.parametrize("size", [1, 64, 100])
def test_parts_of_a_batch_are_sums_of_the_tree(rows, size, threads):
    """Blocks as many as a power of two, few parts, and some for each thread."""
    size_of_part, count = blocks.parts_of(rows, size, threads)
    if threads == 1 or rows <= size:
        assert (size_of_part >= rows, count) == (True, 0)
        return
    each, rest = divmod(size_of_part, size)
    assert (rest, each & (each - 1)) == (0, 0)
    assert count == -(-rows // size_of_part) <= 8 * threads
    assert count >= min(4 * threads, -(-rows // size))


@pytest.mark.parametrize(
    ("kind", "threads", "optimizer", "clip_norm"),
    [
        # Each is compiled for some seconds: half of them is for campaigns.
        pytest.param(*WAYS[i], o, c, marks=[pytest.mark.campaign] if (i + j + k) % 2 else [])
        for i in range(3)
        for j, o in enumerate((fcb.SGD(momentum=0.9), fcb.Adam(weight_decay=0.1)))
        for k, c in enumerate((None, 0.01))
    ],
)
def test_optimizers_and_clipping_have_numpys_bits(kind, threads, optimizer, clip_norm, ways):
    case = problem(4, SMALL, 140, "float64")
    ways(kind, threads)
    run = dict(optimizer=optimizer, clip_norm=clip_norm, batch_size=100)
    want = trained(case, "numpy", 16, **run)
    assert trained(case, "numba", 16, **run) == want
    assert trained(case, "numba", None, **run) != want


@pytest.mark.parametrize(("kind", "threads"), WAYS)
@pytest.mark.parametrize("samples", [1, 15, 16, 17, 63, 65, 140])
def test_losses_of_all_data_are_in_blocks(kind, threads, samples, ways):
    case = problem(5, SMALL, samples, "float32")
    ways(kind, threads)
    run = dict(tol=0.0, tol_on="data", record_every=1)
    for size in (16, 9):
        want = trained(case, "numpy", size, **run)
        assert trained(case, "numba", size, **run) == want
    params = fcb.train(
        case.x, case.t, params=case.params, lr=0.01, max_steps=5, dtype="float32", backend="numpy"
    ).params
    y = fcb.predict(params, case.x)
    assert want[1] == fcb.mean_squared_loss(y, case.t, rows_per_block=9).loss
    plain = fcb.mean_squared_loss(y, case.t).loss
    assert samples != 140 or want[1] != plain  # the control


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_validation_losses_are_in_blocks(backend):
    case = problem(6, SMALL, 140, "float32")
    held = case.x[::-1] * np.float32(0.7), case.t[::-1]
    run = dict(validation=held, batch_size=70, record_every=5)
    *_, looks = trained(case, backend, 16, **run)
    assert (looks, trained(case, backend, 16, **run)[3]) == (looks, looks)
    r = fcb.train(
        case.x, case.t, params=case.params, lr=0.01, max_steps=5, dtype="float32", backend=backend,
        rows_per_block=16, **run,
    )  # fmt: skip
    y = fcb.predict(r.params, held[0])
    assert looks == [fcb.mean_squared_loss(y, held[1], rows_per_block=16).loss]
    assert looks != [fcb.mean_squared_loss(y, held[1]).loss]


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_of_one_block_have_the_bits_without(dtype, ways):
    case = problem(7, SMALL, 64, dtype)
    for kind, threads in WAYS:
        ways(kind, threads)
        for batch_size in (1, 63, 64):
            run = dict(batch_size=batch_size, tol=0.0, tol_on="data")
            assert trained(case, "numba", 64, **run) == trained(case, "numba", None, **run)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_trainer_steps_and_runs_in_blocks(backend):
    case = problem(8, SMALL, 140, "float64")
    oracle = in_blocks(ORACLES["ordered"], 16)
    trainer = fcb.Trainer(case.params, lr=0.01, backend=backend, rows_per_block=16)
    want, _ = oracle.sgd_step(case.params, case.x, case.t, 0.01)
    trainer.step(case.x, case.t)
    assert_same_bits(trainer.params, want)
    copies = [copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))]
    for one in (trainer, *copies):
        assert one.backend.rows_per_block == 16
        one.step(case.x, case.t)
        one.run(case.x, case.t, batch_size=100, max_steps=3, seed=1)
    rows = sample_indices(140, 3, 100, "replacement", 1, start=2)
    want, _ = oracle.sgd_step(want, case.x, case.t, 0.01)
    want, _ = oracle.train(want, case.x, case.t, rows, 0.01)
    for one in (trainer, *copies):
        assert_same_bits(one.params, want)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_many_networks_are_trained_in_blocks(backend):
    case = problem(9, SMALL, 140, "float32")
    how = dict(
        hidden=(4,), lr=0.01, batch_size=100, max_steps=4, dtype="float32", rows_per_block=16,
        backend=backend,
    )  # fmt: skip
    many = fcb.train_many(case.x, case.t, seed=[1, 2], **how)
    alone = [fcb.train(case.x, case.t, seed=seed, **how) for seed in (1, 2)]
    assert [fcb.digest(r.params) for r in many] == [fcb.digest(r.params) for r in alone]
    how["rows_per_block"] = None
    assert fcb.digest(fcb.train(case.x, case.t, seed=1, **how).params) != fcb.digest(many[0].params)


def test_networks_on_an_executors_workers_are_trained_in_blocks():
    case = problem(9, SMALL, 140, "float32")
    how = dict(lr=0.01, seed=[1, 2], batch_size=100, max_steps=4, rows_per_block=16)
    here = fcb.train_many(case.x, case.t, **how)
    with ThreadPoolExecutor(2) as executor:
        there = fcb.train_many(case.x, case.t, **how, executor=executor)
        chosen = fcb.get_backend("numpy").with_rows_per_block(16)
        how["rows_per_block"] = None
        in_hand = fcb.train_many(case.x, case.t, **how, executor=executor, backend=chosen)
    assert there.digest == in_hand.digest == here.digest
    assert fcb.train_many(case.x, case.t, **how).digest != here.digest


def test_a_file_of_results_goes_on_in_its_blocks(tmp_path):
    how = dict(lr=0.01, seed=[1, 2], batch_size=50, max_steps=4, results=tmp_path / "results")
    first = fcb.train_many(X, T, **how, rows_per_block=8)
    assert fcb.train_many(X, T, **how, rows_per_block=8).digest == first.digest
    with pytest.raises(fcb.ArgumentError) as raised:
        fcb.train_many(X, T, **how)
    assert raised.value.arguments == ("rows_per_block",)


def test_shards_take_their_steps_in_blocks():
    case = problem(4, (3, 5, 1), 90, "float32")
    how = dict(hidden=(5,), lr=0.01, batch_size=40, max_steps=9, dtype="float32")
    plain = fcb.train(case.x, case.t, rows_per_block=8, **how)
    one = fcb.train(case.x, case.t, rows_per_block=8, shards=1, local_steps=4, **how)
    assert fcb.digest(one.params) == fcb.digest(plain.params)
    ways = [
        fcb.digest(fcb.train(case.x, case.t, shards=3, local_steps=4, **how, **way).params)
        for way in ({}, {"rows_per_block": 8}, {"rows_per_block": 8, "backend": "numpy"})
    ]
    assert ways[1] == ways[2] != ways[0]


# --- files ---------------------------------------------------------------------------------------


BLOCKS = {**HOW, "batch_size": 50, "max_steps": 20, "rows_per_block": 8}


def test_a_record_says_the_blocks_and_is_reproduced(tmp_path):
    path = tmp_path / "run.json"
    made = fcb.train(X, T, **BLOCKS, record=path)
    assert opened(path)["options"]["rows_per_block"] == 8
    for backend in ("numpy", "numba"):
        again = fcb.reproduce(path, X, T, backend=backend)
        assert (again.equal, again.reason) == (True, "")
        assert fcb.digest(again.result.params) == fcb.digest(made.params)
    about = opened(path)
    about["options"]["rows_per_block"] = 9
    rewritten(path, about)
    again = fcb.reproduce(path, X, T)
    assert (again.equal, again.first_difference[0]) == (False, 0)


def test_a_record_of_a_backend_in_hand_says_its_blocks(tmp_path):
    path = tmp_path / "run.json"
    chosen = fcb.get_backend("numpy").with_rows_per_block(8)
    fcb.train(X, T, **{**BLOCKS, "rows_per_block": None}, backend=chosen, record=path)
    assert opened(path)["options"]["rows_per_block"] == 8
    assert fcb.reproduce(path, X, T).equal


def test_a_record_from_before_has_one_block(tmp_path):
    path = tmp_path / "run.json"
    fcb.train(X, T, **HOW, record=path)
    about = opened(path)
    assert about["options"].pop("rows_per_block", "none") is None
    rewritten(path, about)
    assert fcb.reproduce(path, X, T).equal


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "64", True, [8]])
def test_a_record_with_no_number_of_rows_is_refused(tmp_path, wrong):
    path = tmp_path / "run.json"
    fcb.train(X, T, **BLOCKS, record=path)
    about = opened(path)
    about["options"]["rows_per_block"] = wrong
    rewritten(path, about)
    with pytest.raises(fcb.ArgumentError, match="rows_per_block"):
        fcb.reproduce(path, X, T)


def test_a_checkpoint_goes_on_in_its_blocks(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.checkpoint"
    whole = fcb.train(X, T, **BLOCKS)

    class Broken(Exception):
        pass

    def stop(look):
        if look.step >= 9:
            raise Broken

    how = {**BLOCKS, "record_every": 3}
    with pytest.raises(Broken):
        fcb.train(X, T, **how, callback=stop, checkpoint=path, checkpoint_every=3)
    for other, shown in ((None, "None"), (9, "9")):
        with pytest.raises(fcb.ArgumentError) as raised:
            fcb.train(X, T, **{**how, "rows_per_block": other}, callback=stop, resume=path)
        text = f"`rows_per_block` must be as in the checkpoint '{path}', 8, got {shown}"
        assert str(raised.value) == text
    again = fcb.train(X, T, **how, callback=lambda look: None, resume=path)
    assert fcb.digest(again.params) == fcb.digest(whole.params)


def test_a_checkpoint_from_before_has_one_block(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.checkpoint"
    whole = fcb.train(X, T, **HOW, checkpoint=path)
    about, tensors = tensor_files.read(path, "fcbackends-checkpoint")
    assert about["options"].pop("rows_per_block", "none") is None
    tensor_files.write(path, "fcbackends-checkpoint", about, tensors)
    again = fcb.train(X, T, **HOW, resume=path)
    assert fcb.digest(again.params) == fcb.digest(whole.params)
    with pytest.raises(
        fcb.ArgumentError, match=r"^`rows_per_block` must be as in .*, None, got 8$"
    ):
        fcb.train(X, T, **HOW, rows_per_block=8, resume=path)
