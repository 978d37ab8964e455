"""Fully connected networks trained by SGD, with the same bits on every backend.

See `fcbackends.api` for the functions of one layer and one step, `fcbackends.training` for
training, `fcbackends.registry` for the choice of a backend and `fcbackends.agreement` for exact
comparison.
"""

from fcbackends.agreement import Agreement, compare, digest
from fcbackends.api import (
    fc_backward,
    fc_forward,
    mean_squared_loss,
    predict,
    relu,
    relu_backward,
    sgd_step,
)
from fcbackends.errors import ArgumentError, ArgumentTypeError, DivergenceError
from fcbackends.initialization import init_params
from fcbackends.interface import Backend
from fcbackends.many import train_many
from fcbackends.records import FCGradients, LossAndGradient, StepResult
from fcbackends.registry import get_backend, list_backends, register_backend, use_backend
from fcbackends.training import History, Trainer, TrainResult, sample_indices, train

__version__ = "0.1.0"

__all__ = [
    "Agreement",
    "ArgumentError",
    "ArgumentTypeError",
    "Backend",
    "DivergenceError",
    "FCGradients",
    "History",
    "LossAndGradient",
    "StepResult",
    "TrainResult",
    "Trainer",
    "compare",
    "digest",
    "fc_backward",
    "fc_forward",
    "get_backend",
    "init_params",
    "list_backends",
    "mean_squared_loss",
    "predict",
    "register_backend",
    "relu",
    "relu_backward",
    "sample_indices",
    "sgd_step",
    "train",
    "train_many",
    "use_backend",
]
