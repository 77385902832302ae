"""A network of the same size as CPC's, trained end to end from labels, to compare with.

SupervisedNetwork trains the encoder and the autoregressor of a CPCTransformer by cross entropy, with the same
pooling, trimming and augmentation, and a linear layer on top. It is a scikit-learn classifier of recordings.
"""

import copy

import joblib
import librosa
import numpy as np
import soundfile
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state
from torch import nn


class SupervisedNetwork(ClassifierMixin, BaseEstimator):
    """Classify recordings with the network of ``cpc``, trained from their labels alone.

    In training, a recording is a random part of at most ``clip_duration`` seconds; predictions hear all of it.
    The learning rate rises to ``lr`` and falls to zero. The ``memory`` of ``cpc`` keeps decoded recordings.
    """

    def __init__(self, cpc, *, max_epochs=40, batch_size=32, lr=1e-3, clip_duration=2.0, random_state=None):
        self.cpc = cpc
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.clip_duration = clip_duration
        self.random_state = random_state

    def fit(self, X, y):
        random = check_random_state(self.random_state)
        self.classes_, targets = np.unique(y, return_inverse=True)
        cpc = clone(self.cpc).set_params(max_epochs=0, random_state=random.randint(2**31 - 1))
        cpc.fit(random.standard_normal((1, cpc.encoder.sample_rate)))  # any samples give it its initial weights
        self.rate_ = cpc.sample_rate_
        recordings = self._read(X)
        n_longest = round(self.clip_duration * self.rate_)
        batches = np.array_split(np.arange(len(X)), -(-len(X) // self.batch_size))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng():
            torch.manual_seed(random.randint(2**31 - 1))
            self.network_ = Classifier(cpc, len(self.classes_)).to(device).train()
            optimizer = torch.optim.AdamW(self.network_.parameters(), self.lr, weight_decay=0.01)
            n_steps = max(1, self.max_epochs * len(batches))
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=n_steps)
            for _ in range(self.max_epochs):
                order = random.permutation(len(X))
                for batch in batches:
                    rows = order[batch]
                    clips = [cut(recordings[row], n_longest, random) for row in rows]
                    loss = nn.functional.cross_entropy(
                        self.network_(*pad(clips, self.network_.samples_per_step, device)),
                        torch.from_numpy(targets[rows]).to(device),
                        label_smoothing=0.1,
                    )
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(self.network_.parameters(), 1.0)
                    optimizer.step()
                    schedule.step()
        self.network_.to("cpu").eval()
        return self

    def predict(self, X):
        with torch.inference_mode():
            clips = [pad([samples], self.network_.samples_per_step, "cpu") for samples in self._read(X)]
            return self.classes_[[int(self.network_(*clip).argmax()) for clip in clips]]

    def _read(self, X):
        memory = joblib.Memory(self.cpc.memory, verbose=0)
        return [memory.cache(read_samples)(path, self.rate_, self.cpc.trim) for path in X]


def read_samples(path, rate, trim):
    """Return the samples of a recording, without what is more than ``trim`` dB below its loudest at the ends."""
    samples, file_rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = librosa.resample(samples.mean(axis=1), orig_sr=file_rate, target_sr=rate)
    return samples if trim is None else librosa.effects.trim(samples, top_db=trim)[0]


def cut(samples, n_longest, random):
    """Return a random part of at most ``n_longest`` samples."""
    start = random.randint(max(0, len(samples) - n_longest) + 1)
    return samples[start : start + n_longest]


def pad(clips, samples_per_step, device):
    """Stack clips of different length; return them, and how many steps of each hold sound."""
    n_valid = [max(1, len(clip) // samples_per_step) for clip in clips]
    n_samples = max(n_valid) * samples_per_step
    stacked = np.stack([np.pad(clip[:n_samples], (0, max(0, n_samples - len(clip)))) for clip in clips])
    return torch.from_numpy(stacked).to(device), torch.tensor(n_valid, device=device)


class Classifier(nn.Module):
    """The network of a fitted CPCTransformer, its pooling, and a linear layer on standardised features."""

    def __init__(self, cpc, n_classes):
        super().__init__()
        self.network = copy.deepcopy(cpc.network_)
        self.pooling = [name.split("_") for name in cpc.pooling]  # pairs of a layer and a statistic
        self.samples_per_step = self.network.encoder.samples_per_step
        n_features = sum(self.network.dims[layer] for layer, _ in self.pooling)
        self.head = nn.Sequential(nn.BatchNorm1d(n_features), nn.Dropout(0.2), nn.Linear(n_features, n_classes))

    def forward(self, clips, n_valid):
        if self.training and self.network.augmentation is not None:
            clips = self.network.augmentation(clips)
        layers = self.network.layers(clips, n_valid, {layer for layer, _ in self.pooling})
        step = torch.arange(next(iter(layers.values())).shape[1], device=clips.device)
        silent = (step >= n_valid[:, None])[..., None]
        features = [STATISTICS[name](layers[layer], silent, n_valid[:, None]) for layer, name in self.pooling]
        return self.head(torch.cat(features, dim=1))


def maximum(steps, silent, n_valid):
    """Return the maximum of the steps that hold sound, (batch, dim)."""
    return steps.masked_fill(silent, -torch.inf).amax(1)


def mean(steps, silent, n_valid):
    """Return their mean."""
    return steps.masked_fill(silent, 0).sum(1) / n_valid


def deviation(steps, silent, n_valid):
    """Return their standard deviation; the small number keeps its gradient finite where all are equal."""
    squares = (steps - mean(steps, silent, n_valid)[:, None]).square()
    return (mean(squares, silent, n_valid) + 1e-6).sqrt()


STATISTICS = {"max": maximum, "mean": mean, "std": deviation}
