"""The maths of FC networks, once for every array library: it imports none.

N samples, K inputs, M outputs; x (N, K), w (K, M), b (M,), y and t (N, M), all of one real floating
dtype. An `Arithmetic` brings the array API's functions of the library, and the way to multiply and
to sum.
"""

CONTRACT_VERSION = 2
"""Of the rules that results follow to the bit: the page `docs/contract.md` states them."""
