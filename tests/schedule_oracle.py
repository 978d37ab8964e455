"""The contract's learning rates, one step at a time, by Python's own numbers."""

import fcbackends as fcb

SINE = [
    1.5707963267948966, -0.6459640975062462, 0.07969262624616565,
    -0.004681754135304255, 0.0001604411847130916, -3.5988430204672576e-06,
    5.6921364280986254e-08, -6.684416831856085e-10, 5.87297574479995e-12,
]  # fmt: skip


def power(factor, exponent):
    digits, result = f"{exponent:b}", 1.0
    for place in range(len(digits)):
        if digits[-1 - place] == "1":
            result = result * factor
        factor = factor * factor
    return result


def rate(schedule, s):
    if s <= schedule.warmup:
        return schedule.lr * (float(s) / float(schedule.warmup))
    n = s - 1 - schedule.warmup
    match schedule:
        case fcb.ConstantRate():
            return schedule.lr
        case fcb.StepRate():
            return schedule.lr * power(schedule.factor, n // schedule.every)
        case fcb.ExponentialRate():
            return schedule.lr * power(schedule.factor, n)
    length = schedule.steps - schedule.warmup
    if n >= length:
        return schedule.lr * 0.0 + schedule.end * 1.0
    y = float(length - n) / float(length)
    z, series = y * y, 0.0
    for c in reversed(SINE):
        series = series * z + c
    h = (y * series) * (y * series)
    return schedule.lr * h + schedule.end * (1.0 - h)
