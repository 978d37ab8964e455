"""What the tests of losses share: networks with targets of each loss, and the ways to compute."""

import numpy as np

import fcbackends as fcb
from tests.cases import numbers, problem

LOSSES = {
    "mean_squared": fcb.mean_squared_loss,
    "huber": fcb.huber_loss,
    "cross_entropy": fcb.cross_entropy_loss,
    "binary_cross_entropy": fcb.binary_cross_entropy_loss,
}
OF_PROBABILITIES = ("cross_entropy", "binary_cross_entropy")

ADAM = fcb.Adam(weight_decay=0.1, decay_bias=False)
OPTIMIZERS = [
    *(fcb.SGD(), ADAM),
    *(fcb.SGD(momentum=0.9), fcb.SGD(momentum=0.9, nesterov=True, weight_decay=0.01)),
    *(fcb.Adam(), fcb.Adam(beta2=0.9, weight_decay=0.1, decoupled=False)),
]


def targets(seed, loss, shape, dtype):
    """Targets (N, M): of probabilities also some that are sure."""
    rng = np.random.default_rng(seed)
    if loss == "cross_entropy":
        soft = rng.dirichlet(np.ones(shape[1]), shape[0])
        sure = np.eye(shape[1])[rng.integers(0, shape[1], shape[0])]
        return np.where(rng.random((shape[0], 1)) < 0.5, soft, sure).astype(dtype)
    if loss == "binary_cross_entropy":
        return np.clip(rng.uniform(-0.3, 1.3, shape), 0, 1).astype(dtype)
    return numbers(rng, shape, dtype)


def weights(seed, count, dtype):
    """Weights of samples, of which one may be 0."""
    made = np.random.default_rng(seed).uniform(0, 3, count).astype(dtype)
    made[count // 2 :: 5] = 0 if count > 1 else 1
    return made


def loss_problem(seed, sizes, batch, dtype, loss, spice=0.0):
    """A problem whose targets are of a loss, with weights of its samples."""
    case = problem(seed, sizes, batch, dtype, spice)
    case.t = targets(seed, loss, (batch, sizes[-1]), dtype)
    case.weights = weights(seed, batch, dtype)
    return case


def with_weights(case):
    """The targets as the oracle takes those of weighted samples."""
    return np.column_stack([case.t, case.weights])
