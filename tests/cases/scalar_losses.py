"""Instances of the losses that act entry by entry."""

from __future__ import annotations

import torch

from cases.contract import Case
from optsci import (
    Entropy,
    EpsilonInsensitive,
    Hinge,
    Huber,
    KullbackLeibler,
    LogisticLoss,
    NegativeLog,
    Pinball,
    Power,
    SquaredHinge,
    SumPositive,
)

SHAPES = ((), (1,), (5,), (3, 4), (0,))


def positive(x):
    return x.abs() + 0.1


NOT_FINITE_AT_ZERO = {"test_lipschitz_constant_is_the_best": "no such constant"}

CASES = [
    Case("Huber", lambda t: Huber(0.7, 0.8), SHAPES),
    Case(
        "Hinge",
        lambda t: Hinge(0.7),
        SHAPES,
    ),
    Case(
        "SquaredHinge",
        lambda t: SquaredHinge(0.7),
        SHAPES,
    ),
    Case("LogisticLoss", lambda t: LogisticLoss(0.7), SHAPES),
    Case("Pinball", lambda t: Pinball(0.7, 0.3), SHAPES),
    Case("EpsilonInsensitive", lambda t: EpsilonInsensitive(0.7, 0.4), SHAPES),
    Case("SumPositive", lambda t: SumPositive(0.7), SHAPES),
    Case("NegativeLog", lambda t: NegativeLog(0.7), SHAPES, interior=positive),
    Case("KullbackLeibler", lambda t: KullbackLeibler(t([0.0, 1.3, 2.0]), 0.7), ((3,), (2, 3)), interior=positive),
    Case("KullbackLeibler of one count", lambda t: KullbackLeibler(1.3, 0.7), SHAPES, interior=positive),
    Case("Entropy", lambda t: Entropy(0.7), SHAPES, interior=positive),
    Case("Power 3/2", lambda t: Power(0.7, 1.5), SHAPES, interior=positive),
    Case("Power 3", lambda t: Power(0.7, 3.0), SHAPES),
]

METHODS = {
    "Huber": "grad prox lipschitz",
    "Hinge": "prox",
    "SquaredHinge": "grad prox lipschitz",
    "LogisticLoss": "grad prox lipschitz",
    "Pinball": "prox conjugate",
    "EpsilonInsensitive": "prox",
    "SumPositive": "prox conjugate",
    "NegativeLog": "grad prox",
    "KullbackLeibler": "grad prox",
    "Entropy": "grad prox",
    "Power": "grad prox conjugate",
}

CVXPY = {
    "Huber": ((5,), lambda cp, x: (0.7 * cp.sum(cp.huber(x, 0.8)) / 2, [])),
    "Hinge": ((5,), lambda cp, x: (0.7 * cp.sum(cp.pos(1 - x)), [])),
    "SquaredHinge": ((5,), lambda cp, x: (0.7 * cp.sum_squares(cp.pos(1 - x)), [])),
    "LogisticLoss": ((5,), lambda cp, x: (0.7 * cp.sum(cp.logistic(-x)), [])),
    "Pinball": ((5,), lambda cp, x: (0.7 * cp.sum(cp.maximum(0.3 * x, -0.7 * x)), [])),
    "EpsilonInsensitive": ((5,), lambda cp, x: (0.7 * cp.sum(cp.pos(cp.abs(x) - 0.4)), [])),
    "SumPositive": ((5,), lambda cp, x: (0.7 * cp.sum(cp.pos(x)), [])),
    "NegativeLog": ((5,), lambda cp, x: (-0.7 * cp.sum(cp.log(x)), [])),
    "KullbackLeibler of one count": ((5,), lambda cp, x: (0.7 * cp.sum(x - 1.3 * cp.log(x)), [])),
    "Entropy": ((5,), lambda cp, x: (-0.7 * cp.sum(cp.entr(x)), [])),
    "Power 3/2": ((5,), lambda cp, x: (0.7 * cp.sum(cp.power(cp.abs(x), 1.5)), [])),
    "Power 3": ((5,), lambda cp, x: (0.7 * cp.sum(cp.power(cp.abs(x), 3)), [])),
}

PYPROXIMAL = {
    # PyProximal's Huber is no prox between alpha and alpha + step: the gap; of one number, HuberCircular is the same
    "Huber": ((5,), lambda pp: 0.56 * pp.Huber(0.8), lambda v: torch.where(v.abs() > 0.8, v + v.sign(), v)),
    "Huber | HuberCircular": ((1,), lambda pp: 0.56 * pp.HuberCircular(0.8)),
}
