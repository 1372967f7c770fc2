"""The layer of looked-up weights against the dense layer with the same weights."""

import copy
import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from optsci.compress.quantized_linear import FEW, LookupLinear, _warn_once, kernel_name
from tables import random_tables

pytestmark = pytest.mark.filterwarnings("ignore:LookupLinear")


@pytest.mark.parametrize("outliers", [0.0, 0.05])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 70), (3, 576), (150, 257)])
def test_outputs_are_those_of_the_dense_layer(bits, m, n, outliers):
    q = random_tables(m, n, bits, outliers=outliers)
    bias = torch.linspace(-1, 1, m)
    layer = LookupLinear.from_quantized(q, bias)
    assert torch.equal(layer.weights, q.weights)
    for tokens in (0, 1, 2, 3, 4, 5, FEW, FEW + 1, 40):
        x = torch.randn(tokens, n, generator=torch.Generator().manual_seed(tokens))
        expected = F.linear(x.double(), q.weights.double(), bias.double())
        torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, FEW + 1])
def test_threads_change_nothing(tokens, monkeypatch):
    from optsci.compress._kernels import lookup

    monkeypatch.setattr(lookup, "SHARED", 0)
    layer = LookupLinear.from_quantized(random_tables(150, 300, 4, outliers=0.02))
    x = torch.randn(tokens, 300, generator=torch.Generator().manual_seed(0))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(layer(x))
    finally:
        torch.set_num_threads(threads)
    tolerance = 0 if tokens <= FEW else 1e-4  # the product of decoded weights is torch's
    torch.testing.assert_close(*results, rtol=0, atol=tolerance)


def test_lookups_are_exact():
    """A unit vector reads one column: no rounding, whatever the value."""
    q = random_tables(40, 96, 4)
    columns = torch.tensor([0, 1, 31, 63, 64, 95])
    got = LookupLinear.from_quantized(q)(torch.eye(96)[columns])
    torch.testing.assert_close(got, q.weights[:, columns].T, rtol=0, atol=0)


@pytest.mark.parametrize("bits", [1, 5, 7])
def test_bits_that_cannot_be_packed_are_rounded_up(bits):
    q = random_tables(4, 33, bits)
    layer = LookupLinear.from_quantized(q)
    assert layer.bits == {1: 2, 5: 8, 7: 8}[bits]
    assert torch.equal(layer.weights, q.weights)


@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (1, 1, 1)])
def test_any_leading_dimensions(shape):
    layer = LookupLinear.from_quantized(random_tables(6, 20, 3))
    x = torch.randn(*shape, 20)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weights), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tokens", [1, 20])
def test_half_precision(dtype, tokens):
    layer = LookupLinear.from_quantized(
        random_tables(30, 80, 4, outliers=0.02, dtype=dtype), torch.ones(30, dtype=dtype)
    )
    x = torch.randn(tokens, 80, generator=torch.Generator().manual_seed(1)).to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    expected = F.linear(x.float(), layer.weights.float(), torch.ones(30))
    torch.testing.assert_close(y.float(), expected, rtol=2 * torch.finfo(dtype).eps, atol=0.02)


def test_double_precision_is_not_rounded_to_single():
    q = random_tables(30, 80, 4, outliers=0.02, dtype=torch.float64)
    x = torch.randn(2, 80, dtype=torch.float64)
    torch.testing.assert_close(LookupLinear.from_quantized(q)(x), x @ q.weights.T, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("tokens", [1, 20])
def test_gradient_with_respect_to_the_input(tokens):
    layer = LookupLinear.from_quantized(random_tables(30, 80, 4, outliers=0.02), torch.ones(30))
    x = torch.randn(tokens, 80, requires_grad=True)
    (expected,) = torch.autograd.grad(F.linear(x, layer.weights).square().sum() + x.sum(), x)
    (got,) = torch.autograd.grad((layer(x) - 1).square().sum() + x.sum(), x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-3)
    double = copy.deepcopy(layer).double()
    assert torch.autograd.gradcheck(double, torch.randn(2, 80, dtype=torch.float64, requires_grad=True))


def test_state_dict_and_casts():
    layer = LookupLinear.from_quantized(random_tables(30, 80, 3, outliers=0.02), torch.ones(30))
    blank = LookupLinear(80, 30, bits=3, outliers=layer.outliers)
    blank.load_state_dict(layer.state_dict())
    assert torch.equal(blank.weights, layer.weights)
    half = blank.to(torch.bfloat16)
    assert half.qweight.dtype == half.outlier_indices.dtype == torch.int32
    assert half.codebook.dtype == half.bias.dtype == torch.bfloat16
    assert not list(layer.parameters())


def test_the_way_back_to_a_dense_layer():
    q, bias, x = random_tables(30, 80, 4, outliers=0.02), torch.randn(30), torch.randn(3, 80)
    dense = LookupLinear.from_quantized(q, bias).dequantized()
    assert type(dense) is nn.Linear
    torch.testing.assert_close(dense(x), F.linear(x, q.weights, bias), rtol=0, atol=0)


def test_non_finite_inputs_are_not_hidden():
    layer = LookupLinear.from_quantized(random_tables(3, 70, 4))
    x = torch.zeros(1, 70)
    x[0, 69] = torch.nan
    assert layer(x).isnan().all()


def test_a_layer_without_a_fast_kernel_says_so_once():
    layer = LookupLinear.from_quantized(random_tables(30, 80, 8))
    _warn_once.cache_clear()
    with pytest.warns(UserWarning, match=r"no fast kernel here \(cpu, Numba, scalar\).*dequantized\(\)"):
        layer(torch.ones(1, 80))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.ones(1, 80))


def test_a_layer_that_decodes_says_so():
    layer = LookupLinear.from_quantized(random_tables(30, 80, 4))
    _warn_once.cache_clear()
    with pytest.warns(UserWarning, match=r"LookupLinear (looks up or decodes|has no fast kernel).*dequantized\(\)"):
        layer(torch.ones(FEW + 1, 80))


def test_the_kernel_has_a_name():
    layer = LookupLinear.from_quantized(random_tables(30, 80, 4))
    assert kernel_name(layer) in ("Numba, AVX-512", "Numba, AVX2", "Numba, scalar")
    assert kernel_name(layer, torch.float64) == "torch"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LookupLinear(3, 2, bits=4)(torch.ones(1, 4)), r"x must be \(..., 3\), got \(1, 4\)"),
        (lambda: LookupLinear(3, 2, bits=4)(torch.tensor(1.0)), r"x must be \(..., 3\), got \(\)"),
        (lambda: LookupLinear(3, 2, bits=6), "bits must be one of 2, 3, 4, 8, got 6"),
        (
            lambda: LookupLinear.from_quantized(random_tables(2, 3, 4), torch.ones(3)),
            r"bias must be \(2,\) for codes \(2, 3\), got \(3,\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def check_triton(device):
    """The Triton kernel, on any device, against the dense product."""
    from optsci.compress._kernels.lookup_triton import product

    for bits in (2, 3, 4, 8):
        q = random_tables(37, 300, bits, outliers=0.02)
        layer = LookupLinear.from_quantized(q).to(device)
        sparse = (layer.outlier_values, layer.outlier_indices, layer.outlier_rowptr)
        for tokens in (1, 3, FEW):
            x = torch.randn(tokens, 300, generator=torch.Generator().manual_seed(tokens))
            got = product(x.to(device), layer.qweight, layer.codebook, bits, sparse).cpu()
            torch.testing.assert_close(got, F.linear(x, q.weights), rtol=1e-5, atol=1e-4)


@pytest.mark.gpu
def test_triton_on_the_gpu():
    check_triton("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("tokens", [1, FEW + 1])
def test_the_layer_on_the_gpu(tokens):
    q = random_tables(37, 300, 4, outliers=0.02)
    layer = LookupLinear.from_quantized(q, torch.ones(37)).cuda()
    x = torch.randn(tokens, 300)
    torch.testing.assert_close(layer(x.cuda()).cpu(), F.linear(x, q.weights, torch.ones(37)), rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the test on the GPU runs the kernel itself")
def test_triton_in_its_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="Triton comes with the CUDA builds of torch only")
    check_triton("cpu")


OTHER_PROCESSORS = """
import sys
import numpy, torch
from llvmlite import ir
from optsci.compress._kernels import lookup
from optsci.compress.packing import pack
from tables import random_tables

def permuted(builder, table, places):  # the instruction, lane by lane
    number, result, lanes = ir.IntType(32), table.type(ir.Undefined), lookup.LANES
    for lane in range(lanes):
        place = builder.and_(builder.extract_element(places, number(lane)), number(lanes - 1))
        result = builder.insert_element(result, builder.extract_element(table, place), number(lane))
    return result

lookup.LANES = int(sys.argv[1])
lookup._permuted = permuted
for bits in (2, 3, 4):
    for m, n in ((1, 1), (5, 70), (3, 576), (40, 600)):
        q = random_tables(m, n, bits)
        words, table = pack(q.codes, bits).numpy(), q.codebook.numpy()
        order = lookup.column_order(n, bits)
        tile = numpy.empty((m, len(order)), numpy.float32)
        lookup.decode(words, table, bits, n, None, 1, tile)
        assert numpy.array_equal(tile[:, lookup.place_of_column(n, bits)], q.weights)
        for tokens in (1, 2, 3, 8, 21):
            x = torch.randn(tokens, n)
            y = lookup.product(x.numpy(), words, table, bits, None, 1)
            torch.testing.assert_close(torch.from_numpy(y), x @ q.weights.T, rtol=1e-5, atol=1e-4)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [0, 8, 16])
def test_kernels_of_other_processors(lanes, tmp_path):
    """Scalar loops, AVX2, and the layout of AVX-512 with its one instruction emulated, whatever runs the tests."""
    from optsci.compress._kernels import lookup

    if lanes == 8 and lookup.LANES == 0:
        pytest.skip("this processor has no AVX2")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", OTHER_PROCESSORS, str(lanes)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.stdout == "equal\n", run.stderr
