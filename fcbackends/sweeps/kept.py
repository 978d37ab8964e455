"""What is there of many networks' results: in memory, and in a file where one is wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fcbackends import agreement, files
from fcbackends.executors.reply import Where, where
from fcbackends.sweeps.networks import Network
from fcbackends.sweeps.packs import UNFINISHED, Ended, packed, unpacked
from fcbackends.sweeps.results_file import ResultsFile
from fcbackends.training.results import TrainResult


class Kept:
    """The results of so many networks, each counted once.

    Parameters
    ----------
    networks : sequence of Network
        All networks.
    path : str or None
        A file of results: what it holds already counts, what comes is added.
    asked : callable
        () -> what the call asks for, to hold against the file.

    Raises
    ------
    ArgumentError
        Where the file cannot be one, is damaged, or of another call.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        path: str | None,
        asked: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._networks = networks
        self._ended: dict[int, TrainResult] = {}
        self._digests: dict[int, str] = {}
        self._traced: dict[int, tuple[Where, Ended]] = {}
        self._file: ResultsFile | None = None
        if path is not None:
            self._file = ResultsFile(files.writable(path, "results", ()), asked())
            with files.understood(path, "results", "be a file of results"):
                for frame in self._file.frames:
                    self._read(frame)
            self._file.frames.clear()

    def _read(self, frame: bytes) -> None:
        if frame[:1] != b"{":
            where, pack = unpacked(frame, self._networks)
            self._take(where, pack)
            return
        for kind, numbers in json.loads(frame).items():
            self._forget(kind, numbers)

    def missing(self) -> list[int]:
        """The networks that are not trained yet."""
        return [
            number
            for number in range(len(self._networks))
            if number not in self._ended or self._ended[number].stop_reason in UNFINISHED
        ]

    def to_audit(self) -> Iterator[tuple[Where, Ended]]:
        """Networks that are trained, whose audit a call before this one did not come to."""
        return iter(self._traced.values())

    def take(self, where: Where, pack: Sequence[Ended], content: bytes) -> int:
        """Take a pack in, and say how many networks are new that need no more training."""
        if self._file and any(each.result.stop_reason not in UNFINISHED for each in pack):
            self._file.add(content)
        return self._take(where, pack)

    def take_here(self, number: int, result: TrainResult) -> int:
        """Take in what a network ended with in this process."""
        if self._file is None:
            self._ended[number] = result
            return 1
        here, ended = where(), Ended(number, result, agreement.digest(result.params), ())
        return self.take(here, [ended], packed([ended], here, self._networks[0].problem.dtype))

    def _take(self, where: Where, pack: Sequence[Ended]) -> int:
        new = 0
        for ended in pack:
            finished = ended.result.stop_reason not in UNFINISHED
            before = self._ended.get(ended.number)
            new += finished and (before is None or before.stop_reason in UNFINISHED)
            self._ended[ended.number] = ended.result
            self._digests[ended.number] = ended.digest
            if finished and ended.trace:
                self._traced[ended.number] = where, ended
        return new

    def note(self, kind: str, numbers: Sequence[int]) -> None:
        """Take note that networks were "audited", or that their results are "doubted"."""
        if self._file:
            self._file.add(json.dumps({kind: list(numbers)}).encode())
        self._forget(kind, numbers)

    def _forget(self, kind: str, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._traced.pop(number, None)
            if kind == "doubted":
                self._ended.pop(number, None)

    def results(self, otherwise: Callable[[int], TrainResult | None]) -> tuple[Any, ...]:
        """All results in order; of networks that have none, what else there is."""
        return tuple(
            self._ended[number] if number in self._ended else otherwise(number)
            for number in range(len(self._networks))
        )

    def digests(self) -> list[str] | None:
        """The digests of all networks in order, where they are known."""
        if len(self._digests) < len(self._networks):
            return None
        return [self._digests[number] for number in range(len(self._networks))]

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
