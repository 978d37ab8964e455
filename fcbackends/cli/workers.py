"""Where the networks of a sweep are trained: here, in processes of this machine, or by Dask."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sys
from collections.abc import Iterator
from typing import Any

from fcbackends.errors import ArgumentError, printable, shown
from fcbackends.executors.processes import Processes

_SECONDS_TO_ANSWER = 10


@contextlib.contextmanager
def executor_of(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """An executor as `train_many` takes it, or None for this process.

    Raises
    ------
    ArgumentError
        Where no scheduler of Dask's answers at that address within ten seconds.
    """
    if scheduler is not None and workers is not None:
        got = f"{scheduler!r} and {workers}"
        raise ArgumentError(("--scheduler", "--workers"), "not come together", got)
    if scheduler is None:
        yield None if workers is None else functools.partial(Processes, workers)
        return
    # Imported here: no other command needs it.
    from distributed import Client

    # What it has to say of connections is said here, or by the errors of tasks.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    _look_for(scheduler)
    with Client(scheduler, timeout=_SECONDS_TO_ANSWER, set_as_default=False) as client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            text = f"the scheduler {scheduler} has no workers yet, and is waited for"
            print("fcbackends:", printable(text), file=sys.stderr, flush=True)
        yield client.get_executor()


def _look_for(scheduler: str) -> None:
    """Refuse an address where nobody answers: a client that found none tells of it at its end."""
    from distributed.comm import connect

    async def look() -> None:
        comm = await connect(scheduler, timeout=_SECONDS_TO_ANSWER)
        await comm.close()

    try:
        asyncio.run(asyncio.wait_for(look(), _SECONDS_TO_ANSWER))
    except Exception as error:
        required = (
            "be the address of a scheduler of Dask's, such as tcp://host:8786, that answers within "
            f"{_SECONDS_TO_ANSWER} s"
        )
        got = f"{shown(scheduler)}: {type(error).__name__}"
        raise ArgumentError("--scheduler", required, got) from None
