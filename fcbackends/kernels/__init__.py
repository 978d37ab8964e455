"""The compiled floor: raw contiguous arrays and scalars in and out, NumPy and Numba only.

Kernels check nothing and choose nothing. The training loop here is the one permitted second
writing of the maths in `fcbackends.maths`: the agreement tests are its licence.
"""

from fcbackends.kernels.cache import cache_directory

__all__ = ["cache_directory"]
