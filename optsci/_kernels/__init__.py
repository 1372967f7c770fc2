"""All sequential Numba kernels of the core; each file is imported by the function that runs it, never before."""
