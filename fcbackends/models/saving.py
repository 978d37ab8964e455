"""A trained network in a file, to apply it elsewhere or to go on with its training.

A file is of safetensors' format: arrays beside JSON, which runs no code when it is read. Arrays are
`layer0.w`, `layer0.b` and so on; `slot0.layer0.w` and so on for what the optimizer keeps beside
them; and `inputs.mean`, `inputs.scale`, `outputs.mean` and `outputs.scale` of the scalings.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fcbackends import arrays, files, tensor_files
from fcbackends.backends.registry import library_backend
from fcbackends.checks import data, options
from fcbackends.errors import ArgumentError, ArgumentTypeError
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.arithmetic import ARITHMETICS
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Params, State, is_finite
from fcbackends.maths.optimizers import SGD, UPDATES, Adam, Optimizer
from fcbackends.models.saved import NumpyParams, SavedModel
from fcbackends.models.scaling import Floats, Scaling
from fcbackends.training.results import TrainResult
from fcbackends.training.serialized import named
from fcbackends.training.trainer import Trainer

FORMAT = "fcbackends"
VERSION = 3
_WITHOUT_CHECKSUM = range(1, 3)
FIRST_CONTRACT = 1
"""Of the files that do not name theirs; their weights mean the same."""

_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"SGD": SGD, "Adam": Adam}


def save(
    path: str | os.PathLike[str],
    model: Any,
    *,
    activation: str | Sequence[str] | None = None,
    loss: str | None = None,
    inputs: Scaling | None = None,
    outputs: Scaling | None = None,
) -> None:
    """Write a trained network to a file, whole or not at all.

    Parameters
    ----------
    path : str or path
        The file; one that is there already is replaced.
    model : TrainResult, Trainer, SavedModel or sequence of (w, b)
        What is saved: a Trainer, or a result, with what its optimizer keeps and its steps, so that
        `SavedModel.trainer` goes on exactly; or parameters alone.
    activation : str or sequence of str, optional
        What goes between the layers of parameters alone; "relu" by default.
    loss : str, optional
        What parameters alone were trained on; "mean_squared" by default.
    inputs, outputs : Scaling, optional
        How the network's inputs and outputs were scaled; `SavedModel.predict` takes and gives the
        columns' own units.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where an argument is not of the form above; nothing is then written.
    ImportError
        Where safetensors is not installed: it comes with `fcbackends[cli]`.

    Examples
    --------
    >>> import tempfile
    >>> import fcbackends as fcb
    >>> result = fcb.train([[1.0], [2.0]], [[3.0], [5.0]], lr=0.1, max_steps=2000)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fcb.save(f"{folder}/line.safetensors", result)
    ...     loaded = fcb.load(f"{folder}/line.safetensors")
    >>> loaded.predict([[10.0]]).round(6)
    array([[21.]])
    """
    tensor_files.require_safetensors()
    target = files.writable(options.path("path", path), "path", ())
    saved = record(model, activation, loss)
    if inputs is not None or outputs is not None:
        saved = replace(saved, inputs=inputs, outputs=outputs)
    check_scalings(saved)
    if not is_finite(np, saved.params):
        raise ArgumentError("model", "hold finite numbers", "NaN or infinity among its parameters")
    tensors = dict(named(State(saved.params, saved.slots)))
    for side, scaling in (("inputs", saved.inputs), ("outputs", saved.outputs)):
        if scaling:
            tensors[f"{side}.mean"], tensors[f"{side}.scale"] = scaling.mean, scaling.scale
    about = {
        "version": VERSION,
        "contract": saved.contract,
        "arithmetic": saved.arithmetic,
        "activation": saved.activation,
        "loss": saved.loss,
        "optimizer": {"name": type(saved.optimizer).__name__, **asdict(saved.optimizer)},
        "steps": saved.steps,
        "table": saved.table,
    }
    tensor_files.write(target, FORMAT, about, tensors)


def load(path: str | os.PathLike[str]) -> SavedModel:
    """Read a file that `save`, or the command line, wrote; nothing in it is run.

    Raises
    ------
    ArgumentError
        Where it is not there, damaged, not such a file, or of a version or a contract that is not
        known yet.
    ImportError
        Where safetensors is not installed: it comes with `fcbackends[cli]`.

    Examples
    --------
    See `save`.
    """
    name = options.path("path", path)
    required = "be a file written by `fcbackends.save` or `fcbackends train --out`"
    tensor_files.require_safetensors()
    with files.understood(name, "path", required) as file:
        return read(file)


def read(path: Path) -> SavedModel:
    """What a model file holds; any exception, where it is no such file."""
    about, tensors = tensor_files.read(path, FORMAT, _WITHOUT_CHECKSUM)
    version = about["version"]
    if version not in range(1, VERSION + 1):
        raise ValueError(f"version {version!r}, and this is for version {VERSION}")
    contract = about.get("contract", FIRST_CONTRACT)
    if contract not in range(FIRST_CONTRACT, CONTRACT_VERSION + 1):
        known = f"this fcbackends knows {CONTRACT_VERSION}"
        raise ValueError(f"contract version {contract!r}; {known}")
    params = _pairs(tensors, "")
    _check(params)
    inputs = _scaling(tensors, "inputs", len(params[0][0]))
    outputs = _scaling(tensors, "outputs", len(params[-1][1]))
    # Older files name neither these nor what follows.
    activation = options.activation(about.get("activation", "relu"), len(params) - 1)
    arithmetic = _known("arithmetic", about.get("arithmetic", "ordered"), ARITHMETICS)
    loss = _known("loss", about.get("loss", "mean_squared"), LOSSES)
    how = dict(about.get("optimizer", {"name": "SGD"}))
    optimizer = _OPTIMIZERS[how.pop("name")](**how)
    slots = tuple(_pairs(tensors, f"slot{i}.") for i in range(UPDATES[optimizer.rule.update].slots))
    if any(_forms(slot) != _forms(params) for slot in slots):
        raise ValueError("an optimizer's arrays of other shapes or dtypes than the parameters")
    steps = options.integer("steps", about.get("steps", 0), 0)
    # The first version had no such part.
    table = about["table"] if version > 1 else {key: about[key] for key in ("names", "targets")}
    if not isinstance(table, dict | None):
        raise ValueError(f"table {table!r}")
    return SavedModel(
        params, activation, loss, arithmetic, inputs, outputs, optimizer, slots, steps, contract,
        table,
    )  # fmt: skip


def record(model: Any, activation: Any, loss: Any) -> SavedModel:
    """What there is to save of a model, in NumPy's arrays."""
    for name, value in (("activation", activation), ("loss", loss)):
        if isinstance(model, SavedModel | TrainResult | Trainer) and value is not None:
            required = f"be left out where `model` is a {type(model).__name__}"
            raise ArgumentError(name, required, repr(value))
    if isinstance(model, SavedModel):
        return model
    if isinstance(model, TrainResult):
        slots = tuple(map(as_numpy, model.slots))
        return SavedModel(
            as_numpy(model.params),
            activation=model.activation,
            loss=model.loss_name,
            arithmetic=model.arithmetic,
            optimizer=model.optimizer,
            slots=slots,
            steps=model.steps,
        )
    if isinstance(model, Trainer):
        state = model.state
        return SavedModel(
            as_numpy(state.params),
            activation=model.activation,
            loss=model.loss,
            arithmetic=model.backend.arithmetic,
            optimizer=model.optimizer,
            slots=tuple(map(as_numpy, state.slots)),
            steps=state.steps,
        )
    if not isinstance(model, tuple | list):
        required = "be a TrainResult, a Trainer, a SavedModel or a sequence of (w, b) pairs"
        raise ArgumentTypeError("model", required, type(model).__name__)
    params = data.params(library_backend(**data.leaves(model)), model)
    between = options.activation("relu" if activation is None else activation, len(params) - 1)
    loss = options.choice("loss", "mean_squared" if loss is None else loss, LOSSES)
    return SavedModel(as_numpy(params), activation=between, loss=loss)


def as_numpy(params: Params) -> NumpyParams:
    """The same network in NumPy's arrays."""
    return tuple((arrays.as_numpy(w), arrays.as_numpy(b)) for w, b in params)


def _pairs(tensors: Mapping[str, Floats], prefix: str) -> NumpyParams:
    layers = sum(name.startswith(f"{prefix}layer") and name.endswith(".w") for name in tensors)
    return tuple(
        (tensors[f"{prefix}layer{i}.w"], tensors[f"{prefix}layer{i}.b"]) for i in range(layers)
    )


def _scaling(tensors: Mapping[str, Floats], side: str, columns: int) -> Scaling | None:
    if f"{side}.mean" not in tensors:
        return None
    scaling = Scaling(tensors[f"{side}.mean"], tensors[f"{side}.scale"])
    if {scaling.mean.shape, scaling.scale.shape} != {(columns,)}:
        raise ValueError(f"{scaling.mean.shape} scales for {columns} columns")
    if not (np.isfinite(scaling.mean).all() and (scaling.scale > 0).all()):
        raise ValueError("scales that are not finite and > 0")
    return scaling


def _known(kind: str, value: Any, choices: Container[str]) -> str:
    if value not in choices:
        raise ValueError(f"{kind} {value!r}")
    return str(value)


def _forms(params: NumpyParams) -> list[tuple[str, tuple[int, ...]]]:
    return [(array.dtype.name, array.shape) for pair in params for array in pair]


def _check(params: NumpyParams) -> None:
    sizes = [w.shape for w, _ in params]
    dtypes = {array.dtype.name for pair in params for array in pair}
    chained = all(before[1] == after[0] for before, after in itertools.pairwise(sizes))
    if not chained or any(b.shape != w.shape[1:] for w, b in params):
        raise ValueError(f"layers of shapes {sizes} do not chain")
    if len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
        raise ValueError(f"parameters of dtype {', '.join(sorted(dtypes))}")
    if not is_finite(np, params):
        raise ValueError("parameters that are not finite")


def check_scalings(saved: SavedModel) -> None:
    """Check that scalings are some, of as many columns as the network has."""
    for name, scaling, columns in (
        ("inputs", saved.inputs, len(saved.params[0][0])),
        ("outputs", saved.outputs, len(saved.params[-1][1])),
    ):
        required = f"be None or a `Scaling` of {columns} columns"
        if not isinstance(scaling, Scaling | None):
            raise ArgumentTypeError(name, required, type(scaling).__name__)
        if scaling and {scaling.mean.shape, scaling.scale.shape} != {(columns,)}:
            got = f"one of shapes {scaling.mean.shape} and {scaling.scale.shape}"
            raise ArgumentError(name, required, got)
