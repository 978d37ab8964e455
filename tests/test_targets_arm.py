"""Kernels' machine code for ARM, from any machine: what is fused there, and what is not."""

import functools
import re

import pytest

from tests.cases import needs_jit
from tests.targets import (
    ARM,
    FUSED,
    assert_fused_as_written,
    assert_not_fused,
    compiled_for,
)

pytestmark = needs_jit

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


@pytest.fixture
def compiled(tmp_path_factory):
    return functools.partial(compiled_for, tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["generic", "apple-m1", "neoverse-v1"])
def test_arm_fuses_what_is_written_so_and_nothing_else(cpu, compiled):
    kernels = compiled("generic", "fused")["ir"]
    for name, (ir,) in kernels.items():
        assert_fused_as_written(name, ir, code_for_arm(ir, cpu, 0, optimises=False))


@pytest.mark.parametrize(
    ("cpu", "level"),
    [
        pytest.param("generic", 0, marks=pytest.mark.slow),
        pytest.param("generic", 1, marks=pytest.mark.campaign),
        pytest.param("generic", 2, marks=pytest.mark.campaign),
        pytest.param("apple-m1", 3, marks=pytest.mark.campaign),
        pytest.param("neoverse-v1", 3, marks=pytest.mark.slow),
    ],
)
def test_arm_fuses_no_product_of_kernels_that_it_optimises(cpu, level, compiled):
    kernels = compiled("generic")["ir"]
    for name, (ir,) in kernels.items():
        code = code_for_arm(ir, cpu, level, optimises=True)
        assert_not_fused(name, code)
        assert bool(SVE.search(code)) == ARMS[cpu], name


@pytest.mark.skipif(
    ARM, reason="the host's kernels are ARM's own, and may need what this CPU lacks"
)
@pytest.mark.campaign
@pytest.mark.parametrize("cpu", ["generic", "neoverse-v1"])
def test_arm_fuses_no_product_of_kernels_that_the_host_optimised(cpu, compiled):
    kernels = compiled("host")["ir"]
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
