"""On a GPU: the digests of the CPU, arrays that stay there, and no mix with those of the CPU."""

import dataclasses

import array_api_compat
import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.conformance import verify
from tests.cases import DTYPES, problem
from tests.oracle import assert_same_bits, fast


def _torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    return lambda a: torch.asarray(np.array(a), device="cuda:0"), "torch"


def _cupy():
    cupy = pytest.importorskip("cupy")
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        found = 0
    if not found:
        pytest.skip("CuPy finds no GPU")
    return lambda a: cupy.asarray(np.array(a)), "cupy"


@pytest.fixture(params=[_torch, _cupy])
def gpu(request):
    make, name = request.param()

    def made(values):
        return tuple(map(made, values)) if isinstance(values, tuple) else make(values)

    return made, name, make(0.0).device


def stays(values, device):
    if isinstance(values, tuple):
        return all(stays(value, device) for value in values)
    return values.device == device


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spice", [0.0, 0.2])
def test_a_gpu_has_the_oracles_bits(gpu, dtype, spice):
    make, _, device = gpu
    for seed in range(10):
        case = problem(seed, (5, 17, 3), 9, dtype, spice)
        got = tuple(fcb.sgd_step(make(case.params), make(case.x), make(case.t), 0.3))
        want = tuple(fast.sgd_step(case.params, case.x, case.t, 0.3))
        assert fcb.digest(got) == fcb.digest(want)
        assert stays(got, device)
        y = fcb.predict(make(case.params), make(case.x))
        assert fcb.digest(y) == fcb.digest(fast.predict(case.params, case.x))
        w, dy = make(case.params[0][0]), np.ones((9, 17), dtype)
        got = tuple(fcb.fc_backward(make(dy), make(case.x), w))
        assert fcb.digest(got) == fcb.digest(fast.backward(dy, case.x, case.params[0][0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tol_on", ["batch", "data"])
def test_training_on_a_gpu_ends_on_numbas_digest(gpu, dtype, tol_on):
    make, _, device = gpu
    case = problem(1, (5, 17, 3), 40, dtype)
    run = dict(lr=0.05, batch_size=8, max_steps=100, tol_on=tol_on, seed=3, dtype=dtype)
    want = fcb.train(case.x, case.t, params=case.params, backend="numba", **run)
    for x, t, params in (
        (make(case.x), make(case.t), make(case.params)),
        (make(case.x), case.t, case.params),
        (case.x, case.t, make(case.params)),
    ):
        got = fcb.train(x, t, params=params, **run)
        assert fcb.digest(got.params) == fcb.digest(want.params)
        assert got.loss == want.loss
        assert stays(got.params, device)
    drawn = fcb.train(make(case.x), make(case.t), hidden=(17,), **run)
    assert fcb.digest(drawn.params) == fcb.digest(
        fcb.train(case.x, case.t, hidden=(17,), **run).params
    )
    many = fcb.train_many(make(case.x), make(case.t), rows=[range(20)], params=case.params, **run)
    assert stays(many[0].params, device)


def test_a_trainer_on_a_gpu_steps_to_the_cpus_bits(gpu):
    make, name, device = gpu
    case = problem(2, (5, 4, 3), 6, "float64")
    trainer = fcb.Trainer(make(case.params), lr=0.1)
    assert trainer.backend.name == name
    trainer.step(make(case.x), make(case.t))
    trainer.step(case.x[0], case.t[0])
    reference = fcb.Trainer(case.params, lr=0.1)
    reference.step(case.x, case.t)
    reference.step(case.x[0], case.t[0])
    assert fcb.digest(trainer.params) == fcb.digest(reference.params)
    assert stays(trainer.params, device)


def test_tensors_of_the_cpu_among_those_of_a_gpu_are_refused():
    make, _ = _torch()
    torch = pytest.importorskip("torch")
    case = problem(3, (3, 2), 6, "float64")
    (w, b), x = case.params[0], torch.asarray(case.x)
    text = "^`x`, `w` must be on one device, got `x` cpu, `w` cuda:0$"
    with pytest.raises(fcb.ArgumentError, match=text):
        fcb.fc_forward(x, make(w), b)
    trainer = fcb.Trainer(((make(w), make(b)),), lr=0.1)
    text = "^`x`, `params` must be on one device, got `x` cpu, `params` cuda:0$"
    for call in (trainer.step, trainer.run):
        with pytest.raises(fcb.ArgumentError, match=text):
            call(x, case.t)
    assert_same_bits(case.x, x.numpy())


def test_a_gpu_conforms(gpu):
    _, name, device = gpu
    host = fcb.get_backend(name)

    def asarray(values, dtype=None):
        return array_api_compat.to_device(host.asarray(values, dtype), device)

    verdict = verify(dataclasses.replace(host, asarray=asarray), cases=400)
    assert (verdict.stated, verdict.observed, verdict.passed) == ("A", "A", True)
