"""How far a network's output is from its target, and the exact gradient of that."""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from fcbackends.maths.arithmetic import Arithmetic, Array


class LossAndGradient(NamedTuple):
    """A loss (0-d) and its gradient with respect to y."""

    loss: Array
    dy: Array


Loss: TypeAlias = Callable[[Arithmetic, Array, Array], LossAndGradient]
"""(arithmetic, y, t) -> the loss of a batch, and its gradient."""


def mean_squared(arithmetic: Arithmetic, y: Array, t: Array) -> LossAndGradient:
    """(sum_n (sum_m d * d)) * (1 / N), and dy = d * (2 / N), with d = y - t."""
    samples = y.shape[0]
    d = y - t
    per_sample = arithmetic.sum_first((d * d).T)
    total = arithmetic.sum_first(per_sample)
    loss = total * rounded(arithmetic.xp, 1 / samples, y.dtype)
    return LossAndGradient(loss, d * rounded(arithmetic.xp, 2 / samples, y.dtype))


LOSSES: dict[str, Loss] = {"mean_squared": mean_squared}
"""By name."""


@functools.lru_cache(maxsize=1024)
def rounded(xp: Any, value: float, dtype: Any) -> float:
    """A constant of the host's, rounded to `dtype`: no library can then round it once more.

    Rounded without an array, since a traced or a lazy one has no value yet.
    """
    form = "f" if xp.finfo(dtype).bits == 32 else "d"
    try:
        return float(struct.unpack(form, struct.pack(form, value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
