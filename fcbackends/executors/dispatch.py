"""Units of work handed out to an executor in tasks of about half a second; lost ones again."""

from __future__ import annotations

import collections
import queue
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any, NamedTuple, TypeAlias

from fcbackends.errors import ArgumentError, shown
from fcbackends.executors.reply import Reply, Where

TASK_SECONDS = 0.5

_CLIENT_SECONDS = 2e-3
"""A task takes 0.7 ms of the caller's time (Zen 4): with a thousand workers, those of half a second
would take all of it. They last this long for each that is handed out at a time."""

_LEAST_SECONDS = 0.1
"""Towards the end tasks become shorter, down to this, so that no worker waits long for another."""

_FIRST_WINDOW = 4
_LOOK_SECONDS = 0.05
"""So long until Ctrl-C is noticed, at the most."""

_ATTEMPTS = 4
_PARTS = 16
"""A task that failed is tried again in so many parts, and from the second time on each unit by
itself, so that one that no worker can do leaves the others alone."""

_ELSEWHERE = 12
_NOWHERE = 2
_PAUSE_SECONDS = 0.02
_LONGEST_SECONDS = 0.5
"""A job that is not for the worker it came to is handed out again after a pause, which doubles each
time, so many times, or less often where no other worker was ever seen."""

Ending: TypeAlias = "Callable[[], str | None]"
"""Why the work is to end now, or None."""


class Task(NamedTuple):
    """Some units of work to hand out together.

    Attributes
    ----------
    numbers : sequence of int
        Which.
    purpose : str
        What for; "train" for those whose time tells how long others take.
    not_on, only_on : Where or None
        The process that is not to do it, or the only one.
    within : (int, int) or None
        What the purpose needs.
    """

    numbers: Sequence[int]
    purpose: str = "train"
    not_on: Where | None = None
    only_on: Where | None = None
    within: tuple[int, int] | None = None


class _Flight(NamedTuple):
    task: Task
    submitted: float
    generation: int
    tries: int


class Lost(NamedTuple):
    """A task that could not be done: why, in words."""

    task: Task
    reason: str


class Dispatcher:
    """Hands tasks out to an executor and gives what comes of them.

    Parameters
    ----------
    executor : executor, or callable
        What has `submit`; or what makes it, and makes another where one breaks.
    work : callable
        What a worker calls, with a job: it returns a Reply.
    job : callable
        (task, with data) -> the job.
    cost : callable
        (number) -> about what a unit takes, in any measure.
    """

    def __init__(
        self,
        executor: Any,
        work: Callable[[Any], Reply],
        job: Callable[[Task, bool], Any],
        cost: Callable[[int], float] = lambda number: 1.0,
    ) -> None:
        self._given = executor
        self._own: list[Any] = []
        self._executor = executor if hasattr(executor, "submit") else self._another(None)
        self._work, self._job, self._cost = work, job, cost
        self._waiting: collections.deque[int] = collections.deque()
        self._set: collections.deque[Task] = collections.deque()
        self._alone: collections.deque[Task] = collections.deque()
        self._later: list[tuple[float, int, Task]] = []
        self._attempts: collections.Counter[int] = collections.Counter()
        self._deaths: set[int] = set()
        self._flying: dict[Any, _Flight] = {}
        self._landed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._window, self._generation = _FIRST_WINDOW, 0
        self._gone: str | None = None
        self._rates: collections.deque[float] = collections.deque(maxlen=16)
        self._missed: collections.Counter[Where] = collections.Counter()
        self._on_their_way: dict[Where, Any] = {}
        self._workers: set[Where] = set()

    def pack(self, numbers: Iterable[int]) -> None:
        """Have units done, packed into tasks."""
        self._waiting.extend(numbers)

    def add(self, task: Task) -> None:
        """Have a task done as it is."""
        self._set.append(task)

    @property
    def has_work(self) -> bool:
        """Whether anything waits or is out."""
        return bool(self._waiting or self._set or self._alone or self._later or self._flying)

    def next(self, ending: Ending) -> tuple[Task, Reply] | Lost | None:
        """What came of some task, or None once the run has to end.

        Where the executor takes no more, and there is no other, what is left is lost.
        """
        while self.has_work:
            if self._gone and not self._flying:
                return Lost(self._left_over(), self._gone)
            self._hand_out()
            landed = self._wait(ending)
            if landed is None:
                return None
            found = self._taken(*landed)
            if found is not None:
                return found
        return None

    def close(self) -> None:
        """Cancel what is out, and shut down what was made here."""
        for future in self._flying:
            if hasattr(future, "cancel"):
                future.cancel()
        self._flying.clear()
        for executor in self._own:
            if hasattr(executor, "shutdown"):
                executor.shutdown(wait=False)

    def _left_over(self) -> Task:
        """A task of one unit, of all that waits."""
        for tasks in (self._set, self._alone, self._waiting, self._later):
            if tasks:
                break
        left: Any = tasks[0]
        del tasks[0]
        if tasks is self._waiting:
            return Task([left])
        task: Task = left[2] if tasks is self._later else left
        if len(task.numbers) > 1:
            self._set.appendleft(task._replace(numbers=task.numbers[1:]))
        return task._replace(numbers=task.numbers[:1])

    def _hand_out(self) -> None:
        if self._gone:
            return
        now = time.perf_counter()
        due = [entry for entry in self._later if entry[0] <= now]
        for entry in due:
            self._later.remove(entry)
            self._submit(entry[2], tries=entry[1])
        while len(self._flying) < self._window and not self._gone:
            if self._set:
                self._submit(self._set.popleft())
            elif self._waiting:
                self._submit(Task(self._packed()))
            else:
                break
        if self._alone and not self._flying:
            self._submit(self._alone.popleft())

    def _packed(self) -> list[int]:
        """The next units, as many as make a task."""
        if not self._rates:
            return [self._waiting.popleft()]
        rate = statistics.median(self._rates)
        wanted = max(TASK_SECONDS, _CLIENT_SECONDS * self._window)
        numbers: list[int] = []
        seconds, left = 0.0, None
        while self._waiting:
            cost = rate * self._cost(self._waiting[0])
            if left is None and len(self._waiting) * cost < wanted * self._window:
                left = rate * sum(map(self._cost, self._waiting))
                wanted = min(wanted, max(_LEAST_SECONDS, left / self._window))
            if numbers and seconds + cost / 2 > wanted:
                break
            numbers.append(self._waiting.popleft())
            seconds += cost
        return numbers

    def _submit(self, task: Task, with_data: bool = False, tries: int = 0) -> Any:
        job = self._job(task, with_data)
        future = self._taken_by_executor(job)
        if future is None:
            self._set.appendleft(task)
            return None
        self._flying[future] = _Flight(task, time.perf_counter(), self._generation, tries)
        if hasattr(future, "add_done_callback"):
            future.add_done_callback(self._landed.put)
        return future

    def _taken_by_executor(self, job: Any) -> Any:
        """The future of a job; None where the executor takes no more, and there is no other."""
        try:
            try:
                return self._executor.submit(self._work, job)
            except BrokenExecutor:
                self._replace(self._generation)
                return None if self._gone else self._executor.submit(self._work, job)
        except Exception as error:  # a pool that was shut down, a connection that is lost
            self._gone = _reason(error)
            return None

    def _wait(self, ending: Ending) -> tuple[_Flight, Any] | tuple[()] | None:
        """Some task that came back, and its future; nothing where there is more to hand out."""
        while True:
            if ending():
                return None
            pause = _LOOK_SECONDS
            if self._later:
                due = min(entry[0] for entry in self._later)
                pause = min(pause, max(0.0, due - time.perf_counter()))
            try:
                future = self._landed.get(timeout=pause)
            except queue.Empty:
                if not self._flying or pause < _LOOK_SECONDS:
                    return ()
                future = next(iter(self._flying))
                if hasattr(future, "add_done_callback"):
                    continue
                # Of such a future nothing is known but that it has a result in the end.
                _quietly(future.result)
            if future in self._flying:
                return self._flying.pop(future), future

    def _taken(
        self, flight: _Flight | None = None, future: Any = None
    ) -> tuple[Task, Reply] | Lost | None:
        if flight is None:
            return None
        task = flight.task
        try:
            reply: Reply = future.result()
        except BrokenExecutor as error:
            self._replace(flight.generation)
            self._deaths.update(task.numbers)
            return self._again(task, f"its worker died: {_reason(error)}")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            return self._again(task, _reason(error))
        if reply.said == "no data":
            # Who asked does not say who takes the next task. So a worker is sent its data again
            # where another took them, but not while they are on their way.
            if self._on_their_way.get(reply.where) in self._flying:
                self._missed[reply.where] += 1
                self._put_off(task, flight.tries, self._missed[reply.where])
            else:
                self._missed[reply.where] = 0
                future = self._submit(task, with_data=True, tries=flight.tries)
                self._on_their_way[reply.where] = future
            return None
        if reply.said == "not here":
            self._workers.add(reply.where)
            tries = flight.tries + 1
            if tries > (_ELSEWHERE if len(self._workers) > 1 else _NOWHERE):
                return Lost(task, "no other worker took it")
            self._put_off(task, tries, tries)
            return None
        self._workers.add(reply.where)
        for number in task.numbers:
            self._attempts.pop(number, None)
            self._deaths.discard(number)
        waited = time.perf_counter() - flight.submitted - reply.busy
        if waited < reply.busy:
            self._window += 1
        if task.purpose == "train":
            self._rates.append(reply.seconds / sum(map(self._cost, task.numbers)))
        return task, reply

    def _put_off(self, task: Task, tries: int, doublings: int) -> None:
        pause = min(_PAUSE_SECONDS * 2 ** min(doublings, 9), _LONGEST_SECONDS)
        self._later.append((time.perf_counter() + pause, tries, task))

    def _again(self, task: Task, reason: str) -> Lost | None:
        """Have a task that failed tried again, in parts, unless it was tried often enough."""
        for number in task.numbers:
            self._attempts[number] += 1
        attempts = self._attempts[task.numbers[0]]
        if len(task.numbers) == 1 and attempts >= _ATTEMPTS:
            return Lost(task, reason)
        size = 1 if attempts > 1 else -(-len(task.numbers) // _PARTS)
        # Whom a worker's death took along twice may be its cause: nobody else is to suffer.
        aside = self._alone if attempts > 1 and task.numbers[0] in self._deaths else self._set
        for first in range(0, len(task.numbers), size):
            aside.append(task._replace(numbers=task.numbers[first : first + size]))
        return None

    def _replace(self, generation: int) -> None:
        """Another executor instead of one that broke, once for all that it had in hand."""
        if generation != self._generation:
            return
        self._generation += 1
        try:
            self._executor = self._another(self._executor)
        except Exception as error:  # what a caller's function raises, too
            self._gone = _reason(error)

    def _another(self, broken: Any) -> Any:
        if not hasattr(self._given, "submit"):
            made = self._given()
            if not hasattr(made, "submit"):
                required = "have a method `submit`, or be a function that makes what has one"
                raise ArgumentError("executor", required, shown(made))
        elif isinstance(broken, ProcessPoolExecutor):
            # A broken pool takes no more, and says by no other name how it was made.
            how = vars(broken)
            made = ProcessPoolExecutor(
                how["_max_workers"],
                how["_mp_context"],
                how["_initializer"],
                how["_initargs"],
                max_tasks_per_child=how["_max_tasks_per_child"],
            )
        else:
            raise BrokenExecutor("the executor broke: give a function that makes another")
        self._own.append(made)
        return made


def _quietly(result: Callable[[], Any]) -> None:
    try:
        result()
    except Exception:  # it is asked again where it is taken
        return


def _reason(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return shown(text)[1:-1]
