"""Energies: their minima, the force as the derivative of the energy, and the same values under Numba."""

import pickle

import numba
import numpy as np
import pytest
import torch

from optsci.pinn import double_well, harmonic, mueller_brown
from optsci.pinn.numpy_on_torch import on_tensors

CASES = [(double_well, 1), (double_well, 4), (harmonic, 1), (harmonic, 3), (mueller_brown, 2)]


def points(dim, n=40):
    return np.random.default_rng(0).normal(size=(dim, n))


@pytest.mark.parametrize(("energy", "dim"), CASES)
def test_the_drift_is_minus_the_gradient(energy, dim):
    x = points(dim)
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    value = on_tensors(energy)(tensor)
    (gradient,) = torch.autograd.grad(value.sum(), tensor)
    np.testing.assert_allclose(value.detach(), energy(x), rtol=1e-14)
    kept = x.copy()
    np.testing.assert_allclose(energy.drift(x), -gradient, rtol=1e-12, atol=1e-12)
    assert (x == kept).all()


@pytest.mark.parametrize(
    ("energy", "dim"),
    [(mueller_brown, 2), *(pytest.param(energy, 3, marks=pytest.mark.slow) for energy in (double_well, harmonic))],
)
def test_numba_gives_the_same(energy, dim):
    x = points(dim)
    np.testing.assert_allclose(numba.njit(energy.value)(x), energy(x), rtol=1e-13)
    np.testing.assert_allclose(numba.njit(energy.drift)(x), energy.drift(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("energy", [double_well, harmonic, mueller_brown])
def test_other_processes_can_have_them(energy):
    assert pickle.loads(pickle.dumps(energy)) == energy


def test_stationary_points_of_mueller_brown():
    x = np.array([[-0.558224, 1.441726], [0.623499, 0.028038], [-0.050011, 0.466694]]).T
    np.testing.assert_allclose(mueller_brown(x), [-146.6995, -108.1667, -80.7678], atol=1e-4)
    assert np.abs(mueller_brown.drift(x)).max() < 2e-3  # of a curvature of some 1000


def test_wells():
    np.testing.assert_array_equal(double_well(np.array([[-1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])), [0, 1, 0, 1.3])
    np.testing.assert_array_equal(harmonic(np.array([[3.0], [4.0]])), [12.5])
