"""Encoders: recipes that build a network from samples to one embedding z per step."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from .._constraints import N_FFT, N_MELS, SAMPLE_RATE, SHARE, UNITS, Constrained, Each
from .._generators import Dropout, Dropout2d
from .convolutions import Conv1d, Conv2d, Flatten
from .frontends import BandStandardizer, LogMel, Scale


class PerWindow(nn.Module):
    """Cut a clip into ``n_steps`` windows of equal length and apply a network to each.

    The network maps windows of shape (batch, 1, length) to (batch, z_dim). With a ``spectrogram``, which maps
    (batch, n_samples) to (batch, n_mels, n_frames), windows have the shape (batch, 1, n_mels, length). Without a
    ``length``, in samples or frames, windows are as long as fits. The rest of the clip is not used.
    """

    def __init__(self, network, n_steps, spectrogram=None, length=None):
        super().__init__()
        self.network, self.n_steps, self.spectrogram, self.length = network, n_steps, spectrogram, length

    def forward(self, samples):
        """Map (batch, n_samples) to (batch, n_steps, z_dim)."""
        signal = samples if self.spectrogram is None else self.spectrogram(samples)
        length = self.length or signal.shape[-1] // self.n_steps
        windows = signal[..., : self.n_steps * length].unflatten(-1, (self.n_steps, length)).movedim(-2, 1)
        return self.network(windows.flatten(0, 1)[:, None]).reshape(samples.shape[0], self.n_steps, -1)


class EncoderRecipe(Constrained, BaseEstimator):
    """Base class of the recipes."""

    _z_is_convolved = False  # whether the last convolution yields z, so that z_dim is its number of filters

    def __call__(self, n_samples, n_steps):
        """Build the network.

        Parameters
        ----------
        n_samples, n_steps : int
            Samples and steps of a clip.

        Returns
        -------
        nn.Module
            Maps (batch, n_samples) to (batch, n_steps, z_dim); that of LogMelEncoder maps clips of other
            lengths too.

        Raises
        ------
        ValueError
            If a parameter is out of range, parameters contradict each other, or the clip is too short for them.
        """
        self._validate_params()
        if len(self.kernel_sizes) != len(self.strides):
            raise ValueError(
                f"kernel_sizes={self.kernel_sizes} and strides={self.strides} must have the same length, one "
                "entry per convolution."
            )
        n_filters, n_entries = self.n_filters, len(self.strides) - self._z_is_convolved
        n_filters = [n_filters] * n_entries if isinstance(n_filters, Integral) else list(n_filters)
        if len(n_filters) != n_entries:
            but = " but the last" if self._z_is_convolved else ""
            raise ValueError(f"n_filters={n_filters} must have {n_entries} entries, one per convolution{but}.")
        n_filters += [self.z_dim] * self._z_is_convolved
        return self._build(n_samples, n_steps, list(zip(n_filters, self.kernel_sizes, self.strides, strict=True)))


@dataclass(repr=False, eq=False)
class Conv1dEncoder(EncoderRecipe):
    """Recipe for the report's 1-D convolutional encoder over raw samples (section 2.2.2, Table 1).

    Each step of the clip is one window of raw samples. The network has five strided convolutions with batch
    normalisation and leaky ReLU, then two stacks of dropout and a dense layer with leaky ReLU.
    With the defaults and the report's clip (4 s, 30 steps of 588 samples) it has 5,654,784 weights,
    including the running statistics of batch normalisation.

    Parameters
    ----------
    n_filters : int or tuple of int, default=512
        Filters of each convolution (Table 1). An int applies to all of them.
    kernel_sizes : tuple of int, default=(10, 8, 4, 4, 4)
        Kernel of each convolution, in samples of its input (Table 1).
    strides : tuple of int, default=(5, 4, 2, 2, 2)
        Stride of each convolution (Table 1).
    dense_units : int, default=512
        Width of the dense layer before the output.
    z_dim : int, default=256
        Size of the embedding of one step (Table 1).
    sample_rate : int, default=4410
        Rate in Hz at which recordings are read (section 2.2.1).
    dropout : float, default=0.1
        Dropout before each dense layer (section 2.2.2).

    Examples
    --------
    >>> encoder = Conv1dEncoder()(n_samples=17640, n_steps=30)
    >>> encoder(torch.zeros(2, 17640)).shape
    torch.Size([2, 30, 256])
    """

    n_filters: Annotated[int | Sequence[int], UNITS, Each(UNITS)] = 512
    kernel_sizes: Annotated[Sequence[int], Each(UNITS)] = (10, 8, 4, 4, 4)
    strides: Annotated[Sequence[int], Each(UNITS)] = (5, 4, 2, 2, 2)
    dense_units: Annotated[int, UNITS] = 512
    z_dim: Annotated[int, UNITS] = 256
    sample_rate: Annotated[int, SAMPLE_RATE] = 4410
    dropout: Annotated[float, SHARE] = 0.1

    def _build(self, n_samples, n_steps, convolutions):
        window = n_samples // n_steps
        reach, spacing = 1, 1  # samples behind one output, and from one output to the next
        for _, kernel, stride in convolutions:
            reach, spacing = reach + (kernel - 1) * spacing, spacing * stride
        if window < reach:
            raise ValueError(
                f"windows have {window} samples ({n_samples} samples in {n_steps} steps) but the encoder needs "
                f"at least {reach}; use longer clips, fewer steps, smaller kernels or smaller strides."
            )
        layers: list[nn.Module] = []
        channels, length = 1, window
        for filters, kernel, stride in convolutions:
            layers.append(Conv1d(channels, filters, kernel, stride))
            layers += [nn.BatchNorm1d(filters), nn.LeakyReLU(inplace=True)]
            channels, length = filters, (length - kernel) // stride + 1
        layers += [nn.Flatten(), Dropout(self.dropout)]
        layers += [nn.Linear(channels * length, self.dense_units), nn.LeakyReLU(), Dropout(self.dropout)]
        layers += [nn.Linear(self.dense_units, self.z_dim), nn.LeakyReLU()]
        return PerWindow(nn.Sequential(*layers), n_steps)


@dataclass(repr=False, eq=False)
class Conv2dEncoder(EncoderRecipe):
    """Recipe for the report's 2-D convolutional encoder over log-mel windows (section 2.2.2, Table 2).

    The hop of the spectrogram is computed from the clip so that every step is a square window of
    ``n_mels`` bands by ``n_mels`` frames (section 2.2.1). The hop is a whole number of samples: 46 for the
    report's clip. If clips are so short that it is below 10, windows drift away from their steps. The
    network has four 3 x 3 convolutions of stride 2, each with spatial dropout and leaky ReLU, then a dense
    layer and the output. With the defaults and the report's clip (4 s, 30 steps) it has 5,672,832 weights.

    Parameters
    ----------
    n_filters : int or tuple of int, default=(32, 64, 256, 512)
        Filters of each convolution (Table 2). An int applies to all of them.
    kernel_sizes : tuple of int, default=(3, 3, 3, 3)
        Kernel of each convolution; odd, padded so that only the stride shrinks the image (Table 2).
    strides : tuple of int, default=(2, 2, 2, 2)
        Stride of each convolution (Table 2).
    dense_units : int, default=512
        Width of the dense layer before the output.
    z_dim : int, default=256
        Size of the embedding of one step (Table 2).
    n_mels : int, default=64
        Mel bands, and frames per window (section 2.2.1).
    n_fft : int, default=2048
        Length of the Fourier transform, in samples (section 2.2.1).
    sample_rate : int, default=22050
        Rate in Hz at which recordings are read (section 2.1.1).
    standardize : bool, default=True
        Give each band of a clip zero mean and unit variance over time, as the report's implementation
        does. Otherwise decibels are only scaled: -100 dB to -1, 0 dB to 1.
    time_smoothing : float, default=2.0
        Standard deviation, in frames, of the Gaussian that smooths each band over time after standardising
        (the report's implementation); 0 for none. Not used without ``standardize``.
    dropout : float, default=0.1
        Spatial dropout after each convolution and dropout after the dense layer.

    Examples
    --------
    >>> encoder = Conv2dEncoder()(n_samples=88200, n_steps=30)
    >>> encoder(torch.zeros(1, 88200)).shape
    torch.Size([1, 30, 256])
    """

    n_filters: Annotated[int | Sequence[int], UNITS, Each(UNITS)] = (32, 64, 256, 512)
    kernel_sizes: Annotated[Sequence[int], Each(UNITS)] = (3, 3, 3, 3)
    strides: Annotated[Sequence[int], Each(UNITS)] = (2, 2, 2, 2)
    dense_units: Annotated[int, UNITS] = 512
    z_dim: Annotated[int, UNITS] = 256
    n_mels: Annotated[int, N_MELS] = 64
    n_fft: Annotated[int, N_FFT] = 2048
    sample_rate: Annotated[int, SAMPLE_RATE] = 22050
    standardize: Annotated[bool, "boolean"] = True
    time_smoothing: Annotated[float, Interval(Real, 0, 4096, closed="both")] = 2.0
    dropout: Annotated[float, SHARE] = 0.1

    def _build(self, n_samples, n_steps, convolutions):
        if any(kernel % 2 == 0 for kernel in self.kernel_sizes):
            raise ValueError(f"kernel_sizes={self.kernel_sizes} must all be odd.")
        n_frames = n_steps * self.n_mels
        if n_samples < n_frames:
            raise ValueError(
                f"clips have {n_samples} samples but {n_steps} windows of {self.n_mels} frames need at least "
                f"{n_frames}; use longer clips, fewer steps or fewer mel bands."
            )
        hop = round(n_samples / n_frames)
        # The last frame needs samples up to its centre. If the hop was rounded up, the clip may lack a few.
        n_padded = max(0, (n_frames - 1) * hop - n_samples)
        log_mel = LogMel(self.sample_rate, self.n_fft, hop, self.n_mels)
        scale = BandStandardizer(self.time_smoothing) if self.standardize else Scale()
        spectrogram = nn.Sequential(nn.ConstantPad1d((0, n_padded), 0.0), log_mel, scale)
        layers: list[nn.Module] = []
        channels, size = 1, self.n_mels
        for filters, kernel, stride in convolutions:
            layers.append(Conv2d(channels, filters, kernel, stride, padding=kernel // 2))
            layers += [Dropout2d(self.dropout, inplace=True), nn.LeakyReLU(inplace=True)]
            channels, size = filters, -(-size // stride)
        layers += [Flatten(), nn.Linear(channels * size * size, self.dense_units), nn.LeakyReLU()]
        layers += [Dropout(self.dropout), nn.Linear(self.dense_units, self.z_dim), nn.LeakyReLU()]
        # Weights with channels last make images channels last, which is faster.
        network = convert_conv2d_weight_memory_format(nn.Sequential(*layers), torch.channels_last)
        return PerWindow(network, n_steps, spectrogram, self.n_mels)
