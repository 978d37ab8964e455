"""Activations on every array library: NumPy's bits; and PyTorch's gradients for comparison."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.activation_oracle import NAMES
from tests.cases import DTYPES, problem
from tests.oracle import assert_same_bits, fast

# Dask computes in threads of its own, where NumPy's error handling is the default.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")

MIXED = ("tanh", "leaky_relu", "identity", "sigmoid")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_library_has_the_oracles_bits(library, dtype):
    case = problem(8, (3, 5, 4, 6, 3, 2), 4, dtype)
    params, x, t = (library.make(values) for values in (case.params, case.x, case.t))
    y = fcb.predict(params, x, activation=MIXED)
    assert_same_bits(library.plain(y), fast.predict(case.params, case.x, MIXED))
    new, loss = fcb.sgd_step(params, x, t, 0.3, activation=MIXED)
    want = fast.sgd_step(case.params, case.x, case.t, 0.3, MIXED)
    assert_same_bits((library.plain(new), library.plain(loss)), want)
    trainer = fcb.Trainer(params, activation=MIXED, lr=0.3, backend=library.name)
    trainer.step(x, t)
    assert_same_bits(library.plain(trainer.params), want[0])


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_without_float64_jax_refuses_tanh_alone():
    jax = pytest.importorskip("jax")
    if jax.config.jax_enable_x64:
        pytest.skip("float64 is switched on")
    case = problem(8, (3, 4, 2), 4, "float32")
    y = fcb.predict(case.params, case.x, activation="leaky_relu", backend="jax")
    assert_same_bits(np.asarray(y), fast.predict(case.params, case.x, "leaky_relu"))
    with pytest.raises(fcb.ArgumentTypeError, match="float64 switched on"):
        fcb.predict(case.params, case.x, activation="tanh", backend="jax")


OF_TORCH = {
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "identity": "clone",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_gradients_are_those_of_torchs_autograd(backend, name):
    torch = pytest.importorskip("torch")
    case = problem(12, (4, 7, 6, 3), 9, "float64")
    params = [[torch.asarray(a.copy()).requires_grad_() for a in pair] for pair in case.params]
    h = torch.asarray(case.x)
    for layer, (w, b) in enumerate(params):
        h = h @ w + b
        if layer < len(params) - 1:
            of_torch = getattr(torch, OF_TORCH[name], None)
            h = (of_torch or getattr(torch.nn.functional, OF_TORCH[name]))(h)
    loss = ((h - torch.asarray(case.t)) ** 2).sum() / len(case.x)
    loss.backward()
    # With a rate of one a step subtracts the gradient itself, but for a rounding.
    stepped = fcb.sgd_step(case.params, case.x, case.t, 1.0, activation=name, backend=backend)
    assert abs(float(stepped.loss) - loss.item()) < 1e-13 * loss.item()
    pairs = zip(params, case.params, stepped.params, strict=True)
    for theirs, before, after in pairs:
        for gradient, a, b in zip(theirs, before, after, strict=True):
            np.testing.assert_allclose(a - b, gradient.grad.numpy(), rtol=0, atol=1e-13)
