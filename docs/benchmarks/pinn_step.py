"""One step of training a network on a Poisson equation: ours, ours without written-out gradients, and DeepXDE.

Writes ``pinn_step.md`` beside itself. Takes about three minutes on one core. Needs DeepXDE
(``pip install optsci[bench]``).
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))
os.environ["DDE_BACKEND"] = "pytorch"

import contextlib
import io
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.files import save
from common.machine import machine, versions
from common.timing import alternating
from optsci.pinn import MLP, Jet, Loss, Poisson, Residual, UnitSquare, residual_jacobian
from optsci.pinn.derivatives import by_autograd, generator

POINTS, WIDTHS = 4096, [64] * 4
STEPS, ROUNDS = (2, 10), 9  # steps of a short and of a long run, timings of every method
JACOBIAN_POINTS, JACOBIAN_WIDTHS = 1024, [32, 32]

Steps = Callable[[int], None]


def adam(u: MLP, loss: Callable[[], Tensor]) -> Steps:
    """Run steps of Adam."""
    optimizer = torch.optim.Adam(u.parameters(), lr=1e-3)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    return run


def ours(dtype: torch.dtype) -> dict[str, Steps]:
    """The written-out loss and gradient, and two ways in which automatic differentiation finds the gradient."""
    x = UnitSquare().sample(POINTS, 0).to(dtype)
    whole = Residual(Poisson(UnitSquare(), source=1.0), x)
    rows: Any = whole.terms[0]
    fast, jets, nested = (MLP(2, WIDTHS, 1, dtype=dtype) for _ in range(3))

    def autograd_of(u: MLP, derivatives: Callable[..., tuple[Tensor, Tensor]]) -> Steps:
        def loss() -> Tensor:
            _, second = derivatives(u, rows.points, rows.sigma, rows.drift)
            return (rows.weight * (second - rows.target).square()).sum()

        return adam(u, loss)

    return {
        "optsci": adam(fast, lambda: whole(fast)),
        "jets, gradient by autograd": autograd_of(jets, generator),
        "nested autograd": autograd_of(nested, by_autograd),
    }


def deepxde(dtype: torch.dtype) -> Steps:
    """The same by DeepXDE: the points are fixed, and nothing is tested or shown on the way."""
    with contextlib.redirect_stderr(io.StringIO()):
        import deepxde as dde

    dde.config.set_default_float("float64" if dtype == torch.float64 else "float32")

    def residual(x: Tensor, u: Tensor) -> Tensor:
        return -dde.grad.hessian(u, x, i=0, j=0) - dde.grad.hessian(u, x, i=1, j=1) - 1

    square = dde.geometry.Rectangle([0, 0], [1, 1])
    data = dde.data.PDE(square, residual, [], num_domain=POINTS, train_distribution="pseudo")
    model = dde.Model(data, dde.nn.FNN([2, *WIDTHS, 1], "tanh", "Glorot normal"))
    with contextlib.redirect_stdout(io.StringIO()):
        model.compile("adam", lr=1e-3)

    def run(steps: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            model.train(iterations=steps, display_every=10**9)

    return run


def milliseconds(methods: dict[str, Steps]) -> dict[str, list[float]]:
    """Processor time of a step for every method, in turns: of a long run less a short one, without what both share."""
    for run in methods.values():
        run(3)
    calls = {(name, steps): partial(run, steps) for name, run in methods.items() for steps in STEPS}
    seconds = alternating(calls, ROUNDS)
    few, many = STEPS
    return {
        name: [
            1e3 * (long - short) / (many - few)
            for short, long in zip(seconds[name, few], seconds[name, many], strict=True)
        ]
        for name in methods
    }


def step_rows(dtype: torch.dtype) -> str:
    """The rows of one precision: medians, and medians of the ratios of neighbouring timings."""
    times = milliseconds({"DeepXDE": deepxde(dtype), **ours(dtype)})
    lines = []
    for name, values in times.items():
        ratios = [peer / value for peer, value in zip(times["DeepXDE"], values, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        lines.append(f"| {str(dtype).split('.')[1]} | {name} | {statistics.median(values):.1f} | {spread} |")
    return "\n".join(lines)


def jacobian_row(dtype: torch.dtype) -> str:
    """The Jacobian of the residuals, written out and by automatic differentiation of the residual of every point."""
    u = MLP(2, JACOBIAN_WIDTHS, 1, dtype=dtype)
    loss = Residual(Poisson(UnitSquare(), source=1.0), UnitSquare().sample(JACOBIAN_POINTS, 0).to(dtype))
    J, other = residual_jacobian(u, loss)[1], jacobian_by_vmap(u, loss)
    seconds = alternating({of: partial(of, u, loss) for of in (residual_jacobian, jacobian_by_vmap)}, ROUNDS)
    ours, peers = (1e3 * statistics.median(times) for times in seconds.values())
    ratio = statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))
    difference = float((J - other).abs().max() / other.abs().max())
    return f"| {str(dtype).split('.')[1]} | {ours:.1f} | {peers:.1f} | {ratio:.1f} | {difference:.0e} |"


def jacobian_by_vmap(u: MLP, loss: Loss) -> Tensor:
    """Return the Jacobian by ``torch.func``: reverse differentiation of one residual, for all points at once."""
    rows: Any = loss.terms[0]
    values = {name: p.detach() for name, p in u.named_parameters()}

    def residual(values: dict[str, Tensor], x: Tensor, sigma: Tensor, drift: Tensor) -> Tensor:
        of = Jet(x[None], sigma[:, None], drift[None])
        return torch.func.functional_call(JetOf(u), {f"u.{name}": p for name, p in values.items()}, (of,))[0, 0]

    jacobian = torch.func.vmap(torch.func.grad(residual), (None, 0, 1, 0))(values, rows.points, rows.sigma, rows.drift)
    return rows.weight.sqrt() * torch.cat([part.flatten(1) for part in jacobian.values()], 1)


class JetOf(torch.nn.Module):
    """The operator applied to a network, as a module."""

    def __init__(self, u: MLP) -> None:
        super().__init__()
        self.u = u

    def forward(self, of: Jet) -> Tensor:
        """Return (n, 1)."""
        return self.u.jet(of).second


def main() -> None:
    """Measure and write the page."""
    torch.set_num_threads(1)
    steps = "\n".join(map(step_rows, (torch.float32, torch.float64)))
    jacobians = "\n".join(map(jacobian_row, (torch.float32, torch.float64)))
    page = f"""# One step of a physics-informed network

Written by `docs/benchmarks/pinn_step.py`.

−Δu = 1 on the unit square: {POINTS} fixed points, a network of {len(WIDTHS)} layers of {WIDTHS[0]} tanh units, no
boundary term. A step is the loss, its gradient in the parameters, and the update of Adam (`torch.optim.Adam` in all
rows). Processor time of one thread, medians of {ROUNDS} timings, the methods in turns; a timing is a run of {STEPS[1]}
steps less one of {STEPS[0]}, over {STEPS[1] - STEPS[0]}: what DeepXDE does once in a run, such as its tests, does not
count. The last column is the median of the ratios, and their range: the machine had other work, which shows in it.

| precision | method | ms a step | DeepXDE / method |
|---|---|---:|---:|
{steps}

The Jacobian of the residuals in the parameters, {JACOBIAN_POINTS} points, layers of
{" and ".join(map(str, JACOBIAN_WIDTHS))} units: `residual_jacobian`, which is written out for such a network, and
`torch.func`, which differentiates the residual of one point by `grad`, and does so for all points at once by `vmap`.

| precision | ours, ms | torch.func, ms | ratio | difference |
|---|---:|---:|---:|---:|
{jacobians}

Versions: {versions("torch", "deepxde")}; {machine()}.
"""
    save(Path(__file__).with_suffix(".md"), page)


if __name__ == "__main__":
    main()
