"""The mel scale: bands that are evenly spaced to the ear, as librosa computes them (Slaney's scale and norm).

librosa itself is not used: it compiles code when it is first called, which takes seconds and a writable folder.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, signal, sparse

from ._warnings import warn

FRAMES_PER_BLOCK = 256  # frames that are in memory at a time
# Up to 1000 Hz the scale is linear, above it is logarithmic: 27 mels make a factor of 6.4.
HZ_PER_MEL, BREAK_HZ, BREAK_MEL = 200 / 3, 1000.0, 15.0
LOG_STEP = np.log(6.4) / 27


def hz_to_mel(hertz):
    """Return the mel of a frequency in Hz."""
    return hertz / HZ_PER_MEL if hertz < BREAK_HZ else BREAK_MEL + np.log(hertz / BREAK_HZ) / LOG_STEP


def mel_frequencies(n, highest):
    """Return ``n`` frequencies in Hz from 0 to ``highest``, evenly spaced in mel."""
    mel = np.linspace(0, hz_to_mel(highest), n)
    return np.where(mel < BREAK_MEL, mel * HZ_PER_MEL, BREAK_HZ * np.exp(LOG_STEP * (mel - BREAK_MEL)))


def mel_weights(sample_rate, n_fft, n_mels):
    """Return the weights of each bin of a spectrum in each band: float32 of shape (n_mels, n_fft // 2 + 1).

    Bands are triangles of the same area that overlap by half. Warns of bands that are too narrow to hold a bin.
    """
    edges = mel_frequencies(n_mels + 2, sample_rate / 2)[:, None]
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    rise = (bins - edges[:-2]) / np.diff(edges[:-1], axis=0)
    fall = (edges[2:] - bins) / np.diff(edges[1:], axis=0)
    weights = (np.maximum(0, np.minimum(rise, fall)) * 2 / (edges[2:] - edges[:-2])).astype(np.float32)
    n_empty = n_mels - np.count_nonzero(weights.any(axis=1))
    if n_empty:
        warn(
            f"{n_empty} of n_mels={n_mels} mel bands are empty: at n_fft={n_fft} and {sample_rate} Hz they are "
            "narrower than the bins of the spectrum; use fewer bands or a larger n_fft."
        )
    return weights


def mel_power(samples, weights, n_fft, hop_length, pad_mode="constant"):
    """Return the power of samples, of shape (n_samples,), in each band and frame, of shape (n_mels, n_frames).

    Frames have a Hann window and are centred; ``pad_mode``, as in ``np.pad``, fills those at both ends.
    """
    window, weights = signal.get_window("hann", n_fft), sparse.csr_array(weights)  # mostly zeros
    frames = sliding_window_view(np.pad(samples, n_fft // 2, mode=pad_mode), n_fft)[::hop_length]
    power = np.empty((weights.shape[0], len(frames)))
    for start in range(0, len(frames), FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        power[:, block] = weights @ np.square(np.abs(fft.rfft(frames[block] * window))).T
    return power


def to_decibels(power, floor=1e-10):
    """Return power in decibels; power below ``floor`` is raised to it."""
    return 10 * np.log10(np.maximum(power, floor))
