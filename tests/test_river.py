"""Estimators of streams: River's own checks, the steps of a Trainer, and names that come and go."""

import copy
import math
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from river import checks, compose, datasets, drift, ensemble, evaluate, linear_model, metrics
from river import preprocessing as pre

import fcbackends as fcb
from fcbackends.river import FCClassifier, FCRegressor

MODELS = {
    "regressor": FCRegressor(),
    "classifier": FCClassifier(),
    "linear regressor": FCRegressor(hidden=(), dtype="float32", loss="huber"),
    "linear classifier": FCClassifier(hidden=(), backend="numpy"),
}

DEFAULTS = dict(activation="tanh", optimizer=fcb.Adam())


def checks_of(model):
    """River's checks, each by its name and the number of its data set."""
    counts = {}
    for check in checks.yield_checks(model):
        number = counts[check.__name__] = counts.get(check.__name__, 0) + 1
        yield f"{check.__name__}-{number}", check


CHECKS = [
    pytest.param(model, check, id=f"{kind}-{name}")
    for kind, model in MODELS.items()
    for name, check in checks_of(model)
]


@pytest.mark.filterwarnings("ignore")  # the checks' own
@pytest.mark.parametrize(("model", "check"), CHECKS)
def test_rivers_checks(model, check):
    if check.__name__ in model._unit_test_skips():
        # One step on a batch's mean loss is another than one step on each sample.
        with pytest.raises(AssertionError):
            check(model.clone())
    else:
        check(model.clone())


def test_one_check_alone_cannot_hold():
    for model in MODELS.values():
        assert model._unit_test_skips() == {"check_learn_many_matches_learn_one"}
    assert (
        linear_model.LinearRegression()._unit_test_skips() >= MODELS["regressor"]._unit_test_skips()
    )


def trump(count=200):
    """Samples of River's, with the targets and the features scaled."""
    scaler, found = pre.StandardScaler(), []
    for x, y in datasets.TrumpApproval().take(count):
        scaler.learn_one(x)
        found.append((scaler.transform_one(x), y / 40))
    return found


def phishing(count=200):
    return list(datasets.Phishing().take(count))


def row_of(x):
    return np.array([x[name] for name in sorted(x)])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("hidden", [(), (8,), (6, 4)])
def test_a_regressor_has_the_bits_of_a_trainers_steps(backend, dtype, hidden):
    how = dict(activation="tanh", lr=0.02, loss="huber", clip_norm=2.0)
    model = FCRegressor(hidden, seed=5, dtype=dtype, backend=backend, **how)
    trainer = fcb.Trainer(
        fcb.init_params((6, *hidden, 1), seed=5, dtype=dtype),
        optimizer=fcb.Adam(),
        backend=backend,
        **how,
    )
    for x, y in trump(60):
        row = row_of(x).astype(dtype)
        assert model.predict_one(x) == (
            fcb.predict(trainer.params, row, activation="tanh")[0] if trainer.steps else 0
        )
        model.learn_one(x, y)
        trainer.step(row, np.array([y], dtype))
    assert model.digest == fcb.digest(trainer.params)
    assert model.steps == trainer.steps == 60


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("optimizer", [fcb.SGD(momentum=0.9), fcb.Adam()])
def test_a_classifier_has_the_bits_of_a_trainers_steps(backend, optimizer):
    samples = sorted(phishing(), key=lambda sample: sample[1])  # all of one class, then the other
    samples = [samples[0], samples[-1], *samples[1:-1]]
    model = FCClassifier((8,), optimizer=optimizer, backend=backend)
    for x, y in samples[:2]:
        model.learn_one(x, y)
    trainer = copy.deepcopy(model)._trainer
    classes = [y for _, y in samples[:2]]
    for x, y in samples[2:]:
        p = fcb.predict_proba(trainer.params, row_of(x), activation="tanh", backend=backend)
        assert model.predict_proba_one(x) == dict(zip(classes, p.tolist(), strict=True))
        assert model.predict_one(x) == classes[p.argmax()]
        model.learn_one(x, y)
        trainer.step(row_of(x), np.eye(2)[classes.index(y)])
    assert model.digest == fcb.digest(trainer.params)


def test_a_batch_is_one_step_of_a_trainer():
    samples = trump(40)
    frame = pl.DataFrame([x for x, _ in samples])
    targets = pl.Series([y for _, y in samples])
    model = FCRegressor((8,))
    trainer = fcb.Trainer(fcb.init_params((6, 8, 1)), lr=0.01, **DEFAULTS)
    for rows in (slice(0, 16), slice(16, 17), slice(17, 40)):
        model.learn_many(frame[rows], targets[rows])
        part = samples[rows]
        trainer.step(np.stack([row_of(x) for x, _ in part]), np.array([[y] for _, y in part]))
    assert model.digest == fcb.digest(trainer.params)
    predicted = model.predict_many(frame)
    assert predicted.to_list() == [model.predict_one(x) for x, _ in samples]


def test_a_batch_of_classes_is_one_step_of_a_trainer():
    samples = phishing(64)
    frame = pl.DataFrame([x for x, _ in samples])
    names = ["bad" if y else "good" for _, y in samples]
    model = FCClassifier((8,))
    model.learn_many(frame, pl.Series(names))
    order = list(dict.fromkeys(names))
    trainer = fcb.Trainer(fcb.init_params((9, 8, 2)), lr=0.01, loss="cross_entropy", **DEFAULTS)
    rows = np.stack([row_of(x) for x, _ in samples])
    trainer.step(rows, np.array([order.index(name) for name in names]))
    assert model.digest == fcb.digest(trainer.params)
    p = model.predict_proba_many(frame)
    assert p.columns == order
    assert p.rows() == [tuple(model.predict_proba_one(x).values()) for x, _ in samples]
    assert model.predict_many(frame).to_list() == [model.predict_one(x) for x, _ in samples]


# --- names that come and go ----------------------------------------------------------------------


def test_features_take_their_places_whatever_order_they_come_in():
    one, other = FCRegressor(), FCRegressor()
    for x, y in trump(30):
        one.learn_one(x, y)
        other.learn_one(dict(reversed(x.items())), y)
    assert one.digest == other.digest


def test_a_feature_that_emerges_begins_as_in_a_network_of_the_new_sizes():
    how = dict(activation="relu", optimizer=fcb.SGD(momentum=0.9), lr=0.01)
    model = FCRegressor((4,), seed=3, **how)
    model.learn_one({"b": 1.0, "c": -1.0}, 0.5)
    before = copy.deepcopy(model)._trainer
    model.learn_one({"b": 0.5, "d": 2.0, "a": -2.0}, 1.0)

    fresh = fcb.init_params((4, 4, 1), seed=3)
    (w, b), last = before.params
    larger = fcb.Trainer(((np.vstack([w, fresh[0][0][2:]]), b), last), **how)
    (slot,) = before.state.slots
    zeros = np.zeros((2, 4))
    slots = (((np.vstack([slot[0][0], zeros]), slot[0][1]), slot[1]),)
    larger.state = fcb.TrainerState(larger.params, slots, 1)
    larger.step(np.array([0.5, 0.0, -2.0, 2.0]), np.array([1.0]))  # b, c, a, d
    assert model.digest == fcb.digest(larger.params)
    assert model.steps == 2


def test_a_class_that_emerges_begins_as_in_a_network_of_the_new_sizes():
    model = FCClassifier((4,), "relu", optimizer=fcb.SGD(), seed=3)
    x, row = {"a": 1.0, "b": -1.0}, np.array([1.0, -1.0])
    model.learn_one(x, "one")
    assert model.predict_proba_one(x) == {"one": 1.0}
    first, (w, b) = model._trainer.params
    model.learn_one(x, "two")

    fresh_w, fresh_b = fcb.init_params((2, 4, 2), seed=3)[1]
    last = np.hstack([w, fresh_w[:, 1:]]), np.hstack([b, fresh_b[1:]])
    larger = fcb.Trainer((first, last), lr=0.01, loss="cross_entropy")
    larger.step(row, 1)
    assert model.digest == fcb.digest(larger.params)
    assert list(model.predict_proba_one(x)) == ["one", "two"]


def test_what_a_sample_lacks_is_zero_and_what_has_no_place_is_left_out():
    model, whole = FCRegressor(), FCRegressor()
    for one in (model, whole):
        one.learn_one({"a": 1.0, "b": 2.0}, 1.0)
    model.learn_one({"b": 3.0}, 2.0)
    whole.learn_one({"a": 0.0, "b": 3.0}, 2.0)
    assert model.digest == whole.digest
    assert model.predict_one({"a": 1.0}) == whole.predict_one({"a": 1.0, "b": 0, "new": 7.0})
    frames = pl.DataFrame({"a": [1.0]}), pl.DataFrame({"a": [1.0], "new": [7.0]})
    want = [model.predict_one({"a": 1.0})]
    assert all(model.predict_many(frame).to_list() == want for frame in frames)


def test_names_may_be_of_any_type_and_values_of_any_number():
    model, plain = FCRegressor(), FCRegressor()
    for values in ([1, True, 0.5], [np.float32(2), np.int8(-1), False]):
        model.learn_one(dict(zip(["a", ("b", 1), 3], values, strict=True)), np.float32(1))
        plain.learn_one(dict(zip(["a", "b", "c"], map(float, values), strict=True)), 1.0)
    # Their order is that of their reprs: ' before ( before 3.
    assert model.digest == plain.digest


def test_before_anything_is_learned():
    regressor, classifier = FCRegressor(), FCClassifier()
    frame = pl.DataFrame({"a": [1.0, 2.0]})
    assert (regressor.predict_one({"a": 1}), regressor.digest, regressor.steps) == (0.0, None, 0)
    assert regressor.predict_many(frame).to_list() == [0.0, 0.0]
    assert (classifier.predict_one({"a": 1}), classifier.predict_proba_one({})) == (None, {})
    assert classifier.predict_many(frame).to_list() == [None, None]
    assert classifier.predict_proba_many(frame).columns == []


def test_samples_without_features_are_passed_over_until_there_are_any():
    model = FCRegressor()
    model.learn_one({}, 1.0)
    model.learn_many(pl.DataFrame({"a": []}), [])
    assert (model.predict_one({}), model.steps) == (0.0, 0)
    model.learn_one({"a": 1.0}, 1.0)
    model.learn_one({}, 1.0)
    assert model.steps == 2


# --- copies, pipelines and streams ---------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)),
     lambda model: model.clone(include_attributes=True)],
)  # fmt: skip
@pytest.mark.parametrize("kind", MODELS)
def test_copies_go_on_with_the_same_bits(kind, copied):
    model = MODELS[kind].clone()
    samples = phishing() if "classifier" in kind else trump()
    for x, y in samples[:50]:
        model.learn_one(x, y)
    other = copied(model)
    for x, y in samples[50:100]:
        model.learn_one(x, y)
    assert other.steps == 50
    assert other.digest != model.digest
    for x, y in samples[50:100]:
        other.learn_one(x, y)
    assert other.digest == model.digest
    fresh = model.clone()
    assert (fresh.digest, fresh.hidden, repr(fresh)) == (None, model.hidden, repr(model))


def test_the_same_bits_in_another_process():
    model = FCClassifier(seed=1)
    for x, y in phishing(50):
        model.learn_one(x, y)
    code = (
        "from river import datasets\nfrom fcbackends.river import FCClassifier\n"
        "model = FCClassifier(seed=1)\n"
        "for x, y in datasets.Phishing().take(50): model.learn_one(x, y)\n"
        "print(model.digest)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == model.digest


def test_it_stands_in_rivers_pipelines_and_ensembles():
    model = compose.Pipeline(
        ("scale", pre.StandardScaler()),
        ("learn", ensemble.ADWINBaggingClassifier(FCClassifier((4,)), n_models=2, seed=0)),
    )
    metric = evaluate.progressive_val_score(datasets.Phishing().take(300), model, metrics.ROCAUC())
    assert metric.get() > 0.8
    watched = drift.DriftRetrainingClassifier(FCClassifier(), drift.binary.DDM())
    for x, y in phishing(100):
        watched.learn_one(x, y)


def score(model, data, metric):
    return evaluate.progressive_val_score(data, pre.StandardScaler() | model, metric).get()


@pytest.mark.slow
def test_a_network_learns_streams_at_least_as_well_as_linear_models_do():
    segments = datasets.ImageSegments()
    linear = score(linear_model.SoftmaxRegression(), segments, metrics.Accuracy())
    assert score(FCClassifier(), segments, metrics.Accuracy()) > linear > 0.8
    loss = metrics.LogLoss
    linear = score(linear_model.LogisticRegression(), datasets.Phishing(), loss())
    assert score(FCClassifier(), datasets.Phishing(), loss()) < linear
    bent = [({"a": a, "b": b}, a * b) for a, b in np.random.default_rng(0).normal(size=(3000, 2))]
    linear = score(linear_model.LinearRegression(), bent, metrics.MAE())
    assert score(FCRegressor(), bent, metrics.MAE()) < 0.5 * linear


# --- what is refused -----------------------------------------------------------------------------

TEXTS = " (`river.preprocessing.OneHotEncoder` makes such of texts)"

REFUSED = {
    f"`x` must hold numbers{TEXTS}, got 'red' for feature 'colour'": dict(x={"colour": "red"}),
    f"`x` must hold numbers{TEXTS}, got '2' for feature 'new'": dict(x={"a": 1.0, "new": "2"}),
    f"`x` must hold numbers{TEXTS}, got None for feature 'a'": dict(x={"a": None}),
    f"`x` must hold numbers{TEXTS}, got [1] for feature 'a'": dict(x={"a": [1], "b": 2}),
    "`x` must be finite in float64, got nan for feature 'b'": dict(x={"a": 1, "b": math.nan}),
    "`x` must be finite in float64, got -inf for feature 'new'": dict(x={"a": 1, "new": -math.inf}),
    "`x` must be finite in float64, got inf for feature 'a'": dict(x={"a": math.inf, "b": 1e200}),
    "`y` must hold numbers, got '3' for the target": dict(y="3"),
    "`y` must be finite in float64, got inf for the target": dict(y=math.inf),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_sample_that_is_refused_changes_nothing(text):
    model, other = FCRegressor(), FCRegressor()
    for one in (model, other):
        one.learn_one({"a": 1.0, "b": 2.0}, 1.0)
    with pytest.raises(fcb.ArgumentError) as error:
        model.learn_one(**{"x": {"a": 1.0, "b": 2.0}, "y": 1.0, **REFUSED[text]})
    assert str(error.value) == text
    for one in (model, other):
        one.learn_one({"a": 1.0, "c": 2.0}, 1.0)
    assert model.digest == other.digest


def test_what_is_refused_of_a_batch():
    model = FCRegressor()
    for columns, y, text in (
        ({"a": [1.0, None]}, [1, 2], "`X` must be finite in float64, got nan for feature 'a'"),
        ({"a": ["x"]}, [1], f"`X` must hold numbers{TEXTS}, got 'x' for feature 'a'"),
        ({"a": [1.0]}, [1, 2], "`X` and `y` must hold the same samples, got 1 and 2"),
        ({"a": [1.0]}, ["1"], "`y` must hold numbers, got '1' for the target"),
    ):
        with pytest.raises(fcb.ArgumentError) as error:
            model.learn_many(pl.DataFrame(columns), y)
        assert str(error.value) == text
    assert model.digest is None


def test_a_class_is_hashable():
    model = FCClassifier()
    with pytest.raises(fcb.ArgumentTypeError, match=r"^`y` must be hashable, got \[\[1\]\]$"):
        model.learn_one({"a": 1.0}, [1])
    assert model.predict_proba_one({"a": 1.0}) == {}


@pytest.mark.parametrize(
    ("argument", "value"),
    [("hidden", 3), ("hidden", (0,)), ("activation", "swish"), ("optimizer", "sgd"), ("lr", 0),
     ("loss", "cross_entropy"), ("clip_norm", -1), ("seed", -1), ("dtype", "float16"),
     ("backend", "nunpy"), ("arithmetic", "exact")],
)  # fmt: skip
def test_settings_are_refused_at_once(argument, value):
    with pytest.raises(fcb.ArgumentError) as error:
        FCRegressor(**{argument: value})
    assert error.value.arguments[0].startswith(argument)


def test_a_large_number_is_a_number():
    model = FCRegressor()
    model.learn_one({"a": 1e200}, 1.0)
    assert model.steps == 1


def test_divergence_leaves_the_network_as_it_was():
    model = FCRegressor((), optimizer=fcb.SGD(), lr=0.1)
    model.learn_one({"a": 1.0}, 1.0)
    before = model.digest
    with pytest.raises(fcb.DivergenceError, match="loss is not finite at step 2"):
        model.learn_one({"a": 1e200}, 1.0)
    assert model.digest == before


def test_without_river_the_extra_is_named(tmp_path):
    (tmp_path / "river.py").write_text("raise ImportError('no River')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fcbackends.river"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.rstrip().endswith(
        "ImportError: fcbackends.river needs River: install `fcbackends[river]`"
    )
