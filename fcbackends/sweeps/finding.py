"""Which networks are audited, and what an audit finds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A worker whose bits are not those of this process.

    Attributes
    ----------
    network : str
        The network by its number and settings.
    number : int
        Its number.
    host, cpu : str
        The worker's machine, and the kind of its CPU.
    process : int
        The worker's process there.
    steps : (int, int)
        (a, b): the parameters part after step a, at or before step b; (0, 0) where they are
        different from the first on.
    networks : tuple of int
        All whose results came from this worker.
    """

    network: str
    number: int
    host: str
    cpu: str
    process: int
    steps: tuple[int, int]
    networks: tuple[int, ...]

    def __str__(self) -> str:
        """The text: which worker, which network, and from which step on."""
        before, at = self.steps
        step = f"from step {at} on" if at - before <= 1 else f"after step {before}, by step {at}"
        return (
            f"process {self.process} on host {self.host!r} (CPU {self.cpu}) gave {self.network} "
            f"other bits than this process {step}; {len(self.networks)} networks that it had "
            "trained were trained again elsewhere"
        )


def audited(share: float, count: int, key: str) -> frozenset[int]:
    """The networks to audit: so large a share of them, rounded up, by a hash of their numbers."""
    import hashlib

    ranked = sorted(
        range(count), key=lambda number: hashlib.sha256(f"{key}:{number}".encode()).digest()
    )
    return frozenset(ranked[: math.ceil(share * count)])
