"""What the figures of a run show."""

import pytest
import torch

from optsci.compress import LayerReport, LookupLinear, Quantized, plot_codes, plot_errors, plot_sparsity


def report(zeros, error):
    return LayerReport(name="layer", block=0, shape=(4, 5), zeros=zeros, error=error, seconds=0.0)


REPORTS = {"Wanda": [report(10, 0.1), report(5, 0.3), report(0, 0.2)], "FISTA": [report(20, 0.05), report(8, 0.01)]}


@pytest.mark.parametrize(
    ("plot", "curves"),
    [
        (plot_errors, {"Wanda": [0.1, 0.3, 0.2], "FISTA": [0.05, 0.01]}),
        (plot_sparsity, {"Wanda": [0.5, 0.25, 0.0], "FISTA": [1.0, 0.4]}),
    ],
)
def test_every_layer_is_a_point_of_its_method(plot, curves):
    (axes,) = plot(REPORTS).axes
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == curves
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    low, high = axes.get_ylim()
    assert all(low < value < high for values in curves.values() for value in values)


def quantized(codes, bits=2):
    codes = torch.tensor(codes, dtype=torch.uint8)
    return Quantized(codes, torch.arange(2.0**bits).expand(len(codes), -1))


def test_codes_are_counted_by_layer_and_together():
    layers = {"a": quantized([[0, 1, 1, 1]]), "b": quantized([[0, 0], [2, 0], [0, 0]])}
    (axes,) = plot_codes(layers).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [
        pytest.approx([1 / 4, 3 / 4, 0, 0]),
        pytest.approx([5 / 6, 0, 1 / 6, 0]),
    ]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([6 / 10, 3 / 10, 1 / 10, 0])
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([0, 1, 2, 3])


def test_codes_of_packed_layers_are_those_that_were_packed():
    one = quantized([[0, 1, 1, 1, 3]])
    drawn = [
        list(plot_codes({"a": layer}).axes[0].lines[0].get_ydata()) for layer in (one, LookupLinear.from_quantized(one))
    ]
    assert drawn[0] == drawn[1]


def test_codes_of_different_widths_are_not_counted_together():
    with pytest.raises(ValueError, match="layers must have codes of one number of bits, got 2, 3"):
        plot_codes({"a": quantized([[0]], bits=3), "b": quantized([[0]], bits=2)})
    with pytest.raises(ValueError, match="layers must have codes of one number of bits, got none"):
        plot_codes({})
