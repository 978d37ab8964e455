"""The public functions of one layer, one loss and one step: checks, then the chosen backend.

N samples, K inputs, M outputs. Arrays are float32 or float64, all of one dtype; integers are cast
to it, once. One sample may be given without the axis of samples: results then lack it too. The
formulas, the order of their sums and their roundings are the contract's, as `fcbackends.maths`
writes them down; what is said of matrix products' sums is of `arithmetic` "ordered", and the same
of "fused" but for one rounding where that has two.
"""
