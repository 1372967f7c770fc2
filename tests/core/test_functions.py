"""The contract of every function: the instances of `cases`, each claim checked for all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from torch import Tensor

import optsci
import oracles
from cases import CASES, METHODS, Case
from cases.contract import gaussian
from optsci import (
    L1,
    Box,
    Conjugate,
    ElasticNet,
    GroupL2,
    MoreauEnvelope,
    Quadratic,
    Scaled,
    SeparableSum,
    SquaredL2,
    Translated,
    WeightedL1,
)

DTYPES = [torch.float32, torch.float64]


def make(case: Case, dtype: torch.dtype) -> Any:
    return case.make(lambda data: torch.as_tensor(data, dtype=dtype))


CHECKS: dict[str, list[str]] = {}  # check -> the cases it runs for


def with_method(*methods: str, dtype: bool = True, **properties: bool) -> Callable[[Any], Any]:
    """Run a test for every case that has the methods and properties, by default in both precisions."""
    fitting = [
        case
        for case in CASES
        if all(hasattr(make(case, torch.float64), method) for method in methods)
        and all(getattr(case, name) == value for name, value in properties.items())
    ]

    def decorate(test: Any) -> Any:
        cases = [case for case in fitting if test.__name__ not in case.without]
        CHECKS[test.__name__] = [case.name for case in cases]
        test = pytest.mark.parametrize("case", cases, ids=lambda case: case.name)(test)
        return pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])(test) if dtype else test

    return decorate


ENTRIES = st.lists(st.integers(-3, 3).map(float) | st.floats(-10, 10), min_size=1, max_size=6)
STEPS = st.floats(0.05, 5)


def example(data: Any, case: Case) -> tuple[Any, Tensor, Tensor, float]:
    """The function, two points made of few numbers (zeros and ties abound), and a step; in either precision."""
    dtype, shape = data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from(case.shapes))
    size = torch.Size(shape).numel()
    numbers = [torch.tensor(data.draw(ENTRIES), dtype=dtype) for _ in range(2)]
    x, y = (case.points(entries.repeat(size)[:size].reshape(shape)) for entries in numbers)
    return make(case, dtype), x, y, data.draw(STEPS)


def on_examples(count: int) -> Callable[[Any], Any]:
    """Draw ``data`` by hypothesis; as the examples are small, they are not shrunk."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    settings = hypothesis.settings(max_examples=count, phases=phases)
    return lambda test: settings(hypothesis.given(data=st.data())(test))


def inputs(case: Case, dtype: torch.dtype) -> list[Tensor]:
    """A tensor of every shape of the case, without special values."""
    return [case.points(3 * gaussian(lambda data: data.to(dtype), *shape) + 0.1) for shape in case.shapes]


def inner_inputs(case: Case, dtype: torch.dtype) -> list[Tensor]:
    """The same, where the function is finite and has its gradient."""
    return [case.interior(x) for x in inputs(case, dtype)]


def tolerance(*sizes: Tensor) -> float:
    """Rounding allowed for in quantities as large as the sizes."""
    largest = torch.cat([torch.ones(1), *(size.detach().abs().flatten() for size in sizes)]).max().item()
    return 400 * torch.finfo(sizes[0].dtype).eps * largest


# --- prox ---------------------------------------------------------------------------------------------------------


@with_method("prox", convex=True, dtype=False)
@on_examples(4)
def test_prox_satisfies_its_optimality_condition(case, data):
    # (v - p)/s is a subgradient of f at p, and that is what makes p the prox of a convex f.
    f, v, z, step = example(data, case)
    p = f.prox(v, step)
    for competitor in (z, f.prox(z, 1.0), p + 1e-2 * (z - p), torch.zeros_like(v), v):
        gain = f(p) + ((v - p) * (competitor - p)).sum() / step - f(competitor)
        assert gain <= tolerance(f(p), v.square().sum() / step, z.square().sum() / step)


@with_method("prox", convex=False, dtype=False)
@on_examples(4)
def test_prox_of_a_nonconvex_function_beats_its_competitors(case, data):
    f, v, z, step = example(data, case)
    p = f.prox(v, step)
    best = oracles.prox_objective(f, p, v, step)
    for competitor in (
        z,
        f.prox(z, 1.0),
        f.prox(v.flip(0), 1.0) if v.dim() else v,
        0.9 * p,
        torch.zeros_like(v),
        v,
    ):
        assert best <= oracles.prox_objective(f, competitor, v, step) + tolerance(best)


@with_method("prox", dtype=False)
def test_prox_agrees_with_brute_force(case):
    small = [shape for shape in case.shapes if 1 <= torch.Size(shape).numel() <= 2]
    f = make(case, torch.float64)
    for shape in small:
        for k, step in enumerate((0.3, 2.5)):
            v = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
            naive, p = oracles.naive_prox(f, v, step), f.prox(v, step)
            best, found = (oracles.prox_objective(f, z, v, step) for z in (naive, p))
            assert found <= best + 1e-10
            torch.testing.assert_close(p, naive, atol=1e-4, rtol=0)


@with_method("prox", convex=True, dtype=False)
@on_examples(4)
def test_prox_is_firmly_nonexpansive(case, data):
    f, v, w, step = example(data, case)
    p, q = f.prox(v, step), f.prox(w, step)
    slack = (p - q).square().sum() - ((p - q) * (v - w)).sum()
    assert slack <= tolerance(v.square().sum(), w.square().sum())


@with_method("prox")
def test_value_and_prox_keep_shape_dtype_and_input(case, dtype):
    f = make(case, dtype)
    for v in inputs(case, dtype):
        before = v.clone()
        p, value = f.prox(v, 0.7), f(v)
        assert (p.shape, p.dtype) == (v.shape, dtype)
        assert (value.shape, value.dtype) == ((), dtype)
        p += 1
        assert torch.equal(v, before)


@with_method("prox")
def test_step_may_be_a_tensor(case, dtype):
    f = make(case, dtype)
    for v in inputs(case, dtype):
        torch.testing.assert_close(f.prox(v, torch.tensor(0.7, dtype=dtype)), f.prox(v, 0.7))


@with_method("prox", coupled=False, dtype=False)
def test_step_of_an_elementwise_prox_may_differ_from_entry_to_entry(case):
    f = make(case, torch.float64)
    for v in inputs(case, torch.float64):
        steps = 0.1 + gaussian(torch.as_tensor, *v.shape).abs()
        p = f.prox(v, steps)
        for index in np.ndindex(*v.shape):
            torch.testing.assert_close(p[index], f.prox(v, steps[index].item())[index])


@with_method("prox", dtype=False)
def test_prox_with_a_tiny_step_stays_in_the_domain_and_its_value_falls_with_the_step(case):
    f = make(case, torch.float64)
    for v in inputs(case, torch.float64):
        inside = f.prox(v, 1.0)
        torch.testing.assert_close(f.prox(inside, 1e-9), inside, rtol=0, atol=1e-6)
        values = [f(f.prox(v, step)).item() for step in (0.1, 0.5, 1.0, 4.0, 50.0)]
        assert values == pytest.approx(sorted(values, reverse=True), rel=1e-12)


@with_method("prox", indicator=True, dtype=False)
@on_examples(4)
def test_projections_are_idempotent_and_land_in_the_set(case, data):
    f, v, _, step = example(data, case)
    p = f.prox(v, step)
    torch.testing.assert_close(f.prox(p, 1.0), p)
    assert f(p) == 0
    assert f(v) in (0, torch.inf)
    if case.exact:  # else rounding decides on the boundary
        assert (f(v) == 0) == torch.equal(p, v)


@with_method("lmo", "conjugate", dtype=False)
@on_examples(4)
def test_lmo_attains_the_support_function_in_the_set(case, data):
    # min over z in C of <d, z> is -(support function of C)(-d), and the minimiser lies in C.
    f, d, _, _ = example(data, case)
    z = f.lmo(d)
    assert (z.shape, z.dtype) == (d.shape, d.dtype)
    torch.testing.assert_close(f.prox(z, 1.0), z, rtol=0, atol=tolerance(z))
    slack = (d * z).sum() + f.conjugate(-d)
    assert slack.abs() <= tolerance(d.square().sum(), z.square().sum())


@with_method("prox", dtype=False)
def test_prox_is_differentiable_in_the_point_and_the_step(case):
    f = make(case, torch.float64)
    for v in inputs(case, torch.float64):
        step = torch.tensor(0.83, dtype=v.dtype, requires_grad=True)
        assert torch.autograd.gradcheck(f.prox, (v.requires_grad_(), step), atol=1e-4, fast_mode=True)


@with_method("prox", dtype=False)
def test_gradient_of_the_prox_is_finite_at_zero(case):
    f = make(case, torch.float64)
    for x in inputs(case, torch.float64):
        v = torch.zeros_like(x, requires_grad=True)
        f.prox(v, 1.0).sum().backward()
        assert v.grad.isfinite().all()


@with_method("prox", dtype=False)
def test_prox_does_not_hide_nan(case):
    f = make(case, torch.float64)
    for x in inputs(case, torch.float64):
        assert f.prox(torch.full_like(x, torch.nan), 1.0).isnan().all()


@with_method("prox", dtype=False)
def test_value_and_prox_run_under_vmap(case):
    f = make(case, torch.float64)
    for x in inputs(case, torch.float64):
        batch = torch.stack([x, -x, 2 * x])
        for run in (f, lambda v: f.prox(v, 0.7)):
            torch.testing.assert_close(torch.vmap(run)(batch), torch.stack([run(v) for v in batch]))


@with_method("prox")
def test_prox_refuses_a_step_below_zero(case, dtype):
    f = make(case, dtype)
    for v in inputs(case, dtype):
        for step in (-0.5, -1, float("nan"), np.float32(-0.5)):
            with pytest.raises(ValueError, match=rf"^step must be at least 0, got {step}$"):
                f.prox(v, step)


def outcome(use: Callable[[Tensor], Tensor], x: Tensor) -> tuple[str | None, Tensor | None]:
    """The sentence of a refusal, or the result."""
    try:
        return None, use(x)
    except ValueError as error:
        return str(error), None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_integers_are_refused_or_give_the_value_and_gradient_of_floats(case):
    # A prox could not keep their dtype, and refuses always.
    f = make(case, torch.float32)
    refusal = r"^[xu] must be floating point, got torch.int64|, [xu] is torch.int64: convert one of them$"
    for shape in case.shapes:
        x = case.points(torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape))
        if hasattr(f, "prox"):
            with pytest.raises(ValueError, match=refusal):
                f.prox(x.long(), 1.0)
        for use in (f, *([f.grad] if hasattr(f, "grad") else [])):
            error, result = outcome(use, x.long())
            if error is not None:
                assert re.search(refusal, error)
            else:
                torch.testing.assert_close(result, use(x.long().float()))


# --- gradient -----------------------------------------------------------------------------------------------------


@with_method("grad", dtype=False)
def test_gradient_agrees_with_finite_differences(case):
    f = make(case, torch.float64)
    for x in inner_inputs(case, torch.float64):
        torch.testing.assert_close(f.grad(x), oracles.naive_gradient(f, x), rtol=1e-6, atol=1e-6)


@with_method("grad", dtype=False)
def test_gradient_agrees_with_automatic_differentiation(case):
    f = make(case, torch.float64)
    for x in inner_inputs(case, torch.float64):
        torch.testing.assert_close(f.grad(x), torch.func.grad(f)(x))


@with_method("grad")
def test_gradient_keeps_shape_dtype_and_input(case, dtype):
    f = make(case, dtype)
    for x in inner_inputs(case, dtype):
        before = x.clone()
        gradient, value = f.grad(x), f(x)
        assert (gradient.shape, gradient.dtype) == (x.shape, dtype)
        assert (value.shape, value.dtype) == ((), dtype)
        gradient += 1
        assert torch.equal(x, before)


@with_method("grad", dtype=False)
def test_gradient_is_itself_differentiable(case):
    f = make(case, torch.float64)
    for x in inner_inputs(case, torch.float64):
        assert torch.autograd.gradcheck(f.grad, (x.requires_grad_(),), atol=1e-4, fast_mode=True)


@with_method("grad", "lipschitz", convex=True, dtype=False)
@on_examples(4)
def test_lipschitz_constant_bounds_the_gradient(case, data):
    # Cocoercivity, <g - h, x - y> >= ||g - h||^2 / L, implies both convexity and the bound.
    f, x, y, _ = example(data, case)
    x, y = case.interior(x), case.interior(y)
    L, change = f.lipschitz(), f.grad(x) - f.grad(y)
    assert isinstance(L, float)
    slack = change.square().sum() - L * (change * (x - y)).sum()
    assert slack <= tolerance(L**2 * x.square().sum(), L**2 * y.square().sum())


@with_method("grad", "lipschitz", dtype=False)
def test_lipschitz_constant_is_the_best(case):
    # At 0 the quadratics curve as everywhere, the logistic loss most, and envelopes of kinks there, too.
    f = make(case, torch.float64)
    for shape in case.shapes:
        x = case.interior(case.points(torch.zeros(shape, dtype=torch.float64)))
        if x.numel():
            hessian = torch.func.jacrev(f.grad)(x).reshape(x.numel(), x.numel())
            best = torch.linalg.eigvalsh(hessian)[-1].item()
            assert f.lipschitz() == pytest.approx(best, abs=1e-12)


# --- conjugates and envelopes -------------------------------------------------------------------------------------


@with_method("prox", convex=True)
def test_moreau_decomposition(case, dtype):
    f = make(case, dtype)
    for v in inputs(case, dtype):
        p, q = f.prox(v, 1.7), Conjugate(f).prox(v / 1.7, 1 / 1.7)
        torch.testing.assert_close(p + 1.7 * q, v)


@with_method("prox", "conjugate", dtype=False)
@on_examples(4)
def test_closed_conjugate_has_the_prox_that_moreau_says(case, data):
    f, u, _, step = example(data, case)
    expected, found = Conjugate(f).prox(u, step), f.conjugate.prox(u, step)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance(u, u / step, step * torch.ones_like(u)))


@with_method("prox", "conjugate", dtype=False)
@on_examples(4)
def test_fenchel_equality_at_a_prox(case, data):
    f, v, _, step = example(data, case)
    p = f.prox(v, step)
    u = f.conjugate.prox((v - p) / step, 1e-14)  # a rounding error may carry (v - p)/s out of the domain
    slack = f(p) + f.conjugate(u) - (p * u).sum()
    assert slack.abs() <= tolerance(v.square().sum(), v.square().sum() / step, v.square().sum() / step**2)


@with_method("prox", convex=True, dtype=False)
def test_envelope_has_the_gradient_that_finite_differences_say(case):
    envelope = MoreauEnvelope(make(case, torch.float64), 0.7)
    for x in inputs(case, torch.float64):
        torch.testing.assert_close(envelope.grad(x), oracles.naive_gradient(envelope, x), rtol=1e-6, atol=1e-6)


@with_method("prox", dtype=False)
def test_envelope_is_a_lower_bound_that_the_prox_attains(case):
    f = make(case, torch.float64)
    envelope = MoreauEnvelope(f, 0.7)
    for x in inputs(case, torch.float64):
        assert envelope(x) <= f(x)
        assert envelope(x) == oracles.prox_objective(f, f.prox(x, 0.7), x, 0.7)


# --- capabilities -------------------------------------------------------------------------------------------------

NAMES = ("grad", "prox", "conjugate", "lipschitz", "lmo")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_function_has_exactly_the_methods_it_promises(case):
    f = make(case, torch.float64)
    wrapped = f
    while isinstance(wrapped, Scaled | Translated):
        wrapped = wrapped.f
    promised = set(METHODS.get(case.name, METHODS[type(wrapped).__name__]).split())
    if wrapped is not f and case.name not in METHODS:
        promised -= {"conjugate", "lmo"}
    assert {name for name in NAMES if hasattr(f, name)} == promised
    assert {name for name in NAMES if hasattr(SeparableSum(f), name)} == promised - {"conjugate", "lmo"}


def test_table_of_checks():
    """Print which checks run for which function (`pytest -s -k table_of_checks`); each has at least four."""
    numbers = {check: k for k, check in enumerate(CHECKS, 1)}
    print("\n" + "\n".join(f"{k:3d} {check.removeprefix('test_')}" for check, k in numbers.items()))
    for case in CASES:
        run = [k for check, k in numbers.items() if case.name in CHECKS[check]]
        left = "; ".join(f"not {numbers[check]}: {why}" for check, why in case.without.items())
        print(f"{case.name:40s} {' '.join(map(str, run))}  {left}")
        assert len(run) + len(case.without) >= 4
        assert case.without.keys() <= CHECKS.keys()


def test_every_exported_function_is_among_the_cases_or_acts_on_tuples():
    covered = set()
    for case in CASES:
        f = make(case, torch.float64)
        while f is not None:
            covered.add(type(f).__name__)
            f = getattr(f, "f", None)
    assert covered >= set(optsci.functions.__all__) - {"SeparableSum"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_functions_are_frozen_values_without_tensors_in_comparisons(case):
    f = make(case, torch.float64)
    with pytest.raises(AttributeError):
        f.weight = 1
    assert f == f
    assert isinstance(hash(f), int)
    assert f != L1()


# --- norms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1(-1), "weight must be finite and at least 0, got -1.0"),
        (lambda: L1(float("nan")), "weight must be finite and at least 0, got nan"),
        (lambda: L1([1, 2]), "weight must be a single number, got shape (2,)"),
        (lambda: WeightedL1([1.0, -2.0]), "weights must be finite and at least 0, got -2.0"),
        (lambda: WeightedL1(np.array([np.inf])), "weights must be finite and at least 0, got inf"),
        (lambda: SquaredL2(-1e-30), "weight must be finite and at least 0, got -1e-30"),
        (lambda: ElasticNet(-1, 1), "l1 must be finite and at least 0, got -1.0"),
        (lambda: ElasticNet(1, torch.tensor(-1.0)), "l2 must be finite and at least 0, got -1.0"),
        (lambda: GroupL2(float("inf")), "weight must be finite and at least 0, got inf"),
        (lambda: WeightedL1([1, 2])(torch.ones(3)), "weights of shape (2,) does not broadcast to the shape (3,)"),
        (lambda: WeightedL1(torch.ones(3, 1)).prox(torch.ones(3), 1.0), "weights of shape (3, 1) does not broadcast"),
        (
            lambda: GroupL2().prox(torch.ones(2, 3), torch.ones(3)),
            "step of shape (3,) does not broadcast to the shape (2, 1)",
        ),
    ],
)
def test_norms_refuse_in_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()


@pytest.mark.parametrize(
    "prox",
    [
        lambda v, w: L1(w).prox(v, 0.5),
        lambda v, w: WeightedL1(w.expand(6)).prox(v, 0.5),
        lambda v, w: SquaredL2(w).prox(v, 0.5),
        lambda v, w: ElasticNet(w, 2 * w).prox(v, 0.5),
        lambda v, w: GroupL2(w).prox(v, 0.5),
        lambda v, w: L1(w).conjugate.prox(v, 0.5),
        lambda v, w: (w * L1()).prox(v, 0.5),
        lambda v, w: MoreauEnvelope(L1(), w).grad(v),
        lambda v, w: Translated(L1(), w).prox(v, 0.5),
    ],
)
def test_prox_is_differentiable_in_the_weight(prox):
    # so that a penalty can be learned
    v = torch.tensor([-3.0, -0.2, 0.1, 0.9, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    w = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(prox, (v, w))


def test_group_prox_zeroes_whole_groups_and_steps_may_differ_from_group_to_group():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    expected = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.0, 0.0]])
    assert torch.equal(GroupL2().prox(x, torch.tensor([[5.0], [0.0], [0.0]])), expected)
    assert torch.equal(GroupL2(dim=0).prox(x.T, torch.tensor([5.0, 0.0, 0.0])), expected.T)


def test_zeros_of_a_soft_threshold_are_exact_and_positive():
    p = L1().prox(torch.tensor([-0.5, -1.0, 1.0, 0.5, -0.0]), 1.0)
    assert torch.equal(p, torch.zeros(5))
    assert not p.signbit().any()


@pytest.mark.parametrize(
    "f",
    [WeightedL1(np.ones(3)), Box(-np.ones(3), np.inf), Translated(L1(), np.ones(3)), Quadratic(np.eye(3))],
    ids=lambda f: type(f).__name__,
)
def test_parameters_do_not_change_the_dtype_of_x(f):
    for use in (f, lambda x: f.prox(x, 1.0)):
        with pytest.raises(ValueError, match=r"is torch\.float64, x is torch\.float32: convert one of them"):
            use(torch.ones(3))


@pytest.mark.parametrize(
    "f",
    [L1(), WeightedL1([1.0]), SquaredL2(), ElasticNet(1, 1), GroupL2(), Conjugate(L1()), MoreauEnvelope(Box(0, 1), 1)],
    ids=lambda f: type(f).__name__,
)
def test_a_step_does_not_enlarge_x(f):
    with pytest.raises(ValueError, match=r"^step of shape \(2, 3\) does not broadcast to the shape"):
        f.prox(torch.ones(3), torch.ones(2, 3))
