"""The way of a few samples through all layers of a small network, and back.

Each layer's is compiled into the one before: a layer is known with all its sizes, so that no loop's
length is asked for at run time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fcbackends.kernels.activations import ACTIVATIONS, Activation
from fcbackends.kernels.elements import SLOTS, Rule, is_finite, moving
from fcbackends.kernels.jit import inlined
from fcbackends.kernels.losses import LOSSES
from fcbackends.kernels.rows import (
    add_rows,
    add_to_rows,
    move_rows,
    sum_of_rows,
    sums_in_rows,
    transposed,
)
from fcbackends.kernels.small_layout import LANES, Layer, Plan
from fcbackends.kernels.training import Data
from fcbackends.kernels.vectors import vectors
from fcbackends.kernels.views import local, row

SAMPLES_AT_ONCE = 16
"""Of a batch: what they add to a gradient is summed in registers. 2-3 on 32 takes 158 ns with 16,
180 with 8 and 203 with 4."""


class Small(NamedTuple):
    """What a kernel works on: how, with which weights, and room for a few samples' numbers."""

    arithmetic: Any
    constants: Any
    weights: Any
    gradient: Any
    h: Any
    d: Any
    data: Data


def _way_through(
    plan: Plan,
    number: int,
    activation: Activation,
    following: Any,
    rule: Rule,
    *,
    one_sample: bool,
) -> Any:
    """The way of `count` samples through a layer, the `following` ones, and back.

    Their losses are added to `total`. Unless `factor` is 0, their gradients are added to the
    network's, or the one sample's weights move.
    """
    layer, stride, size = plan.layers[number], plan.outputs, plan.weights
    is_first, is_last = number == 0, number == len(plan.layers) - 1
    by_rows, by_columns = layer.by_rows is not None, layer.by_columns is not None
    # Matrices of constants, of which only those that there are are looked at.
    rows, columns, bias = layer.by_rows, layer.by_columns, layer.bias
    of_x, of_y = columns.lanes if columns else 1, bias.lanes
    whole = vectors(of_y)
    forward, add_bias = sum_of_rows(of_y), add_rows(of_y)
    input_gradient = sum_of_rows(of_x)
    move, move_bias = moving(rule), moving(rule, is_bias=True)
    move_y, move_x = move_rows(of_y, move), move_rows(of_x, move)
    add_y, add_x = add_to_rows(of_y), add_to_rows(of_x)
    # What an optimizer keeps need not stand in both ways: 4-64-64-2 with Adam took 3.5 us.
    is_written = by_rows and by_columns and SLOTS[rule[0]] > 0
    write: Any = transposed(rows, columns) if is_written else None
    activate = _activate(activation, layer)
    activation_backward = activation.backward

    @inlined
    def through(net, samples, count, factor, total):
        for n in range(count):
            at = n * stride
            if is_first:
                for k in range(layer.inputs):
                    net.h[at + k] = net.data.x[samples[n] * layer.inputs + k]
            x, y = at + layer.x, at + layer.y
            if by_rows:
                forward(net.arithmetic, net.weights, rows, net.h, x, y)
            else:
                sums_in_rows(net.arithmetic, net.weights, columns, net.h, x, layer.inputs, y)
            add_bias(net.h, y, bias.vectors, net.weights, bias.at, 1, 0)
            if not is_last:
                activate(net.h, y)
        total = following(net, samples, count, factor, total)
        if factor != 0 and (not one_sample or is_finite(total)):
            for n in range(count):
                x, y = n * stride + layer.x, n * stride + layer.y
                if not is_last:
                    dh, h = whole(net.d, y, bias.vectors), whole(net.h, y, bias.vectors)
                    activation_backward(dh, h)
                if not is_first:
                    input_gradient(net.arithmetic, net.weights, columns, net.d, y, x)
            if one_sample:
                if by_rows:
                    move_y(net, rows, net.h, layer.x, net.d, layer.y, size)
                if is_written:
                    write(net.weights)
                elif by_columns:
                    move_x(net, columns, net.d, layer.y, net.h, layer.x, size)
                dy = whole(net.d, layer.y, bias.vectors)
                move_bias(net.weights, bias.at, dy, net.constants, size)
            else:
                if by_rows:
                    add_y(net, rows, net.h, layer.x, net.d, layer.y, count, stride)
                else:
                    add_x(net, columns, net.d, layer.y, net.h, layer.x, count, stride)
                add_bias(net.gradient, bias.at, bias.vectors, net.d, layer.y, count, stride)
        return total

    return through


def _activate(activation: Activation, layer: Layer) -> Any:
    """Activate a layer's output, which stands at y."""
    forward, bias, outputs = activation.forward, layer.bias, layer.outputs
    whole, width = vectors(bias.lanes), bias.vectors * bias.lanes

    @inlined
    def in_vectors(h, y):
        forward(whole(h, y, bias.vectors))

    @inlined
    def by_number(h, y):
        # Of whole vectors, of which LLVM makes such.
        forward(row(h, y, width))
        for i in range(outputs, width):
            h[y + i] = 0

    return by_number if activation.by_number else in_vectors


def _losses(plan: Plan, name: str, *, weighted: bool, one_sample: bool) -> Any:
    """Add the losses of `count` samples to `total`, and find the gradients of their outputs."""
    last, stride = plan.layers[-1], plan.outputs
    outputs, y_at = last.outputs, last.y
    size, of_sample, of_rows = outputs + weighted, LOSSES[name].of_sample, LOSSES[name].of_rows
    most = 1 if one_sample else SAMPLES_AT_ONCE
    width = -(-most * outputs // LANES) * LANES
    room_of, numbers_of = local(width), local(most)

    @inlined
    def by_sample(net, samples, count, factor, total):
        for n in range(count):
            y = n * stride + y_at
            out, d = row(net.h, y, outputs), row(net.d, y, outputs)
            at = samples[n] * size
            t = row(net.data.t, at, outputs)
            if weighted:
                weight = net.data.t[at + outputs]
                total += weight * of_sample(out, t, d, weight * factor)
            else:
                total += of_sample(out, t, d, factor)
        return total

    @inlined
    def together(net, samples, count, factor, total):
        values, targets, room = room_of(net.h), room_of(net.h), room_of(net.h)
        weights, losses = numbers_of(net.h), numbers_of(net.h)
        for i in range(width):
            values[i] = 0
            targets[i] = 0
        for n in range(count):
            at = samples[n] * size
            for m in range(outputs):
                values[n * outputs + m] = net.h[n * stride + y_at + m]
                targets[n * outputs + m] = net.data.t[at + m]
            weights[n] = net.data.t[at + outputs] if weighted else 1
        of_rows(values, targets, weights, losses, room, count, outputs, width, factor)
        for n in range(count):
            for m in range(outputs):
                net.d[n * stride + y_at + m] = values[n * outputs + m]
            total += losses[n]
        return total

    return by_sample if of_sample else together


def whole_way(
    plan: Plan,
    activations: tuple[str, ...],
    loss: str,
    rule: Rule,
    *,
    weighted: bool,
    one_sample: bool,
) -> Any:
    """The way through all layers and back, as `_way_through` has one layer's."""
    through = _losses(plan, loss, weighted=weighted, one_sample=one_sample)
    names = *activations, "identity"
    for number in reversed(range(len(plan.layers))):
        activation = ACTIVATIONS[names[number]]
        through = _way_through(plan, number, activation, through, rule, one_sample=one_sample)
    return through
