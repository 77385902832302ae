"""Sounds and features at the edge of arithmetic: weights and embeddings stay numbers, and long runs stay small."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus import CLIP, RATE, rising_tones, small_cpc, write_samples
from sklearn.base import clone
from skorch.callbacks import Callback

from sklearn_cpc import (
    Augmentation,
    AutoencoderReducer,
    CausalAttentionContext,
    Checkpoint,
    Conv2dEncoder,
    LinearProbe,
    LogMelEncoder,
    LSTMContext,
)

CLIPS = rising_tones(8)
SOUNDS = {
    "silence": np.zeros_like(CLIPS),
    "silence beside sound": np.where(np.arange(8)[:, None] % 2, CLIPS, 0),
    "constant": np.ones_like(CLIPS),
    "clipped": np.sign(CLIPS),
    "denormal": CLIPS * 1e-40,
    "faint": CLIPS * 1e-20,
    "a million times too loud": CLIPS * 1e6,
    "a single click": np.eye(8, CLIP, dtype=np.float32),
    "alternating": np.tile([1.0, -1.0], (8, CLIP // 2)).astype(np.float32),
}
LOG_MEL = LogMelEncoder(n_filters=8, z_dim=8, n_mels=8, window_duration=0.032, sample_rate=RATE)
LAYERS = {"n_filters": (4, 4), "kernel_sizes": (3, 3), "strides": (2, 2), "dense_units": 8, "z_dim": 8}
IMAGES = Conv2dEncoder(**LAYERS, n_mels=8, n_fft=64, sample_rate=RATE)
NOISY = Augmentation(noise=(0, 40), mixing=(0, 20), reverb=0.5, equalization=6, gain=12)
POOLING = ("mel_mean", "centred_max", "z_std", "c_thirds")
NETWORKS = {
    "conv1d": {},
    "conv2d": {"encoder": IMAGES},
    "logmel": {
        "encoder": LOG_MEL,
        "pooling": POOLING,
        "objective__predict_from": "all",
    },
    "whole": {"encoder": clone(LOG_MEL).set_params(centring=1.0), "objective__predict_from": "all"},
    "lstm, cosine": {
        "autoregressor": LSTMContext(8),
        "objective__similarity": "cosine",
        "objective__negatives": "mixed",
        "objective__n_across": 5,
    },
    "attention": {"autoregressor": CausalAttentionContext(8, n_heads=2, dff=8), "objective__negatives": "within"},
    "augmented": {"augmentation": NOISY},
}


def assert_numbers(estimator, features):
    for name, weights in estimator.network_.state_dict().items():
        assert torch.isfinite(weights).all(), name
    assert np.isfinite(features).all()
    assert np.isfinite([row["train_loss"] for row in estimator.history_]).all()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sound", SOUNDS)
def test_extreme_sound_keeps_weights_and_embeddings_finite(sound, network):
    cpc = small_cpc(max_epochs=3, lr=1e-2, **NETWORKS[network])
    features = cpc.fit_transform(SOUNDS[sound])
    assert_numbers(cpc, features)
    assert 0 <= cpc.score(SOUNDS[sound]) <= 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_batches_of_one_clip_are_trained_on(precision):
    cpc = small_cpc(batch_size=1, objective__negatives="within", precision=precision, max_epochs=2)
    assert_numbers(cpc, cpc.fit_transform(CLIPS))


FEATURES = {
    "constant": np.ones((12, 5)),
    "zero": np.zeros((12, 5)),
    "huge": 1e30 * np.random.default_rng(0).standard_normal((12, 5)),
    "tiny": 1e-30 * np.random.default_rng(0).standard_normal((12, 5)),
    "one column constant": np.column_stack([np.ones(12), np.arange(12.0)]),
    "one row apart": np.vstack([np.zeros((11, 5)), np.full((1, 5), 1e12)]),
}


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_extreme_features_keep_autoencoder_and_probe_finite(features, batch_size):
    X, y = FEATURES[features], np.arange(12) % 2
    how = {"max_epochs": 5, "lr": 1e-2, "batch_size": batch_size, "random_state": 0}
    reducer = AutoencoderReducer(encoder_units=(8,), n_components=2, decoder_units=(8,), **how)
    assert_numbers(reducer, reducer.fit_transform(X))
    assert np.isfinite(reducer.inverse_transform(reducer.transform(X))).all()
    probe = LinearProbe(**how).fit(X, y)
    assert_numbers(probe, probe.predict_proba(X))


# Long runs


PROC = Path("/proc/self")
needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="counts pages and files where Linux shows them")


class Usage(Callback):
    """Notes the memory in use, in bytes, and the number of open files, after some epochs."""

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self  # the copy that is trained with notes here, too

    def on_epoch_end(self, net, **_):
        if len(net.history) in (50, 250):
            pages = int((PROC / "statm").read_text().split()[1])
            self.seen.append((pages * os.sysconf("SC_PAGE_SIZE"), len(list((PROC / "fd").iterdir()))))


def long_run(folder):
    """Train for 250 epochs; returns the usage after 50 and 250, and what the first and the last row hold."""
    usage = Usage()
    cpc = small_cpc(max_epochs=250, callbacks=[usage], checkpoint=Checkpoint(folder / "kept", every=25))
    cpc.fit(write_samples(folder, CLIPS))
    return usage.seen, [sorted(cpc.history_[row]) for row in (0, -1)]


RUN = "import json, pathlib, test_hard_numbers as test; print(json.dumps(test.long_run(pathlib.Path())))"


@needs_proc
def test_250_epochs_use_no_more_memory_and_files_than_50(run_anew, tmp_path):
    # In a process of its own: pages that other tests have freed are taken again when training happens on them.
    ended = run_anew(RUN, tmp_path)
    assert ended.returncode == 0, ended.stderr
    ((early, files), (late, files_late)), (first, last) = json.loads(ended.stdout)
    assert late - early < 4e6  # 20 kB an epoch; rows of the history take a third
    assert files_late == files
    assert first == last


@needs_proc
def test_fits_and_transforms_leave_no_file_open(corpus, tmp_path):
    cpc = small_cpc(memory=tmp_path / "decoded", checkpoint=tmp_path / "kept")
    counts = []
    for _ in range(3):
        cpc.fit(corpus.paths).transform(corpus.paths)
        counts.append(len(list((PROC / "fd").iterdir())))
    assert counts[2] <= counts[0]
