"""Kernels compiled for other processors, each target in a process of its own, and what they are."""

import json
import os
import platform
import re

import pytest

from tests.test_kernel_cache import files, run

# Each target compiles in a process and an empty folder of its own.
CODE = """
import json
import numpy as np
import fcbackends as fcb
from fcbackends.backends import small_kernels
from fcbackends.conformance.golden import differing_runs, golden_runs
from fcbackends.kernels import jit, threads, tiles

small_kernels.WORTH_COMPILING = 0.0
threads._PRODUCTS_A_THREAD = 10_000
threads.get_threads = lambda: 2

def layer(name, dtype, size):
    samples, inputs, outputs = size
    rng = np.random.default_rng(0)
    x, w, b, dy = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((samples, inputs), (inputs, outputs), (outputs,), (samples, outputs))
    )
    x[0, 0], dy[-1, -1] = -0.0, np.finfo(dtype).smallest_subnormal
    y = fcb.fc_forward(x, w, b, backend=name)
    loss = fcb.mean_squared_loss(y, dy, backend=name)
    return fcb.digest([y, fcb.fc_backward(dy, x, w, backend=name), loss])

def training(name, dtype, sizes, batch_size, tol_on):
    rng = np.random.default_rng(1)
    x, t = (rng.standard_normal((80, size)) for size in (sizes[0], sizes[-1]))
    trainer = fcb.Trainer(fcb.init_params(sizes, dtype=dtype), lr=0.01, backend=name)
    r = trainer.run(
        x, t, batch_size=batch_size, max_steps=70, tol_on=tol_on, sampling="epoch", record_every=9
    )
    steps = [trainer.step(x[0].astype(dtype), t[0].astype(dtype))]
    return fcb.digest([trainer.params, r.params, r.history.losses, np.array(steps)])

def results(name):
    for dtype in DTYPES:
        for size in ((1, 5, 301), (8, 16, 16), (9, 33, 65), (37, 31, 7), (300, 17, 31)):
            yield layer(name, dtype, size)
        for sizes, batch_size, tol_on in TRAININGS:
            yield training(name, dtype, sizes, batch_size, tol_on)

arithmetic = fcb.get_backend("numba").arithmetic  # of the environment
got, want = list(results("numba")), list(results("numpy"))
kernels = {
    f"{name} {dtype}": family(dtype, arithmetic)
    for name, family in jit.FAMILIES.items()
    for dtype in DTYPES
    if len(TRAININGS) > 1 or name.startswith("layers")
}
worth_their_own = len(small_kernels._kernels)
for *how, weighted, one_sample, rule, dtype, _, in_blocks in small_kernels._kernels:
    family = small_kernels.small.small_steps(
        *how, rule, weighted=weighted, one_sample=one_sample, in_blocks=in_blocks
    )
    kernels[f"{family.__name__} {dtype}"] = family(dtype, arithmetic)

def golden(count):
    # The golden runs that end on another digest, without kernels of constant shapes.
    small_kernels._MOST_KERNELS = 0
    small_kernels._kernels.clear()
    threads.get_threads = lambda: count
    runs = golden_runs(arithmetic, DTYPES) if len(TRAININGS) > 1 else ()
    # Each rule of descent is compiled apart, for some seconds: two in one dtype, with all that
    # an update does, show what a target makes of them.
    chosen = [
        run for run in runs
        if (run.optimizer, run.rate, run.clip_norm) == ("sgd", "constant", None)
        or (run.dtype == "float32" and run.optimizer in ("nesterov", "adamw")
            and run.rate == "constant" and run.clip_norm is None)
    ]
    return differing_runs(chosen, fcb.get_backend("numba"))

def of(inspect):
    return {name: list(inspect(kernel).values()) for name, kernel in kernels.items()}

ended = [golden(count) for count in (1, 2)]
# Of what the golden runs are compiled to, one dtype of what is small or unlike the rest.
for family, dtype, how in list(jit._made):
    name = jit._name(family)
    if name.startswith(("activations", "losses", "training.train_steps_adam_dec")):
        if (dtype, how) == ("float32", arithmetic):
            kernels[f"{name} {dtype}"] = family(dtype, arithmetic)

print(json.dumps({
    "same": [a == b for a, b in zip(got, want, strict=True)],
    "tile": [tiles.VECTOR_BYTES, tiles.ROWS],
    "arithmetic": arithmetic,
    "dtypes": DTYPES,
    "threads": threads.threads_for(10_000),
    "golden": ended,
    "made": len(jit._made),
    "own kernels": worth_their_own,
    "code": of(lambda kernel: kernel.inspect_asm()),
    "ir": of(lambda kernel: kernel.inspect_llvm()),
}))
"""

ALL = """
TRAININGS = [
    ((2, 3), 1, "data"), ((33, 1), 1, "batch"), ((3, 9, 2), 1, "batch"),
    ((17, 33, 5), 7, "data"), ((20, 140, 9), 33, "data"),
]
"""
SOME = """
DTYPES, TRAININGS = ["float32"], [((2, 3), 1, "batch")]
"""
LAYERS = """
DTYPES, TRAININGS = ["float32"], []
"""

X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("aarch64", "arm64")


def host_has(*features):
    from llvmlite import binding

    found = binding.get_host_cpu_features()
    return all(found.get(feature, False) for feature in features)


AVX2 = ("avx", "avx2", "bmi", "bmi2", "fma", "sse4.2")
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in AVX2),
}
TARGETS = {
    "generic": {**GENERIC, "NUMBA_OPT": "0"},
    "AVX2": {**HASWELL, "NUMBA_OPT": "3"},
    "host": {},
    "host, level 1": {"NUMBA_OPT": "1"},
    "host, level 2": {"NUMBA_OPT": "2"},
}


DTYPES_OF = {("generic", "fused"): ["float64"], ("host", "fused"): ["float32"]}
"""One of both, where each takes half a minute, and the other target has the other."""


def compiled_for(factory, target, arithmetic="ordered"):
    """What the program says that was compiled for a target, once for all tests of all workers."""
    if target == "AVX2" and not (X86 and host_has(*AVX2)):
        pytest.skip("this machine cannot run what is compiled for AVX2")
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    kept = shared / f"{target} {arithmetic}.json"
    if not kept.exists():
        folder = factory.mktemp("cache")
        dtypes = DTYPES_OF.get((target, arithmetic), ["float32", "float64"])
        program = f"DTYPES = {dtypes}" + ALL + CODE
        status, out, err = run(
            folder, program, **{**TARGETS[target], "FCBACKENDS_ARITHMETIC": arithmetic}
        )
        assert status == 0, err
        slow = X86 and (target, arithmetic) == ("generic", "fused")
        assert err.count("arithmetic 'fused' is slow here: ") == slow
        assert slow or err == ""
        said = json.loads(out)
        assert (said["arithmetic"], said["dtypes"]) == (arithmetic, dtypes)
        assert len(said["code"]) > KERNELS * len(dtypes)
        # Machine code that another process made cannot be looked into.
        assert len(files(folder)) == said["made"]
        (folder / "said").write_text(out)
        (folder / "said").replace(kept)
    return json.loads(kept.read_text())


# --- machine code --------------------------------------------------------------------------------

FUSED = re.compile(
    r"^\s+(?:"
    r"v?fn?m(?:add|sub)|"  # x86: vfmadd213ps, vfnmsub231sd, vfmaddsub...; ARM: fmadd, fnmsub
    r"b?fn?ml[as]|fcmla|"  # NEON and SVE: fmla, fmls, fnmla, fmlal, fmlsl, bfmlal
    r"fn?m(?:ad|sb)|"  # SVE alone: fmad, fmsb, fnmad, fnmsb
    r"b?f(?:mmla|dot|mop[as])|"  # many products at once
    r"vfn?m[as]|vn?ml[as]|"  # ARM with 32 bits
    r".*\b_?fmaf?\b"  # C's function, where the processor has no instruction
    r")\S*",
    re.MULTILINE,
)
PRODUCT = re.compile(r"^\s+(?:v?mul[ps][sd]|fn?mul)\b", re.MULTILINE)

CALL = re.compile(r"call .*@llvm\.fma\.(?:v(\d+))?f(?:32|64)\(")
WITHOUT_MATRICES = ("layers.loss_and_gradient", "activations.", "losses.")
KERNELS = 3 + 3 + 3
"""Of layers, of trainings and of small networks, in each dtype; there are more."""


def assert_not_fused(name, code):
    assert PRODUCT.search(code), name
    fused = FUSED.findall(code)
    assert fused == [], f"{name}: {fused[:3]}"


def assert_fused_as_written(name, ir, code):
    """Fused instructions, no more than the kernel asks for, and no function called instead.

    Of two alike, the compiler may keep one; a vector may be several of the target's.
    """
    written = CALL.findall(ir)
    found = FUSED.findall(code)
    assert not re.search(r"\bfmaf?\b", code), name
    if name.startswith(WITHOUT_MATRICES):
        assert (written, found) == ([], []), name
    else:
        assert 0 < len(found) <= sum(int(lanes or 1) for lanes in written), name
