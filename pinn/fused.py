r"""The loss of linear conditions on a multilayer perceptron, and its gradient, written out.

.. math:: J = \sum_i w_i r_i^2, \qquad r_i = \bigl( e\, \ell[N] + \textstyle\sum_j c_j\, \partial_{\sigma_j} N
   + \kappa N - y \bigr)(x_i)

Because r is linear in the jet of N, the terms of first order join :math:`\ell`: what is carried through the layers is
:math:`L = e\, \ell + \sum_j c_j \partial_{\sigma_j}`, which an activation s takes to

.. math:: L[s(h)] = s'(h)\, L[h] + \tfrac12\, s''(h)\, S, \qquad S = e \sum_j (\partial_{\sigma_j} h)^2.

Backwards, where a bar is the derivative of J in what leaves the activation, the derivatives in what enters it are

.. math::

   L[h] &: \quad s' \bar L, \\
   \partial_j h &: \quad s' \bar\partial_j + e\, s'' \bar L\, \partial_j h, \\
   h &: \quad s' \bar h + s'' \bigl( \bar L\, L[h] + \textstyle\sum_j \bar\partial_j\, \partial_j h \bigr)
   + \tfrac12 s''' \bar L\, S.

Values, L and slopes lie one below the other in one matrix for every layer: a layer costs one product forwards and two
backwards.  The last layer needs no slopes.  Points are worked on in parts that stay in the cache of a processor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .ansatz import BoundaryAnsatz, jet_of
from .derivatives import Jet, has_jet, start
from .networks import MLP, Activation, Derivatives, require_coordinates

PART = 2**17  # entries of a stack that a processor works on at once: 512 points for 64 units and two slopes
LARGEST = 2**16  # points that another device works on at once


class Condition(NamedTuple):
    """Residuals that are linear in the jet of a network, at n points; see the formula of this module."""

    inputs: Tensor  # of the network, (n, p)
    tangents: Tensor  # L of them and their slopes, (1 + m, n, p); (0, n, p) where nothing is differentiated
    second: Tensor | None  # e, (n, 1); None where it is 1
    zeroth: Tensor  # kappa, (n, 1)
    target: Tensor  # y, (n, 1)
    weight: Tensor  # w, (n, 1)


class Part(NamedTuple):
    """The condition on some of the points."""

    stacked: Tensor  # values, L and slopes of what enters the first layer, one below the other, (M n, p)
    second: Tensor | None  # as above
    zeroth: Tensor
    target: Tensor
    weight: Tensor


class Stack(NamedTuple):
    """Values, L and slopes of functions, one below the other; the parts are views of the whole."""

    whole: Tensor  # (M n, width), M = m + 2, or 1 where nothing is differentiated
    value: Tensor  # (n, width)
    second: Tensor  # (n, width); empty where nothing is differentiated
    slopes: Tensor  # (m, n, width)
    columns: list[Tensor]  # (n, width) each, the slopes along one column


class Weights(NamedTuple):
    """A network as tensors: to ask a module for its parameters takes time."""

    weights: list[Tensor]
    biases: list[Tensor]
    activation: Activation
    scale: float


class Layer(NamedTuple):
    """The memory of a hidden layer: what its forward pass leaves for the one back."""

    before: Stack  # the activation; the backward pass overwrites it by the derivatives in it
    after: Stack  # the activation
    at: Derivatives  # of the activation, (n, width)
    squares: Tensor  # S, (n, width)
    bars: Stack  # the derivatives in what leaves the activation
    product: Tensor  # (n, width), for products on the way


Collect = Callable[[int, Tensor, Tensor], None]  # layer, derivatives in its output (M n, width), its input (M n, p)


class SumOfSquares(torch.autograd.Function):
    """J with its gradient, which the forward pass finds; ``again`` computes J by operations that know derivatives."""

    @staticmethod
    def forward(ctx: Any, again: Callable[[], Tensor], network: MLP, whole: Condition, *parameters: Tensor) -> Tensor:
        """Return the sum of squares, and keep its gradient."""
        value, gradient = value_and_gradient(network, whole)
        ctx.again, ctx.parameters = again, parameters
        ctx.save_for_backward(*gradient)
        return value

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient times that of what comes after."""
        gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient shall be differentiated, too
            trained = list({id(p): p for p in ctx.parameters if p.requires_grad}.values())  # once, where it is shared
            found = torch.autograd.grad(ctx.again(), trained, create_graph=True, materialize_grads=True)
            of = dict(zip(map(id, trained), found, strict=True))
            gradient = tuple(of.pop(id(p), None) for p in ctx.parameters)
        return (None, None, None, *(None if g is None else bar * g for g in gradient))


def condition(
    u: Any,
    points: Tensor,
    sigma: Tensor,
    drift: Tensor | None,
    zeroth: Tensor,
    target: Tensor,
    weight: Tensor,
    factor: Tensor | None = None,
) -> tuple[MLP, Condition] | None:
    """Return the network in u and the condition on it, or None where u is no `MLP` with fixed functions around it.

    The condition is that of `optsci.pinn.losses.Rows`; ``factor``, (n, 1), multiplies its term of second order.
    """
    if not has_jet(u):
        return None
    net = u.net if type(u) is BoundaryAnsatz else u
    stages = list(net) if type(net) is nn.Sequential else [net]
    if not stages or type(network := stages.pop()) is not MLP or len(network.biases[-1]) != 1 or not has_jet(net):
        return None
    x = start(points, sigma, torch.zeros_like(points) if drift is None else drift)
    of, second = jet_with_factor(nn.Sequential(*stages), x, factor), factor
    along = of.second
    if type(u) is BoundaryAnsatz:
        g, D = jet_with_factor(u.lift, x, factor), jet_with_factor(u.distance, x, factor)
        crossed = (D.slopes * of.slopes).sum(0)
        second = D.value if factor is None else factor * D.value
        along = D.value * of.second + (crossed if factor is None else factor * crossed)
        target = target - zeroth * g.value - (0 if drift is None else g.second)
        zeroth = zeroth * D.value + (0 if drift is None else D.second)
    tangents = of.slopes[:0] if drift is None else torch.cat((along[None], of.slopes))
    found = Condition(of.value, tangents, second, zeroth, target, weight)
    fixed = not any(part is not None and part.requires_grad for part in found)
    return (network, found) if fixed and all(isinstance(p, nn.Parameter) for p in weights_of(network)) else None


def jet_with_factor(f: Any, of: Jet, factor: Tensor | None) -> Jet:
    """Return the jet of f where the term of second order counts ``factor`` times, that of first order once."""
    if factor is None:
        return jet_of(f, of)
    zero = torch.zeros_like(of.second)
    found = jet_of(f, of._replace(second=zero))
    first = jet_of(f, of._replace(slopes=of.slopes[:0])).second
    return found._replace(second=factor * found.second + first)


def weights_of(network: MLP) -> list[Tensor]:
    """Return all weights, then all biases: the order of the gradients here, and of the network's parameters."""
    return [*network.weights, *network.biases]


@torch.no_grad()
def value_and_gradient(network: MLP, whole: Condition) -> tuple[Tensor, list[Tensor]]:
    """Return J, 0-d, and its derivatives in all weights, then in all biases."""
    weights, biases = [torch.zeros_like(w) for w in network.weights], [torch.zeros_like(b) for b in network.biases]
    value = torch.zeros_like(whole.target[:0].sum())
    plain = Weights([*network.weights], [*network.biases], network.activation, network.scale)
    for part, layers in parts(network, whole):

        def add(layer: int, outer: Tensor, entering: Tensor, n: int = len(part.target)) -> None:
            weights[layer].addmm_(outer.T, entering)
            biases[layer].add_(outer[:n].sum(0))

        residual = forward(plain, part, layers)
        weighted = part.weight * residual
        value += (weighted * residual).sum()
        backward(plain, part, layers, 2 * weighted, add)
    return value, [*weights, *biases]


@torch.no_grad()
def residuals_and_jacobian(network: MLP, whole: Condition) -> tuple[Tensor, Tensor]:
    """Return sqrt(w) r, (n,), and its derivatives in all weights, then in all biases, (n, parameters)."""
    sizes = [p.numel() for p in (*network.weights, *network.biases)]
    residuals = torch.empty_like(whole.target[:, 0])
    jacobian = residuals.new_empty((len(residuals), sum(sizes)))
    plain, done = Weights([*network.weights], [*network.biases], network.activation, network.scale), 0
    for part, layers in parts(network, whole):
        n = len(part.target)
        blocks = jacobian[done : done + n].split(sizes, 1)

        def write(layer: int, outer: Tensor, entering: Tensor, blocks: Any = blocks, n: int = n) -> None:
            a, b = outer.view(-1, n, outer.shape[1]), entering.view(-1, n, entering.shape[1])
            blocks[layer].copy_(torch.bmm(a.permute(1, 2, 0), b.transpose(0, 1)).flatten(1))
            blocks[len(plain.weights) + layer].copy_(outer[:n])

        root = part.weight.sqrt()
        residuals[done : done + n] = (root * forward(plain, part, layers))[:, 0]
        backward(plain, part, layers, root, write)
        done += n
    return residuals, jacobian


def parts(network: MLP, whole: Condition) -> Iterator[tuple[Part, list[Layer]]]:
    """Split a condition, with inputs as the first layer sees them, and lend every part memory."""
    n, m = len(whole.inputs), len(whole.tangents) - 1
    widths = tuple(map(len, network.biases[:-1]))
    on_processor = whole.inputs.device.type == "cpu"
    size = max(64, PART // ((m + 2) * max(widths, default=1))) if on_processor else LARGEST
    lend = memory if on_processor else memory.__wrapped__  # other devices have a stock of memory themselves
    kind = (whole.inputs.dtype, whole.inputs.device, torch.is_inference_mode_enabled(), threading.get_ident())
    require_coordinates(whole.inputs, len(network.middle))
    stacks = torch.cat(((whole.inputs - network.middle)[None], whole.tangents)) * network.stretch
    for i in range(0, n, size):
        j = slice(i, i + size)
        second = None if whole.second is None else whole.second[j]
        part = Part(stacks[:, j].flatten(0, 1), second, whole.zeroth[j], whole.target[j], whole.weight[j])
        yield part, lend(widths, len(part.target), m, *kind)


@lru_cache(maxsize=4)
def memory(
    widths: tuple[int, ...], n: int, m: int, dtype: torch.dtype, device: torch.device, inference: bool, thread: int
) -> list[Layer]:
    """Return the memory of all hidden layers; those of one width share what is not kept.

    It is made once for all parts and calls of one shape, as to get it from the system takes time; every thread has its
    own, and so has inference mode, whose tensors cannot be used elsewhere.
    """

    def stack(width: int) -> Stack:
        whole = torch.empty(((m + 2) * n, width), dtype=dtype, device=device)
        values, second, slopes = whole.split([n, n if m >= 0 else 0, max(m, 0) * n])
        return Stack(whole, values, second, slopes.view(-1, n, width), list(slopes.split(n)) if m > 0 else [])

    shared = {width: (stack(width), torch.empty((n, width), dtype=dtype, device=device)) for width in widths}
    layers = []
    for width in widths:
        after, others = stack(width), torch.empty((4, n, width), dtype=dtype, device=device)
        layers.append(Layer(stack(width), after, Derivatives(after.value, *others[:3]), others[3], *shared[width]))
    return layers


def forward(network: Weights, part: Part, layers: list[Layer]) -> Tensor:
    """Return the residuals (n, 1), and fill the memory."""
    h, n = part.stacked, len(part.target)
    tangent = len(h) > n
    for weight, bias, (before, after, at, squares, *_) in zip(network.weights, network.biases, layers, strict=False):
        torch.mm(h, weight.T, out=before.whole)
        for found, kept in zip(network.activation(before.value.add_(bias), at), at, strict=True):
            if found is not kept:
                kept.copy_(found)
        if tangent:
            sum_of_squares(before.columns, squares)
            if part.second is not None:
                squares *= part.second
            if after is not layers[-1].after:
                torch.mul(at.first, before.slopes, out=after.slopes)
            torch.mul(at.first, before.second, out=after.second).addcmul_(at.second, squares, value=0.5)
        h = after.whole
    weight, bias = network.scale * network.weights[-1].T, network.scale * network.biases[-1]
    residual = part.zeroth * (h[:n] @ weight + bias) - part.target
    return residual.addmm_(h[n : 2 * n], weight) if tangent else residual


def backward(network: Weights, part: Part, layers: list[Layer], bar: Tensor, take: Collect) -> None:
    """Carry the derivatives in the residuals, (n, 1), back, and give those of every layer to ``take``."""
    n, last = len(part.target), len(layers) - 1
    tangent = len(part.stacked) > n
    bar = network.scale * bar
    outer = torch.cat((part.zeroth * bar, bar)) if tangent else part.zeroth * bar
    take(last + 1, outer, (layers[last].after.whole if layers else part.stacked)[: 2 * n])
    for layer in reversed(range(len(layers))):
        before, _, (_, first, second, third), squares, bars, product = layers[layer]
        torch.mm(outer, network.weights[layer + 1], out=bars.whole[: len(outer)])
        if not tangent:
            torch.mul(first, bars.value, out=before.value)
        else:
            torch.mul(bars.second, before.second, out=product)
            if layer < last:
                for a, b in zip(before.columns, bars.columns, strict=True):
                    product.addcmul_(a, b)
            torch.mul(second, product, out=before.value).addcmul_(first, bars.value)
            before.value.addcmul_(third, torch.mul(bars.second, squares, out=product), value=0.5)
            torch.mul(first, bars.second, out=before.second)
            torch.mul(second, bars.second, out=product)
            before.slopes.mul_(product if part.second is None else product.mul_(part.second))
            if layer < last:
                before.slopes.addcmul_(first, bars.slopes)
        outer = before.whole
        take(layer, outer, layers[layer - 1].after.whole if layer else part.stacked)


def sum_of_squares(columns: list[Tensor], out: Tensor) -> None:
    """Fill ``out`` with the sum of the squares."""
    if not columns:
        out.zero_()
        return
    torch.mul(columns[0], columns[0], out=out)
    for column in columns[1:]:
        out.addcmul_(column, column)
