"""PyTorch: the one array-API code, without the bookkeeping of gradients."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch

from fcbackends.backends.array_api import StepLoop, namespace_backends
from fcbackends.backends.backend import Backend
from fcbackends.maths.arithmetic import Arithmetic, Array
from fcbackends.maths.network import State


def load() -> tuple[Backend, ...]:
    """PyTorch's backends."""
    return namespace_backends(torch, "torch", loop=_loop)


def _sqrt(a: Array) -> Array:
    # PyTorch's own on CPUs is off by one bit for 17 % of numbers in float32, and 1 % in float64.
    return torch.from_numpy(np.sqrt(a.numpy())) if a.device.type == "cpu" else torch.sqrt(a)


def _loop(arithmetic: Arithmetic) -> Callable[..., StepLoop]:
    return functools.partial(_Loop, dataclasses.replace(arithmetic, sqrt=_sqrt))


class _Loop(StepLoop):
    def _step_by(self, arithmetic: Arithmetic) -> Callable[..., tuple[State, Array]]:
        # A fifth to a quarter less time a step. Such tensors can never take part in a gradient, so
        # what callers get is copied outside, or comes from functions that are not wrapped.
        step: Callable[..., tuple[State, Array]] = super()._step_by(arithmetic)
        return torch.inference_mode()(step)
