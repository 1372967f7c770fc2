r"""How hard a loss is to minimise: the spectra of its tangent kernel and of its Hessian.

.. math:: K = J J^\top, \qquad J = \partial r / \partial \theta, \qquad \kappa_k = \lambda_1 / \lambda_k

Gradient descent learns the first k directions of K in about :math:`\kappa_k` steps.  The least eigenvalue says
nothing: with more parameters than points it is noise, and with fewer it is an exact zero.  So conditions are given for
every k up to the last eigenvalue above rounding.

Sources: Rathore, Lei, Frangella, Lu and Udell, Challenges in training PINNs, arXiv 2402.01868 (spectra of PINN losses);
Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 38 (2017) 1075 (stochastic Lanczos quadrature).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .jacobians import parameters, residual_jacobian
from .losses import Data, Loss
from .parameter_vectors import Objective, require_trained


class KernelSpectrum(NamedTuple):
    """Eigenvalues of K = J J', without those below rounding; ``print`` says the most important in one line."""

    eigenvalues: Tensor  # (k,) in decreasing order
    below_rounding: int  # how many of the N are not known
    stable_rank: float  # tr K / lambda_1
    kappa: Tensor  # (k,) lambda_1 / lambda_k

    def __str__(self) -> str:
        found = len(self.eigenvalues)
        if not found:
            return "K = 0"
        parts = [f"lambda_1 = {self.eigenvalues[0]:.3g}", f"stable rank {self.stable_rank:.3g}"]
        parts += [f"kappa_{k} = {self.kappa[k - 1]:.2g}" for k in (10, 50, 200) if k <= found]
        return ", ".join([*parts, f"{self.below_rounding} of {found + self.below_rounding} eigenvalues below rounding"])


class Extremes(NamedTuple):
    """The ends of the spectrum of a Hessian, by Lanczos; the errors are bounds of what an eigenvalue is away."""

    smallest: float
    largest: float
    smallest_error: float
    largest_error: float


class SpectralDensity(NamedTuple):
    """A density of eigenvalues as points with weights: the mean of f over all eigenvalues is ``weights @ f(nodes)``."""

    nodes: Tensor  # in increasing order
    weights: Tensor  # positive, of sum 1


def kernel_spectrum(u: Any, loss: Loss) -> KernelSpectrum:
    r"""Eigenvalues, stable rank and cumulative conditions of the tangent kernel :math:`J J^\top`.

    The weights of terms and points are in J. Singular values of J, whose squares these are, are right to
    :math:`\epsilon \sigma_1`, so eigenvalues down to about 1e-26 of the largest are found in double precision.

    Args:
        u: a module.
        loss: of N residuals; the cost is that of a singular value decomposition of order min(N, P).

    >>> from optsci.pinn import MLP, Data
    >>> x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    >>> spectrum = kernel_spectrum(MLP(1, [8], 1), Data(x, x))
    >>> bool((spectrum.kappa.diff() >= 0).all()), spectrum.kappa[0].item(), 1 < spectrum.stable_rank < 3
    (True, 1.0, True)
    """
    require_trained(u)
    _, J = residual_jacobian(u, loss)
    sigma = torch.linalg.svdvals(J)
    known = sigma[sigma > max(J.shape) * torch.finfo(J.dtype).eps * sigma[0]]
    values = known.square()
    stable_rank = float(values.sum() / values[0]) if len(values) else 0.0
    return KernelSpectrum(values, len(J) - len(values), stable_rank, values[:1] / values)


def function_spectrum(u: Any, loss: Loss, points: Tensor, *, cutoff: float = 1e-4) -> Tensor:
    r"""Eigenvalues, in decreasing order, of the loss as a quadratic form on functions: those near u, of size 1.

    .. math:: \lambda = \frac{\|J v\|^2}{\frac1n \|V v\|^2}, \qquad V = \frac{\partial u(x_i)}{\partial \theta}

    stationary in v: how much of an error of size 1 (root mean square at the points) the loss sees. The smallest is that
    of the error it sees least; labels raise it, and the condition number is the first over the last. In parameters the
    same form has eigenvalues near zero that mean nothing.

    Args:
        u: a module, (n, d) -> (n, 1).
        loss: with residuals, of Jacobian J.
        points: (n, d), spread over the domain.
        cutoff: functions whose size is below this part of the largest, for a change of parameters of size 1, are left
            out: the network hardly makes them.

    >>> from optsci.pinn import MLP, Data
    >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    >>> u = MLP(1, [8], 1)
    >>> values = function_spectrum(u, Data(x, x), x)
    >>> torch.allclose(values, torch.ones_like(values))
    True
    """
    require_trained(u)
    _, V = residual_jacobian(u, Data(points, points.new_zeros(len(points), 1)))
    _, sigma, directions = torch.linalg.svd(V, full_matrices=False)
    known = sigma > cutoff * sigma[0]
    basis = directions[known].mT / sigma[known]  # changes of parameters whose functions are orthonormal
    _, J = residual_jacobian(u, loss)
    return torch.linalg.svdvals(J @ basis).square()


def hessian_extremes(u: Any, loss: Objective, *, steps: int = 100, seed: int = 0) -> Extremes:
    r"""The smallest and largest eigenvalue of the Hessian of a loss in the parameters.

    Args:
        u: a module, twice differentiable in its parameters.
        loss: u -> 0-d tensor.
        steps: products with the Hessian, each the cost of a few gradients. The ends converge first; the smallest
            takes more steps where many eigenvalues lie beside it.
        seed: of the random start.

    Some eigenvalue lies within the error of each end; that it is the very last one is likely, not certain.

    >>> u = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> found = hessian_extremes(u, lambda u: (u.weight[0] ** 2 * torch.tensor([1.0, -3.0])).sum())
    >>> round(found.smallest, 9), round(found.largest, 9)
    (-6.0, 2.0)
    """
    product, size, like = hessian_product(u, loss)
    start = _random(size, seed).to(like)
    values, vectors, coupling = lanczos(product, start, steps)
    errors = coupling * vectors[-1].abs() + torch.finfo(like.dtype).eps * values.abs().max()
    return Extremes(float(values[0]), float(values[-1]), float(errors[0]), float(errors[-1]))


def hessian_density(u: Any, loss: Objective, *, probes: int = 10, steps: int = 50, seed: int = 0) -> SpectralDensity:
    r"""The density of eigenvalues of the Hessian, by stochastic Lanczos quadrature.

    .. math:: \frac1P \operatorname{tr} f(H) \approx \frac1m \sum_{j=1}^m \sum_i \tau_{ji}^2 f(\theta_{ji})

    with :math:`\theta_{ji}` the Ritz values of probe j and :math:`\tau_{ji}` the first entries of their vectors: exact
    in the mean for polynomials f of degree below twice the steps.

    Args:
        u, loss: as of `hessian_extremes`.
        probes: m, random starts; errors fall like :math:`1/\sqrt m`.
        steps: products with the Hessian for each.
        seed: of the starts.
    """
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}")
    product, size, like = hessian_product(u, loss)
    runs = [lanczos(product, _random(size, seed + j).to(like), steps) for j in range(probes)]
    nodes = torch.cat([values for values, _, _ in runs])
    weights = torch.cat([vectors[0].square() for _, vectors, _ in runs]) / probes
    order = nodes.argsort()
    return SpectralDensity(nodes[order], weights[order])


def hessian_product(u: Any, loss: Objective) -> tuple[Callable[[Tensor], Tensor], int, Tensor]:
    """Return v -> H v, (P,) -> (P,), P, and a tensor of the precision and device of both."""
    require_trained(u)
    own = parameters(u)
    with torch.enable_grad():
        value = loss.residuals(u).square().sum() if isinstance(loss, Loss) else loss(u)
        first = torch.autograd.grad(value, own, create_graph=True, materialize_grads=True)
        gradient = torch.cat([g.flatten() for g in first])

    def product(v: Tensor) -> Tensor:
        if not gradient.requires_grad:  # the loss is linear
            return torch.zeros_like(v)
        parts = torch.autograd.grad(gradient, own, v, retain_graph=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    return product, len(gradient), gradient.detach()


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return Ritz values (k,), the vectors (k, k) of the tridiagonal matrix in columns, and its next entry.

    Fully reorthogonalised, twice. k is smaller than the steps where an invariant subspace is found before.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    v = start / start.norm()
    basis, diagonal, off = [v], [], []
    for _ in range(min(steps, len(start))):
        w = product(basis[-1])
        size = w.norm()
        diagonal.append(w @ basis[-1])
        Q = torch.stack(basis)
        for _ in range(2):
            w = w - Q.mT @ (Q @ w)
        off.append(w.norm())
        if off[-1] <= 100 * torch.finfo(w.dtype).eps * size:
            break
        basis.append(w / off[-1])
    T = torch.diag(torch.stack(diagonal))
    if len(diagonal) > 1:
        beta = torch.stack(off[: len(diagonal) - 1])
        T = T + torch.diag(beta, 1) + torch.diag(beta, -1)
    values, vectors = torch.linalg.eigh(T)
    return values, vectors, off[-1]


def _random(size: int, seed: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
