"""What small fits come to: written to tests/data/numbers.json by this file, and compared by test_numbers.py.

To be written anew only when results are meant to change, and then the changelog says so.
"""

import json
from pathlib import Path

import numpy as np
import torch

from sklearn_cpc import (
    AttentionContext,
    AutoencoderReducer,
    Conv1dEncoder,
    Conv2dEncoder,
    CPCTransformer,
    GRUContext,
    InfoNCE,
    LinearProbe,
    LogMelEncoder,
    LSTMContext,
    MFCCTransformer,
)

FILE = Path(__file__).parent / "data" / "numbers.json"
RATE = 2000


def sounds():
    """40 clips of 2 s and two classes: gliding tones in noise, of shape (40, 4000)."""
    random = np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    rise = np.where(np.arange(40) % 2, 100, -100)[:, None]
    tones = np.sin(2 * np.pi * (random.uniform(300, 500, (40, 1)) * time + rise * time**2))
    return (0.3 * tones + 0.05 * random.standard_normal((40, len(time)))).astype(np.float32)


def transformers():
    """Networks of every kind."""
    encoders = {
        "conv1d": Conv1dEncoder(8, (10, 8, 4), (5, 4, 2), 16, z_dim=8, sample_rate=RATE),
        "conv2d": Conv2dEncoder(
            n_filters=(8, 8, 8, 8), dense_units=16, z_dim=8, n_fft=128, n_mels=16, sample_rate=RATE
        ),
        "logmel": LogMelEncoder(n_filters=16, z_dim=8, n_mels=16, sample_rate=RATE),
    }
    contexts = {"conv1d": GRUContext(8), "conv2d": AttentionContext(1, 2, 8, (16, 8)), "logmel": LSTMContext(8)}
    how = {"clip_duration": 1.0, "n_context": 7, "n_future": 3, "lr": 1e-3, "max_epochs": 2}
    how |= {"precision": "float32", "device": "cpu", "random_state": 0}
    more = {
        "conv1d": {"pooling": ("context", "z_mean")},
        "conv2d": {"schedule": "cosine"},
        "logmel": {
            "objective": InfoNCE(negatives="mixed", predict_from="all"),
            "pooling": ("z_max", "c_mean", "mel_std"),
            "trim": 30,
        },
    }
    return {name: CPCTransformer(encoders[name], contexts[name], **how, **more[name]) for name in encoders}


def numbers():
    """Losses of every epoch, scores and embeddings of two clips, by estimator."""
    X, y = sounds(), np.arange(40) % 2
    found = {}
    for name, cpc in transformers().items():
        embeddings = cpc.fit(X).transform(X)
        found[name] = [*losses(cpc), cpc.score(X), *embeddings[::39].ravel().tolist()]
    mfcc = MFCCTransformer(8, sample_rate=RATE, n_fft=256, hop_length=64, n_mels=16).fit_transform(X)
    found["mfcc"] = mfcc[::39].ravel().tolist()
    reducer = AutoencoderReducer(2, encoder_units=(8,), decoder_units=(8,), lr=1e-2, random_state=0).fit(mfcc)
    found["reducer"] = [*losses(reducer), *reducer.transform(mfcc)[::39].ravel().tolist()]
    probe = LinearProbe(lr=1e-2, random_state=0).fit(mfcc, y)
    found["probe"] = [*losses(probe), *probe.predict_proba(mfcc)[::39].ravel().tolist()]
    return found


def losses(estimator):
    """Loss of every epoch."""
    return [row["train_loss"] for row in estimator.history_]


if __name__ == "__main__":
    torch.set_num_threads(1)
    FILE.write_text(json.dumps(numbers(), indent=1) + "\n")
