"""Clipped gradients against PyTorch's, and their bits on other libraries' arrays."""

import numpy as np
import pytest

import fcbackends as fcb
from tests.cases import DTYPES, problem

STEPS = 300


def test_steps_end_where_pytorchs_do():
    torch = pytest.importorskip("torch")
    case = problem(1, (4, 8, 2), 60, "float64")
    got = fcb.train(
        case.x, case.t, params=case.params, lr=0.05, clip_norm=0.3, batch_size=5, max_steps=STEPS,
        backend="numpy",
    )  # fmt: skip
    own = [torch.tensor(a, requires_grad=True) for pair in case.params for a in pair]
    optimizer = torch.optim.SGD(own, 0.05)
    x, t = torch.tensor(case.x), torch.tensor(case.t)
    clipped = 0
    for rows in fcb.sample_indices(60, steps=STEPS, batch_size=5):
        optimizer.zero_grad()
        hidden = torch.relu(x[rows] @ own[0] + own[1])
        (((hidden @ own[2] + own[3]) - t[rows]) ** 2).sum(1).mean().backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in own))
        if norm > 0.3:
            # As torch.nn.utils.clip_grad_norm_ does, but for the 1e-6 that it adds to the norm.
            for p in own:
                p.grad.mul_(0.3 / norm)
            clipped += 1
        optimizer.step()
    assert clipped > 50
    for ours, theirs in zip((a for pair in got.params for a in pair), own, strict=True):
        theirs = theirs.detach().numpy()
        assert np.abs(ours - theirs).max() < 1e-10 * np.abs(theirs).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["torch", "jax.numpy", "dask.array"])
def test_other_libraries_have_numpys_bits(name, dtype, request):
    library = pytest.importorskip(name)
    if name == "jax.numpy":
        request.getfixturevalue("x64")
    case = problem(2, (3, 9, 2), 40, dtype)
    how = dict(
        optimizer=fcb.Adam(weight_decay=0.1), lr=fcb.CosineRate(0.05, 25, warmup=3), clip_norm=0.4,
        batch_size=4, max_steps=25, dtype=dtype,
    )  # fmt: skip
    want = fcb.train(case.x, case.t, params=case.params, backend="numpy", **how)
    x, t = library.asarray(case.x), library.asarray(case.t)
    params = tuple((library.asarray(w), library.asarray(b)) for w, b in case.params)
    got = fcb.train(x, t, params=params, **how)
    assert fcb.digest(got.params) == fcb.digest(want.params)
