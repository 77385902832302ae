"""Convolutions: the numbers are torch's, whichever way they are computed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sklearn_cpc.nn.convolutions import FEW, Conv1d, Conv2d, FewOutputs, Flatten

RTOL = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.02}


def images_for(convolution, size, dtype=torch.float32, batch=2):
    """Smooth images, of which gradients are asked."""
    shape = batch, convolution.in_channels, *size
    n_pixels = torch.Size(shape).numel()
    return torch.linspace(-3, 3, n_pixels, dtype=torch.float64).sin().to(dtype).reshape(shape).requires_grad_()


def outputs_and_gradients(convolution, images):
    """Outputs and the gradients of their mean square: of the images, the weights and the bias."""
    images.grad = None
    convolution.zero_grad()
    outputs = convolution(images)
    outputs.square().mean().backward()
    return outputs, images.grad, convolution.weight.grad, convolution.bias.grad


def assert_torchs(ours, torchs, images):
    """Assert that ours gives what torch's convolution gives with the same weights."""
    torchs.load_state_dict(ours.state_dict())
    torchs.to(images.dtype)
    results = outputs_and_gradients(ours, images), outputs_and_gradients(torchs, images)
    for one, other in zip(*results, strict=True):
        scale = other.abs().max().item() + 1e-12
        torch.testing.assert_close(one, other, rtol=0, atol=RTOL[images.dtype] * scale)


@pytest.mark.parametrize("length", [4, 5, 6, 7, 20, 80])  # one output, one, then two, two, nine and 39
@pytest.mark.parametrize("dtype", RTOL)
def test_a_1d_convolution_is_that_of_torch_with_one_few_and_many_outputs(length, dtype):
    ours = Conv1d(3, 7, 4, 2).to(dtype)
    assert_torchs(ours, nn.Conv1d(3, 7, 4, 2), images_for(ours, (length,), dtype))


@pytest.mark.parametrize("length", [4, 5, 6, 7, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_convolution_is_that_of_torch_whether_its_kernel_fits_once_or_more_often(length, dtype):
    ours = Conv1d(3, 7, 4, 2).to(dtype)
    theirs = nn.Conv1d(3, 7, 4, 2).to(dtype)
    theirs.load_state_dict(ours.state_dict())
    results = []
    for convolution in (ours, theirs):
        samples = torch.linspace(-1, 1, 2 * 3 * length, dtype=dtype).reshape(2, 3, length).requires_grad_()
        outputs = convolution(samples)
        outputs.square().sum().backward()
        results.append((outputs, samples.grad, convolution.weight.grad, convolution.bias.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5 if dtype == torch.float32 else 0.05, atol=1e-5)


@settings(deadline=None, max_examples=80)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.booleans(),
)
def test_a_2d_convolution_is_that_of_torch(size, kernel, stride, padding, channels_last):
    size = [max(a, b) for a, b in zip(size, kernel, strict=True)]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    ours = Conv2d(3, 5, kernel, stride, padding).to(memory_format=layout)
    assert_torchs(ours, nn.Conv2d(3, 5, kernel, stride, padding), images_for(ours, size))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_a_1d_convolution_is_that_of_torch(length, kernel, stride):
    ours = Conv1d(2, 3, kernel, stride)
    images = images_for(ours, (max(length, kernel),))
    assert_torchs(ours, nn.Conv1d(2, 3, kernel, stride), images)


def test_gradients_of_few_outputs_are_those_of_differences():
    images = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    convolve = lambda *tensors: FewOutputs.apply(*tensors, (2, 1), (1, 0))  # noqa: E731
    assert torch.autograd.gradcheck(convolve, (images, weight, bias))


def test_only_few_outputs_are_computed_in_the_other_way():
    ways = []
    for side in (4, 5):
        convolution = Conv2d(1, 2, 3, padding=1)
        ways.append(type(convolution(torch.zeros(1, 1, side, side)).grad_fn).__name__)
        assert (side * side <= FEW) == (ways[-1] == "FewOutputsBackward")
    assert len(set(ways)) == 2


@pytest.mark.parametrize("side", [8, 16])  # few outputs, and many
def test_autocast_computes_few_and_many_outputs_in_bfloat16_and_gives_weights_gradients_of_their_own_type(side):
    ours, torchs = Conv2d(3, 5, 3, 2, 1), nn.Conv2d(3, 5, 3, 2, 1)
    torchs.load_state_dict(ours.state_dict())
    results = []
    for convolution in (ours, torchs):
        images = images_for(ours, (side, side))
        with torch.autocast("cpu", torch.bfloat16):
            outputs = convolution(images)
        outputs.float().square().mean().backward()
        assert outputs.dtype == torch.bfloat16
        results.append((outputs, images.grad, convolution.weight.grad, convolution.bias.grad))
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=0, atol=0.02 * other.abs().max().item())


def test_few_outputs_of_images_that_need_no_gradient_and_of_weights_that_need_none():
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
def test_the_gradient_of_flattened_images_is_laid_out_as_they_are(layout):
    images = torch.randn(2, 3, 4, 5).to(memory_format=layout).requires_grad_()
    inner = images * 1
    flat = Flatten()(inner)
    seen = []
    inner.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=layout)))
    weights = torch.randn(60)
    (of_ours,) = torch.autograd.grad((flat @ weights).sum(), images)
    (of_torchs,) = torch.autograd.grad((images.flatten(1) @ weights).sum(), images)
    assert torch.equal(flat, images.flatten(1))
    assert torch.equal(of_ours, of_torchs)
    assert seen == [True]


def test_flattened_images_without_a_gradient_are_those_of_torch():
    images = torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last)
    assert torch.equal(Flatten()(images), images.flatten(1))
