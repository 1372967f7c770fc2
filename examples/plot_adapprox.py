r"""Train with Adapprox
===================

Adam keeps two numbers for every weight. Adapprox keeps the second one in low rank,

.. math:: V \approx Q U^\top, \qquad Q \in \mathbb{R}^{m \times k}, \; U \in \mathbb{R}^{n \times k}

and if asked does without the first. Here a tiny language model learns the bytes of *Moby-Dick*.
"""

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from optsci.compress.sample import moby_dick
from optsci.optim import Adapprox, saving

steps = 150
config = LlamaConfig(
    vocab_size=256,
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    tie_word_embeddings=True,
    bos_token_id=None,
    eos_token_id=None,
)
tokens = torch.tensor(list(moby_dick()[0].encode("utf-8")))
optimizers = {
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.1),
    "Adapprox, k = 8": lambda parameters: Adapprox(parameters, lr=3e-3, rank=8),
    "Adapprox, k = 1": lambda parameters: Adapprox(parameters, lr=3e-3, rank=1),
    "Adapprox, k = 8, no first moment": lambda parameters: Adapprox(parameters, lr=3e-3, rank=8, betas=(0, 0.999)),
}

# %%
# The same weights and the same text for all of them.
curves, bytes_of = {}, {}
for name, make in optimizers.items():
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    optimizer = make(model.parameters())
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    generator = torch.Generator().manual_seed(0)
    curves[name] = []
    for _ in range(steps):
        batch = tokens[torch.randint(len(tokens) - 64, (8, 1), generator=generator) + torch.arange(64)]
        loss = F.cross_entropy(model(batch).logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        curves[name].append(loss.item())
    states = [x for state in optimizer.state.values() for x in state.values()]
    bytes_of[name] = sum(x.numel() * x.element_size() for x in states)
    print(f"{name:33s} {bytes_of[name] / 1e6:.2f} MB of states, loss {sum(curves[name][-10:]) / 10:.3f}")

# %%
# The second moment of one matrix, averaged over gradients at the end: how much of it a rank holds.
V = torch.zeros_like(model.model.layers[0].mlp.up_proj.weight)
for _ in range(20):
    batch = tokens[torch.randint(len(tokens) - 64, (8, 1), generator=generator) + torch.arange(64)]
    loss = F.cross_entropy(model(batch).logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
    (G,) = torch.autograd.grad(loss, model.model.layers[0].mlp.up_proj.weight)
    V = 0.9 * V + 0.1 * G.square()
values = torch.linalg.svdvals(V)
errors = {k: float(values[k:].norm() / values.norm()) for k in (1, 2, 4, 8, 16)}
print("best relative error: " + ", ".join(f"{error:.1%} at rank {k}" for k, error in errors.items()))
print(f"saved on this model: {saving(model.parameters(), 8):.1%} of Adam's states")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, curve in curves.items():
    smooth = torch.tensor(curve).unfold(0, 10, 1).mean(-1)
    left.plot(range(10, len(curve) + 1), smooth.tolist(), label=name)
right.semilogy(range(1, len(values) + 1), (values / values[0]).tolist(), ".-")
left.set(xlabel="step", ylabel="loss, mean of 10")
left.legend()
right.set(xlabel="index", ylabel="singular value of V over the largest")
plt.show()
