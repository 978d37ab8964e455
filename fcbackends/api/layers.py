"""One layer: its passes, and ReLU."""

from __future__ import annotations

from typing import Any

from fcbackends import arrays
from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import backend_for, library_backend
from fcbackends.checks import data as checks
from fcbackends.checks import options
from fcbackends.maths import activations
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.layers import FCGradients


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
    y = chosen.fc_forward(checks.as_batch(x), w, b)
    return y[0, ...] if single else y


def fc_backward(
    dy: Any,
    x: Any,
    w: Any,
    *,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
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
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.

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
    if rows_per_block is not None:
        chosen = options.in_blocks(chosen, rows_per_block)
    dy, x, w = checks.together(chosen, dy=dy, x=x, w=w)
    single = checks.is_one_sample("x", x)
    checks.weights(w, rows=x.shape[-1])
    checks.is_one_sample("dy", dy, columns=w.shape[1])
    checks.same_samples("dy", dy, "x", x)
    dw, db, dx = chosen.fc_backward(checks.as_batch(dy), checks.as_batch(x), w)
    return FCGradients(dw, db, dx[0, ...] if single else dx)


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
