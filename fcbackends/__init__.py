"""Fully connected networks trained by SGD, with the same bits on every backend.

See `fcbackends.api` for the functions of one layer and one step, `fcbackends.training` for
training, `fcbackends.backends` for the choice of a backend and `fcbackends.agreement` for exact
comparison. The contract that all of them keep: docs/contract.md of the source distribution.
"""

import sys

from fcbackends import _program as _program

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    # Numba calls its support experimental, and nothing here was held against the contract there.
    raise ImportError(
        "fcbackends needs Python's global interpreter lock: set PYTHON_GIL=1, or run "
        "`python -X gil=1`"
    )

from fcbackends.agreement import Agreement, compare, digest
from fcbackends.api.layers import fc_backward, fc_forward, relu, relu_backward
from fcbackends.api.losses import (
    binary_cross_entropy_loss,
    cross_entropy_loss,
    huber_loss,
    mean_squared_loss,
)
from fcbackends.api.network import predict, predict_proba, sgd_step
from fcbackends.backends.array_api import StepLoop, namespace_backends
from fcbackends.backends.backend import Backend, Conformance
from fcbackends.backends.registry import (
    get_backend,
    list_backends,
    register_backend,
    use_backend,
)
from fcbackends.differences.difference import Difference
from fcbackends.differences.finding import first_difference
from fcbackends.errors import ArgumentError, ArgumentTypeError, DivergenceError, SweepError
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.arithmetic import Arithmetic
from fcbackends.maths.layers import FCGradients
from fcbackends.maths.losses import LossAndGradient
from fcbackends.maths.network import StepResult
from fcbackends.maths.optimizers import SGD, Adam
from fcbackends.maths.schedules import ConstantRate, CosineRate, ExponentialRate, StepRate
from fcbackends.models.export import export_c
from fcbackends.models.saved import SavedModel
from fcbackends.models.saving import load, save
from fcbackends.models.scaling import Scaling
from fcbackends.sweeps.finding import Finding
from fcbackends.sweeps.many import train_many
from fcbackends.sweeps.sweep import Sweep
from fcbackends.training.draws import sample_indices
from fcbackends.training.history import History
from fcbackends.training.initialization import init_params
from fcbackends.training.looks import Look
from fcbackends.training.reproduction import Reproduction, reproduce
from fcbackends.training.results import TrainResult
from fcbackends.training.runs import train
from fcbackends.training.state import TrainerState
from fcbackends.training.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "CONTRACT_VERSION",
    "SGD",
    "Adam",
    "Agreement",
    "ArgumentError",
    "ArgumentTypeError",
    "Arithmetic",
    "Backend",
    "Conformance",
    "ConstantRate",
    "CosineRate",
    "Difference",
    "DivergenceError",
    "ExponentialRate",
    "FCGradients",
    "Finding",
    "History",
    "Look",
    "LossAndGradient",
    "Reproduction",
    "SavedModel",
    "Scaling",
    "StepLoop",
    "StepRate",
    "StepResult",
    "Sweep",
    "SweepError",
    "TrainResult",
    "Trainer",
    "TrainerState",
    "binary_cross_entropy_loss",
    "compare",
    "cross_entropy_loss",
    "digest",
    "export_c",
    "fc_backward",
    "fc_forward",
    "first_difference",
    "get_backend",
    "huber_loss",
    "init_params",
    "list_backends",
    "load",
    "mean_squared_loss",
    "namespace_backends",
    "predict",
    "predict_proba",
    "register_backend",
    "relu",
    "relu_backward",
    "reproduce",
    "sample_indices",
    "save",
    "sgd_step",
    "train",
    "train_many",
    "use_backend",
]


def _self_test(backend: Backend) -> Conformance:
    # Imported where it is asked for: it stands on all the rest.
    from fcbackends.conformance.selftest import self_test

    return self_test(backend)


Backend.self_test = _self_test
