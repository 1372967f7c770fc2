r"""Recovery of a narrower MLP from the inputs themselves: alternate between the matrices that it is linear in.

.. math:: \min_{W_2, W_1} \; \tfrac{1}{2p} \sum_t \bigl\| W_2 (a_t \odot W_1 x_t) - y_t \bigr\|^2,
          \qquad a_t = \operatorname{act}(W_g x_t)

``x_t`` are the inputs of the block's MLP, ``y_t`` what the dense one puts out.  A sweep solves for ``W_2`` exactly,
from two Gram matrices, and then takes a few conjugate-gradient steps for ``W_1``, each one forward and one backward
pass: no matrix of tokens by units is kept.  Every solve has a ridge towards the weights it starts from, so that the
error itself never rises on the tokens given.  With few of them it may on others: ``recover_mlp`` keeps a sweep only if
it helps on windows that the sweeps have not seen.  The gate stays.

Without a gate (OPT) ``W_1`` is not linear: its step is that of Gauss and Newton, on the units that are active, halved
until the error falls, or not taken.

After the alternating recovery of SPAP, arXiv 2505.03373, whose full text was not available to us: the steps, their
order and the ridge are our reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optsci.iteration import solve
from optsci.linalg import conjugate_gradient

from .models import Units, linear
from .restoration import derived_damping, ridge_correction


@dataclass(frozen=True, eq=False)
class MLP:
    """``y = down (act(gate x) * (up x))``, or ``down act(up x)`` where there is no gate; float32 at least."""

    up: Tensor  # (k, h)
    up_bias: Tensor | None  # (k,)
    gate: Tensor | None  # (k, h)
    gate_bias: Tensor | None  # (k,)
    down: Tensor  # (m, k)
    down_bias: Tensor | None  # (m,)
    activation: Callable[[Tensor], Tensor]
    name: str = "mlp"  # where it lives in the model

    def units(self, x: Tensor) -> Tensor:
        """(p, k) what enters ``down`` for inputs (p, h)."""
        rows = F.linear(x, self.up, self.up_bias)
        if self.gate is None:
            return self.activation(rows)
        return self.activation(F.linear(x, self.gate, self.gate_bias)) * rows

    def slope(self, x: Tensor) -> Tensor:
        """(p, k) derivative of the units by the outputs of ``up``."""
        if self.gate is not None:
            return self.activation(F.linear(x, self.gate, self.gate_bias))
        with torch.enable_grad():
            rows = F.linear(x, self.up, self.up_bias).detach().requires_grad_()
            return torch.autograd.grad(self.activation(rows).sum(), rows)[0]

    def __call__(self, x: Tensor) -> Tensor:
        """(p, m) outputs."""
        return F.linear(self.units(x), self.down, self.down_bias)


def mlp_of(block: nn.Module, units: Units, name: str = "mlp") -> MLP:
    """The MLP of a decoder block, its weights cast to float32 if they are shorter."""

    def part(layer: nn.Linear | None) -> tuple[Tensor | None, Tensor | None]:
        if layer is None:
            return None, None
        dtype = torch.promote_types(layer.weight.dtype, torch.float32)
        return layer.weight.detach().to(dtype), None if layer.bias is None else layer.bias.detach().to(dtype)

    up, up_bias = part(linear(block, units.rows[-1]))
    gate, gate_bias = part(linear(block, units.rows[0]) if len(units.rows) == 2 else None)
    down, down_bias = part(linear(block, units.reader))
    assert up is not None
    assert down is not None
    return MLP(up, up_bias, gate, gate_bias, down, down_bias, block.get_submodule(units.activation), name)


@torch.no_grad()
def write_mlp(block: nn.Module, units: Units, mlp: MLP) -> None:
    """Write the matrices and biases of ``mlp`` into a block of the same width; a ValueError if they are not finite."""
    parts = [(units.rows[-1], mlp.up, mlp.up_bias), (units.reader, mlp.down, mlp.down_bias)]
    if mlp.gate is not None:
        parts.append((units.rows[0], mlp.gate, mlp.gate_bias))
    pairs: list[tuple[Tensor, Tensor]] = []
    for name, weight, bias in parts:
        layer = linear(block, name)
        pairs.append((layer.weight, weight.to(layer.weight)))
        if bias is not None:
            pairs.append((layer.bias, bias.to(layer.bias)))
        if not all(new.isfinite().all() for _, new in pairs):
            raise ValueError(f"weights for {name} of {mlp.name} hold a NaN or an infinity as {layer.weight.dtype}")
    for old, new in pairs:
        old.copy_(new)


class SweepState(NamedTuple):
    """A sweep of ``recovery_sweeps``."""

    x: MLP  # the current network
    residual: float  # relative decrease of the error in this sweep
    error: float  # ||mlp(X) - Y|| / ||Y||


def recover_mlp(
    mlp: MLP,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    sweeps: int = 2,
    iterations: int = 5,
    damping: float | None = None,
    held_out: float = 0.25,
) -> MLP:
    """Up to ``sweeps`` of :func:`recovery_sweeps`, kept as far as they lower the error on windows held out.

    Args:
        mlp: where to start.
        inputs: windows (…, h) of what enters the MLP.
        outputs: windows (…, m) of what it should put out.
        sweeps: at most; ends earlier where one lowers the error by less than 1e-4.
        iterations: of conjugate gradients for ``up``.
        damping: see :func:`recovery_sweeps`.
        held_out: share of the windows, the last ones, that the sweeps do not see. With 0, or a single window, they see
            all and are kept by their error on those.

    Returns:
        The start, where no sweep is better on the windows held out.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out must lie in [0, 1): a share of the windows, got {held_out!r}")
    seen = len(inputs) - min(round(held_out * len(inputs)), len(inputs) - 1)
    steps = recovery_sweeps(mlp, inputs[:seen], outputs[:seen], iterations=iterations, damping=damping)
    if seen < len(inputs):
        steps = _best_on(mlp, inputs[seen:], outputs[seen:], steps)
    return solve(steps, tol=1e-4, max_iter=sweeps).x


def _best_on(
    mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor], steps: Iterator[SweepState]
) -> Iterator[SweepState]:
    """The best of the start and the sweeps so far, by their errors on other windows."""
    error = relative_output_error(mlp, inputs, outputs)
    for state in steps:
        before, reached = error, relative_output_error(state.x, inputs, outputs)
        if reached < error:
            mlp, error = state.x, reached
        yield SweepState(mlp, (before - error) / (before or 1.0), error)


def recover_bias(mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> MLP:
    """Only the bias of ``down``: the mean error goes into it, as in FLAP.

    Raises:
        ValueError: ``down`` has no bias, as in LLaMA-like models; stock transformers would not load one.
    """
    if mlp.down_bias is None:
        raise ValueError(f"{mlp.name} has a decision layer without a bias, and stock transformers would not load one")
    errors = torch.stack([(y - mlp(x)).double().sum(0) for x, y in _pairs(mlp, inputs, outputs)]).sum(0)
    mean = errors / sum(len(x) for x, _ in _pairs(mlp, inputs, outputs))
    return replace(mlp, down_bias=mlp.down_bias + mean.to(mlp.down_bias.dtype))


@torch.no_grad()
def relative_output_error(mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """``||mlp(X) - Y|| / ||Y||``; not divided where Y is 0."""
    missed = size = 0.0
    for x, y in _pairs(mlp, inputs, outputs):
        missed += float((mlp(x) - y).double().square().sum())
        size += float(y.double().square().sum())
    return float((missed / (size or 1.0)) ** 0.5)


def recovery_sweeps(
    mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, iterations: int = 5, damping: float | None = None
) -> Iterator[SweepState]:
    """Solve for ``down``, then for ``up``, again and again; the error falls from state to state, or stays.

    Args:
        mlp: where to start.
        inputs: windows (…, h) of what enters the MLP.
        outputs: windows (…, m) of what it should put out.
        iterations: of conjugate gradients for ``up``.
        damping: ridge towards the current weights, relative to the diagonal of the normal equations; None for
            :func:`~.restoration.derived_damping`.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the units stays singular (the name of the MLP is in the message).
    """
    if len(inputs) != len(outputs) or not inputs:
        raise ValueError(f"inputs and outputs must be as many windows, got {len(inputs)} and {len(outputs)}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations!r}")
    if damping is None:
        damping = derived_damping(len(mlp.up), sum(x[..., 0].numel() for x in inputs))
    if not damping > 0:
        raise ValueError(f"damping must be positive, got {damping!r}")
    return _sweeps(mlp, inputs, outputs, iterations, damping)


def _sweeps(
    mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor], iterations: int, damping: float
) -> Iterator[SweepState]:
    error = relative_output_error(mlp, inputs, outputs)
    while True:
        before = error
        steps = ((_down_step, (1.0,)), (_up_step, (1.0,) if mlp.gate is not None else (1.0, 0.5, 0.25)))
        for step, lengths in steps:
            change = step(mlp, inputs, outputs, iterations, damping)
            for length in lengths:
                candidate = change(length)
                reached = relative_output_error(candidate, inputs, outputs)
                if reached < error:  # always, but for rounding, where the step is linear
                    mlp, error = candidate, reached
                    break
        yield SweepState(mlp, (before - error) / (before or 1.0), error)


@torch.no_grad()
def _down_step(
    mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor], iterations: int, damping: float
) -> Callable[[float], MLP]:
    gram = mlp.up.new_zeros(len(mlp.up), len(mlp.up))
    residual, tokens = torch.zeros_like(mlp.down), 0
    for x, y in _pairs(mlp, inputs, outputs):
        z = mlp.units(x)
        gram += z.T @ z
        residual += (y - F.linear(z, mlp.down, mlp.down_bias)).T @ z
        tokens += len(x)
    name = f"the Gram matrix of the units of {mlp.name}"
    correction = ridge_correction(gram / tokens, residual / tokens, damping, name=name).to(mlp.down.dtype)
    return lambda length: replace(mlp, down=mlp.down + length * correction)


@torch.no_grad()
def _up_step(
    mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor], iterations: int, damping: float
) -> Callable[[float], MLP]:
    """With ``A_t = diag(slope_t)``: the normal equations of ``S -> down A_t S x_t``, by CG with their diagonal."""
    shape = mlp.up.shape
    ascent, squares = torch.zeros_like(mlp.up), torch.zeros_like(mlp.up)
    for x, y in _pairs(mlp, inputs, outputs):
        slope = mlp.slope(x)
        ascent += (((y - mlp(x)) @ mlp.down) * slope).T @ x
        squares += slope.square().T @ x.square()
    diagonal = squares * mlp.down.square().sum(0)[:, None]
    diagonal = torch.where(diagonal > 0, diagonal, diagonal.mean().clamp(min=torch.finfo(diagonal.dtype).tiny))

    @torch.no_grad()
    def normal(flat: Tensor) -> Tensor:
        if not flat.any():
            return flat
        change = flat.view(shape)
        product = damping * diagonal * change
        for x, _ in _pairs(mlp, inputs, outputs):
            slope = mlp.slope(x)
            product += ((((slope * (x @ change.T)) @ mlp.down.T) @ mlp.down) * slope).T @ x
        return product.flatten()

    steps = conjugate_gradient(normal, ascent.flatten(), preconditioner=1 / diagonal.flatten())
    correction = solve(steps, tol=1e-4, max_iter=iterations).x.view(shape)
    return lambda length: replace(mlp, up=mlp.up + length * correction)


def _pairs(mlp: MLP, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    for x, y in zip(inputs, outputs, strict=True):
        yield x.flatten(0, -2).to(mlp.up.dtype), y.flatten(0, -2).to(mlp.up.dtype)
