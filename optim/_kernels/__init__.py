"""All Numba kernels of training; each file is imported by the function that runs it, never before."""
