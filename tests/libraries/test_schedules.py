"""Schedules against PyTorch's own, and their bits on PyTorch's tensors."""

import numpy as np
import pytest

import fcbackends as fcb
from fcbackends.maths.schedules import rates
from tests.cases import DTYPES, problem

torch = pytest.importorskip("torch")
schedulers = torch.optim.lr_scheduler

STEPS = 100


def after_warmup(of_torch, steps=10):
    """With a warm-up before it, whose first step PyTorch counts as 0."""

    def make(optimizer):
        rising = schedulers.LambdaLR(optimizer, lambda step: (step + 1) / steps)
        return schedulers.SequentialLR(optimizer, [rising, of_torch(optimizer)], [steps])

    return make


def constant(optimizer):
    return schedulers.ConstantLR(optimizer, 1.0)


def step(optimizer):
    return schedulers.StepLR(optimizer, 7, 0.5)


def exponential(optimizer):
    return schedulers.ExponentialLR(optimizer, 0.97)


def cosine(optimizer):
    return schedulers.CosineAnnealingLR(optimizer, STEPS, 0.001)


def shorter_cosine(optimizer):
    return schedulers.CosineAnnealingLR(optimizer, STEPS - 10, 0.001)


PAIRS = [
    (fcb.StepRate(0.1, every=7, factor=0.5), step),
    (fcb.ExponentialRate(0.1, factor=0.97), exponential),
    (fcb.CosineRate(0.1, steps=STEPS, end=0.001), cosine),
    (fcb.ConstantRate(0.1, warmup=10), after_warmup(constant)),
    (fcb.StepRate(0.1, every=7, factor=0.5, warmup=10), after_warmup(step)),
    (fcb.CosineRate(0.1, STEPS, 0.001, warmup=10), after_warmup(shorter_cosine)),
]
IDS = [str(pair[0]) for pair in PAIRS]


@pytest.mark.parametrize(("schedule", "of_torch"), PAIRS, ids=IDS)
@pytest.mark.filterwarnings("ignore")  # of PyTorch's own about its schedulers
def test_rates_are_pytorchs(schedule, of_torch):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = of_torch(optimizer)
    want = []
    for _ in range(STEPS):
        want.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates(schedule, 0, STEPS), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("schedule", [pair[0] for pair in PAIRS[::2]], ids=IDS[::2])
def test_tensors_have_numpys_bits(schedule, dtype):
    case = problem(1, (3, 9, 2), 40, dtype)
    ends = [
        fcb.train(
            case.x, case.t, params=case.params, optimizer=fcb.Adam(), lr=schedule, batch_size=4,
            max_steps=40, dtype=dtype, backend=name,
        )
        for name in ("numpy", "torch")
    ]  # fmt: skip
    assert fcb.digest(ends[0].params) == fcb.digest(ends[1].params)
