"""What the options of `train` and a file come to: data, a network, and a call of `train`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import fcbackends as fcb
from fcbackends.checks import options
from fcbackends.cli.data import read_table
from fcbackends.cli.descent import optimizer_of, rate_of
from fcbackends.cli.form import Columns, Form
from fcbackends.cli.model import Model
from fcbackends.cli.preparing import Prepared, prepare
from fcbackends.maths.activations import Activations
from fcbackends.maths.optimizers import Optimizer

DEFAULT_BATCH = 32
DEFAULT_EPOCHS = 100


@dataclass(frozen=True)
class Fitting:
    """A training that is about to begin.

    Attributes
    ----------
    backend : Backend
        What computes.
    prepared : Prepared
        The rows, and the network with the default activation.
    model : Model
        The network.
    batch : int
        Samples a step.
    prepared_by : mapping
        The options that made the arrays.
    described : sequence of (name, text)
        What a report says of options that are seldom given.
    """

    backend: fcb.Backend
    prepared: Prepared
    model: Model
    batch: int
    prepared_by: Mapping[str, Any]
    described: Sequence[tuple[str, str]]
    _how: Mapping[str, Any]

    def train(self, **more: Any) -> fcb.TrainResult:
        """What `fcbackends.train` makes of it.

        Raises
        ------
        ArgumentError
            Of the options by their names there, and of DATA.
        """
        part, held = (self.prepared.parts.get(name) for name in ("training", "validation"))
        assert part is not None
        try:
            return fcb.train(
                part.x,
                part.t,
                params=self.model.params,
                validation=(held.x, held.t) if held else None,
                backend=self.backend,
                **self._how,
                **more,
            )
        except fcb.ArgumentError as error:
            arrays = ("x", "t", "validation[0]", "validation[1]", "params")
            raise error.renamed(dict.fromkeys(arrays, "DATA")) from None


def fitting_of(
    data: str,
    *,
    form: Form,
    columns: Columns,
    hidden: Sequence[int] | None,
    loss: str,
    optimizer: str,
    momentum: float | None,
    nesterov: bool,
    weight_decay: float,
    lr: float,
    standardize: str | None,
    holdout: float | None,
    validation: float | None,
    patience: int | None,
    seed: int,
    split_seed: int | None,
    dtype: str,
    backend: str | None,
    arithmetic: str | None,
    **how: Any,
) -> Fitting:
    """What these options of `train` come to; `how` goes to `recipe_of`.

    Raises
    ------
    ArgumentError
        Where an option or the file is refused.
    """
    descent = optimizer_of(optimizer, momentum, nesterov, weight_decay)
    check_patience(patience, validation)
    chosen = fcb.get_backend(backend, arithmetic=arithmetic)
    prepared = prepare(
        read_table(data, form),
        columns,
        loss=loss,
        hidden=hidden,
        standardize=standardize,
        holdout=holdout,
        validation=validation,
        seed=seed,
        split_seed=split_seed,
        dtype=dtype,
    )
    rows = len(prepared.parts["training"].x)
    recipe = recipe_of(rows, hidden=hidden, loss=loss, optimizer=descent, lr=lr, **how)
    rate, clip_norm = recipe["lr"], recipe["clip_norm"]
    described = [
        *([] if descent == fcb.SGD() else [("optimizer", str(descent))]),
        *([] if rate == lr else [("learning rate", str(rate))]),
        *([] if clip_norm is None else [("gradient", f"of a norm of at most {clip_norm:g}")]),
    ]
    prepared_by = {
        **asdict(columns),
        "standardize": standardize,
        "holdout": holdout,
        "validation": validation,
        **({} if split_seed is None else {"split_seed": split_seed}),
    }
    how = dict(**recipe, seed=seed, dtype=dtype, patience=patience)
    model = replace(prepared.model, activation=recipe["activation"])
    return Fitting(chosen, prepared, model, recipe["batch_size"], prepared_by, described, how)


def check_patience(patience: int | None, validation: float | None) -> None:
    """Refuse patience where nothing is validated."""
    if patience is not None and validation is None:
        raise fcb.ArgumentError("--patience", "come with `--validation`", f"{patience} without")


def recipe_of(
    rows: int,
    *,
    hidden: Sequence[int] | None,
    activation: Activations,
    optimizer: Optimizer,
    lr: float,
    schedule: str,
    decay_every: int | None,
    decay_factor: float | None,
    warmup: int,
    batch_size: int | None,
    max_steps: int | None,
    epochs: int | None,
    **how: Any,
) -> dict[str, Any]:
    """How a network learns from so many rows, as arguments of `fcbackends.train`.

    Raises
    ------
    ArgumentError
        Where options do not go together.
    """
    batch, steps = _batch_and_steps(batch_size, max_steps, epochs, rows)
    return dict(
        activation=options.activation(activation, len(hidden or ())),
        optimizer=optimizer,
        lr=rate_of(lr, schedule, decay_every, decay_factor, warmup, steps),
        batch_size=batch,
        max_steps=steps,
        **how,
    )


def _batch_and_steps(
    batch: int | None, steps: int | None, epochs: int | None, rows: int
) -> tuple[int, int]:
    batch = min(DEFAULT_BATCH, rows) if batch is None else batch
    if steps is None:
        return batch, math.ceil((DEFAULT_EPOCHS if epochs is None else epochs) * rows / batch)
    if epochs is not None:
        raise fcb.ArgumentError(
            ("--steps", "--epochs"), "not come together", f"{steps} and {epochs}"
        )
    return batch, steps
