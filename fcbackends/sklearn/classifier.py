"""The classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from fcbackends.arrays import as_numpy, namespace_of
from fcbackends.errors import ArgumentError
from fcbackends.maths import elementary
from fcbackends.sklearn.inputs import as_library_of
from fcbackends.sklearn.network import Network
from fcbackends.training.trainer import Trainer


class FCClassifier(ClassifierMixin, Network):
    """A fully connected network that takes the place of scikit-learn's `MLPClassifier`.

    It makes the cross-entropy small: of softmax for three classes or more, and of the logistic
    function for two, or for several labels that are 0 or 1. All settings but
    `schedule`, `standardize`, `backend`, `arithmetic` and `class_weight` are those of scikit-learn;
    see `FCRegressor`.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, or int
        The sizes of the layers between inputs and outputs.
    activation : str or sequence of str
        What goes between the layers: "relu", "tanh", "logistic" (or "sigmoid"), "identity" or
        "leaky_relu"; of a sequence, each hidden layer has its own.
    solver : {"adam", "sgd", "lbfgs"}
        How parameters move. "lbfgs" takes all samples at each step, and goes down to where no part
        of the gradient is larger than `tol`; batches, rates and early stopping are none of its.
    alpha : float
        The weights' squares, times alpha / (2 * batch), are added to a batch's loss, as there. The
        losses that are reported are without them.
    batch_size : "auto" or int
        The most samples a step; "auto": 200. An epoch of N samples has ceil(N / batch_size) steps
        of one size, ceil(N / steps), the last of which may run on into the next epoch; with
        `shuffle` False its last batch has what is left.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Whether the rate falls after each epoch, or where nothing changes; with `solver` "sgd".
    learning_rate_init : float
        The rate, or the first.
    power_t : float
        With "invscaling" the rate falls as the number of samples to this power.
    max_iter : int
        The most epochs of a call of `fit`.
    shuffle : bool
        Go through a new permutation of the samples in each epoch, or through them as they stand.
    random_state : int, RandomState or None
        What the first parameters, the permutations and the validation data are drawn from.
    tol : float
        A loss, or a score, is to get better by so much.
    verbose : bool
        Print each epoch's loss.
    warm_start : bool
        Have `fit` go on from where it ended: with the optimizer's state, so that two calls of 50
        epochs have the bits of one of 100, unless early stopping chose between them.
    momentum, nesterovs_momentum : float, bool
        With `solver` "sgd".
    early_stopping : bool
        Stop by the score of data that are not trained on, and end where it was best.
    validation_fraction : float
        How many of the samples these are, where `fit` is given none; of classes alike.
    beta_1, beta_2, epsilon : float
        With `solver` "adam"; epsilon stands beside the root that is corrected, as in PyTorch.
    n_iter_no_change : int
        Training ends after more epochs than these without getting better.
    max_fun : int
        With `solver` "lbfgs": how often the loss of all samples is computed at the most.
    schedule : ConstantRate, StepRate, ExponentialRate, CosineRate or None
        The rate of each step, in place of `learning_rate_init`.
    standardize : {False, "inputs"}
        Bring the inputs' columns to mean 0 and deviation 1, by the data of the first call.
    backend, arithmetic : str or None
        What computes, and how products join their sums; see `fcbackends.get_backend`.
    class_weight : dict, "balanced" or None
        What the samples of each class count, beside their own weights.

    Attributes
    ----------
    classes_ : array
        The classes, in order.
    coefs_, intercepts_ : list of array
        The weights (inputs, outputs) and biases of each layer: copies.
    loss_, best_loss_, loss_curve_ : float, float, list of float
        The last and the smallest loss of an epoch, and all: means of its batches before their
        steps. With early stopping `best_loss_` is None.
    validation_scores_, best_validation_score_ : list of float, float
        The scores of the validation data after each epoch, and the best; None without.
    n_iter_, t_ : int
        The epochs of the last fit, and the samples that were trained on since the first.
    n_layers_, n_outputs_, n_features_in_ : int
        Sizes, inputs and outputs counted among the layers.
    digest_ : str
        `fcbackends.digest` of the parameters: the same for the same bits.
    steps_ : int
        The steps that led to them.
    stop_reason_ : {"max_iter", "n_iter_no_change", "tol", "max_fun", "interrupted"}
        Why the last fit ended.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        In `fit` and `partial_fit`, where a setting is not of the form above.
    DivergenceError
        There, where the loss or a parameter is not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fcbackends.sklearn import FCClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> network = FCClassifier(standardize="inputs", learning_rate_init=0.01, random_state=0)
    >>> network.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    True
    """

    _is_numeric = False
    _standardized = ("inputs",)

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
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            schedule=schedule,
            standardize=standardize,
            backend=backend,
            arithmetic=arithmetic,
        )
        self.class_weight = class_weight

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> FCClassifier:
        """Take one epoch on X and y, in their order, from where the last call of a fit ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like, optional
            All classes that will ever come; needed in the first call, unless `fit` came before it.

        Returns
        -------
        self
        """
        if not hasattr(self, "classes_") and classes is None:
            raise ArgumentError("classes", "be given in the first call of partial_fit", "None")
        self._go_on(X, y, sample_weight, classes)
        return self

    def predict(self, X: Any) -> Any:
        """The likeliest classes (N,), or for each of several labels 1 or 0 (N, M)."""
        x = self._inputs_of(X, "predict")
        labels = self._classes_of(self._raw(x))
        # Texts are NumPy's alone.
        return as_library_of(x, labels) if labels.dtype.kind in "iufb" else labels

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, in the order of `classes_`, or of each label."""
        return self._probabilities(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithms of `predict_proba`, with the same bits in every library."""
        p = self._probabilities(X, "predict_log_proba")
        with np.errstate(divide="ignore"):
            return elementary.log(namespace_of(p), p)

    def _probabilities(self, X: Any, method: str) -> Any:
        p = self._raw(self._inputs_of(X, method), proba=True)
        return namespace_of(p).concat([1 - p, p], axis=1) if self._is_binary else p

    @property
    def _is_binary(self) -> bool:
        return self._loss == "binary_cross_entropy" and not self._is_multilabel

    def _classes_of(self, y: Any) -> NDArray[Any]:
        y = as_numpy(y)
        if self._loss == "cross_entropy":
            return self.classes_[y.argmax(axis=1)]
        yes = (y > 0).astype(np.intp)
        return yes if self._is_multilabel else self.classes_[yes[:, 0]]

    def _targets(self, y: Any, which: str, classes: Any = None) -> NDArray[Any]:
        check_classification_targets(y)
        is_multilabel = type_of_target(y).startswith("multilabel")
        if y.ndim == 2 and not is_multilabel:
            raise ArgumentError("y", "be of one target, or labels of 0 and 1", f"{y.shape}")
        known = getattr(self, "classes_", None)
        seen = np.arange(y.shape[1]) if is_multilabel else unique_labels(y)
        if known is None or which == "anew":
            self.classes_ = seen if classes is None or is_multilabel else unique_labels(classes)
            self._is_multilabel = is_multilabel
            two = len(self.classes_) <= 2
            self._loss = "binary_cross_entropy" if two or is_multilabel else "cross_entropy"
            self._places = {label: i for i, label in enumerate(self.classes_.tolist())}
        strange = np.setdiff1d(seen, self.classes_)
        missing = np.setdiff1d(self.classes_, seen) if which == "all" else strange
        if len(strange) or len(missing):
            required = f"have {'all' if which == 'all' else 'none but the'} classes of before"
            raise ArgumentError(
                "y", required, f"{list(seen)} where there were {list(self.classes_)}"
            )
        if is_multilabel:
            return np.asarray(y, np.float64)
        places = np.searchsorted(self.classes_, y)
        return places if self._loss == "cross_entropy" else places[:, None].astype(np.float64)

    def _plain_targets(self, y: NDArray[Any], is_one: bool) -> Any:
        if y.dtype != self.classes_.dtype or self._is_multilabel or self.class_weight is not None:
            return None
        # A look in a dictionary takes 0.1 us, a search with NumPy 6.
        places = [self._places.get(label) for label in y.tolist()]
        if None in places:
            return None
        if self._loss == "cross_entropy":
            return places[0] if is_one else np.asarray(places)
        t = np.asarray(places, self._dtype)
        return t if is_one else t[:, None]

    def _strata(self, y: Any) -> Any:
        return y if y.ndim == 1 else None

    def _outputs_of(self, t: Any) -> int:
        return len(self.classes_) if t.ndim == 1 else int(t.shape[1])

    def _weights(self, x: Any, y: Any, sample_weight: Any) -> NDArray[Any] | None:
        if self.class_weight is not None:
            own = compute_sample_weight(self.class_weight, y)
            sample_weight = own if sample_weight is None else own * as_numpy(sample_weight)
        return super()._weights(x, y, sample_weight)

    def _score(self, trainer: Trainer, x: Any, y: Any) -> float:
        return float(accuracy_score(y, self._classes_of(self._raw(x, trainer))))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
