"""Several threads in one kernel: each does its share, and they wait for each other.

All threads run the same code on the same numbers and decide alike; an element of a result is
computed by one of them from first term to last, so that its bits do not depend on their number.
They meet at `barrier`, which takes no lock: its state counts, in a cache line for each thread,
how often that has arrived. Called off, they leave the work in hand, and at their next barrier agree
to go on no further.
"""

from __future__ import annotations

import contextvars
import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic
from numba.np.ufunc import parallel
from numpy.typing import NDArray

from fcbackends.kernels.cpus import usable_cpus
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined

_Result = TypeVar("_Result")

_LINE = 8
"""Words of 8 bytes in a cache line."""

_LAST = 1
"""Where a thread's line has the number of the barrier at which it was called off."""

_MISSING, _CALLED_OFF, _NEVER = 0, 1, 2
"""Where the last line has what all are told, and a word that stays 0."""

_SECONDS_BETWEEN_QUESTIONS = 0.02

_PRODUCTS_A_THREAD = 4_000_000
"""Multiply-adds, some 0.1 ms of them, that are worth a further thread."""

_TURNS_BEFORE_YIELDING = 4096
"""A thread that waits longer may be waiting for one that has no core: it gives up its own."""


class Team(NamedTuple):
    """A thread, from 0 on, of so many that share one kernel's work, and where they meet."""

    thread: int
    threads: int
    barrier_state: Any


TEAM = types.NamedTuple((types.int64, types.int64, types.int64[::1]), Team)


def new_barrier_state(threads: int) -> NDArray[np.int64]:
    """A line for each of so many threads, and one for what all are told.

    A thread writes how often it has arrived and, from when on it was called off, the number of that
    barrier. All are told that some of them are missing, and that they are called off.
    """
    return np.zeros((threads + 1) * _LINE, np.int64)


ALONE = Team(0, 1, new_barrier_state(1))
"""A thread that meets no other."""


_of_thread = threading.local()

_IS_SET = "NUMBA_NUM_THREADS" in os.environ


def get_threads() -> int:
    """How many threads this thread's calls may use, where that pays.

    The first of these that says anything: `set_threads`, in this thread; `numba.set_num_threads`;
    NUMBA_NUM_THREADS; and what `usable_cpus` finds.
    """
    count: int | None = getattr(_of_thread, "count", None)
    if count is not None:
        return count
    # Numba's function starts its own threads, which kernels do not need, before it answers; where
    # there are none yet, nobody has set a number.
    if getattr(parallel, "_is_initialized", True):
        count = int(parallel.get_num_threads())
        if count != config.NUMBA_NUM_THREADS:
            return count
    return int(config.NUMBA_NUM_THREADS) if _IS_SET else usable_cpus()


def set_threads(count: int) -> None:
    """Set how many threads this thread's calls may use."""
    _of_thread.count = count


def threads_for(products: int) -> int:
    """How many threads are worth their while for so many multiply-adds."""
    worth = 1 + products // _PRODUCTS_A_THREAD
    return worth if worth == 1 else min(worth, get_threads())


def run_in_threads(
    work: Callable[..., _Result],
    threads: int,
    *arguments: Any,
    called_off: Callable[[], bool] | None = None,
) -> _Result:
    """Let `work(*arguments, team)` run in so many threads; returns what the first one's returns.

    `work` is to release the GIL, and not to raise. Where `called_off` is given, the caller's own
    thread does no work, but asks it from time to time: Python's handlers of signals run there, and
    none would before the work's end. Where a thread cannot be started, or the caller is
    interrupted, those that were are called off.
    """
    if threads == 1 and called_off is None:
        return work(*arguments, ALONE)
    barrier_state = new_barrier_state(threads)
    told = threads * _LINE
    results: list[_Result] = []

    def work_first() -> None:
        results.append(work(*arguments, Team(0, threads, barrier_state)))

    teams = [Team(thread, threads, barrier_state) for thread in range(1, threads)]
    others = [_thread_of(work, *arguments, team) for team in teams]
    if called_off is not None:
        others.insert(0, _thread_of(work_first))
    started: list[threading.Thread] = []
    try:
        for other in others:
            other.start()
            started.append(other)
        if called_off is None:
            work_first()
        while called_off is not None and started[0].is_alive():
            started[0].join(_SECONDS_BETWEEN_QUESTIONS)
            if called_off():
                barrier_state[told + _CALLED_OFF] = 1
    finally:
        barrier_state[told + _MISSING] = barrier_state[told + _CALLED_OFF] = 1
        for other in started:
            other.join()
    return results[0]


def _thread_of(work: Callable[..., object], *arguments: Any) -> threading.Thread:
    """A thread in the context of the caller, whose error state of NumPy counts without the JIT."""
    context = contextvars.copy_context()
    return threading.Thread(target=context.run, args=(work, *arguments))


@inlined
def share(count, unit, team):
    """The first and the last + 1 of a thread's share of `count` things, in whole units."""
    units = (count + unit - 1) // unit
    first = units * team.thread // team.threads * unit
    last = units * (team.thread + 1) // team.threads * unit
    return smaller(first, count), smaller(last, count)


@inlined
def stop_word(team):
    """The address of the word that calls a team off: an argument less dear than the team."""
    return _address(team.barrier_state, team.threads * _LINE + _CALLED_OFF)


@inlined
def no_stop_word(team):
    """The address of a word that calls off nobody."""
    return _address(team.barrier_state, team.threads * _LINE + _NEVER)


@inlined
def is_set(word):
    """Whether a thread may leave the work in hand, by the address of a word."""
    return _observe_at(word) != 0


@inlined
def is_called_off(team):
    """Whether a thread may leave the work in hand: the next barrier will be the last."""
    return is_set(stop_word(team))


@called
def barrier(team):
    """Wait until all threads are here; False, for all, where one of them had been called off."""
    if team.threads == 1:
        return not is_called_off(team)
    state, own = team.barrier_state, team.thread * _LINE
    arrived = state[own] + 1
    if is_called_off(team) and state[own + _LAST] == 0:
        state[own + _LAST] = arrived
    _publish(state, own, arrived)
    for other in range(team.threads):
        turns = 0
        while _observe(state, other * _LINE) < arrived:
            if _observe(state, team.threads * _LINE + _MISSING) != 0:
                return False
            turns += 1
            if turns == _TURNS_BEFORE_YIELDING:
                turns = 0
                _yield_core()
    for other in range(team.threads):
        # A thread that is already at the next one may be called off there.
        last = _observe(state, other * _LINE + _LAST)
        if last != 0 and last <= arrived:
            return False
    return True


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    words = context.make_array(signature.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.gep(words.data, [index])


@intrinsic
def _compiled_publish(typing_context, words, index, value):
    def codegen(context, builder, signature, args):
        value = context.cast(builder, args[2], signature.args[2], types.int64)
        builder.store_atomic(value, _place(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(words, index, value), codegen


@intrinsic
def _compiled_address(typing_context, words, index):
    def codegen(context, builder, signature, args):
        return builder.ptrtoint(_place(context, builder, signature, args), ir.IntType(64))

    return types.int64(words, index), codegen


@intrinsic
def _compiled_observe_at(typing_context, address):
    def codegen(context, builder, signature, args):
        place = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def _compiled_observe(typing_context, words, index):
    def codegen(context, builder, signature, args):
        return builder.load_atomic(_place(context, builder, signature, args), "acquire", 8)

    return types.int64(words, index), codegen


@intrinsic
def _compiled_yield(typing_context):
    name = "SwitchToThread" if os.name == "nt" else "sched_yield"

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [])
        module = builder.module
        function = module.globals.get(name) or ir.Function(module, kind, name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


def _interpreted_publish(words: NDArray[np.int64], index: int, value: int) -> None:
    """Write a word after all that was written before it."""
    words[index] = value


def _interpreted_observe(words: NDArray[np.int64], index: int) -> int:
    """Read a word before all that is read after it."""
    return int(words[index])


def _interpreted_address(words: NDArray[np.int64], index: int) -> int:
    """Where a word stands."""
    return words.ctypes.data + 8 * index


def _interpreted_observe_at(address: int) -> int:
    """Read a word, before all that is read after it."""
    return ctypes.c_int64.from_address(address).value


def _interpreted_yield() -> None:
    """Let another thread have the core."""
    threading.Event().wait(0)


_publish: Any = _interpreted_publish if config.DISABLE_JIT else _compiled_publish
_observe: Any = _interpreted_observe if config.DISABLE_JIT else _compiled_observe
_address: Any = _interpreted_address if config.DISABLE_JIT else _compiled_address
_observe_at: Any = _interpreted_observe_at if config.DISABLE_JIT else _compiled_observe_at
_yield_core: Any = _interpreted_yield if config.DISABLE_JIT else _compiled_yield
