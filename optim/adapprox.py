r"""Adapprox: Adam whose second moment is kept in low rank.

.. math:: W_t = (1 - \eta\lambda)\, W_{t-1} - \eta\, \frac{\hat M_t}{\sqrt{\hat V_t} + \epsilon}, \qquad
          V_t = \beta_2 Q U^\top + (1 - \beta_2)\, G_t \circ G_t

Of V only the factors Q (m, k) and U (n, k) are kept from one step to the next.  :mod:`optsci.optim.update` is the step
itself, without an optimizer, and says what is the paper's, inferred and ours; here is its life in ``torch.optim``.

Source: Zhao, Li, Gu, Zheng, Koelker, Wang and Yuan, Adapprox: Adaptive Approximation in Adam Optimization via
Randomized Low-Rank Matrices, arXiv 2403.14958, known to us by its abstract, its reviews and summaries.

Departures: by default the first moment is that of gradients, moments are corrected for their bias, and updates are not
clipped, as in AdamW; the rank is fixed, and factors are pursued by one pass a step, computed afresh every hundred.  The
paper averages clipped updates, without a correction, computes factors afresh in every step and adapts the rank:
``as_published``.  Trained in both ways, ours ends where AdamW does (``docs/benchmarks/adapprox.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .batches import Batch, batches, matrices_of, on_device
from .memory import Factored, columns_of, saves_memory
from .rank_growth import AdaptiveRank
from .requirements import require_functions, require_gradient, require_group, require_parameter, require_settings
from .second_moment import Truncate, svd
from .settings import Denominator, Rule, Settings, Where, dense
from .sharded import (
    first_row,
    gradient_part,
    is_sharded,
    local_part,
    require_rows,
    same_everywhere,
    total_over,
    with_rows_of,
)
from .states import dense_zeros, is_ready, misfit, new_state, of_type, require_states, states_of
from .update import update_dense, update_matrices

SETTINGS = ("betas", "rank", *(name for name in Settings._fields if name not in ("b1", "b2")))  # of a group


class Adapprox(Optimizer):
    r"""Adam with a second moment in low rank: of Adam's 2 N numbers it keeps N and a little, or only the little.

    Matrices are factored where that saves memory, tensors of more dimensions as matrices of their first dimension;
    vectors keep a dense second moment.  The computation is in single precision for bfloat16 and float16 parameters,
    and so are the states.

    Args:
        params: parameters, named parameters or groups, as for every optimizer of PyTorch.
        lr: learning rate, a number or a tensor of one entry.
        betas: decays of the first and of the second moment; with a first 0 there is no first moment, and no memory
            for it.
        eps: constant of the denominator.
        weight_decay: decoupled: the weights shrink by ``lr * weight_decay`` a step.  The default is 0.1, from memory
            of the paper; that of ``torch.optim.AdamW`` is 0.01.
        rank: columns k of the factors, or a share below 1 of the smaller dimension; the paper's largest is 0.25.  With
            so many that the factors of a matrix save no memory, see ``factored``, its second moment is dense.
        adapt: find the rank by the error, up to ``rank``; ignored for what has a dense second moment.
        clip: largest root mean square of the update of a tensor; ``math.inf`` for none.
        average_updates: the first moment is that of clipped updates, as published, and not of gradients, as Adam's.
        bias_correction: of both moments, as Adam has it, and as is not published.
        guidance: where given, steps are multiplied by 1 / (1 - cos) of the angle between update and average, a number
            between 1/2 and this one; with ``average_updates`` only.  A formula from memory, not to be taken for the
            paper's.
        oversample: columns of a fresh sketch beyond the rank.
        sweeps: of a fresh sketch.
        refresh_every: steps from one fresh sketch to the next.
        truncate: how the columns beyond the rank are cut: :func:`~optsci.optim.second_moment.svd`, or
            :func:`~optsci.optim.second_moment.columns` as in the paper.
        denominator: :func:`~optsci.optim.settings.dense` or :func:`~optsci.optim.settings.low_rank`.
        factored: (m, n, k) -> whether such a matrix is factored.
        stochastic_rounding: of bfloat16 parameters; small steps then count in the mean.  Those of single and double
            precision are as without it, those of float16 are refused.
        maximize: climb.
        capturable: only False, see the error.
        differentiable: only False, see the error.

    ``rank``, ``lr`` and the other numbers may differ by group; ``adapt``, ``truncate``, ``denominator`` and
    ``factored`` may not, and are not part of ``state_dict()``: give them again before loading.

    Raises:
        ValueError: an argument is out of range, or a parameter is complex or sharded otherwise than by rows.
        TypeError: ``adapt`` is no ``AdaptiveRank``, or one of ``truncate``, ``denominator``, ``factored`` no function.
        RuntimeError: in ``step``, for a sparse gradient, or while a CUDA graph is captured.

    Example:
        >>> layer = torch.nn.Linear(64, 64)
        >>> optimizer = Adapprox(layer.parameters(), lr=1e-2, rank=4)
        >>> layer(torch.ones(8, 64)).square().mean().backward()
        >>> optimizer.step()
        >>> optimizer.state_bytes()  # Adam's: 33288
        18956
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        *,
        rank: float = 16,
        adapt: AdaptiveRank | None = None,
        clip: float = math.inf,
        average_updates: bool = False,
        bias_correction: bool = True,
        guidance: float | None = None,
        oversample: int = 5,
        sweeps: int = 5,
        refresh_every: int = 100,
        truncate: Truncate = svd,
        denominator: Denominator = dense,
        factored: Factored = saves_memory,
        stochastic_rounding: bool = False,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        if differentiable:
            raise ValueError(
                "differentiable must be False: an update in place, from random sketches, has no derivative to offer"
            )
        if capturable:
            raise ValueError(
                "capturable must be False: whether factors are refreshed depends on the step, "
                "and a captured CUDA graph would do the same in every step"
            )
        if adapt is not None and not isinstance(adapt, AdaptiveRank):
            raise TypeError(f"adapt must be None or an AdaptiveRank, as in AdaptiveRank(tol=0.1), got {adapt!r}")
        require_functions(truncate=truncate, denominator=denominator, factored=factored)
        self._rule = Rule(adapt, truncate, denominator)
        self._factored = factored
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "rank": rank,
            "clip": clip,
            "average_updates": average_updates,
            "bias_correction": bias_correction,
            "guidance": guidance,
            "oversample": oversample,
            "sweeps": sweeps,
            "refresh_every": refresh_every,
            "stochastic_rounding": stochastic_rounding,
            "maximize": maximize,
        }
        super().__init__(params, require_settings(defaults))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; where they are refused, the optimizer is as it was.

        Args:
            param_group: a dictionary with the parameters as ``params``, and any settings; it becomes the group.

        Raises:
            TypeError: it is no dictionary.
            ValueError: a setting is out of range, misspelt, or one that may not differ by group, or a parameter is
                complex or sharded otherwise than by rows.
        """
        require_group(param_group, self.defaults)
        settings = require_settings({**self.defaults, **param_group})
        super().add_param_group(param_group)
        param_group.update(settings)
        try:
            for p in param_group["params"]:
                require_parameter(p, stochastic_rounding=settings["stochastic_rounding"])
                if is_sharded(p):
                    require_rows(p)
        except ValueError:
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for all parameters that have a gradient.

        Args:
            closure: computes the loss anew, with gradients; optional.

        Returns:
            What the closure returns, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.update()
        return loss

    @torch.no_grad()
    @torch.compiler.disable
    def update(self, only: Iterable[Tensor] | None = None) -> None:
        """The step, perhaps for some parameters only.

        Under ``torch.compile`` it runs as it is, outside of the compiled graph.

        Args:
            only: parameters of this optimizer; None is all of them.
        """
        wanted = None if only is None else {id(p) for p in only}
        first, places = 0, []
        for group in self.param_groups:
            numbered = enumerate(group["params"], first)
            places.append((group, [(index, p) for index, p in numbered if wanted is None or id(p) in wanted]))
            first += len(group["params"])
        self.update_at(places)

    @torch.no_grad()
    @torch.compiler.disable
    def update_at(self, places: Iterable[tuple[dict[str, Any], Iterable[tuple[int, Tensor]]]]) -> None:
        """The step for parameters whose places are known: nothing is searched for.

        Args:
            places: groups of this optimizer, each with some of its parameters and their indices among all of them.

        Raises:
            RuntimeError: for a sparse gradient, one or a state of another shape, and where a CUDA graph is captured.
        """
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("Adapprox cannot be captured in a CUDA graph: its steps are not all alike")
        todo = []
        for group, numbered in places:
            some = [(index, p) for index, p in numbered if p.grad is not None and p.numel()]
            for _, p in some:
                require_gradient(p)
                self._begin(p, group)
            todo.append((group, some))
        for group, some in todo:  # not before all are checked
            settings = _settings(group)
            for batch in batches(some, self.state, settings, self._rule):
                self._update_batch(batch, settings, group["rank"])

    def state_bytes(self) -> int:
        """Bytes of all states that this process holds."""
        tensors = [x for state in self.state.values() for x in state.values() if isinstance(x, Tensor)]
        return sum(part.numel() * part.element_size() for part in map(local_part, tensors))

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict()`` gave, to the devices of the parameters.

        PyTorch would cast states to the type of their parameters; here bfloat16 parameters, too, have states in single
        precision.

        Raises:
            ValueError: the states are of another optimizer or of parameters of other shapes; nothing is loaded then.
        """
        loaded: list[tuple[Tensor, dict[str, Any]]] = []

        def check(_: Optimizer, state_dict: dict[str, Any]) -> None:
            require_states(self.param_groups, state_dict, SETTINGS)
            loaded.extend(states_of(self.param_groups, state_dict))

        def undo_the_cast(_: Optimizer) -> None:
            for p, state in loaded:
                self.state[p] = of_type(p, state)

        # Between the hooks of the user: the last one that sees the states, the first one after they are loaded.
        hooks = (
            self.register_load_state_dict_pre_hook(check),
            self.register_load_state_dict_post_hook(undo_the_cast, prepend=True),
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            for hook in hooks:
                hook.remove()

    def __repr__(self) -> str:
        of_all = {"adapt": self._rule.adapt, "truncate": self._rule.truncate, "denominator": self._rule.denominator}
        lines = [
            f"    {name}: {getattr(value, '__name__', value)}\n"
            for name, value in sorted({**of_all, "factored": self._factored}.items())
        ]
        return super().__repr__().removesuffix(")") + "All groups\n" + "".join(lines) + ")"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_rule": self._rule, "_factored": self._factored}

    def _begin(self, p: Tensor, group: dict[str, Any]) -> None:
        """The state of a parameter before its first step, and as it has to be before every other."""
        state, first_moment = self.state[p], group["betas"][0] > 0
        if not state:
            state.update(new_state(p, columns_of(p.shape, group["rank"], self._factored), first_moment=first_moment))
            return
        wrong = misfit(p, state)
        if wrong:
            raise RuntimeError(f"{wrong}: `optimizer.state.pop(parameter)` lets a parameter of a new shape begin anew")
        if first_moment and "exp_avg" not in state:
            state["exp_avg"] = dense_zeros(p)
        if not is_ready(p, state):
            state.update(of_type(p, state))

    def _update_batch(self, batch: Batch, settings: Settings, rank: float) -> None:
        p, states = batch.parameters[0], [self.state[p] for p in batch.parameters]
        for state in states:
            state["step"] += 1
        weights = [local_part(p) for p in batch.parameters]
        W, G = matrices_of(weights), matrices_of([gradient_part(p.grad, p) for p in batch.parameters])
        M = matrices_of([local_part(state["exp_avg"]) for state in states]) if settings.b1 > 0 else None
        indices = on_device(batch.indices, weights[0].device)
        where = Where(indices, int(states[0]["step"]), p.numel(), first_row(p), total_over(p))
        if "Q" in states[0]:
            Q, U, ranks = (torch.stack([local_part(state[name]) for state in states]) for name in ("Q", "U", "rank"))
            width = columns_of(p.shape, rank, self._factored) or Q.shape[-1]
            Q, U, ranks = update_matrices(W, G, M, Q, U, ranks, settings, self._rule, where, due=batch.due, width=width)
            for state, q, u, r in zip(states, Q, U, ranks, strict=True):
                _keep(state, "Q", with_rows_of(p, q, q.shape[-1]))
                _keep(state, "U", same_everywhere(p, u))
                _keep(state, "rank", same_everywhere(p, r))
        else:
            V = matrices_of([local_part(state["exp_avg_sq"]) for state in states])
            update_dense(W, G, M, V, settings, where)
        for weight, matrix in zip(weights, W, strict=True):
            if matrix.data_ptr() != weight.data_ptr():
                weight.copy_(matrix.view(weight.shape))
        torch.autograd.graph.increment_version(list(batch.parameters))  # the kernels write behind PyTorch's back


def _keep(state: dict[str, Any], name: str, new: Tensor) -> None:
    """A state of the same shape keeps its memory, so that a batch does not stay behind it."""
    if state[name].shape == new.shape:
        local_part(state[name]).copy_(local_part(new))
    else:
        state[name] = new.clone()


def _settings(group: dict[str, Any]) -> Settings:
    b1, b2 = group["betas"]
    return Settings(b1=b1, b2=b2, **{name: group[name] for name in Settings._fields if name not in ("b1", "b2")})
