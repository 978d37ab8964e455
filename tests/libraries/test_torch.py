"""PyTorch's tensors: gradients, views, and the modes that callers switch on."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import DTYPES, problem
from tests.oracle import assert_same_bits, fast, sample_indices

torch = pytest.importorskip("torch")

CASE = problem(20, (3, 4, 2), 6, "float64")
PARAMS = tuple((torch.asarray(w.copy()), torch.asarray(b.copy())) for w, b in CASE.params)


def tensors(values):
    if isinstance(values, (tuple, list)):
        return [tensor for value in values for tensor in tensors(value)]
    return [values]


def plain(values):
    if isinstance(values, (tuple, list)):
        return tuple(plain(value) for value in values)
    return values.numpy()


def with_gradient(a):
    return torch.tensor(a, requires_grad=True)


def in_the_middle_of_a_graph(a):
    return torch.tensor(a / 2, requires_grad=True) * 2


VIEWS = {
    "requires grad": with_gradient,
    "within a graph": in_the_middle_of_a_graph,
    "parameter": lambda a: torch.nn.Parameter(torch.tensor(a)),
    "Fortran order": lambda a: torch.tensor(np.asfortranarray(a)),
    "strided": lambda a: torch.tensor(np.repeat(a, 3, axis=-1))[..., ::3],
    "offset": lambda a: torch.cat([torch.ones_like(torch.tensor(a[:1])), torch.tensor(a)])[1:],
    "negative bit": lambda a: torch.complex(torch.tensor(a), -torch.tensor(a)).conj().imag,
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_tensor_is_taken_and_results_carry_no_graph(view):
    make = VIEWS[view]
    x, t = make(CASE.x), make(CASE.t)
    params = tuple((make(w), make(b)) for w, b in CASE.params)
    before = fcb.digest((x, t, params))
    w, b = params[0]
    dy = np.ones((6, 4))
    rows = sample_indices(6, 4, 2, "replacement", 0)
    results = [
        (fcb.fc_forward(x, w, b), fast.forward(CASE.x, *CASE.params[0])),
        (fcb.fc_backward(make(dy), x, w), fast.backward(dy, CASE.x, CASE.params[0][0])),
        (fcb.mean_squared_loss(t, t + 1), fast.loss(CASE.t, CASE.t + 1)),
        (fcb.relu(x), fast.relu(CASE.x)),
        (fcb.relu_backward(x, x), fast.relu_backward(CASE.x, CASE.x)),
        (fcb.predict(params, x), fast.predict(CASE.params, CASE.x)),
        (fcb.sgd_step(params, x, t, 0.1), fast.sgd_step(CASE.params, CASE.x, CASE.t, 0.1)),
        (fcb.train(x, t, params=params, lr=0.1, max_steps=4, batch_size=2).params,
         fast.train(CASE.params, CASE.x, CASE.t, rows, 0.1)[0]),
    ]  # fmt: skip
    trainer = fcb.Trainer(params, lr=0.1)
    trainer.step(x, t)
    results.append((trainer.params, results[6][0].params))
    for got, want in results:
        assert not any(tensor.requires_grad or tensor.is_inference() for tensor in tensors(got))
        assert_same_bits(plain(got), plain(want) if want is results[6][0].params else want)
    assert fcb.digest((x, t, params)) == before


def test_expanded_tensors_are_taken_and_left_alone():
    x, t = torch.tensor(CASE.x[0]).expand(5, 3), torch.tensor(CASE.t[0]).expand(5, 2)
    want = fast.sgd_step(CASE.params, np.tile(CASE.x[0], (5, 1)), np.tile(CASE.t[0], (5, 1)), 0.1)
    assert_same_bits(plain(tuple(fcb.sgd_step(PARAMS, x, t, 0.1))), want)
    run = fcb.train(x, t, params=PARAMS, lr=0.1, max_steps=3, batch_size=5)
    again = fcb.train(x.clone(), t.clone(), params=PARAMS, lr=0.1, max_steps=3, batch_size=5)
    assert fcb.digest(run.params) == fcb.digest(again.params)
    assert x.stride() == (0, 1)
    assert_same_bits(x[0].numpy(), CASE.x[0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_mode_changes_nothing(mode):
    x, t = with_gradient(CASE.x), torch.tensor(CASE.t)
    with mode():
        step = fcb.sgd_step(PARAMS, x, t, 0.1)
        run = fcb.train(x, t, params=PARAMS, lr=0.1, max_steps=5)
    assert_same_bits(plain(tuple(step)), fast.sgd_step(CASE.params, CASE.x, CASE.t, 0.1))
    rows = sample_indices(6, 5, 1, "replacement", 0)
    assert_same_bits(plain(run.params), fast.train(CASE.params, CASE.x, CASE.t, rows, 0.1)[0])


def test_trained_parameters_can_take_part_in_a_gradient():
    run = fcb.train(torch.tensor(CASE.x), torch.tensor(CASE.t), lr=0.1, max_steps=2)
    (w, b), x = run.params[0], torch.tensor(CASE.x)
    w.requires_grad_()
    (x @ w + b).sum().backward()
    assert_same_bits(w.grad.shape, (3, 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_module_is_trained_through_its_parameters(dtype):
    layer = torch.nn.Linear(3, 2, dtype=getattr(torch, dtype))
    x, t = torch.tensor(CASE.x.astype(dtype)), torch.tensor(CASE.t.astype(dtype))
    params, loss = fcb.sgd_step(((layer.weight.T, layer.bias),), x, t, 0.1)
    ours = params[0]
    (((layer(x) - t) ** 2).sum() / 6).backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    # PyTorch multiplies with BLAS, whose sums run in another order.
    close = dict(rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6)
    torch.testing.assert_close(ours[0], layer.weight.detach().T, **close)
    torch.testing.assert_close(ours[1], layer.bias.detach(), **close)
    assert loss.dtype == x.dtype


def test_another_default_dtype_changes_nothing():
    torch.set_default_dtype(torch.float16)
    try:
        run = fcb.train(torch.tensor(CASE.x), torch.tensor(CASE.t), lr=0.1, max_steps=2)
    finally:
        torch.set_default_dtype(torch.float32)
    want = fcb.train(CASE.x, CASE.t, lr=0.1, max_steps=2)
    assert fcb.digest(run.params) == fcb.digest(want.params)


@pytest.mark.parametrize("start", range(3))
def test_any_size_has_numpys_bits(start):
    # PyTorch's loops take a vector at a time, and the rest one by one.
    for seed in range(start, 60, 3):
        rng = np.random.default_rng(seed)
        sizes, batch = tuple(map(int, rng.integers(1, 40, rng.integers(2, 5)))), 1 + seed
        dtype = DTYPES[seed % 2]
        case = problem(seed, sizes, batch, dtype, spice=0.1 * (seed % 3 == 0))
        params = tuple((torch.asarray(w), torch.asarray(b)) for w, b in case.params)
        got = fcb.sgd_step(params, torch.asarray(case.x), torch.asarray(case.t), 0.3)
        assert_same_bits(plain(tuple(got)), fast.sgd_step(case.params, case.x, case.t, 0.3))
