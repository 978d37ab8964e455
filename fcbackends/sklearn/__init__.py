"""Estimators of scikit-learn, under the names that its own networks have.

`FCRegressor` and `FCClassifier` take the place of `MLPRegressor` and `MLPClassifier`: the class's
name is all that changes. They need the extra `sklearn`.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    text = "fcbackends.sklearn needs scikit-learn: install `fcbackends[sklearn]`"
    raise ImportError(text, name="sklearn") from error

from fcbackends.sklearn.classifier import FCClassifier
from fcbackends.sklearn.regressor import FCRegressor

__all__ = ["FCClassifier", "FCRegressor"]
