"""What is said of a network of classes: losses, accuracy, and who was taken for whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fcbackends.cli.model import Model
from fcbackends.cli.outcome import Outcome, Outcomes, each, says_one_thing, try_instead
from fcbackends.errors import printable
from fcbackends.report.terminal import table_text

_MOST_COLUMNS = 12
"""Of more classes, only precision, recall and support are shown."""


def describe(model: Model, found: Outcomes) -> list[tuple[str, str]]:
    """The lines of the report."""
    frequent = [_most_frequent(t) for t in _columns(found["training"])]
    names = [names[code] for names, code in zip(model.classes or (), frequent, strict=True)]
    right = {name: f"{accuracy(model, outcome):.4f}" for name, outcome in found.items()}
    constant = {name: f"{_share(outcome, frequent):.4f}" for name, outcome in found.items()}
    return [
        *((f"{name} loss", f"{outcome.loss:.6g}") for name, outcome in found.items()),
        ("accuracy", each(right)),
        ("most frequent", f"{each(constant)} ({', '.join(names)})"),
    ]


def tables(model: Model, found: Outcomes) -> list[str]:
    """For each target its classes: how often taken for which, precision, recall and support.

    Of the rows held out or validated with, if there are any.
    """
    name = [*found][-1]
    outcome = found[name]
    written = []
    for target, classes, t, said in zip(
        model.target_names,
        model.classes or (),
        _columns(outcome),
        model.codes(outcome.y).T,
        strict=True,
    ):
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(counts, (t, said), 1)
        of = f"{printable(target)}: {name} rows"
        title = f"{of} by their class, across by the class they are taken for"
        written.append(f"{title}\n{_table(classes, counts)}")
    return written


def warning(model: Model, found: Outcomes, standardized: str | None) -> str | None:
    """What to say of a network that is no better than the most frequent class, where trained."""
    outcome = found["training"]
    frequent = [_most_frequent(t) for t in _columns(outcome)]
    if accuracy(model, outcome) > _share(outcome, frequent):
        return None
    what = "is no better than the most frequent class"
    if says_one_thing(outcome):
        what = "says the same for every row"
    return f"the network {what}: {try_instead(standardized)}"


def accuracy(model: Model, outcome: Outcome) -> float:
    """The share of rows, and of targets, that are taken for what they are."""
    return float((model.codes(outcome.y) == outcome.part.own_t).mean())


def _columns(outcome: Outcome) -> list[NDArray[np.int64]]:
    """The classes of each target, as their numbers."""
    return list(outcome.part.own_t.astype(np.int64).T)


def _most_frequent(t: NDArray[np.int64]) -> int:
    return int(np.bincount(t).argmax())


def _share(outcome: Outcome, frequent: Sequence[int]) -> float:
    """The accuracy of saying these classes for every row."""
    return float((outcome.part.own_t == frequent).mean())


def _table(classes: Sequence[str], counts: NDArray[np.int64]) -> str:
    right, taken, there = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    shown = classes if len(classes) <= _MOST_COLUMNS else ()
    rows = [
        (
            name,
            *(map(str, counts[i]) if shown else ()),
            *(f"{right[i] / of[i]:.4f}" if of[i] else "none" for of in (taken, there)),
            str(there[i]),
        )
        for i, name in enumerate(classes)
    ]
    header = ("class", *shown, "precision", "recall", "support")
    return table_text(rows, header, right=range(1, len(header)))
