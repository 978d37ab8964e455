"""The class of a backend is found by what it computes, whatever it is called."""

import dataclasses
import shutil

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.conformance import selftest
from fcbackends.kernels import storage
from fcbackends.kernels.cache import cache_directory
from tests.broken import (
    backend_of,
    bias_first_forward,
    contracted_forward,
    dividing_loss,
    flat_loss,
    flushed,
    masked_gradient,
    maximum,
    pairwise_sums_backward,
    reversed_backward,
    reversed_forward,
    sum_from_zero_forward,
    unrounded_rate,
    widened_forward,
)
from tests.cases import DTYPES, needs_jit
from tests.float_state import SETS_REGISTER, needs_x86
from tests.oracle import fast, slow
from tests.test_kernel_cache import SOURCE
from tests.test_kernel_cache import run as run_process

NUMPY = fcb.get_backend("numpy")


@pytest.mark.jit_off
@pytest.mark.parametrize("ops", [slow, fast], ids=["scalar loops", "elementwise"])
def test_the_oracle_is_of_class_a_so_that_the_digests_are_right(ops):
    found = selftest.self_test(backend_of(ops))
    assert found == ("A", "every bit is as it must be")


@pytest.mark.parametrize("name", ["numpy", "numba", "array_api_strict"])
def test_the_packages_own_backends_are_of_class_a(name):
    found = fcb.get_backend(name).conformance
    assert found == ("A", "every bit is as it must be")


def test_the_class_is_found_once_and_then_known(monkeypatch):
    calls = []
    backend = dataclasses.replace(NUMPY, predict=lambda *a: calls.append(1) or NUMPY.predict(*a))
    assert backend.conformance is backend.conformance
    assert backend.conformance.letter == "A"
    assert len(calls) == 3 * 2


@pytest.mark.parametrize("name", ["numpy", "array_api_strict"])
def test_native_arithmetic_is_of_class_c(name):
    found = fcb.get_backend(name, arithmetic="native").conformance
    assert found == ("C", "the library's own matmul and sums")


def test_another_tanh_is_found_out():
    def predict(params, x, activation="relu"):
        y = NUMPY.predict(params, x, activation)
        return y if "tanh" not in activation else np.nextafter(y, y + y)

    found = dataclasses.replace(NUMPY, predict=predict).conformance
    assert found == ("C", "activation has other bits than the contract's, in float32")


def test_native_arithmetic_under_another_name_is_found_out():
    native = fcb.get_backend("numpy", arithmetic="native")
    found = dataclasses.replace(native, arithmetic="ordered").conformance
    assert found.letter == "C"
    assert found.reason.endswith(", in float32")


BROKEN = {
    "fused": (
        dict(forward=contracted_forward),
        "sums are fused, in float32",
    ),
    "reversed": (dict(forward=reversed_forward), "sums run in another order, in float32"),
    "bias first": (dict(forward=bias_first_forward), "the bias is not added last, in float32"),
    "extended": (
        dict(forward=widened_forward),
        "sums are fused, in float32",
    ),
    "sum from +0": (
        dict(forward=sum_from_zero_forward),
        "zeros change their signs, in float32",
    ),
    "maximum": (
        dict(relu=maximum),
        "ReLU changes the sign of a zero, in float32",
    ),
    "masked gradient": (
        dict(relu_backward=masked_gradient),
        "ReLU's gradient is not +0, in float32",
    ),
    "reversed backward": (
        dict(backward=reversed_backward),
        "sums of dw run in another order, in float32",
    ),
    "pairwise": (
        dict(backward=pairwise_sums_backward),
        "fc_backward has other bits than the contract's, in float32",
    ),
    "flat loss": (
        dict(loss=flat_loss),
        "mean_squared_loss has other bits than the contract's, in float32",
    ),
    "division": (
        dict(loss=dividing_loss),
        "mean_squared_loss has other bits than the contract's, in float32",
    ),
    "unrounded lr": (
        dict(descend=unrounded_rate),
        "sgd_step has other bits than the contract's, in float32",
    ),
    "one dtype": (
        dict(forward=lambda x, w, b: fast.forward(x, w, b).astype(np.float32)),
        "ArgumentTypeError: `a` and `b` must be of the same dtype, got float32 and float64",
    ),
    "raising": (
        dict(forward=lambda x, w, b: 1 // 0),
        "ZeroDivisionError: integer division or modulo by zero",
    ),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_a_defect_gives_class_c_and_its_reason(defect):
    changes, reason = BROKEN[defect]
    found = backend_of(fast, **changes).conformance
    assert found == ("C", reason)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flushed_subnormals_give_class_b(dtype):
    def forward(x, w, b):
        y = fast.forward(x, w, b)
        return flushed(y) if y.dtype == dtype else y

    found = backend_of(fast, forward=forward).conformance
    assert found == ("B", f"subnormals become zero in {dtype}")


@pytest.mark.parametrize("function", ["forward", "loss", "descend"])
def test_flushing_anywhere_gives_class_b(function):
    def change(*arguments):
        result = getattr(fast, function)(*arguments)
        return tuple(map(flushed, result)) if isinstance(result, tuple) else flushed(result)

    assert backend_of(fast, **{function: change}).conformance.letter == "B"


def test_subnormals_that_become_something_else_give_class_c():
    def forward(x, w, b):
        y = fast.forward(x, w, b)
        return np.where(abs(y) < np.finfo(y.dtype).smallest_normal, abs(flushed(y)), y)

    found = backend_of(fast, forward=forward).conformance
    assert found.letter == "C"
    assert found.reason in (
        "zeros change their signs, in float32",
        "ArithmeticError: subnormal numbers go wrong in float32",
    )


def test_a_dtype_that_is_switched_off_is_told():
    def asarray(values, dtype=None):
        if dtype == "float64":
            raise fcb.ArgumentTypeError("dtype", "be float32", dtype)
        return np.asarray(values, dtype)

    found = dataclasses.replace(NUMPY, asarray=asarray).conformance
    assert found == ("A", "every bit is as it must be; float64 is switched off")


def test_a_dtype_that_is_narrowed_without_a_word_gives_class_c():
    def asarray(values, dtype=None):
        return np.asarray(values, np.float32)

    found = dataclasses.replace(NUMPY, asarray=asarray).conformance
    assert found.letter == "C"
    assert "got float32 and float64" in found.reason


# --- in processes of their own -------------------------------------------------------------------

SHOW = """
import fcbackends as fcb
for name in ("numpy", "numba"):
    found = fcb.get_backend(name).conformance
    print(name, *found)
"""

LOSSES = """
import numpy as np
import fcbackends as fcb
for dtype in ("float32", "float64"):
    fcb.mean_squared_loss(np.ones((2, 3), dtype), np.ones((2, 3), dtype))
"""


@needs_jit
@needs_x86
@pytest.mark.parametrize("compiles", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_process_that_flushes_subnormals_is_found(compiles, tmp_path):
    cache = tmp_path if compiles else cache_directory().parent
    if not compiles:
        assert run_process(cache, SHOW)[0] == 0
    status, out, err = run_process(cache, SETS_REGISTER + "set_register(FLUSHES)" + SHOW)
    assert (status, err) == (0, "")
    reason = "subnormals become zero in float32 and float64"
    assert out.splitlines() == [f"numpy B {reason}", f"numba B {reason}"]


@needs_jit
def test_a_stale_compiled_kernel_is_found(tmp_path):
    """What broken sources left stands where the kernels of the right ones are read from."""
    shutil.copytree(SOURCE / "fcbackends", tmp_path / "fcbackends")
    kernels = tmp_path / "fcbackends/kernels/layers.py"
    right = kernels.read_text()
    kernels.write_text(right.replace("(1.0 / samples)", "(2.0 / samples)"))
    assert kernels.read_text() != right
    caches = tmp_path / "wrong", tmp_path / "right"
    for cache, source in zip(caches, (tmp_path, SOURCE), strict=True):
        assert run_process(cache, LOSSES, cwd=source, PYTHONPATH=str(source))[0] == 0
    (wrong_build,), (right_build,) = ((cache / "fcbackends").iterdir() for cache in caches)
    # The other kernels are those that this process uses, where it uses the same build.
    others = cache_directory() / right_build.name
    if others.exists():
        shutil.copytree(others, right_build, dirs_exist_ok=True)
    for file in wrong_build.iterdir():
        storage.write(right_build / file.name, storage.read(file))
    status, out, err = run_process(caches[1], SHOW)
    assert (status, err) == (0, "")
    assert (
        out.splitlines()[1]
        == "numba C mean_squared_loss has other bits than the contract's, in float32"
    )
