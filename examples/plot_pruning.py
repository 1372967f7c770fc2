r"""Prune a language model
======================

A layer is pruned so that its output stays what it was:

.. math:: \min_V \; \tfrac12 \|V X^* - W X\|_F^2 \quad \text{with half of } V \text{ zero}

where :math:`W` is the dense weight and :math:`X^*` what the layer really sees, behind layers that are pruned already.
The model here is a tiny one over bytes, trained for a moment on *Moby-Dick*: nothing is downloaded. With a real
one only its loading changes; ``optsci demo`` is this comparison on SmolLM2-135M.
"""

from functools import partial

import matplotlib.pyplot as plt

from optsci.compress import Unstructured, calibration, encode, fista_path_prune, perplexity, refit, walk, windows
from optsci.compress.comparison import compare, pruners
from optsci.compress.sample import Bytes, moby_dick, train_tiny_model

# %%
# The model, calibration tokens from the first 80 % of the text, test windows from its last 20 %.
first, last = moby_dick()
model = train_tiny_model(first, steps=150, samples=4, initializer_range=0.08)
tokens = calibration(first, Bytes(), samples=8, length=256, seed=0)  # (8, 256)
test = windows(encode(last, Bytes()), length=256, limit=20)
dense = perplexity(model, test)
print(f"dense perplexity {dense:.3f} per byte")

# %%
# Every pruner is a function ``problem -> weights``. ``compare`` prunes the dense model afresh with each of them.
rows = list(compare(model, tokens, test, pruners(Unstructured(0.5))))
for row in rows:
    print(f"{row.method:18s} perplexity {row.perplexity:6.3f}, mean layer error {row.mean_error:.3f}")

# %%
# Least squares on the support that was kept (*refit*) helps every method; a comparison that refits one and not
# another would compare the refit.
figure, axes = plt.subplots(layout="constrained")
for row in rows:
    axes.plot([layer.error for layer in row.layers], "." if "refit" in row.method else "-", label=row.method)
axes.set(xlabel="linear layer", ylabel="relative output error", yscale="log")
axes.legend(ncols=2)

# %%
# The loop behind it is five lines. Writing a stage and asking for the next is what carries the error on.
prune = partial(fista_path_prune, sparsity=Unstructured(0.5))
for stage in walk(model, tokens, blocks=1):
    weights = refit(stage.problem, prune(stage.problem))
    stage.write(weights)
    print(stage, f"{stage.problem.relative_error(weights):.3%}")

plt.show()
