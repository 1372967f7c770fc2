"""Exact one-dimensional solutions: tables, closed forms, the equation itself, and the asymptotics of high barriers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optsci.pinn import (
    Annulus,
    Box,
    Interval,
    double_well,
    harmonic,
    interval_committor,
    interval_exit_time,
    passage_time,
    radial_committor,
)


def flat(x):
    return 0.0 * x[0]


def at(u, *points):
    return u(torch.tensor(points, dtype=torch.float64)[:, None])[:, 0].numpy()


@pytest.mark.parametrize(
    ("u", "points", "values"),
    [
        (
            interval_committor(harmonic, 1.0, Interval(-1.0, 2.0)),
            (-0.5, 0.0, 0.5, 1.0),
            (0.1136621444, 0.2017192444, 0.2897763443, 0.4034384888),
        ),
        (
            interval_committor(double_well, 1.0, Interval(-1.0, 1.0)),
            (-0.5, -0.25, 0.0),
            (0.1751203903, 0.3195235519, 0.5),
        ),
        (
            interval_committor(double_well, 3.0, Interval(-1.0, 1.0)),
            (-0.5, -0.25, 0.0),
            (0.0706107955, 0.2180749270, 0.5),
        ),
        (interval_exit_time(harmonic, 1.0, Interval(-1.0, 1.0)), (0.0, 0.5), (0.5957493185, 0.4653626184)),
        (interval_exit_time(harmonic, 2.0, Interval(-1.0, 1.0)), (0.0, 0.5), (1.4452456134, 1.1729455500)),
        (interval_exit_time(double_well, 3.0, Interval(-2.0, 0.0)), (-1.0,), (12.6983500446,)),
        (passage_time(double_well, 1.0, wall=-2.5, target=1.0), (-1.0,), (3.5694341591,)),
        (passage_time(double_well, 3.0, wall=-2.5, target=1.0), (-1.0,), (26.6400877980,)),
    ],
)
def test_table(u, points, values):
    np.testing.assert_allclose(at(u, *points), values, rtol=5e-12, atol=1e-10)


def test_without_energy():
    x = np.linspace(-1, 1, 21)
    np.testing.assert_allclose(at(interval_exit_time(flat, 2.0, Interval(-1, 1)), *x), 1 - x**2, atol=1e-14)
    np.testing.assert_allclose(at(interval_committor(flat, 2.0, Interval(-1, 1)), *x), (1 + x) / 2, atol=1e-14)
    np.testing.assert_allclose(at(passage_time(flat, 2.0, -1.0, 1.0), *x), 4 - (1 + x) ** 2, atol=1e-13)


@pytest.mark.parametrize("beta", [1.0, 10.0])
@pytest.mark.parametrize("name", ["exit", "passage", "committor"])
def test_they_solve_the_equation(name, beta):
    u, source = {
        "exit": (interval_exit_time(double_well, beta, Interval(-1.5, 0.3)), 1.0),
        "passage": (passage_time(double_well, beta, -1.6, 0.3), 1.0),
        "committor": (interval_committor(double_well, beta, Interval(-1.5, 0.3)), 0.0),
    }[name]
    x = torch.linspace(-1.45, 0.25, 50, dtype=torch.float64)[:, None].requires_grad_()
    value = u(x)
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    value = value.detach()
    residual = torch.from_numpy(double_well.drift(x.detach().numpy().T).T) * first + second / beta + source
    assert residual.abs().max() < 1e-5 * max(1.0, float(value.max()))


def test_boundary_values_and_beyond():
    q, T = (f(double_well, 10.0, Interval(-1.5, 1.2)) for f in (interval_committor, interval_exit_time))
    np.testing.assert_allclose(at(q, -2.0, -1.5, 1.2, 2.0), [0, 0, 1, 1], atol=1e-14)
    np.testing.assert_allclose(at(T, -2.0, -1.5, 1.2, 2.0), 0, atol=1e-14 * at(T, 0.0)[0])
    assert q(torch.zeros(3, 1)).dtype == torch.float32


@settings(max_examples=10)
@given(
    beta=st.floats(0.1, 10),
    c=st.floats(-1.2, 1.2),
    part=st.floats(0.05, 0.95),
)
def test_strong_markov_property(beta, c, part):
    """To leave (a, b) takes the time to leave (a, c), and from c on, where the path is with the probability q, T(c)."""
    a, b = -1.4, 1.3
    x = a + part * (c - a)
    whole = interval_exit_time(double_well, beta, Interval(a, b))
    first, q = (f(double_well, beta, Interval(a, c)) for f in (interval_exit_time, interval_committor))
    np.testing.assert_allclose(at(whole, x), at(first, x) + at(q, x) * at(whole, c), rtol=1e-11)


def test_mirror_images():
    there = passage_time(double_well, 4.0, wall=-2.0, target=1.0)
    back = passage_time(double_well, 4.0, wall=2.0, target=-1.0)
    x = np.linspace(-2.0, 1.0, 11)
    np.testing.assert_allclose(at(there, *x), at(back, *-x), rtol=1e-12, atol=1e-12)


def test_high_barriers_have_the_time_of_eyring_and_kramers():
    """T = 2 pi / sqrt(V''(-1) |V''(0)|) exp(beta) (1 + O(1/beta)); exp(beta V) spans 6000 orders of magnitude."""
    betas = np.array([50.0, 100.0, 200.0, 500.0])
    ratio = [
        float(at(passage_time(double_well, beta, -2.5, 1.0), -1.0)[0] / (math.tau / math.sqrt(32) * math.exp(beta)))
        for beta in betas
    ]
    error = betas * (np.array(ratio) - 1)
    np.testing.assert_allclose(error, error[-1], rtol=0.05)
    assert 0 < error[-1] < 1


def test_shells():
    x = torch.tensor([[0.7, 0.0, 0.2], [0.0, -1.5, 0.3]], dtype=torch.float64)
    r = x.norm(dim=1, keepdim=True)
    shell = Annulus(inner=0.5, outer=2.0, dim=3)
    torch.testing.assert_close(radial_committor(flat, 1.0, shell)(x), (2 - 1 / r) / 1.5, rtol=1e-13, atol=0)
    x, ring = x[:, :2] + 1, Annulus((1.0, 1.0), inner=0.5, outer=2.0)
    expected = torch.log((x - 1).norm(dim=1, keepdim=True) / 0.5) / math.log(4)
    torch.testing.assert_close(radial_committor(flat, 1.0, ring)(x), expected, rtol=1e-13, atol=0)
    q = radial_committor(harmonic, 1.0, Annulus(inner=0.5, outer=2.0, dim=2))
    np.testing.assert_allclose(q([[0.0, 1.0]]).item(), 0.2888099449, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval_committor(flat, 1.0, Box((0, 0), (1, 1))), "interval must have dimension 1"),
        (lambda: interval_exit_time(flat, 0.0, Interval(0, 1)), "beta must be a positive number, got 0.0"),
        (lambda: passage_time(flat, 1.0, 2.0, 2.0), "wall and target must be two numbers, got wall = 2.0"),
        (lambda: interval_committor(lambda x: 1 / (x[0] >= 0), 1.0, Interval(-1, 1)), r"energy must be finite.*-1\.0"),
        (lambda: interval_committor(lambda x: 1e9 * x[0], 1.0, Interval(-1, 1)), "energy is too steep"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
