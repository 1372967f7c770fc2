"""Problems whose coefficients are functions of a module: processes unpickle them, tests share what is compiled."""

from __future__ import annotations

import numpy as np

from optsci.pinn import Ball, Interval, MeanExitTime, Problem


def restoring(x: np.ndarray) -> np.ndarray:
    """The force -x."""
    return -x


def square(x: np.ndarray) -> np.ndarray:
    """|x|^2."""
    return (x * x).sum(axis=0)


DISK = MeanExitTime(Ball(dim=2))
DRIFTING = MeanExitTime(Interval(-1.0, 1.0), drift=restoring, diffusion=2.0)
DRIFTING_STARTS = np.array([[0.0], [0.5]])
DRIFTING_EXACT = np.array([0.5957493185, 0.4653626184])
EVERYTHING = Problem(Ball(dim=2), drift=restoring, killing=square, source=square, boundary=square)
