"""Optimizers against PyTorch's own, and their bits on PyTorch's tensors."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import DTYPES, problem

torch = pytest.importorskip("torch")

STEPS = 1000
PAIRS = [
    (fcb.SGD(momentum=0.9), lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
    (
        fcb.SGD(momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    (fcb.SGD(weight_decay=0.1), lambda p: torch.optim.SGD(p, 0.01, weight_decay=0.1)),
    (fcb.Adam(), lambda p: torch.optim.Adam(p, 0.01)),
    (
        fcb.Adam(weight_decay=0.1, decoupled=False),
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    ),
    (fcb.Adam(weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
]


@pytest.mark.parametrize(("optimizer", "pytorchs"), PAIRS, ids=[str(pair[0]) for pair in PAIRS])
def test_a_thousand_steps_end_where_pytorchs_do(optimizer, pytorchs):
    case = problem(1, (4, 8, 2), 60, "float64")
    got = fcb.train(
        case.x, case.t, params=case.params, optimizer=optimizer, lr=0.01, batch_size=5,
        max_steps=STEPS, backend="numpy",
    )  # fmt: skip
    own = [torch.tensor(a, requires_grad=True) for pair in case.params for a in pair]
    moving = pytorchs(own)
    x, t = torch.tensor(case.x), torch.tensor(case.t)
    for rows in fcb.sample_indices(60, steps=STEPS, batch_size=5):
        moving.zero_grad()
        hidden = torch.relu(x[rows] @ own[0] + own[1])
        (((hidden @ own[2] + own[3]) - t[rows]) ** 2).sum(1).mean().backward()
        moving.step()
    for ours, theirs in zip((a for pair in got.params for a in pair), own, strict=True):
        theirs = theirs.detach().numpy()
        assert np.abs(ours - theirs).max() < 1e-10 * np.abs(theirs).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [pair[0] for pair in PAIRS], ids=str)
def test_tensors_have_numpys_bits(optimizer, dtype):
    case = problem(2, (3, 9, 2), 40, dtype)
    ends = [
        fcb.train(
            case.x, case.t, params=case.params, optimizer=optimizer, lr=0.01, batch_size=4,
            max_steps=40, dtype=dtype, backend=name,
        )
        for name in ("numpy", "torch")
    ]  # fmt: skip
    assert fcb.digest(ends[0].params) == fcb.digest(ends[1].params)
