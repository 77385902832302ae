"""Front ends: raw samples to log-mel frames, in batches and on their device."""

from contextlib import nullcontext

import torch
from scipy.ndimage import uniform_filter1d
from torch import nn
from torch.nn import functional as F

from .._librosa import import_librosa
from .._threads import compute_in_threads

BANDS_PER_MATMUL = 16  # neighbouring bands share one matrix product over their bins: a mel matrix is mostly zeros
SAMPLES_PER_BLOCK = 2**19  # size of a block of frames: with its spectrum, it fits in a processor's cache
BLOCKS_PER_THREAD = 16  # starting another thread takes longer than computing fewer blocks


def without_autocast(device):
    """Return a context in which networks on this device compute in the type of their input."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class LogMel(nn.Module):
    """Log-mel spectrogram in decibels, equal to librosa's.

    Same as ``librosa.power_to_db(librosa.feature.melspectrogram(...), top_db=None)`` with librosa's
    defaults: Hann window, centred frames, zeros beyond the ends, Slaney's mel scale and norm. But the power of
    each band is averaged over ``band_smoothing`` neighbouring bands; 1 for librosa's bands.
    """

    mel: torch.Tensor
    for_onnx = False  # whether to compute the same numbers by operations that ONNX has
    floor = 1e-10  # power below this is silence: -100 dB, librosa's amin

    def __init__(self, sample_rate, n_fft, hop_length, n_mels, band_smoothing=1):
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        mel = import_librosa().filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)  # (n_mels, n_fft // 2 + 1)
        mel = uniform_filter1d(mel, band_smoothing, axis=0, mode="nearest")
        # Derived from the arguments, so not part of the weights.
        self.register_buffer("mel", torch.from_numpy(mel), persistent=False)
        self._bins = []  # of each group of bands, from the first to the last that has any weight
        for first in range(0, n_mels, BANDS_PER_MATMUL):
            used = mel[first : first + BANDS_PER_MATMUL].any(axis=0)
            self._bins.append(slice(int(used.argmax()), len(used) - int(used[::-1].argmax())))

    def forward(self, samples):
        """Map samples of shape (batch, n_samples) to decibels of shape (batch, n_mels, n_frames)."""
        n_clips, n_samples = samples.shape
        n_fft, hop, half = self.n_fft, self.hop_length, self.n_fft // 2
        if self.for_onnx:
            window = torch.hann_window(n_fft, dtype=torch.float64).to(samples.dtype)
            padded = F.pad(samples, (half, n_fft - half))
            spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
            power = self.mel @ torch.view_as_real(spectrum).square().sum(-1)
            return 10 * power.clamp_min(self.floor).log10()
        n_frames = 1 + n_samples // hop
        # All clips form one row, which is cut into frames without a copy. Zeros between clips keep the n_frames
        # frames of each from reaching into the next clip. All further frames are dropped.
        n_cut = n_frames + (n_fft - 1) // hop
        row = F.pad(samples, (half, n_cut * hop - half - n_samples)).flatten()
        frames = F.pad(row, (0, max(0, n_fft - hop))).unfold(0, n_fft, hop)  # (n_clips * n_cut, n_fft)
        # Frames overlap, so together they take far more memory than the samples. Blocks of them stay in the cache.
        on_cpu = samples.device.type == "cpu"
        blocks = frames.split(max(1, SAMPLES_PER_BLOCK // n_fft) if on_cpu else n_cut)
        n_threads = min(torch.get_num_threads(), len(blocks) // BLOCKS_PER_THREAD) if on_cpu else 1
        # Autocast is off: bfloat16 cannot hold the range of powers.
        with without_autocast(samples.device):
            window = torch.hann_window(n_fft, dtype=torch.float64).to(samples.dtype).to(samples.device)
            groups = zip(self._bins, self.mel.split(BANDS_PER_MATMUL), strict=True)
            bands = [(bins, mel[:, bins].T.contiguous()) for bins, mel in groups]
            power = torch.cat(compute_in_threads(lambda block: mel_power(block, window, bands), blocks, n_threads))
            power = power.unflatten(0, (n_clips, n_cut))[:, :n_frames].transpose(1, 2)
            return power.clamp_min(self.floor).log10_().mul_(10).contiguous()


def mel_power(frames, window, bands):
    """Map frames of shape (n_frames, n_fft) to the power in every band, of shape (n_frames, n_mels).

    Bands come in groups: a slice of bins, and their weights of shape (n_bins, n_bands).
    """
    parts = torch.view_as_real(torch.fft.rfft(frames * window)).square_()
    power = parts[..., 0] + parts[..., 1]  # sum(-1) and abs() are several times slower
    return torch.cat([power[:, bins] @ weights for bins, weights in bands], dim=1)


class Scale(nn.Module):
    """Map decibels linearly so that -100 dB (silence) becomes -1 and 0 dB becomes 1."""

    def forward(self, decibels):
        """Map any shape to the same shape."""
        return decibels / 50 + 1


def sounding_frames(decibels):
    """Whether each frame holds sound, 1 or 0, of shape (batch, 1, n_frames)."""
    # Silence is LogMel's floor, -100 dB, up to the rounding of the device.
    return (decibels.amax(dim=1, keepdim=True) > -99.9).to(decibels.dtype)


class BandCentring(nn.Module):
    """Subtract from every mel band a share of its level in the clip's long-term spectrum: its mean power in dB.

    Of the mean over the bands, the level of the clip, all is subtracted. Frames of digital silence (padding, for
    example) do not count. Levels more than ``dynamic_range`` dB below the loudest of the clip are raised to that
    limit: they are noise floor or rounding. A level of 20 dB becomes 1.
    """

    def __init__(self, share, dynamic_range):
        super().__init__()
        self.share, self.dynamic_range = share, dynamic_range

    def forward(self, decibels):
        """Map (batch, n_mels, n_frames) to the same shape."""
        sounding = sounding_frames(decibels)
        floor = decibels.amax(dim=(1, 2), keepdim=True) - self.dynamic_range
        decibels = decibels.maximum(floor)
        power = 10 ** ((decibels - floor) / 10) * sounding  # relative to the floor, so that none overflows
        mean = power.sum(dim=2, keepdim=True) / sounding.sum(dim=2, keepdim=True).clamp_min(1)
        audible = sounding.amax(dim=2, keepdim=True)  # a silent clip has no spectrum, and becomes zero
        spectrum = floor + 10 * torch.log10(mean.clamp_min(1))
        centre = torch.lerp(spectrum.mean(dim=1, keepdim=True), spectrum, self.share)
        return (decibels - centre) * audible / 20


class BandStandardizer(nn.Module):
    """Give every mel band of every clip zero mean and unit variance over time, then smooth it over time.

    The report's implementation does this to its spectrograms. Frames of digital silence (padding, for example)
    do not count in the statistics and become zero. ``time_smoothing`` is the standard deviation of the smoothing
    Gaussian, in frames; 0 for none.
    """

    kernel: torch.Tensor
    for_onnx = False

    def __init__(self, time_smoothing=0.0):
        super().__init__()
        self.time_smoothing = time_smoothing
        reach = int(4 * time_smoothing + 0.5)
        if time_smoothing:
            kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / time_smoothing) ** 2)
            self.register_buffer("kernel", (kernel / kernel.sum()).reshape(1, 1, -1), persistent=False)

    def forward(self, decibels):
        """Map (batch, n_mels, n_frames) to the same shape."""
        sounding = sounding_frames(decibels)
        count = sounding.sum(dim=2, keepdim=True).clamp_min(1)
        mean = (decibels * sounding).sum(dim=2, keepdim=True) / count
        centred = (decibels - mean) * sounding
        deviation = (centred.square().sum(dim=2, keepdim=True) / count).sqrt()
        bands = centred / deviation.clamp_min(1e-3)
        if not self.time_smoothing:
            return bands
        reach = self.kernel.shape[-1] // 2
        if self.for_onnx:  # for any number of clips
            padded, n_mels = F.pad(bands, (reach, reach), mode="replicate"), bands.shape[1]
            return F.conv1d(padded, self.kernel.expand(n_mels, 1, -1), groups=n_mels)
        # Rows as channels of a single clip, each with its own kernel, are several times faster than rows as clips.
        rows = F.pad(bands.flatten(0, 1), (reach, reach), mode="replicate")
        kernel = self.kernel.expand(len(rows), 1, -1)
        return F.conv1d(rows[None], kernel, groups=len(rows)).reshape_as(bands)
