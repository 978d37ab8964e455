"""Tensors that hold no number for each of their elements are refused by name."""

import warnings

import numpy as np
import pytest

import fcbackends as fcb

torch = pytest.importorskip("torch")

W, B = torch.ones(2, 2), torch.zeros(2)
REQUIRED = "must be a dense array, with values, got one"


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(1)])


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.eye(2).to_sparse(), "of torch.sparse_coo on cpu"),
        (nested, "nested"),
    ],
)
def test_what_is_not_dense(make, kind):
    x = make()
    for name, call in (
        ("x", lambda: fcb.fc_forward(x, W, B)),
        ("a", lambda: fcb.relu(x)),
        ("y", lambda: fcb.mean_squared_loss(x, x)),
        ("params[0].w", lambda: fcb.predict(((x, B),), W)),
        ("x", lambda: fcb.train(x, W, lr=0.1)),
        ("t", lambda: fcb.train(W, x, lr=0.1)),
        ("x", lambda: fcb.Trainer(((W, B),), lr=0.1).step(x, W)),
        ("a", lambda: fcb.compare(x, x)),
        ("params", lambda: fcb.digest(x)),
        ("x", lambda: fcb.Scaling.fit(x)),
    ):
        with pytest.raises(fcb.ArgumentTypeError) as caught:
            call()
        assert str(caught.value) == f"`{name}` {REQUIRED} {kind}"


def test_what_has_no_values():
    x = torch.empty(2, 2, device="meta")
    for name, call in (
        ("a", lambda: fcb.relu(x)),
        ("y", lambda: fcb.mean_squared_loss(x, x)),
        ("x", lambda: fcb.train(x, x, lr=0.1)),
        ("a", lambda: fcb.compare(x, x)),
        ("params", lambda: fcb.digest(x)),
        ("x", lambda: fcb.Scaling.fit(x)),
    ):
        with pytest.raises(fcb.ArgumentTypeError) as caught:
            call()
        assert str(caught.value) == f"`{name}` {REQUIRED} of torch.strided on meta"
    # Beside others it is first of all on another device.
    with pytest.raises(fcb.ArgumentError, match="must be on one device"):
        fcb.fc_forward(x, W, B)


def test_scipys():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(fcb.ArgumentTypeError) as caught:
        fcb.fc_forward(sparse.eye(2), np.ones((2, 2)), np.zeros(2))
    assert str(caught.value) == "`x` must hold float64, float32 or integer values, got dtype object"
