"""The compiled floor: raw contiguous arrays and scalars in and out, NumPy and Numba only.

Kernels check nothing and choose nothing. They are the one permitted second writing of the maths in
`fcbackends.maths`: the agreement tests are its licence.
"""
