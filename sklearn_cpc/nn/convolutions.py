"""Convolutions with few outputs, whose gradients would otherwise take most of a training step."""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

MAX_MATMUL_OUTPUTS = 16  # outputs per filter; up to here, a matrix product computes the weights' gradient faster


class Conv1d(nn.Conv1d):
    """A 1-D convolution without padding that computes gradients of few outputs as matrix products."""

    def forward(self, samples):
        """Map (batch, in_channels, length) to (batch, out_channels, n_outputs)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if samples.shape[2] < kernel + stride:  # one output: a linear layer
            window = samples[:, :, :kernel].flatten(1)
            return F.linear(window, self.weight.flatten(1), self.bias)[:, :, None]
        images, weight = samples[:, :, None], self.weight[:, :, None]
        return convolve(images, weight, self.bias, (1, stride), (0, 0)).squeeze(2)


class Conv2d(nn.Conv2d):
    """A 2-D convolution that computes gradients of few outputs as matrix products."""

    def forward(self, images):
        """Map (batch, in_channels, height, width) to (batch, out_channels, out_height, out_width)."""
        return convolve(images, self.weight, self.bias, self.stride, self.padding)


class Flatten(nn.Flatten):
    """Flatten images, with gradients in the images' memory layout: others slow down earlier layers severalfold."""

    def forward(self, images):
        """Map (batch, channels, height, width) to (batch, n_features)."""
        if images.requires_grad and images.is_contiguous(memory_format=torch.channels_last):
            images.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return super().forward(images)


def convolve(images, weight, bias, stride, padding):
    """`torch.nn.functional.conv2d`, with the faster way to compute gradients on a processor."""
    sizes = zip(images.shape[2:], weight.shape[2:], stride, padding, strict=True)
    height, width = ((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in sizes)
    few_outputs = images.device.type == "cpu" and height * width <= MAX_MATMUL_OUTPUTS
    convolution = MatmulGradientConv2d.apply if few_outputs and weight.requires_grad else F.conv2d
    return convolution(images, weight, bias, stride, padding)


class MatmulGradientConv2d(torch.autograd.Function):
    """A 2-D convolution that computes the weights' gradient as a product of two matrices.

    Both have a row for each output position of each image. One holds the gradients of the outputs there, the
    other the pixels that these outputs were computed from.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(ctx, images, weight, bias, stride, padding):
        """Convolve images of shape (batch, in_channels, height, width)."""
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, gradient):  # type: ignore[override]  # the decorators have no types
        """Return the gradients of images, weight and bias."""
        images, weight = ctx.saved_tensors
        settings = gradient, ctx.stride, ctx.padding
        images_gradient = conv2d_input(images.shape, weight, *settings) if ctx.needs_input_grad[0] else None
        n_filters, n_channels, *kernel = weight.shape
        (pad_height, pad_width), (step_down, step_right) = ctx.padding, ctx.stride
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, pad_width, pad_width, pad_height, pad_height))
        windows = padded.unfold(1, kernel[0], step_down).unfold(2, kernel[1], step_right)
        windows = windows.permute(0, 1, 2, 4, 5, 3)  # (batch, out_height, out_width, *kernel, n_channels)
        outputs = gradient.permute(0, 2, 3, 1).reshape(-1, n_filters)
        weight_gradient = outputs.T @ windows.reshape(len(outputs), -1)
        weight_gradient = weight_gradient.reshape(n_filters, *kernel, n_channels).permute(0, 3, 1, 2)
        bias_gradient = outputs.sum(dim=0) if ctx.needs_input_grad[2] else None
        return images_gradient, weight_gradient, bias_gradient, None, None
