"""Fused training, drawing included: by the step, by the epoch, and to a tolerance."""

KINDS = ("train step", "epoch", "training")


def test_training(measure, workload, backend_name, arithmetic):
    measure(workload, backend_name, arithmetic)
