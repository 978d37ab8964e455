"""Small works of training and predicting, by number; each ends in one digest on any backend."""

import tempfile
from pathlib import Path

import numpy as np

import fcbackends as fcb
from fcbackends.kernels import threads
from tests.cases import problem

KINDS = (
    dict(dtype="float64", sizes=(2, 3)),
    dict(dtype="float32", sizes=(4, 8, 2), activation="tanh"),
    dict(dtype="float64", sizes=(3, 6, 2), optimizer=fcb.Adam(), tol_on="data"),
    dict(dtype="float32", sizes=(5, 40, 3), arithmetic="fused", sampling="epoch"),
    dict(dtype="float32", sizes=(20, 64, 30), batch_size=40, max_steps=10),
    dict(dtype="float64", sizes=(3, 2), loss="cross_entropy"),
)
"""A few forms, so that few kernels are to be compiled."""

NUMBERS = 24
"""So many works: each form with several sizes of batches, seeds and data."""


def work(number, backend="numba"):
    """Train as the number says, and go on in a Trainer from a file; the digest of all that came."""
    how = dict(KINDS[number % len(KINDS)])
    sizes, arithmetic = how.pop("sizes"), how.pop("arithmetic", None)
    case = problem(number, sizes, 60, how["dtype"])
    t = case.t
    if how.get("loss"):
        t = np.eye(sizes[-1], dtype=t.dtype)[np.arange(len(t)) % sizes[-1]]
    train = dict(batch_size=1 + number % 5, lr=0.01, max_steps=60, record_every=7, seed=number)
    train |= dict(backend=backend, arithmetic=arithmetic, hidden=sizes[1:-1], **how)
    result = fcb.train(case.x, t, **train)
    predicted = fcb.predict(
        result.params,
        case.x,
        backend=backend,
        arithmetic=arithmetic,
        activation=how.get("activation", "relu"),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        fcb.save(path, result)
        trainer = fcb.load(path).trainer(lr=0.01, backend=backend)
    losses = np.array([trainer.step(*sample) for sample in zip(case.x[:9], t[:9], strict=True)])
    seeds = [number, number + 1]
    many = fcb.train_many(case.x, t, **(train | dict(seed=seeds, max_steps=9)))
    return fcb.digest(
        [
            result.params,
            result.history.losses,
            predicted,
            losses,
            trainer.params,
            [network.params for network in many],
        ]
    )


def shared_by_threads():
    """From now on, let steps of this process's larger works be shared by three threads."""
    threads._PRODUCTS_A_THREAD = 20_000
    threads.get_threads = lambda: 3


def right_digests(numbers=range(NUMBERS)):
    """What must come out, by number."""
    return {number: work(number, "numpy") for number in numbers}
