"""Forward, backward and the loss, one call each."""

KINDS = ("forward", "backward", "loss")


def test_layer(measure, workload, backend_name, arithmetic):
    measure(workload, backend_name, arithmetic)
