"""Front ends: raw samples to windows or log-mel frames, in batch and on the device."""

import librosa
import torch
from torch import nn
from torch.nn import functional as F


class LogMel(nn.Module):
    """Log-mel spectrogram in decibels, equal to librosa's.

    Same as ``librosa.power_to_db(librosa.feature.melspectrogram(...), top_db=None)`` with librosa's
    defaults: Hann window, centred frames, zeros beyond the ends, Slaney's mel scale and norm.

    Parameters
    ----------
    sample_rate : int
        Rate of the samples, in Hz.
    n_fft : int
        Length of the Fourier transform, in samples.
    hop_length : int
        Samples from one frame to the next.
    n_mels : int
        Number of mel bands.

    Examples
    --------
    >>> LogMel(22050, n_fft=2048, hop_length=512, n_mels=64)(torch.zeros(2, 22050)).shape
    torch.Size([2, 64, 44])
    """

    mel: torch.Tensor
    floor = 1e-10  # power below this is silence: -100 dB, librosa's amin

    def __init__(self, sample_rate, n_fft, hop_length, n_mels):
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        mel = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)  # (n_mels, n_fft // 2 + 1)
        # Derived from the arguments, so not part of the weights.
        self.register_buffer("mel", torch.from_numpy(mel), persistent=False)

    def forward(self, samples):
        """Map samples of shape (batch, n_samples) to decibels of shape (batch, n_mels, n_frames)."""
        # One clip at a time: a clip's spectrum fits in the cache, a batch's does not. Power spans more
        # than bfloat16 holds, so autocast stays out.
        with torch.autocast(samples.device.type, enabled=False):
            window = torch.hann_window(self.n_fft, dtype=torch.float64).to(samples.dtype).to(samples.device)
            power = torch.stack([self._mel_power(clip, window) for clip in samples])
            return 10 * torch.log10(power.clamp_min(self.floor))

    def _mel_power(self, clip, window):
        spectrum = torch.stft(
            clip,
            self.n_fft,
            self.hop_length,
            window=window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return self.mel @ torch.view_as_real(spectrum).square().sum(-1)


class BandStandardizer(nn.Module):
    """Zero mean and unit variance over time in every mel band of every clip, then smoothing over time.

    What the report's implementation does to its spectrograms. Frames of digital silence (padding, for
    one) are left out of the statistics and set to zero.

    Parameters
    ----------
    silence : float
        Level in dB at or below which a band holds no sound at all.
    smoothing : float, default=0.0
        Standard deviation, in frames, of the Gaussian smoothing over time; 0 for none.
    """

    kernel: torch.Tensor

    def __init__(self, silence, smoothing=0.0):
        super().__init__()
        self.silence, self.smoothing = silence, smoothing
        reach = int(4 * smoothing + 0.5)
        if smoothing:
            kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / smoothing) ** 2)
            self.register_buffer("kernel", (kernel / kernel.sum()).reshape(1, 1, -1), persistent=False)

    def forward(self, decibels):
        """Map (batch, n_mels, n_frames) to the same shape."""
        sounding = (decibels.amax(dim=1, keepdim=True) > self.silence).to(decibels.dtype)
        count = sounding.sum(dim=2, keepdim=True).clamp_min(1)
        mean = (decibels * sounding).sum(dim=2, keepdim=True) / count
        centred = (decibels - mean) * sounding
        deviation = (centred.square().sum(dim=2, keepdim=True) / count).sqrt()
        bands = centred / deviation.clamp_min(1e-3)
        return self._smooth(bands) if self.smoothing else bands

    def _smooth(self, bands):
        batch, n_mels, n_frames = bands.shape
        reach = self.kernel.shape[-1] // 2
        rows = F.pad(bands.reshape(-1, 1, n_frames), (reach, reach), mode="replicate")
        return F.conv1d(rows, self.kernel).reshape(batch, n_mels, n_frames)
