"""How far outputs are from targets, and the exact gradients of that."""

from __future__ import annotations

from typing import Any

from fcbackends.backends.backend import Backend
from fcbackends.backends.registry import backend_for
from fcbackends.checks import data as checks
from fcbackends.checks import options, targets
from fcbackends.maths.losses import LOSSES, LossAndGradient


def mean_squared_loss(
    y: Any,
    t: Any,
    *,
    sample_weight: Any = None,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
) -> LossAndGradient:
    """The mean over the samples of the squared distance to the target, and its exact gradient.

    With d = y - t: loss = (sum_n (sum_m d * d)) * (1 / N), dy = d * (2 / N). The constants are
    computed in float64 and rounded once to the arrays' dtype.

    Parameters
    ----------
    y : array (N, M) or (M,)
        Outputs.
    t : array (N, M) or (M,)
        Targets.
    sample_weight : array (N,), optional
        What each sample's loss and gradient are multiplied by: finite, >= 0, not all of it 0.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.

    Returns
    -------
    LossAndGradient
        loss (0-d), dy of the shape of y.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `fc_forward`, where there are no samples.

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
    how = backend, arithmetic, rows_per_block
    return _loss_and_gradient("mean_squared", y, t, sample_weight, *how)


def huber_loss(
    y: Any,
    t: Any,
    *,
    sample_weight: Any = None,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
) -> LossAndGradient:
    """Huber's loss, (sum_n (sum_m h[n, m])) * (1 / N), and its exact gradient.

    With d = y - t, h is (d * d) / 2 where abs(d) <= 1 and else abs(d) - 1/2, and dy is
    d * (1 / N), of a d that is taken for -1 or 1 beyond these (Huber, "Robust estimation of a
    location parameter", 1964). Sums run over ascending indices, m first.

    Parameters
    ----------
    y : array (N, M) or (M,)
        Outputs.
    t : array (N, M) or (M,)
        Targets.
    sample_weight : array (N,), optional
        What each sample's loss and gradient are multiplied by: finite, >= 0, not all of it 0.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.

    Returns
    -------
    LossAndGradient
        loss (0-d), dy of the shape of y.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `fc_forward`, where there are no samples.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> loss, dy = fcb.huber_loss([[0.5], [3.0]], [[0.0], [0.0]])
    >>> float(loss)
    1.3125
    >>> dy
    array([[0.25],
           [0.5 ]])
    """
    how = backend, arithmetic, rows_per_block
    return _loss_and_gradient("huber", y, t, sample_weight, *how)


def cross_entropy_loss(
    y: Any,
    t: Any,
    *,
    sample_weight: Any = None,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
) -> LossAndGradient:
    """The softmax cross-entropy, (sum_n l[n]) * (1 / N), and its exact gradient.

    With z[n, m] = y[n, m] - max_m y[n, m], e = exp(z) and S[n] = sum_m e[n, m],
    l[n] = log(S[n]) - (sum_m t[n, m] * z[n, m]), whose terms are 0 where t is, and
    dy = (e * (1 / S) - t) * (1 / N). Sums run over ascending indices. No finite y overflows.

    Parameters
    ----------
    y : array (N, M) or (M,)
        Logits: raw outputs, one a class.
    t : integers (N,) or an integer, or array (N, M) or (M,)
        The indices of the classes, from 0; or probabilities, whose rows sum to 1.
    sample_weight : array (N,), optional
        What each sample's loss and gradient are multiplied by: finite, >= 0, not all of it 0.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.

    Returns
    -------
    LossAndGradient
        loss (0-d), dy of the shape of y.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `fc_forward`, where there are no samples, and where t names
        no class or is no probability.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> loss, dy = fcb.cross_entropy_loss([[2.0, 0.0], [0.0, 0.0]], [0, 1])
    >>> round(float(loss), 6)
    0.410038
    >>> dy.round(4)
    array([[-0.0596,  0.0596],
           [ 0.25  , -0.25  ]])
    """
    how = backend, arithmetic, rows_per_block
    return _loss_and_gradient("cross_entropy", y, t, sample_weight, *how)


def binary_cross_entropy_loss(
    y: Any,
    t: Any,
    *,
    sample_weight: Any = None,
    backend: str | Backend | None = None,
    arithmetic: str | None = None,
    rows_per_block: int | None = None,
) -> LossAndGradient:
    """The cross-entropy of yes and no, (sum_n (sum_m l[n, m])) * (1 / N), and its exact gradient.

    l = (max(y, 0) - t * y) + log(1 + exp(-abs(y))), and dy = (1 / (1 + exp(-y)) - t) * (1 / N).
    Sums run over ascending indices, m first.

    Parameters
    ----------
    y : array (N, M) or (M,)
        Logits: raw outputs, each for a question of its own.
    t : array (N, M) or (M,)
        0 for no and 1 for yes, or a probability of yes.
    sample_weight : array (N,), optional
        What each sample's loss and gradient are multiplied by: finite, >= 0, not all of it 0.
    backend : str, Backend or None
        What computes; see `get_backend`.
    arithmetic : str or None
        How products join their sums; see `get_backend`.
    rows_per_block : int, optional
        Sums over samples go by blocks of so many, whose sums are joined in pairs, as the contract
        has it; by default all samples are one block.

    Returns
    -------
    LossAndGradient
        loss (0-d), dy of the shape of y.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `fc_forward`, where there are no samples, and where t is
        not from 0 to 1.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> loss, dy = fcb.binary_cross_entropy_loss([[0.0], [2.0]], [[0], [1]])
    >>> round(float(loss), 6)
    0.410038
    >>> dy.round(4)
    array([[ 0.25  ],
           [-0.0596]])
    """
    how = backend, arithmetic, rows_per_block
    return _loss_and_gradient("binary_cross_entropy", y, t, sample_weight, *how)


def _loss_and_gradient(
    loss: str,
    y: Any,
    t: Any,
    sample_weight: Any,
    backend: str | Backend | None,
    arithmetic: str | None,
    rows_per_block: int | None,
) -> LossAndGradient:
    chosen = backend_for(backend, arithmetic, y=y, t=t)
    if rows_per_block is not None:
        chosen = options.in_blocks(chosen, rows_per_block)
    if LOSSES[loss].probabilities:
        (y,) = checks.together(chosen, y=y)
        single = checks.is_one_sample("y", y)
        t = targets.of_samples(chosen, t, loss, y.shape[-1], single=single)
    y, t = checks.together(chosen, y=y, t=t)
    single = checks.is_one_sample("y", y)
    checks.same_shape("y", y, "t", t)
    checks.at_least_one_sample("y", y)
    y, t = checks.as_batch(y), checks.as_batch(t)
    targets.suit(t, loss)
    if sample_weight is not None:
        t = targets.weighted(chosen, t, sample_weight)
    if loss == "mean_squared" and sample_weight is None:
        value, dy = chosen.mean_squared_loss(y, t)
    else:
        value, dy = chosen.loss_and_gradient(y, t, loss, sample_weight is not None)
    return LossAndGradient(value, dy[0, ...] if single else dy)
