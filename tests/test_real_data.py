"""Real data: the loss that scikit-learn's SGD reaches with the same settings.

scikit-learn descends half of this package's loss, so its learning rate is twice the one here. Fed
the same batches from the same weights, it takes the same steps up to rounding, and the losses agree
to 1e-9. Left to draw for itself, it goes through other orders of the samples: its own spread over
seeds is then the yardstick.
"""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_linnerud
from sklearn.linear_model import SGDRegressor
from sklearn.neural_network import MLPRegressor

import fcbackends as fcb
from tests.cases import BACKENDS, needs_jit

pytestmark = [
    needs_jit,
    # scikit-learn says so where it is stopped before its own test of convergence.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def standardised(a):
    return (a - a.mean(axis=0)) / a.std(axis=0)


def linnerud():
    data = load_linnerud()
    return standardised(data.data), standardised(data.target)


def diabetes():
    data = load_diabetes()
    return standardised(data.data), standardised(data.target[:, None])


def digits():
    data = load_digits()
    return data.data / 16, np.eye(10)[data.target]


LINEAR = {"linnerud": linnerud, "diabetes": diabetes}


def loss_of(params, x, t):
    return float(fcb.mean_squared_loss(fcb.predict(params, x), t).loss)


def least_loss(x, t):
    """The least squares optimum, without any descent."""
    with_ones = np.column_stack([x, np.ones(len(x))])
    solution = np.linalg.lstsq(with_ones, t, rcond=None)[0]
    return float(np.mean(np.sum((with_ones @ solution - t) ** 2, axis=1)))


# --- linear regression ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "backend", "steps"),
    [("linnerud", "numpy", 1000), ("linnerud", "numba", 1000), ("diabetes", "numba", 6000)],
)
def test_whole_batches_reach_the_least_squares_optimum(name, backend, steps):
    # The excess loss shrinks by exp(-4 lr e) a step, with e the least eigenvalue of the inputs'
    # covariance: 0.25 and 0.0086.
    x, t = LINEAR[name]()
    result = fcb.train(
        x, t, lr=0.1, batch_size=len(x), sampling="epoch", max_steps=steps, backend=backend
    )
    # 1e-9: what is left of the excess after these steps, e.g. exp(-4 * 0.1 * 0.0086 * 6000).
    assert loss_of(result.params, x, t) == pytest.approx(least_loss(x, t), rel=1e-9)


def sgd_regressors(outputs, seed, **settings):
    return [
        SGDRegressor(
            penalty=None, learning_rate="constant", tol=None, random_state=seed, **settings
        )
        for _ in range(outputs)
    ]


def as_params(regressors):
    w = np.stack([r.coef_ for r in regressors], axis=1)
    return ((w, np.concatenate([r.intercept_ for r in regressors])),)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LINEAR)
def test_the_same_samples_give_the_weights_of_sgd_regressor(name, backend):
    x, t = LINEAR[name]()
    epochs, lr = 30, 0.002
    ours = fcb.train(
        x, t, lr=lr, sampling="epoch", max_steps=epochs * len(x), seed=1, backend=backend
    )
    ((w, b),) = fcb.init_params((x.shape[1], t.shape[1]), seed=1)
    order = fcb.sample_indices(len(x), steps=epochs * len(x), sampling="epoch", seed=1)[:, 0]
    regressors = sgd_regressors(t.shape[1], 0, eta0=2 * lr, shuffle=False, max_iter=1)
    for m, regressor in enumerate(regressors):
        regressor.fit(x[order], t[order, m], coef_init=w[:, m], intercept_init=b[m])
    theirs = as_params(regressors)
    # scikit-learn sums a sample's products in an order of its own: 7e-16 apart at the most.
    np.testing.assert_allclose(ours.params[0][0], theirs[0][0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(ours.params[0][1], theirs[0][1], rtol=0, atol=1e-14)
    assert loss_of(ours.params, x, t) == pytest.approx(loss_of(theirs, x, t), rel=1e-12)


@pytest.mark.parametrize("name", LINEAR)
def test_training_reaches_the_loss_that_sgd_regressor_reaches(name):
    x, t = LINEAR[name]()
    lr, epochs = 0.0005, {"linnerud": 4000, "diabetes": 400}[name]
    theirs = []
    for seed in range(5):
        regressors = sgd_regressors(t.shape[1], seed, eta0=2 * lr, max_iter=epochs)
        for m, regressor in enumerate(regressors):
            regressor.fit(x, t[:, m])
        theirs.append(loss_of(as_params(regressors), x, t))
    ours = [
        loss_of(
            fcb.train(x, t, lr=lr, sampling="epoch", max_steps=epochs * len(x), seed=seed).params,
            x,
            t,
        )
        for seed in range(5)
    ]
    best = least_loss(x, t)
    assert min(ours) > best * (1 - 1e-12)
    # What either leaves above the optimum is the noise of its last samples: of one size.
    assert np.mean(ours) - best < 2 * (np.mean(theirs) - best)
    assert np.mean(ours) < best * 1.01


# --- one hidden layer ----------------------------------------------------------------------------

HIDDEN, BATCH, LR = 32, 32, 0.02


def mlp(**settings):
    return MLPRegressor(
        hidden_layer_sizes=(HIDDEN,), activation="relu", solver="sgd", alpha=0, momentum=0,
        nesterovs_momentum=False, learning_rate="constant", learning_rate_init=2 * LR,
        batch_size=BATCH, tol=0, n_iter_no_change=10**6, **settings,
    )  # fmt: skip


def mlp_params(model):
    return tuple(zip(model.coefs_, model.intercepts_, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_batches_give_the_network_of_mlp_regressor(backend):
    x, t = digits()
    steps = 300
    ours = fcb.train(
        x, t, hidden=(HIDDEN,), lr=LR, batch_size=BATCH, sampling="epoch", max_steps=steps,
        seed=3, backend=backend,
    )  # fmt: skip
    model = mlp().partial_fit(x[:BATCH], t[:BATCH])  # makes its arrays
    first = fcb.init_params((64, HIDDEN, 10), seed=3)
    for (w, b), coefs, intercepts in zip(first, model.coefs_, model.intercepts_, strict=True):
        coefs[...], intercepts[...] = w, b
    rows = fcb.sample_indices(len(x), steps=steps, batch_size=BATCH, sampling="epoch", seed=3)
    for row in rows:
        model.partial_fit(x[row], t[row])
    for (w, b), (v, c) in zip(ours.params, mlp_params(model), strict=True):
        # scikit-learn multiplies with BLAS, whose sums run in another order: 2e-16 apart.
        np.testing.assert_allclose(w, v, rtol=0, atol=1e-13)
        np.testing.assert_allclose(b, c, rtol=0, atol=1e-13)
    assert loss_of(ours.params, x, t) == pytest.approx(loss_of(mlp_params(model), x, t), rel=1e-12)


def test_digits_reach_the_loss_that_mlp_regressor_reaches():
    x, t = digits()
    epochs = 40
    ours, theirs = [], []
    for seed in range(4):
        model = mlp(max_iter=epochs, random_state=seed).fit(x, t)
        theirs.append(loss_of(mlp_params(model), x, t))
        # scikit-learn's epochs end with a batch of the 5 samples left over; ours run on.
        result = fcb.train(
            x, t, hidden=(HIDDEN,), lr=LR, batch_size=BATCH, sampling="epoch", tol_on="data",
            max_steps=epochs * -(-len(x) // BATCH), seed=seed, dtype="float32",
        )  # fmt: skip
        ours.append(result.loss)
    # Other first weights and other orders: no worse than the scatter of theirs.
    assert np.mean(ours) < np.mean(theirs) + 2 * np.std(theirs)


def test_digits_are_told_apart_on_samples_held_out():
    x, t = digits()
    result = fcb.train(
        x[:1400], t[:1400], hidden=(HIDDEN,), lr=LR, batch_size=BATCH, sampling="epoch",
        max_steps=3000,
    )  # fmt: skip
    told = fcb.predict(result.params, x[1400:]).argmax(axis=1)
    assert np.mean(told == t[1400:].argmax(axis=1)) > 0.9
