"""A trained network in a file, with what is needed to apply it: columns and scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Where it is missing, that is said before any work.
import safetensors  # noqa: F401
from numpy.typing import NDArray

import fcbackends as fcb
from fcbackends import files, tensor_files
from fcbackends.arrays import as_numpy
from fcbackends.cli.data import Table
from fcbackends.cli.features import Features
from fcbackends.cli.scaling import cast
from fcbackends.cli.targets import Classes
from fcbackends.errors import listed
from fcbackends.maths.activations import Activations
from fcbackends.models import saving
from fcbackends.models.saved import NumpyParams, SavedModel
from fcbackends.models.scaling import Floats, Scaling

_ADVICE = "a model of `train --missing mean` or `median` fills such values in"


@dataclass(frozen=True)
class Model:
    """Parameters, the columns they were trained on, and the scales of both sides.

    Attributes
    ----------
    params : tuple of (w, b)
        The network.
    names : tuple of str, or None
        All columns of the training table, where it had names.
    targets : tuple of int
        The positions of the targets in that table.
    features : Features
        Those of the features, and how they become inputs.
    width : int
        The number of columns of that table.
    inputs, outputs : Scaling, or None
        How the network's inputs and outputs were standardised.
    arithmetic : str
        What it was trained in; it predicts in the same, or for a native one in the ordered.
    activation : str or tuple of str
        What goes between the layers.
    loss : str
        What it was trained on.
    classes : tuple of tuple of str, or None
        For each target the names of its classes, where targets are classes.
    """

    params: NumpyParams
    names: tuple[str, ...] | None
    targets: tuple[int, ...]
    features: Features
    width: int
    inputs: Scaling | None
    outputs: Scaling | None
    arithmetic: str = "ordered"
    activation: Activations = "relu"
    loss: str = "mean_squared"
    classes: Classes | None = None

    @property
    def target_names(self) -> list[str]:
        """The targets' names; y0, y1 and so on where there are none."""
        return [self.names[c] if self.names else f"y{i}" for i, c in enumerate(self.targets)]

    def columns_in(self, table: Table) -> tuple[int, ...]:
        """Where the features are in another table: by name, or by position without names.

        Raises
        ------
        ArgumentError
            Where the table lacks one of them.
        """
        if self.names and table.names:
            wanted = [self.names[column] for column in self.features.columns]
            places = {name: place for place, name in enumerate(table.names)}
            if missing := [name for name in wanted if name not in places]:
                lacking, there = map(listed, (missing, table.names))
                got = f"none named {lacking} (there are {there})"
                raise fcb.ArgumentError("DATA", "have the model's columns", got)
            return tuple(places[name] for name in wanted)
        if table.width == self.width:
            return self.features.columns
        if table.width == len(self.features.columns):
            return tuple(range(table.width))
        raise fcb.ArgumentError(
            "DATA",
            f"have the model's {len(self.features.columns)} feature columns, or these and its "
            f"{len(self.targets)} targets as in training",
            f"{table.width} columns",
        )

    def inputs_in(self, table: Table, *, zeros: bool) -> NDArray[np.float64]:
        """The inputs (N, K) in their own units; `zeros` takes unknown categories for none.

        Raises
        ------
        ArgumentError
            Where the table lacks a feature, or one of its values is none of this model's.
        """
        places = self.columns_in(table)
        x = self.features.encode(table, places, zeros=zeros)
        return self.features.filled(x, table, places, _ADVICE)

    def prepare(self, x: NDArray[np.float64]) -> Floats:
        """The network's inputs (N, K) from the features in their own units."""
        return cast(self.inputs.apply(x) if self.inputs else x, self.params[0][0].dtype.name)

    def restore(self, y: Floats) -> Floats:
        """The targets in their own units from the network's outputs (N, M)."""
        return self.outputs.undo(y) if self.outputs else y

    def predict(self, x: NDArray[np.float64]) -> Floats:
        """The targets in their own units (N, M) from the features in theirs (N, K).

        Of a network of classes its outputs, of which `codes` and `probabilities` are made.
        """
        return self.restore(as_numpy(fcb.predict(self.params, self.prepare(x), **self._how)))

    def codes(self, y: Floats) -> NDArray[np.int64]:
        """The numbers of the likeliest classes (N, targets) from the network's outputs."""
        if self.loss == "cross_entropy":
            return y.argmax(axis=1)[:, None]
        return (y > 0).astype(np.int64)

    def probabilities(self, x: NDArray[np.float64]) -> Floats:
        """Those of the classes, or of each target's second class, from the features (N, K)."""
        prepared = self.prepare(x)
        return as_numpy(fcb.predict_proba(self.params, prepared, loss=self.loss, **self._how))

    @property
    def _how(self) -> dict[str, Any]:
        exact = "ordered" if self.arithmetic == "native" else self.arithmetic
        return {"activation": self.activation, "arithmetic": exact}

    def save(self, path: Path) -> None:
        """Write the model as a safetensors file, whole or not at all."""
        saving.save(
            path,
            SavedModel(
                self.params,
                activation=self.activation,
                loss=self.loss,
                arithmetic=self.arithmetic,
                inputs=self.inputs,
                outputs=self.outputs,
                table={
                    "names": self.names,
                    "targets": self.targets,
                    "width": self.width,
                    "features": self.features.as_json(),
                    "classes": self.classes,
                },
            ),
        )


def load(name: str) -> Model:
    """Read a model file that `Model.save`, or `fcbackends.save`, wrote.

    Raises
    ------
    ArgumentError
        Where it is not there, damaged, not such a file, or of a contract that is not known yet.
    """
    required = "be a file written by `fcbackends train --out`"
    tensor_files.require_safetensors()
    with files.understood(name, "MODEL", required) as path:
        saved = saving.read(path)
        table = saved.table or _without_table(saved)
        targets = tuple(map(int, table["targets"]))
        width, features = _width_and_features(table, targets, saved)
        model = Model(
            saved.params,
            None if table["names"] is None else tuple(map(str, table["names"])),
            targets,
            features,
            width,
            saved.inputs,
            saved.outputs,
            saved.arithmetic,
            saved.activation,
            saved.loss,
            _classes(table),
        )
        _check(model)
        return model


def _check(model: Model) -> None:
    """ValueError where a table, its features and its targets do not go together."""
    features, targets, classes = model.features, model.targets, model.classes
    inputs, outputs = len(model.params[0][0]), len(model.params[-1][1])
    if model.names is not None and len(model.names) != model.width:
        raise ValueError(f"{len(model.names)} names for {model.width} columns")
    for columns in (targets, features.columns):
        known = all(column in range(model.width) for column in columns)
        if not known or len({*columns}) < len(columns):
            raise ValueError(f"columns {columns} of {model.width}")
    if len(features.categories) != len(features.columns) or sum(features.widths) != inputs:
        raise ValueError(f"{sum(features.widths)} inputs for a network of {inputs}")
    if features.fill is not None and len(features.fill) != inputs:
        raise ValueError(f"{len(features.fill)} values to fill {inputs} inputs in")
    if not all(map(math.isfinite, features.fill or ())):
        raise ValueError("values to fill in that are not finite")
    if not {*features.booleans} <= {*features.columns}:
        raise ValueError(f"booleans in {features.booleans}, which are no features")
    is_choice = "cross_entropy" in model.loss
    if is_choice != (classes is not None):
        raise ValueError(f"a loss of {model.loss} {'without' if is_choice else 'with'} classes")
    wanted = len(targets)
    if classes is not None:
        one = model.loss == "cross_entropy"
        wanted = len(classes[0]) if one and classes else len(targets)
        if len(classes) != len(targets) or not (one or all(len(pair) == 2 for pair in classes)):
            raise ValueError(f"classes of {len(classes)} targets, where there are {len(targets)}")
    if wanted != outputs or not targets:
        raise ValueError(f"{wanted} outputs of a network of {outputs}")
    for names in (model.names, *features.categories, *(classes or ())):
        _check_names(names or ())


def _check_names(names: Sequence[str]) -> None:
    """ValueError where two are the same, or one is no text that a table can hold."""
    if len({*names}) < len(names):
        raise ValueError("the same name twice")
    "".join(names).encode()


def _without_table(saved: SavedModel) -> Mapping[str, Any]:
    """Of a network that Python saved: targets stand after inputs, and nothing has a name."""
    inputs, outputs = len(saved.params[0][0]), len(saved.params[-1][1])
    targets, classes = range(inputs, inputs + outputs), None
    if saved.loss == "cross_entropy":
        targets, classes = range(inputs, inputs + 1), [range(outputs)]
    elif saved.loss == "binary_cross_entropy":
        classes = [range(2)] * outputs
    return {"names": None, "targets": targets, "classes": classes}


def _width_and_features(
    table: Mapping[str, Any], targets: tuple[int, ...], saved: SavedModel
) -> tuple[int, Features]:
    """Where a file does not say them, all columns but the targets are numbers, and features."""
    if "features" in table:
        return int(table["width"]), Features.from_json(table["features"])
    width = len(saved.params[0][0]) + len(targets)
    columns = tuple(column for column in range(width) if column not in targets)
    return width, Features(columns, (None,) * len(columns))


def _classes(table: Mapping[str, Any]) -> Classes | None:
    kept = table.get("classes")
    return None if kept is None else tuple(tuple(map(str, names)) for names in kept)
