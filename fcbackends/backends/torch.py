"""PyTorch: the one array-API code, without the bookkeeping of gradients."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch

from fcbackends.backends.array_api import namespace_backends
from fcbackends.interface import Backend


def load() -> tuple[Backend, Backend]:
    """PyTorch's two backends."""
    ordered, native = namespace_backends(torch, "torch")
    return _with_loop(ordered), _with_loop(native)


def _with_loop(backend: Backend) -> Backend:
    # A fifth to a quarter less time a step. Such tensors can never take part in a gradient, so
    # what callers get is copied outside, or comes from functions that are not wrapped.
    step = torch.inference_mode()(backend.sgd_step)
    step_loop: Any = backend.training_loop
    loop = functools.partial(step_loop, sgd_step=step)
    return dataclasses.replace(backend, training_loop=loop)
