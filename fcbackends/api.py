"""The public functions of one layer and one step: checks, then the chosen backend.

N samples, K inputs, M outputs. Arrays are float32 or float64, all of one dtype; integers are cast
to it, once. One sample may be given without the axis of samples: results then lack it too. The
formulas, the order of their sums and their roundings are the contract's, as `fcbackends.maths`
writes them down; what is said of matrix products' sums is of `arithmetic` "ordered", and the same
of "fused" but for one rounding where that has two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import backend_for, library_backend
from fcbackends.checks import data as checks
from fcbackends.checks import options
from fcbackends.maths import activations
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.layers import FCGradients
from fcbackends.maths.losses import LossAndGradient
from fcbackends.maths.network import Method, StepResult


def fc_forward(
    x: Any,
    w: Any,
    b: Any,
    *,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
) -> Array:
    """The output of a fully connected layer, y[n, m] = (sum_k x[n, k] * w[k, m]) + b[m].

    The sum runs over ascending k and starts with its first term; the bias is added last.

    Parameters
    ----------
    x : array (N, K) or (K,)
        Inputs.
    w : array (K, M)
        Weights.
    b : array (M,)
        Bias.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.

    Returns
    -------
    array (N, M) or (M,)

    Raises
    ------
    ArgumentError
        Where shapes do not fit, or there is no such backend.
    ArgumentTypeError
        For other dtypes, for two floating dtypes, and for arrays of another library.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.fc_forward([1, 2], [[3, 7, 4], [5, 2, 6]], [2, 9, 3])
    array([15., 20., 19.])
    """
    chosen = backend_for(backend, arithmetic, x=x, w=w, b=b)
    x, w, b = checks.together(chosen, x=x, w=w, b=b)
    single = checks.is_one_sample("x", x)
    checks.weights(w, rows=x.shape[-1])
    checks.bias(b, outputs=w.shape[1])
    y = chosen.fc_forward(_batch(x), w, b)
    return y[0, ...] if single else y


def fc_backward(
    dy: Any,
    x: Any,
    w: Any,
    *,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
) -> FCGradients:
    """The gradients of a fully connected layer, from the gradient of its output.

    dw[k, m] = sum_n x[n, k] * dy[n, m], db[m] = sum_n dy[n, m] and dx[n, k] = sum_m dy[n, m] *
    w[k, m], each sum over the ascending index, starting with its first term. dx is the dy of the
    layer before.

    Parameters
    ----------
    dy : array (N, M) or (M,)
        Gradient of the loss with respect to the layer's output.
    x : array (N, K) or (K,)
        The layer's input.
    w : array (K, M)
        The layer's weights.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.

    Returns
    -------
    FCGradients
        dw (K, M), db (M,), dx of the shape of x.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `fc_forward`.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.fc_backward([1.0, 2.0], [3.0], [[4.0, 5.0]])
    FCGradients(dw=array([[3., 6.]]), db=array([1., 2.]), dx=array([14.]))
    """
    chosen = backend_for(backend, arithmetic, dy=dy, x=x, w=w)
    dy, x, w = checks.together(chosen, dy=dy, x=x, w=w)
    single = checks.is_one_sample("x", x)
    checks.weights(w, rows=x.shape[-1])
    checks.is_one_sample("dy", dy, columns=w.shape[1])
    checks.same_samples("dy", dy, "x", x)
    dw, db, dx = chosen.fc_backward(_batch(dy), _batch(x), w)
    return FCGradients(dw, db, dx[0, ...] if single else dx)


def mean_squared_loss(
    y: Any,
    t: Any,
    *,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
) -> LossAndGradient:
    """The mean over the samples of the squared distance to the target, and its exact gradient.

    With d = y - t: loss = (sum_n (sum_m d * d)) * (1 / N), dy = d * (2 / N). The constants are
    computed in float64 and rounded once to the arrays' dtype.

    Parameters
    ----------
    y, t : array (N, M) or (M,)
        Outputs and targets.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.

    Returns
    -------
    LossAndGradient
        loss (0-d), dy of the shape of y.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `fc_forward`, and where there are no samples.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> loss, dy = fcb.mean_squared_loss([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [3.0, 6.0]])
    >>> float(loss)
    2.5
    >>> dy
    array([[ 0.,  1.],
           [ 0., -2.]])
    """
    chosen = backend_for(backend, arithmetic, y=y, t=t)
    y, t = checks.together(chosen, y=y, t=t)
    single = checks.is_one_sample("y", y)
    checks.same_shape("y", y, "t", t)
    checks.at_least_one_sample("y", y)
    loss, dy = chosen.mean_squared_loss(_batch(y), _batch(t))
    return LossAndGradient(loss, dy[0, ...] if single else dy)


def relu(a: Any) -> Array:
    """0 where a < 0, else a, element by element: NaN and -0.0 stay.

    Parameters
    ----------
    a : array
        Of any shape, float32 or float64.

    Returns
    -------
    array
        Of the shape and dtype of a, in its library.

    Raises
    ------
    ArgumentTypeError
        For other dtypes.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.relu([-1.5, 0.0, 2.5])
    array([0. , 0. , 2.5])
    """
    (a,) = checks.together(library_backend(a=a), a=a)
    return activations.relu(arrays.namespace_of(a), a)


def relu_backward(dy: Any, a: Any) -> Array:
    """The gradient of `relu`: dy where a > 0, else +0.0.

    Parameters
    ----------
    dy : array
        Gradient with respect to relu(a).
    a : array
        What went into relu; its output serves as well.

    Returns
    -------
    array
        Of the shape and dtype of dy, in its library.

    Raises
    ------
    ArgumentError
        Where the shapes differ.
    ArgumentTypeError
        For other dtypes, for two of them, and for arrays of two libraries.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> fcb.relu_backward([1.0, 1.0, 1.0], [-1.5, 0.0, 2.5])
    array([0., 0., 1.])
    """
    dy, a = checks.together(library_backend(dy=dy, a=a), dy=dy, a=a)
    checks.same_shape("dy", dy, "a", a)
    return activations.relu_backward(arrays.namespace_of(a), dy, a)


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
    y = chosen.predict(network, _batch(x), options.activation(activation, len(network) - 1))
    return y[0, ...] if single else y


def sgd_step(
    params: Any,
    x: Any,
    t: Any,
    lr: float,
    *,
    activation: str | Sequence[str] = "relu",
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
) -> StepResult:
    """One step of stochastic gradient descent on the mean squared loss of a batch.

    w - lr * dw and b - lr * db for each layer, every gradient from the old parameters; lr is
    rounded once to the arrays' dtype.

    Parameters
    ----------
    params : sequence of (w, b)
        One pair a layer: w (inputs, outputs), b (outputs,). They are not changed.
    x : array (N, K) or (K,)
        Inputs of the batch.
    t : array (N, M) or (M,)
        Targets of the batch.
    lr : float
        Learning rate: finite and > 0.
    activation : str or sequence of str
        As for `predict`.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.

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
    are_numpys = checks.fit_as_they_are(params, x, t)
    named = {} if are_numpys else checks.leaves(params)
    chosen = backend_for(backend, arithmetic, **named, x=x, t=t)
    network = params
    if not are_numpys or not chosen.owns(x):
        network = checks.params(chosen, params, beside={"x": x, "t": t})
        x, t = checks.for_network(chosen, network[0][0], x=x, t=t)
        checks.fits((network[0][0].shape[0], network[-1][0].shape[1]), x, t)
        checks.same_samples("x", x, "t", t)
        checks.at_least_one_sample("x", x)
    rate = options.learning_rate(lr, arrays.dtype_of(x))
    activation = options.activation(activation, len(network) - 1)
    return chosen.sgd_step(network, _batch(x), _batch(t), Method(rate, activation=activation))


def _batch(array: Array) -> Array:
    return array[None, :] if array.ndim == 1 else array
