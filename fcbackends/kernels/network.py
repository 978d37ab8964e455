"""The way through a whole network, forward to the loss and backward to all outputs' gradients.

Several threads share the work so that weights stay in the cache of the thread that moves them: of
a wide layer each has its panels, forward and in the update, and of a narrow one its rows. Where
threads shared a 784-256-10 step by samples and by rows of weights, or by columns of a matrix that
was not cut, two took 1.55 times less time than one, since the weights went to and fro between the
cores' caches.
"""

from __future__ import annotations

from fcbackends.kernels.activations import (
    activate,
    activate_rows,
    activation_backward,
    waits_for_rows,
)
from fcbackends.kernels.blocks import total_of
from fcbackends.kernels.integers import smaller
from fcbackends.kernels.jit import called, inlined
from fcbackends.kernels.losses import losses_of_rows
from fcbackends.kernels.matmul import (
    NO_BIAS,
    PANEL_BYTES,
    ROWS_A_BLOCK,
    Epilogue,
    multiply,
    panel_width,
)
from fcbackends.kernels.threads import barrier, is_set, share, stop_word
from fcbackends.kernels.tiles import ROWS, Operand
from fcbackends.kernels.views import row


@inlined
def is_wide(outputs, itemsize, team):
    """Whether each of several threads has panels of its own in a layer with so many outputs."""
    return team.threads > 1 and outputs >= team.threads * panel_width(itemsize)


@inlined
def part(rows, outputs, itemsize, team):
    """A thread's part of a matrix: first and last + 1 of its rows, and of its columns."""
    if is_wide(outputs, itemsize, team):
        left, right = share(outputs, panel_width(itemsize), team)
        return 0, rows, left, right
    first, last = share(rows, ROWS, team)
    return first, last, 0, outputs


@inlined
def input_of(network, layer, team):
    """Where a layer's input stands: the first's is a thread's own, where it needs all its rows."""
    own = layer == 0 and is_wide(network.layers[0].outputs, network.memory.itemsize, team)
    return network.layers[layer].input + (team.thread * network.shared[0].input_size if own else 0)


@inlined
def scratch_of(network, thread):
    """Where a thread's scratch room begins: for a gradient, and at its end for a panel."""
    return network.shared[0].scratch + thread * network.shared[0].scratch_size


@inlined
def panel_of(network, team):
    """A thread's room for a panel of a product."""
    memory = network.memory
    end = scratch_of(network, team.thread + 1)
    return Operand(memory, end - PANEL_BYTES // memory.itemsize, 0, 1)


@called
def forward_and_loss(network, rows, factor, team):
    """Each layer's output on the first `rows` rows, their losses, and the output's gradient.

    That is multiplied by `factor`. False where the threads have agreed to go on no further; where
    they are called off, what is there is of no use, and their next barrier says so. Of the last
    layer's output, and of all that follows from it, each thread has only its own rows.
    """
    layers, memory = network.layers, network.memory
    depth = layers.shape[0]
    itemsize = memory.itemsize
    width = panel_width(itemsize)
    stop = stop_word(team)
    for number in range(depth):
        layer = layers[number]
        inputs, outputs = layer.inputs, layer.outputs
        first, last, left, right = part(rows, outputs, itemsize, team)
        h = input_of(network, number, team)
        is_last = number == depth - 1
        stride = outputs if is_last else outputs + 1
        out = layer.gradient if is_last else layers[number + 1].input
        # A sum of no terms is +0.0; the bias alone, as a term, may be -0.0.
        terms = inputs + 1 if inputs > 0 else 0
        # All whole panels, and then the last one, whose rows are shorter.
        whole = smaller(right, outputs // width * width)
        for start, end in ((left, whole), (whole, right)):
            if start >= end:
                continue
            used = smaller(width, end - start)
            panels = layer.weights + (inputs + 1) * start
            multiply(
                network.arithmetic,
                Operand(memory, out + first * stride + start, stride, 1),
                Operand(memory, h + first * (inputs + 1), inputs + 1, 1),
                Operand(memory, panels, used, (inputs + 1) * used),
                last - first,
                terms,
                end - start,
                panel_of(network, team),
                Epilogue(memory, NO_BIAS if terms > 0 else panels, layer.activation),
                stop,
            )
        if waits_for_rows(layer.activation):
            if right - left == outputs:
                for n in range(first, last, ROWS_A_BLOCK):
                    if is_set(stop):
                        break
                    count = smaller(ROWS_A_BLOCK, last - n)
                    activate_rows(layer.activation, memory, out + n * stride, count, outputs)
            else:
                for n in range(first, last):
                    if is_set(stop):
                        break
                    activate(layer.activation, row(memory, out + n * stride + left, right - left))
        # A thread goes on with rows of which it has all columns, or waits for the others'.
        wide_next = not is_last and is_wide(layers[number + 1].outputs, itemsize, team)
        if (is_wide(outputs, itemsize, team) or wide_next) and not barrier(team):
            return False
    shared = network.shared[0]
    outputs = layers[depth - 1].outputs
    first, last = share(rows, ROWS, team)
    for n in range(first, last, ROWS_A_BLOCK):
        if is_set(stop):
            break
        count, at = smaller(ROWS_A_BLOCK, last - n), n * outputs
        losses_of_rows(
            shared.loss,
            row(memory, layers[depth - 1].gradient + at, count * outputs),
            row(memory, shared.targets + at, count * outputs),
            row(memory, shared.weights + n, count),
            row(memory, shared.losses + n, count),
            row(memory, shared.room + at, count * outputs),
            count,
            outputs,
            factor,
        )
    return True


@inlined
def mean_loss(network, rows):
    """The loss of the first `rows` samples, of one block, from those of each."""
    memory, losses = network.memory, network.shared[0].losses
    total = memory[losses]
    for n in range(1, rows):
        total = total + memory[losses + n]
    return total * memory.dtype.type(1.0 / rows)


@inlined
def mean_loss_in_blocks(network, rows):
    """The loss of the first `rows` samples, of any number of blocks."""
    memory, shared = network.memory, network.shared[0]
    total = total_of(row(memory, shared.losses, rows), shared.rows_per_block)
    return total * memory.dtype.type(1.0 / rows)


@called
def backward(network, rows, team):
    """A thread's rows of the gradient of each layer's output, from the last layer's."""
    layers, memory = network.layers, network.memory
    stop = stop_word(team)
    first, last = share(rows, ROWS, team)
    for number in range(layers.shape[0] - 1, 0, -1):
        layer, before = layers[number], layers[number - 1]
        inputs, outputs = layer.inputs, layer.outputs
        multiply(
            network.arithmetic,
            Operand(memory, before.gradient + first * inputs, inputs, 1),
            Operand(memory, layer.gradient + first * outputs, outputs, 1),
            Operand(memory, layer.transposed, inputs, panel_width(memory.itemsize)),
            last - first,
            outputs,
            inputs,
            panel_of(network, team),
            Epilogue(memory, NO_BIAS, 0),
            stop,
        )
        for n in range(first, last, ROWS_A_BLOCK):
            if is_set(stop):
                break
            count = smaller(ROWS_A_BLOCK, last - n)
            dh = row(memory, before.gradient + n * inputs, count * inputs)
            h = row(memory, layer.input + n * (inputs + 1), count * (inputs + 1))
            activation_backward(before.activation_backward, dh, h, count, inputs)
