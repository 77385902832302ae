"""CPCTransformer: what goes in, what comes out, and what training promises."""

import contextlib
import functools
import itertools
import math
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from corpus import CLIP, N_STEPS, RATE, rising_tones, small_cpc, small_encoder, write_corpus, write_samples
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from sklearn_cpc import (
    AttentionContext,
    Augmentation,
    CausalAttentionContext,
    Clip,
    Conv1dEncoder,
    CPCTransformer,
    GRUContext,
    InfoNCE,
    LogMelEncoder,
    LSTMContext,
    load,
)
from sklearn_cpc.audio.reading import read_audio
from sklearn_cpc.displays import LossCurveDisplay
from sklearn_cpc.evaluation.representations import untrained_twin
from sklearn_cpc.training.schedules import cosine

CLOSE = {"rtol": 1e-4, "atol": 1e-6}  # float32, added up in another order


@pytest.fixture(scope="module")
def fitted(corpus):
    """Fitted on the corpus. Not to be changed."""
    return small_cpc().fit(corpus.paths)


@pytest.fixture(scope="module")
def samples(corpus):
    """The corpus at the rate of the network, (12, 1000). Not to be changed."""
    return np.stack([read_audio(path, RATE) for path in corpus.paths])


@pytest.fixture(scope="module")
def tones():
    """Twelve clips. Not to be changed."""
    return rising_tones(12)


@pytest.fixture
def opened(monkeypatch):
    """Files that soundfile opens, to read or to write, as they come."""
    paths, original = [], soundfile.SoundFile.__init__

    def counting(self, file, *args, **kwargs):
        paths.append(os.fsdecode(file))
        original(self, file, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "__init__", counting)
    return paths


def small_logmel(**changes):
    """Build a recipe for clips of any number of steps."""
    return LogMelEncoder(**{"n_filters": 8, "z_dim": 8, "n_mels": 8, "sample_rate": RATE, **changes})


def noisy(**changes):
    """Build a recipe that draws from the generator for every clip."""
    return Augmentation(**{"noise": (0, 10), "pitch": 2.0, "mixing": (5, 10), **changes})


def weights_of(module):
    return {name: weights.clone() for name, weights in module.state_dict().items()}


def differences(one, other):
    """Names of the weights that differ by a bit or more."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


class Watch(Callback):
    """Records in the history, by name, what functions make of the net at the end of each epoch."""

    def __init__(self, observations):
        self.observations = observations

    def on_epoch_end(self, net, **_):
        for name, observe in self.observations.items():
            net.history.record(name, observe(net))


class Heard(Callback):
    """Records the clips of each epoch in order, each by the sum of its samples."""

    def on_batch_begin(self, net, batch=None, training=False, **_):
        clips, _ = batch
        net.history.record_batch("heard", clips["clips"].sum(dim=1).tolist())

    def on_epoch_end(self, net, **_):
        batches = net.history[-1, "batches", :, "heard"]
        net.history.record("heard", [clip for batch in batches for clip in batch])


class Fails(Callback):
    """Raises in the middle of the first epoch."""

    def __init__(self, error):
        self.error = error

    def on_batch_end(self, net, **_):
        raise self.error


# What X may be

FORMS = {
    "list of str": list,
    "tuple of str": tuple,
    "list of Path": lambda paths: [Path(path) for path in paths],
    "array of str": np.array,
    "object array of Path": lambda paths: np.array([Path(path) for path in paths], dtype=object),
    "Series": pd.Series,
    "frame of one column": lambda paths: pd.DataFrame({"file": paths}),
    "list of Clip": lambda paths: [Clip(path) for path in paths],
    "list of tuples": lambda paths: [(path, 0.0, None) for path in paths],
    "object array of clips": lambda paths: np.array([(path, 0.0, 1.0) for path in paths], dtype=object),
    "frame of clips": lambda paths: pd.DataFrame({"onset": 0.0, "path": paths, "duration": 1.0}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_recordings_gives_the_same_rows(form, corpus, fitted):
    X = FORMS[form](corpus.paths)
    expected = fitted.transform(corpus.paths)
    assert expected.shape == (12, 8)
    assert_array_equal(fitted.transform(X), expected)
    assert_array_equal(small_cpc().fit_transform(X), expected)


def test_recordings_and_their_samples_give_the_same_embeddings(corpus, samples, fitted):
    assert_array_equal(small_cpc().fit_transform(samples), fitted.transform(corpus.paths))
    assert_array_equal(fitted.transform(samples), fitted.transform(corpus.paths))


def test_training_on_clips_hears_the_clips_alone(corpus, samples):
    clips = [Clip(path, 0.2, 0.4) for path in corpus.paths]
    assert_array_equal(small_cpc().fit_transform(clips), small_cpc().fit_transform(samples[:, 200:600]))


def test_the_context_of_a_path_is_the_mean_over_its_clips(corpus, fitted):
    path = corpus.paths[0]
    clips = fitted.transform([Clip(path, onset, 0.4) for onset in (0.0, 0.4, 0.6)])
    assert_allclose(fitted.transform([path])[0], clips.mean(axis=0), **CLOSE)


class WindowMeans(nn.Module):
    """An encoder whose embedding of a step is the mean of its samples, and their maximum."""

    sample_rate = RATE

    def forward(self, samples):
        windows = samples.reshape(len(samples), N_STEPS, -1)
        return torch.stack([windows.mean(2), windows.amax(2)], dim=2)


def window_means(**changes):
    pooling = ("z_mean", "z_std", "z_max", "z_thirds")
    return small_cpc(encoder=WindowMeans(), pooling=pooling, max_epochs=0, **changes)


STEP = CLIP // N_STEPS


@pytest.mark.parametrize("n_samples", [5 * CLIP, 5 * CLIP - 3 * STEP, 7 * CLIP + STEP, 2 * CLIP + 5 * STEP, CLIP])
@pytest.mark.parametrize("n_clips", [None, 40])
def test_every_step_counts_once_in_statistics(n_samples, n_clips, tmp_path):
    n_steps = n_samples // STEP
    first = np.where(np.arange(n_samples) < n_samples / 5, 1.0, 0.0)
    ramp = np.repeat((np.arange(n_steps) + 0.5) / n_steps, STEP)
    paths = write_samples(tmp_path, [first, ramp])
    cpc = window_means(n_clips=n_clips).fit(paths)
    fifth, line = cpc.transform(paths)[:, ::2]
    steps = first.reshape(n_steps, STEP).mean(1)
    assert_allclose(fifth[:3], [0.2, steps.std(), steps.max()], atol=1e-6)
    assert_allclose(line[:3], [0.5, ramp.std(), ramp.max()], atol=1e-6)
    thirds = np.repeat(ramp[::STEP], 3).reshape(3, n_steps).mean(1)  # near 1/6, 1/2, 5/6
    assert_allclose(line[3:], thirds, atol=1e-6)


@pytest.mark.parametrize("n_samples", [1, 30, 70, CLIP - 1, CLIP + 1, 3 * CLIP - 30, 5 * CLIP + 120])
def test_statistics_are_those_of_the_frames(n_samples, tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (3, n_samples))
    paths = write_samples(tmp_path, samples)
    for encoder in (WindowMeans(), small_logmel(), small_logmel(centring=None)):
        cpc = small_cpc(encoder=encoder, pooling=("z_mean", "z_max"), max_epochs=0).fit(paths)
        frames = [frame.embeddings for frame in cpc.transform_frames(paths)]
        expected = [np.concatenate([steps.mean(0), steps.max(0)]) for steps in frames]
        assert_allclose(cpc.transform(paths), expected, **CLOSE)


@pytest.mark.parametrize("encoder", [small_encoder(), small_logmel(centring=None)], ids=["conv1d", "logmel"])
def test_the_context_hears_the_end_of_a_long_recording_too(encoder, samples, tmp_path):
    other = samples[:1].copy()
    other[:, 700:] = samples[1, 700:]
    paths = write_samples(tmp_path, [samples[0], other[0]])
    one, changed = small_cpc(encoder=encoder, pooling="context").fit(paths).transform(paths)
    assert np.abs(one - changed).max() > 1e-4


def test_a_clip_is_embedded_like_a_file_of_its_samples(corpus, samples, fitted, tmp_path):
    [path] = write_samples(tmp_path, samples[:1, 300:700])
    assert_array_equal(fitted.transform([Clip(corpus.paths[0], 0.3, 0.4)]), fitted.transform([path]))


@pytest.mark.parametrize(("n_clips", "onsets"), [(1, [0.3]), (2, [0.0, 0.6]), (4, [0.0, 0.2, 0.4, 0.6])])
def test_n_clips_are_spread_evenly_and_averaged(n_clips, onsets, corpus, fitted):
    path = corpus.paths[3]
    clips = fitted.transform([Clip(path, onset, 0.4) for onset in onsets])
    row = small_cpc(n_clips=n_clips).fit(corpus.paths).transform([path])
    assert_allclose(row[0], clips.mean(axis=0), **CLOSE)


def test_rows_do_not_depend_on_order_company_or_batch_size(corpus):
    cpc = small_cpc().fit(corpus.paths)
    together = cpc.transform(corpus.paths)
    assert_allclose(cpc.transform(corpus.paths[::-1])[::-1], together, **CLOSE)
    assert_allclose(np.vstack([cpc.transform([path]) for path in corpus.paths]), together, **CLOSE)
    assert_allclose(cpc.set_params(batch_size=100).transform(corpus.paths), together, **CLOSE)


def test_clips_keep_the_length_and_steps_of_the_fit(corpus, fitted):
    cpc = small_cpc().fit(corpus.paths).set_params(clip_duration=0.7, n_context=3, n_future=9)
    assert_array_equal(cpc.transform(corpus.paths), fitted.transform(corpus.paths))
    assert cpc.score(corpus.paths) == fitted.score(corpus.paths)
    assert len(cpc.transform_frames(corpus.paths[:1])[0].times) == 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_of_samples_is_the_type_of_embeddings(dtype, tones, fitted):
    embeddings = fitted.transform(tones.astype(dtype))
    assert embeddings.dtype == dtype
    assert_allclose(embeddings, fitted.transform(tones), **CLOSE)
    assert all(weights.dtype == torch.float32 for weights in fitted.network_.parameters())


def test_recordings_are_embedded_in_float32(corpus, fitted):
    assert fitted.transform(corpus.paths).dtype == np.float32


def test_arrays_of_another_width_are_refused_after_a_fit_on_an_array(tones):
    cpc = small_cpc().fit(tones)
    assert cpc.n_features_in_ == CLIP
    with pytest.raises(ValueError, match="X has 399 features, but CPCTransformer is expecting 400"):
        cpc.transform(tones[:, 1:])


def test_a_fit_on_recordings_forgets_the_columns_of_an_earlier_frame(corpus, tones):
    cpc = small_cpc().fit(pd.DataFrame(tones).add_prefix("sample")).fit(corpus.paths)
    assert not hasattr(cpc, "n_features_in_")
    assert not hasattr(cpc, "feature_names_in_")


# Padding and pooling


def test_padding_is_left_out_of_pooling(tones, fitted, tmp_path):
    heard = 4  # of eight steps
    short = tones[:, : CLIP * heard // N_STEPS]
    padded = np.pad(short, ((0, 0), (0, CLIP - short.shape[1])))
    z = np.stack([frames.embeddings[:heard] for frames in fitted.transform_frames(padded)])
    c = np.stack([frames.embeddings[:heard] for frames in fitted.transform_frames(padded, layer="c")])
    cpc = small_cpc(pooling=("z_mean", "z_std", "z_max", "c_mean", "c_std", "c_max", "context"), max_epochs=0)
    cpc.fit(tones)
    cpc.network_ = fitted.network_
    del cpc.n_features_in_  # these clips are shorter
    pools = [z.mean(1), z.std(1), z.max(1), c.mean(1), c.std(1), c.max(1), c[:, -1]]
    assert_allclose(cpc.transform(short), np.hstack(pools), **CLOSE)
    assert_allclose(cpc.transform(write_samples(tmp_path, short)), np.hstack(pools), **CLOSE)


def test_silence_at_the_ends_is_trimmed_but_from_frames(samples):
    padded = np.pad(samples, ((0, 0), (160, 240)))  # frames of 20 ms are 20 samples
    once = np.pad(samples, ((0, 0), (0, 20)))  # what is kept
    cpc, kept = small_cpc(trim=40).fit(padded), small_cpc().fit(once)
    assert differences(weights_of(cpc.network_), weights_of(kept.network_)) == []
    assert_array_equal(cpc.transform(padded), kept.transform(once))
    assert cpc.score(padded) == kept.score(once)
    assert [len(frames.times) for frames in cpc.transform_frames(padded)] == [1400 // 50] * 12
    assert not np.allclose(small_cpc().fit_transform(padded), kept.transform(once), atol=1e-3)


def test_short_recordings_train_beside_long_ones(corpus, tones, tmp_path):
    short = write_samples(tmp_path, tones[:, :150])
    cpc = small_cpc(max_epochs=2).fit(corpus.paths + short)
    assert np.isfinite(cpc.transform(corpus.paths + short)).all()
    assert np.isfinite([row["train_loss"] for row in cpc.history_]).all()


def test_short_recordings_warn_the_caller_that_clips_are_long(tones):
    advice = "no more than 38% of a clip.*a shorter clip_duration.*or encoder='logmel'"
    with pytest.warns(UserWarning, match=advice) as caught:
        small_cpc().fit(tones[:, :150])
    assert [warning.filename for warning in caught] == [__file__]


def test_an_encoder_that_needs_no_padding_does_not_warn(tones):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert small_cpc(encoder=small_logmel()).fit(tones[:, :150]).n_iter_ == 1


@pytest.mark.parametrize("layer", ["z", "c"])
def test_statistics_cover_all_steps_of_a_recording(layer, corpus, fitted):
    clips = [Clip(path, 0.0, 0.8) for path in corpus.paths]  # two clips' length
    frames = np.stack([row.embeddings for row in fitted.transform_frames(clips, layer=layer)])
    assert frames.shape == (12, 16, 8)
    names = [f"{layer}_{name}" for name in ("mean", "std", "max", "thirds")]
    thirds = np.repeat(frames, 3, axis=1).reshape(12, 3, 16, 8).mean(axis=2).reshape(12, 24)
    statistics = [frames.mean(1), frames.std(1), frames.max(1), thirds]
    cpc = small_cpc(pooling=names, max_epochs=0).fit(corpus.paths)
    cpc.network_ = fitted.network_
    assert_allclose(cpc.transform(clips), np.hstack(statistics), **CLOSE)


def test_thirds_tell_what_comes_when(corpus, samples):
    cpc = small_cpc(pooling="z_thirds").fit(corpus.paths)
    there = cpc.transform(samples[:, :CLIP]).reshape(12, 3, 8)
    steps = samples[:, :CLIP].reshape(12, N_STEPS, -1)[:, ::-1]
    back = cpc.transform(np.ascontiguousarray(steps).reshape(12, CLIP)).reshape(12, 3, 8)
    assert_allclose(back[:, ::-1], there, **CLOSE)  # each step is encoded by itself
    assert np.abs(back - there).max() > 1e-3


@pytest.mark.parametrize("pooling", [("context", "z_mean"), ["z_max", "c_std", "z_max"], ("c_mean",)])
def test_several_poolings_are_concatenated(pooling, tones):
    both = small_cpc(pooling=pooling).fit(tones)
    parts = [clone(both).set_params(pooling=pool).fit_transform(tones) for pool in pooling]
    assert_allclose(both.transform(tones), np.hstack(parts), **CLOSE)


def test_feature_names_follow_the_estimator_and_the_pooling(tones):
    encoder, context = small_encoder(z_dim=6), GRUContext(c_dim=5)
    cpc = small_cpc(encoder=encoder, autoregressor=context, pooling=("z_mean", "context", "c_max")).fit(tones)
    names = cpc.get_feature_names_out()
    assert names.tolist() == [f"cpctransformer{i}" for i in range(6 + 5 + 5)]
    assert cpc.transform(tones).shape == (12, 16)


@pytest.mark.parametrize(
    ("layer", "centring", "gain"),
    [("mel", 0.5, 20), ("centred", None, 20 / 50), ("centred", 0.5, 0.0)],  # 50 dB become 1
)
def test_mel_bands_are_pooled_where_the_encoder_has_them(tones, layer, centring, gain):
    encoder, pooling = small_logmel(n_mels=6, centring=centring), (f"{layer}_mean", "z_mean", f"{layer}_thirds")
    embeddings = small_cpc(encoder=encoder, pooling=pooling).fit_transform(tones)
    assert embeddings.shape == (12, 6 + 8 + 18)
    louder = small_cpc(encoder=encoder, pooling=pooling, max_epochs=0).fit(tones).transform(10 * tones)
    assert_allclose(louder[:, :6], embeddings[:, :6] + gain, atol=1e-2)
    assert_allclose(embeddings[:, -18:].reshape(12, 3, 6).mean(1), embeddings[:, :6], atol=1e-3)


@pytest.mark.parametrize("autoregressor", [GRUContext(8), CausalAttentionContext(8, n_heads=2, dff=8)], ids=repr)
@pytest.mark.parametrize("centring", [0.5, None])
def test_rows_of_any_length_do_not_depend_on_their_company(autoregressor, centring, samples, tmp_path):
    lengths = [1000, 20, 400, 95, 1000, 401, 130, 260, 55, 999, 700, 310]
    paths = write_samples(tmp_path, [row[:length] for row, length in zip(samples, lengths, strict=True)])
    pooling = ("z_mean", "z_std", "z_max", "z_thirds", "c_mean", "c_thirds", "context", "mel_mean", "centred_max")
    cpc = small_cpc(encoder=small_logmel(centring=centring), autoregressor=autoregressor, pooling=pooling)
    cpc.set_params(objective__predict_from="all").fit(paths)
    alone = np.vstack([cpc.transform([path]) for path in paths])
    assert_allclose(cpc.transform(paths), alone, rtol=1e-3, atol=1e-4)
    assert_allclose(cpc.transform(paths[::-1])[::-1], alone, rtol=1e-3, atol=1e-4)
    frames = np.stack([row.embeddings.mean(axis=0) for row in cpc.transform_frames(paths)])
    assert_allclose(cpc.set_params(pooling="z_mean").transform(paths), frames, rtol=1e-3, atol=1e-4)


def test_the_context_of_attention_is_pooled_with_z(tones):
    cpc = small_cpc(autoregressor=AttentionContext(dense_units=(9, 7)), pooling=("context", "z_mean"))
    assert cpc.fit_transform(tones).shape == (12, 7 + 8)


# Frames


def test_frames_cover_a_recording_from_end_to_end(corpus, fitted):
    [frames] = fitted.transform_frames(corpus.paths[:1])
    assert_allclose(frames.times, 0.025 + 0.05 * np.arange(20))
    assert frames.embeddings.shape == (20, 8)
    [contexts] = fitted.transform_frames(corpus.paths[:1], layer="c")
    assert_allclose(contexts.times, frames.times)
    assert contexts.embeddings.shape == (20, 8)


def test_the_mean_of_the_frames_of_a_clip_is_its_mean_pooling(tones):
    cpc = small_cpc(pooling="z_mean").fit(tones)
    means = np.stack([frames.embeddings.mean(axis=0) for frames in cpc.transform_frames(tones)])
    assert_allclose(means, cpc.transform(tones), **CLOSE)


@pytest.mark.parametrize(("n_samples", "n_frames"), [(30, 1), (399, 8), (401, 8), (424, 8), (426, 9), (600, 12)])
def test_a_rest_of_less_than_half_a_step_is_no_frame(n_samples, n_frames, samples, fitted):
    [frames] = fitted.transform_frames(samples[:1, :n_samples])
    assert len(frames.times) == len(frames.embeddings) == n_frames


def test_frames_of_one_context_per_clip_are_refused(tones):
    cpc = small_cpc(autoregressor=AttentionContext(dense_units=(8,))).fit(tones)
    with pytest.raises(ValueError, match="layer='c' needs a context at every step"):
        cpc.transform_frames(tones, layer="c")
    assert len(cpc.transform_frames(tones)) == 12


def test_an_unknown_layer_is_refused(corpus, fitted):
    with pytest.raises(ValueError, match="layer='x' is unknown; use 'z' or 'c'"):
        fitted.transform_frames(corpus.paths, layer="x")


# Each thing done once


def test_fit_transform_is_fit_then_transform(corpus, fitted):
    assert_array_equal(small_cpc().fit_transform(corpus.paths), fitted.transform(corpus.paths))


def test_fit_transform_decodes_every_file_once(corpus, opened):
    small_cpc(max_epochs=2).fit_transform(corpus.paths + corpus.paths[:3])
    assert sorted(opened) == sorted(corpus.paths)


def test_no_file_is_opened_while_training(corpus, opened):
    cpc = small_cpc(max_epochs=3, callbacks=[Watch({"opened": lambda net: len(opened)})])
    assert [row["opened"] for row in cpc.fit(corpus.paths).history_] == [12, 12, 12]
    assert len(opened) == 12


def test_memory_keeps_decoded_files_and_notices_a_changed_one(tmp_path, opened):
    paths = write_corpus(tmp_path, n_files=4).paths
    opened.clear()
    cpc = small_cpc(memory=str(tmp_path / "cache"), max_epochs=0)
    before = cpc.fit_transform(paths)
    assert len(opened) == 4
    assert_array_equal(cpc.fit_transform(paths), before)
    assert_array_equal(clone(cpc).fit(paths[1:]).transform(paths), before)
    assert len(opened) == 4
    soundfile.write(paths[2], np.random.default_rng(0).uniform(-0.1, 0.1, 9000), 8000)
    opened.clear()
    after = cpc.transform(paths)
    assert opened == [paths[2]]
    assert (after != before).any(axis=1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("predict_from", ["last", "all"])
@pytest.mark.parametrize("negatives", ["across", "within", "mixed"])
def test_every_window_of_a_batch_is_encoded_once(negatives, predict_from, corpus):
    clips, windows = [], []

    def note(shapes, part, inputs):
        if part.training:
            shapes.append(tuple(inputs[0].shape))

    def encoder(n_samples, n_steps):
        module = small_encoder()(n_samples, n_steps)
        module.register_forward_pre_hook(lambda *call: note(clips, *call))
        module.network.register_forward_pre_hook(lambda *call: note(windows, *call))
        return module

    encoder.sample_rate = RATE
    objective = {"objective__negatives": negatives, "objective__predict_from": predict_from}
    small_cpc(encoder=encoder, clip_duration=0.6, n_context=27, n_future=3, max_epochs=2, **objective).fit(
        corpus.paths
    )
    assert clips == [(4, 600)] * 6
    assert windows == [(4 * 30, 1, 20)] * 6


# Memory


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_embeddings_do_not_depend_on_the_chunks_that_are_read(corpus, monkeypatch, n_jobs):
    cpc = small_cpc(max_epochs=0, pooling=("context", "z_max"), trim=40.0, n_jobs=n_jobs).fit(corpus.paths)
    rows, frames = cpc.transform(corpus.paths), cpc.transform_frames(corpus.paths)
    monkeypatch.setattr("sklearn_cpc.audio.store.CHUNK_BYTES", 1)  # and beyond it on disk
    assert_allclose(cpc.transform(corpus.paths), rows, rtol=1e-4, atol=1e-6)
    for one, other in zip(cpc.transform_frames(corpus.paths), frames, strict=True):
        assert_allclose(one.embeddings, other.embeddings, rtol=1e-4, atol=1e-6)


def test_training_on_recordings_that_lie_on_disk_is_the_same_bit_by_bit(corpus, monkeypatch):
    in_ram = small_cpc(max_epochs=2).fit_transform(corpus.paths)
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", "1e-9")
    assert_array_equal(small_cpc(max_epochs=2).fit_transform(corpus.paths), in_ram)


@pytest.mark.parametrize("number", ["none", "0", "-1"])
def test_a_budget_of_ram_that_is_no_number_is_named(corpus, monkeypatch, number):
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", number)
    with pytest.raises(RuntimeError, match=f"SKLEARN_CPC_RAM_GB='{number}' must be a number above 0"):
        small_cpc().fit(corpus.paths)


def test_a_recording_longer_than_a_part_is_embedded_from_disk_as_from_ram(tmp_path, monkeypatch):
    path = str(tmp_path / "long.wav")
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(40 * RATE), RATE, subtype="FLOAT")
    cpc = small_cpc(max_epochs=0, pooling=("context", "z_mean", "z_std", "z_thirds")).fit([path])
    expected = cpc.transform(read_audio(path, RATE)[None])
    monkeypatch.setattr("sklearn_cpc.audio.store.CHUNK_BYTES", 4 * RATE)
    assert_allclose(cpc.transform([path]), expected, rtol=1e-4, atol=1e-6)


# Determinism


def test_the_same_seed_gives_the_same_network_bit_for_bit(corpus):
    one, other = (small_cpc(max_epochs=2).fit(corpus.paths) for _ in range(2))
    assert differences(weights_of(one.network_), weights_of(other.network_)) == []
    assert [row["train_loss"] for row in one.history_] == [row["train_loss"] for row in other.history_]


def test_another_seed_gives_another_network(corpus):
    one, other = (small_cpc(random_state=seed).fit(corpus.paths) for seed in (0, 1))
    assert differences(weights_of(one.network_), weights_of(other.network_)) != []


DRAWING = {
    "augmentation": noisy(),
    "objective__n_across": 5,
    "objective__negatives": "mixed",
    "objective__predict_from": "all",
}


@pytest.mark.parametrize("encoder", [small_encoder(), small_logmel(dropout=0.1)], ids=["conv1d", "logmel"])
def test_augmentation_and_windows_drawn_repeat_bit_for_bit(encoder, corpus):
    parameters = {"encoder": encoder, "max_epochs": 2, "validation_fraction": 0.2, "schedule": "cosine", **DRAWING}
    one = small_cpc(**parameters).fit(corpus.paths)
    torch.rand(3)
    other = small_cpc(**parameters).fit(corpus.paths)
    assert differences(weights_of(one.network_), weights_of(other.network_)) == []
    for column in ("train_loss", "valid_score"):
        assert [row[column] for row in one.history_] == [row[column] for row in other.history_]
    assert_array_equal(one.transform(corpus.paths), other.transform(corpus.paths))


@pytest.mark.parametrize(
    "changes", [{"augmentation": noisy()}, {"objective__n_across": 5}], ids=["augmentation", "n_across"]
)
def test_what_is_drawn_matters_and_differs_with_the_seed(changes, corpus, fitted):
    losses = {
        small_cpc(random_state=seed, lr=1e-12, **parameters).fit(corpus.paths).history_[0]["train_loss"]
        for seed in (0, 1)
        for parameters in ({}, changes)
    }
    assert len(losses) == 4


@pytest.mark.parametrize("parameters", [{}, DRAWING], ids=["plain", "drawing"])
def test_global_generators_are_left_alone(parameters, corpus):
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    cpc = small_cpc(n_jobs=2, validation_fraction=0.2, **parameters).fit(corpus.paths)
    cpc.partial_fit(corpus.paths).transform(corpus.paths)
    cpc.score(corpus.paths)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_global_generators_do_not_matter(corpus, fitted):
    torch.manual_seed(7)
    torch.rand(3)
    assert_array_equal(small_cpc().fit_transform(corpus.paths), fitted.transform(corpus.paths))


# Training


def test_an_untrained_twin_has_the_weights_that_training_starts_from(corpus):
    starts = []

    class Start(Callback):
        def on_train_begin(self, net, **_):
            starts.append(weights_of(net.module_))

    trained = small_cpc(callbacks=[Start()]).fit(corpus.paths)
    twin = clone(trained).set_params(max_epochs=0, callbacks=None).fit(corpus.paths)
    assert differences(weights_of(twin.network_), starts[0]) == []
    assert differences(weights_of(twin.network_), weights_of(trained.network_)) != []
    assert (twin.n_iter_, twin.history_) == (0, [])
    assert twin.transform(corpus.paths).shape == (12, 8)


def test_training_beats_the_untrained_twin_on_new_clips():
    train, test = rising_tones(64, seed=0), rising_tones(64, seed=1)
    trained = small_cpc(batch_size=16, max_epochs=30, lr=3e-3).fit(train)
    twin = clone(trained).set_params(max_epochs=0).fit(train)
    assert trained.score(test) > twin.score(test) + 0.15
    assert trained.history_[-1]["train_loss"] < trained.history_[0]["train_loss"] - 0.3
    assert trained.history_[-1]["train_accuracy"] > trained.history_[0]["train_accuracy"] + 0.1


def test_the_loss_starts_at_the_logarithm_of_the_batch_size():
    history = small_cpc(lr=1e-5, batch_size=8).fit(rising_tones(32)).history_
    assert history[0]["train_loss"] == pytest.approx(math.log(8), abs=0.05)


def test_the_history_holds_loss_accuracies_and_duration_of_every_epoch(corpus):
    cpc = small_cpc(max_epochs=2).fit(corpus.paths)
    columns = ["epoch", "train_loss", "train_accuracy", "train_accuracy_1", "train_accuracy_2", "dur"]
    columns += ["n_rows", "seconds"]
    table = pd.DataFrame(cpc.history_)
    assert sorted(table.columns) == sorted(columns)
    assert table["epoch"].tolist() == [1, 2]
    assert table[["n_rows", "seconds"]].to_numpy().tolist() == [[12, 12.0]] * 2  # files of one second
    assert_allclose(table["train_accuracy"], table[["train_accuracy_1", "train_accuracy_2"]].mean(axis=1))


@pytest.mark.parametrize(
    "autoregressor",
    [LSTMContext(8), GRUContext(8, n_layers=2), CausalAttentionContext(8, n_heads=2, dff=8)],
    ids=repr,
)
@pytest.mark.parametrize("encoder", [small_encoder(), small_logmel()], ids=["conv1d", "logmel"])
def test_every_combination_of_parts_is_trained_from_all_positions(encoder, autoregressor, tones):
    cpc = small_cpc(
        encoder=encoder,
        autoregressor=autoregressor,
        objective__predict_from="all",
        objective__negatives="mixed",
        objective__n_across=8,
    )
    cpc.set_params(max_epochs=6, lr=3e-3, objective__similarity="cosine").fit(tones)
    assert cpc.history_[-1]["train_loss"] < cpc.history_[0]["train_loss"] - 0.1
    assert cpc.transform(tones).shape == (12, 8)


def test_one_context_per_clip_is_trained_on_clips_of_any_number_of_steps(tones, tmp_path):
    short = write_samples(
        tmp_path, [row[:length] for row, length in zip(tones, [60, 150, 200, 400] * 3, strict=True)]
    )
    cpc = small_cpc(encoder=small_logmel(), autoregressor=AttentionContext(dense_units=(7,))).fit(short)
    alone = np.vstack([cpc.transform([path]) for path in short])
    assert_allclose(cpc.transform(short), alone, rtol=1e-3, atol=1e-4)


def test_a_projection_is_predicted_and_leaves_embeddings_unchanged(corpus):
    cpc = small_cpc(objective__projection=3, pooling=("z_mean", "context")).fit(corpus.paths)
    assert cpc.network_.projector.weight.shape == (3, 8)
    assert cpc.transform(corpus.paths).shape == (12, 16)
    assert 0 <= cpc.score(corpus.paths) <= 1
    plain = small_cpc(pooling=("z_mean", "context"), max_epochs=0).fit(corpus.paths)
    assert not list(plain.network_.projector.parameters())


def test_augmentation_is_for_training_only(corpus):
    cpc = small_cpc(augmentation=noisy()).fit(corpus.paths)
    before = cpc.transform(corpus.paths), cpc.score(corpus.paths)
    assert_array_equal(cpc.transform(corpus.paths), before[0])
    assert cpc.score(corpus.paths) == before[1]
    plain = small_cpc(max_epochs=0).fit(corpus.paths)
    plain.network_.load_state_dict(cpc.network_.state_dict())
    assert_array_equal(plain.transform(corpus.paths), before[0])
    assert plain.score(corpus.paths) == before[1]


def test_an_augmentation_is_cloned_set_and_pickled_with_the_estimator(corpus):
    cpc = small_cpc(augmentation=noisy(gain=6.0)).fit(corpus.paths)
    assert cpc.get_params()["augmentation__gain"] == 6.0
    copied = clone(cpc)
    assert copied.augmentation is not cpc.augmentation
    assert copied.augmentation.get_params() == cpc.augmentation.get_params()
    assert_array_equal(copied.fit_transform(corpus.paths), cpc.transform(corpus.paths))
    again = pickle.loads(pickle.dumps(cpc))
    assert_array_equal(again.transform(corpus.paths), cpc.transform(corpus.paths))
    before = weights_of(again.network_)
    again.set_params(augmentation__gain=0.0).partial_fit(corpus.paths)
    assert differences(weights_of(again.network_), before) != []
    assert again.set_params(augmentation=None).partial_fit(corpus.paths).n_iter_ == 3


def test_a_fit_starts_afresh(corpus, fitted):
    cpc = small_cpc(max_epochs=2).fit(corpus.paths).set_params(max_epochs=1).fit(corpus.paths)
    assert_array_equal(cpc.transform(corpus.paths), fitted.transform(corpus.paths))
    assert cpc.n_iter_ == len(cpc.history_) == 1


def adam_steps(net):
    return int(net.optimizer_.state_dict()["state"][0]["step"])


def test_warm_start_goes_on_with_weights_adam_and_history(corpus):
    cpc = small_cpc(warm_start=True, max_epochs=2, callbacks=[Watch({"steps": adam_steps})]).fit(corpus.paths)
    before = weights_of(cpc.network_)
    cpc.fit(corpus.paths)
    assert [row["epoch"] for row in cpc.history_] == [1, 2, 3, 4]
    assert [row["steps"] for row in cpc.history_] == [6, 12, 18, 24]
    assert cpc.n_iter_ == 4
    cpc.set_params(max_epochs=0).fit(corpus.paths)
    assert differences(before, weights_of(cpc.network_)) != []


def test_going_on_takes_the_learning_rate_as_it_is_now(corpus):
    rate = Watch({"rate": lambda net: net.optimizer_.param_groups[0]["lr"]})
    cpc = small_cpc(warm_start=True, lr=1e-3, callbacks=[rate]).fit(corpus.paths)
    cpc.set_params(lr=1e-4).fit(corpus.paths).partial_fit(corpus.paths)
    assert [row["rate"] for row in cpc.history_] == [1e-3, 1e-4, 1e-4]


def test_partial_fit_goes_on_epoch_by_epoch_and_hears_new_clips(corpus):
    cpc = small_cpc(max_epochs=7, callbacks=[Watch({"steps": adam_steps}), Heard()])
    for _ in range(3):
        cpc.partial_fit(corpus.paths)
    assert [row["epoch"] for row in cpc.history_] == [1, 2, 3]
    assert [row["steps"] for row in cpc.history_] == [6, 12, 18]
    first, second, third = (sorted(row["heard"]) for row in cpc.history_)
    assert first != second != third != first
    again = clone(cpc)
    for _ in range(3):
        again.partial_fit(corpus.paths)
    assert [row["heard"] for row in again.history_] == [row["heard"] for row in cpc.history_]


def test_partial_fit_may_be_given_other_recordings(corpus, samples):
    cpc = small_cpc().partial_fit(corpus.paths[:6]).partial_fit(corpus.paths[6:]).partial_fit(samples)
    assert cpc.n_iter_ == 3


def test_warm_start_with_another_architecture_is_refused(corpus, fitted):
    cpc = small_cpc(warm_start=True).fit(corpus.paths).set_params(encoder__z_dim=9)
    with pytest.raises(ValueError, match=r"cannot continue from the last fit.*warm_start=False"):
        cpc.fit(corpus.paths)
    with pytest.raises(ValueError, match="cannot continue from the last fit"):
        cpc.partial_fit(corpus.paths)
    assert_array_equal(cpc.transform(corpus.paths), fitted.transform(corpus.paths))


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failed_fit_leaves_the_estimator_unchanged(error, corpus, tones, fitted):
    cpc = small_cpc(callbacks=[Fails(error)])
    with pytest.raises(type(error)):
        cpc.fit(corpus.paths)
    assert set(vars(cpc)) == set(cpc.get_params(deep=False))
    with pytest.raises(NotFittedError):
        cpc.transform(corpus.paths)

    cpc.set_params(callbacks=None).fit(corpus.paths).set_params(callbacks=[Fails(error)])
    for fail in (cpc.fit, cpc.partial_fit):
        with pytest.raises(type(error)):
            fail(tones)
    assert_array_equal(cpc.transform(corpus.paths), fitted.transform(corpus.paths))
    assert cpc.history_[0]["train_loss"] == fitted.history_[0]["train_loss"]
    assert cpc.set_params(callbacks=None).partial_fit(corpus.paths).n_iter_ == 2


def test_a_loss_that_is_not_finite_ends_training_with_advice(tones):
    with pytest.raises(ValueError, match=r"the loss became .* in epoch 1; lower lr=0.001"):
        small_cpc(encoder=Spectra, autoregressor=RunningMean).fit(1e30 * tones)


@pytest.mark.filterwarnings("ignore:1 of 8 recordings have samples far beyond full scale")
def test_a_loss_that_is_not_finite_names_the_recordings_of_the_batch(tones):
    clips = np.array([*tones[:7], 1e30 * tones[7]])
    cpc = small_cpc(encoder=Spectra, autoregressor=RunningMean, batch_size=4)
    with pytest.raises(ValueError, match=r"the loss became .* In the batch: (row [0-6], )*row 7(, row [0-6])*\.$"):
        cpc.fit(clips)


def test_an_interrupted_fit_leaves_a_usable_and_marked_estimator(tones):
    class Interrupt(Callback):
        def on_batch_begin(self, net, **_):
            if len(net.history) == 3:
                raise KeyboardInterrupt

    cpc = small_cpc(max_epochs=5)
    assert not cpc.fit(tones).interrupted_
    with pytest.raises(KeyboardInterrupt):
        cpc.set_params(callbacks=[Interrupt()]).fit(tones)
    assert (cpc.interrupted_, cpc.n_iter_, len(cpc.history_)) == (True, 2, 2)
    two = small_cpc(max_epochs=2).fit(tones)
    assert_allclose(cpc.transform(tones), two.transform(tones))
    assert cpc.set_params(callbacks=None).partial_fit(tones).n_iter_ == 3
    assert not cpc.interrupted_


def test_bfloat16_trains_the_same_network_only_coarser(tones):
    exact, coarse = (small_cpc(precision=kind, max_epochs=2).fit(tones) for kind in ("float32", "bfloat16"))
    assert coarse.transform(tones).dtype == np.float32
    assert_allclose(coarse.history_[0]["train_loss"], exact.history_[0]["train_loss"], rtol=0.05)


def test_one_long_recording_is_enough(tmp_path):
    [path] = write_corpus(tmp_path, n_files=1, duration=3.0).paths
    cpc = small_cpc(max_epochs=2).fit([path])
    assert cpc.n_iter_ == 2
    assert cpc.transform([path]).shape == (1, 8)


def test_one_short_recording_is_enough_for_negatives_within(tones):
    assert small_cpc(objective__negatives="within", batch_size=1).fit(tones[:1]).n_iter_ == 1


def test_automatic_epochs_depend_on_the_amount_of_sound():
    tones = np.stack(rising_tones(4)).astype(np.float32)[:, :CLIP]
    with pytest.warns(UserWarning, match=r"^2 s of sound is little to learn from; .*max_epochs=0"):
        automatic = small_cpc(max_epochs="auto", schedule="cosine").fit(tones)
    assert_array_equal(
        automatic.transform(tones), small_cpc(max_epochs=50, schedule="cosine").fit_transform(tones)
    )
    assert automatic.n_iter_ == 50
    assert automatic.partial_fit(tones).n_iter_ == 51
    assert untrained_twin(automatic).max_epochs == 0


# Validation


@pytest.mark.parametrize(("fraction", "n_held_out"), [(0.25, 3), (0.01, 1), (0.8, 10)])
def test_recordings_to_validate_with_are_never_trained_on(fraction, n_held_out, tones):
    cpc = small_cpc(validation_fraction=fraction, max_epochs=4, callbacks=[Heard()]).fit(tones)
    sums = torch.from_numpy(tones).sum(dim=1).numpy()
    heard = np.array([row["heard"] for row in cpc.history_])
    assert heard.shape == (4, 12 - n_held_out)
    held_out = ~np.isclose(sums[:, None], heard.ravel(), rtol=0, atol=1e-4).any(axis=1)
    assert held_out.sum() == n_held_out
    if n_held_out == 3:  # the score is that of the estimator on the others, in some order
        scores = [cpc.score(tones[list(order)]) for order in itertools.permutations(np.flatnonzero(held_out))]
        assert cpc.history_[-1]["valid_score"] in scores


def test_what_is_held_out_is_decided_by_the_seed(tones):
    def heard(seed):
        cpc = small_cpc(validation_fraction=0.5, random_state=seed, callbacks=[Heard()]).fit(tones)
        return sorted(cpc.history_[0]["heard"])

    assert heard(0) == heard(0)
    assert len({str(heard(seed)) for seed in range(4)}) > 1


def test_partial_fit_without_a_recording_held_out_has_no_score(tones, tmp_path):
    stopping = EarlyStopping("valid_score", lower_is_better=False)
    cpc = small_cpc(validation_fraction=0.1, callbacks=[stopping]).fit(tones)
    for recording in tones:
        cpc.partial_fit(np.stack([recording] * 2))
        if np.isnan(cpc.history_[-1]["valid_score"]):
            break
    assert np.isnan(cpc.history_[-1]["valid_score"])
    assert not np.isnan(cpc.history_[0]["valid_score"])
    cpc.set_params(callbacks=None).save(tmp_path / "model")
    assert np.isnan(load(tmp_path / "model").history_[-1]["valid_score"])
    LossCurveDisplay.from_estimator(cpc).figure_.canvas.draw()


def test_without_a_fraction_all_is_trained_on_and_there_is_no_score(tones):
    history = small_cpc(callbacks=[Heard()]).fit(tones).history_
    assert len(history[0]["heard"]) == 12
    assert "valid_score" not in history[0]


@pytest.mark.parametrize("fraction", [0.99, 0.97])
def test_a_fraction_that_leaves_nothing_to_train_on_is_refused(fraction, tones):
    with pytest.raises(ValueError, match=rf"validation_fraction={fraction} leaves nothing .* of n_samples=12 rec"):
        small_cpc(validation_fraction=fraction).fit(tones)


def test_what_is_left_to_train_on_must_be_enough(tones):
    with pytest.raises(ValueError, match=r"negatives='across' needs other clips .* n_samples=1 of 1 clip"):
        small_cpc(validation_fraction=0.9).fit(tones)


@pytest.mark.parametrize("load_best", [True, False])
def test_early_stopping_by_the_score_keeps_the_best_epoch(load_best, tones):
    kept = []
    stopping = EarlyStopping("valid_score", patience=3, lower_is_better=False, load_best=load_best)
    callbacks = [Watch({"weights": lambda net: kept.append(weights_of(net.module_)) or 0}), stopping]
    parameters = {"lr": 0.03, "max_epochs": 40, "validation_fraction": 0.5, "objective__predict_from": "all"}
    cpc = small_cpc(callbacks=callbacks, **parameters).fit(tones)
    scores = [row["valid_score"] for row in cpc.history_]
    best = int(np.argmax(scores))
    assert len(scores) == cpc.n_iter_ == best + 4 < 40  # stopped three epochs after the best
    assert differences(weights_of(cpc.network_), kept[best if load_best else -1]) == []
    assert differences(kept[best], kept[-1]) != []


# Schedule


def rates_of(cpc):
    return [row["rate"] for row in cpc.history_]


RATE_OF_THE_EPOCH = Watch({"rate": lambda net: net.history[-1, "batches", -1, "rate"]})


class BatchRate(Callback):
    """Records the learning rate of every batch."""

    def on_batch_begin(self, net, **_):
        net.history.record_batch("rate", net.optimizer_.param_groups[0]["lr"])


def scheduled_cpc(**parameters):
    """Record as "rate" the learning rate of the last batch of each epoch."""
    return small_cpc(lr=0.01, schedule="cosine", callbacks=[BatchRate(), RATE_OF_THE_EPOCH], **parameters)


def test_the_cosine_schedule_is_over_all_epochs_of_a_fit(tones):
    rates = rates_of(scheduled_cpc(max_epochs=5).fit(tones))
    n = 5 * 3  # batches
    assert rates == pytest.approx([0.01 * cosine(batch, n) for batch in (2, 5, 8, 11, 14)])
    assert rates_of(scheduled_cpc(max_epochs=5).set_params(schedule="constant").fit(tones)) == [0.01] * 5


def test_batches_are_counted_without_what_is_held_out(tones):
    rates = rates_of(scheduled_cpc(max_epochs=2, validation_fraction=0.3).fit(tones))  # four of twelve
    assert rates == pytest.approx([0.01 * cosine(batch, 4) for batch in (1, 3)])


def test_a_warm_start_runs_through_the_schedule_again(tones):
    cpc = scheduled_cpc(max_epochs=2, warm_start=True).fit(tones)
    rates = rates_of(cpc)
    assert rates_of(cpc.fit(tones)) == rates * 2
    assert rates_of(cpc.set_params(schedule="constant").fit(tones)) == [*rates * 2, 0.01, 0.01]


def test_partial_fit_keeps_the_rate_constant(tones):
    cpc = scheduled_cpc(max_epochs=2).fit(tones).partial_fit(tones).partial_fit(tones)
    assert rates_of(cpc)[2:] == [0.01, 0.01]
    assert rates_of(scheduled_cpc().partial_fit(tones)) == [0.01]


# Callbacks and progress


def test_early_stopping_stops_and_is_left_as_it_was(corpus):
    stopper = EarlyStopping(monitor="train_loss", patience=2, threshold=10, threshold_mode="abs")
    before = dict(vars(stopper))
    cpc = small_cpc(max_epochs=20, callbacks=[stopper]).fit(corpus.paths)
    assert cpc.n_iter_ == len(cpc.history_) == 3
    assert vars(stopper) == before
    assert clone(cpc).fit(corpus.paths).n_iter_ == 3


def test_an_untrained_twin_may_keep_its_callbacks(corpus):
    stopper = EarlyStopping(monitor="train_loss", load_best=True)
    assert small_cpc(max_epochs=0, callbacks=[stopper]).fit(corpus.paths).n_iter_ == 0


def test_a_schedule_changes_the_learning_rate(corpus):
    schedule = ("halve", LRScheduler("ExponentialLR", gamma=0.5))
    history = small_cpc(max_epochs=3, lr=0.1, callbacks=[schedule]).fit(corpus.paths).history_
    assert_allclose([row["event_lr"] for row in history], [0.1, 0.05, 0.025])


def test_it_is_quiet_unless_asked(corpus, capfd):
    small_cpc(max_epochs=2).fit(corpus.paths).transform(corpus.paths)
    assert capfd.readouterr() == ("", "")
    small_cpc(max_epochs=2, verbose=1).fit(corpus.paths)
    out, err = capfd.readouterr()
    assert out == ""
    assert "decoding" in err
    assert "CPC" in err


# Encoders and autoregressors of one's own


class Spectra(nn.Module):
    """One dense layer over the magnitudes of each window's spectrum."""

    sample_rate = RATE

    def __init__(self, n_samples, n_steps, width=5):
        super().__init__()
        self.n_steps, self.window = n_steps, n_samples // n_steps
        self.dense = nn.Linear(self.window // 2 + 1, width)

    def forward(self, samples):
        windows = samples[:, : self.n_steps * self.window].unflatten(1, (self.n_steps, self.window))
        return self.dense(torch.fft.rfft(windows).abs())


class RunningMean(nn.Module):
    """The mean of all steps so far, through a dense layer."""

    def __init__(self, z_dim, n_context):
        super().__init__()
        self.dense = nn.Linear(z_dim, 4)

    def forward(self, z):
        steps = torch.arange(1, z.shape[1] + 1, dtype=z.dtype, device=z.device)
        return self.dense(z.cumsum(1) / steps[:, None])


class LastStep(nn.Module):
    """One context per clip."""

    def forward(self, z):
        return z[:, -1]


def with_rate(function):
    function.sample_rate = RATE
    return function


ENCODERS = {
    "class": Spectra,
    "module": Spectra(CLIP, N_STEPS),
    "partial": with_rate(functools.partial(Spectra, width=5)),
    "lambda": with_rate(lambda n_samples, n_steps: Spectra(n_samples, n_steps)),
}
CONTEXTS = {
    "class": (RunningMean, 4),
    "module": (RunningMean(5, 6), 4),
    "lambda": (lambda z_dim, n_context: RunningMean(z_dim, n_context), 4),
    "one per clip": (LastStep(), 5),
}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoders_and_autoregressors_of_ones_own_are_trained(encoder, context, corpus):
    autoregressor, c_dim = CONTEXTS[context]
    cpc = small_cpc(encoder=ENCODERS[encoder], autoregressor=autoregressor)
    twin = clone(cpc).set_params(max_epochs=0).fit(corpus.paths)
    assert clone(cpc).fit_transform(corpus.paths).shape == (12, c_dim)
    cpc.fit(corpus.paths)
    assert "encoder.dense.weight" in differences(weights_of(cpc.network_), weights_of(twin.network_))


def test_a_module_handed_in_is_never_trained(corpus):
    encoder, context = Spectra(CLIP, N_STEPS), RunningMean(5, 6).eval()
    before = weights_of(encoder), weights_of(context)
    cpc = small_cpc(encoder=encoder, autoregressor=context, warm_start=True).fit(corpus.paths)
    cpc.fit(corpus.paths).transform(corpus.paths)
    assert differences(weights_of(encoder), before[0]) == []
    assert differences(weights_of(context), before[1]) == []
    assert encoder.training
    assert not context.training
    assert cpc.encoder is encoder
    assert cpc.network_.encoder is not encoder


def test_a_rate_may_be_a_numpy_integer(tones):
    rate = np.int64(RATE)
    cpc = small_cpc(encoder=small_encoder(sample_rate=rate)).fit(tones)
    assert cpc.sample_rate_ == RATE


# Score


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_the_score_is_a_share_and_always_the_same(similarity, tones):
    cpc = small_cpc(objective__similarity=similarity, max_epochs=5).fit(tones)
    score = cpc.score(tones)
    assert 0 <= score <= 1
    np.random.seed(3)  # noqa: NPY002
    assert cpc.score(tones) == score
    assert cpc.score(tones, np.zeros(12)) == score
    assert cpc.set_params(batch_size=3).score(tones) == score
    assert cpc.set_params(batch_size=64).score(tones) == score


def test_the_score_of_recordings_without_a_future_is_nan(tones):
    cpc = small_cpc().fit(tones)
    del cpc.n_features_in_
    assert math.isnan(cpc.score(tones[:, :50]))


# Recordings that cannot be used


@pytest.fixture
def with_bad_files(corpus, tmp_path):
    """Recordings with three unusable ones, at rows 2, 5 and 14."""
    text = tmp_path / "notes.wav"
    text.write_text("no sound here")
    paths = list(corpus.paths)
    paths.insert(2, str(tmp_path / "missing.wav"))
    paths.insert(5, str(text))
    return [*paths, (corpus.paths[0], 5.0, 1.0)]  # begins after the end


BAD_ROWS = [2, 5, 14]


def test_all_unusable_recordings_are_listed_before_training(with_bad_files, corpus):
    X = [Clip(row) if isinstance(row, str) else row for row in with_bad_files]
    with pytest.raises(ValueError, match="3 of 14 recordings cannot be used") as caught:
        small_cpc(callbacks=[Fails(AssertionError("trained"))]).fit(X)
    for listed in (
        "missing.wav: does not exist",
        "notes.wav: is not audio",
        "ends at 1.000 s, but a clip begins at 5.0 s",
    ):
        assert listed in str(caught.value)
    assert "on_error='nan'" in str(caught.value)


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_the_warning_of_nan_rows_names_the_line_of_who_called(method, with_bad_files, corpus):
    cpc = small_cpc(on_error="nan", max_epochs=0).fit(corpus.paths)
    with pytest.warns(UserWarning, match="their rows are NaN") as caught:
        getattr(cpc, method)(with_bad_files)
    assert caught[0].filename == __file__


def test_with_nan_rows_stay_and_training_is_that_on_the_others(with_bad_files, corpus, fitted):
    cpc = small_cpc(on_error="nan")
    with pytest.warns(UserWarning, match=r"3 recordings cannot be used(.|\n)*missing\.wav(.|\n)*notes\.wav"):
        embeddings = cpc.fit_transform(with_bad_files)
    assert np.flatnonzero(np.isnan(embeddings).all(axis=1)).tolist() == BAD_ROWS
    expected = fitted.transform(corpus.paths)
    assert_array_equal(np.delete(embeddings, BAD_ROWS, axis=0), expected)
    assert differences(weights_of(cpc.network_), weights_of(fitted.network_)) == []
    with pytest.warns(UserWarning, match="3 recordings cannot be used"):
        assert_array_equal(cpc.transform(with_bad_files), embeddings)
    with pytest.warns(UserWarning, match="3 recordings cannot be used"):
        frames = cpc.transform_frames(with_bad_files)
    assert [row for row, (times, z) in enumerate(frames) if not len(times) and z.shape == (0, 8)] == BAD_ROWS
    with pytest.warns(UserWarning, match="3 recordings cannot be used"):
        assert cpc.score(with_bad_files) == fitted.score(corpus.paths)


def test_a_fit_without_one_usable_recording_fails(tmp_path):
    with pytest.raises(ValueError, match="2 of 2 recordings cannot be used"):
        small_cpc(on_error="nan").fit([str(tmp_path / "a.wav"), str(tmp_path / "b.wav")])


# Parameters that cannot be used

BAD_PARAMETERS = [
    ({"encoder": "conv3d"}, ValueError, "encoder='conv3d' is unknown; use 'conv1d', 'conv2d', 'logmel', a recipe"),
    ({"encoder": None}, TypeError, "'encoder' parameter of "),
    ({"encoder": RunningMean}, ValueError, "encoder=.*RunningMean.*give it an attribute sample_rate"),
    ({"encoder": Conv1dEncoder}, TypeError, r"encoder is a class .*; use an instance of it: Conv1dEncoder\(\)"),
    ({"encoder": Spectra(CLIP, 5)}, ValueError, r"to \(2, 5, 5\); it must return \(2, 8, z_dim\)"),
    ({"encoder": small_encoder(dropout=1.0)}, ValueError, "'dropout' parameter of "),
    ({"encoder": Conv1dEncoder(sample_rate=RATE)}, ValueError, "windows have 50 samples .* needs at least 465"),
    ({"encoder": LogMelEncoder}, TypeError, r"encoder is a class .*; use an instance of it: LogMelEncoder\(\)"),
    ({"encoder": small_logmel(strides=(9, 1, 1))}, ValueError, r"must be at least strides=\(9, 1, 1\)"),
    (
        {"autoregressor": "rnn"},
        ValueError,
        "='rnn' is unknown; use 'gru', 'attention', 'lstm', 'causal_attention', a",
    ),
    ({"autoregressor": 7}, TypeError, "'autoregressor' parameter of "),
    ({"autoregressor": GRUContext}, TypeError, "autoregressor is a class .*; use an instance of it: GRUContext"),
    ({"autoregressor": lambda z_dim, n_context: 3}, TypeError, "returned int; use 'gru', 'attention', 'lstm'"),
    ({"autoregressor": AttentionContext(n_heads=3)}, ValueError, "n_heads=3 does not divide the encoder's z_dim"),
    (
        {"autoregressor": "attention", "objective__predict_from": "all"},
        ValueError,
        "predict_from='all' needs a",
    ),
    ({"augmentation": Augmentation(gain=-1)}, ValueError, "'gain' parameter of Augmentation"),
    ({"autoregressor": "attention", "pooling": "c_mean"}, ValueError, "pooling='c_mean' needs a context at every"),
    ({"pooling": "mel_mean"}, ValueError, "pooling='mel_mean' needs an encoder with mel bands"),
    ({"pooling": ("z_mean", "z_fourths")}, ValueError, "'pooling' parameter .* a tuple of .*'z_thirds'"),
    ({"device": "gpu"}, ValueError, "device='gpu' cannot be used here .*use 'auto' or 'cpu'"),
    ({"callbacks": ["stop"]}, TypeError, "callbacks holds 'stop', which is not a skorch callback"),
    ({"callbacks": [EarlyStopping()]}, ValueError, "EarlyStopping monitors 'valid_loss'.*monitor='train_loss'"),
    *[
        ({name: value}, (ValueError, TypeError), f"'{name.split('__')[-1]}' parameter of .* must be")
        for name, values in {
            "clip_duration": [0, "4 s", math.inf, math.nan],
            "n_context": [0, 10**9],
            "n_future": [1.5, 0],
            "trim": [0, "loud", math.nan],
            "objective": ["hinge", 3],
            "objective__negatives": ["hard"],
            "objective__n_across": [0, 2.5],
            "objective__similarity": ["l2"],
            "objective__temperature": [0.0, math.nan],
            "objective__step_weights": ["far"],
            "objective__predict_from": ["first"],
            "objective__projection": [0, "half"],
            "augmentation": ["noise", Augmentation],
            "schedule": ["linear", None],
            "validation_fraction": [1.0, -0.1, None, math.nan],
            "max_epochs": [-1, 2.5],
            "batch_size": [0],
            "lr": [0, "fast", math.nan, math.inf],
            "pooling": ["mean", (), None],
            "n_clips": [0, 1.5],
            "on_error": ["skip"],
            "precision": ["float16"],
            "callbacks": [EarlyStopping()],
            "memory": [3],
            "n_jobs": ["two"],
            "random_state": ["seed"],
        }.items()
        for value in values
    ],
]


@pytest.mark.parametrize(("parameters", "error", "message"), BAD_PARAMETERS, ids=lambda value: str(value)[:40])
def test_a_bad_parameter_is_named_before_anything_is_decoded(parameters, error, message, corpus, opened):
    cpc = small_cpc(**parameters)
    with pytest.raises(error, match=message):
        cpc.fit(corpus.paths)
    assert opened == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_so(corpus):
    with pytest.raises(ValueError, match=r"device='cuda' cannot be used here .*; use 'auto' or 'cpu'"):
        small_cpc(device="cuda").fit(corpus.paths)


@pytest.mark.parametrize("parameters", [{"batch_size": 1}, {"clip_duration": 0.9}], ids=str)
def test_negatives_across_need_two_clips_in_a_batch(parameters, corpus):
    paths = corpus.paths if "batch_size" in parameters else corpus.paths[:1]
    with pytest.raises(ValueError, match=r"negatives='across' needs other clips .* or use negatives='within'"):
        small_cpc(**parameters).fit(paths)


def test_recordings_of_one_step_have_no_future(tones):
    with pytest.raises(ValueError, match="n_features=60 samples, less than two windows of 50"):
        small_cpc().fit(tones[:, :60])


@pytest.mark.parametrize("method", ["transform", "transform_frames", "score"])
def test_use_before_fit_is_refused(method, corpus, opened):
    with pytest.raises(NotFittedError, match="This CPCTransformer instance is not fitted yet"):
        getattr(small_cpc(), method)(corpus.paths)
    assert opened == []


def test_names_before_fit_are_refused():
    with pytest.raises(NotFittedError):
        small_cpc().get_feature_names_out()


def test_a_bad_pooling_at_transform_is_named_before_anything_is_decoded(corpus, opened):
    cpc = small_cpc(max_epochs=0).fit(corpus.paths)
    opened.clear()
    with pytest.raises(ValueError, match="'pooling' parameter of CPCTransformer"):
        cpc.set_params(pooling="mean").transform(corpus.paths)
    assert opened == []


# Settings of the process


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SETTINGS = {
    "double by default": lambda: default_dtype(torch.float64),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "on the device meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.fixture(scope="module", params=[small_encoder(), small_logmel()], ids=["conv1d", "logmel"])
def without_settings(request, corpus):
    """Fitted with torch's own settings. Not to be changed."""
    cpc = small_cpc(encoder=request.param, pooling=("context", "z_max"), max_epochs=2, validation_fraction=0.2)
    return cpc.fit(corpus.paths)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_torch_change_no_result(name, without_settings, corpus):
    expected = without_settings
    with SETTINGS[name]():
        found = clone(expected).fit(corpus.paths)
        embeddings, score = found.transform(corpus.paths), found.score(corpus.paths)
        frames = found.transform_frames(corpus.paths[:1])[0].embeddings
    assert differences(weights_of(found.network_), weights_of(expected.network_)) == []
    assert_array_equal(embeddings, expected.transform(corpus.paths))
    assert_array_equal(frames, expected.transform_frames(corpus.paths[:1])[0].embeddings)
    assert score == expected.score(corpus.paths)
    found.partial_fit(corpus.paths)


# Validation


def test_clips_of_a_file_validate_together(corpus):
    trained = []

    class Heard(Callback):
        def on_batch_begin(self, net, batch=None, **_):
            trained.extend(batch[0]["clips"].numpy())

    clips = [Clip(path, onset, 0.5) for path in corpus.paths[:6] for onset in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)]
    small_cpc(validation_fraction=0.5, callbacks=[Heard()]).fit(clips)
    sounds = [read_audio(path, RATE) for path in corpus.paths[:6]]
    shared = [[len(np.intersect1d(clip, sound)) > CLIP // 2 for clip in trained] for sound in sounds]
    n_clips = np.sum(shared, axis=1)
    assert sorted(n_clips) == [0, 0, 0, 6, 6, 6]  # all clips of a file are trained on, or none


def test_later_fits_hold_out_the_same_recordings(tones):
    heard = []

    class Heard(Callback):
        def on_batch_begin(self, net, batch=None, **_):
            heard.extend(clip.tobytes() for clip in batch[0]["clips"].numpy())

    cpc = small_cpc(validation_fraction=0.5, callbacks=[Heard()]).fit(tones)
    first, names = set(heard), {clip.tobytes() for clip in tones}
    assert len(first) == len(tones) // 2
    more = np.concatenate([tones[::-1], rising_tones(4, seed=7)])
    heard.clear()
    cpc.partial_fit(more)
    assert set(heard) & names == first
    heard.clear()
    cpc.partial_fit(tones[::-1].astype(np.float32 if tones.dtype == np.float64 else np.float64))
    assert set(heard) == first


# The report's configuration


def test_defaults_are_those_of_the_report():
    report = {
        "encoder": "conv1d",
        "autoregressor": "gru",
        "clip_duration": 4.0,
        "n_context": 27,
        "n_future": 3,
        "trim": None,
        "augmentation": None,
        "batch_size": 8,
        "lr": 1e-5,
        "schedule": "constant",
        "validation_fraction": 0.0,
        "pooling": "context",
    }
    defaults = CPCTransformer().get_params()
    assert {name: defaults[name] for name in report} == report
    assert InfoNCE().get_params() == {
        "negatives": "across",
        "n_across": None,
        "similarity": "dot",
        "temperature": None,
        "step_weights": "uniform",
        "predict_from": "last",
        "projection": None,
    }


def n_weights(module):
    """Count weights as the report's framework does: with batch normalisation's running statistics."""
    return sum(weights.numel() for name, weights in module.state_dict().items() if "num_batches" not in name)


@pytest.mark.parametrize(
    ("encoder", "autoregressor", "rate", "counts"),
    [
        ("conv1d", "gru", 4410, (5_654_784, 1_182_720, 393_216)),
        ("conv2d", "attention", 22050, (5_672_832, 1_374_508, 393_216)),
    ],
)
def test_names_build_the_networks_of_the_report(encoder, autoregressor, rate, counts):
    clips = np.random.default_rng(0).standard_normal((2, 4 * rate)).astype(np.float32)
    cpc = CPCTransformer(encoder, autoregressor, max_epochs=0, random_state=0).fit(clips)
    parts = cpc.network_.encoder, cpc.network_.autoregressor, cpc.network_.predictor
    assert tuple(map(n_weights, parts)) == counts
    assert cpc.sample_rate_ == rate
    assert cpc.transform(clips).shape == (2, 512)
