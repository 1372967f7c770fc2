"""All Numba kernels of partial differential equations; each file is imported by the function that runs it."""
