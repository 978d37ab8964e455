"""Networks as C: compiled, their outputs have every bit of `predict`, and a wrong one is found."""

import ctypes
import itertools
import platform
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.maths.activations import ACTIVATIONS
from fcbackends.maths.losses import LOSSES
from tests.cases import numbers
from tests.oracle import assert_same_bits

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
FASTEST = ("-O3", "-march=native")
BUILDS = [
    ("gcc", "-O0", "-std=c99"),
    ("gcc", *FASTEST),
    ("gcc", *FASTEST, "-ffp-contract=fast"),
    ("g++", "-std=c++17", *FASTEST, "-ffp-contract=fast"),
    ("clang", "-O0", "-std=c99"),
    ("clang", *FASTEST),
]
WIDTHS = (1, 1, 2, 3, 4, 5, 8, 17)


def compiled(folder, file, out, compiler, *flags):
    """Compile a file, or skip the test where there is no such compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    libraries = () if {"-c", "-S"} & {*flags} else ("-lm",)
    command = [compiler, *STRICT, *flags, file, "-o", out, *libraries]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / out


# --- random networks -----------------------------------------------------------------------------


def drawn(rng):
    """A network of any form, with numbers of any size."""
    dtype = rng.choice(["float32", "float64"])
    sizes = rng.choice(WIDTHS, rng.choice([2, 2, 3, 4, 5]))
    spice, scale = rng.choice([0.0, 0.0, 0.1]), rng.choice([0.3, 1.0, 30.0])

    def parameter(*shape):
        values = numbers(rng, shape, dtype, spice, scale)
        return np.where(np.isfinite(values), values, values.dtype.type(0.75))

    return fcb.SavedModel(
        tuple((parameter(k, m), parameter(m)) for k, m in itertools.pairwise(sizes)),
        activation=tuple(map(str, rng.choice(list(ACTIVATIONS), len(sizes) - 2))),
        loss=str(rng.choice(list(LOSSES))),
        arithmetic=str(rng.choice(["ordered", "fused"])),
        inputs=scaling(rng, sizes[0]),
        outputs=scaling(rng, sizes[-1]),
    )


def scaling(rng, columns):
    if rng.random() < 0.7:
        return None
    return fcb.Scaling(10 * rng.normal(size=columns), rng.exponential(size=columns) + 0.1)


def samples(rng, network, count=40):
    """Inputs of which some are zeros, infinite, NaN, largest, least or subnormal."""
    w = network.params[0][0]
    dtype = "float64" if network.inputs else w.dtype
    parts = [
        numbers(rng, (count, len(w)), dtype, spice, scale)
        for spice, scale in ((0.0, 1.0), (0.0, 30.0), (0.1, 1.0), (0.7, 1.0))
    ]
    return np.concatenate(parts)


def with_loop(path, name):
    """The file with a loop over samples, which a compiler would like to inline the network into."""
    text = path.read_text(encoding="ascii")
    loops = ""
    for function in ("predict", "predict_proba"):
        if found := re.search(rf"^void {name}_{function}\(const (\w+) \*x, (\w+) \*", text, re.M):
            taken, given = found.groups()
            loops += f"""
void {name}_{function}_all(size_t count, const {taken} *x, {given} *y);
void {name}_{function}_all(size_t count, const {taken} *x, {given} *y)
{{
    size_t i;
    for (i = 0; i < count; i++)
        {name}_{function}(x + i * {name}_inputs, y + i * {name}_outputs);
}}
"""
    guarded = f'#ifdef __cplusplus\nextern "C" {{\n#endif{loops}#ifdef __cplusplus\n}}\n#endif\n'
    path.write_text(text + guarded, encoding="ascii")


def written(folder, networks):
    """The name of a C file that holds all networks."""
    for i, network in enumerate(networks):
        fcb.export_c(network, folder / f"n{i}.c", name=f"n{i}")
        with_loop(folder / f"n{i}.c", f"n{i}")
    included = "".join(f'#include "n{i}.c"\n' for i in range(len(networks)))
    (folder / "all.c").write_text(included)
    return "all.c"


def library_of(folder, networks, *build):
    """All networks in one file, compiled and loaded."""
    file = written(folder, networks)
    return ctypes.CDLL(str(compiled(folder, file, "all.so", *build, "-shared", "-fPIC")))


def called(library, function, x, given):
    y = np.empty((len(x), given[1]), given[0])
    getattr(library, function)(ctypes.c_size_t(len(x)), *map(address, (x, y)))
    return y


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


def compare(folder, rng, count, *build):
    """How many outputs of random networks were compared, all of them equal in every bit."""
    networks = [drawn(rng) for _ in range(count)]
    library, compared = library_of(folder, networks, *build), 0
    for i, network in enumerate(networks):
        assert getattr(library, f"n{i}_self_test")() == 0
        x = samples(rng, network)
        with np.errstate(all="ignore"):
            want = {"predict": network.predict(x, backend="numpy")}
            if LOSSES[network.loss].probabilities:
                want["predict_proba"] = network.predict_proba(x, backend="numpy")
        for function, y in want.items():
            got = called(library, f"n{i}_{function}_all", x, (y.dtype, y.shape[1]))
            assert_same_bits(got, y, f"{function} of {network}")
            compared += y.size
    return compared


@pytest.mark.parametrize("build", BUILDS, ids=" ".join)
def test_random_networks_have_the_same_bits(tmp_path, build):
    assert compare(tmp_path, np.random.default_rng(0), 12, *build) > 1000


@pytest.mark.campaign
@pytest.mark.parametrize("build", BUILDS, ids=" ".join)
@pytest.mark.parametrize("seed", range(10))
def test_500_random_networks_have_the_same_bits(tmp_path, seed, build):
    assert compare(tmp_path, np.random.default_rng(seed + 1), 50, *build) > 10_000


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementary_functions_have_the_same_bits(tmp_path, activation, dtype):
    rng = np.random.default_rng(3)
    one = np.ones((1, 1), dtype), np.zeros(1, dtype)
    network = fcb.SavedModel((one, one), activation=activation)
    exponents = rng.uniform(-40, 11, 200_000)
    x = (np.exp2(exponents) * rng.choice([-1, 1], exponents.size)).astype(dtype)[:, None]
    library = library_of(tmp_path, [network], "gcc", *FASTEST)
    got = called(library, "n0_predict_all", x, (dtype, 1))
    assert_same_bits(got, network.predict(x, backend="numpy"))


# --- what is exported ----------------------------------------------------------------------------


def test_results_trainers_and_parameters_are_exported(tmp_path):
    x, t = [[1.0], [2.0]], [[3.0], [5.0]]
    trainer = fcb.Trainer(fcb.init_params((1, 3, 1)), activation="tanh", lr=0.1)
    result = trainer.run(x, t, max_steps=5)
    texts = []
    for model in (trainer, result, fcb.SavedModel(result.params, activation="tanh")):
        fcb.export_c(model, tmp_path / "n.c")
        texts.append((tmp_path / "n.c").read_text())
    assert texts == texts[:1] * 3
    assert fcb.digest(result.params) in texts[0]
    fcb.export_c([([[1, 2]], [3, 4])], str(tmp_path / "p.c"))
    assert "0x1p+0, 0x1p+1\n" in (tmp_path / "p.c").read_text()


def test_a_file_has_the_functions_it_needs_alone(tmp_path):
    path = tmp_path / "n.c"
    for activation, has in (("relu", ()), ("tanh", ("tanh",)), ("sigmoid", ("sigmoid",))):
        network = fcb.SavedModel(fcb.init_params((2, 3, 1)), activation=activation)
        fcb.export_c(network, path)
        text = path.read_text(encoding="ascii")
        assert "predict_proba" not in text
        for name in ("tanh", "sigmoid", "exp"):
            assert (f"network_{name}(" in text) == (name in has)
        assert max(map(len, text.splitlines())) <= 110


def test_weights_are_exact(tmp_path):
    for dtype in ("float32", "float64"):
        info = np.finfo(dtype)
        hard = [info.max, info.smallest_normal, info.smallest_subnormal, -0.0, 0.0, 1 / 3, info.min]
        w = np.array([hard], dtype)
        fcb.export_c(((w, np.zeros(7, dtype)),), tmp_path / "n.c")
        table = re.search(r"network_w0\[7\] = \{(.*?)\}", (tmp_path / "n.c").read_text(), re.S)[1]
        values = [float.fromhex(v.strip().removesuffix("f")) for v in table.split(",")]
        assert_same_bits(np.array(values).astype(dtype), w[0])


# --- the self-test -------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    """A file of a network whose self-test passes."""
    rng = np.random.default_rng(5)
    params = fcb.init_params((5, 7, 4), seed=1)
    params = tuple((w, rng.normal(size=len(b))) for w, b in params)
    fcb.export_c(fcb.SavedModel(params, loss="cross_entropy"), tmp_path / "network.c")
    return tmp_path / "network.c"


def program(path, *build):
    build = build or ("gcc", "-O2")
    return compiled(path.parent, path.name, "program", *build, "-DNETWORK_MAIN")


def run(program, line="", by=()):
    words = [*by, str(program)]
    done = subprocess.run(words, input=line, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout, done.stderr


FAILED = (1, "", "network: the self-test failed\n")


def changed(path, pattern, change):
    """The first thing of this pattern, changed."""
    text = path.read_text(encoding="ascii")
    new = re.sub(pattern, change, text, count=1)
    assert new != text
    path.write_text(new, encoding="ascii")


def next_number(found):
    return f"{found[1]}{np.nextafter(float.fromhex(found[2]), np.inf).hex()}"


@pytest.mark.parametrize("table", ["w0", "b0", "w1", "b1", "golden_y", "golden_p"])
def test_a_last_bit_that_is_another_is_found(path, table):
    assert run(program(path)) == (0, "", "")
    changed(path, rf"(network_{table}\[\d+\] = {{\n    )([-\w.+]+)", next_number)
    assert run(program(path)) == FAILED


def test_another_order_of_the_sums_is_found(path):
    descending = "for (k = inputs - 1; k > 0; k--)"
    changed(path, re.escape("for (k = 1; k < inputs; k++)"), lambda _: descending)
    assert run(program(path)) == FAILED


def fuses():
    """Whether products are fused with sums here, where a compiler may."""
    if platform.machine() == "x86_64":
        cpus = Path("/proc/cpuinfo")
        return cpus.exists() and " fma " in cpus.read_text()
    return platform.machine() in ("aarch64", "arm64")


FUSED = re.compile(r"^\s+(vfn?m\w+|fn?m(?:add|sub)|fml[as])\s", re.M)


@pytest.mark.skipif(not fuses(), reason="a processor without fused multiply-add, or unknown")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_nothing_is_fused_in_the_code_of_ordered_networks(tmp_path, compiler):
    rng = np.random.default_rng(9)
    networks = [replace(drawn(rng), arithmetic="ordered") for _ in range(25)]
    # Of few layers nothing but sums is left where loops are unrolled, and differences.
    one = np.array([[3.3, 7.1]]), np.array([0.3, -0.7])
    networks += [fcb.SavedModel((one,))]
    build = (compiler, *FASTEST, "-S")
    code = compiled(tmp_path, written(tmp_path, networks), "all.s", *build)
    assert FUSED.findall(code.read_text("latin-1")) == []
    networks = [fcb.SavedModel(fcb.init_params((3, 4, 4)), arithmetic="fused")]
    code = compiled(tmp_path, written(tmp_path, networks), "all.s", *build)
    assert FUSED.findall(code.read_text("latin-1")) != []


@pytest.mark.skipif(not fuses(), reason="a processor without fused multiply-add, or unknown")
def test_fused_products_are_found_where_the_file_does_not_forbid_them(path):
    fast = ("gcc", *FASTEST, "-ffp-contract=fast")
    assert run(program(path, *fast)) == (0, "", "")
    changed(path, "#pragma GCC optimize.*", lambda _: "")
    assert run(program(path, *fast)) == FAILED


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(
            (*FASTEST, "-ffp-contract=fast"),
            marks=pytest.mark.skipif(not fuses(), reason="as above"),
        ),
        ("-O2", "-fassociative-math", "-fno-signed-zeros"),
        ("-O2", "-funsafe-math-optimizations"),
    ],
    ids=" ".join,
)
def test_what_clang_does_not_tell_is_found(path, flags):
    assert run(program(path, "clang", *flags)) == FAILED


@pytest.mark.skipif(platform.machine() != "x86_64", reason="GCC's start-up code of x86")
def test_subnormal_numbers_as_zeros_are_found(path):
    # Linked so, a program begins by turning them off.
    (path.parent / "start.c").write_text('#define NETWORK_MAIN\n#include "network.c"\n')
    compiled(path.parent, "start.c", "start.o", "gcc", "-c")
    linked = compiled(path.parent, "start.o", "start", "gcc", "-ffast-math")
    assert run(linked) == FAILED


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("-ffast-math", "-ffast-math"),
        ("-Ofast", "-ffast-math"),
        ("-ffinite-math-only", "-ffast-math"),
        ("-fno-signed-zeros", "-ffast-math"),
        pytest.param(
            "-mfpmath=387",
            "FLT_EVAL_METHOD",
            marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="an option of x86"),
        ),
    ],
)
def test_options_that_change_bits_are_refused(path, flags, word):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    command = ["gcc", flags, "-c", str(path), "-o", str(path.parent / "n.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert re.search(rf"#error .*{word}", done.stderr)


def test_the_program_reads_samples_and_writes_bits(path):
    made = program(path)
    x = np.random.default_rng(6).normal(size=(20, 5))
    x[3], x[4, 2], x[5, 1] = -0.0, np.inf, np.nan
    text = "\n".join(" ".join(map(float.hex, row)) for row in x.tolist())
    status, out, err = run(made, text)
    assert (status, err) == (0, "")
    got = np.array([[float.fromhex(word) for word in line.split()] for line in out.splitlines()])
    with np.errstate(all="ignore"):
        params = params_in(path)
        assert_same_bits(got[:, :4], fcb.predict(params, x))
        assert_same_bits(got[:, 4:], fcb.predict_proba(params, x))
    for line in ("1 2 3 4", "1 2 x 4 5"):
        status, out, err = run(made, line)
        assert (status, out) == (2, "")
        assert err == "network: no number, or not as many as there are inputs\n"


def params_in(path):
    text = path.read_text(encoding="ascii")
    found = re.findall(r"network_[wb]\d\[\d+\] = {(.*?)}", text, re.S)
    w0, b0, w1, b1 = ([float.fromhex(v.strip()) for v in t.split(",")] for t in found)
    return ((np.reshape(w0, (5, 7)), np.array(b0)), (np.reshape(w1, (7, 4)), np.array(b1)))


@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_on_arm_bits_are_the_same(tmp_path, level):
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("qemu-aarch64 is not installed")
    rng = np.random.default_rng(8)
    for i in range(3):
        network = drawn(rng)
        fcb.export_c(network, tmp_path / f"n{i}.c")
        build = ("aarch64-linux-gnu-gcc", level, "-static", "-DNETWORK_MAIN")
        made = compiled(tmp_path, f"n{i}.c", f"n{i}", *build)
        x = samples(rng, network, 5)
        text = "\n".join(" ".join(map(float.hex, row)) for row in x.tolist())
        status, out, err = run(made, text, by=["qemu-aarch64"])
        assert (status, err) == (0, "")
        with np.errstate(all="ignore"):
            want = network.predict(x, backend="numpy")
        got = [[float.fromhex(word) for word in line.split()] for line in out.splitlines()]
        assert_same_bits(np.array(got)[:, : want.shape[1]].astype(want.dtype), want)
