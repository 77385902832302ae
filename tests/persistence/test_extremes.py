"""Whatever numbers a model file states, loading and using it takes bounded time and memory."""

import json
import resource
import time

import numpy as np
import pytest
from forging import bytes_of, opened, places, sealed
from models import CLIPS, ROWS, Y, fitted, input_of, probe, reducer
from safetensors.numpy import save as as_safetensors
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import Conv1dEncoder, CPCTransformer, GRUContext, LogMelEncoder, MFCCTransformer, save
from sklearn_cpc.persistence import container
from sklearn_cpc.persistence.models import from_bytes

SECONDS = 10  # of processor time; a slow and busy machine takes a few for what a fast one does in one
MEGABYTES = 2500


class Bounded:
    """Asserts that a block takes little time and memory."""

    def __enter__(self):
        self.start, self.before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def __exit__(self, *_):
        assert time.process_time() - self.start < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.before < MEGABYTES * 1024


def parameter_places(document):
    """Ways to every value among the parameters that is a number, a text or None."""
    for way in places(document):
        node = document
        for key in way:
            node = node[key]
        if "fitted" not in str(node) and way[-1] not in (0, "class") and not isinstance(node, (list, dict)):
            yield way


EXTREMES = [
    0,
    1,
    2,
    255,
    2**10,
    2**13,
    2**14,
    2**16,
    10**5,
    10**6,
    2**20,
    2**28,
    2**31,
    2**62,
    10**30,
    -1,
    -(10**9),
]
EXTREMES += [
    1e-300,
    1e-6,
    0.5,
    0.999999,
    1e3,
    86400.0,
    1e9,
    1e300,
    float("inf"),
    float("nan"),
    None,
    True,
    "",
    "meta",
]
EXTREMES += ["meta", "attention", "z_thirds", {"tuple": []}, {"tuple": [2**16] * 3}, {"tuple": [1] * 100}]
SMALL = ["small-corpus", "report-conv1d-gru", "report-conv1d-attention", "report-conv2d-gru", "all options"]
SMALL += ["mfcc", "reducer", "probe of int", "scaler", "logistic regression", "nested pipeline"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SMALL)
def test_extreme_parameters_are_refused_or_take_bounded_time_and_memory(name):
    X = np.asarray(input_of(fitted(name)))[:3]
    random = np.random.default_rng(len(name))
    for _ in range(25):
        document, arrays = opened(bytes_of(name))
        ways = list(parameter_places(document["content"]))
        for chosen in random.choice(len(ways), random.integers(1, 4)):
            *way, last = ways[chosen]
            node = document["content"]
            for key in way:
                node = node[key]
            node[last] = EXTREMES[random.integers(len(EXTREMES))]
        with Bounded():
            try:
                estimator = from_bytes(sealed(document, arrays))
                (estimator.transform if hasattr(estimator, "transform") else estimator.predict)(X)
            except ValueError:
                pass


COSTLY = {
    "a convolution over long clips": CPCTransformer(Conv1dEncoder(16, (9, 9), (1, 2**16)), clip_duration=20000.0),
    "a long kernel": CPCTransformer(
        Conv1dEncoder(4, (2**16, 9), (1, 2**16)), clip_duration=4000.0, n_context=1, n_future=1
    ),
    "a spectrum per sample": CPCTransformer(
        LogMelEncoder(8, window_duration=2.0), clip_duration=16.0, n_context=2**15 - 1, n_future=1
    ),
    "attention to many steps": CPCTransformer(
        LogMelEncoder(8, z_dim=8), "causal_attention", clip_duration=1000.0, n_context=10**5
    ),
    "many recurrent steps": CPCTransformer(
        LogMelEncoder(8, z_dim=8), GRUContext(8, n_layers=10), clip_duration=1000.0, n_context=10**5
    ),
}


@pytest.mark.parametrize("case", COSTLY)
def test_networks_that_compute_too_much_are_refused_before_they_are_trained(case):
    with Bounded(), pytest.raises(ValueError, match=r"numbers in the results of all layers.*use shorter clips"):
        COSTLY[case].fit(CLIPS)


def test_a_network_of_many_recurrent_steps_loads_at_once(tmp_path):
    encoder = LogMelEncoder(4, z_dim=4, n_mels=4, sample_rate=1000, window_duration=0.02)
    cpc = CPCTransformer(encoder, GRUContext(4), clip_duration=60.0, n_context=5000, n_future=1, max_epochs=0)
    cpc.fit(CLIPS)
    start = time.process_time()
    save(cpc, tmp_path / "model")
    assert time.process_time() - start < 3  # operation by operation, it would take ten


@pytest.mark.parametrize(
    "estimator",
    [
        CPCTransformer(LogMelEncoder(n_mels=513)),
        MFCCTransformer(n_mels=513),
        MFCCTransformer(n_fft=2**16, hop_length=255),
    ],
)
def test_spectrograms_of_unreasonable_size_are_refused(estimator):
    with pytest.raises(ValueError, match=r"'n_mels' parameter|hop_length=255 must be at least .* = 256"):
        estimator.fit(CLIPS)


def test_a_network_cannot_run_on_the_device_meta():
    with pytest.raises(ValueError, match="device='meta' cannot be used"):
        reducer(device="meta").fit(ROWS)


def of_content(content):
    return b'{"format": 1, "versions": {}, "content": ' + content + b"}"


def list_of(entry):
    n_lists = max(1, entry.count(b"[") + entry.count(b"{"))
    n_entries = min((container.MAX_DOCUMENT - 100) // (len(entry) + 1), (container.MAX_LISTS - 10) // n_lists)
    return of_content(b"[" + b",".join([entry] * n_entries) + b"]")


SAME_HASH = b",".join(b"[%d,0]" % ((2**61 - 1) * number) for number in range(1, 70_000))
RECIPE = {"object": {"dict": [["class", "GRUContext"], ["parameters", {"dict": []}], ["fitted", {"dict": []}]]}}
WORST = {
    "lists": list_of(b"[]"),
    "too many lists": of_content(b"[" + b"[]," * container.MAX_LISTS + b"[]]"),
    "deep lists": list_of(b"[" * 400 + b"]" * 400),
    "dicts": list_of(b'{"dict":[]}'),
    "arrays of text": list_of(b'{"text":["U1",["a"]]}'),
    "long integers": list_of(b"9" * 4299),
    "recipes": list_of(json.dumps(RECIPE).encode()),
    "integers of one hash": of_content(b'{"dict":[' + SAME_HASH + b"]}"),
    "tuples as keys": of_content(b'{"dict":[[{"tuple":[1]},0]]}'),
}


@pytest.mark.parametrize("case", WORST)
def test_the_worst_descriptions_take_bounded_time_and_memory(case):
    assert len(WORST[case]) <= container.MAX_DOCUMENT
    with Bounded(), pytest.raises(ValueError, match=r"no estimator|parts|64 bits|more than 50|neither text"):
        from_bytes(sealed(WORST[case], {}))


def test_a_file_of_very_many_arrays_is_refused_before_they_are_read():
    data = as_safetensors({f"{number:06d}": np.zeros(0, np.uint8) for number in range(80_000)})
    start = time.process_time()
    with pytest.raises(ValueError, match="header too large"):
        from_bytes(data)
    assert time.process_time() - start < 0.1


def test_keys_that_are_neither_text_nor_numbers_are_not_saved(tmp_path):
    classifier = probe().fit(ROWS, Y)
    classifier.history_[0]["more"] = {(1, 2): 3}
    with pytest.raises(TypeError, match="history_/0/more has keys"):
        save(classifier, tmp_path / "model")


@pytest.mark.parametrize("parameter", ["with_mean", "with_std"])
def test_a_scaler_that_lacks_its_mean_or_scale_is_refused(parameter):
    scaler = StandardScaler(with_mean=False, with_std=False).fit(ROWS).set_params(**{parameter: True})
    with pytest.raises(ValueError, match=f"StandardScaler has {parameter}=True, but no "):
        save(scaler, "nowhere")
