"""What the tests of audio share: noise, and files of it."""

import math

import numpy as np
import soundfile

from sklearn_cpc.audio import store
from sklearn_cpc.audio.cache import Scratch

RATE = 8000


def noise(n_samples, n_channels=1, seed=0):
    """Uniform noise of shape (n_samples, n_channels)."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, n_channels))


def write(path, samples=None, rate=RATE, **how):
    """Write a file, by default a second of noise; returns its path as str."""
    soundfile.write(str(path), noise(rate) if samples is None else samples, rate, **how)
    return str(path)


def read_files(paths, rate, memory=None, n_jobs=None, verbose=0):
    """Read distinct files; returns their samples, and why the others have none, each by path."""
    failures, paths = [], list(dict.fromkeys(paths))
    found = list(store.read_files(paths, rate, memory, n_jobs, verbose, Scratch(math.inf), failures))
    store.warn_of(failures, len(paths), memory)
    samples = {path: samples for path, samples, reason in found if reason is None}
    return samples, {path: reason for path, _, reason in found if reason is not None}
