"""Instances of the total variation of images."""

from __future__ import annotations

from cases.contract import Case
from optsci import TotalVariation2D

ITERATIVE = "the prox is iterative, and to rounding only for pairs; its accuracy is tested apart"

CASES = [
    Case(
        "TotalVariation2D",
        lambda t: TotalVariation2D(0.7, 40),
        ((1, 2), (3, 2), (2, 2, 2)),
        coupled=True,
        without={
            "test_prox_satisfies_its_optimality_condition": ITERATIVE,
            "test_prox_is_firmly_nonexpansive": ITERATIVE,
            "test_prox_with_a_tiny_step_stays_in_the_domain_and_its_value_falls_with_the_step": ITERATIVE,
            "test_envelope_has_the_gradient_that_finite_differences_say": ITERATIVE,
        },
    ),
]

METHODS = {"TotalVariation2D": "prox"}
