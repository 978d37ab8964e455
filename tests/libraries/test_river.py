"""Estimators of streams on other libraries' arrays, and with Pandas' frames."""

import numpy as np
import pytest

from fcbackends.river import FCClassifier, FCRegressor
from tests.test_river import CHECKS, phishing, trump

OF_BATCHES = [check for check in CHECKS if "many" in check.id]


@pytest.mark.filterwarnings("ignore")  # the checks' own
@pytest.mark.parametrize(("model", "check"), OF_BATCHES)
def test_rivers_checks_of_batches(model, check):
    pytest.importorskip("pandas")
    if check.__name__ in model._unit_test_skips():
        with pytest.raises(AssertionError):
            check(model.clone())
    else:
        check(model.clone())


def test_with_pandas_all_checks_of_batches_are_made():
    pytest.importorskip("pandas")
    assert {check.values[1].__name__ for check in OF_BATCHES} == {
        "check_learn_many_matches_learn_one",
        "check_predict_many_matches_predict_one",
        "check_predict_proba_many_matches_predict_proba_one",
    }


def test_frames_of_pandas():
    pd = pytest.importorskip("pandas")
    index, samples = [7, 3, 5], [({"a": 1.0, 2: True}, True), ({"a": 2, 2: False}, False)]
    model, other = FCClassifier(), FCClassifier()
    frame = pd.DataFrame({"a": [1.0, 2, 0], 2: [True, False, True]}, index=index)
    model.learn_many(frame, pd.Series([True, False, True]))
    other.learn_many(frame.astype(object), [True, False, True])
    assert model.digest == other.digest
    p = model.predict_proba_many(frame)
    assert (list(p.columns), list(p.index)) == ([True, False], index)
    assert p.iloc[0].to_dict() == model.predict_proba_one(samples[0][0])
    assert list(model.predict_many(frame).index) == index
    regressor = FCRegressor()
    regressor.learn_many(frame, pd.Series([1.0, 2.0, 3.0]))
    found = regressor.predict_many(frame)
    assert list(found) == [regressor.predict_one({"a": a, 2: b}) for a, b in frame.to_numpy()]


@pytest.mark.parametrize("made", [FCRegressor, FCClassifier])
def test_every_library_has_the_bits_of_numpy(library, made):
    models = [made((4,), backend=name) for name in ("numpy", library.name)]
    samples = phishing(12) if made is FCClassifier else trump(12)
    for n, (x, y) in enumerate(samples):
        # Every other sample lacks the first feature, and the first two the last.
        names = sorted(x)[n % 2 : -1 if n < 2 else None]
        for model in models:
            model.learn_one({name: x[name] for name in names}, y)
    assert models[0].digest == models[1].digest
    assert np.array_equal(*(model.predict_one(samples[0][0]) for model in models))
