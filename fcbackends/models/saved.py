"""A trained network as a model file holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from fcbackends import arrays
from fcbackends.api.network import predict, predict_proba
from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import library_backend
from fcbackends.checks import data
from fcbackends.maths import CONTRACT_VERSION
from fcbackends.maths.activations import Activations
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.optimizers import SGD, Optimizer
from fcbackends.maths.schedules import Rate
from fcbackends.models.scaling import Floats, Scaling
from fcbackends.training.state import TrainerState
from fcbackends.training.trainer import Trainer

NumpyParams: TypeAlias = "tuple[tuple[Floats, Floats], ...]"


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds; all but the network has a default.

    Attributes
    ----------
    params : tuple of (w, b)
        The network, in NumPy's arrays.
    activation : str or tuple of str
        What goes between the layers.
    loss : str
        What it was trained on.
    arithmetic : str
        What it was trained in: "ordered", "fused" or "native".
    inputs, outputs : Scaling or None
        How the network's inputs and outputs were scaled.
    optimizer : SGD or Adam
        How its parameters moved.
    slots : tuple of tuple of (w, b)
        What the optimizer keeps beside the parameters.
    steps : int
        How many steps have been taken.
    contract : int
        The version of the contract that its bits follow.
    table : mapping or None
        What the command line knows of the columns of a file, in the form of JSON.
    """

    params: NumpyParams
    activation: Activations = "relu"
    loss: str = "mean_squared"
    arithmetic: str = "ordered"
    inputs: Scaling | None = None
    outputs: Scaling | None = None
    optimizer: Optimizer = SGD()
    slots: tuple[NumpyParams, ...] = ()
    steps: int = 0
    contract: int = CONTRACT_VERSION
    table: Mapping[str, Any] | None = None

    def predict(
        self, x: Any, *, backend: str | Backend | None = None, arithmetic: str | None = None
    ) -> Array:
        """The outputs in their own units, from inputs in theirs.

        Parameters
        ----------
        x : array (N, K) or (K,)
            Inputs; scaled in float64, where there is a scaling, and cast once to the network's
            dtype.
        backend : str, Backend or None
            What computes; see `get_backend`.
        arithmetic : str or None
            By default that of the training or, where that was native, ordered.

        Returns
        -------
        array (N, M) or (M,)
            In the library of x; float64 where the outputs are scaled, and otherwise of the
            network's dtype.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            As for `fcbackends.predict`.
        """
        y = self._outputs(predict, x, backend, arithmetic)
        return _beside(y, self.outputs.undo(y)) if self.outputs else y

    def predict_proba(
        self, x: Any, *, backend: str | Backend | None = None, arithmetic: str | None = None
    ) -> Array:
        """The probabilities that outputs stand for, as `fcbackends.predict_proba` has them.

        Parameters
        ----------
        x, backend, arithmetic
            As for `predict`.

        Returns
        -------
        array (N, M) or (M,)
            In the library of x, of the network's dtype.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            As for `fcbackends.predict_proba`, for which `loss` is the network's own.
        """
        return self._outputs(partial(predict_proba, loss=self.loss), x, backend, arithmetic)

    def _outputs(
        self,
        function: Callable[..., Array],
        x: Any,
        backend: str | Backend | None,
        arithmetic: str | None,
    ) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            (values,) = data.together(library_backend(x=x), self._dtype, x=x)
            data.is_one_sample("x", values, columns=len(self.params[0][0]))
            if self.inputs:
                values = _beside(values, self.inputs.apply(x).astype(self._dtype))
        if arithmetic is None:
            arithmetic = "ordered" if self.arithmetic == "native" else self.arithmetic
        return function(
            self.params, values, activation=self.activation, backend=backend, arithmetic=arithmetic
        )

    def trainer(
        self,
        *,
        lr: Rate,
        clip_norm: float | None = None,
        backend: str | Backend | None = None,
        arithmetic: str | None = None,
    ) -> Trainer:
        """A Trainer that goes on where the saved one stood, to the bit.

        Parameters
        ----------
        lr : float or schedule
            Learning rate, as for `Trainer`; a schedule goes on at the number of steps.
        clip_norm : float, optional
            The gradient's largest norm, as for `Trainer`.
        backend : str, Backend or None
            What computes; see `get_backend`.
        arithmetic : str or None
            That of the training by default.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            As for `Trainer`.
        """
        trainer = Trainer(
            self.params,
            activation=self.activation,
            loss=self.loss,
            optimizer=self.optimizer,
            lr=lr,
            clip_norm=clip_norm,
            backend=backend,
            arithmetic=arithmetic or self.arithmetic,
        )
        trainer.state = TrainerState(self.params, self.slots, self.steps)
        return trainer

    @property
    def _dtype(self) -> str:
        return arrays.dtype_of(self.params[0][0])


def _beside(array: Array, values: Floats) -> Array:
    """NumPy's values in the library of an array, and on its device."""
    return arrays.beside(array, values) if arrays.is_foreign(array) else values
