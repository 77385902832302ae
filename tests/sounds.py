"""Helpers for tests with sound files: write noise, and read files through the store."""

import numpy as np
import soundfile

from sklearn_cpc import MFCCTransformer
from sklearn_cpc.audio.reading import UnreadableAudioError
from sklearn_cpc.audio.store import AudioSource

RATE = 8000


def noise(n_samples, n_channels=1, seed=0):
    """Uniform noise of shape (n_samples, n_channels)."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, n_channels))


def write(path, samples=None, rate=RATE, **options):
    """Write a file, by default a second of noise; returns its path as str."""
    soundfile.write(str(path), noise(rate) if samples is None else samples, rate, **options)
    return str(path)


def change(path, edit):
    """Replace the bytes of a file by ``edit(bytes)``; returns the path."""
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(edit(data))
    return path


def read_files(paths, rate, **parameters):
    """Read distinct files; returns samples by path, and the reasons why others cannot be read by path."""
    paths = list(dict.fromkeys(paths))
    if not paths:
        return {}, {}
    try:
        recordings = AudioSource(MFCCTransformer(**parameters), paths, rate, reset=False).read()
    except UnreadableAudioError as error:
        readable = [path for path in paths if path not in error.reasons]
        return read_files(readable, rate, **parameters)[0], error.reasons
    return dict(zip(paths, recordings.samples, strict=True)), {}
