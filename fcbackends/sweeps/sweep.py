"""What many networks end with, and one digest of them all."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from fcbackends import agreement
from fcbackends.training.results import TrainResult


class Sweep(tuple[TrainResult, ...]):
    """The results of `train_many`, in the order of its networks: a tuple, and a digest of all.

    Examples
    --------
    >>> import numpy as np
    >>> import fcbackends as fcb
    >>> x = np.arange(20.0).reshape(10, 2) % 7
    >>> sweep = fcb.train_many(x, x.sum(1), seed=[0, 1], lr=0.01, max_steps=100)
    >>> len(sweep), sweep.digests[1] == fcb.digest(sweep[1].params), sweep.digest[:8]
    (2, True, 'b2e45cae')
    """

    _digests: tuple[str, ...] | None = None

    @classmethod
    def of(cls, results: Iterable[TrainResult], digests: Iterable[str] | None = None) -> Sweep:
        """Results, whose digests may be known."""
        made = cls(results)
        made._digests = None if digests is None else tuple(digests)
        return made

    @functools.cached_property
    def digests(self) -> tuple[str, ...]:
        """The digest of each network's parameters."""
        if self._digests is not None:
            return self._digests
        return tuple(agreement.digest(result.params) for result in self)

    @functools.cached_property
    def digest(self) -> str:
        """The digest of digests: SHA-256 of them, as ASCII text one after another in order.

        It is the same for any number of workers, and for any order in which they were done.
        """
        return digest_of(self.digests)


def digest_of(digests: Iterable[str]) -> str:
    """SHA-256 of digests, as ASCII text one after another."""
    import hashlib

    return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()
