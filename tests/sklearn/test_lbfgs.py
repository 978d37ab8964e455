"""L-BFGS: the minima of known functions, what linear models find, and the same bits."""

import itertools
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import fcbackends as fcb
from fcbackends.sklearn import FCClassifier, FCRegressor
from fcbackends.sklearn.lbfgs import Point, iterates

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), (y - y.mean()) / y.std()


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def descend(value, gradient, start, tol=1e-5):
    evaluated = []

    def evaluate(at):
        evaluated.append(at)
        return Point(at, value(at), gradient(at))

    return list(iterates(evaluate, np.asarray(start, float), tol)), len(evaluated)


@pytest.mark.parametrize("size", [2, 5, 30])
def test_a_curved_valley_is_followed_with_no_more_evaluations_than_scipy(size):
    start = np.full(size, -1.2)
    points, evaluations = descend(rosen, rosen_der, start)
    theirs = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B")
    assert evaluations <= 1.2 * theirs.nfev + 5
    values = [point.value for point in points]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))
    np.testing.assert_allclose(points[-1].at, 1.0, atol=1e-3)


def test_a_level_start_is_the_end():
    points, evaluations = descend(lambda p: 1.0, np.zeros_like, [3.0, 4.0])
    assert (len(points), evaluations) == (1, 1)


def test_values_that_are_not_finite_are_high():
    def value(p):
        return -np.log(p).sum() + p.sum() if (p > 0).all() else np.nan

    with np.errstate(all="ignore"):
        points, _ = descend(value, lambda p: 1 - 1 / p, [1e-3, 50.0])
    np.testing.assert_allclose(points[-1].at, 1.0, atol=1e-3)


def test_an_edge_does_not_end_the_descent():
    points, _ = descend(
        lambda p: abs(p[0]) + 0.01 * (p[1] - 3) ** 2,
        lambda p: np.array([np.sign(p[0]), 0.02 * (p[1] - 3)]),
        [1.0, -2.0],
    )
    assert points[-1].value < 0.05


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_networks_without_hidden_layers_are_linear_models(dtype, diabetes, iris):
    how = dict(hidden_layer_sizes=(), solver="lbfgs", tol=1e-6, max_iter=1000, random_state=0)
    rtol = 1e-3 if dtype == "float32" else 1e-4
    x, y = (part.astype(dtype) for part in diabetes)
    network, ridge = FCRegressor(alpha=2.0, **how).fit(x, y), Ridge(alpha=2.0).fit(x, y)
    np.testing.assert_allclose(network.coefs_[0][:, 0], ridge.coef_, rtol=rtol, atol=rtol)
    assert network.stop_reason_ == "tol"
    x, y = iris[0].astype(dtype), iris[1]
    linear = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000)
    for classes in (y, y % 2):
        network = FCClassifier(alpha=1.0, **how).fit(x, classes)
        wanted = linear.fit(x, classes).predict_proba(x)
        np.testing.assert_allclose(network.predict_proba(x), wanted, atol=20 * rtol)


def test_weights_of_samples_are_repeated_rows(diabetes):
    # All rows are in each step, so that here both are the same, but for the order of sums.
    x, y = diabetes
    times = np.arange(len(x)) % 3
    how = dict(
        hidden_layer_sizes=(4,), activation="tanh", solver="lbfgs", alpha=0.0, random_state=0
    )
    weighted = FCRegressor(max_iter=12, **how).fit(x, y, sample_weight=times)
    rows = np.repeat(np.arange(len(x)), times)
    repeated = FCRegressor(max_iter=12, **how).fit(x[rows], y[rows])
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
def test_backends_end_on_the_same_bits(arithmetic, iris):
    how = dict(solver="lbfgs", max_iter=15, random_state=0, arithmetic=arithmetic)
    fits = [FCClassifier((5, 4), backend=name, **how).fit(*iris) for name in ("numpy", "numba")]
    assert fits[0].digest_ == fits[1].digest_
    assert fits[0].loss_curve_ == fits[1].loss_curve_


def test_losses_fall_to_those_of_scikit_learns_networks(iris):
    how = dict(hidden_layer_sizes=(6,), activation="tanh", alpha=1.0, solver="lbfgs", max_iter=400)
    ours = [FCClassifier(random_state=seed, **how).fit(*iris) for seed in range(5)]
    theirs = [MLPClassifier(random_state=seed, **how).fit(*iris) for seed in range(5)]
    for fitted in ours:
        assert fitted.stop_reason_ == "tol"
        assert fitted.n_iter_ == fitted.steps_ == len(fitted.loss_curve_)
    penalized = [
        each.loss_ + sum((w**2).sum() for w in each.coefs_) / 2 / len(iris[0]) for each in ours
    ]
    np.testing.assert_allclose(min(penalized), min(each.loss_ for each in theirs), rtol=1e-3)


def test_a_fit_goes_on_and_is_scored(diabetes):
    x, y = diabetes
    how = dict(solver="lbfgs", random_state=0, warm_start=True, max_iter=5)
    fitted = FCRegressor((6,), early_stopping=True, **how).fit(x, y, validation=(x[:50], y[:50]))
    assert len(fitted.validation_scores_) == 5
    assert fitted.validation_scores_[-1] == fitted.score(x[:50], y[:50])
    first = fitted.loss_
    assert fitted.fit(x, y).loss_ < first
    assert (fitted.n_iter_, fitted.steps_, len(fitted.loss_curve_)) == (5, 10, 10)


@pytest.mark.parametrize(("first", "then"), [("adam", "lbfgs"), ("lbfgs", "adam"), ("sgd", "adam")])
def test_another_solver_goes_on_from_where_one_ended(first, then, diabetes):
    x, y = diabetes
    how = dict(max_iter=4, batch_size=len(x), random_state=0, warm_start=True)
    fitted = FCRegressor((6,), solver=first, **how).fit(x, y)
    begin, steps = tuple(zip(fitted.coefs_, fitted.intercepts_, strict=True)), fitted.steps_
    loss = fitted.loss_
    fitted.set_params(solver=then, max_iter=1).fit(x, y)
    assert fitted.steps_ == steps + 1
    if then == "lbfgs":
        assert fitted.loss_ < loss
        return
    adam = fcb.Adam(weight_decay=2e-4 / len(x), eps=2e-8, decoupled=False, decay_bias=False)
    trainer = fcb.Trainer(begin, optimizer=adam, lr=1e-3)
    trainer.state = trainer.state._replace(steps=steps)
    run = trainer.run(x, y, batch_size=len(x), max_steps=1, sampling="epoch", seed=0)
    assert fitted.digest_ == fcb.digest(run.params)


def test_single_samples_are_refused_as_batches_are(diabetes):
    x, y = diabetes
    one = x[:1], y[:1]
    fitted = FCRegressor((4,), solver="lbfgs", max_iter=2, random_state=0).fit(x, y)
    with pytest.raises(fcb.ArgumentError, match="`solver` must be one of 'adam', 'sgd' where"):
        fitted.partial_fit(*one)
    fitted = FCRegressor((4,), max_iter=2, random_state=0).fit(x, y)
    with pytest.raises(fcb.ArgumentError, match="`early_stopping` must be False where data come"):
        fitted.set_params(early_stopping=True).partial_fit(*one)
    with pytest.raises(fcb.ArgumentError, match="`solver` must be one of 'adam', 'sgd', 'lbfgs'"):
        fitted.set_params(early_stopping=False, solver="newton").partial_fit(*one)


def test_it_ends_after_so_many_evaluations_or_steps(diabetes, capsys):
    how = dict(solver="lbfgs", random_state=0)
    for name, most, what in (("max_iter", 3, "iterations"), ("max_fun", 4, "evaluations")):
        network = FCRegressor((6,), verbose=True, **{name: most}, **how)
        text = rf"Maximum {what} \({most}\) reached and the optimization hasn't converged yet\."
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ConvergenceWarning, match=text):
                network.fit(*diabetes)
        assert len(network._curve.losses) <= most
        assert "Iteration 1, loss = " in capsys.readouterr().out


def test_what_it_refuses(diabetes):
    x, y = diabetes
    network = FCRegressor((4,), solver="lbfgs", max_iter=2, random_state=0)
    with pytest.raises(fcb.ArgumentError) as raised:
        clone(network).partial_fit(x, y)
    text = "`solver` must be one of 'adam', 'sgd' where data come in pieces, got 'lbfgs'"
    assert str(raised.value) == text
    with pytest.raises(fcb.DivergenceError):
        network.fit(1e160 * x, y)
