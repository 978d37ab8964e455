"""The fused loop takes whatever the protocol of loops promises, with NumPy's bits."""

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.backends.loop import Plan
from fcbackends.kernels.matmul import ROWS_A_BLOCK
from fcbackends.maths.network import Method, State
from tests.cases import DTYPES, LAYOUTS, problem
from tests.oracle import assert_same_bits

pytestmark = pytest.mark.jit_off

METHOD = Method(0.01)


def loops(params, method=METHOD):
    """NumPy's loop, and the fused one."""
    backends = (fcb.get_backend(name) for name in ("numpy", "numba"))
    return [backend.training_loop(params, method) for backend in backends]


# --- arrays of any layout ------------------------------------------------------------------------


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


# A number with its bytes in another order is not of the network's dtype.
LAID_OUT = {
    **{name: layout for name, layout in LAYOUTS.items() if "byte order" not in name},
    "read-only": read_only,
    "column": lambda a: np.repeat(a[..., None], 3, axis=-1)[..., 1],
    "broadcast row": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim == 2 else a,
}


@pytest.mark.parametrize("layout", LAID_OUT)
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_on_arrays_of_any_layout(dtype, layout):
    case = problem(1, (3, 5, 2), 7, dtype)
    want, got = loops(case.params)
    for x, t in ((case.x[0], case.t[0]), (case.x, case.t), (case.x[:1], case.t[:1])):
        x, t = LAID_OUT[layout](x), LAID_OUT[layout](t)
        assert got.step(x, t, 1) == want.step(np.array(x), np.array(t), 1)
        assert_same_bits(got.params, want.params)
        if x.ndim == 2:
            assert got.loss(x, t) == want.loss(np.array(x), np.array(t))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_batch_of_several_blocks_of_rows(activation):
    case = problem(5, (1, 2, 1), 2 * ROWS_A_BLOCK + 3, "float64")
    method = METHOD._replace(activation=activation)
    want, got = loops(case.params, method)
    for step in (1, 2):
        assert got.step(case.x, case.t, step) == want.step(case.x, case.t, step)
    assert_same_bits(got.params, want.params)


# --- state ---------------------------------------------------------------------------------------


def test_a_state_takes_the_loop_back():
    case = problem(2, (3, 40, 2), 50, "float32")
    plan = Plan(4, "replacement", 0, None, "batch", 7)
    _, loop = loops(case.params)
    first = loop.state
    assert_same_bits(first.params, case.params)
    ends = []
    for _ in range(2):
        loop.state = first
        assert_same_bits(loop.params, case.params)
        ends.append(loop.run(case.x, case.t, plan, 0, 30))
        last = loop.state
        # More rows than there was room for.
        ends[-1] = (ends[-1].loss, loop.step(case.x, case.t, 1), fcb.digest(loop.params))
    assert ends[0] == ends[1]
    loop.state = State(last.params)
    assert_same_bits(loop.params, last.params)
    with pytest.raises(AttributeError):
        loop.params = last.params


def test_a_state_is_a_copy():
    case = problem(3, (2, 3), 5, "float64")
    _, loop = loops(case.params)
    state = loop.state
    loop.step(case.x, case.t, 1)
    assert_same_bits(state.params, case.params)
    loop.state = state
    state.params[0][0][:] = 7
    assert_same_bits(loop.params, case.params)
