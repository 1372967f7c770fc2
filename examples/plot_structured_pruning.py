r"""Remove neurons from a language model
====================================

Zeros inside a matrix are stored and multiplied like other numbers. A neuron of the MLP of a decoder block,

.. math:: y = \sum_j w_j \, a_j(x), \qquad a(x) = \operatorname{act}(W_g x) \odot (W_1 x)

can go altogether: row :math:`j` of :math:`W_g` and :math:`W_1`, and column :math:`w_j` of the last layer. What is left
is a smaller dense model. FLAP, FASP and SPAP choose the neurons, and differ in what they do to the others. The model is
the tiny one of :ref:`sphx_glr_gallery_plot_pruning.py`.
"""

import copy
import tempfile

import matplotlib.pyplot as plt
import torch
from transformers import AutoModelForCausalLM

from optsci.compress import (
    bytes_in_memory,
    calibration,
    encode,
    fasp_select,
    flap_select,
    keep_columns,
    linear_layers,
    perplexity,
    prune_units,
    recover_mlp,
    spap_select,
    windows,
)
from optsci.compress.sample import Bytes, moby_dick, train_tiny_model

first, last = moby_dick()
model = train_tiny_model(first, steps=150, samples=4, initializer_range=0.08)
tokens = calibration(first, Bytes(), samples=8, length=256, seed=0)  # (8, 256)
test = windows(encode(last, Bytes()), length=256, limit=20)
dense = perplexity(model, test)
print(f"dense perplexity {dense:.3f} per byte, {model.config.intermediate_size} neurons in every MLP")

# %%
# A selector says which neurons stay, a restoration refits the columns of the others by least squares in closed form,
# a recovery trains what is left of the MLP towards the outputs of the dense one, by least squares again. FLAP has
# neither: it keeps the columns as they are (its correction of the bias needs layers with one).
methods = {
    "FLAP": {"select": flap_select, "restore": keep_columns},
    "FASP": {"select": fasp_select},
    "SPAP": {"select": spap_select, "recover": recover_mlp},
}


def weights(network):
    """Weights of the linear layers in the decoder blocks."""
    return sum(layer.weight.numel() for _, layer in linear_layers(network))


# %%
# ``sparsity`` counts all linear layers of the decoder, and attention stays as it is, so the MLPs lose more than that.
# All of them end up with one width, a multiple of 32: a configuration has room for one.
curves = {name: [] for name in methods}
for sparsity in (0.2, 0.4, 0.6):
    for name, method in methods.items():
        small = copy.deepcopy(model)
        reports = prune_units(small, tokens, sparsity=sparsity, **method)
        removed, score = 1 - weights(small) / weights(model), perplexity(small, test)
        error = sum(report.final_error for report in reports) / len(reports)
        curves[name].append((removed, error, score))
        print(
            f"{name}: {reports[0].before} -> {reports[0].kept} neurons, {removed:.1%} of the weights removed, "
            f"MLP error {error:.4f}, perplexity {score:.3f}"
        )

# %%
# Least squares on the neurons that stay makes the error several times smaller, and the model hardly notices that most
# of its neurons are gone. (A tiny model, trained for a moment, has many to spare; a real one notices earlier.)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, points in curves.items():
    removed, errors, scores = zip(*points, strict=True)
    left.plot(removed, errors, "o-", label=name)
    right.plot(removed, scores, "o-", label=name)
right.axhline(dense, color="black", ls="--", lw=1, label="dense")
left.set(xlabel="removed fraction of the weights", ylabel="relative output error of the MLPs", yscale="log")
right.set(xlabel="removed fraction of the weights", ylabel="perplexity per byte")
right.legend()

# %%
# The last model, written and read again by stock transformers: its configuration says the new width, and the logits
# are the same bit for bit.
with tempfile.TemporaryDirectory() as folder:
    small.save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(folder).eval()
with torch.no_grad():
    same = torch.equal(again(test[:1]).logits, small(test[:1]).logits)
print(f"intermediate_size {again.config.intermediate_size}, the same logits: {same}")
print(f"{bytes_in_memory(model) / 1e6:.2f} MB before, {bytes_in_memory(again) / 1e6:.2f} MB after")

plt.show()
