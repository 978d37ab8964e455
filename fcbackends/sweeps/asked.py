"""What a call of `train_many` asks for, in the form of JSON: all that bits depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcbackends import agreement
from fcbackends.arrays import as_numpy
from fcbackends.sweeps.networks import Network


def asked_for(networks: Sequence[Network], keys: Mapping[str, str | None]) -> dict[str, Any]:
    """The options by name: one value for all networks, or a list with one for each.

    `keys` are digests of the data by name.
    """
    columns: dict[str, list[Any]] = {}
    for network in networks:
        for name, value in _options(network).items():
            columns.setdefault(name, []).append(value)
    options = {name: _joined(values) for name, values in columns.items()}
    problem = networks[0].problem
    of_all = {
        "networks": len(networks),
        **keys,
        "dtype": problem.dtype,
        "arithmetic": problem.backend.arithmetic,
        "rows_per_block": problem.backend.rows_per_block,
    }
    asked: dict[str, Any] = json.loads(json.dumps({**of_all, **options}))
    return asked


def _options(network: Network) -> Mapping[str, Any]:
    plan, method = network.plan, network.method
    return {
        "hidden": network.problem.sizes[1:-1],
        "activation": method.activation,
        "loss": method.loss,
        "optimizer": str(method.optimizer),
        "lr": method.lr if isinstance(method.lr, float) else str(method.lr),
        "clip_norm": method.clip_norm,
        "batch_size": plan.batch_size,
        "max_steps": network.max_steps,
        "tol": plan.tol,
        "tol_on": plan.tol_on,
        "sampling": plan.sampling,
        "seed": plan.seed,
        "record_every": plan.record_every,
        "patience": network.patience,
        "rows": None if network.rows is None else _digest(network.rows),
    }


def _joined(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values


def _digest(rows: Any) -> str:
    # Row numbers are far below 2**53.
    return agreement.digest(as_numpy(rows).astype(np.float64))
