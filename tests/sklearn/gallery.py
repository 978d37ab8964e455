"""Ten small works with scikit-learn's networks, of which the class is all that changes.

They are of the kinds that its examples show: each takes a regressor's or a classifier's class and a
seed, and gives a score (larger is better).
"""

import numpy as np
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
    make_circles,
    make_classification,
    make_friedman1,
    make_moons,
    make_multilabel_classification,
)
from sklearn.ensemble import BaggingClassifier, StackingRegressor, VotingClassifier
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    QuantileTransformer,
    StandardScaler,
)


def comparison_of_classifiers(network, seed):
    """Two moons, two circles and two overlapping clouds, each with a strong penalty."""
    clouds = make_classification(
        n_features=2, n_redundant=0, n_informative=2, random_state=1, n_clusters_per_class=1
    )
    sets = [
        make_moons(noise=0.3, random_state=0),
        make_circles(noise=0.2, factor=0.5, random_state=1),
        clouds,
    ]
    scores = []
    for x, y in sets:
        x, x_test, y, y_test = train_test_split(x, y, test_size=0.4, random_state=42)
        model = make_pipeline(StandardScaler(), network(alpha=1, max_iter=1000, random_state=seed))
        scores.append(model.fit(x, y).score(x_test, y_test))
    return np.mean(scores)


def training_curves(network, seed):
    """Rates and momenta of SGD beside Adam, by the loss that each ends on."""
    x, y = load_digits(return_X_y=True)
    x = MinMaxScaler().fit_transform(x)
    settings = [
        dict(solver="sgd", learning_rate="constant", momentum=0, learning_rate_init=0.2),
        dict(
            solver="sgd", learning_rate="constant", momentum=0.9, nesterovs_momentum=False,
            learning_rate_init=0.2,
        ),
        dict(solver="sgd", learning_rate="invscaling", momentum=0.9, learning_rate_init=0.2),
        dict(solver="adam", learning_rate_init=0.01),
    ]  # fmt: skip
    fits = [network(verbose=0, random_state=seed, max_iter=15, **how).fit(x, y) for how in settings]
    assert all(len(fit.loss_curve_) == 15 for fit in fits)
    return -np.mean([fit.loss_ for fit in fits])


def filters_of_digits(network, seed):
    """The weights of a small first layer as pictures, after a few quick epochs."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, random_state=0, test_size=0.5)
    model = network(
        hidden_layer_sizes=(40,), max_iter=30, alpha=1e-4, solver="sgd", verbose=False,
        random_state=seed, learning_rate_init=0.2,
    )  # fmt: skip
    model.fit(x, y)
    assert [filters.reshape(8, 8).shape for filters in model.coefs_[0].T] == [(8, 8)] * 40
    return model.score(x_test, y_test)


def dependence_of_a_target(network, seed):
    """What a regressor makes of one input with all others as they are."""
    x, y = make_friedman1(800, noise=0.5, random_state=0)
    x, x_test, y, y_test = train_test_split(x, y - y.mean(), test_size=0.25, random_state=0)
    model = make_pipeline(
        QuantileTransformer(n_quantiles=100),
        network(
            hidden_layer_sizes=(30, 15), learning_rate_init=0.01, early_stopping=True,
            random_state=seed,
        ),
    )  # fmt: skip
    model.fit(x, y)
    assert partial_dependence(model, x[:50], [0], grid_resolution=5)["average"].shape == (1, 5)
    return model.score(x_test, y_test)


def searched_penalty(network, seed):
    """The best penalty and layers by a search across a grid."""
    x, y = load_wine(return_X_y=True)
    grid = {"network__alpha": [1e-4, 1e-1, 3.0], "network__hidden_layer_sizes": [(8,), (20, 10)]}
    model = make_pipeline(StandardScaler(), network(max_iter=120, random_state=seed))
    model.steps[1] = ("network", model.steps[1][1])
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    return GridSearchCV(model, grid, cv=folds).fit(x, y).best_score_


def stacked_regressors(network, seed):
    """A network beside a linear model, under another."""
    x, y = load_diabetes(return_X_y=True)
    own = TransformedTargetRegressor(
        make_pipeline(
            StandardScaler(),
            network(hidden_layer_sizes=(16,), max_iter=150, random_state=seed),
        ),
        transformer=StandardScaler(),
    )
    stack = StackingRegressor([("network", own), ("ridge", RidgeCV())], final_estimator=RidgeCV())
    return cross_val_score(stack, x, y, cv=3).mean()


def voting_classifiers(network, seed):
    """The mean of the probabilities of two kinds of models."""
    x, y = load_breast_cancer(return_X_y=True)
    own = make_pipeline(
        StandardScaler(), network(hidden_layer_sizes=(16,), max_iter=60, random_state=seed)
    )
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    vote = VotingClassifier([("network", own), ("linear", linear)], voting="soft")
    return cross_val_score(vote, x, y, cv=3).mean()


def several_targets(network, seed):
    """Three targets at once, and one by one."""
    x, y = load_linnerud(return_X_y=True)
    x, y = StandardScaler().fit_transform(x), StandardScaler().fit_transform(y)
    how = dict(hidden_layer_sizes=(12,), max_iter=400, random_state=seed, solver="adam")
    together = network(**how).fit(x, y)
    assert together.predict(x).shape == y.shape
    alone = MultiOutputRegressor(network(**how)).fit(x, y)
    return (together.score(x, y) + alone.score(x, y)) / 2


def labels_of_documents(network, seed):
    """Several labels a sample."""
    x, y = make_multilabel_classification(600, 15, n_classes=4, random_state=0)
    x, x_test, y, y_test = train_test_split(x, y, random_state=0)
    scaler = StandardScaler().fit(x)
    model = network(
        hidden_layer_sizes=(30,), activation="tanh", max_iter=80, random_state=seed,
        learning_rate_init=0.005,
    ).fit(scaler.transform(x), y)  # fmt: skip
    return (model.predict(scaler.transform(x_test)) == y_test).mean()


def bagged_networks(network, seed):
    """Many weak networks on parts of the data, predicted across folds, of columns made two ways."""
    x, y = load_iris(return_X_y=True)
    columns = make_column_transformer(
        (StandardScaler(), [0, 1, 2, 3]),
        (KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), [2]),
    )
    own = network((10,), activation="logistic", learning_rate_init=0.05, max_iter=40)
    bag = BaggingClassifier(own, n_estimators=5, random_state=seed)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    return (cross_val_predict(make_pipeline(columns, bag), x, y, cv=folds) == y).mean()


CLASSIFIES = [
    comparison_of_classifiers,
    training_curves,
    filters_of_digits,
    searched_penalty,
    voting_classifiers,
    labels_of_documents,
    bagged_networks,
]
REGRESSES = [dependence_of_a_target, stacked_regressors, several_targets]
