"""One network trained on shards of its data, and averaged every few steps.

With V shards and H local steps: all shards begin a round with the same parameters; each takes H
steps on samples of its own; then parameters, and what the optimizer keeps beside them, become the
shards' sum times 1/V. The sum is a binary tree over the shards: of those from `a` on, n in number,
it is the sum of the first h plus the sum of the others, h being the largest power of two below n.
Bits hang on V and H, and not on who computes (Stich, "Local SGD converges fast and communicates
little", 2019; Lin et al., "Don't use large mini-batches, use local SGD", 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcbackends.backends.backend import Backend
from fcbackends.backends.loop import Plan
from fcbackends.backends.registry import portable
from fcbackends.errors import DivergenceError
from fcbackends.maths.arithmetic import joined
from fcbackends.maths.network import Method, Params, State, is_finite
from fcbackends.maths.schedules import rate_at
from fcbackends.training import shard
from fcbackends.training.interruption import Ending
from fcbackends.training.looks import Looks
from fcbackends.training.pacing import Outcome
from fcbackends.training.partitions import Samples
from fcbackends.training.progress import Advance


class Shards(NamedTuple):
    """How a network is trained on shards.

    Attributes
    ----------
    samples : Samples
        All samples.
    total : int
        How many shards there are: shard v has the rows from floor(v N / V) to floor((v+1) N / V).
    local_steps : int
        The steps of a round.
    plan, method : Plan, Method
        How each shard draws, but for the seed, and how it learns.
    dtype : str
        Of all arithmetic.
    backend : Backend
        What computes.
    classes : int or None
        How many classes there are, where targets are classes.
    """

    samples: Samples
    total: int
    local_steps: int
    plan: Plan
    method: Method
    dtype: str
    backend: Backend
    classes: int | None

    def rows(self, number: int) -> tuple[int, int]:
        """A shard's first row, and the one after its last."""
        samples = self.samples.x.shape[0]
        return number * samples // self.total, (number + 1) * samples // self.total

    def part(self, number: int, state: State, first: int, last: int) -> shard.Part:
        """A shard's part of a round; with what it draws, where that is in this process's memory."""
        plan = self.plan._replace(seed=seed_of(self.plan.seed, number))
        samples, rows = self.samples, self.rows(number)
        if samples.are_whole:
            samples = samples.take(shard.drawn(rows, plan, first, last))
        return shard.Part(
            samples,
            None if samples is not self.samples else rows,
            state,
            first,
            last,
            plan,
            self.method,
            self.dtype,
            portable(self.backend),
            self.backend.arithmetic,
            self.backend.rows_per_block,
            self.classes,
        )


def seed_of(seed: int, number: int) -> int:
    """The seed of a shard's draws: the run's own for shard 0, a hash of both for the others."""
    if number == 0:
        return seed
    import hashlib

    made = hashlib.sha256(f"{seed}:shard {number}".encode("ascii")).digest()
    return int.from_bytes(made[:8], "little")


def run_rounds(
    shards: Shards,
    executor: Any,
    state: State,
    max_steps: int,
    *,
    ending: Ending,
    advanced: Advance,
    looks: Looks | None,
    own: Callable[[Params], Params],
) -> Outcome:
    """Train in rounds until `max_steps` steps are taken, or `plan` or the caller stops them.

    A round that has to end before all shards are done was none. `own` brings parameters from
    NumPy's arrays to the backend's.

    Raises
    ------
    DivergenceError
        Where a shard's loss or parameters are not finite: of the first such step, and the first
        shard with it, with the parameters that the round began with.
    RuntimeError
        Where a shard could not be trained, after several attempts.
    """
    plan, steps, loss, why = shards.plan, 0, math.nan, ""
    losses: list[float] = []
    loop = shards.backend.training_loop(own(state.params), shards.method) if looks else None
    rounds = _here(shards) if executor is None else _elsewhere(shards, executor, ending)
    next(rounds)
    while steps < max_steps and not why:
        why = ending() or ""
        if why:
            break
        last = min(steps + shards.local_steps, max_steps)
        made = rounds.send((state, steps, last))
        if made is None:
            why = ending() or "interrupted"
            break
        _check(made, state, shards.method)
        mean = _mean([each.state for each in made])
        if not is_finite(np, mean.params):
            # Each was finite, and the sum of them is not.
            rate = rate_at(shards.method.lr, last)
            raise DivergenceError(last, state.params, made[0].loss, rate, state.slots)
        state = mean
        loss = _mean_loss([each.loss for each in made], shards.dtype)
        advanced(last - steps, loss)
        steps = last
        if steps % plan.record_every == 0:
            losses.append(loss)
            if looks and loop:
                loop.state = _own(state, own)
                why = looks.look(loop, steps, loss) or ""
        if plan.tol is not None and loss <= plan.tol:
            why = "tolerance"
    rounds.close()
    if looks and loop and steps:
        loop.state = _own(state, own)
        why = looks.look(loop, steps, loss) or why
    ended = _own(state, own)
    if looks and looks.best and looks.best.state:
        ended, steps, loss = looks.best.state, looks.best.step, looks.best.loss
    return Outcome(steps, loss, np.array(losses), why or "max_steps", ended, None, looks)


def _here(shards: Shards) -> Any:
    made: Any = None
    while True:
        state, first, last = yield made
        made = [
            shard.work(shards.part(number, state, first, last)).content
            for number in range(shards.total)
        ]


def _elsewhere(shards: Shards, executor: Any, ending: Ending) -> Any:
    # What it stands on takes a third of the time that importing fcbackends does.
    from fcbackends.executors.dispatch import Dispatcher, Lost, Task

    begun: tuple[State, int, int] | None = None

    def job(task: Task, with_data: bool) -> shard.Part:
        assert begun is not None
        return shards.part(task.numbers[0], *begun)

    dispatcher = Dispatcher(executor, shard.work, job)
    made: Any = None
    try:
        while True:
            begun = yield made
            for number in range(shards.total):
                dispatcher.add(Task([number]))
            found: dict[int, shard.Made] = {}
            while (came := dispatcher.next(ending)) is not None:
                if isinstance(came, Lost):
                    text = f"shard {came.task.numbers[0]} could not be trained: {came.reason}"
                    raise RuntimeError(text)
                task, reply = came
                found[task.numbers[0]] = reply.content
            made = None
            if len(found) == shards.total:
                made = [found[number] for number in range(shards.total)]
    finally:
        dispatcher.close()


def _check(made: Sequence[shard.Made], state: State, method: Method) -> None:
    at = [(each.diverged_at, each.loss) for each in made if each.diverged_at is not None]
    if at:
        step, loss = min(at, key=lambda pair: pair[0])
        rate = rate_at(method.lr, step)
        raise DivergenceError(step, state.params, loss, rate, state.slots)


def _mean(states: Sequence[State]) -> State:
    params, *slots = (
        tuple(
            (_mean_array([w for w, _ in pairs]), _mean_array([b for _, b in pairs]))
            for pairs in zip(*networks, strict=True)
        )
        for networks in zip(*((each.params, *each.slots) for each in states), strict=True)
    )
    return State(params, tuple(slots))


def _mean_array(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    share = parts[0].dtype.type(1 / len(parts))
    # Sums may overflow, and are then found not to be finite.
    with np.errstate(all="ignore"):
        made: NDArray[Any] = joined(parts) * share
    return made


def _mean_loss(losses: Sequence[float], dtype: str) -> float:
    return float(_mean_array([np.array(loss, dtype) for loss in losses]))


def _own(state: State, own: Callable[[Params], Params]) -> State:
    return State(own(state.params), tuple(map(own, state.slots)))
