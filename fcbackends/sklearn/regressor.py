"""The regressor."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from fcbackends.arrays import as_numpy
from fcbackends.checks import options
from fcbackends.sklearn.network import Network
from fcbackends.training.trainer import Trainer

_LOSSES = {"squared_error": "mean_squared", "huber": "huber"}


class FCRegressor(RegressorMixin, Network):
    """A fully connected network that takes the place of scikit-learn's `MLPRegressor`.

    All settings but `schedule`, `standardize`, `backend` and `arithmetic` are those of
    scikit-learn, whose formulas its steps follow. The first parameters, of the same distribution,
    and the permutations are fcbackends' own, and the same on every machine and backend.

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
    standardize : {False, "inputs", "both"}
        Bring the inputs' columns, or the targets' as well, to mean 0 and deviation 1, by the data
        of the first call.
    backend, arithmetic : str or None
        What computes, and how products join their sums; see `fcbackends.get_backend`.
    loss : {"squared_error", "huber"}
        What is made small: half of the squares, or their sums with bounded slopes.

    Attributes
    ----------
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
    >>> from sklearn.datasets import load_diabetes
    >>> from fcbackends.sklearn import FCRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> network = FCRegressor((16,), standardize="both", learning_rate_init=0.01, random_state=0)
    >>> network = network.set_params(early_stopping=True)
    >>> network.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.3
    True
    """

    _is_numeric = True

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
        loss: str = "squared_error",
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
        self.loss = loss

    def _check_settings(self) -> None:
        super()._check_settings()
        options.choice("loss", self.loss, _LOSSES)

    @property
    def _loss(self) -> str:  # type: ignore[override]
        return _LOSSES[self.loss]

    def predict(self, X: Any) -> NDArray[Any]:
        """The targets of X, (N,) or (N, M), as y was."""
        y = self._raw(self._inputs_of(X, "predict"))
        return y[:, 0] if self._is_flat else y

    def _targets(self, y: Any, which: str, classes: Any = None) -> NDArray[Any]:
        self._is_flat = y.ndim == 1
        return y[:, None] if y.ndim == 1 else y

    def _plain_targets(self, y: NDArray[Any], is_one: bool) -> NDArray[Any] | None:
        if not self._is_flat or y.dtype != self._dtype:
            return None
        return y if is_one else y[:, None]

    def _outputs_of(self, t: Any) -> int:
        return int(t.shape[1])

    def _score(self, trainer: Trainer, x: Any, y: Any) -> float:
        t = y[:, None] if y.ndim == 1 else y
        return float(r2_score(t, as_numpy(self._raw(x, trainer))))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
