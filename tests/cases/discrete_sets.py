"""Instances of the sets of isolated values, and of the sparse simplex."""

from __future__ import annotations

from cases.contract import Case
from optsci import Binary, Codebook, SparseSimplex

CASES = [
    Case("Binary", lambda t: Binary(), convex=False, indicator=True),
    Case("Binary with tensors", lambda t: Binary(t([-1.0, 0.0]), t([1.0, 3.0])), ((2,), (3, 2)), False, True),
    Case("Codebook", lambda t: Codebook(t([-2.0, 1.0, 0.0, 3.0])), convex=False, indicator=True),
    Case("SparseSimplex", lambda t: SparseSimplex(2), ((1,), (3,), (5,), (2, 3, 4)), False, True, True, False),
    Case("SparseSimplex of total 3", lambda t: SparseSimplex(3, t(3.0)), ((2, 6),), False, True, True, False),
]

METHODS = dict.fromkeys(("Binary", "Codebook", "SparseSimplex"), "prox lmo")
