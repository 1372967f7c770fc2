r"""Quantize a language model
=========================

A quantized layer keeps a code of :math:`N` bits for every weight, and for every row a table of :math:`2^N` values:

.. math:: \min_{T, Q} \; \|V X^* - W X\|_F^2 \qquad V_{ij} = T_{i, Q_{ij}}

Rounding and GPTQ take evenly spaced values, k-means and GANQ place them freely; GPTQ and GANQ look at the outputs of
the layer, the others at one weight after another. GANQ* keeps the outermost 0.5 % of the weights of a row besides.
The model is the tiny one of :ref:`sphx_glr_gallery_plot_pruning.py`.
"""

import copy

import matplotlib.pyplot as plt
import torch

from optsci.compress import (
    LookupLinear,
    bytes_in_memory,
    calibration,
    compress_model,
    encode,
    ganq_quantize,
    ganq_star,
    gptq,
    mean_error,
    perplexity,
    replace_linear,
    round_to_nearest,
    walk,
    weighted_kmeans,
    windows,
)
from optsci.compress.sample import Bytes, moby_dick, train_tiny_model

first, last = moby_dick()
model = train_tiny_model(first, steps=150, samples=4, initializer_range=0.08)
tokens = calibration(first, Bytes(), samples=8, length=256, seed=0)  # (8, 256)
test = windows(encode(last, Bytes()), length=256, limit=20)
dense = perplexity(model, test)

# %%
# One row of one layer, 3 bits: the row with the most extreme weight for its size. An even grid has to reach from its
# smallest weight to its largest, and spends values where there are hardly any weights. A table of the row's own puts
# them where the weights are, and where the inputs make an error dear.
*_, stage = walk(copy.deepcopy(model), tokens)
problem = stage.problem  # of the last layer
row = int((problem.weight.abs().amax(1) / problem.weight.std(1)).argmax())
grid, learnt = round_to_nearest(problem, bits=3), ganq_quantize(problem, bits=3)
figure, panels = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
for panel, (name, quantized) in zip(panels, {"even grid": grid, "GANQ's table": learnt}.items(), strict=True):
    counts = quantized.codes[row].long().bincount(minlength=8).tolist()
    panel.hist(problem.weight[row].tolist(), bins=60, color="lightgray")
    height = panel.get_ylim()[1]
    panel.vlines(quantized.codebook[row].tolist(), 0, height, color="tab:red")
    for value, count in zip(quantized.codebook[row].tolist(), counts, strict=True):
        panel.annotate(count, (value, height), (2, -10), textcoords="offset points", size=8, color="tab:red")
    error = float(problem.relative_error(quantized.weights))
    panel.set(title=f"{name}: relative error of the layer {error:.4f}", ylabel="weights")
panels[1].set(xlabel=f"row {row} of {stage.name}; red: the values, and how many weights take them")

# %%
# All layers, each quantizer at 4, 3 and 2 bits. Inputs come from the model as quantized so far.
quantizers = {
    "round to nearest": round_to_nearest,
    "k-means": weighted_kmeans,
    "GPTQ": gptq,
    "GANQ": ganq_quantize,
    "GANQ*": ganq_star,
}
widths = (4, 3, 2)


def looked_up(quantize, bits):
    """A quantizer as a function ``problem -> weights``."""
    return lambda problem: quantize(problem, bits=bits).weights


errors, scores = {}, {}
for name, quantize in quantizers.items():
    for bits in widths:
        small = copy.deepcopy(model)
        errors[name, bits] = compress_model(small, tokens, looked_up(quantize, bits))
        scores[name, bits] = perplexity(small, test)
        print(
            f"{name:16s} {bits} bits: mean layer error {mean_error(errors[name, bits]):.4f}, "
            f"perplexity {scores[name, bits]:.3f} (dense {dense:.3f})"
        )

# %%
# A tiny model that was trained for a moment is not easily disturbed: its perplexity tells the methods apart at few
# bits, the errors of the layers do in any case.
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name in quantizers:
    left.plot([report.error for report in errors[name, 3]], ".-", label=name)
    right.plot(widths, [scores[name, bits] for bits in widths], "o-", label=name)
right.axhline(dense, color="black", ls="--", lw=1, label="dense")
left.set(xlabel="linear layer", ylabel="relative output error, 3 bits", yscale="log")
right.set(xlabel="bits", ylabel="perplexity per byte", xticks=widths)
right.legend()

# %%
# Until here the values were written into dense layers. ``LookupLinear`` keeps the packed codes and the tables, and
# looks the weights up while it multiplies a token or a few.
simulated, packed = copy.deepcopy(model), copy.deepcopy(model)
for stage in walk(simulated, tokens):
    quantized = ganq_quantize(stage.problem, bits=4)
    stage.write(quantized.weights)
    replace_linear(packed, stage.name, LookupLinear.from_quantized(quantized))
with torch.no_grad():
    difference = float((packed(test[:1, :8]).logits - simulated(test[:1, :8]).logits).abs().max())
before, after = (sum(bytes_in_memory(block) for block in network.model.layers) for network in (model, packed))
print(packed.model.layers[1].mlp.down_proj)
print(f"decoder blocks: {before / 1e6:.2f} MB before, {after / 1e6:.2f} MB after; logits differ by {difference:.1e}")

# %%
# A row of 128 weights has 64 bytes of codes, and its table of 16 values takes as much again: hence a quarter, and not
# an eighth, of the memory. In a row of 4096 weights the table is a thirtieth of the codes.
plt.show()
