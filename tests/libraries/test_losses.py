"""Losses on every array library: NumPy's bits; and PyTorch's gradients for comparison."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.activation_oracle import NAMES as ACTIVATIONS
from tests.cases import DTYPES, quick_first
from tests.loss_cases import ADAM, LOSSES, OF_PROBABILITIES, loss_problem, with_weights
from tests.loss_oracle import loss_and_gradient, probabilities
from tests.oracle import assert_same_bits, fast

# Dask computes in threads of its own, where NumPy's error handling is the default.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")

of_each_loss = pytest.mark.parametrize("loss", LOSSES)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES)
weighted_or_not = pytest.mark.parametrize("weighted", [False, True])


# Of each dtype JAX compiles each of these.
CHOICES = quick_first(
    [
        ("cross_entropy", True),
        ("binary_cross_entropy", False),
        ("huber", True),
        ("mean_squared", True),
        ("cross_entropy", False),
        ("binary_cross_entropy", True),
        ("huber", False),
        ("mean_squared", False),
    ],
    4,
)


@pytest.mark.parametrize(("loss", "weighted"), CHOICES)
@of_each_dtype
def test_every_library_has_the_oracles_bits(library, dtype, loss, weighted):
    case = loss_problem(1, (3, 6, 4), 5, dtype, loss)
    y = 2 * loss_problem(2, (3, 4), 5, dtype, "mean_squared").t
    rows = with_weights(case) if weighted else case.t
    s = dict(sample_weight=library.make(case.weights)) if weighted else {}
    params, x, t = (library.make(values) for values in (case.params, case.x, case.t))
    value, dy = LOSSES[loss](library.make(y), t, **s)
    want = loss_and_gradient(y, rows, loss, weighted)
    assert_same_bits((library.plain(value), library.plain(dy)), want)
    want = fast.sgd_step(case.params, case.x, rows, 0.3, "tanh", loss, weighted)
    how = dict(activation="tanh", loss=loss)
    if not weighted:
        new, value = fcb.sgd_step(params, x, t, 0.3, **how)
        assert_same_bits((library.plain(new), library.plain(value)), want)
    trainer = fcb.Trainer(params, lr=0.3, backend=library.name, **how)
    assert trainer.step(x, t, **s) == want[1]
    assert_same_bits(library.plain(trainer.params), want[0])


@pytest.mark.parametrize("loss", OF_PROBABILITIES)
@of_each_dtype
def test_probabilities_have_the_oracles_bits(library, dtype, loss):
    case = loss_problem(3, (3, 6, 4), 9, dtype, loss)
    want = probabilities(fast.predict(case.params, case.x, "sigmoid"), loss)
    params, x = library.make(case.params), library.make(case.x)
    got = fcb.predict_proba(params, x, activation="sigmoid", loss=loss)
    assert_same_bits(library.plain(got), want)
    one = fcb.predict_proba(params, x[2, :], activation="sigmoid", loss=loss)
    assert_same_bits(library.plain(one), want[2])


@pytest.mark.parametrize(("loss", "weighted"), CHOICES)
@pytest.mark.parametrize("dtype", quick_first(DTYPES, 1))
def test_a_training_has_numpys_bits(library, dtype, loss, weighted):
    optimizer = ADAM if weighted else fcb.SGD()
    case = loss_problem(4, (3, 5, 4), 12, dtype, loss)
    run = dict(
        loss=loss, optimizer=optimizer, lr=0.05, batch_size=3, max_steps=12, dtype=dtype,
        tol_on="data", record_every=5, sampling="epoch",
    )  # fmt: skip
    s = [case.weights, library.make(case.weights)] if weighted else [None, None]
    want = fcb.train(case.x, case.t, params=case.params, sample_weight=s[0], backend="numpy", **run)
    x, t, params = (library.make(values) for values in (case.x, case.t, case.params))
    got = fcb.train(x, t, params=params, sample_weight=s[1], **run)
    assert_same_bits(library.plain(got.params), want.params)
    assert_same_bits(got.history.losses, want.history.losses)
    if weighted:  # NumPy's serve beside arrays of the library
        got = fcb.train(x, t, params=params, sample_weight=case.weights.tolist(), **run)
        assert_same_bits(library.plain(got.params), want.params)


@of_each_dtype
def test_the_librarys_integers_name_classes(library, dtype):
    case = loss_problem(5, (3, 4), 6, dtype, "cross_entropy")
    classes = np.array([3, 0, 1, 1, 2, 0])
    run = dict(loss="cross_entropy", lr=0.1, max_steps=8, dtype=dtype, sample_weight=case.weights)
    want = fcb.train(case.x, np.eye(4)[classes].astype(dtype), backend="numpy", **run)
    x, y = library.make(case.x), library.make(loss_problem(6, (3, 4), 6, dtype, "huber").t)
    for t in (library.make(classes), library.make(classes.astype("int32")), classes, [*classes]):
        got = fcb.train(x, t, **run)
        assert_same_bits(library.plain(got.params), want.params)
        trainer = fcb.Trainer(got.params, loss="cross_entropy", lr=0.1, backend=library.name)
        losses = [trainer.step(x, t), trainer.step(x[0, :], 3), trainer.run(x, t, max_steps=3).loss]
        assert np.isfinite(losses).all()
        value, dy = fcb.cross_entropy_loss(y, t)
        want_of_y = loss_and_gradient(
            np.asarray(y), np.eye(4, dtype=dtype)[classes], "cross_entropy"
        )
        assert_same_bits((library.plain(value), library.plain(dy)), want_of_y)
        got = fcb.train_many(
            x, t, rows=[[1, 2], [5, 0]], classes=5, **run | dict(sample_weight=None)
        )
        assert library.plain(got[1].params)[0][0].shape == (3, 5)
    with pytest.raises(fcb.ArgumentError, match="indices from 0 to 3, got 4 among them"):
        fcb.cross_entropy_loss(y, library.make(classes + 1))


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_without_float64_jax_refuses_probabilities_alone():
    jax = pytest.importorskip("jax")
    if jax.config.jax_enable_x64:
        pytest.skip("float64 is switched on")
    case = loss_problem(8, (3, 2), 4, "float32", "huber")
    value, dy = fcb.huber_loss(case.x[:, :2], case.t, backend="jax")
    want = loss_and_gradient(case.x[:, :2], case.t, "huber")
    assert_same_bits((np.asarray(value), np.asarray(dy)), want)
    with pytest.raises(fcb.ArgumentTypeError, match="float64 switched on"):
        fcb.cross_entropy_loss(case.x[:, :2], [0, 1, 1, 0], backend="jax")


# --- PyTorch's own -------------------------------------------------------------------------------


def of_torch(torch, loss, y, t, s):
    """PyTorch's loss of a batch, as this package means it: a sample's terms are added."""
    functional = torch.nn.functional
    each = {
        "mean_squared": lambda: functional.mse_loss(y, t, reduction="none").sum(1),
        "huber": lambda: functional.huber_loss(y, t, reduction="none").sum(1),
        "cross_entropy": lambda: functional.cross_entropy(y, t, reduction="none"),
        "binary_cross_entropy": lambda: functional.binary_cross_entropy_with_logits(
            y, t, reduction="none"
        ).sum(1),
    }[loss]()
    return (each * s).sum() / len(y)


ON_TORCH = {"relu": "relu", "leaky_relu": "leaky_relu", "tanh": "tanh", "sigmoid": "sigmoid"}


@of_each_loss
@weighted_or_not
def test_gradients_of_fifty_networks_are_those_of_torchs_autograd(weighted, loss):
    torch = pytest.importorskip("torch")
    for seed in range(50):
        rng = np.random.default_rng(seed)
        sizes = tuple(rng.integers(1, 12, rng.integers(2, 5)).tolist())
        activation = ACTIVATIONS[seed % len(ACTIVATIONS)]
        case = loss_problem(seed, sizes, int(rng.integers(1, 20)), "float64", loss)
        weights = case.weights if weighted else np.ones(len(case.x))
        params = [[torch.asarray(a.copy()).requires_grad_() for a in pair] for pair in case.params]
        h = torch.asarray(case.x)
        for layer, (w, b) in enumerate(params):
            h = h @ w + b
            if layer < len(params) - 1 and activation != "identity":
                name = ON_TORCH[activation]
                h = (getattr(torch, name, None) or getattr(torch.nn.functional, name))(h)
        value = of_torch(torch, loss, h, torch.asarray(case.t), torch.asarray(weights))
        value.backward()
        # So large a rate leaves of parameters nothing but the gradient's multiple.
        rate = 2.0**80
        trainer = fcb.Trainer(case.params, loss=loss, activation=activation, lr=rate)
        got = trainer.step(case.x, case.t, sample_weight=weights if weighted else None)
        assert got == pytest.approx(value.item(), rel=1e-12, abs=1e-14)
        largest = max(1, *(float(a.grad.abs().max()) for pair in params for a in pair))
        for theirs, before, after in zip(params, case.params, trainer.params, strict=True):
            for gradient, a, b in zip(theirs, before, after, strict=True):
                want = gradient.grad.numpy()
                # Sums of up to twenty samples' terms, which may cancel.
                np.testing.assert_allclose((a - b) / rate, want, rtol=1e-12, atol=1e-14 * largest)
