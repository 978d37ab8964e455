"""Records that one library's run wrote, reproduced by another's."""

import json

import numpy as np

import fcbackends as fcb

X = np.random.default_rng(0).normal(size=(50, 3))
T = X @ np.ones((3, 2))
HOW = dict(hidden=(4,), lr=0.01, batch_size=4, max_steps=40, digest_every=7)


def test_a_record_of_numba_is_reproduced(library, tmp_path):
    path = tmp_path / "run.json"
    held = X[:9].copy(), T[:9].copy()
    fcb.train(X, T, **HOW, validation=held, patience=9, record=path, backend="numba")
    arrays = (library.make(X), library.make(T))
    again = fcb.reproduce(path, *arrays, validation=library.make(held), backend=library.name)
    assert again.equal, again.reason


def test_its_own_record_is_reproduced_by_numba(library, tmp_path):
    path = tmp_path / "run.json"
    fcb.train(library.make(X), library.make(T), **HOW, record=path)
    assert json.loads(path.read_text())["backend"]["name"] == library.name
    again = fcb.reproduce(path, X, T, backend="numba")
    assert again.equal, again.reason
