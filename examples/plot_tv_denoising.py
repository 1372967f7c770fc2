r"""Denoising a photograph by total variation
==========================================

Rudin, Osher and Fatemi's model keeps edges that a blur would lose:

.. math:: \min_x \; \tfrac12 \|x - y\|^2 + \lambda \sum_{i,j} \|(\nabla x)_{ij}\|_2

The primal-dual method of Chambolle and Pock needs the two proximal operators and the gradient of an image, no linear
system. As the first term is strongly convex, its accelerated form converges like :math:`1/k^2`.
"""

import matplotlib.cbook
import matplotlib.pyplot as plt
import torch

import optsci
from optsci.plots import convergence

# %%
# A public-domain photograph that comes with Matplotlib (Grace Hopper), in grey, with noise.
with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
    photograph = torch.tensor(plt.imread(file).copy(), dtype=torch.float64)[40:340:2, 100:400:2].mean(-1) / 255
generator = torch.Generator().manual_seed(0)
noisy = photograph + 0.1 * torch.randn(photograph.shape, generator=generator, dtype=torch.float64)

# %%
# The parts of the problem. The gradient of an image stacks its two differences before the last two dimensions, and
# the length of the vector at every pixel is a group norm along them.
weight = 0.1
f = optsci.Translated(optsci.SquaredL2(), noisy)
g = optsci.GroupL2(weight, dim=-3)
K = optsci.Gradient(tuple(noisy.shape))


def objective(state):
    """The primal objective."""
    return f(state.x) + g(K(state.x))


def dual_gap(state):
    """Objective minus that of the dual: an upper bound of the distance to the optimum, from the iterates alone."""
    y = state.y / (state.y.norm(dim=-3, keepdim=True) / weight).clamp(min=1)
    Kty = K.T(y)
    return objective(state) - ((Kty * noisy).sum() - Kty.square().sum() / 2)


# %%
# Plain and accelerated.
runs = {
    "Chambolle-Pock": optsci.chambolle_pock(f, g, K, noisy),
    "accelerated": optsci.accelerated_chambolle_pock(f, g, K, noisy, strong_convexity=1.0),
}
runs = {
    name: optsci.solve(steps, tol=None, max_iter=300, check_every=5, track={"gap": dual_gap})
    for name, steps in runs.items()
}


def psnr(image):
    """Peak signal-to-noise ratio in decibels."""
    return float(-10 * (image - photograph).square().mean().log10())


denoised = runs["accelerated"].x
for name, run in runs.items():
    print(f"{name:15s} duality gap {run.history['gap'][-1]:.1e} after {run.iterations} iterations")
print(f"noisy {psnr(noisy):.1f} dB, denoised {psnr(denoised):.1f} dB")

# %%
# The duality gap, and the pictures.
convergence(runs, "gap").set(xscale="log")
_, panels = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for panel, (title, image) in zip(
    panels, {"photograph": photograph, "noisy": noisy, "denoised": denoised}.items(), strict=True
):
    panel.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
    panel.set(title=title, xticks=[], yticks=[])
plt.show()
