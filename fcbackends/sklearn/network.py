"""What a regressor and a classifier have in common: settings, and how they are trained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from fcbackends import arrays
from fcbackends.agreement import digest
from fcbackends.api.network import predict, predict_proba
from fcbackends.errors import ArgumentError, DivergenceError
from fcbackends.maths.schedules import rate_at
from fcbackends.models.scaling import Scaling
from fcbackends.sklearn import epochs, inputs, settings, whole
from fcbackends.training.trainer import Trainer


class Network(BaseEstimator):
    """What a regressor and a classifier have in common."""

    _standardized: tuple[str, ...] = settings.STANDARDIZED
    _is_numeric: bool
    _loss: str
    _trainer: Trainer
    _curve: epochs.Curve
    _seed: int
    _dtype: str
    _solver: str
    _library: str
    _batch: int
    _inputs: Scaling | None
    _outputs: Scaling | None
    n_outputs_: int

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        schedule: Any = None,
        standardize: Any = False,
        backend: Any = None,
        arithmetic: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.schedule = schedule
        self.standardize = standardize
        self.backend = backend
        self.arithmetic = arithmetic

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> Any:
        """Train on X and y; with `warm_start`, go on from where the last call ended.

        Parameters
        ----------
        X : array-like or sparse matrix (N, K)
            Inputs. float32 stays so; others become float64. A sparse matrix is made dense. With
            scikit-learn's `array_api_dispatch`, an array of another library is trained on in it.
        y : array-like (N,) or (N, M)
            Targets, or classes.
        sample_weight : array-like (N,), optional
            What each sample counts, as a share of their mean.
        validation : (X, y), optional
            Data that are scored after each epoch and not trained on; with `early_stopping` they
            take the place of the `validation_fraction`.

        Returns
        -------
        self
        """
        self._check_settings()
        goes_on = bool(self.warm_start) and hasattr(self, "_trainer")
        x, y = self._checked(X, y, reset=not goes_on)
        t = self._targets(y, "anew" if not goes_on else "all")
        weights = self._weights(x, y, sample_weight)
        if not goes_on:
            self._seed = settings.seed_of(self.random_state)
            self._curve = epochs.Curve()
        held = None
        if validation is not None:
            own_x, own_y = validation
            held = self._checked(own_x, own_y, reset=False)
        elif self.early_stopping and self.solver != "lbfgs":
            trained, kept = self._split(y)
            held = inputs.rows_of(x, kept), y[kept]
            x, t = inputs.rows_of(x, trained), t[trained]
            weights = None if weights is None else weights[trained]
        batch = self._batch_size(x.shape[0])
        self._start(x, t, batch, goes_on)
        x, t = self._scaled(x, t)
        curve, score = self._curve, None
        if held is not None:
            score = lambda trainer: self._score(trainer, *held)  # noqa: E731
        before = len(curve.losses)
        rules = settings.rules(self, self._loss, self._seed, self.n_outputs_, batch)
        of_all = rules, epochs.Data(x, t, weights)
        if self.solver == "lbfgs":
            scale, penalty = settings.times(self._loss), float(self.alpha) / x.shape[0]
            self.stop_reason_ = whole.train(self._trainer, curve, *of_all, scale, penalty, score)
        else:
            rest = score, self._at_rate
            self.stop_reason_ = epochs.train(self._trainer, curve, *of_all, *rest)
        self.n_iter_ = len(curve.losses) - before
        if self.early_stopping and curve.best is not None:
            self._trainer.state = curve.best
        self._note(curve)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Take one epoch on X and y, in their order, from where the last call of a fit ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. With an `alpha`, a step weighs it as of a batch of the first call.

        Returns
        -------
        self
        """
        return self._go_on(X, y, sample_weight)

    def _go_on(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Any:
        begins = not hasattr(self, "_trainer")
        if not begins and sample_weight is classes is None and self._takes_at_once(X, y):
            return self
        self._check_settings()
        if self.solver == "lbfgs":
            required = "be one of 'adam', 'sgd' where data come in pieces"
            raise ArgumentError("solver", required, "'lbfgs'")
        if self.early_stopping:
            got = "True in partial_fit"
            raise ArgumentError("early_stopping", "be False where data come in pieces", got)
        x, y = self._checked(X, y, reset=begins)
        t = self._targets(y, "some", classes)
        weights = self._weights(x, y, sample_weight)
        if begins:
            self._seed, self._curve = settings.seed_of(self.random_state), epochs.Curve()
        samples = x.shape[0]
        batch = settings.batch_size(self.batch_size, samples)
        self._start(x, t, batch, not begins)
        x, t = self._scaled(x, t)
        loss = epochs.in_order(self._trainer, epochs.Data(x, t, weights), batch)
        self._note_piece(loss, samples)
        return self

    def _takes_at_once(self, X: Any, y: Any) -> bool:
        """Take a step on a batch that needs no check, if it is such a one.

        scikit-learn's checks take 150 us, and a step on one sample 10.
        """
        if (
            type(X) is not np.ndarray
            or type(y) is not np.ndarray
            or X.ndim != 2
            or X.shape[1] != self.n_features_in_
            or not 0 < len(X) <= self._batch
            or X.dtype != self._dtype
            or y.shape != X.shape[:1]
            or self._inputs is not None
            or self._outputs is not None
            or self.solver != self._solver
            or self.solver == "lbfgs"
            or self.early_stopping
            or hasattr(self, "feature_names_in_")
        ):
            return False
        is_one = len(X) == 1
        t = self._plain_targets(y, is_one)
        if t is None:
            return False
        try:
            loss = self._trainer.step(X[0] if is_one else X, t)
        except DivergenceError:  # the checks may say why
            return False
        self._note_piece(loss, len(X))
        return True

    def _note_piece(self, loss: float, samples: int) -> None:
        curve = self._curve
        curve.losses.append(settings.loss_factor(self._loss, self.n_outputs_) * loss)
        curve.samples += samples
        curve.epochs = -1
        self.n_iter_ = getattr(self, "n_iter_", 0) + 1
        self._note(curve)

    def _check_settings(self) -> None:
        settings.check(self)

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, NDArray[Any]]:
        """X in its library, and y in NumPy's: there classes are told apart, and rows scored."""
        how = dict(accept_sparse=("csr", "csc"), multi_output=True, y_numeric=self._is_numeric)
        x, y = validate_data(
            self, X, inputs.in_numpy(y), reset=reset, dtype=inputs.floats_of(X), **how
        )
        # One column is one target, with scikit-learn's warning.
        return inputs.dense(x), column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y

    def _start(self, x: Any, t: Any, batch: int, goes_on: bool) -> None:
        """The network to train: as it stands, or drawn anew."""
        outputs = self._outputs_of(t)
        if goes_on:
            if outputs != self.n_outputs_ or arrays.dtype_of(x) != self._dtype:
                required = f"be of {self.n_outputs_} targets in {self._dtype}, as before"
                raise ArgumentError("y", required, f"{outputs} in {arrays.dtype_of(x)}")
            if self.solver != self._solver:
                self._batch, self._solver = batch, self.solver
                self._at_first_rate()
            return
        self.n_outputs_, self._dtype = outputs, arrays.dtype_of(x)
        hidden = settings.hidden_sizes(self.hidden_layer_sizes)
        self.n_layers_ = len(hidden) + 2
        self._batch, self._solver = batch, self.solver
        self._inputs = Scaling.fit(x) if self.standardize else None
        both = self.standardize == "both"
        self._outputs = Scaling.fit(t) if both else None
        sizes = (x.shape[1], *hidden, outputs)
        how = settings.activation(self.activation)
        first = settings.first_params(sizes, how, self._seed, self._dtype)
        params = tuple((inputs.as_library_of(x, w), inputs.as_library_of(x, b)) for w, b in first)
        self._library = arrays.library_of(x)
        self._trainer = self._made(params, 1.0)

    def _made(self, params: Any, share: float) -> Trainer:
        return Trainer(
            params,
            activation=settings.activation(self.activation),
            loss=self._loss,
            optimizer=settings.optimizer(self, self._loss, self._batch),
            lr=settings.rate(self, self._loss, share),
            backend=self.backend,
            arithmetic=self.arithmetic,
        )

    def _at_first_rate(self) -> None:
        """The network as it stands, for another solver, which has seen nothing yet."""
        before = self._trainer.state
        self._trainer = self._made(before.params, 1.0)
        self._trainer.state = self._trainer.state._replace(steps=before.steps)

    def _at_rate(self, share: float) -> Trainer:
        """The network as it stands, with a rate of such a share of the first."""
        before, trainer = self._trainer, self._made(self._trainer.params, share)
        state = before.state
        # scikit-learn's velocities have the rate in them, and keep it where it falls.
        ratio = rate_at(before.lr, 1) / rate_at(trainer.lr, 1)
        kept = float(np.dtype(self._dtype).type(ratio))
        slots = tuple(
            tuple((kept * w, kept * b) for w, b in velocities) for velocities in state.slots
        )
        trainer.state = state._replace(slots=slots)
        self._trainer = trainer
        return trainer

    def _batch_size(self, samples: int) -> int:
        if self.solver == "lbfgs":
            return samples
        sized = settings.even_batch_size if self.shuffle else settings.batch_size
        return sized(self.batch_size, samples)

    def _split(self, y: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows to train on, and rows to score."""
        rows = np.arange(len(y))
        trained, held = train_test_split(
            rows,
            test_size=self.validation_fraction,
            random_state=self._seed % 2**32,
            stratify=self._strata(y),
        )
        if len(held) < 2:
            required = "leave two rows or more on both sides"
            raise ArgumentError("validation_fraction", required, f"{len(held)} of {len(rows)}")
        return np.sort(trained), np.sort(held)

    def _strata(self, y: Any) -> Any:
        """What both sides of a split are to have alike shares of, if anything."""
        return None

    def _scaled(self, x: Any, t: Any) -> tuple[Any, Any]:
        """What the network is trained on, x and t in the library of x."""
        if self._outputs is not None:
            t = self._outputs.apply(t)
        if t.dtype.kind != "i":
            t = t.astype(self._dtype, copy=False)
        return self._scaled_inputs(x), inputs.as_library_of(x, t)

    def _scaled_inputs(self, x: Any) -> Any:
        if self._inputs is not None:
            return inputs.as_library_of(x, self._inputs.apply(x).astype(self._dtype))
        xp = arrays.namespace_of(x)
        return xp.astype(x, getattr(xp, self._dtype), copy=False)

    def _weights(self, x: Any, y: Any, sample_weight: Any) -> NDArray[Any] | None:
        if sample_weight is None:
            return None
        given = inputs.in_numpy(sample_weight)
        rows = np.empty((x.shape[0], 0))
        weights = _check_sample_weight(given, rows, dtype=np.float64, ensure_non_negative=True)
        total = weights.sum()
        return weights * (len(weights) / total) if total > 0 else weights

    def _note(self, curve: epochs.Curve) -> None:
        self.loss_curve_, self.loss_ = curve.losses, curve.losses[-1] if curve.losses else math.nan
        self.best_loss_ = None if self.early_stopping else curve.best_loss
        self.validation_scores_ = curve.scores or None
        self.best_validation_score_ = curve.best_score if self.early_stopping else None
        self.t_ = curve.samples

    def _raw(self, x: Any, trainer: Trainer | None = None, *, proba: bool = False) -> Any:
        """What the network makes of x, in the library of x."""
        trainer = trainer or self._trainer
        how: dict[str, Any] = dict(activation=trainer.activation, backend=trainer.backend)
        own = self._scaled_inputs(x)
        if proba:
            return inputs.as_library_of(
                x, predict_proba(trainer.params, own, loss=self._loss, **how)
            )
        y = predict(trainer.params, own, **how)
        if self._outputs is not None:
            y = self._outputs.undo(y).astype(self._dtype)
        return inputs.as_library_of(x, y)

    def _inputs_of(self, X: Any, method: str) -> Any:
        check_is_fitted(self)
        x = inputs.dense(
            validate_data(
                self, X, reset=False, dtype=inputs.floats_of(X), accept_sparse=("csr", "csc")
            )
        )
        library = self._library
        if get_config()["array_api_dispatch"] and arrays.library_of(x) != library:
            name = f"{type(self).__name__}.{method}()"
            required = f"be of {library}: {name} must use the same namespace as fit()"
            raise ArgumentError("X", required, f"an array of {arrays.library_of(x)}")
        return x

    @property
    def coefs_(self) -> list[NDArray[Any]]:
        """The weights of each layer, (inputs, outputs)."""
        return [w for w, _ in self._fitted().params]

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """The biases of each layer."""
        return [b for _, b in self._fitted().params]

    @property
    def digest_(self) -> str:
        """The digest of the network, as `fcbackends.digest` has it: the same for the same bits."""
        return digest(self._fitted().params)

    @property
    def steps_(self) -> int:
        """How many steps the network has taken."""
        return self._fitted().steps

    def _fitted(self) -> Trainer:
        if not hasattr(self, "_trainer"):
            raise AttributeError(f"{type(self).__name__} is not fitted")
        return self._trainer

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_trainer")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # Older checks know no `reciprocal`, and want classes in the library of X.
        tags.array_api_support = parse_version(sklearn.__version__) >= parse_version("1.9")
        return tags
