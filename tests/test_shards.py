"""One network on shards of its data: bits that hang on the shards, and not on who computes."""

import itertools
import multiprocessing
import subprocess
import sys
import textwrap
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fcbackends as fcb
from fcbackends.maths.arithmetic import joined as tree_sum
from fcbackends.training.shards import seed_of
from tests import test_errors, test_errors_inputs, test_errors_targets
from tests.sweeps.workers import workers as workers

RNG = np.random.default_rng(5)
X = RNG.random((301, 3))
T = np.sin(X.sum(1, keepdims=True))
HOW = dict(hidden=(4,), lr=0.05, batch_size=4, max_steps=33)
ON = dict(shards=5, local_steps=7)


def digests(result):
    return fcb.digest(result.params), fcb.digest(result.slots)


def averaged(shards, local_steps, **how):
    """The definition in plain words: a Trainer for each shard, and a mean of what they have."""
    how = HOW | how
    steps, seed = how.pop("max_steps"), how.pop("seed", 0)
    batch_size, hidden = how.pop("batch_size"), how.pop("hidden")
    params = fcb.init_params((3, *hidden, 1), seed=seed, dtype="float64")
    trainers = [fcb.Trainer(params, **how) for _ in range(shards)]
    losses = []
    for first in range(0, steps, local_steps):
        count = min(local_steps, steps - first)
        last = []
        for v, trainer in enumerate(trainers):
            low, high = v * 301 // shards, (v + 1) * 301 // shards
            indices = fcb.sample_indices(
                n_samples=high - low,
                start=first,
                steps=count,
                batch_size=batch_size,
                sampling="replacement",
                seed=seed_of(seed, v),
            )
            for rows in low + indices:
                loss = trainer.step(X[rows], T[rows])
            last.append(np.float64(loss))
        states = [trainer.state for trainer in trainers]
        mean = [
            tuple(
                tuple(joined([pair[i] for pair in layer]) * (1 / shards) for i in (0, 1))
                for layer in zip(*networks, strict=True)
            )
            for networks in zip(*((s.params, *s.slots) for s in states), strict=True)
        ]
        for trainer in trainers:
            trainer.state = fcb.TrainerState(mean[0], tuple(mean[1:]), first + count)
        losses.append(float(joined(last) * (1 / shards)))
    return trainers[0].state, losses


def joined(parts):
    """A sum by a tree, written otherwise: neighbours first, the last left over goes on as it is."""
    while len(parts) > 1:
        pairs = [
            parts[i] + parts[i + 1] if i + 1 < len(parts) else parts[i]
            for i in range(0, len(parts), 2)
        ]
        parts = pairs
    return parts[0]


@pytest.mark.parametrize(
    "optimizer", [fcb.SGD(), fcb.SGD(momentum=0.9), fcb.Adam()], ids=["sgd", "momentum", "adam"]
)
@pytest.mark.parametrize(("shards", "local_steps"), [(1, 5), (2, 1), (3, 8), (5, 7), (8, 33)])
def test_bits_are_those_of_the_definition(optimizer, shards, local_steps):
    result = fcb.train(
        X, T, shards=shards, local_steps=local_steps, optimizer=optimizer, seed=3, **HOW
    )
    state, losses = averaged(shards, local_steps, optimizer=optimizer, seed=3)
    assert digests(result) == (fcb.digest(state.params), fcb.digest(state.slots))
    assert result.loss == losses[-1]
    assert result.steps == 33
    whole = [loss for n, loss in enumerate(losses, 1) if n * local_steps <= 33]
    assert result.history.losses.tolist()[: len(whole)] == whole


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_shard_has_the_bits_of_a_run_without(batch_size, sampling, dtype):
    lr = fcb.CosineRate(0.05, steps=60)
    how = dict(batch_size=batch_size, sampling=sampling, dtype=dtype, optimizer=fcb.Adam(), lr=lr)
    how = HOW | how | dict(max_steps=100, clip_norm=0.5)
    plain = fcb.train(X, T, **how)
    result = fcb.train(X, T, shards=1, local_steps=9, **how)
    assert digests(result) == digests(plain)
    assert (result.loss, result.steps) == (plain.loss, plain.steps)


@given(count=st.integers(1, 70))
def test_tree_is_the_same_however_it_is_written(count):
    parts = list(np.random.default_rng(count).standard_normal(count) * 10.0 ** np.arange(count) % 9)
    assert tree_sum(parts).tobytes() == joined(parts).tobytes()


def test_bits_are_those_of_any_workers_and_hang_on_the_shards(workers):
    result = fcb.train(X, T, **HOW, **ON)
    for count in (1, 2, 3, 8):
        elsewhere = fcb.train(X, T, executor=workers(count), **HOW, **ON)
        assert digests(elsewhere) == digests(result)
        assert elsewhere.history.losses.tolist() == result.history.losses.tolist()
    with ThreadPoolExecutor(3) as executor:
        assert digests(fcb.train(X, T, executor=executor, **HOW, **ON)) == digests(result)
    for other in (dict(shards=4), dict(local_steps=6)):
        assert digests(fcb.train(X, T, **HOW, **(ON | other))) != digests(result)


@pytest.mark.parametrize("backend", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
def test_bits_are_those_of_any_backend(backend, arithmetic):
    how = HOW | ON | dict(max_steps=15, arithmetic=arithmetic)
    result = fcb.train(X, T, **how)
    assert digests(fcb.train(X, T, backend=backend, **how)) == digests(result)
    assert result.arithmetic == arithmetic


def saved(folder, name, array, cuts):
    """A list of files, the array's rows one after another."""
    names = []
    for number, (low, high) in enumerate(itertools.pairwise([0, *cuts, len(array)])):
        names.append(folder / f"{name}{number}.npy")
        np.save(names[-1], array[low:high])
    return names


@pytest.mark.parametrize("cuts", [(), (1,), (60, 60, 61, 200)], ids=["one", "two", "five"])
def test_bits_are_those_of_any_partition_in_files(cuts, tmp_path, workers):
    weight = np.linspace(0, 1, 301)
    expected = digests(fcb.train(X, T, sample_weight=weight, **HOW, **ON))
    x, t = saved(tmp_path, "x", X, cuts), saved(tmp_path, "t", T, cuts[::2])
    w = saved(tmp_path, "w", weight, (100,))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for executor in (None, workers()):
        result = fcb.train(x, t, sample_weight=w, executor=executor, **HOW, **ON)
        assert digests(result) == expected
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_mapped_files_are_not_read_as_a_whole(tmp_path):
    names = "x", "t", "classes"
    made = X.astype("f4"), T.astype("f4"), np.arange(301) % 3
    for name, array in zip(names, made, strict=True):
        np.save(tmp_path / name, array)
    x, t, classes = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in names)
    for loss, target in (("mean_squared", t), ("cross_entropy", classes)):
        how = HOW | ON | dict(loss=loss)
        want = digests(fcb.train(np.array(x), np.array(target), **how))
        assert digests(fcb.train(x, target, **how)) == want

    size = 10_000_000
    x, t = (
        np.lib.format.open_memmap(tmp_path / f"long {name}.npy", "w+", "f4", (size, 1))
        for name in "xt"
    )
    tracemalloc.start()
    try:
        fcb.train(x, t, **HOW, **ON, dtype="float64")
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def test_other_dtypes_and_classes_come_from_files_too(tmp_path):
    x, classes = (X * 100).astype(np.int16), np.arange(301) % 4
    how = HOW | ON | dict(loss="cross_entropy", dtype="float32")
    expected = fcb.train(x, classes, **how)
    files = saved(tmp_path, "x", x, (7,)), saved(tmp_path, "t", classes, ())
    assert digests(fcb.train(*files, classes=4, **how)) == digests(expected)
    with pytest.raises(fcb.ArgumentError) as caught:
        fcb.train(*files, **how)
    text = "`classes` must be given where classes come from files or Dask arrays, got None"
    assert str(caught.value) == text


def test_validation_patience_callbacks_and_tolerance(workers):
    seen = []
    held = X[:50], T[:50]
    how = HOW | ON | dict(max_steps=70, validation=held)
    plain = fcb.train(X, T, **how)
    result = fcb.train(
        X, T, callback=lambda look: seen.append((look.step, look.loss)), executor=workers(), **how
    )
    assert digests(result) == digests(plain)
    assert [step for step, _ in seen] == list(range(7, 71, 7)) == result.history.steps.tolist()
    assert result.history.losses.tolist() == [loss for _, loss in seen]
    assert (
        result.history.validation_losses[-1]
        == fcb.mean_squared_loss(fcb.predict(result.params, held[0]), held[1]).loss
    )
    tol = seen[4][1]
    ended = fcb.train(X, T, tol=tol, **(HOW | ON | dict(max_steps=70)))
    assert (ended.stop_reason, ended.loss <= tol) == ("tolerance", True)
    best = fcb.train(X, T, patience=1, **(how | dict(lr=0.9, max_steps=700)))
    assert best.stop_reason == "patience"
    assert best.steps == best.best_step


def test_a_failed_shard_runs_again_or_is_told(workers):
    failed = set()

    def fails_once(number, task, job):
        if job.first not in failed:
            failed.add(job.first)
            raise OSError("connection lost")

    expected = digests(fcb.train(X, T, **HOW, **ON))
    assert digests(fcb.train(X, T, executor=workers(before=fails_once), **HOW, **ON)) == expected
    assert len(failed) == 5

    def never(number, task, job):
        if job.first == 7 and job.plan.seed == seed_of(0, 3):
            raise MemoryError("no more of it")

    with pytest.raises(RuntimeError) as caught:
        fcb.train(X, T, executor=workers(before=never), **HOW, **ON)
    assert str(caught.value) == "shard 3 could not be trained: MemoryError: no more of it"


def test_an_executor_that_takes_no_more_is_told():
    with ThreadPoolExecutor(2) as executor:
        pass
    text = "shard 0 could not be trained: RuntimeError: cannot schedule new futures after shutdown"
    with pytest.raises(RuntimeError, match=text):
        fcb.train(X, T, **HOW, **ON, executor=executor)


def test_divergence_is_told_with_what_the_round_began_with(workers):
    how = HOW | dict(lr=1e80, max_steps=30)
    for executor in (None, workers()):
        with pytest.raises(fcb.DivergenceError) as caught:
            fcb.train(X, T, executor=executor, **how, **ON)
        assert 1 <= caught.value.step <= 7
        first = fcb.init_params((3, 4, 1), seed=0, dtype="float64")
        assert fcb.compare(caught.value.params, first).equal


def test_ctrl_c_and_time_limits_end_between_rounds(workers):
    result = fcb.train(X, T, time_limit=1e-9, **HOW, **ON)
    assert (result.steps, result.stop_reason) == (0, "time_limit")

    def stops(look):
        if look.step == 14:
            import signal

            signal.raise_signal(signal.SIGINT)

    for executor in (None, workers()):
        how = dict(callback=stops, on_interrupt="return", executor=executor)
        result = fcb.train(X, T, **how, **(HOW | dict(max_steps=700)), **ON)
        assert (result.steps, result.stop_reason) == (14, "interrupted")
        with pytest.raises(KeyboardInterrupt):
            fcb.train(X, T, callback=stops, executor=executor, **HOW, **ON)


NPY = "must be a .npy file of numbers, row after row, got"


def test_what_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "f.npy", np.asfortranarray(X))
    np.save(tmp_path / "x32.npy", X.astype("f4"))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "short.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    x, missing = str(tmp_path / "x.npy"), str(tmp_path / "none.npy")
    named = {name: str(tmp_path / f"{name}.npy") for name in ("f", "text", "short", "x32")}
    cases = [
        (dict(shards=2),
         "`shards` must come with `shards` and `local_steps`, got no more than that"),
        (dict(executor=ThreadPoolExecutor),
         "`executor` must come with `shards` and `local_steps`, got no more than that"),
        (ON | dict(shards=0), "`shards` must be an integer from 1 to 301, got 0"),
        (ON | dict(shards=302), "`shards` must be an integer from 1 to 301, got 302"),
        (ON | dict(local_steps=0), "`local_steps` must be an integer of at least 1, got 0"),
        (ON | dict(tol_on="data"),
         "`tol_on` must be 'batch' with `shards`: no process has the whole data, got 'data'"),
        (ON | dict(checkpoint="a"), "`checkpoint` must be left out with `shards`, got 'a'"),
        (ON | dict(record="a"), "`record` must be left out with `shards`, got 'a'"),
        (ON | dict(record_every=0), "`record_every` must be an integer of at least 1, got 0"),
        (ON | dict(record_every=8),
         "`record_every` must be a multiple of the 7 `local_steps`, got 8"),
        (ON | dict(validation=0.5), "`validation` must be a pair (x, t), got 0.5"),
        (ON | dict(batch_size=61, sampling="epoch"),
         "`batch_size` must be at most the 60 samples where each epoch takes each once, got 61"),
        (ON | dict(sample_weight=np.zeros(301)),
         "`sample_weight` must be of shape (301,), finite and >= 0, not all of it 0, got"),
        (ON | dict(x=[x], t=T[:300]),
         "`x`, `t` must hold the same samples, got `x` of shape (301, 3), `t` of shape (300, 1)"),
        (ON | dict(x=[missing]), "`x[0]` must be a readable file, got"),
        (ON | dict(x=[x, named["x32"]]),
         "`x[1]` must have the dtype and columns of x[0], got float32 (3,) after float64 (3,)"),
        (ON | dict(x=[named["f"]]), f"`x[0]` {NPY} {named['f']!r}: column after column"),
        (ON | dict(x=[named["text"]]), f"`x[0]` {NPY} {named['text']!r}: "),
        (ON | dict(x=[named["short"]]), f"`x[0]` {NPY} {named['short']!r}: too short for shape"),
        (ON | dict(lr=-1.0), "`lr` must be a finite number > 0 in float64, got -1.0"),
    ]  # fmt: skip
    for how, text in cases:
        arguments = dict(x=X, t=T) | HOW | how
        with pytest.raises(fcb.ArgumentError) as caught:
            fcb.train(**arguments)
        assert str(caught.value).startswith(text), how


REFUSED = [*test_errors.REFUSED, *test_errors_inputs.CASES, *test_errors_targets.ALL]
OTHERWISE = ("`checkpoint`", "`t` must hold float64, float32 or integer values, got dtype <U1")
"""Not with shards; and texts, which with them are names of files."""


def test_what_a_run_without_refuses_is_refused_in_the_same_words(monkeypatch):
    plain, asked = fcb.train, []

    def train_on_one_shard(*data, **how):
        asked.append(how)
        return plain(*data, shards=1, local_steps=1, **how)

    monkeypatch.setattr(fcb, "train", train_on_one_shard)
    for call, kind, text in REFUSED:
        if not text.startswith(OTHERWISE):
            with pytest.raises(fcb.ArgumentError) as caught:
                call()
            assert (str(caught.value), type(caught.value)) == (text, kind)
    assert len(asked) > 100


def test_what_files_hold_is_checked_where_it_is_read(tmp_path):
    def kept(name, array):
        np.save(tmp_path / name, array)
        return [tmp_path / name]

    x, classes = kept("x.npy", X), kept("t.npy", np.arange(301) % 4)
    weight = kept("w.npy", np.where(np.arange(301) < 150, 0.0, -1.0))
    how = ON | dict(max_steps=7, loss="cross_entropy", lr=0.1)
    with pytest.raises(fcb.ArgumentError, match=r"`t` .* from 0 to 2, got 3 among them"):
        fcb.train(x, classes, **how, classes=3)
    with pytest.raises(fcb.ArgumentError, match=r"`sample_weight` .* finite and >= 0.*, got -1.0"):
        fcb.train(x, classes, **how, classes=4, sample_weight=weight)
    with pytest.raises(fcb.ArgumentError, match="`classes` must be given where classes come from"):
        fcb.train(x, classes, **how)
    with pytest.raises(fcb.ArgumentTypeError, match="`t` must be an array without a mask"):
        fcb.train(x, np.ma.masked_array(T), **how)
    with pytest.raises(fcb.ArgumentError, match="`t` must be an array of numbers, got"):
        fcb.train(x, [[0, 1], [1]], **how)
    for wrong, text in (
        (np.full(301, np.nan), "class indices, integers .* got dtype float64"),
        (np.full(301, -1), "with indices from 0 to 0, got -1 among them"),
    ):
        with pytest.raises(fcb.ArgumentError, match=text):
            fcb.train(x, wrong, **how)
    with pytest.raises(fcb.ArgumentError, match="`loss` must be one of"):
        fcb.train(x, classes, **how | dict(loss=np.zeros(2)))


SCRIPT = """
import resource, sys
import numpy as np
import fcbackends as fcb
x, t = sys.argv[1:3]
if __name__ == "__main__":
    how = dict(hidden=(4,), lr=0.05, batch_size=4, shards=8, local_steps=5, dtype="float32")
    fcb.train([x], [t], max_steps=5, **how)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    # What it may address from here on is a tenth of the data.
    resource.setrlimit(resource.RLIMIT_AS, (size + {limit},) * 2)
    result = fcb.train([x], [t], max_steps=40, **how)
    print(fcb.digest(result.params), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_memory_stays_flat_on_data_ten_times_as_large(tmp_path):
    rows = 4_000_000
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (rows, 20))
    t = np.lib.format.open_memmap(tmp_path / "t.npy", "w+", "f4", (rows, 1))
    for low in range(0, rows, 100_000):
        x[low : low + 100_000] = np.random.default_rng(low).random((100_000, 20), "f4")
        t[low : low + 100_000, 0] = x[low : low + 100_000].sum(1)
    limit = x.nbytes // 10
    assert limit > 30e6
    code = textwrap.dedent(SCRIPT).format(limit=limit)
    command = [sys.executable, "-c", code, str(tmp_path / "x.npy"), str(tmp_path / "t.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    digest, grown = done.stdout.split()
    how = dict(hidden=(4,), lr=0.05, batch_size=4, shards=8, local_steps=5, dtype="float32")
    assert digest == fcb.digest(fcb.train(x, t, max_steps=40, **how).params)
    assert int(grown) * 1024 < limit / 4


@pytest.mark.slow
def test_processes_give_one_digest(tmp_path):
    x, t = saved(tmp_path, "x", X, (100,)), saved(tmp_path, "t", T, ())
    expected = digests(fcb.train(X, T, **HOW, **ON))
    for count in (1, 2, 3, 8):
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as executor:
            assert digests(fcb.train(x, t, executor=executor, **HOW, **ON)) == expected
