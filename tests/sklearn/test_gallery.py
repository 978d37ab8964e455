"""Works of the kinds that scikit-learn's examples show, with the class's name changed."""

import warnings

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fcbackends.sklearn import FCClassifier, FCRegressor
from tests.sklearn.gallery import CLASSIFIES, REGRESSES

WORKS = [(work, MLPClassifier, FCClassifier) for work in CLASSIFIES]
WORKS += [(work, MLPRegressor, FCRegressor) for work in REGRESSES]
of_each_work = pytest.mark.parametrize(
    ("work", "theirs", "ours"), WORKS, ids=[work.__name__ for work, *_ in WORKS]
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.slow
@of_each_work
def test_a_work_runs_with_the_name_changed(work, theirs, ours):
    first, again = work(ours, 0), work(ours, 0)
    assert np.isfinite(first)
    assert first == again


@pytest.mark.campaign
@of_each_work
def test_scores_are_those_of_scikit_learns_networks(work, theirs, ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        others, own = (
            np.array([work(kind, seed) for seed in range(30)]) for kind in (theirs, ours)
        )
    error = np.sqrt((others.var(ddof=1) + own.var(ddof=1)) / 30)
    # Beyond two errors one of ten works is in every fourth run, by chance.
    assert own.mean() > others.mean() - 3 * error - 1e-12
