"""Convolutions compute the same numbers as torch's, with few outputs and with many."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sklearn_cpc.nn.convolutions import MAX_MATMUL_OUTPUTS, Conv1d, Conv2d, Flatten, MatmulGradientConv2d

DTYPES = [torch.float32, torch.bfloat16, torch.float64]


@pytest.fixture(autouse=True)
def _rng():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images_for(convolution, size, dtype=torch.float32, batch=2):
    """Smooth images that require a gradient."""
    shape = batch, convolution.in_channels, *size
    n_pixels = torch.Size(shape).numel()
    return torch.linspace(-3, 3, n_pixels, dtype=torch.float64).sin().to(dtype).reshape(shape).requires_grad_()


def outputs_and_gradients(convolution, images, autocast=False):
    """Outputs and the gradients of their mean square: of the images, the weights and the bias."""
    images.grad = None
    convolution.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs = convolution(images)
    (outputs.float() if autocast else outputs).square().mean().backward()
    return outputs, images.grad, convolution.weight.grad, convolution.bias.grad


def assert_exact_up_to_rounding(ours, torchs, images, autocast=False):
    """Compare with torch's convolution of the same weights in float64, within what rounding explains.

    Each operation has a relative error of at most u, 2**-8 in bfloat16. A sum of n terms is then wrong by about
    sqrt(n) u times the sum of their absolute values, which the same convolution of absolute values computes.
    """
    torchs.load_state_dict(ours.state_dict())
    exact = torchs.double()
    absolute = copy.deepcopy(exact)
    with torch.no_grad():
        for weights in absolute.parameters():
            weights.abs_()
    results = outputs_and_gradients(ours, images, autocast)
    references = outputs_and_gradients(exact, images.detach().double().requires_grad_())
    magnitudes = outputs_and_gradients(absolute, images.detach().double().abs().requires_grad_())
    # Terms behind an output, a gradient of the images, and a gradient of the weights or bias; errors accumulate.
    n_terms = ours.weight[0].numel() + ours.weight[:, 0].numel() + results[0][:, 0].numel()
    unit = torch.finfo(torch.bfloat16 if autocast else images.dtype).eps / 2
    for result, reference, magnitude in zip(results, references, magnitudes, strict=True):
        assert ((result.double() - reference).abs() <= n_terms**0.5 * unit * magnitude).all()


@pytest.mark.parametrize("length", [4, 5, 6, 7, 20, 80])  # one output, one, then two, two, nine and 39
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_1d_convolution_with_one_few_and_many_outputs(length, dtype):
    ours = Conv1d(3, 7, 4, 2).to(dtype)
    assert_exact_up_to_rounding(ours, nn.Conv1d(3, 7, 4, 2), images_for(ours, (length,), dtype))


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.booleans(),
)
def test_2d_convolution_of_any_shape(size, kernel, stride, padding, channels_last):
    size = [max(a, b) for a, b in zip(size, kernel, strict=True)]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    ours = Conv2d(3, 5, kernel, stride, padding).to(memory_format=layout)
    assert_exact_up_to_rounding(ours, nn.Conv2d(3, 5, kernel, stride, padding), images_for(ours, size))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_1d_convolution_of_any_shape(length, kernel, stride):
    ours = Conv1d(2, 3, kernel, stride)
    images = images_for(ours, (max(length, kernel),))
    assert_exact_up_to_rounding(ours, nn.Conv1d(2, 3, kernel, stride), images)


def test_gradients_of_few_outputs_equal_finite_differences():
    images = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    convolve = lambda *tensors: MatmulGradientConv2d.apply(*tensors, (2, 1), (1, 0))  # noqa: E731
    assert torch.autograd.gradcheck(convolve, (images, weight, bias))


def test_only_gradients_of_few_outputs_are_matrix_products():
    functions = []
    for side in (4, 5):
        convolution = Conv2d(1, 2, 3, padding=1)
        functions.append(type(convolution(torch.zeros(1, 1, side, side)).grad_fn).__name__)
        assert (side * side <= MAX_MATMUL_OUTPUTS) == (functions[-1] == "MatmulGradientConv2dBackward")
    assert len(set(functions)) == 2


@pytest.mark.parametrize("side", [8, 16])  # few outputs, and many
def test_autocast_computes_in_bfloat16_and_keeps_gradient_types(side):
    ours, images = Conv2d(3, 5, 3, 2, 1), images_for(Conv2d(3, 5, 3), (side, side))
    outputs, *gradients = outputs_and_gradients(ours, images, autocast=True)
    assert outputs.dtype == torch.bfloat16
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    assert_exact_up_to_rounding(ours, nn.Conv2d(3, 5, 3, 2, 1), images, autocast=True)


def test_few_outputs_without_gradients_of_images_or_weights():
    convolution = Conv2d(1, 2, 3)
    images = images_for(convolution, (4, 4)).detach()
    convolution(images).sum().backward()
    assert images.grad is None
    assert convolution.weight.grad is not None
    convolution = Conv2d(1, 2, 3).requires_grad_(False)
    images.requires_grad_()
    convolution(images).sum().backward()
    assert images.grad is not None
    assert convolution.weight.grad is None
    with torch.inference_mode():
        torch.testing.assert_close(
            convolution(images), nn.functional.conv2d(images, convolution.weight, convolution.bias)
        )


def test_few_outputs_without_a_bias():
    convolution = Conv2d(1, 2, 3, bias=False)
    convolution(images_for(convolution, (4, 4))).sum().backward()
    assert convolution.weight.grad is not None


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_of_flattened_images_keep_their_memory_layout(layout):
    images = torch.randn(2, 3, 4, 5).to(memory_format=layout).requires_grad_()
    inner = images * 1
    flat = Flatten()(inner)
    seen = []
    inner.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=layout)))
    weights = torch.randn(60)
    (gradient,) = torch.autograd.grad((flat @ weights).sum(), images)
    (torchs_gradient,) = torch.autograd.grad((images.flatten(1) @ weights).sum(), images)
    assert torch.equal(flat, images.flatten(1))
    assert torch.equal(gradient, torchs_gradient)
    assert seen == [True]


def test_flattened_images_without_a_gradient_equal_those_of_torch():
    images = torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last)
    assert torch.equal(Flatten()(images), images.flatten(1))
