"""Counting numbers: the published savings, and that the optimizer keeps what was counted."""

import pytest
import torch

from optsci.optim import Adapprox, saving, state_numbers
from optsci.optim.memory import columns_of, saves_memory


def gpt2(width, layers):
    """GPT-2 without memory: nothing but shapes."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        return GPT2LMHeadModel(GPT2Config(n_embd=width, n_layer=layers, n_head=width // 64))


@pytest.mark.parametrize(
    ("width", "layers", "millions", "quarter", "one"),
    [(768, 12, "124.44", "34.50", "49.87"), (1024, 24, "354.82", "33.85", "49.89")],
    ids=["117M", "345M"],
)
def test_the_published_savings(width, layers, millions, quarter, one):
    parameters = list(gpt2(width, layers).parameters())
    assert f"{sum(p.numel() for p in parameters) / 1e6:.2f}" == millions
    assert f"{saving(parameters, 0.25):.2%}" == f"{quarter}%"
    assert f"{saving(parameters, 1):.2%}" == f"{one}%"
    without = {rank: f"{saving(parameters, rank, first_moment=False):.1%}" for rank in (0.25, 1)}
    assert without == ({0.25: "84.5%", 1: "99.9%"} if width == 768 else {0.25: "83.8%", 1: "99.9%"})


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.999)])
@pytest.mark.parametrize("rank", [4, 0.25])
def test_the_optimizer_keeps_what_was_counted(betas, rank):
    model = torch.nn.Sequential(torch.nn.Embedding(100, 48), torch.nn.Linear(48, 40), torch.nn.Conv2d(32, 32, 3))
    optimizer = Adapprox(model.parameters(), betas=betas, rank=rank)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    parameters = list(model.parameters())
    counted = state_numbers(parameters, rank, first_moment=betas[0] > 0)
    factored = sum(columns_of(p.shape, rank) > 0 for p in parameters)
    assert factored == 3
    assert optimizer.state_bytes() == 4 * (counted + len(parameters) + factored)  # a step each, and a rank


def test_what_is_factored():
    assert columns_of((40, 3, 3, 3), 2) == 0  # 27 columns only
    assert columns_of((40, 8, 3, 3), 2) == 2
    assert columns_of((), 2) == 0
    assert columns_of((5, 0), 2, lambda m, n, k: True) == 0
    for m, n in ((64, 64), (100, 33), (33, 5000)):
        worthwhile = [k for k in range(1, min(m, n) + 1) if saves_memory(m, n, k)]
        assert max(worthwhile, default=0) * (m + n) < m * n <= (max(worthwhile) + 1) * (m + n)


def test_a_tied_weight_counts_once():
    p = torch.nn.Parameter(torch.empty(64, 64, device="meta"))
    assert state_numbers([p, p], 4) == state_numbers([p], 4)
