"""Encoders: recipes that build a network from samples to one embedding z per step."""

from collections.abc import Sequence
from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_scalar
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from .convolutions import Conv1d, Conv2d, Flatten
from .frontends import BandStandardizer, LogMel, Scale


class PerWindow(nn.Module):
    """Apply a network to each of the equal windows a clip is cut into.

    Parameters
    ----------
    network : nn.Module
        Maps windows of shape (batch, 1, n_samples // n_steps) to (batch, z_dim).
    n_steps : int
        Windows per clip. Samples left over at the end of the clip are not used.

    Examples
    --------
    >>> encoder = PerWindow(nn.Sequential(nn.Flatten(), nn.Linear(100, 8)), n_steps=30)
    >>> encoder(torch.zeros(4, 3000)).shape
    torch.Size([4, 30, 8])
    """

    def __init__(self, network, n_steps):
        super().__init__()
        self.network, self.n_steps = network, n_steps

    def forward(self, samples):
        """Map (batch, n_samples) to (batch, n_steps, z_dim)."""
        batch, n_samples = samples.shape
        window = n_samples // self.n_steps
        windows = samples[:, : self.n_steps * window].reshape(batch * self.n_steps, 1, window)
        return self.network(windows).reshape(batch, self.n_steps, -1)


class MelWindows(nn.Module):
    """Cut a log-mel spectrogram into image windows and apply a network to each.

    Parameters
    ----------
    spectrogram : nn.Module
        Maps samples of shape (batch, n_samples) to (batch, n_mels, n_frames).
    network : nn.Module
        Maps windows of shape (batch, 1, n_mels, window_frames) to (batch, z_dim).
    n_steps, window_frames : int
        Windows per clip and frames per window; a clip has at least ``n_steps * window_frames`` frames.
    n_padded : int, default=0
        Samples of silence added to the end of a clip before the spectrogram.
    """

    def __init__(self, spectrogram, network, n_steps, window_frames, n_padded=0):
        super().__init__()
        self.spectrogram, self.network = spectrogram, network
        self.n_steps, self.window_frames, self.n_padded = n_steps, window_frames, n_padded

    def forward(self, samples):
        """Map (batch, n_samples) to (batch, n_steps, z_dim)."""
        batch = len(samples)
        mel = self.spectrogram(nn.functional.pad(samples, (0, self.n_padded)))  # (batch, n_mels, n_frames)
        mel = mel[:, :, : self.n_steps * self.window_frames]
        windows = mel.unflatten(2, (self.n_steps, self.window_frames)).transpose(1, 2)
        windows = windows.reshape(batch * self.n_steps, 1, mel.shape[1], self.window_frames)
        return self.network(windows).reshape(batch, self.n_steps, -1)


class Conv1dEncoder(BaseEstimator):
    """Recipe of the report's 1-D convolutional encoder over raw samples (section 2.2.2, Table 1).

    Each step of the clip is one window of raw samples. Five strided convolutions with batch
    normalisation and leaky ReLU, then two stacks of dropout and a dense layer with leaky ReLU.
    With the defaults and the report's clip (4 s, 30 steps of 588 samples) it has 5,654,784 weights,
    counting batch normalisation's running statistics.

    Parameters
    ----------
    n_filters : int, default=512
        Filters of every convolution (Table 1).
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

    See Also
    --------
    Conv2dEncoder : 2-D convolutions over log-mel windows.

    Examples
    --------
    >>> encoder = Conv1dEncoder()(n_samples=17640, n_steps=30)
    >>> encoder(torch.zeros(2, 17640)).shape
    torch.Size([2, 30, 256])
    """

    def __init__(
        self,
        n_filters=512,
        kernel_sizes=(10, 8, 4, 4, 4),
        strides=(5, 4, 2, 2, 2),
        dense_units=512,
        z_dim=256,
        sample_rate=4410,
        dropout=0.1,
    ):
        self.n_filters = n_filters
        self.kernel_sizes = kernel_sizes
        self.strides = strides
        self.dense_units = dense_units
        self.z_dim = z_dim
        self.sample_rate = sample_rate
        self.dropout = dropout

    def __call__(self, n_samples, n_steps):
        """Build the network.

        Parameters
        ----------
        n_samples : int
            Samples of a clip.
        n_steps : int
            Steps to cut it into.

        Returns
        -------
        nn.Module
            Maps (batch, n_samples) to (batch, n_steps, z_dim).

        Raises
        ------
        ValueError
            If a parameter is out of range or a window is shorter than the convolutions reach.
        """
        self._check()
        window = n_samples // n_steps
        reach, step = 1, 1
        for kernel, stride in zip(self.kernel_sizes, self.strides, strict=True):
            reach, step = reach + (kernel - 1) * step, step * stride
        if window < reach:
            raise ValueError(
                f"windows have {window} samples ({n_samples} samples in {n_steps} steps) but the encoder needs "
                f"at least {reach}; use longer clips, fewer steps, smaller kernels or smaller strides."
            )
        layers: list[nn.Module] = []
        channels, length = 1, window
        for kernel, stride in zip(self.kernel_sizes, self.strides, strict=True):
            layers += [
                Conv1d(channels, self.n_filters, kernel, stride),
                nn.BatchNorm1d(self.n_filters),
                nn.LeakyReLU(inplace=True),
            ]
            channels, length = self.n_filters, (length - kernel) // stride + 1
        layers += [nn.Flatten(), nn.Dropout(self.dropout)]
        layers += [nn.Linear(channels * length, self.dense_units), nn.LeakyReLU(), nn.Dropout(self.dropout)]
        layers += [nn.Linear(self.dense_units, self.z_dim), nn.LeakyReLU()]
        return PerWindow(nn.Sequential(*layers), n_steps)

    def _check(self):
        check_counts(self, "n_filters", "dense_units", "z_dim", "sample_rate")
        check_dropout(self)
        check_layers(self, "kernel_sizes", "strides")
        if len(self.kernel_sizes) != len(self.strides):
            raise ValueError(
                f"kernel_sizes={self.kernel_sizes} and strides={self.strides} must have the same length, one "
                "entry per convolution."
            )


class Conv2dEncoder(BaseEstimator):
    """Recipe of the report's 2-D convolutional encoder over log-mel windows (section 2.2.2, Table 2).

    The hop of the spectrogram is computed from the clip so that every step is a square window of
    ``n_mels`` bands by ``n_mels`` frames (section 2.2.1). It is a whole number of samples, 46 for the
    report's clip: with clips so short that it is below 10, windows drift from their steps. Four 3 x 3
    convolutions of stride 2, each with spatial dropout and leaky ReLU, then a dense layer and the
    output. With the defaults and the report's clip (4 s, 30 steps) it has 5,672,832 weights.

    Parameters
    ----------
    n_filters : tuple of int, default=(32, 64, 256, 512)
        Filters of each convolution (Table 2).
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
    smoothing : float, default=2.0
        Standard deviation, in frames, of the Gaussian smoothing over time after standardising (the
        report's implementation); 0 for none. Not used without ``standardize``.
    dropout : float, default=0.1
        Spatial dropout after each convolution and dropout after the dense layer.

    See Also
    --------
    Conv1dEncoder : 1-D convolutions over raw samples.

    Examples
    --------
    >>> encoder = Conv2dEncoder()(n_samples=88200, n_steps=30)
    >>> encoder(torch.zeros(1, 88200)).shape
    torch.Size([1, 30, 256])
    """

    def __init__(
        self,
        n_filters=(32, 64, 256, 512),
        kernel_sizes=(3, 3, 3, 3),
        strides=(2, 2, 2, 2),
        dense_units=512,
        z_dim=256,
        n_mels=64,
        n_fft=2048,
        sample_rate=22050,
        standardize=True,
        smoothing=2.0,
        dropout=0.1,
    ):
        self.n_filters = n_filters
        self.kernel_sizes = kernel_sizes
        self.strides = strides
        self.dense_units = dense_units
        self.z_dim = z_dim
        self.n_mels = n_mels
        self.n_fft = n_fft
        self.sample_rate = sample_rate
        self.standardize = standardize
        self.smoothing = smoothing
        self.dropout = dropout

    def __call__(self, n_samples, n_steps):
        """Build the network.

        Parameters
        ----------
        n_samples : int
            Samples of a clip.
        n_steps : int
            Steps to cut it into.

        Returns
        -------
        nn.Module
            Maps (batch, n_samples) to (batch, n_steps, z_dim).

        Raises
        ------
        ValueError
            If a parameter is out of range or the clip is too short for the frames asked of it.
        """
        self._check()
        n_frames = n_steps * self.n_mels
        if n_samples < n_frames:
            raise ValueError(
                f"clips have {n_samples} samples but {n_steps} windows of {self.n_mels} frames need at least "
                f"{n_frames}; use longer clips, fewer steps or fewer mel bands."
            )
        hop = round(n_samples / n_frames)
        # Frames are centred, so the last one needs samples up to its centre. Rounding the hop up can
        # ask for a few more than the clip has.
        n_padded = max(0, (n_frames - 1) * hop - n_samples)
        spectrogram = nn.Sequential(
            LogMel(self.sample_rate, self.n_fft, hop, self.n_mels),
            BandStandardizer(self.smoothing) if self.standardize else Scale(),
        )
        return MelWindows(spectrogram, self._network(), n_steps, self.n_mels, n_padded)

    def _network(self):
        layers: list[nn.Module] = []
        channels, size = 1, self.n_mels
        for filters, kernel, stride in zip(self.n_filters, self.kernel_sizes, self.strides, strict=True):
            layers += [
                Conv2d(channels, filters, kernel, stride, padding=kernel // 2),
                nn.Dropout2d(self.dropout, inplace=True),
                nn.LeakyReLU(inplace=True),
            ]
            channels, size = filters, -(-size // stride)
        layers += [Flatten(), nn.Linear(channels * size * size, self.dense_units), nn.LeakyReLU()]
        layers += [nn.Dropout(self.dropout), nn.Linear(self.dense_units, self.z_dim), nn.LeakyReLU()]
        # Where weights lie with their channels last, what is computed from them does too, and is so sooner.
        return convert_conv2d_weight_memory_format(nn.Sequential(*layers), torch.channels_last)

    def _check(self):
        check_counts(self, "dense_units", "z_dim", "n_mels", "n_fft", "sample_rate")
        check_dropout(self)
        check_scalar(self.smoothing, "smoothing", Real, min_val=0)
        check_layers(self, "n_filters", "kernel_sizes", "strides")
        if not len(self.n_filters) == len(self.kernel_sizes) == len(self.strides):
            raise ValueError(
                f"n_filters={self.n_filters}, kernel_sizes={self.kernel_sizes} and strides={self.strides} must "
                "have the same length, one entry per convolution."
            )
        if any(kernel % 2 == 0 for kernel in self.kernel_sizes):
            raise ValueError(f"kernel_sizes={self.kernel_sizes} must all be odd.")


def check_counts(recipe, *names):
    """Raise unless every named parameter of the recipe is a positive integer."""
    for name in names:
        check_scalar(getattr(recipe, name), name, Integral, min_val=1)


def check_layers(recipe, *names):
    """Raise unless every named parameter of the recipe is a sequence of positive integers, one at least."""
    for name in names:
        value = getattr(recipe, name)
        if not isinstance(value, Sequence) or not value:
            raise ValueError(f"{name}={value!r} must be a tuple of positive integers, one per layer.")
        for entry in value:
            check_scalar(entry, name, Integral, min_val=1)


def check_dropout(recipe):
    """Raise unless the recipe's dropout is a probability below 1."""
    check_scalar(recipe.dropout, "dropout", Real, min_val=0, max_val=1, include_boundaries="left")
