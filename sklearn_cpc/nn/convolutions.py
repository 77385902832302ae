"""Convolutions with few outputs, whose gradients would otherwise take most of a step of training."""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

FEW = 16  # outputs of a filter: so many at most, and one product of matrices gives the weights' gradient sooner


class Conv1d(nn.Conv1d):
    """A 1-D convolution that computes gradients of few outputs as matrix products; it does not pad."""

    def forward(self, samples):
        """Map (batch, in_channels, length) to (batch, out_channels, n_outputs)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if samples.shape[2] < kernel + stride:  # the kernel fits once: no convolution at all
            window = samples[:, :, :kernel].flatten(1)
            return F.linear(window, self.weight.flatten(1), self.bias)[:, :, None]
        images, weight = samples[:, :, None], self.weight[:, :, None]
        return convolve(images, weight, self.bias, (1, stride), (0, 0)).squeeze(2)


class Conv2d(nn.Conv2d):
    """A 2-D convolution that computes gradients of few outputs as matrix products."""

    def forward(self, images):
        """Map (batch, in_channels, height, width) to (batch, out_channels, *the size of the outputs*)."""
        return convolve(images, self.weight, self.bias, self.stride, self.padding)


class Flatten(nn.Flatten):
    """Rows of images; their gradient is laid out as the images are, or layers before take many times as long."""

    def forward(self, images):
        """Map (batch, channels, height, width) to (batch, n_features)."""
        if images.requires_grad and images.is_contiguous(memory_format=torch.channels_last):
            images.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return super().forward(images)


def convolve(images, weight, bias, stride, padding):
    """`torch.nn.functional.conv2d`, with gradients as fast as they can be had on a processor."""
    sizes = zip(images.shape[2:], weight.shape[2:], stride, padding, strict=True)
    height, width = ((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in sizes)
    few = images.device.type == "cpu" and height * width <= FEW and weight.requires_grad
    return (FewOutputs.apply if few else F.conv2d)(images, weight, bias, stride, padding)


class FewOutputs(torch.autograd.Function):
    """A 2-D convolution whose weights' gradient is a product of two matrices.

    One has a row for each output of each image, its gradient for every filter; the other has there the pixels that
    the output was computed from.
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
        of_images = None
        if ctx.needs_input_grad[0]:
            of_images = conv2d_input(images.shape, weight, gradient, ctx.stride, ctx.padding)
        n_filters, n_channels, *kernel = weight.shape
        (above, left), (down, right) = ctx.padding, ctx.stride
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, left, left, above, above))
        windows = padded.unfold(1, kernel[0], down).unfold(2, kernel[1], right).permute(0, 1, 2, 4, 5, 3)
        outputs = gradient.permute(0, 2, 3, 1).reshape(-1, n_filters)
        of_weight = outputs.T @ windows.reshape(len(outputs), -1)
        of_weight = of_weight.reshape(n_filters, *kernel, n_channels).permute(0, 3, 1, 2)
        of_bias = outputs.sum(dim=0) if ctx.needs_input_grad[2] else None
        return of_images, of_weight, of_bias, None, None
