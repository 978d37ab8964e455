"""What some networks ended with, as bytes: for the way from a worker, and for a file.

A pack is an archive of NumPy's (npz) with JSON, the parameters and what the optimizer kept of all
networks one after another, and the histories of all networks one after another.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.arrays import as_numpy
from fcbackends.executors.reply import Where
from fcbackends.maths.network import Params
from fcbackends.maths.optimizers import UPDATES
from fcbackends.maths.schedules import rates_at
from fcbackends.sweeps.networks import Network
from fcbackends.training.history import History
from fcbackends.training.results import TrainResult

UNFINISHED = ("interrupted", "time_limit")
"""Stop reasons of networks that would have gone on."""


class Ended(NamedTuple):
    """What a network ended with.

    Attributes
    ----------
    number : int
        Which network.
    result : TrainResult
        Its result.
    digest : str
        Of its parameters.
    trace : sequence of (step, digest)
        Digests on its way, where they were asked for.
    """

    number: int
    result: TrainResult
    digest: str
    trace: Sequence[tuple[int, str]]


def packed(ended: Sequence[Ended], where: Where, dtype: str) -> bytes:
    """The bytes of what some networks ended with, and where they were trained."""
    arrays, about = [], []
    for number, result, digest, trace in ended:
        history = result.history
        for params in (result.params, *result.slots):
            arrays += [as_numpy(array) for pair in params for array in pair]
        about.append(
            {
                "number": number,
                "steps": result.steps,
                "stop_reason": result.stop_reason,
                "loss": _json_number(result.loss),
                "best_step": result.best_step,
                "best_validation_loss": result.best_validation_loss,
                "history": len(history.steps),
                "validated": len(history.validation_losses),
                "digest": digest,
                "trace": trace,
            }
        )
    histories = [each.result.history for each in ended]
    content = io.BytesIO()
    np.savez(
        content,
        allow_pickle=False,
        about=np.frombuffer(json.dumps([where, about], allow_nan=False).encode(), np.uint8),
        values=np.concatenate([np.ravel(a) for a in arrays]).astype(dtype, copy=False),
        steps=np.concatenate([h.steps for h in histories]),
        losses=np.concatenate([h.losses for h in histories]),
        validation_losses=np.concatenate([h.validation_losses for h in histories]),
    )
    return content.getvalue()


def unpacked(content: bytes, networks: Sequence[Network]) -> tuple[Where, list[Ended]]:
    """What some of these networks ended with, and where; any exception for what is no pack."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    where, about = json.loads(arrays["about"].tobytes())
    values, steps, losses, validated = (
        _parts(arrays[name]) for name in ("values", "steps", "losses", "validation_losses")
    )
    ended = []
    for each in about:
        network = networks[each["number"]]
        sizes, own = network.problem.sizes, network.problem.own
        states = 1 + UPDATES[network.method.form.rule.update].slots
        params, *slots = (own(_network(values, sizes)) for _ in range(states))
        seen = steps(each["history"])
        history = History(
            seen,
            losses(each["history"]),
            validated(each["validated"]),
            rates_at(network.method.lr, seen),
            {},
        )
        result = TrainResult(
            params,
            math.nan if each["loss"] is None else each["loss"],
            each["steps"],
            each["stop_reason"],
            history,
            network.problem.backend.arithmetic,
            network.method.activation,
            network.method.loss,
            network.method.optimizer,
            tuple(slots),
            each["best_step"],
            each["best_validation_loss"],
        )
        ended.append(Ended(each["number"], result, each["digest"], each["trace"]))
    return Where(*where), ended


def _parts(array: NDArray[Any]) -> Any:
    """A function that gives the next so many numbers of an array, in memory of their own."""
    place = 0

    def part(count: int) -> NDArray[Any]:
        nonlocal place
        place += count
        found = array[place - count : place]
        if len(found) < count:
            raise ValueError("too few numbers")
        return found.copy()

    return part


def _network(values: Any, sizes: Sequence[int]) -> Params:
    pairs: Iterator[tuple[int, int]] = itertools.pairwise(sizes)
    return tuple(
        (values(inputs * outputs).reshape(inputs, outputs), values(outputs))
        for inputs, outputs in pairs
    )


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
