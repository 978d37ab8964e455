"""Processes that are forked while other threads are at work: they go on, or say why not."""

import os

import pytest

import fcbackends as fcb
from fcbackends.kernels.cache import cache_directory
from tests.cases import linear_data, needs_jit
from tests.test_kernel_cache import run as run_process

pytestmark = [
    needs_jit,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
]

HOW = dict(lr=0.001, batch_size=4, max_steps=50)
FORKS = """
import os, signal, threading, time, warnings
import numpy as np
import fcbackends as fcb
from tests.cases import linear_data
from tests.test_forks import HOW, stepped

warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of forks beside threads
x, t = linear_data(50)

def train(dtype="float64"):
    return fcb.digest(fcb.train(x, t, dtype=dtype, **HOW).params)

def fork(work):
    '''What work() returns in a forked process, or raises there.'''
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        signal.alarm(100)  # one that waits for ever ends
        try:
            told = work()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with open(read, closefd=True) as pipe:
        told = pipe.read()
    os.waitpid(process, 0)
    return told
"""


def forked(cache, code):
    status, out, err = run_process(cache, FORKS + code)
    assert (status, err) == (0, "")
    return out.splitlines()


def stepped(dtype, backend="numba"):
    """A trainer's first steps, which have a kernel of their own."""
    x, t = (array[:5].astype(dtype) for array in linear_data(50))
    trainer = fcb.Trainer(fcb.init_params((2, 3), dtype=dtype), lr=0.001, backend=backend)
    for sample in zip(x, t, strict=True):
        trainer.step(*sample)
    return fcb.digest(trainer.params)


def right(dtype):
    x, t = linear_data(50)
    return fcb.digest(fcb.train(x, t, dtype=dtype, **HOW, backend="numpy").params)


COMPILES = """
from numba.core.compiler_lock import global_compiler_lock

held, go_on = threading.Event(), threading.Event()
class Slow:
    '''Tells when a compilation begins, and goes on when it is told to, or after a while.'''
    def __enter__(self):
        held.set()
        go_on.wait(2)
    def __exit__(self, *error):
        pass

from fcbackends.kernels import jit
jit._no_garbage_collected = Slow
other = threading.Thread(target={work}, args=["float64"])
other.start()
held.wait()
jit._no_garbage_collected = __import__("contextlib").nullcontext
print(fork(lambda: {work}("float32")))
go_on.set()
other.join()
print({work}("float64"))
"""


LOADS = """
from fcbackends.backends import registry

begun = threading.Event()
load = registry._loaders["numba"]
def slowly():
    begun.set()
    time.sleep(0.5)
    return load()
registry._loaders["numba"] = slowly
other = threading.Thread(target=train)
other.start()
begun.wait()
print(fork(lambda: " ".join(registry._loaded)), train() == fork(train))
other.join()
"""


def test_a_fork_while_another_thread_loads_a_backend():
    assert forked(cache_directory().parent, LOADS) == ["numba True"]


WITHIN = """
from fcbackends import forks
with forks.held_off(), forks.held_off():
    print(fork(train) == train())
"""


def test_a_fork_from_within_a_load_does_not_wait_for_itself():
    assert forked(cache_directory().parent, WITHIN) == ["True"]


@pytest.mark.parametrize("work", ["train", "stepped"])
def test_a_fork_while_another_thread_compiles(work):
    told = forked(cache_directory().parent, COMPILES.replace("{work}", work))
    results = {"train": right, "stepped": lambda dtype: stepped(dtype, "numpy")}
    assert told == [results[work](dtype) for dtype in ("float32", "float64")]


USED = """
from concurrent.futures import ThreadPoolExecutor
from fcbackends.kernels import threads
threads.get_threads = lambda: 3
threads._PRODUCTS_A_THREAD = 1
print(train())
trainer = fcb.Trainer(fcb.init_params((2, 3)), lr=0.01)
trainer.run(x, t, max_steps=10)
def go_on():
    trainer.run(x, t, max_steps=10)
    many = fcb.train_many(x, t, seed=[0, 1, 2], **HOW)
    return f"{train()} {trainer.steps} {fcb.digest([r.params for r in many])}"
told = {fork(go_on) for _ in range(3)}
print(len(told), told == {fork(go_on)}, fork(lambda: fork(go_on)) in told, go_on() in told)
print(threading.active_count())
"""


def test_forks_after_use_on_several_threads():
    assert forked(cache_directory().parent, USED) == [right("float64"), "1 True True True", "1"]


SHARED = """
import warnings
inside, go_on = threading.Event(), threading.Event()
def look(look):
    inside.set()
    go_on.wait(100)
trainer = fcb.Trainer(fcb.init_params((2, 3)), lr=0.01)
free = fcb.Trainer(fcb.init_params((2, 3)), lr=0.01)
before = trainer.state
runs = threading.Thread(
    target=lambda: trainer.run(x, t, max_steps=8, record_every=4, callback=look)
)
runs.start()
inside.wait()
for use in (
    lambda: str(trainer.step([1.0, 2.0], [1.0, 2.0, 3.0])),
    lambda: str(trainer.params),
    lambda: str(trainer.run(x, t)),
    lambda: str(setattr(trainer, "state", before)),
):
    print(fork(use))
print(fork(lambda: str(free.step([0.0, 0.0], [0.0, 0.0, 3.0]))))
go_on.set()
runs.join()
print(trainer.steps, fork(lambda: str(trainer.state.steps)))
def own(look):
    own.told = fork(lambda: str(trainer.step([1.0, 2.0], [1.0, 2.0, 3.0]) > 0))
trainer.run(x, t, max_steps=1, callback=own)
print(own.told)
"""


def test_a_trainer_that_another_thread_is_using_is_refused_in_the_child():
    *refused, free, steps, own = forked(cache_directory().parent, SHARED)
    assert set(refused) == {
        "RuntimeError: this Trainer was taking steps in another thread when the process was "
        "forked: make one here from a `state` that was read before, or fork between its steps"
    }
    assert (len(refused), free, steps, own) == (4, "9.0", "8 8", "True")
