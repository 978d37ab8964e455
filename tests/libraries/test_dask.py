"""Dask: blocks of any form, nothing computed before its time, and steps that stay alike."""

import itertools

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.maths.activations import ACTIVATIONS
from tests.cases import DTYPES, problem
from tests.oracle import assert_same_bits, fast, sample_indices

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")


class Counter(dask.callbacks.Callback):
    """How often Dask was asked to compute, and how many tasks it ran."""

    def __init__(self):
        super().__init__(start=self._start, pretask=self._pretask)
        self.runs = self.tasks = 0

    def _start(self, graph):
        self.runs += 1

    def _pretask(self, key, graph, state):
        self.tasks += 1


def lazy(a, chunks=2):
    return da.from_array(a, chunks=chunks)


def network(params, chunks=2):
    return tuple((lazy(w, chunks), lazy(b, chunks)) for w, b in params)


def plain(values):
    if isinstance(values, (tuple, list)):
        return tuple(plain(value) for value in values)
    assert isinstance(values, da.Array)
    return np.asarray(values)


CHUNKS = [(3, -1), (-1, 2), (4, 3), ((1, 6, 2), (4, 1)), 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunks", CHUNKS)
def test_blocks_of_any_form_have_the_oracles_bits(chunks, dtype):
    case = problem(0, (5, 4, 3), 9, dtype)
    x, t = lazy(case.x, chunks), lazy(case.t, 2)
    for size in (1, 2, -1):
        params = network(case.params, size)
        (w, b), y = params[0], fast.forward(case.x, *case.params[0])
        assert_same_bits(plain(fcb.fc_forward(x, w, b)), y)
        gradients = fast.backward(y, case.x, case.params[0][0])
        assert_same_bits(plain(fcb.fc_backward(lazy(y, 3), x, w)), gradients)
        want = fast.sgd_step(case.params, case.x, case.t, 0.1)
        assert_same_bits(plain(tuple(fcb.sgd_step(params, x, t, 0.1))), want)
    run = fcb.train(x, t, params=params, lr=0.1, max_steps=12, batch_size=4, dtype=dtype)
    rows = sample_indices(9, 12, 4, "replacement", 0)
    assert_same_bits(plain(run.params), fast.train(case.params, case.x, case.t, rows, 0.1)[0])


def test_functions_compute_nothing_and_make_graphs_of_a_few_tasks():
    case = problem(1, (300, 20, 2), 400, "float32")
    params, x, t = network(case.params, -1), lazy(case.x, (100, -1)), lazy(case.t, -1)
    with Counter() as counter:
        (w, b), y = params[0], fcb.predict(params, x)
        fcb.fc_forward(x, w, b), fcb.relu(x), fcb.relu_backward(x, x)
        fcb.mean_squared_loss(t, t)
        step = fcb.sgd_step(params, x, t, 0.1)
        fcb.fc_backward(da.ones((400, 20), dtype="f4"), x, w)
    assert counter.runs == 0
    assert y.numblocks == (4, 1)
    with Counter() as counter:
        got = dask.compute(step.params, step.loss)
    assert counter.runs == 1
    assert counter.tasks < 300  # one for each term of each sum would be thousands
    assert_same_bits(got, fast.sgd_step(case.params, case.x, case.t, 0.1))


def test_an_elementary_function_is_one_task_a_block():
    case = problem(7, (4, 6, 3), 20, "float64")
    params, x = network(case.params, -1), lazy(case.x, (5, -1))
    for activation in ACTIVATIONS:
        with Counter() as counter:
            got = dask.compute(
                fcb.predict_proba(params, x, loss="cross_entropy", activation=activation)
            )
        assert counter.tasks < 60, activation  # one an operation would be some hundreds
        want = fcb.predict_proba(case.params, case.x, loss="cross_entropy", activation=activation)
        assert_same_bits(got, (want,))


def test_to_compare_or_digest_computes_what_results_share_once():
    case = problem(8, (4, 6, 3), 9, "float64")
    calls = []

    def noted(block):
        calls.append(1)
        return block

    x = lazy(case.x, -1).map_blocks(noted, dtype="f8", meta=np.empty((0, 0)))
    step = list(fcb.sgd_step(network(case.params, -1), x, lazy(case.t, -1), 0.1))
    want = list(fcb.sgd_step(case.params, case.x, case.t, 0.1))
    assert fcb.digest(step) == fcb.digest(want)
    assert len(calls) == 1
    assert fcb.compare(step, want).equal
    assert len(calls) == 2


def test_a_trainer_computes_parameters_once_and_each_piece_of_data_once():
    case = problem(2, (3, 4, 2), 6, "float64")
    calls = []

    def noted(a):
        def block(a=a):
            calls.append(1)
            return a

        return da.from_delayed(dask.delayed(block)(), a.shape, a.dtype)

    trainer = fcb.Trainer(tuple((noted(w), noted(b)) for w, b in case.params), lr=0.1)
    assert len(calls) == 4
    trainer.step(noted(case.x), noted(case.t))
    assert len(calls) == 6
    assert_same_bits(plain(trainer.params), fast.sgd_step(case.params, case.x, case.t, 0.1)[0])
    assert len(calls) == 6


def test_steps_do_not_grow_with_those_before_them():
    case = problem(3, (3, 4, 2), 50, "float64")
    x, t = lazy(case.x, 10), lazy(case.t, 10)
    trainer = fcb.Trainer(network(case.params), lr=0.01)
    tasks = []
    for start in range(0, 50, 5):
        with Counter() as counter:
            trainer.step(x[start : start + 5], t[start : start + 5])
            trainer.run(x, t, batch_size=5, max_steps=20)
            dask.compute(trainer.params)
        tasks.append(counter.tasks)
    assert max(tasks) <= min(tasks) + 20  # other samples lie in other blocks
    assert trainer.steps == 210


def test_unknown_shapes_are_refused():
    x = lazy(np.arange(12.0).reshape(6, 2))
    x = x[x[:, 0] > 2]
    text = r"^`x` must be of known shape .Dask's compute_chunk_sizes\(\) finds it., got shape \(nan"
    for call in (
        lambda: fcb.fc_forward(x, np.ones((2, 3)), np.ones(3)),
        lambda: fcb.predict(((np.ones((2, 3)), np.ones(3)),), x),
        lambda: fcb.train(x, np.ones((4, 1)), lr=0.1),
    ):
        with pytest.raises(fcb.ArgumentError, match=text):
            call()
    y = fcb.fc_forward(x.compute_chunk_sizes(), np.ones((2, 3)), np.ones(3))
    assert y.shape == (4, 3)


def test_the_loss_of_all_data_is_watched_block_by_block():
    case = problem(4, (3, 4, 2), 40, "float64")
    run = dict(params=case.params, lr=0.05, max_steps=100, tol_on="data", tol=1.0, batch_size=4)
    want = fcb.train(case.x, case.t, **run)
    got = fcb.train(lazy(case.x, (7, 2)), lazy(case.t, (11, 1)), **run)
    assert fcb.digest(got.params) == fcb.digest(want.params)
    assert (got.steps, got.loss, got.stop_reason) == (want.steps, want.loss, want.stop_reason)


def test_results_are_no_part_of_the_arrays_given():
    case = problem(5, (3, 2), 4, "float64")
    given = [np.array(a) for a in itertools.chain((case.x,), case.params[0])]
    y = fcb.fc_forward(*given, backend="dask")
    for array in given:
        array[...] = 7.0
    assert_same_bits(plain(y), fast.forward(case.x, *case.params[0]))


def test_native_arithmetic_trains():
    case = problem(6, (3, 4, 2), 20, "float64")
    native = fcb.get_backend("dask", arithmetic="native")
    run = dict(params=case.params, lr=0.01, max_steps=50, batch_size=4)
    got = fcb.train(lazy(case.x), lazy(case.t), backend=native, **run)
    want = fcb.train(case.x, case.t, **run)
    # Native sums run in no order that is known.
    np.testing.assert_allclose(plain(got.params)[0][0], want.params[0][0], rtol=1e-12)
