"""All Numba kernels of compression; each file is imported by the function that runs it, never before."""
