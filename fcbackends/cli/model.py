"""A trained network in a file, with what is needed to apply it: columns and scales."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

import fcbackends as fcb
from fcbackends.arrays import as_numpy
from fcbackends.checks import options
from fcbackends.cli.data import Table
from fcbackends.cli.features import Features
from fcbackends.cli.files import readable, replacing
from fcbackends.cli.scaling import Floats, Scaling, cast
from fcbackends.maths.activations import Activations
from fcbackends.maths.arithmetic import ARITHMETICS

FORMAT = "fcbackends"
VERSION = 1
FIRST_CONTRACT = 1
"""Of the files that do not name theirs; their weights mean the same."""

_ADVICE = "a model of `train --missing mean` or `median` fills such values in"

NumpyParams: TypeAlias = tuple[tuple[Floats, Floats], ...]


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
            if missing := [name for name in wanted if name not in table.names]:
                lacking, there = (", ".join(map(repr, n)) for n in (missing, table.names))
                got = f"none named {lacking} (there are {there})"
                raise fcb.ArgumentError("DATA", "have the model's columns", got)
            return tuple(table.names.index(name) for name in wanted)
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
        """The targets in their own units (N, M) from the features in theirs (N, K)."""
        exact = "ordered" if self.arithmetic == "native" else self.arithmetic
        y = fcb.predict(self.params, self.prepare(x), activation=self.activation, arithmetic=exact)
        return self.restore(as_numpy(y))

    def save(self, path: Path) -> None:
        """Write the model as a safetensors file, whole or not at all."""
        tensors = {}
        for layer, (w, b) in enumerate(self.params):
            tensors[f"layer{layer}.w"], tensors[f"layer{layer}.b"] = w, b
        for side, scaling in (("inputs", self.inputs), ("outputs", self.outputs)):
            if scaling:
                tensors[f"{side}.mean"], tensors[f"{side}.scale"] = scaling.mean, scaling.scale
        about = {
            "version": VERSION,
            "contract": fcb.CONTRACT_VERSION,
            "names": self.names,
            "targets": self.targets,
            "table": {"width": self.width, "features": self.features.as_json()},
            "arithmetic": self.arithmetic,
            "activation": self.activation,
        }
        # One entry of metadata only: the order of several is not the same in every run.
        content = save(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            metadata={FORMAT: json.dumps(about)},
        )
        with replacing(path) as temporary:
            temporary.write_bytes(content)


def load(name: str) -> Model:
    """Read a model file that `Model.save` wrote.

    Raises
    ------
    ArgumentError
        Where it is not there, damaged, not such a file, or of a contract that is not known yet.
    """
    path = readable(name, "MODEL")
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[FORMAT])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        if about["version"] != VERSION:
            raise ValueError(f"version {about['version']!r}, and this is for version {VERSION}")
        contract = about.get("contract", FIRST_CONTRACT)
        if contract not in range(FIRST_CONTRACT, fcb.CONTRACT_VERSION + 1):
            known = f"this fcbackends knows {fcb.CONTRACT_VERSION}"
            raise ValueError(f"contract version {contract!r}; {known}")
        layers = sum(name.endswith(".w") for name in tensors)
        params = tuple((tensors[f"layer{i}.w"], tensors[f"layer{i}.b"]) for i in range(layers))
        inputs, outputs = (
            Scaling(tensors[f"{side}.mean"], tensors[f"{side}.scale"])
            if f"{side}.mean" in tensors
            else None
            for side in ("inputs", "outputs")
        )
        columns = None if about["names"] is None else tuple(map(str, about["names"]))
        targets = tuple(map(int, about["targets"]))
        # Older files do not name theirs.
        arithmetic = about.get("arithmetic", "ordered")
        activation = options.activation(about.get("activation", "relu"), layers - 1)
        width, features = _table_part(about.get("table"), targets, params)
        model = Model(
            params, columns, targets, features, width, inputs, outputs, arithmetic, activation
        )
        _check(model)
        return model
    except Exception as error:
        # A foreign file can go wrong in any of these lines.
        reason = "no entry " + str(error) if isinstance(error, KeyError) else str(error)
        required = "be a file written by `fcbackends train --out`"
        raise fcb.ArgumentError("MODEL", required, f"{name!r}: {reason}") from None


def _check(model: Model) -> None:
    sizes = [w.shape for w, _ in model.params]
    dtypes = {array.dtype.name for pair in model.params for array in pair}
    chained = all(before[1] == after[0] for before, after in itertools.pairwise(sizes))
    if not chained or any(b.shape != w.shape[1:] for w, b in model.params):
        raise ValueError(f"layers of shapes {sizes} do not chain")
    if len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
        raise ValueError(f"parameters of dtype {', '.join(sorted(dtypes))}")
    if model.arithmetic not in ARITHMETICS:
        raise ValueError(f"arithmetic {model.arithmetic!r}")
    if model.names is not None and len(model.names) != model.width:
        raise ValueError(f"{len(model.names)} names for {model.width} columns")
    features = model.features
    if {*model.targets, *features.columns} - {*range(model.width)}:
        raise ValueError(f"targets {model.targets} of {model.width} columns")
    inputs, outputs = len(model.params[0][0]), len(model.targets)
    for scaling, width in ((model.inputs, inputs), (model.outputs, outputs)):
        if scaling and {scaling.mean.shape, scaling.scale.shape} != {(width,)}:
            raise ValueError(f"{scaling.mean.shape} scales for {width} columns")


def _table_part(
    kept: dict[str, Any] | None, targets: tuple[int, ...], params: NumpyParams
) -> tuple[int, Features]:
    """The table's width and the features; in older files all columns are numbers and used."""
    if kept is not None:
        return int(kept["width"]), Features.from_json(kept["features"])
    width = len(params[0][0]) + len(params[-1][1])
    columns = tuple(column for column in range(width) if column not in targets)
    return width, Features(columns, (None,) * len(columns))
