"""Kernels compiled for other processors: other vectors and tiles, the same bits.

Nothing is fused in ordered arithmetic, and in fused arithmetic only products of matrices.
"""

import functools
import json
import re
import shutil

import pytest

from tests.cases import needs_jit
from tests.targets import (
    ARM,
    CODE,
    FUSED,
    LAYERS,
    PRODUCT,
    SOME,
    TARGETS,
    WITHOUT_MATRICES,
    X86,
    assert_fused_as_written,
    assert_not_fused,
    compiled_for,
    host_has,
)
from tests.test_kernel_cache import SOURCE
from tests.test_kernel_cache import run as run_process

pytestmark = needs_jit


@pytest.fixture
def compiled(tmp_path_factory):
    return functools.partial(compiled_for, tmp_path_factory)


# The host's kernels are all other tests'; and between the lowest and the highest of LLVM's levels
# are those for campaigns.
of_each_target = pytest.mark.parametrize(
    "target",
    [
        pytest.param(name, marks=pytest.mark.campaign if "host" in name else pytest.mark.slow)
        for name in TARGETS
    ],
)


slow_host = pytest.param("host", marks=pytest.mark.slow)
slow_generic = pytest.param("generic", marks=pytest.mark.slow)
avx2_in_campaigns = pytest.param("AVX2", marks=pytest.mark.campaign)


def assert_numpys_bits(said):
    assert said["same"] == [True] * 10 * len(said["dtypes"])
    assert said["threads"] == 2
    assert said["own kernels"] == 3 * len(said["dtypes"])
    assert said["golden"] == [[], []]


@of_each_target
def test_every_target_has_numpys_bits(target, compiled):
    assert_numpys_bits(compiled(target))


@pytest.mark.parametrize("target", [slow_generic, slow_host, avx2_in_campaigns])
def test_targets_have_numpys_bits_of_fused_sums(target, compiled):
    assert_numpys_bits(compiled(target, "fused"))


@pytest.mark.slow
def test_targets_differ_in_their_tiles(compiled):
    host = compiled("host", "fused")["tile"]
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


def test_the_hosts_layers_have_numpys_bits_and_fuse_no_product(tmp_path):
    status, out, err = run_process(tmp_path / "cache", LAYERS + CODE)
    assert (status, err) == (0, "")
    said = json.loads(out)
    assert said["same"] == [True] * 5
    assert len(said["code"]) == 3
    for name, (code,) in said["code"].items():
        assert_not_fused(name, code)


@of_each_target
def test_no_product_is_fused_with_a_sum(target, compiled):
    for name, (text,) in compiled(target)["code"].items():
        assert_not_fused(name, text)


@pytest.mark.parametrize("target", [slow_host, avx2_in_campaigns])
def test_fused_sums_are_one_instruction_each_and_nothing_else_is(target, compiled):
    if not (ARM or (X86 and host_has("fma"))):
        pytest.skip("this machine has no fused multiply-add")
    said = compiled(target, "fused")
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
