"""Augmentation: a recipe for a module that alters clips at random, in batches and on their device."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Annotated

import torch
from scipy.fft import next_fast_len
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import nn
from torch.nn import functional as F

from .._constraints import SHARE, Constrained, Each
from .._generators import redirect_draws
from .._ranks import own_ranks
from .frontends import without_autocast

AMOUNT = Interval(Real, 0, 100, closed="left")  # in dB, semitones or seconds; 0 switches an effect off
LEVELS = Each(Interval(Real, -100, 100, closed="both"), least=2, most=2)  # (lowest, highest) in dB
EQUALIZATION_POINTS = 5
ECHO_LEVELS = -20, -5  # energy of an echo relative to the direct sound, in dB
NOISE_CORNER = 50  # Hz; noise is flat below it, or brown noise would have most of its power below hearing
SOUNDING = 1e-3  # amplitude relative to the peak of a clip, above which it sounds: -60 dB


@dataclass(repr=False, eq=False)
class Augmentation(Constrained, BaseEstimator):
    """Recipe for the noise, rooms and microphones that alter what the context hears.

    The context hears an altered past and predicts the clean future, so that embeddings keep what survives
    the alterations [1]_. Every clip gets its own draw, anew for each batch, by the estimator's ``random_state``.
    Every effect is off by default, and effects that are off cost nothing. They apply in the order of a
    recording: the source (``pitch``), the room (``reverb``), the microphone (``equalization``,
    ``band_mask``, ``gain``), other sounds (``mixing``, ``noise``) and lost samples (``time_mask``).

    Parameters
    ----------
    gain : float, default=0.0
        Largest change of level, in dB: each clip is multiplied by a gain uniform in ``[-gain, gain]`` dB.
        Typically 6 to 12. It has no effect on encoders that standardise their input.
    equalization : float, default=0.0
        Standard deviation, in dB, of a smooth random frequency response: normal values at five points
        evenly spaced on the mel scale, joined by straight lines. Zero phase. Typically 3 to 6.
    noise : (float, float), default=None
        Lowest and highest signal-to-noise ratio, in dB, of added Gaussian noise. Its power falls by between
        0 (white) and 6 dB (brown) per octave above 50 Hz. The signal level is measured where the clip
        sounds, without padding. Typically (5, 20).
    mixing : (float, float), default=None
        Lowest and highest attenuation, in dB, of another clip of the batch that is added, relative to that
        clip's own level. A batch of one clip does not change. Typically (5, 20).
    reverb : float, default=0.0
        Longest reverberation time (RT60), in seconds: each clip is convolved with a click followed by
        decaying noise. The noise decays by 60 dB in a time uniform up to this value, and its energy is 20
        to 5 dB below that of the click. Typically 0.3 (a living room) to 1 (a hall).
    pitch : float, default=0.0
        Largest shift, in semitones: each clip is played faster or slower by a factor ``2 ** (shift / 12)``
        around its centre, so that pitch and tempo change together. Slower clips lose their ends. Faster
        clips have silent ends, and their highest frequencies alias. Typically 1 to 3.
    time_mask : float, default=0.0
        Largest share of a clip, below 1, that is silenced: one stretch at a random position, of a length
        uniform from 0. Typically 0.1 to 0.3.
    band_mask : float, default=0.0
        Largest share of the mel scale, below 1, that is removed: one band at a random position, of a width
        uniform from 0. Typically 0.1 to 0.3.

    References
    ----------
    .. [1] E. Kharitonov et al., "Data Augmenting Contrastive Learning of Speech Representations in the Time
       Domain", SLT 2021, https://arxiv.org/abs/2007.00991

    Examples
    --------
    >>> augment = Augmentation(pitch=2, reverb=0.5, noise=(5, 20))(sample_rate=16000)
    >>> augment(torch.zeros(4, 32000)).shape
    torch.Size([4, 32000])
    """

    _: KW_ONLY
    gain: Annotated[float, AMOUNT] = 0.0
    equalization: Annotated[float, AMOUNT] = 0.0
    noise: Annotated[Sequence[float] | None, LEVELS, None] = None
    mixing: Annotated[Sequence[float] | None, LEVELS, None] = None
    reverb: Annotated[float, AMOUNT] = 0.0
    pitch: Annotated[float, AMOUNT] = 0.0
    time_mask: Annotated[float, SHARE] = 0.0
    band_mask: Annotated[float, SHARE] = 0.0

    def __call__(self, sample_rate):
        """Build the module.

        Parameters
        ----------
        sample_rate : int
            Rate of the samples, in Hz.

        Returns
        -------
        nn.Module
            Maps (batch, n_samples) to the same shape; in evaluation mode, returns its input.

        Raises
        ------
        ValueError
            If a parameter is out of range, or the two levels of ``noise`` or ``mixing`` are out of order.
        """
        self._validate_params()
        for name, levels in (("noise", self.noise), ("mixing", self.mixing)):
            if levels and levels[0] > levels[1]:
                raise ValueError(f"{name}={levels!r} must be (lowest, highest) in dB, in this order.")
        filters = self.equalization, self.band_mask
        effects = [
            (shift_pitch, self.pitch),
            (add_echo, self.reverb),
            (filter_spectrum, filters if any(filters) else None),
            (change_level, self.gain),
            (mix_clips, self.mixing),
            (add_noise, self.noise),  # relative to the level that the effects before have left
            (mask_time, self.time_mask),  # last, so that nothing fills the silence
        ]
        return Augmenter([(effect, amount) for effect, amount in effects if amount], sample_rate)


class Augmenter(nn.Module):
    """Apply effects, pairs of a function and its amount, in this order, in training only and without gradient."""

    def __init__(self, effects, sample_rate):
        super().__init__()
        self.effects, self.sample_rate = effects, sample_rate

    @torch.no_grad()
    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        if not self.training:
            return clips
        # Autocast is off: bfloat16 is too coarse for samples and spectra.
        with without_autocast(clips.device), redirect_draws():
            for effect, amount in self.effects:
                clips = effect(clips, amount, self.sample_rate)
        return clips


def shift_pitch(clips, semitones, _sample_rate):
    """Play each clip faster or slower around its centre, by up to so many semitones."""
    n_samples = clips.shape[1]
    speed = 2 ** (uniform(clips, -semitones, semitones).double() / 12)
    # In float32, positions late in a long clip would be too coarse to interpolate between samples.
    time = torch.arange(n_samples, dtype=torch.float64, device=clips.device)
    centre = (n_samples - 1) / 2
    padded = F.pad(clips, (1, 2))  # a zero for position -1, two for n_samples and its neighbour
    position = ((time - centre) * speed).add_(centre + 1).clamp_(0, n_samples + 1)  # in the padded clip
    before = position.long()
    fraction = position.sub_(before).to(clips.dtype)
    return padded.gather(1, before).lerp(padded.gather(1, before + 1), fraction)


def add_echo(clips, longest, sample_rate):
    """Add to each clip its echo in a room: noise that decays by 60 dB in up to so many seconds."""
    n_samples = clips.shape[1]
    length = min(n_samples, int(longest * sample_rate) + 1)
    time = torch.arange(length, dtype=clips.dtype, device=clips.device) / sample_rate
    reverberation_time = uniform(clips, longest, 0)  # never 0, since rand is never 1
    tail = clips.new_empty(len(clips), length).normal_() * from_decibels(-60 * time / reverberation_time)
    tail[:, 0] = 0  # the time of the direct sound
    norm = torch.linalg.vector_norm(tail, dim=1, keepdim=True).clamp_min(1e-9)  # 0 if it decays within a sample
    tail = tail * (from_decibels(uniform(clips, *ECHO_LEVELS)) / norm)
    n_fft = next_fast_len(n_samples + length, real=True)
    echo = torch.fft.irfft(torch.fft.rfft(clips, n_fft) * torch.fft.rfft(tail, n_fft), n_fft)
    return clips + echo[:, :n_samples]


def filter_spectrum(clips, amounts, sample_rate):
    """Equalize each clip by levels of a standard deviation in dB, and remove a band of up to a share in mel."""
    equalization, band_mask = amounts
    n_samples = clips.shape[1]
    # Zero-phase filters ring before and after a sound: 0.1 s of padding keeps that from wrapping around.
    n_fft = next_fast_len(n_samples + sample_rate // 10, real=True)
    hertz = torch.arange(n_fft // 2 + 1, dtype=clips.dtype, device=clips.device) * (sample_rate / n_fft)
    mel = torch.log1p(hertz / 700) / math.log1p(sample_rate / 1400)  # from 0 to 1
    spectrum = torch.fft.rfft(clips, n_fft)
    if equalization:
        points = torch.linspace(0, 1, EQUALIZATION_POINTS, dtype=mel.dtype, device=mel.device)[:, None]
        interpolation = (1 - (mel - points).abs() * (EQUALIZATION_POINTS - 1)).clamp_min(0)
        levels = equalization * clips.new_empty(len(clips), EQUALIZATION_POINTS).normal_()
        spectrum = spectrum * from_decibels(levels @ interpolation)
    if band_mask:
        width = uniform(clips, 0, band_mask)
        start = uniform(clips, 0, 1) * (1 - width)
        spectrum = spectrum * ((mel < start) | (mel >= start + width)).to(mel.dtype)
    return torch.fft.irfft(spectrum, n_fft)[:, :n_samples]


def change_level(clips, gain, _sample_rate):
    """Change the level of each clip by up to a gain in dB."""
    return clips * from_decibels(uniform(clips, -gain, gain))


def mix_clips(clips, attenuations, _sample_rate):
    """Add to each clip another one of the batch, attenuated by between two levels in dB."""
    ranks = own_ranks()
    n_clips, first = (ranks.n_clips, ranks.first) if ranks else (len(clips), 0)
    if n_clips < 2:
        return clips
    row = torch.arange(len(clips), device=clips.device)
    shift = torch.empty_like(row).random_(1, n_clips)  # 0 would add a clip to itself
    other = (first + row + shift) % n_clips
    others = ranks.take(clips, other) if ranks else clips[other]
    return clips + others * from_decibels(-uniform(clips, *attenuations))


def add_noise(clips, ratios, sample_rate):
    """Add Gaussian noise, white to brown, at a signal-to-noise ratio between two in dB."""
    n_samples = clips.shape[1]
    n_fft = next_fast_len(n_samples, real=True)
    hertz = torch.arange(n_fft // 2 + 1, dtype=clips.dtype, device=clips.device) * (sample_rate / n_fft)
    octaves = torch.log2(hertz.clamp_min(NOISE_CORNER) / NOISE_CORNER)
    response = torch.exp2(-octaves * uniform(clips, 0, 1))  # 0 to 6 dB per octave
    # Drawing the spectrum itself saves a Fourier transform.
    spectrum = torch.view_as_complex(clips.new_empty(len(clips), n_fft // 2 + 1, 2).normal_()) * response
    noise = torch.fft.irfft(spectrum, n_fft, norm="ortho")[:, :n_samples]
    noise_level = torch.linalg.vector_norm(noise, dim=1, keepdim=True) / math.sqrt(n_samples)
    # Padding is not always exactly zero, because filters ring and Fourier transforms round.
    size = clips.abs()
    n_sounding = (size > SOUNDING * size.amax(dim=1, keepdim=True)).sum(dim=1, keepdim=True)
    level = torch.linalg.vector_norm(clips, dim=1, keepdim=True) / n_sounding.clamp_min(1).to(clips.dtype).sqrt()
    return clips + noise * (level * from_decibels(-uniform(clips, *ratios)) / noise_level)


def mask_time(clips, share, _sample_rate):
    """Silence one stretch of each clip, up to a share of its length."""
    n_samples = clips.shape[1]
    length = (uniform(clips, 0, share) * n_samples).floor()
    start = (uniform(clips, 0, 1) * (n_samples - length + 1)).floor()
    time = torch.arange(n_samples, dtype=clips.dtype, device=clips.device)
    return clips.masked_fill((time >= start) & (time < start + length), 0)


def uniform(clips, low, high):
    """Draw a number for each clip, uniform from low (included) to high (not), of shape (batch, 1)."""
    return low + (high - low) * clips.new_empty(len(clips), 1).uniform_()


def from_decibels(decibels):
    """Convert levels in dB to factors of the amplitude."""
    return torch.exp2(decibels * (math.log2(10) / 20))
