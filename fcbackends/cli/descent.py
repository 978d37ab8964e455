"""How parameters move: the optimizer and the learning rates that the options of `train` ask for."""

from __future__ import annotations

import fcbackends as fcb
from fcbackends.maths.optimizers import Optimizer
from fcbackends.maths.schedules import Rate

SCHEDULES = "constant", "step", "exponential", "cosine"


def optimizer_of(
    name: str, momentum: float | None, nesterov: bool, weight_decay: float
) -> Optimizer:
    """The optimizer of that name, with these numbers."""
    if name == "sgd":
        if nesterov and not momentum:
            got = "none" if momentum is None else str(momentum)
            raise fcb.ArgumentError("--momentum", "be > 0 with `--nesterov`", got)
        return fcb.SGD(momentum or 0.0, nesterov, weight_decay)
    for option, given in (("--momentum", momentum is not None), ("--nesterov", nesterov)):
        if given:
            raise fcb.ArgumentError(option, "come with --optimizer sgd", f"--optimizer {name}")
    return fcb.Adam(weight_decay=weight_decay, decoupled=name == "adamw")


def rate_of(
    lr: float,
    schedule: str,
    decay_every: int | None,
    decay_factor: float | None,
    warmup: int,
    steps: int,
) -> Rate:
    """The learning rate of a training of so many steps, or the schedule of that name."""
    _needs("--decay-every", decay_every, schedule, ("step",))
    _needs("--decay-factor", decay_factor, schedule, ("step", "exponential"))
    if schedule == "constant" and warmup == 0:
        return lr
    if schedule == "cosine" and warmup >= steps:
        raise fcb.ArgumentError("--warmup", f"be less than the {steps} steps", str(warmup))
    try:
        if schedule == "constant":
            return fcb.ConstantRate(lr, warmup)
        if schedule == "cosine":
            return fcb.CosineRate(lr, steps, warmup=warmup)
        if decay_every is not None and decay_factor is not None:
            return fcb.StepRate(lr, decay_every, decay_factor, warmup)
        return fcb.ExponentialRate(lr, decay_factor or 0.0, warmup)
    except fcb.ArgumentError as error:
        raise error.renamed({"every": "--decay-every", "factor": "--decay-factor"}) from None


def _needs(option: str, value: float | None, schedule: str, schedules: tuple[str, ...]) -> None:
    """Refuse an option that is missing, or has no use."""
    if value is None and schedule in schedules:
        raise fcb.ArgumentError(option, f"be given with --schedule {schedule}", "nothing")
    if value is not None and schedule not in schedules:
        required = f"come with --schedule {' or '.join(schedules)}"
        raise fcb.ArgumentError(option, required, f"--schedule {schedule}")
