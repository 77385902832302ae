"""What the tests of audio share: noise, and files of it."""

import numpy as np
import soundfile

RATE = 8000


def noise(n_samples, n_channels=1, seed=0):
    """Uniform noise of shape (n_samples, n_channels)."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, n_channels))


def write(path, samples=None, rate=RATE, **how):
    """Write a file, by default a second of noise; returns its path as str."""
    soundfile.write(str(path), noise(rate) if samples is None else samples, rate, **how)
    return str(path)
