"""What the tests of the estimators share: a tiny corpus of files, and a network small enough for it."""

from typing import NamedTuple

import numpy as np
import soundfile
from sklearn.pipeline import Pipeline

from sklearn_cpc import AutoencoderReducer, Conv1dEncoder, CPCTransformer, GRUContext, LinearProbe

FILE_RATE, RATE = 8000, 1000
CLIP, N_STEPS = 400, 8  # of small_cpc: 0.4 s, in steps of 0.05 s


class Corpus(NamedTuple):
    paths: list  # of str
    y: np.ndarray  # "high" or "low"
    groups: np.ndarray


def small_encoder(**changes):
    """Build a recipe for windows of 20 samples or more."""
    small = {"n_filters": 8, "kernel_sizes": (8, 4), "strides": (4, 2), "dense_units": 8, "z_dim": 8}
    return Conv1dEncoder(**{**small, "sample_rate": RATE, **changes})


def small_cpc(**changes):
    """Build an estimator that fits the corpus in a few hundredths of a second."""
    small = {"encoder": small_encoder(), "autoregressor": GRUContext(c_dim=8), "n_context": 6, "n_future": 2}
    training = {
        "clip_duration": CLIP / RATE,
        "batch_size": 4,
        "lr": 1e-3,
        "max_epochs": 1,
        "random_state": 0,
        "device": "cpu",
    }
    return CPCTransformer(**small, **training).set_params(**changes)


def write_corpus(folder, n_files=12, duration=1.0):
    """Write wav files of low and of high tones in faint noise, each of its own pitch."""
    random = np.random.default_rng(0)
    seconds = np.arange(round(duration * FILE_RATE)) / FILE_RATE
    y = np.array(["high", "low"])[np.arange(n_files) % 2]
    paths = []
    for i, kind in enumerate(y):
        pitch = random.uniform(40, 90) if kind == "low" else random.uniform(200, 350)
        samples = 0.3 * np.sin(2 * np.pi * pitch * seconds) + 0.02 * random.standard_normal(len(seconds))
        paths.append(str(folder / f"{kind}-{i:02d}.wav"))
        soundfile.write(paths[-1], samples, FILE_RATE)
    return Corpus(paths, y, np.arange(n_files) // 2 % 3)


def rising_tones(n_clips, seed=0):
    """Clips whose next step can be told from the last ones: each tone rises from a pitch of its own."""
    random = np.random.default_rng(seed)
    pitch = random.uniform(30, 250, (n_clips, 1)) + np.linspace(0, 200, CLIP)
    phase = random.uniform(0, 2 * np.pi, (n_clips, 1)) + 2 * np.pi * np.cumsum(pitch, axis=1) / RATE
    return (0.3 * np.sin(phase)).astype(np.float32)


def write_samples(folder, clips):
    """Write clips as files that are read back bit for bit by a network of the same rate."""
    paths = []
    for i, samples in enumerate(clips):
        paths.append(str(folder / f"clip-{i:02d}.wav"))
        soundfile.write(paths[-1], samples, RATE, subtype="FLOAT")
    return paths


def small_pipeline(memory=None, **changes):
    """Chain all three estimators. The mean of z tells high tones from low ones even untrained."""
    cpc = small_cpc(**{"pooling": "z_mean", **changes})
    reducer = AutoencoderReducer(4, encoder_units=(8,), decoder_units=(8,), lr=0.01, max_epochs=60, random_state=0)
    probe = LinearProbe(lr=0.05, max_epochs=60, random_state=0)
    return Pipeline([("cpc", cpc), ("ae", reducer), ("clf", probe)], memory=memory)
