"""Networks trained by an executor's workers: handed out, taken in, audited."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from fcbackends.executors.dispatch import Dispatcher, Lost, Task
from fcbackends.executors.reply import Where, where
from fcbackends.sweeps import worker
from fcbackends.sweeps.audit import Audit
from fcbackends.sweeps.finding import Finding
from fcbackends.sweeps.networks import Data, How, Network, products_of
from fcbackends.sweeps.packs import UNFINISHED, Ended, packed, unpacked
from fcbackends.sweeps.settings import Settings
from fcbackends.training.interruption import Ending

Taken = Callable[[bytes, Where, Sequence[Ended]], object]
"""Given each pack of results as it comes: as bytes, from where, and read."""


def train_elsewhere(
    executor: Any,
    networks: Sequence[Network],
    settings: Settings,
    carried: Data,
    key: str,
    how: How,
    numbers: Sequence[int],
    audited: Collection[int],
    before: Iterable[tuple[Where, Ended]],
    ending: Ending,
    deadline: float | None,
    taken: Taken,
    note: Callable[[str, Sequence[int]], object],
) -> tuple[dict[int, str], list[Finding]]:
    """Have networks of these numbers trained; why some failed, and what the audit found.

    `before` are networks that were trained before and are to be audited; `note` is told of those
    that were "audited", and of those whose results are "doubted".
    """

    def job(task: Task, with_data: bool) -> worker.Job:
        return worker.Job(
            key,
            carried if with_data else None,
            how,
            settings.shared,
            [settings.own[number] for number in task.numbers],
            task.numbers,
            [number for number in task.numbers if number in audited],
            None if deadline is None else deadline - time.perf_counter(),
            task.not_on,
            task.only_on,
            task.within,
        )

    def again(number: int, within: tuple[int, int] | None) -> Ended:
        (ended,) = worker.trained([networks[number]], [number], {number}, within=within)
        return ended

    def give_up(lost: Lost) -> None:
        if lost.task.purpose == "audit":
            audit.alone(lost.task)
            note("audited", lost.task.numbers)
        elif lost.task.purpose == "narrow":
            audit.not_narrowed(lost.task)
        elif lost.task.not_on:
            # There is no worker but the one that is not trusted.
            ended = [again(number, None) for number in lost.task.numbers]
            here = where()
            taken(packed(ended, here, networks[0].problem.dtype), here, ended)
        else:
            (number,) = lost.task.numbers
            failures[number] = f"{settings.told(number)}: {lost.reason}"

    failures: dict[int, str] = {}
    dispatcher = Dispatcher(
        executor, worker.work, job, lambda number: products_of(networks[number])
    )
    doubt = functools.partial(note, "doubted")
    audit = Audit(dispatcher, frozenset(audited), again, settings.told, doubt)
    for by, ended in before:
        audit.first(by, [ended])
    dispatcher.pack(numbers)
    try:
        while (came := dispatcher.next(ending)) is not None:
            if isinstance(came, Lost):
                give_up(came)
                continue
            task, reply = came
            by, pack = unpacked(reply.content, networks)
            if task.purpose == "audit":
                audit.second(by, pack)
                note("audited", task.numbers)
            elif task.purpose == "narrow":
                assert task.within is not None
                audit.narrowed(by, task.within, pack[0])
            else:
                taken(reply.content, by, pack)
                audit.first(by, [e for e in pack if e.result.stop_reason not in UNFINISHED])
    finally:
        dispatcher.close()
    return failures, audit.findings
