"""Do several kinds of work in threads at once, and compare the results with those of each alone.

    python tests/fault_threads.py --seconds 60 --seed 0

Threads fit, transform, score, save, load, embed and search, in random order, with shared estimators and files.
Each result must be that of the same call alone. The random generators, the settings of torch and BLAS, warning
filters, signal handlers and the environment must be the same afterwards.
"""

import functools
import os
import random as standard_random
import signal
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from corpus import RATE, rising_tones, small_cpc, small_encoder, write_samples
from faults import check_same, main
from threadpoolctl import threadpool_info

from sklearn_cpc import (
    AutoencoderReducer,
    InfoNCE,
    LinearProbe,
    LogMelEncoder,
    LSTMContext,
    MFCCTransformer,
    load,
)
from sklearn_cpc.archive import EmbeddingIndex, cut_windows, embed_archive, embedding, read_archive

N_THREADS = 6
# Warning filters that scikit-learn and pandas set for a moment, which in several threads may stay.
FOREIGN = "ComplexWarning", "VisibleDeprecationWarning", "'always', None, <class 'DeprecationWarning'>"
ROWS = np.random.default_rng(0).standard_normal((24, 6)).astype(np.float32)


def make_calls(folder):
    """Return functions by name that take a folder of their own and return arrays."""
    paths = write_samples(folder, rising_tones(8))
    windows = cut_windows(paths, 0.15)
    logmel = LogMelEncoder(n_filters=8, z_dim=8, n_mels=8, sample_rate=RATE, window_duration=0.064, dropout=0.5)
    recipes = {
        "dropout": small_cpc(encoder=small_encoder(dropout=0.5)),
        "log-mel": small_cpc(encoder=logmel, autoregressor=LSTMContext(8), objective=InfoNCE(n_across=3)),
    }
    shared = {name: recipe.fit(paths) for name, recipe in recipes.items()}
    cached = small_cpc(max_epochs=0, memory=folder / "memory").fit(paths)
    shared["log-mel"].save(folder / "model")
    embedding.PART_SECONDS = 0.8  # two recordings
    embed_archive(cached, windows, folder / "data", dtype="float16")
    searched, embeddings = EmbeddingIndex(folder / "data"), read_archive(folder / "data")[1]
    settings = {"sample_rate": RATE, "n_fft": 64, "n_mels": 8, "memory": folder / "memory", "n_jobs": 2}
    mfcc = MFCCTransformer(4, **settings).fit(paths)
    reducer = {"encoder_units": (8,), "decoder_units": (8,), "dropout": 0.5, "max_epochs": 2, "random_state": 0}

    def train(recipe, _):
        model = small_cpc(**recipe.get_params(deep=False)).fit(paths)
        return [model.transform(paths), model.score(paths)]

    def embed(folder):
        embed_archive(cached, windows, folder / "data")
        return read_archive(folder / "data")[1]

    def save(folder):
        shared["dropout"].save(folder / "model")
        return load(folder / "model").transform(paths)

    def search(index):
        found = index.query(embeddings[:5].astype(float), 4)
        return [found[column].to_numpy() for column in ("query", "row", "score")]

    def checkpoint(folder):
        model = small_cpc(max_epochs=2, checkpoint=folder / "checkpoint").fit(paths)
        return [values.numpy() for values in model.network_.state_dict().values()]

    return {
        **{f"fit, {name}": functools.partial(train, recipe) for name, recipe in recipes.items()},
        **{f"transform, {name}": lambda _, model=model: model.transform(paths) for name, model in shared.items()},
        "score": lambda _: shared["dropout"].score(paths),
        "fit with checkpoint=": checkpoint,
        "fit an autoencoder": lambda _: AutoencoderReducer(3, **reducer).fit(ROWS).transform(ROWS),
        "fit a probe": lambda _: (
            LinearProbe(dropout=0.5, max_epochs=2, random_state=0).fit(ROWS, np.arange(24) % 3).predict_proba(ROWS)
        ),
        "transform with memory=": lambda _: cached.transform(paths),
        "MFCCs": lambda _: mfcc.transform(paths),
        "save": save,
        "load": lambda _: load(folder / "model").transform(paths),
        "embed_archive": embed,
        "search": lambda _: search(searched),
        "open an index": lambda _: search(EmbeddingIndex(folder / "data")),
    }


def prepare(folder):
    calls, expected = make_calls(folder), {}
    for name, call in calls.items():
        place = folder / "alone" / name
        place.mkdir(parents=True)
        expected[name] = call(place)
    return {name: functools.partial(call_at_once, calls, expected, name) for name in calls}


def call_at_once(calls, expected, first, folder, random):
    """Call functions of three kinds in threads and one in this thread; compare their results."""
    names = [first, *random.choices([first, *random.sample(list(calls), 2)], k=2 * N_THREADS)]
    places = [folder / str(number) for number in range(len(names))]
    for place in places:
        place.mkdir()
    before, interval = shared_state(), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns far more often than usual
    try:
        with ThreadPoolExecutor(N_THREADS) as pool:
            others = [pool.submit(calls[name], place) for name, place in zip(names[1:], places[1:], strict=True)]
            results = [calls[first](places[0]), *(other.result() for other in others)]
    finally:
        sys.setswitchinterval(interval)
    for name, result in zip(names, results, strict=True):
        check_same(result, expected[name], name)
    check_same(shared_state(), before, "settings of the process")
    return "equal"


def shared_state():
    """Return all that threads share, as text."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    libraries = sorted((library["filepath"], library["num_threads"]) for library in threadpool_info())
    settings = [torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), np.geterr()]
    return {
        "torch's generator": torch.get_rng_state().numpy(),
        "NumPy's generator": repr(np.random.mtrand._rand.get_state()),
        "Python's generator": repr(standard_random.getstate()),
        "settings": repr([*settings, torch.is_inference_mode_enabled(), torch.get_default_device()]),
        "BLAS and OpenMP": repr(libraries),
        "warning filters": repr([one for one in warnings.filters if not any(map(repr(one).count, FOREIGN))]),
        "signal handlers": repr(handlers),
        "environment": repr(sorted(os.environ.items())),
        "working directory": os.getcwd(),
    }


if __name__ == "__main__":
    sys.exit(main(prepare, __doc__))
