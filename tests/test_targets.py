"""Kernels compiled for other processors: other vectors and tiles, the same bits, nothing fused."""

import json
import platform
import re
import shutil

import pytest

from tests.cases import needs_jit
from tests.test_kernel_cache import SOURCE, files
from tests.test_kernel_cache import run as run_process

pytestmark = needs_jit

# Each target compiles in a process and an empty folder of its own.
CODE = """
import json
import numpy as np
import fcbackends as fcb
from fcbackends.backends import numba as backend
from fcbackends.kernels import jit, linear, tiles

backend._WORTH_A_KERNEL = 70
backend._PRODUCTS_A_THREAD = 10_000
backend.get_threads = lambda: 2

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
        for sizes, batch_size, tol_on in TRAININGS or (
            ((2, 3), 1, "data"), ((33, 1), 1, "batch"), ((3, 9, 2), 1, "batch"),
            ((17, 33, 5), 7, "data"), ((20, 140, 9), 33, "data"),
        ):
            yield training(name, dtype, sizes, batch_size, tol_on)

got, want = list(results("numba")), list(results("numpy"))
kernels = {
    f"{name} {dtype}": family(dtype)
    for name, family in jit.FAMILIES.items()
    for dtype in DTYPES
    if not TRAININGS or name.startswith("layers")
}
for inputs, outputs, one_sample, dtype in backend._shapes_with_kernels:
    family = linear.linear_steps(inputs, outputs, one_sample=one_sample)
    kernels[f"{family.__name__} {dtype}"] = family(dtype)
code = {name: kernel.inspect_asm() for name, kernel in kernels.items()}
print(json.dumps({
    "same": [a == b for a, b in zip(got, want, strict=True)],
    "digests": want,
    "tile": [tiles.VECTOR_BYTES, tiles.ROWS],
    "threads": backend._threads(10_000),
    "own kernels": len(backend._shapes_with_kernels),
    "code": {name: list(versions.values()) for name, versions in code.items()},
}))
"""

ALL = """
DTYPES, TRAININGS = ["float32", "float64"], []
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
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What the program says that was compiled for a target, once for all tests."""
    known = {}

    def compile_for(target):
        if target == "AVX2" and not (X86 and host_has(*AVX2)):
            pytest.skip("this machine cannot run what is compiled for AVX2")
        if target not in known:
            folder = tmp_path_factory.mktemp("cache")
            status, out, err = run_process(folder, ALL + CODE, **TARGETS[target])
            assert (status, err) == (0, "")
            known[target] = json.loads(out)
            # Machine code that another process made cannot be looked into.
            assert len(files(folder)) == len(known[target]["code"])
        return known[target]

    return compile_for


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_numpys_bits(target, compiled):
    said = compiled(target)
    assert said["same"] == [True] * 20
    assert said["digests"] == compiled("host")["digests"]
    assert said["threads"] == 2
    assert said["own kernels"] == 2


def test_targets_differ_in_their_tiles(compiled):
    host = compiled("host")["tile"]
    if not X86:
        assert host == compiled("generic")["tile"] == [16, 8]
        return
    assert compiled("generic")["tile"] == [16, 4]
    if host_has("avx512f"):
        assert host == [64, 8]
    elif host_has("avx"):
        assert host == [32, 4]
    assert compiled("AVX2")["tile"] == [32, 4]


# --- machine code --------------------------------------------------------------------------------

# x86: vfmadd213ps, vfnmsub231sd, vfmaddsub...; ARM: fmla, fmls, fmadd, fnmsub, vfma, vmla.
FUSED = re.compile(r"^\s+(?:v?fn?m(?:add|sub)|v?fml[as]|vfn?m[as]|vml[as])\S*", re.MULTILINE)
PRODUCT = re.compile(r"^\s+v?f?mul[ps]?[sd]?\b", re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_no_product_is_fused_with_a_sum(target, compiled):
    code = compiled(target)["code"]
    assert len(code) == 2 * (3 + 3 + 1)
    for name, versions in code.items():
        assert len(versions) == 1, name
        assert PRODUCT.search(versions[0]), name
        fused = FUSED.findall(versions[0])
        assert fused == [], f"{name}: {fused[:3]}"


def test_where_fusing_is_allowed_the_bits_and_the_code_tell(tmp_path):
    if not (ARM or (X86 and host_has("fma"))):
        pytest.skip("this machine has no fused multiply-add")
    shutil.copytree(SOURCE / "fcbackends", tmp_path / "fcbackends")
    options = tmp_path / "fcbackends/kernels/jit.py"
    strict = options.read_text()
    options.write_text(strict.replace('"fastmath": False', '"fastmath": {"contract"}'))
    assert options.read_text() != strict
    some = """
DTYPES, TRAININGS = ["float32"], [((2, 3), 1, "batch")]
"""
    status, out, err = run_process(
        tmp_path / "cache", some + CODE, cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert (status, err) == (0, "")
    said = json.loads(out)
    assert said["same"] == [False] * 6
    assert len(said["code"]) == 3 + 1
    for name, (code,) in said["code"].items():
        assert FUSED.search(code), name
