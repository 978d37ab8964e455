"""Estimators on arrays of other libraries, in a process of its own.

Run as `python -m tests.sklearn.other_arrays LIBRARY`, with SCIPY_ARRAY_API=1, which SciPy reads
when it is imported.
"""

import importlib
import itertools
import re
import sys
import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_diabetes, load_iris

from fcbackends.sklearn import FCClassifier, FCRegressor

SETTINGS = dict(hidden_layer_sizes=(8,), random_state=0, max_iter=12, batch_size=40)


def _same(library, values, plain):
    assert type(values) is type(library.asarray(plain)), type(values)
    got = np.asarray(values)
    assert (got.dtype, got.tobytes()) == (plain.dtype, plain.tobytes())


def classifies(library, dtype, standardize, kind):
    """A classifier of arrays of the library against one of NumPy's."""
    x, y = load_iris(return_X_y=True)
    x = x.astype(dtype)
    y = {"three": y, "two": y % 2, "labels": np.eye(3, dtype=int)[y]}[kind]
    how = dict(SETTINGS, standardize=standardize, early_stopping=kind != "labels")
    plain = FCClassifier(**how).fit(x, y)
    with config_context(array_api_dispatch=True):
        own, labels = library.asarray(x), library.asarray(y)
        fitted = FCClassifier(**how).fit(own, labels)
        assert fitted.digest_ == plain.digest_
        assert type(fitted.coefs_[0]) is type(own)
        for method in ("predict", "predict_proba", "predict_log_proba"):
            _same(library, getattr(fitted, method)(own), getattr(plain, method)(x))
        if kind != "labels":
            assert abs(fitted.score(own, labels) - plain.score(x, y)) < 1e-6


def regresses(library, dtype, standardize):
    """A regressor of arrays of the library against one of NumPy's."""
    x, y = load_diabetes(return_X_y=True)
    x, y, weights = x.astype(dtype), y.astype(dtype), np.linspace(0, 2, len(y))
    plain = FCRegressor(**SETTINGS, standardize=standardize, warm_start=True)
    fitted = FCRegressor(**SETTINGS, standardize=standardize, warm_start=True)
    plain.fit(x, y, sample_weight=weights, validation=(x[:9], y[:9])).fit(x, y)
    plain.partial_fit(x[:5], y[:5])
    with config_context(array_api_dispatch=True):
        own, targets = library.asarray(x), library.asarray(y)
        held = own[:9, :], targets[:9]
        fitted.fit(own, targets, sample_weight=library.asarray(weights), validation=held)
        fitted.fit(own, targets).partial_fit(own[:5, :], targets[:5])
        assert fitted.digest_ == plain.digest_
        assert fitted.validation_scores_ == plain.validation_scores_
        _same(library, fitted.predict(own), plain.predict(x))
        text = (
            f"`X` must be of {library.__name__}: FCRegressor.predict() must use the same namespace "
            "as fit(), got an array of numpy"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            fitted.predict(x)
    # Without the switch all are NumPy's, as elsewhere in scikit-learn.
    assert isinstance(FCRegressor(**SETTINGS).fit(x, y).predict(x), np.ndarray)


def main(name):
    """Hold all estimators on the library's arrays against those on NumPy's."""
    warnings.simplefilter("ignore")
    library = importlib.import_module(name)
    dtypes = "float64", "float32"
    for dtype, standardize in itertools.product(dtypes, (False, "inputs")):
        for kind in ("three", "two", "labels"):
            classifies(library, dtype, standardize, kind)
    for dtype, standardize in itertools.product(dtypes, (False, "both")):
        regresses(library, dtype, standardize)


if __name__ == "__main__":
    main(sys.argv[1])
