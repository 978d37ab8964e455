"""Estimators of River, which learn from a stream one sample at a time.

`FCRegressor` and `FCClassifier` take dicts of features, and stand in River's pipelines, ensembles
and evaluations. They need the extra `river`.
"""

try:
    import river  # noqa: F401
except ImportError as error:
    text = "fcbackends.river needs River: install `fcbackends[river]`"
    raise ImportError(text, name="river") from error

from fcbackends.river.classifier import FCClassifier
from fcbackends.river.regressor import FCRegressor

__all__ = ["FCClassifier", "FCRegressor"]
