"""What the boundary takes, though it looks unusual."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import BACKENDS
from tests.test_errors import PARAMS, B, T, W, X, Y


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_error_is_taken(backend):
    run = dict(backend=backend, max_steps=3)
    assert fcb.train(X.tolist(), T.tolist(), lr=np.float32(0.01), **run).steps == 3
    assert fcb.train(X, T, lr=np.float64(0.01), dtype=np.float32, **run).params[0][0].dtype == "f4"
    settings = dict(batch_size=np.int64(2), seed=np.uint64(2**64 - 1), tol=np.float32(0))
    assert fcb.train(X, T, lr=0.01, hidden=np.array([4]), **settings, **run).steps == 3
    assert fcb.train(X, T, lr=0.01, params=[list(p) for p in PARAMS], hidden=[4], **run).steps == 3
    integers = ([[1, 0], [2, 1], [3, 0]], [0, 1])
    assert fcb.train(X, T, lr=0.01, params=[integers], **run).params[0][0].dtype == np.float64
    assert fcb.fc_forward(np.empty((0, 3)), W, B, backend=backend).shape == (0, 4)
    assert fcb.fc_forward(np.empty((2, 0)), W[:0], B, backend=backend).shape == (2, 4)
    assert fcb.predict(PARAMS, np.empty((0, 3)), backend=backend).shape == (0, 2)
    assert [g.shape for g in fcb.fc_backward(Y[:0], X[:0], W, backend=backend)] == [
        (3, 4),
        (4,),
        (0, 3),
    ]
    assert fcb.sample_indices(3, steps=0).shape == (0, 1)


def test_a_record_beyond_the_last_possible_step_is_never_made():
    x = np.ones((3, 1))
    history = fcb.train(x, x, lr=0.1, max_steps=4, record_every=2**70).history
    assert history.steps.tolist() == [4]
