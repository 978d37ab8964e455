"""SGD steps, one a call: on new parameters each time, and on a network held open."""

KINDS = ("sgd step", "trainer step")


def test_step(measure, workload, backend_name, arithmetic):
    measure(workload, backend_name, arithmetic)
