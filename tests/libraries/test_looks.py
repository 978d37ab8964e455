"""Looks at a run, its best one, and a file to go on from: with NumPy's bits on every library."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import DTYPES, problem
from tests.oracle import assert_same_bits

pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning:dask")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_ends_on_numpys_best_look(library, dtype):
    case, other = problem(1, (3, 5, 2), 23, dtype), problem(2, (3, 5, 2), 9, dtype)
    how = dict(
        params=case.params, optimizer=fcb.SGD(momentum=0.5), lr=0.02, max_steps=60,
        record_every=5, patience=3, dtype=dtype,
    )  # fmt: skip
    x, t = library.make(case.x), library.make(case.t)
    held = other.x, other.t
    for own, theirs in ((held, library.make(held)), (held, held), (0.3, 0.3)):
        want = fcb.train(case.x, case.t, validation=own, **how)
        got = fcb.train(x, t, validation=theirs, **how)
        assert (want.stop_reason, got.stop_reason) == ("patience",) * 2, (want, got)
        assert fcb.digest(got.params) == fcb.digest(want.params)
        assert_same_bits(got.history[:4], want.history[:4])
        assert (got.steps, got.best_validation_loss) == (want.steps, want.best_validation_loss)


def test_a_saved_training_goes_on(library, tmp_path):
    case = problem(3, (3, 5, 2), 12, "float64")
    make = dict(optimizer=fcb.Adam(), lr=0.05)
    here = fcb.Trainer(case.params, **make)
    there = fcb.Trainer(library.make(case.params), **make)
    x, t = library.make(case.x), library.make(case.t)
    there.run(x, t, max_steps=10)
    here.run(case.x, case.t, max_steps=20)
    fcb.save(tmp_path / "m", there)
    loaded = fcb.load(tmp_path / "m").trainer(lr=0.05, backend=library.name)
    moved = fcb.Trainer(case.params, **make)
    moved.state = there.state
    there.state = moved.state
    moved.run(case.x, case.t, max_steps=10)
    for trainer in (loaded, there):
        trainer.run(x, t, max_steps=10)
    for trainer in (moved, loaded, there):
        assert trainer.steps == 20
        assert fcb.digest(trainer.params) == fcb.digest(here.params)


def test_predictions_stay_in_the_library(library):
    case = problem(4, (3, 5, 2), 12, "float32")
    scaling = fcb.Scaling.fit(library.make(case.x))
    assert_same_bits(scaling.mean, fcb.Scaling.fit(case.x).mean)
    model = fcb.SavedModel(case.params, inputs=scaling, outputs=fcb.Scaling.fit(case.t))
    y = library.plain(model.predict(library.make(case.x)))
    assert_same_bits(np.asarray(y), model.predict(case.x))
