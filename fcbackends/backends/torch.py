"""PyTorch: the one array-API code, without the bookkeeping of gradients."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch

from fcbackends.backends.array_api import StepLoop, namespace_backends
from fcbackends.backends.backend import Backend
from fcbackends.maths import network
from fcbackends.maths.arithmetic import Arithmetic, Array


def load() -> tuple[Backend, ...]:
    """PyTorch's backends."""
    return namespace_backends(torch, "torch", loop=_loop)


def _sqrt(a: Array) -> Array:
    # PyTorch's own on CPUs is off by one bit for 17 % of numbers in float32, and 1 % in float64.
    return torch.from_numpy(np.sqrt(a.numpy())) if a.device.type == "cpu" else torch.sqrt(a)


def _loop(arithmetic: Arithmetic) -> Callable[..., StepLoop]:
    arithmetic = dataclasses.replace(arithmetic, sqrt=_sqrt)
    # A fifth to a quarter less time a step. Such tensors can never take part in a gradient, so
    # what callers get is copied outside, or comes from functions that are not wrapped.
    step = torch.inference_mode()(functools.partial(network.step, arithmetic))
    return functools.partial(StepLoop, arithmetic, step=step)
