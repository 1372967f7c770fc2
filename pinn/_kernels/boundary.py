"""The boundary of a domain near a point, from its signed distance: normals, projections.

None of this is kept in Numba's cache: what takes a function would never be found there again, and processes that write
many versions of it at a time can mix them up.
"""

import numpy as np
from numba import njit


@njit
def gradient(distance, here, out):
    """The gradient of the distance at one point (d, 1), by central differences."""
    for i in range(len(here)):
        place = here[i, 0]
        h = 6e-6 * max(abs(place), 1.0)
        here[i, 0] = place + h
        above = distance(here)[0]
        here[i, 0] = place - h
        out[i] = (above - distance(here)[0]) / (2 * h)
        here[i, 0] = place


@njit
def normal_speed(distance, here, root_of, lane):
    """The length of n' sigma, n the gradient of the distance."""
    d = len(here)
    normal = np.empty(d)
    gradient(distance, here, normal)
    squares = 0.0
    for j in range(d):
        one = 0.0
        for i in range(j, d):
            one += normal[i] * root_of[i, j, lane]
        squares += one * one
    return np.sqrt(squares)


@njit
def project(distance, here):
    """Move a point (d, 1) to the boundary, along the gradient of the distance."""
    normal = np.empty(len(here))
    for _ in range(3):
        far = distance(here)[0]
        if abs(far) < 1e-9:
            return
        gradient(distance, here, normal)
        length = 0.0
        for i in range(len(here)):
            length += normal[i] * normal[i]
        for i in range(len(here)):
            here[i, 0] -= far * normal[i] / max(length, 1e-12)
