"""Kernels compiled for other processors: other vectors and tiles, the same bits.

Nothing is fused in ordered arithmetic, and in fused arithmetic only products of matrices.
"""

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
for *how, weighted, one_sample, rule, dtype, _ in small_kernels._kernels:
    family = small_kernels.small.small_steps(*how, rule, weighted=weighted, one_sample=one_sample)
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
    "digests": want,
    "tile": [tiles.VECTOR_BYTES, tiles.ROWS],
    "arithmetic": arithmetic,
    "threads": threads.threads_for(10_000),
    "golden": ended,
    "made": len(jit._made),
    "own kernels": worth_their_own,
    "code": of(lambda kernel: kernel.inspect_asm()),
    "ir": of(lambda kernel: kernel.inspect_llvm()),
}))
"""

ALL = """
DTYPES, TRAININGS = ["float32", "float64"], [
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
    "host, optimized 1": {"NUMBA_OPT": "1"},
    "host, optimized 2": {"NUMBA_OPT": "2"},
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What the program says that was compiled for a target, once for all tests."""
    known = {}

    def compile_for(target, arithmetic="ordered"):
        if target == "AVX2" and not (X86 and host_has(*AVX2)):
            pytest.skip("this machine cannot run what is compiled for AVX2")
        if (target, arithmetic) not in known:
            folder = tmp_path_factory.mktemp("cache")
            chosen = {**TARGETS[target], "FCBACKENDS_ARITHMETIC": arithmetic}
            status, out, err = run_process(folder, ALL + CODE, **chosen)
            assert status == 0, err
            slow = X86 and (target, arithmetic) == ("generic", "fused")
            assert err.count("arithmetic 'fused' is slow here: ") == slow
            assert slow or err == ""
            said = known[target, arithmetic] = json.loads(out)
            assert said["arithmetic"] == arithmetic
            # Machine code that another process made cannot be looked into.
            assert len(files(folder)) == said["made"]
        return known[target, arithmetic]

    return compile_for


CHOSEN = [
    *((target, "ordered") for target in TARGETS),
    *((target, "fused") for target in ("generic", "AVX2", "host")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "arithmetic"), CHOSEN)
def test_every_target_has_numpys_bits(target, arithmetic, compiled):
    said = compiled(target, arithmetic)
    assert said["same"] == [True] * 20
    assert said["digests"] == compiled("host", arithmetic)["digests"]
    assert said["threads"] == 2
    assert said["own kernels"] == 6
    assert said["golden"] == [[], []]


@pytest.mark.slow
def test_targets_differ_in_their_tiles(compiled):
    host = compiled("host")["tile"]
    if not X86:
        assert host == compiled("generic")["tile"] == [16, 8]
        return
    assert compiled("generic")["tile"] == [16, 6]
    if host_has("avx512f"):
        assert host == [64, 8]
    elif host_has("avx"):
        assert host == [32, 6]
    assert compiled("AVX2")["tile"] == [32, 6]


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


FUSED_NAMES = """
vfmadd213ps vfnmsub231sd vfmaddsub132pd fmadd fmsub fnmadd fnmsub
fmla fmls fmlal fmlsl2 fcmla bfmlalb fmad fmsb fnmla fnmls fnmad fnmsb
fmmla bfmmla bfdot fmopa vfma.f32 vfms.f32 vmla.f32 vnmls.f64
"""
PRODUCT_NAMES = "mulss mulps vmulsd vmulpd fmul fnmul"
OTHER_NAMES = """
addss vaddpd fadd fadda fsub
mul imulq mulq madd msub mneg mla mls smlal vpmuludq
"""


def test_what_is_fused_is_seen():
    calls = ("callq\tfmaf", "jmp\tfma@PLT", "movabsq\t$fma, %rax", "bl\tfmaf", "b\t_fma")
    for operation in (*FUSED_NAMES.split(), *calls):
        assert FUSED.search(f"kernel:\n\t{operation}\n\tret\n"), operation


def test_what_is_rounded_twice_is_let_through():
    for operation in PRODUCT_NAMES.split() + OTHER_NAMES.split():
        code = f"kernel:\n\t{operation}\tx0\n\tret\n"
        assert not FUSED.search(code), operation
        assert bool(PRODUCT.search(code)) == (operation in PRODUCT_NAMES.split()), operation


KERNELS = 2 * (3 + 3 + 3)
"""Of layers, of trainings and of small networks, in both dtypes; there are more."""


def assert_not_fused(name, code):
    assert PRODUCT.search(code), name
    fused = FUSED.findall(code)
    assert fused == [], f"{name}: {fused[:3]}"


def test_the_hosts_layers_have_numpys_bits_and_fuse_no_product(tmp_path):
    status, out, err = run_process(tmp_path / "cache", LAYERS + CODE)
    assert (status, err) == (0, "")
    said = json.loads(out)
    assert said["same"] == [True] * 5
    assert len(said["code"]) == 3
    for name, (code,) in said["code"].items():
        assert_not_fused(name, code)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_no_product_is_fused_with_a_sum(target, compiled):
    code = compiled(target)["code"]
    assert len(code) > KERNELS
    for name, (text,) in code.items():
        assert_not_fused(name, text)


CALL = re.compile(r"call .*@llvm\.fma\.(?:v(\d+))?f(?:32|64)\(")
WITHOUT_MATRICES = ("layers.loss_and_gradient", "activations.", "losses.")


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


@pytest.mark.slow
@pytest.mark.parametrize("target", ["AVX2", "host"])
def test_fused_sums_are_one_instruction_each_and_nothing_else_is(target, compiled):
    if not (ARM or (X86 and host_has("fma"))):
        pytest.skip("this machine has no fused multiply-add")
    said = compiled(target, "fused")
    assert len(said["code"]) > KERNELS
    for name, (code,) in said["code"].items():
        assert_fused_as_written(name, said["ir"][name][0], code)


@pytest.mark.slow
def test_a_target_without_the_instruction_calls_the_c_librarys_function(compiled):
    if not X86:
        pytest.skip("every ARM of 64 bits has the instruction")
    for name, (code,) in compiled("generic", "fused")["code"].items():
        calls = re.findall(r"\bfmaf?\b", code)
        assert bool(calls) != name.startswith(WITHOUT_MATRICES), name


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["generic", "apple-m1", "neoverse-v1"])
def test_arm_fuses_what_is_written_so_and_nothing_else(cpu, compiled):
    kernels = compiled("generic", "fused")["ir"]
    assert len(kernels) > KERNELS
    for name, (ir,) in kernels.items():
        assert_fused_as_written(name, ir, code_for_arm(ir, cpu, 0, optimises=False))


@pytest.mark.slow
def test_where_fusing_is_allowed_the_bits_and_the_code_tell(tmp_path):
    if not (ARM or (X86 and host_has("fma"))):
        pytest.skip("this machine has no fused multiply-add")
    shutil.copytree(SOURCE / "fcbackends", tmp_path / "fcbackends")
    options = tmp_path / "fcbackends/kernels/jit.py"
    strict = options.read_text()
    options.write_text(strict.replace('"fastmath": False', '"fastmath": {"contract"}'))
    assert options.read_text() != strict
    status, out, err = run_process(
        tmp_path / "cache", SOME + CODE, cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert (status, err) == (0, "")
    said = json.loads(out)
    assert said["same"] == [False] * 6
    assert len(said["code"]) == 3 + 1
    for name, (code,) in said["code"].items():
        assert FUSED.search(code), name


# --- ARM, from any machine -----------------------------------------------------------------------

SVE = re.compile(r"\bz\d+\.[sd]\b")
ARMS = {"generic": False, "apple-m1": False, "neoverse-v1": True}
"""CPUs, and whether they have SVE."""


def code_for_arm(ir, cpu, level, *, optimises):
    """The machine code of a kernel that was compiled for the host up to LLVM's language."""
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite compiles for no ARM")
    machine = target.create_target_machine(cpu=cpu, opt=level)
    # What is said of single functions goes before what is said of the machine.
    ir = re.sub(r'"(?:target-cpu|target-features|tune-cpu)"="[^"]*"', "", ir)
    # LLVM ends the process where it meets another processor's intrinsics.
    assert "llvm.x86." not in ir
    module = binding.parse_assembly(ir)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    if optimises:
        options = binding.create_pipeline_tuning_options(speed_level=level)
        options.loop_vectorization = options.slp_vectorization = True
        passes = binding.create_pass_builder(machine, options)
        passes.getModulePassManager().run(module, passes)
    return machine.emit_assembly(module)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cpu", "level"),
    [("generic", 0), ("generic", 1), ("generic", 2), ("apple-m1", 3), ("neoverse-v1", 3)],
)
def test_arm_fuses_no_product_of_kernels_that_it_optimises(cpu, level, compiled):
    kernels = compiled("generic")["ir"]
    assert len(kernels) > KERNELS
    for name, (ir,) in kernels.items():
        code = code_for_arm(ir, cpu, level, optimises=True)
        assert_not_fused(name, code)
        assert bool(SVE.search(code)) == ARMS[cpu], name


@pytest.mark.slow
@pytest.mark.skipif(
    ARM, reason="the host's kernels are ARM's own, and may need what this CPU lacks"
)
@pytest.mark.parametrize("cpu", ["generic", "neoverse-v1"])
def test_arm_fuses_no_product_of_kernels_that_the_host_optimised(cpu, compiled):
    kernels = compiled("host")["ir"]
    assert len(kernels) > KERNELS
    for name, (ir,) in kernels.items():
        assert_not_fused(name, code_for_arm(ir, cpu, 3, optimises=False))


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ARMS)
def test_where_fusing_is_allowed_arm_does(cpu, compiled):
    kernels = compiled("generic")["ir"]
    some = [name for name in kernels if name.endswith("32") and name.startswith(("lay", "small"))]
    assert len(some) == 3 + 3
    for name in some:
        (strict,) = kernels[name]
        ir = re.sub(r"= (fmul|fadd) ", r"= \1 contract ", strict)
        assert ir != strict
        assert FUSED.search(code_for_arm(ir, cpu, 3, optimises=True)), name
