"""A whole network: its output, what that stands for, and one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import backend_for
from fcbackends.checks import data as checks
from fcbackends.checks import options, targets
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.losses import LOSSES
from fcbackends.maths.network import Method, StepResult


def predict(
    params: Any,
    x: Any,
    *,
    activation: str | Sequence[str] = "relu",
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
) -> Array:
    """A network's output: its layers in turn, activations between them and none after the last.

    Parameters
    ----------
    params : sequence of (w, b)
        One pair a layer: w (inputs, outputs), b (outputs,).
    x : array (N, K) or (K,)
        Inputs.
    activation : str or sequence of str
        What goes between the layers: "relu", "leaky_relu" (slope 0.01), "tanh", "sigmoid" or
        "identity"; of a sequence, each hidden layer has its own.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.

    Returns
    -------
    array (N, M) or (M,)

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `fc_forward`, where `params` is no network, and for another activation.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> params = (([[1.0, -1.0]], [0.0, 0.0]), ([[1.0], [1.0]], [0.0]))
    >>> fcb.predict(params, [[-2.0], [3.0]])  # |x|
    array([[2.],
           [3.]])
    >>> fcb.predict(params, [[-2.0], [3.0]], activation="leaky_relu")
    array([[1.98],
           [2.97]])
    """
    chosen = backend_for(backend, arithmetic, **checks.leaves(params), x=x)
    network = checks.params(chosen, params, beside={"x": x})
    (x,) = checks.for_network(chosen, network[0][0], x=x)
    single = checks.is_one_sample("x", x, columns=network[0][0].shape[0])
    activation = options.activation(activation, len(network) - 1)
    y = chosen.predict(network, checks.as_batch(x), activation)
    return y[0, ...] if single else y


def predict_proba(
    params: Any,
    x: Any,
    *,
    activation: str | Sequence[str] = "relu",
    loss: str = "cross_entropy",
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
) -> Array:
    """The probabilities that a network's output stands for, where its loss makes it so.

    With "cross_entropy" those of the classes, exp(z) * (1 / sum_m exp(z)) with z = y - max_m y;
    with "binary_cross_entropy" that of yes for each output by itself, 1 / (1 + exp(-y)).

    Parameters
    ----------
    params, x, activation
        As for `predict`, which gives y.
    loss : {"cross_entropy", "binary_cross_entropy"}
        What the network was trained on.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.

    Returns
    -------
    array (N, M) or (M,)

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `predict`, and for another loss.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> params = (([[1.0, -1.0]], [0.0, 0.0]),)
    >>> fcb.predict_proba(params, [[0.0], [1.0]]).round(4)
    array([[0.5   , 0.5   ],
           [0.8808, 0.1192]])
    """
    loss = options.choice("loss", loss, [name for name in LOSSES if LOSSES[name].probabilities])
    chosen = backend_for(backend, arithmetic, **checks.leaves(params), x=x)
    y = predict(params, x, activation=activation, backend=chosen)
    p = chosen.probabilities(checks.as_batch(y), loss)
    return p[0, ...] if y.ndim == 1 else p


def sgd_step(
    params: Any,
    x: Any,
    t: Any,
    lr: float,
    *,
    activation: str | Sequence[str] = "relu",
    loss: str = "mean_squared",
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
) -> StepResult:
    """One step of stochastic gradient descent on the loss of a batch.

    w - lr * dw and b - lr * db for each layer, every gradient from the old parameters; lr is
    rounded once to the arrays' dtype.

    Parameters
    ----------
    params : sequence of (w, b)
        One pair a layer: w (inputs, outputs), b (outputs,). They are not changed.
    x : array (N, K) or (K,)
        Inputs of the batch.
    t : array (N, M) or (M,)
        Targets of the batch; of the loss "cross_entropy" integers (N,) or an integer serve as well.
    lr : float
        Learning rate: finite and > 0.
    activation : str or sequence of str
        As for `predict`.
    loss : {"mean_squared", "huber", "cross_entropy", "binary_cross_entropy"}
        As for `train`.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.

    Returns
    -------
    StepResult
        The new params, and the batch's loss (0-d) under the old ones.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `predict`, where there are no samples, and for another lr.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> params, loss = fcb.sgd_step((([[0.0]], [0.0]),), [1.0], [2.0], 0.25)
    >>> params, float(loss)
    (((array([[1.]]), array([1.])),), 4.0)
    """
    loss = options.choice("loss", loss, LOSSES)
    are_numpys = checks.fit_as_they_are(params, x, t)
    named = {} if are_numpys else checks.leaves(params)
    chosen = backend_for(backend, arithmetic, **named, x=x, t=t)
    if rows_per_block is not None:
        chosen = options.in_blocks(chosen, rows_per_block)
    network = params
    if not are_numpys or not chosen.owns(x):
        network = checks.params(chosen, params, beside={"x": x, "t": t})
        outputs = network[-1][0].shape[1]
        x, t = targets.for_network(chosen, network[0][0], x, t, loss, outputs)
        checks.fits((network[0][0].shape[0], outputs), x, t)
        checks.same_samples("x", x, "t", t)
        checks.at_least_one_sample("x", x)
    x, t = checks.as_batch(x), checks.as_batch(t)
    if loss != "mean_squared":
        targets.suit(t, loss)
    rate = options.learning_rate(lr, arrays.dtype_of(x))
    activation = options.activation(activation, len(network) - 1)
    return chosen.sgd_step(network, x, t, Method(rate, activation=activation, loss=loss))
