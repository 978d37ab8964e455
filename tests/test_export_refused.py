"""What `export_c` refuses, in which words: nothing is written then."""

from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb

LINE = ((np.ones((1, 1)), np.zeros(1)),)
IDENTIFIER = "`name` must be a C identifier: letters, digits and _, of which the first is a letter"
NATIVE = "`model` must be of arithmetic 'ordered' or 'fused', whose bits are fixed, got one of "
INFINITE = fcb.SavedModel(LINE, outputs=fcb.Scaling([np.inf], [1.0]))


@pytest.mark.parametrize(
    ("model", "how", "text"),
    [
        (LINE, {"name": "2x"}, f"{IDENTIFIER}, got '2x'"),
        (LINE, {"name": "_x"}, f"{IDENTIFIER}, got '_x'"),
        (LINE, {"name": "a-b"}, f"{IDENTIFIER}, got 'a-b'"),
        (LINE, {"name": "a\n"}, f"{IDENTIFIER}, got 'a\\n'"),
        (LINE, {"name": ""}, f"{IDENTIFIER}, got ''"),
        (LINE, {"name": "\xe9"}, f"{IDENTIFIER}, got '\xe9'"),
        (LINE, {"name": None}, f"{IDENTIFIER}, got None"),
        (LINE, {"name": "a" * 41}, "`name` must have at most 40 characters, got 41"),
        (LINE, {"path": "n.h"}, "`path` must end in .c, got 'n.h'"),
        (LINE, {"path": "no/n.c"}, "`path` must be in a folder that exists, got 'no/n.c'"),
        (LINE, {"path": 3}, "`path` must be a path, got 3"),
        (
            "network",
            {},
            "`model` must be a TrainResult, a Trainer, a SavedModel or a sequence of (w, b) pairs, "
            "got str",
        ),
        ([], {}, "`params` must be a non-empty sequence of (w, b) pairs, got []"),
        (fcb.SavedModel(LINE, arithmetic="native"), {}, f"{NATIVE}arithmetic 'native'"),
        (
            fcb.SavedModel(LINE, arithmetic="other"),
            {},
            "`arithmetic` must be one of 'ordered', 'fused', 'native', got 'other'",
        ),
        (
            ((np.ones((0, 1)), np.zeros(1)),),
            {},
            "`params[0].w` must be not empty, got shape (0, 1)",
        ),
        (
            ((np.full((1, 1), np.nan), np.zeros(1)),),
            {},
            "`params` must be finite, got NaN or infinity among them",
        ),
        (INFINITE, {}, "`model` must hold finite numbers, got others in its scaling of outputs"),
        (
            fcb.SavedModel(LINE, inputs=fcb.Scaling([1.0, 2.0], [1.0, 1.0])),
            {},
            "`inputs` must be None or a `Scaling` of 1 columns, got one of shapes (2,) and (2,)",
        ),
    ],
)
def test_bad_arguments(tmp_path, monkeypatch, model, how, text):
    monkeypatch.chdir(tmp_path)
    Path("n.c").write_text("the old file")
    with pytest.raises(fcb.ArgumentError) as refused:
        fcb.export_c(model, how.pop("path", "n.c"), **how)
    assert str(refused.value) == text
    assert Path("n.c").read_text() == "the old file"
    assert [path.name for path in tmp_path.iterdir()] == ["n.c"]
