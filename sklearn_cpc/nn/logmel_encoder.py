"""LogMelEncoder: a lean encoder, 1-D convolutions over log-mel frames."""

import math
from numbers import Real

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_scalar
from torch import nn
from torch.nn import functional as F

from .encoders import check_counts, check_dropout, check_layers
from .frontends import BandCentring, LogMel, Scale


class FrameConv(nn.Module):
    """Convolution over time, layer normalisation of every frame, GELU and dropout.

    The input is padded so that n frames become exactly n / stride. Normalising over the channels of
    one frame, not over time or the batch, lets nothing of the future into the past (nor of one clip
    into another).
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride, dropout):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride)
        self.norm = nn.LayerNorm(out_channels)
        self.dropout = nn.Dropout(dropout)
        missing = kernel_size - stride
        self.padding = missing - missing // 2, missing // 2

    def forward(self, frames):
        """Map (batch, in_channels, n_frames) to (batch, out_channels, n_frames // stride)."""
        frames = self.conv(F.pad(frames, self.padding))
        return self.dropout(F.gelu(self.norm(frames.transpose(1, 2)))).transpose(1, 2)


class FrameEncoder(nn.Module):
    """Log-mel frames, then convolutions: clips of any number of steps to one embedding per step.

    Parameters
    ----------
    spectrogram : LogMel
        Maps samples of shape (batch, n_samples) to decibels of shape (batch, n_mels, n_frames), one frame
        per ``hop``.
    scale : nn.Module
        Maps decibels to numbers near one, of the same shape.
    convolutions : nn.Module
        Maps (batch, n_mels, n_frames) to (batch, z_dim, n_frames // stride).
    hop : int
        Samples from one frame to the next.
    stride : int
        Frames per step.
    lookahead : int
        Steps after its own that an embedding depends on.

    Attributes
    ----------
    samples_per_step : int
        Samples of one step. That the module has it says that it takes clips of any number of steps.
    lookahead : int
        Steps after its own that an embedding depends on.
    """

    def __init__(self, spectrogram, scale, convolutions, hop, stride, lookahead):
        super().__init__()
        self.spectrogram, self.scale, self.convolutions = spectrogram, scale, convolutions
        self.samples_per_step, self.stride, self.lookahead = hop * stride, stride, lookahead
        self.n_mels = len(spectrogram.mel)

    def forward(self, samples):
        """Map (batch, n_samples) to (batch, n_samples // samples_per_step, z_dim)."""
        return self.convolutions(self.scale(self._decibels(samples))).transpose(1, 2)

    def with_mel(self, samples):
        """Embeddings, and the bands they are made of, as means over a step.

        Returns
        -------
        z : Tensor of shape (batch, n_steps, z_dim)
        bands : dict of {str: Tensor of shape (batch, n_steps, n_mels)}
            "mel": in decibels; "centred": as the convolutions take them.
        """
        decibels = self._decibels(samples)
        frames = self.scale(decibels)
        bands = {"mel": decibels, "centred": frames}
        steps = {
            name: band.unflatten(2, (-1, self.stride)).mean(3).transpose(1, 2) for name, band in bands.items()
        }
        return self.convolutions(frames).transpose(1, 2), steps

    def _decibels(self, samples):
        n_frames = samples.shape[1] // self.samples_per_step * self.stride
        return self.spectrogram(samples)[:, :, :n_frames]


class LogMelEncoder(BaseEstimator):
    """Recipe of a lean encoder: a few 1-D convolutions over log-mel frames.

    Frames of a mel spectrogram in decibels, one every 10 ms or so, go through convolutions over time
    with layer normalisation and GELU. Costs a tenth of :class:`Conv2dEncoder` per second of sound,
    and takes clips of any number of steps, so that short recordings need no padding to the full clip.

    The hop is computed from the clip: ``n_samples / (n_steps * prod(strides))``. With clips of 2 s,
    100 steps and the default strides it is 10 ms.

    Parameters
    ----------
    n_filters : int, default=256
        Filters of every convolution but the last.
    kernel_sizes : tuple of int, default=(4, 3, 1)
        Kernel of each convolution, in frames of its input; at least its stride.
    strides : tuple of int, default=(2, 1, 1)
        Stride of each convolution.
    z_dim : int, default=256
        Size of the embedding of one step: filters of the last convolution.
    n_mels : int, default=64
        Mel bands.
    window_duration : float, default=0.032
        Length in seconds of the stretch of sound behind one frame; rounded up to a power of two in
        samples, for the Fourier transform.
    sample_rate : int, default=16000
        Rate in Hz at which recordings are read.
    smoothing : int, default=5
        Neighbouring bands over which the power of each band is averaged, 1 for none: the harmonics of a voice,
        which tell who speaks, blur; its formants, which tell what is said, stay.
    centring : float or None, default=0.5
        Share of the clip's long-term spectrum (mean power of every band, in dB) that is subtracted from its
        bands, 0 to 1: how much of what differs between microphones, rooms and voices is taken out, and with it
        of what lasts as long as the clip. With 0 only its level is, with None nothing. (So the past knows the
        mean of the whole clip, as it does with the report's spectrograms.)
    dynamic_range : float, default=50.0
        With ``centring``: levels that lie more than this many dB below the loudest of the clip are raised
        to there. They are noise floor rather than sound.
    dropout : float, default=0.0
        Dropout after every convolution.

    See Also
    --------
    Conv1dEncoder : The report's encoder over raw samples.
    Conv2dEncoder : The report's encoder over log-mel images.

    Notes
    -----
    Sizes and strides were found on spoken digits and environmental sounds; see the study in the user
    guide. Layer normalisation instead of the report's batch normalisation, because batch statistics
    let a network solve the contrastive task by other means than prediction (O. Hénaff et al.,
    "Data-Efficient Image Recognition with Contrastive Predictive Coding", arXiv:1905.09272).

    Examples
    --------
    >>> import torch
    >>> encoder = LogMelEncoder()(n_samples=32000, n_steps=100)
    >>> encoder(torch.zeros(2, 32000)).shape
    torch.Size([2, 100, 256])
    >>> encoder(torch.zeros(2, 3200)).shape  # a tenth of the clip
    torch.Size([2, 10, 256])
    """

    def __init__(
        self,
        n_filters=256,
        kernel_sizes=(4, 3, 1),
        strides=(2, 1, 1),
        z_dim=256,
        n_mels=64,
        window_duration=0.032,
        sample_rate=16000,
        smoothing=5,
        centring=0.5,
        dynamic_range=50.0,
        dropout=0.0,
    ):
        self.n_filters = n_filters
        self.kernel_sizes = kernel_sizes
        self.strides = strides
        self.z_dim = z_dim
        self.n_mels = n_mels
        self.window_duration = window_duration
        self.sample_rate = sample_rate
        self.smoothing = smoothing
        self.centring = centring
        self.dynamic_range = dynamic_range
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
            Maps (batch, n_samples) to (batch, n_steps, z_dim), for clips of other lengths too.

        Raises
        ------
        ValueError
            If a parameter is out of range or the clip has fewer samples than frames.
        """
        self._check()
        stride = math.prod(self.strides)
        hop = n_samples // (n_steps * stride)
        if hop < 1:
            raise ValueError(
                f"clips have {n_samples} samples but {n_steps} steps of {stride} frames need at least "
                f"{n_steps * stride}; use longer clips, fewer steps or smaller strides."
            )
        n_fft = 2 ** math.ceil(math.log2(self.window_duration * self.sample_rate))
        spectrogram = LogMel(self.sample_rate, n_fft, hop, self.n_mels, self.smoothing)
        widths = [self.n_mels] + [self.n_filters] * (len(self.strides) - 1) + [self.z_dim]
        layers = zip(widths[:-1], widths[1:], self.kernel_sizes, self.strides, strict=True)
        convolutions = [FrameConv(*layer, self.dropout) for layer in layers]
        # Samples ahead of a step's end: half the Fourier transform, and what the convolutions pad on the right.
        ahead, spacing = n_fft // 2 - hop, hop
        for convolution in convolutions:
            ahead += convolution.padding[1] * spacing
            spacing *= convolution.conv.stride[0]
        if self.centring is not None:  # frames that still hear the end of the sound enter the mean
            ahead = max(ahead, n_fft // 2 + spacing // 2)
        lookahead = math.ceil(max(0, ahead) / spacing)
        scale = Scale() if self.centring is None else BandCentring(self.centring, self.dynamic_range)
        return FrameEncoder(spectrogram, scale, nn.Sequential(*convolutions), hop, stride, lookahead)

    def _check(self):
        check_counts(self, "n_filters", "z_dim", "n_mels", "smoothing", "sample_rate")
        if self.centring is not None:
            check_scalar(self.centring, "centring", Real, min_val=0, max_val=1)
        check_dropout(self)
        check_scalar(self.dynamic_range, "dynamic_range", Real, min_val=0, include_boundaries="neither")
        check_scalar(self.window_duration, "window_duration", Real, min_val=0, include_boundaries="neither")
        if self.window_duration * self.sample_rate < 2:
            raise ValueError(
                f"window_duration={self.window_duration} s is less than 2 samples "
                f"at sample_rate={self.sample_rate}; make it longer."
            )
        check_layers(self, "kernel_sizes", "strides")
        if len(self.kernel_sizes) != len(self.strides):
            raise ValueError(
                f"kernel_sizes={self.kernel_sizes} and strides={self.strides} must have the same length, one "
                "entry per convolution."
            )
        if any(kernel < stride for kernel, stride in zip(self.kernel_sizes, self.strides, strict=True)):
            raise ValueError(
                f"kernel_sizes={self.kernel_sizes} must be at least strides={self.strides}, or frames are skipped."
            )
