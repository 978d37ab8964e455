"""Real data with classes: what scikit-learn's classifier gives with the same settings.

Fed the same batches from the same weights, it takes the same steps up to rounding. Left to draw for
itself from these weights, it goes through other orders of the samples, and what both tell apart of
samples held out agrees as far as seeds scatter.
"""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import fcbackends as fcb
from tests.cases import needs_jit

pytestmark = [
    needs_jit,
    # scikit-learn says so where it is stopped before its own test of convergence.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

HIDDEN, BATCH, EPOCHS, LR, ALPHA = 32, 32, 60, 2e-3, 1e-2
SEEDS = range(10)
SETS = {
    "digits": load_digits,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "iris": load_iris,
}


def split(name, seed):
    """Inputs and classes to train on, and to test on, scaled by what is trained on."""
    x, t = SETS[name](return_X_y=True)
    x, x_test, t, t_test = train_test_split(x, t, test_size=0.3, stratify=t, random_state=seed)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), t, scaler.transform(x_test), t_test


def classifier(**settings):
    return MLPClassifier(
        hidden_layer_sizes=(HIDDEN,), activation="relu", solver="adam", alpha=ALPHA,
        batch_size=BATCH, tol=0, n_iter_no_change=10**6, **settings,
    )  # fmt: skip


def first_params(x, t, seed):
    """Those that scikit-learn begins with: steps of such a length change nothing."""
    model = classifier(learning_rate_init=1e-300, max_iter=1, random_state=seed).fit(x, t)
    return params_of(model)


def params_of(model):
    return tuple(zip(model.coefs_, model.intercepts_, strict=True))


def loss_for(classes):
    """Of two classes scikit-learn makes one question."""
    return "cross_entropy" if classes > 2 else "binary_cross_entropy"


def adam(**settings):
    # scikit-learn adds alpha / 2 times the squares of the weights, not of the biases, to the sum of
    # a batch's losses, and divides all by the batch's size: a decay of alpha / BATCH.
    return fcb.Adam(weight_decay=ALPHA / BATCH, decoupled=False, decay_bias=False, **settings)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", SETS)
def test_the_same_batches_give_the_network_of_mlp_classifier(name, backend):
    x, t, _, _ = split(name, 0)
    steps, loss, classes = 200, loss_for(t.max() + 1), np.unique(t)
    # So small that it does not matter which of two places Adam adds it at.
    eps = 1e-30
    params = first_params(x, t, 0)
    ours = fcb.train(
        x, t, params=params, loss=loss, optimizer=adam(eps=eps), lr=LR, batch_size=BATCH,
        sampling="epoch", max_steps=steps, seed=3, backend=backend,
    )  # fmt: skip
    model = classifier(learning_rate_init=LR, epsilon=eps, random_state=0)
    model.partial_fit(x[:BATCH], t[:BATCH], classes=classes)  # makes its arrays
    model._optimizer.t = 0
    for arrays in (model._optimizer.ms, model._optimizer.vs):
        for array in arrays:
            array[...] = 0
    for (w, b), coefs, intercepts in zip(params, model.coefs_, model.intercepts_, strict=True):
        coefs[...], intercepts[...] = w, b
    for row in fcb.sample_indices(len(x), steps=steps, batch_size=BATCH, sampling="epoch", seed=3):
        model.partial_fit(x[row], t[row])
    for ours_of, theirs_of in zip(ours.params, params_of(model), strict=True):
        for got, want in zip(ours_of, theirs_of, strict=True):
            # scikit-learn sums in other orders, and Adam makes small gradients as large as others.
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_the_share_told_apart_is_that_of_mlp_classifier(name):
    ours, theirs = [], []
    for seed in SEEDS:
        x, t, x_test, t_test = split(name, seed)
        loss = loss_for(t.max() + 1)
        model = classifier(learning_rate_init=LR, max_iter=EPOCHS, random_state=seed).fit(x, t)
        assert model.n_iter_ == EPOCHS
        theirs.append(model.score(x_test, t_test))
        result = fcb.train(
            x, t, params=first_params(x, t, seed), loss=loss, optimizer=adam(), lr=LR,
            batch_size=BATCH, sampling="epoch", max_steps=EPOCHS * -(-len(x) // BATCH), seed=seed,
        )  # fmt: skip
        p = fcb.predict_proba(result.params, x_test, loss=loss)
        told = p.argmax(axis=1) if p.shape[1] > 1 else p[:, 0] > 0.5
        ours.append(np.mean(told == t_test))
    error = np.std(theirs, ddof=1) / np.sqrt(len(SEEDS))
    said = f"{name}: ours {np.mean(ours):.4f}, theirs {np.mean(theirs):.4f} +- {error:.4f}"
    print(said)  # noqa: T201
    assert np.mean(ours) >= np.mean(theirs) - error, said


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_irises_are_told_apart_on_samples_held_out(backend):
    # The first 300 steps; what follows adds little.
    x, t, x_test, t_test = split("iris", 0)
    result = fcb.train(
        x, t, loss="cross_entropy", hidden=(16,), optimizer=fcb.Adam(), lr=0.01, batch_size=16,
        sampling="epoch", max_steps=300, backend=backend,
    )  # fmt: skip
    p = fcb.predict_proba(result.params, x_test, backend=backend)
    assert np.mean(p.argmax(axis=1) == t_test) > 0.9
    assert fcb.cross_entropy_loss(fcb.predict(result.params, x), t).loss < 0.1
