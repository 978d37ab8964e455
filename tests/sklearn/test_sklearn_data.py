"""Estimators' data: frames, arrays of other libraries, and samples that come alone."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from fcbackends.sklearn import FCClassifier, FCRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(x), y


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_frames_keep_their_names(library, iris):
    frames = pytest.importorskip(library)
    x, y = iris
    frame = frames.DataFrame(dict(zip("abcd", x.T, strict=True)))
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
    fitted = FCClassifier((4,), max_iter=3, random_state=0).fit(frame, frames.Series(list(names)))
    assert list(fitted.feature_names_in_) == list("abcd")
    assert fitted.digest_ == clone(fitted).fit(x, names).digest_
    assert set(fitted.predict(frame)) <= set(names)
    renamed = frames.DataFrame(dict(zip("zbcd", x.T, strict=True)))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(renamed)
    before = fitted.steps_
    fitted.partial_fit(frame[:1], frames.Series(list(names[:1])))
    assert fitted.steps_ == before + 1


def test_files_of_skops_give_an_estimator_that_goes_on(iris):
    files = pytest.importorskip("skops.io")
    x, y = iris
    how = dict(max_iter=8, random_state=0, standardize="inputs", class_weight="balanced")
    fitted = FCClassifier((6,), early_stopping=True, **how).fit(x, y)
    kept = files.dumps(fitted)
    types = files.get_untrusted_types(data=kept)
    assert all(name.startswith("fcbackends.") for name in types)
    loaded = files.loads(kept, trusted=types)
    assert loaded.digest_ == fitted.digest_
    np.testing.assert_array_equal(loaded.predict_proba(x), fitted.predict_proba(x))
    for estimator in (loaded, fitted):
        estimator.set_params(early_stopping=False).partial_fit(x, y)
    assert loaded.digest_ == fitted.digest_


@pytest.mark.slow
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_arrays_stay_in_their_library(library):
    pytest.importorskip(library)
    command = [sys.executable, "-m", "tests.sklearn.other_arrays", library]
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    subprocess.run(command, env=environment, check=True, timeout=300)


@pytest.mark.slow
def test_scikit_learns_checks_of_arrays():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["tests/sklearn/test_sklearn.py", "-k", "check_array_api"]
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    found = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert " passed" in found.stdout


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("labels", [["no", "yes"], [1.0, 2.0], [False, True], ["a", "b", "c"]])
def test_labels_of_single_samples_may_be_of_any_type(labels, dtype, iris):
    x, y = iris[0].astype(dtype), np.array(labels)[iris[1] % len(labels)]
    quick = FCClassifier((5,), random_state=0).partial_fit(x[:1], y[:1], classes=labels)
    checked = clone(quick).partial_fit(x[:1], y[:1], classes=labels)
    for row in range(1, 60):
        quick.partial_fit(x[row : row + 1], y[row : row + 1])
        checked.partial_fit(x[row : row + 1], y[row : row + 1].tolist())
    assert quick.digest_ == checked.digest_
    with pytest.raises(ValueError, match="must have none but the classes of before"):
        quick.partial_fit(x[:1], np.array(["z" if y.dtype.kind == "U" else 7.0]))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("how", "shows"), [({}, True), ({"verbose": True}, False)])
def test_a_bar_goes_over_the_epochs_of_a_long_fit(how, shows, iris, monkeypatch, capsys):
    now = [0.0]

    def tick():
        now[0] += 5.0
        return now[0]

    monkeypatch.setattr("tqdm.std.time", tick)
    monkeypatch.setattr(sys, "stderr", Terminal())
    FCRegressor((4,), max_iter=30, n_iter_no_change=40, **how).fit(iris[0], iris[0][:, 0])
    assert ("30.0/30.0" in sys.stderr.getvalue()) == shows
    assert ("epoch" in sys.stderr.getvalue()) == shows
    assert ("Iteration 30" in capsys.readouterr().out) != shows
