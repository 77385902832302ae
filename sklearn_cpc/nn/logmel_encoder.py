"""LogMelEncoder: a small encoder, 1-D convolutions over log-mel frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Annotated

from sklearn.utils._param_validation import Interval
from torch import nn
from torch.nn import functional as F

from .._constraints import N_MELS, POSITIVE, SAMPLE_RATE, SHARE, UNITS, Each, integers
from .._generators import Dropout
from .encoders import EncoderRecipe
from .frontends import BandCentring, LogMel, Scale


@dataclass(repr=False, eq=False)
class LogMelEncoder(EncoderRecipe):
    """Recipe for a small encoder: a few 1-D convolutions over log-mel frames.

    Frames of a mel spectrogram in decibels go through convolutions over time with layer normalisation and GELU.
    The hop from frame to frame is ``n_samples // (n_steps * prod(strides))``: 10 ms with clips of 2 s, 100 steps
    and default strides. It costs a tenth of :class:`Conv2dEncoder` per second of sound, and accepts clips of any
    number of steps, so that short recordings need no padding to a full clip.

    Parameters
    ----------
    n_filters : int or tuple of int, default=256
        Filters of each convolution but the last, which has ``z_dim``. An int applies to all of them.
    kernel_sizes : tuple of int, default=(4, 3, 1)
        Kernel of each convolution, in frames of its input; at least its stride.
    strides : tuple of int, default=(2, 1, 1)
        Stride of each convolution.
    z_dim : int, default=256
        Size of the embedding of one step: filters of the last convolution.
    n_mels : int, default=64
        Mel bands.
    window_duration : float, default=0.032
        Length in seconds of the stretch of sound behind one frame. The Fourier transform rounds it up to a
        power of two in samples, at most 65536.
    sample_rate : int, default=16000
        Rate in Hz at which recordings are read.
    band_smoothing : int, default=5
        Number of neighbouring bands over which the power of each band is averaged, 1 for none. This blurs the
        harmonics of a voice, which depend on the speaker, and keeps its formants, which depend on the words.
    centring : float or None, default=0.5
        Share, 0 to 1, of the clip's long-term spectrum (mean power of every band, in dB) that is subtracted
        from its bands. A larger share removes more of the differences between microphones, rooms and voices,
        but also more of any sound that lasts as long as the clip. 0 removes only the level of the clip, None
        nothing. Unless None, embeddings of the past depend on the entire clip's mean, as in the report.
    dynamic_range : float, default=50.0
        With ``centring``, raise levels that are more than this many dB below the loudest of the clip to that
        limit: they are noise floor rather than sound.
    dropout : float, default=0.0
        Dropout after every convolution.

    See Also
    --------
    Conv1dEncoder : The report's encoder over raw samples.
    Conv2dEncoder : The report's encoder over log-mel images.

    Notes
    -----
    Sizes and strides were chosen on spoken digits and environmental sounds; see the study in the user guide.
    Layer normalisation replaces the report's batch normalisation, with which a network can solve the task by
    other means than prediction (O. Hénaff et al., "Data-Efficient Image Recognition with Contrastive
    Predictive Coding", arXiv:1905.09272).

    Examples
    --------
    >>> import torch
    >>> encoder = LogMelEncoder()(n_samples=32000, n_steps=100)
    >>> encoder(torch.zeros(2, 32000)).shape
    torch.Size([2, 100, 256])
    >>> encoder(torch.zeros(2, 3200)).shape  # a tenth of the clip
    torch.Size([2, 10, 256])
    """

    n_filters: Annotated[int | Sequence[int], UNITS, Each(UNITS, least=0)] = 256
    kernel_sizes: Annotated[Sequence[int], Each(UNITS)] = (4, 3, 1)
    strides: Annotated[Sequence[int], Each(UNITS)] = (2, 1, 1)
    z_dim: Annotated[int, UNITS] = 256
    n_mels: Annotated[int, N_MELS] = 64
    window_duration: Annotated[float, POSITIVE] = 0.032
    sample_rate: Annotated[int, SAMPLE_RATE] = 16000
    band_smoothing: Annotated[int, integers(1, 1024)] = 5
    centring: Annotated[float | None, Interval(Real, 0, 1, closed="both"), None] = 0.5
    dynamic_range: Annotated[float, POSITIVE] = 50.0
    dropout: Annotated[float, SHARE] = 0.0

    _z_is_convolved = True

    def _build(self, n_samples, n_steps, convolutions):
        if any(kernel < stride for _, kernel, stride in convolutions):
            raise ValueError(
                f"kernel_sizes={self.kernel_sizes} must be at least strides={self.strides}, or frames are skipped."
            )
        window = self.window_duration * self.sample_rate
        if not 2 <= window <= 2**16:
            raise ValueError(
                f"window_duration={self.window_duration} s is {window:g} samples at "
                f"sample_rate={self.sample_rate}; it must be between 2 and 65536 samples."
            )
        n_fft = 2 ** math.ceil(math.log2(window))
        stride = math.prod(self.strides)
        hop = n_samples // (n_steps * stride)
        if hop < 1:
            raise ValueError(
                f"clips have {n_samples} samples but {n_steps} steps of {stride} frames need at least "
                f"{n_steps * stride}; use longer clips, fewer steps or smaller strides."
            )
        spectrogram = LogMel(self.sample_rate, n_fft, hop, self.n_mels, self.band_smoothing)
        layers, channels = [], self.n_mels
        # Samples after the end of a step on which its embedding depends: half the Fourier transform, what the
        # convolutions pad on the right, and, with centring, all frames that contain the end of the sound.
        ahead, spacing = n_fft // 2 - hop, hop
        for filters, kernel, step in convolutions:
            layers.append(FrameConv(channels, filters, kernel, step, self.dropout))
            channels = filters
            ahead, spacing = ahead + layers[-1].padding[1] * spacing, spacing * step
        if self.centring is not None:
            ahead = max(ahead, n_fft // 2 + spacing // 2)
        lookahead = math.ceil(max(0, ahead) / spacing)
        scale = Scale() if self.centring is None else BandCentring(self.centring, self.dynamic_range)
        return FrameEncoder(spectrogram, scale, nn.Sequential(*layers), hop, stride, lookahead)


class FrameConv(nn.Module):
    """Convolution over time, layer normalisation of every frame, GELU and dropout.

    The input is padded so that n frames become exactly n / stride. Normalising over the channels of one frame,
    not over time or the batch, keeps the future out of the past and clips independent of each other.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride, dropout):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride)
        self.norm = nn.LayerNorm(out_channels)
        self.dropout = Dropout(dropout)
        missing = kernel_size - stride
        self.padding = missing - missing // 2, missing // 2

    def forward(self, frames):
        """Map (batch, in_channels, n_frames) to (batch, out_channels, n_frames // stride)."""
        frames = self.conv(F.pad(frames, self.padding))
        return self.dropout(F.gelu(self.norm(frames.transpose(1, 2)))).transpose(1, 2)


class FrameEncoder(nn.Module):
    """Map clips of any number of steps to one embedding per step, by convolutions over log-mel frames.

    There are ``hop`` samples from one frame to the next and ``stride`` frames per step. An embedding depends on
    ``lookahead`` later steps. The attribute ``samples_per_step`` marks encoders that take any number of steps.
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
        """Return embeddings and a dict of mel bands (batch, n_steps, n_mels), averaged over each step.

        "mel" are in decibels, "centred" are scaled: the input of the convolutions.
        """
        decibels = self._decibels(samples)
        frames = self.scale(decibels)
        bands = {
            name: values.unflatten(2, (-1, self.stride)).mean(3).transpose(1, 2)
            for name, values in (("mel", decibels), ("centred", frames))
        }
        return self.convolutions(frames).transpose(1, 2), bands

    def _decibels(self, samples):
        n_frames = samples.shape[1] // self.samples_per_step * self.stride
        return self.spectrogram(samples)[:, :, :n_frames]
