"""Hidden units: what is removed, how much, and the closed forms that make up for it."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import inputs, layer
from optsci.compress import (
    GramAccumulator,
    centred,
    fasp_scores,
    fasp_select,
    flap_scores,
    flap_select,
    keep_columns,
    keep_largest,
    linear_layers,
    mean_shift,
    redistributed,
    remove_units,
    restore_columns,
    spap_penalty,
    spap_select,
    uniform_width,
    value_columns,
    zero_units,
)
from optsci.compress.models import decoder_blocks, family
from optsci.compress.restoration import widened
from optsci.linalg import NotPositiveDefiniteError
from tiny_models import TINY, tiny, tiny_tokens

SELECTORS = (fasp_select, flap_select, spap_select)


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_restoration_equals_lstsq(shift):
    problem, seen, x = layer(6, 20, shift=shift)
    kept = fasp_select(problem, 13)
    expected = torch.linalg.lstsq(seen[:, kept], x @ problem.weight.T).solution.T
    torch.testing.assert_close(restore_columns(problem, kept, damping=0), expected, rtol=1e-7, atol=1e-9)


@given(seed=st.integers(0, 1000), shift=st.sampled_from([0.0, 0.1]), count=st.integers(1, 11))
@settings(max_examples=20, deadline=None)
def test_restoration_is_never_worse_than_the_dense_columns(seed, shift, count):
    problem, *_ = layer(4, 12, tokens=60, seed=seed, shift=shift)
    kept = fasp_select(problem, count)
    plain = problem.relative_error(widened(keep_columns(problem, kept), kept, 12))
    for damping in (0.0, 0.01, 1.0):
        restored = problem.relative_error(widened(restore_columns(problem, kept, damping=damping), kept, 12))
        assert float(restored) <= float(plain) * (1 + 1e-9)


def test_residual_is_the_schur_complement():
    problem, *_ = layer(5, 16)
    kept = fasp_select(problem, 10)
    gone = torch.tensor([j for j in range(16) if j not in kept.tolist()])
    g, w = problem.gram, problem.weight[:, gone]
    schur = g[gone][:, gone] - g[gone][:, kept] @ torch.linalg.solve(g[kept][:, kept], g[kept][:, gone])
    restored = widened(restore_columns(problem, kept, damping=0), kept, 16)
    assert float(problem.squared_error(restored)) == pytest.approx(float((w @ schur * w).sum()), rel=1e-9)


def test_residual_of_one_removal_is_that_of_optimal_brain_surgeon():
    problem, *_ = layer(5, 16)
    inverse = torch.linalg.inv(problem.gram).diagonal()
    for j in (0, 7):
        kept = torch.tensor([i for i in range(16) if i != j])
        restored = widened(restore_columns(problem, kept, damping=0), kept, 16)
        expected = problem.weight[:, j].square().sum() / inverse[j]
        assert float(problem.squared_error(restored)) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("select", SELECTORS)
@pytest.mark.parametrize("silent", ["column", "input"])
def test_units_that_do_nothing_go_first_and_change_nothing(select, silent):
    """Zero columns, and units that are never active: OPT has many behind its ReLU."""
    x = inputs(12, 300, seed=2)
    weight = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    useless = [3, 7, 8]
    (weight if silent == "column" else x)[:, useless] = 0
    statistics = GramAccumulator()
    statistics.add(x)
    problem = statistics.problem(weight)
    kept = select(problem, 9)
    assert kept.tolist() == [j for j in range(12) if j not in useless]
    torch.testing.assert_close(restore_columns(problem, kept), weight[:, kept], rtol=0, atol=1e-12)
    assert select(problem, 11).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]  # ties go to the lower index


@pytest.mark.parametrize("select", SELECTORS)
def test_selection_does_not_depend_on_the_order_of_the_units(select):
    x = inputs(14, 400, seed=4)
    weight = torch.randn(5, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(14, generator=torch.Generator().manual_seed(2))
    kept = []
    for permutation in (torch.arange(14), order):
        statistics = GramAccumulator()
        statistics.add(x[:, permutation])
        problem = statistics.problem(weight[:, permutation])
        chosen = select(problem, 8)
        kept.append((permutation[chosen].sort().values, restore_columns(problem, chosen)))
        columns = permutation[chosen].argsort()
        kept[-1] = (kept[-1][0], kept[-1][1][:, columns])
    torch.testing.assert_close(kept[0], kept[1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("select", SELECTORS)
def test_fewer_tokens_than_units(select):
    for seed in range(3):
        problem, *_ = layer(6, 64, tokens=8, seed=seed, dtype=torch.float32)
        kept = select(problem, 40)
        assert kept.shape == (40,)
        for damping in (0.0, 0.01):
            weights = restore_columns(problem, kept, damping=damping)
            assert weights.isfinite().all()
            assert weights.abs().max() <= 100 * problem.weight.abs().max()


def test_inputs_that_are_all_zero():
    statistics = GramAccumulator()
    statistics.add(torch.zeros(5, 8))
    problem = statistics.problem(torch.ones(2, 8))
    for select in SELECTORS:
        kept = select(problem, 3)
        torch.testing.assert_close(restore_columns(problem, kept), torch.ones(2, 3))


def test_a_gram_matrix_that_no_damping_helps_is_refused_by_name():
    problem, *_ = layer(3, 6)
    broken = problem.gram.clone()
    broken[0, 1] = broken[1, 0] = 1e3 * broken.diagonal().max()
    from dataclasses import replace

    problem = replace(problem, gram=broken, cross=broken, name="model.layers.3.mlp.down_proj")
    with pytest.raises(NotPositiveDefiniteError, match=r"model\.layers\.3\.mlp\.down_proj"):
        restore_columns(problem, torch.arange(4))
    with pytest.raises(NotPositiveDefiniteError, match=r"model\.layers\.3\.mlp\.down_proj"):
        spap_select(problem, 4)


def test_fasp_score_is_the_sum_of_the_wanda_scores():
    problem, seen, _ = layer(4, 9)
    wanda = problem.weight.abs() * seen.norm(dim=0) / len(seen) ** 0.5
    torch.testing.assert_close(fasp_scores(problem), wanda.sum(0))


def test_flap_bias_identity():
    """min over b of E||W_P x_P - b||^2 is attained at W_P mu_P, with value tr(W_P Cov W_P^T); WIFV for one unit."""
    x = inputs(7, 500, seed=0) + torch.linspace(-5, 5, 7, dtype=torch.float64)
    weight = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    statistics = GramAccumulator()
    for part in x.split([100, 399, 1]):
        statistics.add(part)
    problem = statistics.problem(weight)
    torch.testing.assert_close(problem.mean, x.mean(0))
    for gone in ([2], [0, 3, 5]):
        kept = torch.tensor([j for j in range(7) if j not in gone])
        shift = mean_shift(problem, kept, keep_columns(problem, kept))
        lost = x[:, gone] @ weight[:, gone].T
        torch.testing.assert_close(shift, lost.mean(0))
        covariance = torch.cov(x[:, gone].T, correction=0).reshape(len(gone), len(gone))
        best = float((weight[:, gone] @ covariance * weight[:, gone]).sum())
        assert float((lost - shift).square().sum(1).mean()) == pytest.approx(best, rel=1e-10)
        if len(gone) == 1:
            assert float(flap_scores(problem)[gone[0]]) == pytest.approx(best, rel=1e-10)


def test_restoration_with_a_bias_equals_lstsq_with_a_column_of_ones_and_beats_flap():
    x = inputs(9, 500, seed=0) + torch.linspace(-5, 5, 9, dtype=torch.float64)
    statistics = GramAccumulator()
    statistics.add(x)
    problem = statistics.problem(torch.randn(3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    kept = flap_select(problem, 5)
    weights = restore_columns(centred(problem), kept, damping=0)
    ones = torch.cat([x[:, kept], torch.ones(500, 1, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(ones, x @ problem.weight.T).solution.T
    torch.testing.assert_close(weights, solution[:, :-1], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(mean_shift(problem, kept, weights), solution[:, -1], rtol=1e-7, atol=1e-9)
    flap = centred(problem).squared_error(widened(keep_columns(problem, kept), kept, 9))
    assert float(centred(problem).squared_error(widened(weights, kept, 9))) < float(flap)
    with pytest.raises(ValueError, match="dense target"):
        centred(layer(3, 5, shift=0.1)[0])


def test_penalty_drives_the_removed_columns_to_zero_and_the_rest_to_the_restoration():
    problem, *_ = layer(6, 20)
    for state in spap_penalty(problem, 14):
        if state.rho > 1e8:
            break
    gone = torch.tensor([j for j in range(20) if j not in state.x.tolist()])
    assert state.residual == 0
    assert float((state.weights * problem.scaled()[1])[:, gone].abs().max()) < 1e-7
    expected = restore_columns(problem, state.x, damping=0)
    torch.testing.assert_close(state.weights[:, state.x], expected, rtol=1e-5, atol=1e-7)


def test_penalty_finds_the_copy_that_fasp_does_not():
    """Two large units that are copies: one can go at no cost, which no score of single columns sees."""
    x = inputs(10, 400, seed=6)
    x[:, 1] = 2 * x[:, 0]
    weight = torch.randn(4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight[:, :2] *= 2
    statistics = GramAccumulator()
    statistics.add(x)
    problem = statistics.problem(weight)
    best = {}
    for select in (fasp_select, spap_select):
        kept = select(problem, 9)
        best[select] = float(problem.relative_error(widened(restore_columns(problem, kept, damping=0), kept, 10)))
    assert best[spap_select] <= best[fasp_select]


@given(scores=st.lists(st.integers(0, 3), min_size=1, max_size=12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_keep_largest_keeps_exactly_so_many(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    kept = keep_largest(torch.tensor(scores, dtype=torch.float32), count).tolist()
    expected = sorted(sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:count])
    assert kept == expected


@pytest.mark.parametrize("family_name", TINY)
def test_widths_meet_the_sparsity(family_name):
    model = tiny(family_name)
    everything = sum(layer.weight.numel() for _, layer in linear_layers(model))
    matrices = 2 if family_name == "opt" else 3
    assert redistributed(0.2, model) == pytest.approx(0.2 * everything / (2 * matrices * 32 * 48))
    width = uniform_width(model, 0.2, multiple=1)
    removed = 2 * matrices * 32 * (48 - width)
    assert removed / everything == pytest.approx(0.2, abs=2 * matrices * 32 / everything)
    assert uniform_width(model, 0.0, multiple=32) == 48
    assert uniform_width(model, 0.2, multiple=8) % 8 == 0
    assert uniform_width(model, 0.01, multiple=64) == 48
    with pytest.raises(ValueError, match=r"sparsity=0\.9 of all linear layers is .* of the MLPs"):
        uniform_width(model, 0.9)
    with pytest.raises(ValueError, match=r"sparsity must lie in \[0, 1\)"):
        uniform_width(model, 1.0)
    with pytest.raises(ValueError, match="multiple must be a positive integer, got 0"):
        uniform_width(model, 0.2, multiple=0)


@pytest.mark.parametrize("family_name", TINY)
def test_sliced_block_equals_masked_block(family_name):
    model, tokens = tiny(family_name), tiny_tokens(2)
    masked, units = copy.deepcopy(model), family(model).mlp
    kept = torch.arange(0, 48, 3)
    gone = torch.tensor([j for j in range(48) if j % 3])
    for block, other in zip(decoder_blocks(model), decoder_blocks(masked), strict=True):
        remove_units(block, units, kept)
        zero_units(other, units, gone, gone)
    assert family(model).mlp.rows[0] in dict(decoder_blocks(model)[0].named_modules())
    assert {tuple(p.shape) for n, p in model.named_parameters() if "fc2.weight" in n or "down" in n} == {(32, 16)}
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, masked(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family_name", TINY)
def test_value_columns_are_those_of_a_naive_repeat(family_name):
    """Dimension d of head g, found by repeating the key/value heads as the models do."""
    model = tiny(family_name)
    units = family(model).values
    block = decoder_blocks(model)[0]
    rows = block.get_submodule(units.rows[0]).out_features
    columns = block.get_submodule(units.reader).in_features
    heads, groups = 4, 4 if family_name == "opt" else 2
    names = torch.arange(rows).view(groups, rows // groups)
    repeated = names.repeat_interleave(heads // groups, dim=0).flatten()  # which row every column reads
    index = value_columns(model)
    assert index.shape == (rows, heads // groups)
    assert sorted(index.flatten().tolist()) == list(range(columns))
    for row in range(rows):
        assert index[row].tolist() == (repeated == row).nonzero().flatten().tolist()


@pytest.mark.parametrize("family_name", TINY)
def test_value_units_that_are_zeroed_are_read_by_no_other_column(family_name):
    """With the rows at zero, and their biases, the columns that belong to them do not matter, and all others do."""
    model, tokens = tiny(family_name), tiny_tokens(2)
    units, columns = family(model).values, value_columns(model)
    rows = torch.tensor([1, 6])
    only_rows, both = copy.deepcopy(model), copy.deepcopy(model)
    for one, other in zip(decoder_blocks(only_rows), decoder_blocks(both), strict=True):
        zero_units(one, units, rows, torch.tensor([], dtype=torch.long))
        zero_units(other, units, rows, columns[rows])
    with torch.no_grad():
        torch.testing.assert_close(only_rows(tokens).logits, both(tokens).logits, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(model(tokens).logits, both(tokens).logits, atol=1e-3)


def test_bad_arguments_are_sentences():
    model = tiny("llama")
    block, units = decoder_blocks(model)[0], family(model).mlp
    before = copy.deepcopy(block.state_dict())
    for kept in (torch.tensor([3, 1]), torch.tensor([1, 1]), torch.tensor([48]), torch.tensor([-1, 2]), torch.ones(2)):
        with pytest.raises(ValueError, match=r"kept must be ascending indices \(k,\) in 0\.\.47"):
            remove_units(block, units, kept)
    with pytest.raises(ValueError, match=r"weights for mlp\.down_proj must be \(32, 2\), got \(3, 2\)"):
        remove_units(block, units, torch.tensor([0, 1]), torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"mlp\.down_proj hold a NaN"):
        remove_units(block, units, torch.tensor([0, 1]), torch.full((32, 2), float("nan")))
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
    problem, *_ = layer(3, 6)
    with pytest.raises(ValueError, match=r"count must lie in 1\.\.6"):
        fasp_select(problem, 7)
    with pytest.raises(ValueError, match="damping must be at least 0, got -1"):
        restore_columns(problem, torch.arange(3), damping=-1)
    with pytest.raises(ValueError, match=r"growth must be above 1, got 1\.0"):
        spap_select(problem, 3, growth=1.0)
    with pytest.raises(ValueError, match="rho must be positive, got 0"):
        spap_select(problem, 3, rho=0)
    from dataclasses import replace

    with pytest.raises(ValueError, match="does not know the mean of its inputs"):
        flap_select(replace(problem, mean=None), 3)
    with pytest.raises(ValueError, match=r"mean of layer must be \(6,\)"):
        replace(problem, mean=torch.ones(2))
