"""Operations as a backend's own functions compute them, one by one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import get_backend
from fcbackends.differences.deviations import Deviation
from fcbackends.differences.operations import Floats, Operation
from fcbackends.errors import ArgumentError
from fcbackends.maths.network import Method

Way = Callable[..., tuple[Floats, ...]]


def libraries_ways(method: Method, otherwise: Way, contracted: Way) -> Iterator[Deviation]:
    """Those of the array libraries that this process has loaded, in their own arithmetic."""
    for name in ("torch", "jax"):
        if name not in sys.modules:
            continue
        try:
            backend = get_backend(name, arithmetic="native")
        except (ArgumentError, ImportError):
            continue
        yield own_way(backend, method, otherwise)
        # As a compiler has it that also contracts what stands between them.
        yield own_way(backend, method, contracted)


def own_way(backend: Backend, method: Method, otherwise: Way) -> Deviation:
    """A backend's functions, for the operations that it has some for."""

    def own(array: Floats) -> Any:
        return backend.asarray(np.ascontiguousarray(array), array.dtype.name)

    def here(array: Any) -> Floats:
        return np.array(arrays.as_numpy(array))

    def run(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        way, output = operation.name.partition(" ")[0], operation.outputs[0]
        if way == "forward" and len(inputs) == 3:
            return (here(backend.fc_forward(*map(own, inputs))),)
        if way == "loss":
            y, t = map(own, inputs)
            found = backend.loss_and_gradient(y, t, method.loss, method.weighted)
            return (here(found.loss if output == "loss" else found.dy),)
        if way == "dw":
            dy, h = inputs
            w = np.zeros((h.shape[1], dy.shape[1]), dy.dtype)
            return (here(backend.fc_backward(*map(own, (dy, h, w))).dw),)
        if way == "db":
            (dy,) = inputs
            x, w = np.ones((len(dy), 1), dy.dtype), np.zeros((1, dy.shape[1]), dy.dtype)
            return (here(backend.fc_backward(*map(own, (dy, x, w))).db),)
        if way == "dx" and operation.part == "product":
            dy, w = inputs
            x = np.zeros((len(dy), len(w)), dy.dtype)
            return (here(backend.fc_backward(*map(own, (dy, x, w))).dx),)
        return otherwise(operation, *inputs)

    words = f"as the functions of {backend.name}, {backend.arithmetic}, have it"
    return Deviation("sums in another order", words, run)
