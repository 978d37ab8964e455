"""Estimators: scikit-learn's own checks, its networks' steps, and the bits of one run."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fcbackends as fcb
from fcbackends.sklearn import FCClassifier, FCRegressor
from fcbackends.sklearn.settings import first_params

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DRAWN = "samples are drawn in batches: one of weight 2 comes in one batch, two in two"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": DRAWN,
    "check_sample_weight_equivalence_on_sparse_data": DRAWN,
}


@pytest.mark.filterwarnings("ignore")  # the checks' own
@parametrize_with_checks(
    [FCRegressor(max_iter=100), FCClassifier(max_iter=100)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return x[:90] / x.std(), (y[:90] - y.mean()) / y.std()


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def digest_of(estimator):
    return fcb.digest([list(pair) for pair in zip(*weights_of(estimator), strict=True)])


def weights_of(estimator):
    return estimator.coefs_, estimator.intercepts_


# --- the steps of scikit-learn's networks --------------------------------------------------------

SETTINGS = [
    dict(solver="adam", alpha=0.0, epsilon=1e-30),
    dict(solver="adam", alpha=0.3, beta_1=0.8, beta_2=0.99, epsilon=1e-30),
    dict(solver="sgd", alpha=0.0, momentum=0.0, learning_rate_init=0.1),
    dict(solver="sgd", alpha=0.5, momentum=0.7, nesterovs_momentum=False, learning_rate_init=0.05),
    dict(solver="sgd", alpha=0.1, momentum=0.9, nesterovs_momentum=True, learning_rate_init=0.02),
]


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", ["one target", "two targets", "two classes", "three", "labels"])
def test_steps_are_those_of_scikit_learns_networks(kind, settings, activation, diabetes, iris):
    x, y = iris if kind in ("two classes", "three") else diabetes
    if kind == "two classes":
        y = np.array(["no", "yes"])[(y > 0).astype(int)]
    elif kind == "two targets":
        y = np.stack([y, y[::-1] ** 2], axis=1)
    elif kind == "labels":
        y = np.stack([y > 0, y > 0.5, x[:, 0] > 0], axis=1).astype(int)
    regression = kind.endswith(("target", "targets"))
    own, other = (FCRegressor, MLPRegressor) if regression else (FCClassifier, MLPClassifier)
    how = dict(hidden_layer_sizes=(7, 5), activation=activation, random_state=1, **settings)
    how |= dict(batch_size=len(x), shuffle=False)
    classes = {} if regression else {"classes": range(3) if kind == "labels" else np.unique(y)}
    theirs = other(**how).partial_fit(x, y, **classes)
    # Both go on from the same weights, with optimizers that have seen nothing.
    ours = own(**how)
    ours.partial_fit(x, y, **classes)
    begin = first_params(
        (x.shape[1], 7, 5, ours.n_outputs_), ours._trainer.activation, 1, "float64"
    )
    for (w, b), coef, intercept in zip(begin, *weights_of(theirs), strict=True):
        coef[...], intercept[...] = w, b
    del theirs._optimizer
    for _ in range(25):
        theirs.partial_fit(x, y)
    for _ in range(24):
        ours.partial_fit(x, y)
    # Sums run in the order of a BLAS there; Adam's small number, here none, stands elsewhere.
    close = dict(rtol=1e-7, atol=1e-10) if settings["solver"] == "adam" else dict(rtol=1e-9)
    for mine, wanted in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(mine, wanted, **close)
    if regression:
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-6, atol=1e-9)
    else:
        np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), rtol=1e-6)
    if not settings["alpha"]:
        np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-6)


@pytest.mark.parametrize("rate", ["invscaling", "adaptive"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_rates_fall_as_those_of_scikit_learns_networks(rate, momentum, nesterov, diabetes):
    x, y = diabetes
    how = dict(hidden_layer_sizes=(6,), solver="sgd", learning_rate=rate, random_state=1)
    how |= dict(batch_size=30, shuffle=False, momentum=momentum, nesterovs_momentum=nesterov)
    # With so large a tolerance nothing changes enough, and an adaptive rate falls soon.
    how |= dict(learning_rate_init=0.05, tol=0.2, n_iter_no_change=2, power_t=0.3)
    theirs = MLPRegressor(warm_start=True, max_iter=1, **how).fit(x, y)
    begin = first_params((x.shape[1], 6, 1), "relu", 1, "float64")
    for (w, b), coef, intercept in zip(begin, *weights_of(theirs), strict=True):
        coef[...], intercept[...] = w, b
    theirs.t_ = theirs.n_iter_ = 0
    theirs.loss_curve_, theirs.best_loss_, theirs._no_improvement_count = [], np.inf, 0
    theirs.set_params(max_iter=12).fit(x, y)
    ours = FCRegressor(max_iter=12, **how).fit(x, y)
    assert ours._trainer.lr < 0.05 / 2
    for mine, wanted in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(mine, wanted, rtol=1e-9)


# --- the bits of one run -------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [10, 16, "auto"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_two_fits_of_fifty_epochs_are_one_of_a_hundred(diabetes, batch, solver):
    how = dict(random_state=3, batch_size=batch, solver=solver, n_iter_no_change=1000)
    once = FCRegressor((6,), max_iter=100, **how).fit(*diabetes)
    twice = FCRegressor((6,), max_iter=50, warm_start=True, **how).fit(*diabetes)
    assert twice.digest_ != once.digest_
    twice.fit(*diabetes)
    assert twice.digest_ == once.digest_ == digest_of(once)
    assert twice.loss_curve_ == once.loss_curve_
    assert (twice.steps_, twice.t_, twice.n_iter_) == (once.steps_, once.t_, 50)


@pytest.mark.parametrize(
    ("at_most", "batch", "first", "last"),
    [(20, 18, slice(0, 5), slice(30, 35)), (8, 8, slice(0, 12), slice(68, 79))],
)
def test_a_fit_is_a_run_of_a_trainer(at_most, batch, first, last, diabetes):
    x, y = diabetes
    how = dict(batch_size=at_most, alpha=0.2, max_iter=7, random_state=5)
    fitted = FCRegressor((6,), activation="tanh", **how).fit(x, y)
    adam = fcb.Adam(weight_decay=2 * 0.2 / batch, eps=2e-8, decoupled=False, decay_bias=False)
    params = first_params((10, 6, 1), "tanh", 5, "float64")
    trainer = fcb.Trainer(params, activation="tanh", optimizer=adam, lr=1e-3)
    run = trainer.run(
        x, y, batch_size=batch, max_steps=last.stop, sampling="epoch", seed=5, record_every=1
    )
    assert fitted.digest_ == fcb.digest(run.params)
    losses = run.history.losses / 2
    assert fitted.loss_curve_[0] == losses[first].mean()
    assert fitted.loss_curve_[-1] == losses[last].mean()


@pytest.mark.parametrize("arithmetic", ["ordered", "fused"])
def test_backends_end_on_the_same_bits(iris, arithmetic):
    how = dict(max_iter=5, random_state=0, arithmetic=arithmetic, early_stopping=True)
    digests = {FCClassifier((5,), backend=b, **how).fit(*iris).digest_ for b in ("numpy", "numba")}
    assert len(digests) == 1


def searched(iris, jobs, backend):
    import joblib

    grid = {
        "alpha": [1e-4, 1.0],
        "hidden_layer_sizes": [(4,), (6, 3), (2,)],
        "solver": ["adam", "sgd"],
        "batch_size": [16, 50],
    }

    def digests(estimator, x, y):
        # As whole numbers of 48 bits, which a table of scores holds exactly.
        return {"digest": int(estimator.digest_[:12], 16), "accuracy": estimator.score(x, y)}

    with joblib.parallel_config(backend=backend):
        search = GridSearchCV(
            FCClassifier(max_iter=5, random_state=2), grid, cv=3, n_jobs=jobs, scoring=digests,
            refit="accuracy",
        )  # fmt: skip
        return search.fit(*iris)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_in_two_jobs_finds_the_same(backend, iris):
    one, two = searched(iris, 1, backend), searched(iris, 2, backend)
    found = [f"split{split}_test_{name}" for split in range(3) for name in ("digest", "accuracy")]
    for name in found:
        assert len(one.cv_results_[name]) == 24
        np.testing.assert_array_equal(one.cv_results_[name], two.cv_results_[name])
    assert len(set(one.cv_results_["split0_test_digest"])) == 24
    assert one.best_params_ == two.best_params_
    assert one.best_estimator_.digest_ == two.best_estimator_.digest_


def test_copies_are_the_same_and_go_on(diabetes):
    import joblib

    x, y = diabetes
    fitted = FCRegressor((6,), max_iter=5, random_state=1).fit(x, y)
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    copies = [pickle.loads(pickle.dumps(fitted)), joblib.load(file), copy.deepcopy(fitted)]
    fitted.partial_fit(x, y)
    for other in copies:
        other.partial_fit(x, y)
        assert other.digest_ == fitted.digest_
        np.testing.assert_array_equal(other.predict(x), fitted.predict(x))


def test_a_sample_that_comes_alone_takes_the_same_step_as_one_that_is_checked(iris):
    x, y = iris
    for model, t in ((FCRegressor((5,)), x[:, 0].copy()), (FCClassifier((5,)), y)):
        classes = {} if isinstance(model, FCRegressor) else {"classes": [0, 1, 2]}
        fast = clone(model).set_params(random_state=0).partial_fit(x[:1], t[:1], **classes)
        checked = clone(fast).partial_fit(x[:1], t[:1], **classes)
        for row in range(1, 40):
            fast.partial_fit(x[row : row + 1], t[row : row + 1])
            checked.partial_fit(x[row : row + 1].tolist(), t[row : row + 1].tolist())
        assert fast.digest_ == checked.digest_
        assert (fast.t_, fast.n_iter_) == (checked.t_, checked.n_iter_) == (40, 40)
        with pytest.raises(ValueError, match="NaN"):
            fast.partial_fit(np.full((1, 4), np.nan), t[:1])


# --- when training ends --------------------------------------------------------------------------


def test_training_ends_where_nothing_changes(diabetes):
    fitted = FCRegressor((4,), tol=1e-2, max_iter=500, random_state=0).fit(*diabetes)
    assert fitted.stop_reason_ == "n_iter_no_change"
    losses, best, unchanged = fitted.loss_curve_, np.inf, []
    for loss in losses:  # scikit-learn's rule
        unchanged.append(
            unchanged[-1] + 1 if unchanged and loss > best - 1e-2 else int(loss > best - 1e-2)
        )
        best = min(best, loss)
    assert unchanged[-1] == 11
    assert max(unchanged[:-1]) == 10
    assert len(losses) == fitted.n_iter_ < 500
    assert fitted.best_loss_ == best


def test_early_stopping_ends_where_the_score_was_best(iris):
    fitted = FCClassifier(
        (8,), early_stopping=True, max_iter=300, random_state=0, learning_rate_init=0.02
    )
    fitted.fit(*iris)
    scores = fitted.validation_scores_
    assert fitted.best_validation_score_ == max(scores)
    epoch = int(np.argmax(scores)) + 1
    assert fitted.steps_ == epoch  # of 135 samples in one batch
    again = clone(fitted).set_params(max_iter=epoch).fit(*iris)
    assert again.digest_ == fitted.digest_


def test_data_of_ones_own_are_scored(diabetes):
    x, y = diabetes
    how = dict(max_iter=6, random_state=0)
    fitted = FCRegressor((4,), **how).fit(x[:60], y[:60], validation=(x[60:], y[60:]))
    assert len(fitted.validation_scores_) == 6
    assert fitted.validation_scores_[-1] == fitted.score(x[60:], y[60:])
    assert fitted.digest_ == FCRegressor((4,), **how).fit(x[:60], y[:60]).digest_


def test_rates_fall(diabetes):
    how = dict(solver="sgd", momentum=0.0, random_state=0, batch_size=90, learning_rate_init=0.05)
    falling = FCRegressor((4,), learning_rate="invscaling", max_iter=3, **how).fit(*diabetes)
    begin = first_params((10, 4, 1), "relu", 0, "float64")
    params = begin
    for samples in (0, 90, 180):
        lr = 0.05 * ((samples + 1) ** -0.5 if samples else 1.0) / 2
        sgd = fcb.SGD(weight_decay=2e-4 / 90, decay_bias=False)
        trainer = fcb.Trainer(params, lr=lr, optimizer=sgd)
        trainer.state = fcb.TrainerState(params, (), samples // 90)
        params = trainer.run(*diabetes, batch_size=90, max_steps=1, sampling="epoch", seed=0).params
    assert falling.digest_ == fcb.digest(params)
    steady = FCRegressor((4,), learning_rate="adaptive", max_iter=3000, tol=1e-3, **how)
    steady.fit(*diabetes)
    assert steady.stop_reason_ == "n_iter_no_change"
    assert steady._trainer.lr <= 1e-6


def test_a_schedule_takes_the_place_of_the_rate(diabetes):
    rate = fcb.CosineRate(0.01, 40, end=0.001)
    how = dict(max_iter=8, batch_size=18, random_state=0)
    fitted = FCRegressor((4,), schedule=rate, **how).fit(*diabetes)
    adam = fcb.Adam(weight_decay=2e-4 / 18, eps=2e-8, decoupled=False, decay_bias=False)
    run = fcb.train(
        *diabetes,
        params=first_params((10, 4, 1), "relu", 0, "float64"),
        optimizer=adam,
        lr=rate,
        batch_size=18,
        max_steps=40,
        sampling="epoch",
    )
    assert fitted.digest_ == fcb.digest(run.params)


# --- among scikit-learn's own --------------------------------------------------------------------


def test_where_estimators_go(iris, diabetes):
    classifier = FCClassifier((6,), max_iter=30, random_state=0, learning_rate_init=0.02)
    x, y = iris
    assert cross_val_score(make_pipeline(StandardScaler(), classifier), x, y).mean() > 0.85
    stacked = StackingClassifier([("network", classifier)], LogisticRegression()).fit(x, y)
    assert stacked.score(x, y) > 0.85
    assert CalibratedClassifierCV(classifier, cv=3).fit(x, y).score(x, y) > 0.85
    importance = permutation_importance(classifier.fit(x, y), x, y, random_state=0)
    assert importance.importances_mean.argmax() in (2, 3)
    x, y = diabetes
    regressor = FCRegressor((6,), max_iter=100, random_state=0, learning_rate_init=0.01)
    scaled = TransformedTargetRegressor(regressor, transformer=StandardScaler()).fit(x, 100 * y)
    assert scaled.score(x, 100 * y) > 0.4


def test_standardized_columns_may_be_of_any_scale(diabetes):
    x, y = diabetes
    how = dict(max_iter=300, random_state=0, learning_rate_init=0.01)
    fitted = FCRegressor((8,), standardize="both", **how).fit(1e4 * x + 7, 1e6 * y + 3)
    assert fitted.score(1e4 * x + 7, 1e6 * y + 3) > 0.5
    assert fitted.predict(1e4 * x + 7).std() > 1e5


def test_classes_weigh_alike_where_they_are_to_be_balanced(iris):
    x, y = iris
    rows = np.r_[:50, 50:56]
    how = dict(max_iter=50, random_state=0)
    balanced = FCClassifier((4,), class_weight="balanced", **how).fit(x[rows], y[rows])
    weights = np.where(y[rows] == 0, 56 / 100, 56 / 12)
    assert balanced.digest_ == FCClassifier((4,), **how).fit(x[rows], y[rows], weights).digest_
    assert balanced.digest_ != FCClassifier((4,), **how).fit(x[rows], y[rows]).digest_


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_iris, load_digits, load_breast_cancer, load_diabetes])
def test_scores_are_those_of_scikit_learns_networks(load):
    x, y = load(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    if load is load_diabetes:
        y = (y - y.mean()) / y.std()
    kinds = (FCRegressor, MLPRegressor) if load is load_diabetes else (FCClassifier, MLPClassifier)
    held = np.arange(len(x)) % 3 == 0
    scores = np.array(
        [
            [
                kind(hidden_layer_sizes=(32,), max_iter=60, random_state=seed)
                .fit(x[~held], y[~held])
                .score(x[held], y[held])
                for kind in kinds
            ]
            for seed in range(10)
        ]
    )
    ours, theirs = scores.T
    error = np.hypot(ours.std(ddof=1), theirs.std(ddof=1)) / np.sqrt(10)
    assert ours.mean() >= theirs.mean() - 2 * error, (ours.mean(), theirs.mean(), error)


# --- refusals ------------------------------------------------------------------------------------

REFUSED = {
    "loss": ("poisson", "be one of 'squared_error', 'huber', got 'poisson'"),
    "solver": ("newton", "be one of 'adam', 'sgd', 'lbfgs', got 'newton'"),
    "max_fun": (0, "be an integer of at least 1, got 0"),
    "learning_rate": ("x", "be one of 'constant', 'invscaling', 'adaptive', got 'x'"),
    "alpha": (-1, "be a finite number >= 0, got -1"),
    "tol": ("x", "be a finite number >= 0, got 'x'"),
    "max_iter": (0, "be an integer of at least 1, got 0"),
    "n_iter_no_change": (0.5, "be an integer of at least 1, got 0.5"),
    "shuffle": (1, "be True or False, got 1"),
    "batch_size": (0, 'be "auto" or an integer of at least 1, got 0'),
    "activation": ("elu", "be one of 'relu', 'leaky_relu', 'tanh', 'sigmoid', 'identity', "
                          "'logistic', got 'elu'"),
    "beta_1": (1.0, "be a number >= 0 and < 1, got 1.0"),
    "epsilon": (-1.0, "be a finite number >= 0, got -1.0"),
    "momentum": (2, "be a number >= 0 and < 1, got 2"),
    "learning_rate_init": (0, "be a finite number > 0, got 0"),
    "validation_fraction": (1, "be a number > 0 and < 1, got 1"),
    "standardize": ("x", "be one of 'inputs', 'both', got 'x'"),
    "random_state": (-1, "be None, a RandomState, or an integer from 0 to 2**32 - 1, got -1"),
    "schedule": (1, "be None, a `ConstantRate`, `StepRate`, `ExponentialRate` or `CosineRate`, "
                    "got 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_are_none(name, diabetes):
    value, text = REFUSED[name]
    settings = {name: value, **({"solver": "sgd"} if name == "momentum" else {})}
    with pytest.raises(fcb.ArgumentError) as raised:
        FCRegressor(**settings).fit(*diabetes)
    assert str(raised.value) == f"`{name}` must {text}"


def test_other_refusals(diabetes, iris):
    with pytest.raises(NotFittedError):
        FCRegressor().predict(diabetes[0])
    assert not hasattr(FCRegressor(), "coefs_")
    with pytest.raises(fcb.ArgumentError, match=r"`classes` must be given in the first call"):
        FCClassifier().partial_fit(*iris)
    with pytest.raises(fcb.ArgumentError, match=r"`early_stopping` must be False where data come"):
        FCRegressor(early_stopping=True).partial_fit(*diabetes)
    with pytest.raises(fcb.ArgumentError, match=r"`y` must have none but the classes of before"):
        FCClassifier((2,)).partial_fit(*iris, classes=[0, 1])
    with pytest.warns(DataConversionWarning):
        FCRegressor((2,), max_iter=1).fit(diabetes[0], diabetes[1][:, None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match=r"Maximum iterations \(1\) reached"):
            FCRegressor((2,), max_iter=1).fit(*diabetes)
