"""Front ends: raw samples to windows or log-mel frames, in batch and on the device."""

from concurrent.futures import ThreadPoolExecutor

import librosa
import torch
from scipy.ndimage import uniform_filter1d
from torch import nn
from torch.nn import functional as F

BANDS = 16  # this many neighbours are computed together, from the bins they use: most of a mel matrix is zeros
CACHED = 2**19  # samples, in frames, that with their spectrum fit in the cache of a processor
BLOCKS = 16  # of so many frames, for which it pays to start a thread


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
    smoothing : int, default=1
        Neighbouring bands over which the power of each is averaged; 1 for librosa's bands.

    Examples
    --------
    >>> LogMel(22050, n_fft=2048, hop_length=512, n_mels=64)(torch.zeros(2, 22050)).shape
    torch.Size([2, 64, 44])
    """

    mel: torch.Tensor
    floor = 1e-10  # power below this is silence: -100 dB, librosa's amin

    def __init__(self, sample_rate, n_fft, hop_length, n_mels, smoothing=1):
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        mel = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)  # (n_mels, n_fft // 2 + 1)
        mel = uniform_filter1d(mel, smoothing, axis=0, mode="nearest")
        # Derived from the arguments, so not part of the weights.
        self.register_buffer("mel", torch.from_numpy(mel), persistent=False)
        self._bins = [_bins_of(mel[i : i + BANDS]) for i in range(0, n_mels, BANDS)]

    def forward(self, samples):
        """Map samples of shape (batch, n_samples) to decibels of shape (batch, n_mels, n_frames)."""
        n_frames = 1 + samples.shape[1] // self.hop_length
        # Power spans more than bfloat16 holds, so autocast stays out.
        with torch.autocast(samples.device.type, enabled=False):
            window = torch.hann_window(self.n_fft, dtype=torch.float64).to(samples.dtype).to(samples.device)
            frames, n_laid = self._frames(samples, n_frames)
            # Together, frames take far more memory than the sound they overlap in; a few stay in the cache.
            on_cpu = samples.device.type == "cpu"
            blocks = frames.split(max(1, CACHED // self.n_fft) if on_cpu else n_laid)
            n_threads = min(torch.get_num_threads(), len(blocks) // BLOCKS) if on_cpu else 1
            groups = zip(self._bins, self.mel.split(BANDS), strict=True)
            bands = [(bins, mel[:, bins].T.contiguous()) for bins, mel in groups]
            power = torch.cat(each(lambda block: mel_power(block, window, bands), blocks, n_threads))
            power = power.unflatten(0, (len(samples), n_laid))[:, :n_frames].transpose(1, 2)
            return power.clamp_min(self.floor).log10_().mul_(10).contiguous()

    def _frames(self, samples, n_frames):
        """Lay all clips out in one row and cut it into frames, (n_clips * n_laid, n_fft), a view of the row.

        Between two clips there are as many zeros as keep every frame of a clip, the first ``n_frames`` of its
        ``n_laid``, from reaching into the next.
        """
        half, hop = self.n_fft // 2, self.hop_length
        n_laid = n_frames + (self.n_fft - 1) // hop
        row = F.pad(samples, (half, n_laid * hop - half - samples.shape[1])).flatten()
        return F.pad(row, (0, max(0, self.n_fft - hop))).unfold(0, self.n_fft, hop), n_laid


def mel_power(frames, window, bands):
    """Map frames of shape (n_frames, n_fft) to the power in every band, of shape (n_frames, n_mels).

    Bands come in groups: which bins they use, and the weights of those, of shape (n_bins, n_bands).
    """
    parts = torch.view_as_real(torch.fft.rfft(frames * window)).square_()
    power = parts[..., 0] + parts[..., 1]  # sum(-1) and abs() take several times as long
    return torch.cat([power[:, bins] @ weights for bins, weights in bands], dim=1)


def each(function, items, n_threads):
    """Apply a function to items, each in one thread: in this one, and in others if there are many items.

    Where torch splits every small operation among its threads, they wait for each other after every one of them,
    and for long if another program uses their processor.
    """
    if n_threads <= 1:
        return list(map(function, items))
    everywhere = torch.get_num_threads()
    results, pending = [None] * len(items), iter(range(len(items)))

    def work():
        torch.set_num_threads(1)
        for i in pending:  # of all threads: each takes the next
            results[i] = function(items[i])

    try:
        with ThreadPoolExecutor(n_threads - 1) as pool:
            others = [pool.submit(work) for _ in range(n_threads - 1)]
            work()
        for other in others:
            other.result()
        return results
    finally:
        torch.set_num_threads(everywhere)  # of threads that are still to be started too, as it was


def _bins_of(bands):
    """From the first to the last bin to which any of the bands, (n_bands, n_bins), gives a weight."""
    used = bands.any(axis=0)
    return slice(int(used.argmax()), len(used) - int(used[::-1].argmax()))


class Scale(nn.Module):
    """Map decibels linearly so that -100 dB (silence) becomes -1 and 0 dB becomes 1."""

    def forward(self, decibels):
        """Map any shape to the same shape."""
        return decibels / 50 + 1


def sounding_frames(decibels):
    """Which frames hold any sound, 1 or 0, of shape (batch, 1, n_frames)."""
    # Silence is LogMel's floor, -100 dB, give or take the rounding of the device.
    return (decibels.amax(dim=1, keepdim=True) > -99.9).to(decibels.dtype)


class BandCentring(nn.Module):
    """Subtract from every mel band a share of its level in the clip's long-term spectrum.

    The long-term spectrum is the mean power over time, in decibels. It tells of the microphone, the room
    and the voice, but in a short clip also of what is heard: a word may be little more than one vowel.
    So only a share of its shape is taken out; its mean over the bands, the level of the clip, goes whole.
    Frames of digital silence (padding, for one) are left out.

    Parameters
    ----------
    share : float
        From 0, which takes out nothing but the level, to 1, after which no filter that stays the same over the
        clip is heard any more.
    dynamic_range : float
        In dB. What lies further below the loudest level of the clip is raised to there: it is noise floor,
        rounding or padding.
    width : float, default=20.0
        Decibels that become 1.
    """

    def __init__(self, share, dynamic_range, width=20.0):
        super().__init__()
        self.share, self.dynamic_range, self.width = share, dynamic_range, width

    def forward(self, decibels):
        """Map (batch, n_mels, n_frames) to the same shape."""
        sounding = sounding_frames(decibels)
        floor = decibels.amax(dim=(1, 2), keepdim=True) - self.dynamic_range
        decibels = decibels.maximum(floor)
        power = 10 ** ((decibels - floor) / 10) * sounding  # above the floor, where no level overflows
        mean = power.sum(dim=2, keepdim=True) / sounding.sum(dim=2, keepdim=True).clamp_min(1)
        audible = sounding.amax(dim=2, keepdim=True)  # a silent clip has no spectrum, and becomes zero
        spectrum = floor + 10 * torch.log10(mean.clamp_min(1))
        centre = torch.lerp(spectrum.mean(dim=1, keepdim=True), spectrum, self.share)
        return (decibels - centre) * audible / self.width


class BandStandardizer(nn.Module):
    """Zero mean and unit variance over time in every mel band of every clip, then smoothing over time.

    What the report's implementation does to its spectrograms. Frames of digital silence (padding, for
    one) are left out of the statistics and set to zero.

    Parameters
    ----------
    smoothing : float, default=0.0
        Standard deviation, in frames, of the Gaussian smoothing over time; 0 for none.
    """

    kernel: torch.Tensor

    def __init__(self, smoothing=0.0):
        super().__init__()
        self.smoothing = smoothing
        reach = int(4 * smoothing + 0.5)
        if smoothing:
            kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / smoothing) ** 2)
            self.register_buffer("kernel", (kernel / kernel.sum()).reshape(1, 1, -1), persistent=False)

    def forward(self, decibels):
        """Map (batch, n_mels, n_frames) to the same shape."""
        sounding = sounding_frames(decibels)
        count = sounding.sum(dim=2, keepdim=True).clamp_min(1)
        mean = (decibels * sounding).sum(dim=2, keepdim=True) / count
        centred = (decibels - mean) * sounding
        deviation = (centred.square().sum(dim=2, keepdim=True) / count).sqrt()
        bands = centred / deviation.clamp_min(1e-3)
        return self._smooth(bands) if self.smoothing else bands

    def _smooth(self, bands):
        reach = self.kernel.shape[-1] // 2
        # As channels of one clip, each with its own kernel, rows take a fraction of the time of as many clips.
        rows = F.pad(bands.flatten(0, 1), (reach, reach), mode="replicate")
        kernel = self.kernel.expand(len(rows), 1, -1)
        return F.conv1d(rows[None], kernel, groups=len(rows)).reshape_as(bands)
