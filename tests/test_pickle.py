"""All that a program holds goes to other processes and comes back: estimators, recipes, results and errors."""

import inspect

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from corpus import RATE, rising_tones, small_cpc
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from skorch.callbacks import EarlyStopping

import sklearn_cpc
from sklearn_cpc import AutoencoderReducer, Checkpoint, Clip, EmbeddingMonitor, LinearProbe, MFCCTransformer
from sklearn_cpc.archive import EmbeddingIndex
from sklearn_cpc.audio.reading import UnreadableAudioError
from sklearn_cpc.displays import ConfusionDisplay, EmbeddingMap
from sklearn_cpc.training.net import NonFiniteLossError

CLIPS, CLASSES = rising_tones(12), np.arange(12) % 2
REDUCER = {"encoder_units": (8,), "decoder_units": (8,), "max_epochs": 1, "random_state": 0}


def there_and_back(value):
    return cloudpickle.loads(cloudpickle.dumps(value))


def monitor():
    return EmbeddingMonitor(labelled=(CLIPS, CLASSES))


def stop_early():
    return EarlyStopping(monitor="valid_knn_accuracy", lower_is_better=False, load_best=True)


FITTED = {
    "CPC": lambda folder: small_cpc(),
    "CPC with callbacks": lambda folder: small_cpc(callbacks=[monitor(), stop_early()], max_epochs=3),
    "CPC with checkpoints": lambda folder: small_cpc(checkpoint=Checkpoint(folder / "kept", every=2)),
    "CPC with memory": lambda folder: small_cpc(memory=folder / "decoded"),
    "MFCC": lambda folder: MFCCTransformer(4, sample_rate=RATE, n_fft=64, hop_length=32, n_mels=8),
    "pipeline": lambda folder: make_pipeline(small_cpc(), AutoencoderReducer(3, **REDUCER)),
    "pipeline with a probe": lambda folder: make_pipeline(small_cpc(), LinearProbe(max_epochs=1, random_state=0)),
}


@pytest.mark.parametrize("name", FITTED)
def test_estimators_compute_the_same_elsewhere(name, tmp_path):
    there = there_and_back(FITTED[name](tmp_path)).fit(CLIPS, CLASSES)
    back = there_and_back(there)
    method = "predict_proba" if hasattr(there, "predict_proba") else "transform"
    assert_array_equal(getattr(back, method)(CLIPS), getattr(there, method)(CLIPS))
    again = FITTED[name](tmp_path / "other").fit(CLIPS, CLASSES)
    assert_array_equal(getattr(again, method)(CLIPS), getattr(there, method)(CLIPS))
    assert_array_equal(getattr(back.fit(CLIPS, CLASSES), method)(CLIPS), getattr(there, method)(CLIPS))


PUBLIC = [
    kind
    for kind in map(sklearn_cpc.__dict__.get, sklearn_cpc.__all__)
    if inspect.isclass(kind) and issubclass(kind, (BaseEstimator, EmbeddingMonitor))
]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_parameters_of_every_estimator_and_recipe_come_back(kind):
    assert len(PUBLIC) == 15
    made = Checkpoint("folder", every=3) if kind is Checkpoint else kind()
    back = there_and_back(made)
    assert type(back) is kind
    assert vars(back) == vars(made)


def test_errors_come_back_with_all_they_say():
    errors = [UnreadableAudioError({"a.wav": "is empty", "b.wav": "is gone"}, 5), NonFiniteLossError("lower lr")]
    for error in errors:
        back = there_and_back(error)
        assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_clips_and_frames_come_back():
    clip = Clip("a.wav", 1.5, 2.0)
    assert there_and_back(clip) == clip
    frames = small_cpc().fit(CLIPS).transform_frames(CLIPS)
    for one, other in zip(there_and_back(frames), frames, strict=True):
        assert_array_equal(one.embeddings, other.embeddings)


def test_results_for_figures_come_back():
    confusion = ConfusionDisplay(np.eye(2) / 2, display_labels=["a", "b"])
    assert_array_equal(there_and_back(confusion).confusion_matrix, confusion.confusion_matrix)
    points = np.random.default_rng(0).standard_normal((9, 2))
    windows = pd.DataFrame({"path": ["a.wav"] * 9, "onset": np.arange(9.0), "duration": 1.0})
    drawn = EmbeddingMap(points, np.zeros((9, 2), int), windows)
    pd.testing.assert_frame_equal(there_and_back(drawn).windows, windows)


def test_index_finds_the_same_elsewhere():
    index = EmbeddingIndex(np.random.default_rng(0).standard_normal((30, 4)))
    expected = index.query(np.ones(4), k=3)
    pd.testing.assert_frame_equal(there_and_back(index).query(np.ones(4), k=3), expected)
