r"""Sparse inverse covariance
=========================

Zeros of the inverse covariance are conditional independences. The graphical lasso finds them from data,

.. math:: \min_{X \succ 0} \; -\log\det X + \langle S, X \rangle + \lambda \sum_{i \ne j} |X_{ij}|

and ADMM splits it into two proximal operators: of the log-determinant, by an eigendecomposition, and of the penalty.
``graphical_lasso`` solves the same problem faster, by proximal Newton steps.
"""

import matplotlib.pyplot as plt
import torch

import optsci
from optsci.plots import convergence

# %%
# A chain of 30 variables, of which each depends on its two neighbours alone, and 400 samples.
p, samples, weight = 30, 400, 0.08
precision = torch.eye(p, dtype=torch.float64) + 0.45 * (
    torch.diag(torch.ones(p - 1, dtype=torch.float64), 1) + torch.diag(torch.ones(p - 1, dtype=torch.float64), -1)
)
generator = torch.Generator().manual_seed(0)
factor = torch.linalg.cholesky(torch.linalg.inv(precision))
data = torch.randn(samples, p, generator=generator, dtype=torch.float64) @ factor.T
S = data.T @ data / samples

# %%
# The two functions: a tilted log-determinant, and an l1 norm that spares the diagonal.
f = optsci.Tilted(optsci.NegativeLogDet(), S)
g = optsci.WeightedL1(weight * (1 - torch.eye(p, dtype=torch.float64)))
run = optsci.solve(
    optsci.admm(f, g, torch.eye(p, dtype=torch.float64), relaxation=1.6),
    tol=1e-9,
    track={"objective": lambda state: f(state.x) + g(state.x)},
)
print(run)

# %%
# The sparse copy z is the answer. Its optimality: the inverse deviates from S by at most the weight, and by exactly the
# weight, with the sign of the entry, where that is not zero.
Z = run.state.z
deviation = torch.linalg.inv(Z) - S
off = ~torch.eye(p, dtype=torch.bool)
on_support = float((deviation - weight * Z.sign())[off & (Z != 0)].abs().max())
elsewhere = float(deviation[off & (Z == 0)].abs().max() / weight)
true_edges = int(((Z != 0) & (precision != 0) & off).triu().sum())
print(f"{int(((Z != 0) & off).triu().sum())} edges, {true_edges} of the {p - 1} true ones among them")
print(f"the conditions fail by {on_support:.1e} on the support,")
print(f"elsewhere the deviation reaches {elsewhere:.3f} of its limit")

# %%
# Proximal Newton steps find the same matrix.
newton = optsci.solve(optsci.graphical_lasso(S, weight), tol=1e-9)
print(newton)
difference = float((newton.x - Z).abs().max())
print(f"the two differ by at most {difference:.1e}")

convergence(run)
_, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
pictures = {"true precision": precision, "inverse of the sample covariance": torch.linalg.inv(S), "estimate": Z}
for panel, (title, matrix) in zip(panels, pictures.items(), strict=True):
    panel.imshow(matrix.numpy(), cmap="RdBu", vmin=-1.5, vmax=1.5)
    panel.set(title=title, xticks=[], yticks=[])
plt.show()
