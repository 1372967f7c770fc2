"""Functions of points on all lanes at once, in memory that is there already.

A function of x (d, n) that is written with the components first mostly is one of a single point x (d,), too: then the
loop over the lanes stands around it, becomes vector instructions and needs no arrays for what lies between.
"""

# mypy: disable-error-code="attr-defined"
# (Numba changes what a decorated function takes, and infers the types.)

import functools

import numpy as np
from numba import njit, types

from .random import FUSED, LANES

TRIED = 8  # points at which a function is compared with itself


@functools.lru_cache(maxsize=256)
def over_lanes(function, dim):
    """Return (x, out) -> None, which writes a compiled function of x (d, n) -> (n,) at LANES points into out."""
    if takes_points(function, dim):

        @njit(nogil=True, fastmath=FUSED)
        def fill(x, out):
            for lane in range(LANES):
                out[lane] = function(x[:, lane])

    else:

        @njit(nogil=True)
        def fill(x, out):
            value = function(x)
            for lane in range(LANES):
                out[lane] = value[lane]

    return fill


def takes_points(function, dim):
    """Whether a compiled function of x (d, n) gives the same at single points x (d,)."""
    point = types.Array(types.float32, 1, "A")
    try:
        function.compile((point,))
        if not isinstance(function.overloads[(point,)].signature.return_type, types.Number):
            return False
        x = np.random.default_rng(0).uniform(-1, 1, (dim, TRIED)).astype(np.float32)
        whole = function(x)
        return all(np.allclose(function(x[:, i]), whole[i], rtol=1e-4, atol=1e-5, equal_nan=True) for i in range(TRIED))
    except Exception:  # what it cannot do at a point it does at all of them
        return False
