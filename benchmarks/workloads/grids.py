"""Which work is measured."""

from __future__ import annotations

import itertools

from . import CLASSES, POLICY, Workload


def _grids() -> dict[str, list[Workload]]:
    """The workloads of each grid, by its pytest marker."""
    f32, f64 = "float32", "float64"
    widths = "train step, one square layer, batch 32, float32", "width"
    light = [
        Workload("forward", (2, 3), 1, f64),
        Workload("forward", (64, 128), 32, f64),
        Workload("forward", (64, 128), 32, f32),
        Workload("backward", (64, 128), 32, f32),
        Workload("loss", (10,), 1024, f32),
        Workload("sgd step", (64, 32, 10), 32, f32),
        Workload("trainer step", (2, 3), 1, f64),
        Workload("train step", (2, 3), 1, f64),
        Workload("train step", (2, 3), 32, f32),
        Workload("train step", (2, 8, 1), 1, f32),
        Workload("train step", (8, 16, 1), 1, f32),
        Workload("train step", (8, 16, 1), 16, f32),
        Workload("train step", (4, 64, 64, 2), 1, f32),
        Workload("train step", (12, 32, 32, 4), 1, f64),
        Workload("train step", (64, 32, 10), 32, f32),
        Workload("train step", (64, 32, 10), 32, f64),
        Workload("train step", (64, 64, 64, 1), 64, f32),
        Workload("train step", (784, 256, 10), 128, f32),
        Workload("train step", (4, 64, 64, 2), 1, f32, recipe=POLICY),
        Workload("train step", (64, 32, 10), 32, f32, recipe=CLASSES),
        *(Workload("train step", (n, n), 32, f32, axis=widths) for n in (2, 8, 32, 128, 512)),
        Workload("training", (2, 3), 16, f64),
        Workload("training", (8, 16, 1), 16, f32),
    ]
    sizes = ((2, 3), (13, 1), (64, 10), (256, 256), (64, 32, 10), (784, 256, 10), (64, 64, 64, 1))
    batches = 1, 32, 1024
    full = [
        *light,
        *(
            Workload(kind, size, batch, dtype)
            for kind in ("forward", "backward", "sgd step", "trainer step", "train step")
            for size in sizes
            if kind not in ("forward", "backward") or len(size) == 2
            for batch in batches
            for dtype in (f32, f64)
        ),
        *(Workload("loss", (m,), n, d) for m in (1, 64) for n in batches for d in (f32, f64)),
        *(
            Workload("training", size, batch, dtype)
            for size in ((2, 3), (8, 16, 1), (4, 8, 8, 2))
            for batch in (1, 16)
            for dtype in (f32, f64)
        ),
    ]
    study = []
    for dtype in (f32, f64):
        samples = f"an epoch of 64-32-10, batch 32, {dtype}", "samples"
        width = f"train step, two square layers, batch 32, {dtype}", "width"
        depth = f"train step, layers of 48, batch 32, {dtype}", "depth"
        batch = f"train step of 64-32-10, {dtype}", "batch"
        study += [
            *(
                Workload("epoch", (64, 32, 10), 32, dtype, samples=n, axis=samples)
                for n in (1024, 4096, 16384, 65536)
            ),
            *(
                Workload("train step", (n, n, n), 32, dtype, axis=width)
                for n in (4, 16, 64, 256, 1024)
            ),
            *(
                Workload("train step", (48,) * (n + 1), 32, dtype, axis=depth)
                for n in (1, 2, 4, 8, 16)
            ),
            *(
                Workload("train step", (64, 32, 10), n, dtype, axis=batch)
                for n in (1, 4, 16, 64, 256, 1024)
            ),
        ]
    return {"light": light, "full": full, "study": study}


def _by_name(grids: dict[str, list[Workload]]) -> dict[str, Workload]:
    """Each piece of work once, with its axis where it has one in any grid."""
    found: dict[str, Workload] = {}
    for workload in itertools.chain(*grids.values()):
        if workload.name not in found or found[workload.name].axis is None:
            found[workload.name] = workload
    return found


_GRIDS = _grids()

BY_NAME = _by_name(_GRIDS)
"""All workloads."""

GRIDS = {
    name: [grid for grid, members in _GRIDS.items() if name in {w.name for w in members}]
    for name in BY_NAME
}
"""The grids, by their pytest markers, that each workload belongs to."""
