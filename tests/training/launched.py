"""What the processes of a distributed training run in the tests: launched.py FOLDER PART..."""

import contextlib
import io
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus import RATE, rising_tones, small_cpc
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils import check_random_state
from torch import nn

from sklearn_cpc import (
    Augmentation,
    CausalAttentionContext,
    EmbeddingMonitor,
    InfoNCE,
    LinearProbe,
    LogMelEncoder,
    LSTMContext,
)


class Experts(nn.Module):
    """A context that leads every clip through one of two layers: the clips of a rank may reach one alone."""

    def __init__(self, z_dim, n_context):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(z_dim, 8) for _ in range(2))

    def forward(self, z):
        c, choice = torch.zeros_like(z), (z[:, 0, 0].detach() * 50).floor() % 2
        for number, layer in enumerate(self.layers):
            if (choice == number).any():
                c[choice == number] = layer(z[choice == number])
        return c


SIZES = {"n_mels": 4, "n_filters": 8, "z_dim": 8, "sample_rate": RATE}
SMALL = LogMelEncoder(**SIZES, window_duration=0.032, strides=(1, 1, 1))
EFFECTS = {
    "pitch": 2,
    "reverb": 0.1,
    "gain": 6,
    "equalization": 3,
    "band_mask": 0.2,
    "mixing": (5, 20),
    "time_mask": 0.2,
}
MIXED = {"negatives": "mixed", "n_across": 7, "similarity": "cosine", "predict_from": "all"}
BEST = {"monitor": "valid_score", "lower_is_better": False, "patience": 2}
CASES = {  # by what they show; batches of 5 and 6 clips, which neither two nor three processes share evenly
    "same steps": {"objective": InfoNCE()},
    "same steps, all positions": {"objective": InfoNCE(predict_from="all", step_weights="linear")},
    "within": {"objective": InfoNCE(negatives="within", similarity="cosine")},
    "recommended": {
        "objective": InfoNCE(**MIXED),
        "autoregressor": LSTMContext(c_dim=8),
        "augmentation": Augmentation(noise=(10, 40), mixing=(5, 20)),
        "schedule": "cosine",
    },
    "all effects": {"augmentation": Augmentation(**EFFECTS)},
    "dropout": {"autoregressor": CausalAttentionContext(c_dim=8, dropout=0.2), "encoder__dropout": 0.2},
    "experts": {"autoregressor": Experts, "callbacks": [GradientNormClipping(0.05)]},
    "validation": {"validation_fraction": 0.2, "callbacks": [EarlyStopping(**BEST), EmbeddingMonitor()]},
}
TRAINED_BY_ROUNDING = "in_proj_bias"  # adds the same to all scores of a head: its true gradient is 0


def ragged_tones():
    """Clips of 0.15 to 1.2 s."""
    lengths = np.random.default_rng(0).integers(150, 400, 12)
    clips = [clip[:length] for clip, length in zip(rising_tones(12), lengths, strict=True)]
    return [*clips, *rising_tones(12, seed=1).reshape(4, 1200)][::-1]


def make(case, **changes):
    """Build the estimator of a case."""
    options = {
        "encoder": clone(SMALL),
        "batch_size": 6,
        "max_epochs": 3,
        "precision": "float32",
        **CASES.get(case, {}),
    }
    return small_cpc(**{**options, **changes})


def weights(cpc):
    """Return the weights of a fitted estimator as arrays."""
    return {name: values.numpy() for name, values in cpc.network_.state_dict().items()}


class At(Callback):
    """Do something in the second epoch, on one rank or on all."""

    def __init__(self, action, rank=None):
        self.action, self.rank = action, rank

    def on_batch_end(self, net, **_):
        if len(net.history) == 2 and self.rank in (None, int(os.environ["RANK"])):
            self.action()


class EndAfter:
    """A callback of scikit-learn that ends a training after so many epochs, and counts those it is told of."""

    def __init__(self, n_epochs):
        self.n_epochs, self.n_told = n_epochs, 0

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        self.n_told += context.task_name == "epoch"
        return self.n_told == self.n_epochs


class NoteBatches(Callback):
    """Note the recordings of all batches, and draw from NumPy's global generator."""

    batches = ()

    def on_epoch_begin(self, net, **_):
        check_random_state(None).uniform()

    def on_epoch_end(self, net, dataset_train, **_):
        NoteBatches.batches += (dataset_train._rows,)


class EndOnRank(Callback):
    """End the training after two epochs as EarlyStopping does, on one rank."""

    def __init__(self, rank):
        self.rank = rank

    def on_epoch_end(self, net, **_):
        if len(net.history) == 2 and self.rank == int(os.environ["RANK"]):
            raise KeyboardInterrupt


class FitProbe(Callback):
    """Fit another estimator after every epoch, in the first process alone."""

    def on_epoch_end(self, net, **_):
        if os.environ["RANK"] == "0":
            net.history.record("probe", fit_probe().history_[-1]["train_loss"])


def fit_probe():
    return LinearProbe(max_epochs=2, random_state=0).fit(rising_tones(12)[:, :20], [0, 1] * 6)


def fail():
    raise OSError("the disk is on fire")


def train_cases(folder, rank):
    """Fit all cases, and resume from a checkpoint of one process."""
    paths, fits = sorted(map(str, folder.glob("*.wav"))), {case: make(case) for case in CASES}
    fits["batch norm"] = small_cpc(batch_size=6, max_epochs=3)
    fits["resumed"] = make("recommended", max_epochs=4, checkpoint=folder / "from-one")
    for case, cpc in fits.items():
        cpc.set_params(distributed=True).fit(paths)
        np.savez(folder / f"{case}-{os.environ['WORLD_SIZE']}-{rank}.npz", **weights(cpc))
        yield case, {"history": cpc.history_, "n_iter": cpc.n_iter_}


def try_errors(folder, rank):
    """Fit what fails on one rank or on all; each is followed by a fit that works."""
    clips = rising_tones(12)
    failing = {
        "file": ({}, clips if rank else ["missing.wav"]),
        "order": ({}, clips[::-1] if rank else clips),
        "rate": ({"lr": 1e-3 * (1 + rank)}, clips),
        "checkpoint": ({"checkpoint": None if rank else folder / "from-first"}, clips),
        "end of first": ({"callbacks": [EndOnRank(0)]}, clips),
        "end of second": ({"callbacks": [EndOnRank(1)]}, clips),
        "loss": ({"lr": 1e30}, clips),
        "callback": ({"callbacks": [At(fail, rank=1)]}, clips),
        "clips": ({"batch_size": 2}, clips[:3]),
        "directory": ({"checkpoint": __file__}, clips),
    }
    for name, (changes, X) in failing.items():
        cpc, start = make(None, distributed=True, **changes), time.monotonic()
        try:
            cpc.fit(X)
        except Exception as error:
            yield name, {"error": f"{type(error).__name__}: {error}", "seconds": time.monotonic() - start}
        make(None, distributed=True, max_epochs=1).fit(clips)


def try_features(folder, rank):
    """Use what surrounds a fit."""
    clips, outputs = rising_tones(12), io.StringIO()
    alone = make("recommended", random_state=rank).fit(clips)
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(outputs):
        warnings.simplefilter("always")
        cpc = make("recommended", random_state=None, max_epochs="auto", distributed=True, verbose=1).fit(clips)
    yield "talk", {"warnings": [str(warning.message) for warning in caught], "bar": "CPC:" in outputs.getvalue()}
    yield "verbose", cpc.verbose
    cpc = make(None, distributed=True, max_epochs=2, callbacks=[FitProbe()]).fit(clips)
    make(None, distributed=True, random_state=None, callbacks=[NoteBatches()]).fit(clips)
    yield "batches", NoteBatches.batches
    yield "probes", [*(row["probe"] for row in cpc.history_), fit_probe().history_[-1]["train_loss"]]
    again = make("recommended", random_state=None, distributed=True).fit(clips).partial_fit(clips)
    np.savez(folder / f"partial-{rank}.npz", **weights(again))
    np.savez(folder / f"alone-{rank}.npz", **weights(alone))
    np.savez(folder / f"features-{rank}.npz", cpc.transform(clips))
    search = GridSearchCV(make("recommended", distributed=True), {"lr": [1e-4, 1e-2]}, cv=2, error_score="raise")
    yield "search", search.fit(clips).cv_results_["mean_test_score"].tolist()
    make("recommended", distributed=True, max_epochs=2, checkpoint=folder / "from-two").fit(clips)
    if hasattr(cpc, "set_callbacks"):  # since scikit-learn 1.9
        end = EndAfter(2)
        cpc = make(None, distributed=True, max_epochs=5).set_callbacks(end).fit(clips)
        np.savez(folder / f"ended-{rank}.npz", **weights(cpc))
        yield "ended", [cpc.n_iter_, cpc.interrupted_, end.n_told]
        cpc.set_params(distributed=False).partial_fit(clips)
        yield "callbacks stay", end.n_told


def go_on(folder, rank):
    """Catch an error that one process has in the middle of an epoch, and fit again."""
    for callbacks in ([At(fail, rank=1)], None):
        try:
            yield "n_iter", make(None, distributed=True, callbacks=callbacks).fit(rising_tones(12)).n_iter_
        except (OSError, RuntimeError) as error:
            yield "error", type(error).__name__


def be_killed(folder, rank):
    """Lose a process in the middle of an epoch."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which the launcher ends the other
    killed = At(lambda: os.kill(os.getpid(), signal.SIGKILL), rank=1)
    try:
        make(None, distributed=True, callbacks=[killed]).fit(rising_tones(12))
    except RuntimeError as error:
        yield "error", str(error)


def be_interrupted(folder, rank):
    """Train until Ctrl-C."""
    cpc = make(None, distributed=True, max_epochs=10**6, callbacks=[At((folder / f"ready-{rank}").touch)])
    try:
        cpc.fit(rising_tones(12))
    except (KeyboardInterrupt, RuntimeError) as error:
        yield "error", type(error).__name__
        yield "left", [cpc.interrupted_, cpc.n_iter_ >= 1, len(cpc.history_) == cpc.n_iter_]


PARTS = {part.__name__: part for part in (train_cases, try_errors, try_features, go_on, be_killed, be_interrupted)}

if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    name, results = f"{os.environ['WORLD_SIZE']}-{rank}", {}
    (folder / f"pid-{name}").write_text(str(os.getpid()))
    for part in sys.argv[2:]:
        results[part] = dict(PARTS[part](folder, rank))
        (folder / f"results-{name}.json").write_text(json.dumps(results))
