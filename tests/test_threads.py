"""Several threads at once: results are those of one thread, and nothing that threads share is changed."""

import os
import random
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from corpus import RATE, rising_tones, small_cpc, small_encoder
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional as F

from sklearn_cpc import (
    AttentionContext,
    Augmentation,
    AutoencoderReducer,
    CausalAttentionContext,
    Conv2dEncoder,
    EmbeddingMonitor,
    InfoNCE,
    LinearProbe,
    LogMelEncoder,
    LSTMContext,
    MFCCTransformer,
    load,
)
from sklearn_cpc._threads import compute_in_threads
from sklearn_cpc.training.device import standard_settings

CLIPS = rising_tones(8)
ROWS = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
CLASSES = np.arange(40) % 3
EFFECTS = {"gain": 6, "equalization": 3, "reverb": 0.1, "pitch": 1, "time_mask": 0.2, "band_mask": 0.2}


class Noisy(nn.Module):
    """An encoder that drops at random by torch's own functions."""

    sample_rate = RATE

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(50, 8)

    def forward(self, samples):
        z = self.linear(F.dropout(samples.unflatten(1, (8, 50)), 0.5, self.training))
        return z + torch.randn(8) if self.training else z


NOISY = Noisy()


class Shaken(Callback):
    """Draws random numbers in training."""

    def on_batch_begin(self, net, **_):
        with torch.no_grad():
            net.module_.predictor.weight.add_(0.01 * torch.randn(()))


def make(kind):
    """Build an estimator whose training draws random numbers of a kind."""
    transformer = {"n_heads": 2, "dff": 8, "dropout": 0.5}
    logmel = LogMelEncoder(n_filters=8, z_dim=8, n_mels=8, sample_rate=RATE, window_duration=0.064, dropout=0.5)
    images = {"n_filters": (4,), "kernel_sizes": (3,), "strides": (2,), "dense_units": 8, "z_dim": 8, "n_mels": 8}
    reducer = {"encoder_units": (8,), "decoder_units": (8,), "dropout": 0.5, "max_epochs": 2, "random_state": 0}
    return {
        "gru": lambda: small_cpc(encoder=small_encoder(dropout=0.5)),
        "lstm": lambda: small_cpc(encoder=logmel, autoregressor=LSTMContext(8)),
        "conv2d": lambda: small_cpc(encoder=Conv2dEncoder(**images, n_fft=64, sample_rate=RATE, dropout=0.5)),
        "transformer": lambda: small_cpc(autoregressor=CausalAttentionContext(8, **transformer)),
        "attention": lambda: small_cpc(
            autoregressor=AttentionContext(**transformer, dense_units=(8,)),
            objective=InfoNCE(predict_from="last"),
        ),
        "augmented": lambda: small_cpc(augmentation=Augmentation(**EFFECTS, noise=(0, 10), mixing=(0, 10))),
        "negatives": lambda: small_cpc(objective=InfoNCE(negatives="mixed", n_across=5)),
        "autoencoder": lambda: AutoencoderReducer(3, **reducer),
        "probe": lambda: LinearProbe(dropout=0.5, max_epochs=2, random_state=0),
        "own module": lambda: small_cpc(encoder=NOISY),
        "own callback": lambda: small_cpc(callbacks=[Shaken()]),
        "monitored": lambda: small_cpc(callbacks=[EmbeddingMonitor()], encoder=small_encoder(dropout=0.5)),
        "mfcc": lambda: MFCCTransformer(4, sample_rate=RATE, n_fft=64, hop_length=32, n_mels=8),
    }[kind]()


TRAINED = "gru", "lstm", "conv2d", "transformer", "attention", "augmented", "negatives", "autoencoder", "probe"
SERIAL = "own module", "own callback", "monitored"


def fit(estimator):
    if isinstance(estimator, LinearProbe):
        return estimator.fit(ROWS, CLASSES)
    return estimator.fit(ROWS if isinstance(estimator, AutoencoderReducer) else CLIPS)


def results(estimator):
    """Return all that a fitted estimator computes, as arrays."""
    if isinstance(estimator, LinearProbe):
        return [estimator.predict_proba(ROWS), estimator.predict(ROWS), estimator.score(ROWS, CLASSES)]
    if isinstance(estimator, AutoencoderReducer):
        reduced = estimator.transform(ROWS)
        return [
            reduced,
            estimator.inverse_transform(reduced),
            estimator.score(ROWS),
            estimator.transform(ROWS * 1.0),
        ]
    if isinstance(estimator, MFCCTransformer):
        return [estimator.transform(CLIPS)]
    frames = [frame.embeddings for frame in estimator.transform_frames(CLIPS)]
    embeddings = estimator.transform(CLIPS), estimator.transform(CLIPS.astype(np.float64))
    return [*embeddings, *frames, estimator.score(CLIPS)]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)


@pytest.fixture
def pool():
    """Threads that take turns far more often than usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(8) as pool:
        yield pool
    sys.setswitchinterval(before)


# Read-only calls


@pytest.mark.parametrize("kind", ["gru", "lstm", "transformer", "attention", "autoencoder", "probe", "mfcc"])
def test_reading_calls_write_nothing_to_the_estimator(kind, tmp_path, monkeypatch):
    estimator = fit(make(kind))
    parts = [estimator]
    if hasattr(estimator, "network_"):
        parts += estimator.network_.modules()
    before = [{name: id(value) for name, value in vars(part).items()} for part in parts]

    def guard(kind_of_part):
        set_attribute = kind_of_part.__setattr__

        def refuse(part, name, value):
            assert not any(part is one for one in parts), f"{name} is set"
            set_attribute(part, name, value)

        patch.setattr(kind_of_part, "__setattr__", refuse, raising=False)

    with monkeypatch.context() as patch:
        guard(type(estimator))
        guard(nn.Module)
        results(estimator)
        estimator.save(tmp_path / "model")
        clone(estimator)
        if hasattr(estimator, "get_feature_names_out"):
            estimator.get_feature_names_out()
    assert [{name: id(value) for name, value in vars(part).items()} for part in parts] == before


@pytest.mark.parametrize("kind", ["gru", "lstm", "transformer", "autoencoder", "probe", "mfcc"])
def test_threads_compute_what_one_thread_does(kind, pool):
    estimator = fit(make(kind))
    expected = results(estimator)
    for found in pool.map(lambda _: results(estimator), range(16)):
        assert_same(found, expected)


def test_hundreds_of_calls_at_once_all_succeed(pool):
    cpc = fit(make("lstm"))
    expected = cpc.transform(CLIPS[:1])
    for found in pool.map(lambda _: cpc.transform(CLIPS[:1]), range(300)):
        assert_array_equal(found, expected)


def test_a_network_left_in_training_mode_is_evaluated_all_the_same():
    cpc = fit(make("gru"))
    expected = results(cpc)
    cpc.network_.train()
    assert_same(results(cpc), expected)
    assert all(part.training for part in cpc.network_.modules())


def test_feature_names_follow_a_changed_number_of_mfccs():
    mfcc = fit(make("mfcc")).set_params(n_mfcc=5)
    assert mfcc.transform(CLIPS).shape[1] == len(mfcc.get_feature_names_out())


# Fits


def global_states():
    torch_state = torch.get_rng_state().tolist()
    return torch_state, repr(np.random.mtrand._rand.get_state()), random.getstate(), torch.get_default_dtype()


@pytest.mark.parametrize("kind", TRAINED + SERIAL)
def test_fits_in_threads_equal_fits_alone(kind, pool):
    expected, before = results(fit(make(kind))), global_states()
    for found in pool.map(lambda _: results(fit(make(kind))), range(4)):
        assert_same(found, expected)
    assert global_states() == before


@pytest.mark.parametrize("kind", TRAINED)
def test_a_fit_never_touches_the_generator_that_others_draw_from(kind, monkeypatch):
    def refuse(*_):
        raise AssertionError("the generator of the process is set")

    before = torch.get_rng_state()
    for name in ("set_rng_state", "manual_seed", "seed"):
        monkeypatch.setattr(torch, name, refuse)
        monkeypatch.setattr(torch.random, name, refuse)
    states = []
    estimator = make(kind)
    step = torch.optim.Adam.step

    def step_and_look(*args, **options):
        states.append(torch.get_rng_state())
        return step(*args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", step_and_look)
    fit(estimator)
    assert states
    assert all(torch.equal(state, before) for state in states)


def test_fits_of_different_estimators_at_once_equal_fits_alone(pool):
    kinds = [*TRAINED, *SERIAL]
    expected = {kind: results(fit(make(kind))) for kind in kinds}
    for kind, found in pool.map(lambda kind: (kind, results(fit(make(kind)))), kinds):
        assert_same(found, expected[kind])


def test_embedding_goes_on_while_other_threads_fit(pool):
    cpc = fit(make("lstm"))
    expected = results(cpc)
    fits = [pool.submit(fit, make(kind)) for kind in (*TRAINED, *SERIAL)]
    while not all(future.done() for future in fits):
        assert_same(results(cpc), expected)
    for future in fits:
        future.result()


def test_an_estimator_keeps_its_last_fit_until_the_next_is_complete():
    class Look(Callback):
        def on_train_end(self, net, **_):
            seen.append((vars(cpc)["network_"], results(cpc)))

    seen: list = []
    cpc = fit(make("gru"))
    network, expected = cpc.network_, results(cpc)
    fit(cpc.set_params(random_state=1, callbacks=[Look()]))
    assert seen[0][0] is network
    assert_same(seen[0][1], expected)
    assert cpc.network_ is not network


def test_scores_in_joblibs_threads_are_those_of_one_thread():
    chain = make_pipeline(make("autoencoder"), make("probe"))
    alone = cross_val_score(chain, ROWS, CLASSES, cv=4)
    with joblib.parallel_config("threading", n_jobs=4):
        assert_array_equal(cross_val_score(chain, ROWS, CLASSES, cv=4), alone)


def test_fits_with_code_of_ones_own_may_contain_fits():
    class Inner(Callback):
        def on_train_begin(self, net, **_):
            found.append(results(fit(make("own module"))))
            found.append(results(fit(make("gru"))))

    found: list = []
    expected = [results(fit(make(kind))) for kind in ("own module", "gru", "own callback")]
    outer = fit(make("own callback").set_params(callbacks=[Inner(), Shaken()]))
    for one, other in zip([*found, results(outer)], expected, strict=True):
        assert_same(one, other)


# The process


def test_loading_touches_no_warning_filter_and_no_generator(tmp_path, monkeypatch, pool):
    def refuse(*_, **__):
        raise AssertionError("a setting of all threads is changed")

    estimators = [fit(make(kind)) for kind in ("gru", "transformer", "probe")]
    for i, estimator in enumerate(estimators):
        estimator.save(tmp_path / str(i))
    before, filters = torch.get_rng_state(), list(warnings.filters)
    with monkeypatch.context() as patch:
        patch.setattr(warnings, "catch_warnings", refuse)
        patch.setattr(torch, "set_rng_state", refuse)
        models = list(pool.map(lambda i: load(tmp_path / str(i % 3)), range(24)))
    assert warnings.filters == filters
    assert torch.equal(torch.get_rng_state(), before)
    for i, model in enumerate(models[:3]):
        assert_same(results(model), results(estimators[i]))


def test_the_default_type_comes_back_when_the_last_thread_is_done():
    first, second = standard_settings("cpu"), standard_settings("cpu")
    torch.set_default_dtype(torch.float64)
    try:
        with ThreadPoolExecutor(1) as other:
            first.__enter__()
            other.submit(second.__enter__).result()
            first.__exit__(None, None, None)
            assert torch.get_default_dtype() == torch.float32
            other.submit(second.__exit__, None, None, None).result()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_training_with_code_of_ones_own_waits_for_another():
    class Meet(Callback):
        def on_train_begin(self, net, **_):
            running.append(None)
            together.append(len(running))
            meeting.wait(0.2)

        def on_train_end(self, net, **_):
            running.pop()

    running: list = []
    together: list[int] = []
    meeting = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: fit(small_cpc(callbacks=[Meet()])), range(3)))
    assert together == [1, 1, 1]


# Work that is divided among threads, each of which torch uses alone


def test_threads_that_start_during_the_work_have_all_of_torchs_threads():
    def look(_):
        inner = []
        other = threading.Thread(target=lambda: inner.append(torch.get_num_threads()))
        barrier.wait(60)  # both threads have begun
        other.start()
        other.join()
        return torch.get_num_threads(), *inner

    before, barrier = torch.get_num_threads(), threading.Barrier(2)
    try:
        torch.set_num_threads(3)
        assert compute_in_threads(look, range(2), 2) == [(1, 3), (1, 3)]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_in_any_thread_is_raised_and_does_no_harm():
    def divide(item):
        barrier.wait(60)  # each thread has one
        return 1 / item

    for items in ([0, 1], [1, 0]):
        barrier = threading.Barrier(2)
        with pytest.raises(ZeroDivisionError):
            compute_in_threads(divide, items, 2)
    barrier = threading.Barrier(2)
    assert compute_in_threads(divide, [1, 2], 2) == [1, 0.5]


def test_results_of_all_threads_keep_the_order_of_items():
    def identify(item):
        if item < 3:
            barrier.wait(60)  # each thread has one of the first
        return item, threading.get_ident(), torch.get_num_threads()

    barrier = threading.Barrier(3)
    items, idents, n_torch_threads = zip(*compute_in_threads(identify, range(100), 3), strict=True)
    assert items == tuple(range(100))
    assert len(set(idents)) == 3
    assert set(n_torch_threads) == {1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    assert compute_in_threads(abs, [-1, -2], 2) == [1, 2]
    child = os.fork()
    if not child:
        signal.alarm(60)  # ends the process if it waits for threads that it does not have
        os._exit(compute_in_threads(abs, [-1, -2], 2) != [1, 2])
    assert os.waitpid(child, 0)[1] == 0
