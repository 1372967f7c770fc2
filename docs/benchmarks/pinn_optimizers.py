r"""Time to an error: a PINN for Poisson's equation, trained by optsci's algorithms and by torch.optim.LBFGS.

.. math:: -\Delta u = 2 \pi^2 \sin(\pi x) \sin(\pi y) \text{ in } (0, 1)^2, \qquad u = 0 \text{ on the boundary}

Every method trains the same network from the same weights, with the same weights of terms and the same code for loss
and gradient; seconds are those of the process, one thread, without the measuring of errors.  Methods alternate within
every seed.  Writes ``pinn_optimizers.md`` beside itself, anew after every seed.  Takes about 5 minutes.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.files import save
from common.machine import machine, versions
from optsci.pinn import (
    MLP,
    Boundary,
    EachStep,
    Loss,
    Poisson,
    Residual,
    UnitSquare,
    gauss_newton,
    lbfgs,
    natural_gradient,
)

PEER = "torch.optim.LBFGS"
HERE = Path(__file__).parent
SEEDS = range(10, 15)  # not 0 and 1, which settings were tried on
TARGETS = (1e-2, 1e-3, 1e-4, 1e-5)
HIDDEN = [32, 32]
BOUNDARY_WEIGHT = 100.0  # of 1, 10, 100 and 1000 the best for torch.optim.LBFGS
FIXED, BATCH = (1024, 256), (256, 64)  # points inside, points of the boundary
SQUARE = UnitSquare()
PROBLEM = Poisson(SQUARE, source=lambda x: 2 * math.pi**2 * np.sin(math.pi * x[0]) * np.sin(math.pi * x[1]))
TEST = SQUARE.sample(4096, seed=10**6)


def exact(x: Tensor) -> Tensor:
    """Return the solution."""
    return torch.sin(math.pi * x[:, :1]) * torch.sin(math.pi * x[:, 1:])


def error(u: Any) -> float:
    """Return the relative L2 error at independent points."""
    with torch.no_grad():
        return float((u(TEST) - exact(TEST)).norm() / exact(TEST).norm())


def loss_on(sizes: tuple[int, int], seed: int) -> Loss:
    """Return the loss on random points."""
    inside, on = sizes
    boundary = Boundary(PROBLEM, SQUARE.sample_boundary(on, seed)[0])
    return Residual(PROBLEM, SQUARE.sample(inside, seed)) + BOUNDARY_WEIGHT * boundary


def torch_lbfgs(u: Any, seed: int) -> Iterator[None]:
    """Pass 20 iterations at a time."""
    loss = loss_on(FIXED, seed)
    optimizer = torch.optim.LBFGS(
        u.parameters(),
        max_iter=20,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(u)
        value.backward()
        return value

    while True:
        optimizer.step(closure)
        yield


class Method(NamedTuple):
    """A row of the table."""

    run: Callable[[Any, int], Iterator[Any]]  # of u and the seed
    limit: float  # seconds
    target: float  # that ends it
    seeds: int


METHODS = {
    "natural_gradient": Method(
        lambda u, seed: natural_gradient(u, EachStep(lambda k: loss_on(BATCH, 10_000 * (seed + 1) + k))), 60, 1e-5, 5
    ),
    PEER: Method(torch_lbfgs, 25, 1e-4, 5),
    "lbfgs": Method(lambda u, seed: lbfgs(u, loss_on(FIXED, seed)), 25, 1e-4, 3),
    "gauss_newton": Method(lambda u, seed: gauss_newton(u, loss_on(FIXED, seed)), 5, 1e-5, 3),
    "natural_gradient, fixed points": Method(lambda u, seed: natural_gradient(u, loss_on(FIXED, seed)), 5, 1e-5, 3),
}


def measure(method: str, seed: int) -> dict[float, float]:
    """Return the seconds to each target that was reached."""
    make, limit, target, _ = METHODS[method]
    u = MLP(2, HIDDEN, 1, box=SQUARE, seed=seed)
    reached: dict[float, float] = {}
    start, paused = time.process_time(), 0.0
    for _ in make(u, seed):
        now = time.process_time()
        seconds, e = now - start - paused, error(u)
        reached |= {t: seconds for t in TARGETS if e <= t and t not in reached}
        if seconds > limit or e <= target:
            break
        paused += time.process_time() - now
    print(f"seed {seed}, {method}: last error {e:.1e} after {seconds:.1f} s", reached, flush=True)
    return reached


def cell(times: list[float | None]) -> str:
    """Return the median, infinite where fewer than half arrive, and how many did."""
    middle = statistics.median(math.inf if t is None else t for t in times)
    count = sum(t is not None for t in times)
    return f"{middle:.2f} ({count}/{len(times)})" if math.isfinite(middle) else f"– ({count}/{len(times)})"


def page(found: dict[str, list[dict[float, float]]]) -> str:
    """Return the page of the seeds so far."""
    rows, ratios = [], []
    limit = METHODS[PEER].limit
    for method, runs in found.items():
        last = METHODS[method].target
        cells = [cell([run.get(t) for run in runs]) if t >= last else "not run" for t in TARGETS]
        rows.append(f"| {method} | {METHODS[method].limit:.0f} | " + " | ".join(cells) + " |")
        for t in TARGETS[1:3]:
            pairs = [(peer.get(t), run.get(t)) for peer, run in zip(found[PEER], runs, strict=False)]
            factors = [(peer or limit) / own for peer, own in pairs if own is not None]
            if method != PEER and len(factors) == len(pairs):
                late = sum(peer is None for peer, _ in pairs)
                least = f"; the peer did not arrive on {late} of {len(pairs)} seeds, which count with its limit"
                ratios.append(f"- {method}, to {t:.0e}: {statistics.median(factors):.1f} times{least * (late > 0)}.")
    table, factors_text = "\n".join(rows), "\n".join(ratios)
    return f"""# Time to an error: optimizers of a PINN

Written by `docs/benchmarks/pinn_optimizers.py`.

-Δu = 2 π² sin(πx) sin(πy) on the unit square, u = 0 on its boundary; a tanh network 2-32-32-1 in float64;
up to {len(SEEDS)} seeds of weights and points. The boundary has the weight {BOUNDARY_WEIGHT:.0f} in every row, of 1,
10, 100 and 1000 the best for `torch.optim.LBFGS` on two other seeds. Fixed points: {FIXED[0]} inside and {FIXED[1]} on
the boundary; `natural_gradient` in the first row takes {BATCH[0]} and {BATCH[1]} fresh ones in every step, with its
default damping, which was chosen on this problem, on those two other seeds. All rows share the code of network, loss
and gradient.

Median seconds of CPU time, one thread, to a relative L2 error at 4096 other points, and how many seeds arrived within
the limit; the L-BFGS rows end at 1e-4.

| method | limit, s | 1e-2 | 1e-3 | 1e-4 | 1e-5 |
|---|---:|---:|---:|---:|---:|
{table}

`torch.optim.LBFGS` has a strong Wolfe search, a history of 50 and no tolerances. How many times faster the others are,
medians of the ratios of single seeds:

{factors_text}

Much of the lead of the first row, and nearly all of it at 1e-3, is its small and fresh batch: compare the rows on the
same fixed points. `torch.optim.LBFGS`, too, can be faster to 1e-3 on fewer fixed points than here.

On {machine()}, shared with other work. Versions: {versions("torch")}.
"""


def main() -> None:
    """Measure all seeds and write the page."""
    torch.set_num_threads(1)
    for method in METHODS.values():  # what the first call of each has to load is not its time
        next(method.run(MLP(2, HIDDEN, 1, box=SQUARE), 0))
    found: dict[str, list[dict[float, float]]] = {name: [] for name in METHODS}
    for i, seed in enumerate(SEEDS):
        for name, runs in found.items():
            if i < METHODS[name].seeds:
                runs.append(measure(name, seed))
        save(HERE / "pinn_optimizers.md", page(found))


if __name__ == "__main__":
    main()
