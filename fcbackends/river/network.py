"""What a regressor and a classifier have in common: settings, features, and how they learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

from fcbackends import arrays
from fcbackends.agreement import digest
from fcbackends.backends.backend import Backend
from fcbackends.checks import options
from fcbackends.errors import ArgumentError, DivergenceError
from fcbackends.maths.network import Params
from fcbackends.maths.optimizers import Adam, Optimizer
from fcbackends.maths.schedules import Rate
from fcbackends.river import features
from fcbackends.river.growth import grown
from fcbackends.training.initialization import init_params
from fcbackends.training.trainer import Trainer


class Network(base.Estimator):
    """What a regressor and a classifier have in common."""

    loss: str

    def __init__(
        self,
        hidden: Sequence[int],
        activation: str | Sequence[str],
        optimizer: Optimizer | None,
        lr: Rate,
        clip_norm: float | None,
        seed: int,
        dtype: str,
        backend: str | Backend | None,
        arithmetic: str | None,
    ) -> None:
        # Lists: River's `clone` asks for the first entry of every tuple, of empty ones too.
        self.hidden = list(options.hidden_sizes(hidden))
        self.activation = activation if isinstance(activation, str) else list(activation)
        self.optimizer = optimizer
        self.lr = lr
        self.clip_norm = clip_norm
        self.seed = seed
        self.dtype = options.dtype_name(dtype)
        self.backend = backend
        self.arithmetic = arithmetic
        self._features: features.Places = {}
        self._outputs = 0
        self._trainer: Trainer | None = None
        # Refuses what is wrong.
        self._trainer_of(self._first_params(1, 1), backend, arithmetic)

    def _unit_test_skips(self) -> set[str]:
        """River's checks that cannot hold, as of its own models that descend along a gradient.

        One step along the mean gradient of a batch is not the same as one step for each sample.
        """
        return {"check_learn_many_matches_learn_one"}

    @property
    def digest(self) -> str | None:
        """The digest of the network, as `fcbackends.digest` has it; None before it has learned."""
        return None if self._trainer is None else digest(self._trainer.params)

    @property
    def steps(self) -> int:
        """How many steps the network has taken."""
        return 0 if self._trainer is None else self._trainer.steps

    def _first_params(self, inputs: int, outputs: int) -> Params:
        return init_params((inputs, *self.hidden, outputs), seed=self.seed, dtype=self.dtype)

    def _trainer_of(
        self, params: Params, backend: str | Backend | None, arithmetic: str | None = None
    ) -> Trainer:
        return Trainer(
            params,
            activation=self.activation,
            loss=self.loss,
            optimizer=Adam() if self.optimizer is None else self.optimizer,
            lr=self.lr,
            clip_norm=self.clip_norm,
            backend=backend,
            arithmetic=arithmetic,
        )

    def _of_sizes(self, inputs: int, outputs: int) -> Trainer:
        """A network of these sizes, grown out of the one that there is, if there is one."""
        fresh, trainer = self._first_params(inputs, outputs), self._trainer
        if trainer is None:
            return self._trainer_of(fresh, self.backend, self.arithmetic)
        larger = self._trainer_of(fresh, trainer.backend)
        larger.state = grown(trainer.state, fresh)
        return larger

    def _take(self, places: features.Places, x: NDArray[Any], t: Any, outputs: int) -> None:
        """Take a step on one sample or a batch; what is refused leaves all as it was.

        As long as there are no features, there is no network, and nothing to learn.
        """
        if x.ndim == 2 and len(x) != len(t):
            raise ArgumentError(("X", "y"), "hold the same samples", f"{len(x)} and {len(t)}")
        trainer = self._trainer
        if trainer is None or places is not self._features or outputs != self._outputs:
            if not places:
                return
            trainer = self._of_sizes(len(places), outputs)
        # Of an infinite input an activation may make a finite loss, and the step NaN of weights.
        if np.count_nonzero(np.isfinite(x)) < x.size:
            features.refuse_not_finite("x" if x.ndim == 1 else "X", np.atleast_2d(x), [*places])
        try:
            trainer.step(x, t)
        except DivergenceError:
            features.refuse_not_finite("y", np.reshape(t, (-1, 1)), [features.TARGET])
            raise
        self._trainer, self._features, self._outputs = trainer, places, outputs

    def _raw(self, x: NDArray[Any]) -> NDArray[Any]:
        """What the network makes of rows (N, K): (N, M)."""
        trainer = self._trainer
        assert trainer is not None
        backend = trainer.backend
        # What `predict` checks of these takes 10 us.
        y = backend.predict(trainer.params, backend.asarray(x), trainer.activation)
        return arrays.as_numpy(y)
