r"""A source from boundary data
===========================

A source u sits somewhere in the middle of a square, and y, with :math:`-\Delta y + y = u` and no flux through the
sides, is known on the boundary only. Infinitely many sources fit. The one of least total variation is found by ADMM,
whose smooth half is a prox: by finite elements, or by networks for the state and the adjoint state, which are trained
in the first iterations and then solve linear systems with their last layers.
"""

import matplotlib.pyplot as plt
import torch

import optsci
from optsci.pinn.control import FiniteElements, SourceIdentification, SourceProblem, source_fields, two_sources

# %%
# The data are exact ones: 3 in one half of the middle square, -9 in the other.
problem = SourceProblem.two_sources(side=16, cells=16)
truth = two_sources(problem.cells)
print(f"{len(problem.values)} data, {truth.numel()} unknowns")

# %%
# Two versions of the smooth half. ADMM does not know which one it runs.
halves = {
    "finite elements": FiniteElements(64).misfit(problem),
    "networks": SourceIdentification(problem, source_fields(64, 40), rounds=3, inner_steps=3),
}
gamma = 1e-4
g = problem.regulariser(gamma, iterations=200)
runs = {}
for name, f in halves.items():
    steps = optsci.admm(f, g, torch.zeros_like(truth), rho=2.5 * gamma)
    track = {
        "error": lambda s: (s.z - truth).norm() / truth.norm(),
        "primal": lambda s: s.primal / s.z.norm(),
        "dual": lambda s: s.dual / (s.rho * s.u).norm(),
    }
    runs[name] = optsci.solve(steps, tol=None, max_iter=60, track=track)
    last = {key: values[-1] for key, values in runs[name].history.items()}
    print(f"{name}: error {last['error']:.1%}, primal residual {last['primal']:.0e}, dual {last['dual']:.0e}")

# %%
# The jump is where it is, and the two values are off by what the weight gamma takes.
images = {"truth": truth, **{name: run.state.z for name, run in runs.items()}}
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    shown = axis.imshow(image.T.numpy(), origin="lower", extent=(0.25, 0.75, 0.25, 0.75), vmin=-10, vmax=4)
    axis.set_title(name)
figure.colorbar(shown, ax=axes, label="u")

# %%
# Until then, ADMM moves mass across the jump.
figure, axis = plt.subplots(layout="constrained")
for name, run in runs.items():
    axis.semilogy(run.history["iteration"], run.history["error"], label=name)
axis.set(xlabel="outer iteration", ylabel="relative error of u")
axis.legend()
plt.show()
