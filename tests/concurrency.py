"""Works at once, for a time, in every way that programs run them; each must have the right bits.

    python -m tests.concurrency threads trainer fork --seconds 600 --seed 1

Each way takes so long: threads; trainer (shared by threads); fork; cold (processes that start
together on an empty cache folder); loky, threading (both of joblib); dask, dask-processes; web,
web-fork (a server). A way that hangs ends with the stacks of its threads, and exit status 1, as
anything wrong does.
"""

import argparse
import contextlib
import faulthandler
import os
import random
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from wsgiref import simple_server

import numpy as np

import fcbackends as fcb
from tests.cases import environment, problem
from tests.jobs import NUMBERS, right_digests, shared_by_threads, work

AT_ONCE = 4
SECONDS_TO_HANG = 300


def numbers(rng):
    return rng.choices(range(NUMBERS), k=3 * AT_ONCE)


def in_threads(chosen):
    with ThreadPoolExecutor(2 * AT_ONCE) as pool:
        return list(pool.map(work, chosen))


def in_forks(chosen):
    """Each in a process that is forked while threads of this one train."""
    children, given = [], threading.Event()

    def goes_on():
        while not given.is_set():
            work(chosen[0])

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(goes_on)
        try:
            for number in chosen:
                read, write = os.pipe()
                process = os.fork()
                if process == 0:
                    with contextlib.suppress(BaseException):
                        os.write(write, work(number).encode())
                    os._exit(0)
                os.close(write)
                children.append((process, read))
                if len(children) % AT_ONCE == 0:
                    os.waitpid(children[-1][0], 0)
        finally:
            given.set()
    told = []
    for index, (process, read) in enumerate(children, 1):
        if index % AT_ONCE:
            os.waitpid(process, 0)
        with open(read) as pipe:
            told.append(pipe.read())
    return told


def in_cold_processes(chosen):
    chosen = chosen[:AT_ONCE]
    code = "import sys\nfrom tests.jobs import work\nprint(work(int(sys.argv[1])))"
    with tempfile.TemporaryDirectory() as folder:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(number)],
                env=environment(NUMBA_CACHE_DIR=folder),
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in chosen
        ]
        told = [process.communicate()[0].strip() for process in started]
        strange = {
            name
            for _, _, names in os.walk(folder)
            for name in names
            if not name.endswith(".kernel")
        }
    return told if not strange else [f"left {strange}"] * len(chosen)


def by_joblib(backend):
    def at_once(chosen):
        from joblib import Parallel, delayed

        return Parallel(n_jobs=AT_ONCE, backend=backend)(delayed(work)(n) for n in chosen)

    return at_once


def by_dask(scheduler):
    def at_once(chosen):
        import dask

        tasks = [dask.delayed(work, pure=False)(n) for n in chosen]
        return list(dask.compute(*tasks, scheduler=scheduler, num_workers=AT_ONCE))

    return at_once


def answer(request, start_response):
    """A service as WSGI has it: /7 is answered with the digest of work 7."""
    digest = work(int(request["PATH_INFO"].lstrip("/")))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [digest.encode()]


class QuietHandler(simple_server.WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


def by_server(mix_in):
    def at_once(chosen):
        class Server(mix_in, simple_server.WSGIServer):
            daemon_threads = False

        server = simple_server.make_server("127.0.0.1", 0, answer, Server, QuietHandler)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()

        def ask(number):
            address = f"http://127.0.0.1:{server.server_port}/{number}"
            with urllib.request.urlopen(address, timeout=SECONDS_TO_HANG) as response:
                return response.read().decode()

        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                return list(pool.map(ask, chosen))
        finally:
            server.shutdown()
            serving.join()
            server.server_close()

    return at_once


def with_one_trainer(seed):
    """Let threads share a Trainer; what is wrong, if anything."""
    case = problem(seed, (4, 16, 2), 50, ("float32", "float64")[seed % 2])
    run = dict(seed=seed, batch_size=3, tol_on="data")
    trainer, *others = (fcb.Trainer(case.params, lr=0.01) for _ in range(3))
    seen = []

    def use(turn):
        trainer.run(case.x, case.t, max_steps=1 + (seed + turn) % 40, **run)
        seen.append(trainer.state)

    with ThreadPoolExecutor(2 * AT_ONCE) as pool:
        list(pool.map(use, range(20 * AT_ONCE)))
    alone, slow = others[0], fcb.Trainer(case.params, lr=0.01, backend="numpy")
    wrong = []
    for state in sorted(seen, key=lambda state: state.steps):
        if state.steps > alone.steps:
            alone.run(case.x, case.t, max_steps=state.steps - alone.steps, **run)
        if not fcb.compare(alone.params, state.params).equal:
            wrong.append(f"other bits after step {state.steps}")
    if trainer.steps != sum(1 + (seed + turn) % 40 for turn in range(20 * AT_ONCE)):
        wrong.append("steps were lost")
    slow.run(case.x, case.t, max_steps=trainer.steps, **run)
    if not fcb.compare(slow.params, trainer.params).equal:
        wrong.append("other bits than alone")
    return wrong


WAYS = {
    "threads": in_threads,
    "cold": in_cold_processes,
    "loky": by_joblib("loky"),
    "threading": by_joblib("threading"),
    "dask": by_dask("threads"),
    "dask-processes": by_dask("processes"),
    "web": by_server(socketserver.ThreadingMixIn),
}
if hasattr(os, "fork"):
    WAYS |= {"fork": in_forks, "web-fork": by_server(socketserver.ForkingMixIn)}


def rounds(way, seed, right):
    """How many works each round of a way was, and what was wrong with them."""
    rng = random.Random(seed)
    while True:
        if way == "trainer":
            yield 1, with_one_trainer(rng.randrange(2**16))
            continue
        chosen = numbers(rng)
        told = WAYS[way](chosen)
        yield (
            len(told),
            [
                f"work {n}: {got[:40] or 'nothing'}"
                for n, got in zip(chosen, told, strict=False)
                if got != right[n]
            ],
        )


def run(way, seconds, seed, right):
    """Run a way for so long; how many works it was, and what went wrong."""
    end, works, wrong = time.monotonic() + seconds, 0, []
    before = threading.active_count()
    faulthandler.dump_traceback_later(SECONDS_TO_HANG, exit=True)
    for count, found in rounds(way, seed, right):
        faulthandler.dump_traceback_later(SECONDS_TO_HANG, exit=True)
        works += count
        wrong += found
        if wrong or time.monotonic() > end:
            break
    faulthandler.cancel_dump_traceback_later()
    left = threading.active_count() - before
    # joblib and Dask keep their pools.
    if left > 0 and way not in ("loky", "threading", "dask", "dask-processes"):
        wrong.append(f"{left} threads are left")
    return works, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="+", choices=[*WAYS, "trainer"])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    np.seterr(all="ignore")
    right, all_right = right_digests(), True
    shared_by_threads()
    for way in chosen.ways:
        works, wrong = run(way, chosen.seconds, chosen.seed, right)
        print(f"{way}: {works} works, {len(wrong)} wrong", *wrong, sep="\n  ", flush=True)  # noqa: T201
        all_right &= not wrong
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
