"""Training: optimizers with the manners of torch.optim."""

if __name__ != "optsci.optim":
    raise ImportError(f"this folder is the package optsci.optim; `import {__name__}` would make a second copy")

from .adapprox import Adapprox
from .backward import step_in_backward
from .memory import saves_memory, saving, state_numbers
from .published import as_published
from .rank_growth import AdaptiveRank, doubling, sigmoid_growth
from .second_moment import columns, svd
from .settings import dense, low_rank

__all__ = [
    "Adapprox",
    "AdaptiveRank",
    "as_published",
    "columns",
    "dense",
    "doubling",
    "low_rank",
    "saves_memory",
    "saving",
    "sigmoid_growth",
    "state_numbers",
    "step_in_backward",
    "svd",
]
