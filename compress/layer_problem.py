r"""The layer problem: make the output of one compressed linear layer match that of the dense one.

.. math:: \min_V \; \tfrac12 \|V X^* - W X\|_F^2

``W`` (m, n) is the dense weight, ``X`` (n, p) the inputs the layer has in the dense model, ``X*`` (n, p) the inputs it
really sees once the layers before it are compressed.  Nothing here needs the inputs themselves: three n x n matrices,

.. math:: G = X^* X^{*T} / p, \qquad C = X X^{*T} / p, \qquad R = X X^T / p,

hold everything, so that a calibration set of any length costs the same memory.  All three are means over the ``p``
tokens: their magnitudes do not grow with the calibration set.

Reference: FISTAPruner, arXiv 2408.03728, Eq. (3).  Its printed gradient step writes ``W X X^T`` where the gradient of
that objective needs ``W X X*^T = W C``; the latter is used here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from optsci.linalg import damped_cholesky, largest_eigenvalue


@dataclass(frozen=True, eq=False)
class LayerProblem:
    r"""``f(V) = 1/2 ||V X* - W X||^2 / p`` as a smooth function of the weights ``V``: core algorithms take it as it is.

    Args:
        weight: (m, n) dense weight ``W``; rows are outputs.
        gram: (n, n) ``G``, the mean of ``x* x*^T`` over the tokens.
        cross: (n, n) ``C``, the mean of ``x x*^T``.  Not symmetric.  Pass ``gram`` itself where ``X* = X``: the error
            is then computed by a form that does not cancel.
        energy: 0-d float64, ``||W X||^2 / p``, the size of the dense output.
        tokens: ``p``.
        name: where the layer lives in the model; used in messages and reports only.
        mean: (n,) mean of ``x*``, or None where it is not known; only FLAP asks for it.

    >>> import torch
    >>> x = torch.eye(2)                                  # two tokens, two inputs
    >>> stats = GramAccumulator(); stats.add(x)
    >>> problem = stats.problem(torch.tensor([[1.0, 2.0]]))
    >>> float(problem(torch.zeros(1, 2))), float(problem.relative_error(torch.tensor([[0.0, 2.0]])))
    (1.25, 0.4472135954999579)
    """

    weight: Tensor
    gram: Tensor
    cross: Tensor
    energy: Tensor
    tokens: int = 1
    name: str = "layer"
    mean: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.weight.shape[-1]
        if self.weight.ndim != 2:
            raise ValueError(f"weight of {self.name} must be (m, n), got {tuple(self.weight.shape)}")
        for label, matrix in (("gram", self.gram), ("cross", self.cross)):
            if matrix.shape != (n, n):
                raise ValueError(
                    f"{label} of {self.name} must be {(n, n)} for a weight {tuple(self.weight.shape)}, "
                    f"got {tuple(matrix.shape)}"
                )
        if self.mean is not None and self.mean.shape != (n,):
            raise ValueError(f"mean of {self.name} must be ({n},), got {tuple(self.mean.shape)}")

    @cached_property
    def target(self) -> Tensor:
        """(m, n) ``W C``, the constant part of the gradient."""
        return self.weight @ self.cross

    @cached_property
    def channel_energy(self) -> Tensor:
        """(n,) mean square of every input channel: the diagonal of ``G``."""
        return self.gram.diagonal()

    def __call__(self, v: Tensor) -> Tensor:
        """``1/2 ||V X* - W X||^2 / p``, a 0-d float64 tensor."""
        return self.squared_error(v) / 2

    def grad(self, v: Tensor) -> Tensor:
        """``V G - W C``, (m, n)."""
        return torch.addmm(self.target, v, self.gram, beta=-1)

    @cached_property
    def _lipschitz(self) -> float:
        return largest_eigenvalue(self.gram)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient: the largest eigenvalue of ``G``."""
        return self._lipschitz

    def squared_error(self, v: Tensor) -> Tensor:
        """``||V X* - W X||^2 / p`` in float64: near the optimum its terms cancel."""
        gram = self.gram.double()
        if self.cross is self.gram:
            difference = v.double() - self.weight.double()
            return ((difference @ gram) * difference).sum().clamp(min=0)  # a rounded Gram is not exactly PSD
        v = v.double()
        return ((v @ gram - 2 * self._exact_target) * v).sum().add(self.energy).clamp(min=0)

    @cached_property
    def _exact_target(self) -> Tensor:
        return self.weight.double() @ self.cross.double()

    def relative_error(self, v: Tensor) -> Tensor:
        """``||V X* - W X|| / ||W X||`` (not squared), a 0-d float64 tensor; not divided where the dense output is 0."""
        return (self.squared_error(v) / torch.where(self.energy > 0, self.energy, 1.0)).sqrt()

    def damped(self, damping: float) -> LayerProblem:
        r"""The problem with ``damping/2 * ||(V - W) D^{1/2}||^2`` added, ``D = diag(G)``.

        It is again a layer problem (``G`` and ``C`` gain ``damping * D``): a ridge towards the dense weights,
        relative to every channel's own energy, so that a channel with huge activations does not set the damping of
        all others.
        """
        if not damping >= 0:
            raise ValueError(f"damping must be at least 0, got {damping!r}")
        if damping == 0:
            return self
        ridge = torch.diag(damping * self.channel_energy)
        gram = self.gram + ridge
        cross = gram if self.cross is self.gram else self.cross + ridge
        extra = (self.weight.double().square() @ ridge.diagonal().double()).sum()
        return replace(self, gram=gram, cross=cross, energy=self.energy + extra)

    def scaled(self) -> tuple[LayerProblem, Tensor]:
        r"""The problem in ``U = V D^{1/2}``, whose Gram matrix has a unit diagonal, and the scale ``D^{1/2}`` (n,).

        ``V = U / scale``.  The condition number drops by orders of magnitude when a few channels carry most of the
        energy, and the magnitude of ``U`` is the Wanda score of ``V``.  Channels of X* that are always 0 have
        scale 1.
        """
        return self._scaled

    @cached_property
    def _scaled(self) -> tuple[LayerProblem, Tensor]:
        scale = torch.where(self.channel_energy > 0, self.channel_energy, 1.0).sqrt()
        gram = self.gram / scale / scale[:, None]
        cross = gram if self.cross is self.gram else self.cross / scale / scale[:, None]
        mean = None if self.mean is None else self.mean / scale
        return replace(self, weight=self.weight * scale, gram=gram, cross=cross, mean=mean), scale

    def unconstrained(self, damping: float = 0.01) -> Tensor:
        """The minimiser of the damped problem without any constraint: the dense weights where ``X* = X``."""
        if self.cross is self.gram:
            return self.weight
        problem, scale = self.scaled()
        problem = problem.damped(damping)
        gram = with_live_diagonal(problem.gram)
        factor, _ = damped_cholesky(gram, 0.0, name=f"the Gram matrix of {self.name}")
        return torch.cholesky_solve(problem.target.T, factor).T / scale


def with_live_diagonal(gram: Tensor) -> Tensor:
    """``G`` with ones on the diagonal where an input is always 0: it decouples, and G can be factorised."""
    return gram + torch.diag((gram.diagonal() <= 0).to(gram.dtype))


class GramAccumulator:
    """Running means of ``x* x*^T``, ``x x*^T``, ``x x^T`` and ``x*`` over calibration tokens, in float32 at least.

    Half-precision activations are cast up before the product (an outlier channel squared overflows float16), and TF32
    is off while it runs.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.gram = self.cross = self.reference = self.mean = torch.zeros(())

    @torch.no_grad()
    def add(self, seen: Tensor, dense: Tensor | None = None) -> None:
        """Take in a batch of inputs.

        Args:
            seen: (..., n) inputs ``X*`` the layer really sees, one token a row.
            dense: (..., n) inputs ``X`` of the dense layer for the same tokens; None where both are the same.
        """
        seen = _tokens(seen)
        if len(seen) == 0:
            raise ValueError("seen holds no tokens")
        if self.tokens and (dense is None) != (self.cross is self.gram):
            raise ValueError("dense must be given with every batch, or with none")
        before, self.tokens = self.tokens, self.tokens + seen.shape[0]
        if before == 0:
            self.gram = seen.new_zeros(seen.shape[1], seen.shape[1])
            self.cross = self.reference = self.gram
            self.mean = seen.new_zeros(seen.shape[1])
            if dense is not None:
                self.cross, self.reference = torch.zeros_like(self.gram), torch.zeros_like(self.gram)
        weights = {"beta": before / self.tokens, "alpha": 1 / self.tokens}
        self.mean = self.mean + (seen.mean(0) - self.mean) * (len(seen) / self.tokens)
        with _full_precision():
            self.gram.addmm_(seen.T, seen, **weights)
            if dense is not None:
                dense = _tokens(dense)
                self.cross.addmm_(dense.T, seen, **weights)
                self.reference.addmm_(dense.T, dense, **weights)

    def problem(self, weight: Tensor, name: str = "layer") -> LayerProblem:
        """The layer problem of a dense weight (m, n) with these inputs."""
        if self.tokens == 0:
            raise ValueError(f"no inputs of {name} were added")
        if weight.ndim != 2 or weight.shape[1] != len(self.gram):
            raise ValueError(f"weight of {name} must be (m, {len(self.gram)}), got {tuple(weight.shape)}")
        weight = weight.detach().to(self.gram.dtype, copy=True)  # the layer itself will be written to
        energy = ((weight.double() @ self.reference.double()) * weight.double()).sum()
        return LayerProblem(weight, self.gram, self.cross, energy, self.tokens, name, self.mean)


def _tokens(inputs: Tensor) -> Tensor:
    inputs = inputs.detach().flatten(0, -2)
    return inputs if inputs.dtype == torch.float64 else inputs.float()


@contextmanager
def _full_precision() -> Iterator[None]:
    """TF32 keeps ten bits of a product: too few for a Gram matrix that is to be inverted."""
    matmul = torch.backends.cuda.matmul
    switch, exact = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, switch)
    setattr(matmul, switch, exact)
    try:
        yield
    finally:
        setattr(matmul, switch, before)
