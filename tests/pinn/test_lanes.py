"""Functions on all lanes at once are the functions, whether they go point by point or by arrays."""

import numpy as np
import pytest
from numba import njit

from optsci.pinn import Ball, compiled
from optsci.pinn._kernels.lanes import over_lanes, takes_points
from optsci.pinn._kernels.random import LANES


def of_the_number_of_points(x):
    return x[0] * x.size


CASES = {
    "a domain": (compiled(Ball((0.1, -0.2), 0.7)), True),
    "a coefficient": (njit(lambda x: x[0] * x[0] - np.exp(x[1])), True),
    "not of a point alone": (njit(of_the_number_of_points), False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_over_lanes_is_the_function(name):
    function, by_points = CASES[name]
    assert takes_points(function, 2) == by_points
    x = np.random.default_rng(1).uniform(-1, 1, (2, LANES)).astype(np.float32)
    out = np.empty(LANES, np.float32)
    over_lanes(function, 2)(x, out)
    np.testing.assert_allclose(out, function(x), rtol=2e-6, atol=1e-7)
