"""Dask's clusters as executors, and Dask arrays as data that no machine has whole."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.sweeps.cases import HOW, T, X, table

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

# What the library warns of as it starts and ends.
pytestmark = pytest.mark.filterwarnings("ignore")

SHARDS = dict(hidden=(4,), lr=0.05, batch_size=4, max_steps=20, shards=5, local_steps=7)


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("as_executor", [True, False])
def test_sweeps_on_a_cluster_have_the_bits_that_they_have_here(client, as_executor):
    executor = client.get_executor() if as_executor else client
    sweep = fcb.train_many(X, T, settings=table(40), executor=executor, verify=0.1, **HOW)
    assert sweep.digest == fcb.train_many(X, T, settings=table(40), **HOW).digest


def test_shards_on_a_cluster_have_the_bits_that_they_have_here(client, tmp_path):
    expected = fcb.digest(fcb.train(X, T, **SHARDS).params)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", T)
    files = [tmp_path / "x.npy"], [tmp_path / "t.npy"]
    for x, t in ((X, T), files, (da.from_array(X, chunks=(50, 3)), da.from_array(T, chunks=70))):
        for executor in (None, client.get_executor()):
            result = fcb.train(x, t, executor=executor, **SHARDS)
            assert fcb.digest(result.params) == expected
            assert type(result.params[0][0]) is np.ndarray


def test_chunks_are_computed_where_their_rows_are_drawn():
    computed = []

    def chunk(block_info=None):
        (low, high), _ = block_info[None]["array-location"]
        computed.append(low)
        return X[low:high]

    x = da.map_blocks(chunk, chunks=((10,) * 12, (3,)), dtype="f8", meta=np.empty((0, 0)))
    how = SHARDS | dict(shards=3, max_steps=2, local_steps=1, batch_size=1)
    computed.clear()
    result = fcb.train(x, T, **how)
    assert fcb.digest(result.params) == fcb.digest(fcb.train(X, T, **how).params)
    # One row of each shard in each round, and the first row of all to see what it is.
    assert len(computed) == 3 * 2 + 1


def test_what_has_no_rows_to_read_is_refused(client):
    x = da.from_array(X, chunks=(50, 3))
    with pytest.raises(fcb.ArgumentError, match="a Dask array that is persisted on workers"):
        fcb.train(client.persist(x), T, **SHARDS)
    with pytest.raises(fcb.ArgumentError, match="`x` must be of known shape"):
        fcb.train(x[x[:, 0] > 0.5], T, **SHARDS)


def test_tensors_are_trained_on_as_here(client):
    torch = pytest.importorskip("torch")
    x, t = torch.asarray(X), torch.asarray(T)
    for how in (dict(settings=table(8)), dict(seed=[1, 2], lr=0.1)):
        sweep = fcb.train_many(x, t, executor=client.get_executor(), **how, **HOW)
        assert isinstance(sweep[0].params[0][0], torch.Tensor)
        assert sweep.digest == fcb.train_many(X, T, **how, **HOW).digest
    result = fcb.train(x, t, executor=client.get_executor(), **SHARDS)
    assert isinstance(result.params[0][0], torch.Tensor)
    assert fcb.digest(result.params) == fcb.digest(fcb.train(X, T, **SHARDS).params)
