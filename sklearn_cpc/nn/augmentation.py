"""Augmentation: a recipe that builds a module which alters clips at random, in batch and on the device."""

import math
from numbers import Real

import torch
from scipy.fft import next_fast_len
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_scalar
from torch import nn
from torch.nn import functional as F


class Augmentation(BaseEstimator):
    """Recipe of the noise, rooms and microphones that the context is to hear through.

    The clean future is predicted from an altered past, so that embeddings keep what survives the
    alterations [1]_. Every clip gets its own draw from torch's default generator, anew for each batch.
    Everything is off by default, and only what is switched on takes time. The effects apply in the order
    of a recording: the source (``pitch``), the room (``reverb``), the microphone (``equalization``,
    ``band_mask``, ``gain``), other sounds (``mixing``, ``noise``), and the drop-out of all (``time_mask``).

    Parameters
    ----------
    gain : float, default=0.0
        Largest change of level, in dB: each clip is multiplied by a gain uniform in ``[-gain, gain]`` dB.
        Typically 6 to 12. Encoders that standardise their input do not hear it.
    equalization : float, default=0.0
        Standard deviation, in dB, of a smooth random frequency response: normal values at five points
        evenly spaced on the mel scale, joined by straight lines. Zero phase. Typically 3 to 6.
    noise : (float, float), default=None
        Lowest and highest signal-to-noise ratio, in dB, of added Gaussian noise, whose power falls off by
        between 0 (white) and 6 dB (brown) per octave above 50 Hz. The signal is what sounds in the clip:
        padding does not count. Typically (5, 20).
    mixing : (float, float), default=None
        Lowest and highest attenuation, in dB, of another clip of the batch that is added; it is relative to
        that clip's own level. A batch of one clip stays as it is. Typically (5, 20).
    reverb : float, default=0.0
        Longest reverberation time (RT60), in seconds: each clip is convolved with a click followed by noise
        that decays by 60 dB in a time uniform up to this and whose energy is 20 to 5 dB below the click's.
        Typically 0.3 (a living room) to 1 (a hall).
    pitch : float, default=0.0
        Largest shift, in semitones: each clip is played faster or slower by a factor ``2 ** (shift / 12)``
        around its centre, so that pitch and tempo change together. Slower loses the ends of the clip, faster
        leaves silence there and folds the topmost frequencies down. Typically 1 to 3.
    time_mask : float, default=0.0
        Largest share of a clip, below 1, that is silenced: one stretch at a random place, its length uniform
        from 0. Typically 0.1 to 0.3.
    band_mask : float, default=0.0
        Largest share of the mel scale, below 1, that is removed: one band at a random place, its width
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

    def __init__(
        self,
        *,
        gain=0.0,
        equalization=0.0,
        noise=None,
        mixing=None,
        reverb=0.0,
        pitch=0.0,
        time_mask=0.0,
        band_mask=0.0,
    ):
        self.gain = gain
        self.equalization = equalization
        self.noise = noise
        self.mixing = mixing
        self.reverb = reverb
        self.pitch = pitch
        self.time_mask = time_mask
        self.band_mask = band_mask

    def __call__(self, sample_rate):
        """Build the module.

        Parameters
        ----------
        sample_rate : int
            Rate of the samples, in Hz.

        Returns
        -------
        nn.Module
            Maps (batch, n_samples) to the same shape; returns the clips as they are in eval mode.

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range.
        """
        check_amounts(self, "gain", "equalization", "reverb", "pitch")
        check_amounts(self, "time_mask", "band_mask", below=1)
        check_ranges(self, "noise", "mixing")
        responses = [(Equalization, self.equalization), (BandStop, self.band_mask)]
        effects = [
            (Pitch, self.pitch),
            (Reverb, self.reverb),
            (Filter, switched_on(responses, sample_rate)),
            (Gain, self.gain),
            (Mixing, self.mixing),
            (Noise, self.noise),  # after all that changes the level, so that the ratio is the one heard
            (TimeMask, self.time_mask),  # last, for nothing to fill the silence
        ]
        return Augmenter(*switched_on(effects, sample_rate))


def switched_on(effects, sample_rate):
    """Build the effects whose amount is not 0 or None, from pairs (class, amount)."""
    return [effect(amount, sample_rate) for effect, amount in effects if amount]


class Augmenter(nn.Sequential):
    """Effects one after the other, in training only and without gradient."""

    @torch.no_grad()
    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        if not self.training:
            return clips
        # Samples and spectra need more digits than bfloat16 has, so autocast stays out.
        with torch.autocast(clips.device.type, enabled=False):
            return super().forward(clips)


class Effect(nn.Module):
    """One random change of clips, drawn anew for each clip at each call.

    Parameters
    ----------
    amount : float or (float, float)
        How much of it, as the recipe says.
    sample_rate : int
        Rate of the samples, in Hz.
    """

    def __init__(self, amount, sample_rate):
        super().__init__()
        self.amount, self.sample_rate = amount, sample_rate


class Pitch(Effect):
    """Play each clip faster or slower around its centre, by up to ``amount`` semitones."""

    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        n_samples = clips.shape[1]
        speed = 2 ** (uniform(clips, -self.amount, self.amount).double() / 12)
        # Float32 counts the samples of a long clip too coarsely to tell where between two a position is.
        time = torch.arange(n_samples, dtype=torch.float64, device=clips.device)
        centre = (n_samples - 1) / 2
        padded = F.pad(clips, (1, 2))  # a zero for position -1, two for n_samples and its neighbour
        position = ((time - centre) * speed).add_(centre + 1).clamp_(0, n_samples + 1)  # in the padded clip
        before = position.long()
        fraction = position.sub_(before).to(clips.dtype)
        return padded.gather(1, before).lerp(padded.gather(1, before + 1), fraction)


class Reverb(Effect):
    """Add to each clip its echo in a room: noise that decays by 60 dB in up to ``amount`` seconds."""

    levels = (-20, -5)  # energy of the echo relative to the direct sound, in dB: near to far from the source

    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        n_samples = clips.shape[1]
        tail = self._tail(clips)
        n_fft = next_fast_len(n_samples + tail.shape[1], real=True)
        echo = torch.fft.irfft(torch.fft.rfft(clips, n_fft) * torch.fft.rfft(tail, n_fft), n_fft)
        return clips + echo[:, :n_samples]

    def _tail(self, clips):
        """Impulse responses less their direct sound, no longer than the clips."""
        length = min(clips.shape[1], int(self.amount * self.sample_rate) + 1)
        time = torch.arange(length, dtype=clips.dtype, device=clips.device) / self.sample_rate
        reverberation_time = uniform(clips, self.amount, 0)  # never 0, since rand is never 1
        tail = normal(clips, length) * from_decibels(-60 * time / reverberation_time)
        tail[:, 0] = 0  # the place of the direct sound
        norm = torch.linalg.vector_norm(tail, dim=1, keepdim=True).clamp_min(1e-9)  # 0 if it dies at once
        return tail * (from_decibels(uniform(clips, *self.levels)) / norm)


class Filter(Effect):
    """Multiply the spectrum of each clip by the responses in ``amount``, all at the cost of one transform.

    Each response maps the frequencies, as places on the mel scale from 0 to 1, and the clips to factors of
    shape (batch, n_frequencies).
    """

    def __init__(self, amount, sample_rate):
        super().__init__(nn.ModuleList(amount), sample_rate)

    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        n_samples = clips.shape[1]
        # Zero-phase filters ring to both sides of a sound: 0.1 s for it, or it comes in at the other end.
        n_fft = next_fast_len(n_samples + self.sample_rate // 10, real=True)
        mel = torch.log1p(frequencies(n_fft, self.sample_rate, clips) / 700) / math.log1p(self.sample_rate / 1400)
        spectrum = torch.fft.rfft(clips, n_fft)
        for response in self.amount:
            spectrum = spectrum * response(mel, clips)
        return torch.fft.irfft(spectrum, n_fft)[:, :n_samples]


class Equalization(Effect):
    """Response through normal levels of ``amount`` dB at places evenly spaced in mel, with lines between."""

    n_places = 5

    def forward(self, mel, clips):
        """Map (n_frequencies,) and (batch, n_samples) to (batch, n_frequencies)."""
        places = torch.linspace(0, 1, self.n_places, dtype=mel.dtype, device=mel.device)[:, None]
        hats = (1 - (mel - places).abs() * (self.n_places - 1)).clamp_min(0)
        return from_decibels(self.amount * normal(clips, self.n_places) @ hats)


class BandStop(Effect):
    """Response of 0 in one band, up to ``amount`` of the mel scale wide, and 1 elsewhere."""

    def forward(self, mel, clips):
        """Map (n_frequencies,) and (batch, n_samples) to (batch, n_frequencies)."""
        width = uniform(clips, 0, self.amount)
        start = uniform(clips, 0, 1) * (1 - width)
        return ((mel < start) | (mel >= start + width)).to(mel.dtype)


class Gain(Effect):
    """Change the level of each clip by up to ``amount`` dB."""

    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        return clips * from_decibels(uniform(clips, -self.amount, self.amount))


class Mixing(Effect):
    """Add to each clip another one of the batch, attenuated by between the two ``amount`` in dB."""

    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        batch = len(clips)
        if batch < 2:
            return clips
        ahead = torch.randint(1, batch, (batch,), device=clips.device)  # neither 0 nor batch: the clip itself
        others = clips[(torch.arange(batch, device=clips.device) + ahead) % batch]
        return clips + others * from_decibels(-uniform(clips, *self.amount))


class Noise(Effect):
    """Add Gaussian noise, white to brown, at a signal-to-noise ratio between the two ``amount`` in dB."""

    corner = 50  # Hz; were brown noise not flat below, all of its power would be where nobody hears it

    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        noise = self._noise(clips)
        level = torch.linalg.vector_norm(noise, dim=1, keepdim=True) / math.sqrt(clips.shape[1])
        wanted = sounding_rms(clips) * from_decibels(-uniform(clips, *self.amount))
        return clips + noise * (wanted / level)

    def _noise(self, clips):
        n_samples = clips.shape[1]
        n_fft = next_fast_len(n_samples, real=True)
        octaves = torch.log2(frequencies(n_fft, self.sample_rate, clips).clamp_min(self.corner) / self.corner)
        response = torch.exp2(-octaves * uniform(clips, 0, 1))  # 0 to 6 dB per octave
        # Drawn as a spectrum, which spares the transform to one.
        spectrum = torch.view_as_complex(normal(clips, n_fft // 2 + 1, 2)) * response
        return torch.fft.irfft(spectrum, n_fft, norm="ortho")[:, :n_samples]


class TimeMask(Effect):
    """Silence one stretch of each clip, up to ``amount`` of its length."""

    def forward(self, clips):
        """Map (batch, n_samples) to the same shape."""
        n_samples = clips.shape[1]
        length = (uniform(clips, 0, self.amount) * n_samples).floor()
        start = (uniform(clips, 0, 1) * (n_samples - length + 1)).floor()
        time = torch.arange(n_samples, dtype=clips.dtype, device=clips.device)
        return clips.masked_fill((time >= start) & (time < start + length), 0)


def uniform(clips, low, high):
    """Draw a number for each clip, uniform from low (included) to high (not), of shape (batch, 1)."""
    return low + (high - low) * torch.rand(len(clips), 1, dtype=clips.dtype, device=clips.device)


def normal(clips, *shape):
    """Draw normal numbers for each clip, of shape (batch, *shape)."""
    return torch.randn(len(clips), *shape, dtype=clips.dtype, device=clips.device)


def from_decibels(decibels):
    """Factor of the amplitude that a level in dB stands for."""
    return torch.exp2(decibels * (math.log2(10) / 20))


def frequencies(n_fft, sample_rate, clips):
    """Frequencies of a Fourier transform's bins in Hz, of the clips' type and on their device."""
    bins = torch.arange(n_fft // 2 + 1, dtype=clips.dtype, device=clips.device)
    return bins * (sample_rate / n_fft)


def sounding_rms(clips):
    """RMS of each clip where it sounds, that is less than 60 dB below its peak, of shape (batch, 1).

    Padding is not always exactly zero: filters ring, and transforms round.
    """
    size = clips.abs()
    n_sounding = (size > 1e-3 * size.amax(dim=1, keepdim=True)).sum(dim=1, keepdim=True)
    return torch.linalg.vector_norm(clips, dim=1, keepdim=True) / n_sounding.clamp_min(1).to(clips.dtype).sqrt()


def check_amounts(recipe, *names, below=100):
    """Raise unless every named parameter of the recipe is a number from 0 to below a bound.

    The default is beyond all use, in dB, semitones or seconds, and tells cents and milliseconds.
    """
    for name in names:
        value = getattr(recipe, name)
        check_scalar(value, name, Real)
        if not 0 <= value < below:
            raise ValueError(f"{name}={value!r} must be at least 0, which switches it off, and below {below}.")


def check_ranges(recipe, *names):
    """Raise unless every named parameter of the recipe is None or a pair of levels in dB, in order."""
    for name in names:
        value = getattr(recipe, name)
        if value is None:
            continue
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ValueError(f"{name}={value!r} must be None or a tuple (lowest, highest) in dB, such as (5, 20).")
        for level in value:
            check_scalar(level, name, Real)
        if not -100 <= value[0] <= value[1] <= 100:
            raise ValueError(
                f"{name}={value!r} must be (lowest, highest) in dB, in this order and within -100 and 100, such "
                "as (5, 20)."
            )
