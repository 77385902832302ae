"""A file that is not what was written is refused: damaged, cut off, or made to do harm."""

import contextlib
import copy
import os
import pickle
import resource
import textwrap
import time
import zipfile

import joblib
import numpy as np
import pytest
import torch
from forging import bytes_of, opened, places, sealed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import assert_same_results, fitted
from safetensors.numpy import save as as_safetensors

from sklearn_cpc import load, save
from sklearn_cpc.persistence import container
from sklearn_cpc.persistence.models import from_bytes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def loaded(data, path):
    path.write_bytes(data)
    return load(path)


def assert_refused(data, path, message=None):
    with pytest.raises(ValueError, match=message) as caught:
        loaded(data, path)
    assert "model.safetensors" in str(caught.value)


# Damage


@pytest.mark.parametrize("name", ["mfcc", "logistic regression"])
def test_a_file_cut_off_anywhere_is_refused(name, path):
    path.write_bytes(bytes_of(name))
    for length in reversed(range(len(bytes_of(name)))):
        os.truncate(path, length)
        with pytest.raises(ValueError, match="cannot load"):
            load(path)


@pytest.mark.parametrize("name", ["mfcc", "logistic regression"])
def test_a_file_with_any_bit_flipped_is_refused(name):
    data = bytearray(bytes_of(name))
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"checksum|cut off"):
                from_bytes(bytes(data))
            data[place] ^= 1 << bit
    from_bytes(bytes(data))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_large_files_damaged_anywhere_are_refused(path, drawn):
    data = bytes_of("pipeline")
    start = drawn.draw(st.integers(0, len(data) - 1))
    stop = drawn.draw(st.integers(start, len(data)))
    damaged = data[:start] + drawn.draw(st.binary(max_size=20)) + data[stop:]
    if damaged != data:
        assert_refused(damaged, path)


@pytest.mark.parametrize("extra", [b"\0", b" " * 8, b"}"])
def test_a_file_with_more_at_its_end_is_refused(extra, path):
    assert_refused(bytes_of("mfcc") + extra, path)


def test_the_header_of_one_file_before_the_arrays_of_another_is_refused(path):
    one, other = (bytes_of(name) for name in ("probe of bool", "probe of bytes"))
    ends = [8 + int.from_bytes(data[:8], "little") for data in (one, other)]
    assert_refused(one[: ends[0]] + other[ends[1] :], path, "checksum|cut off")


def test_what_is_no_such_file_is_refused(path, tmp_path):
    joblib.dump(fitted("mfcc"), tmp_path / "model.joblib")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("weights", b"0" * 10000)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "model.pt")
    others = [(tmp_path / name).read_bytes() for name in ("model.joblib", "model.zip", "model.pt")]
    weights = as_safetensors({"weight": np.zeros(100, np.float32)}, {"format": "np"})
    for data in (b"", b"\0", b"\0" * 8, b"\0" * 100, b"\xff" * 100, b"{}", weights, *others):
        assert_refused(data, path, "no file of sklearn_cpc")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="not a file"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def test_a_large_file_of_another_kind_is_not_read(path):
    with path.open("wb") as file:
        file.write(b"RIFF\xff\xff\xff\x7fWAVE")
        file.truncate(2**40)  # sparse: a terabyte that takes no room
    with pytest.raises(ValueError, match="no file of sklearn_cpc"):
        load(path)


# Files made to do harm: their checksum is right


def forged(data, edit):
    """Return a file whose description and arrays were edited."""
    document, arrays = opened(data)
    edit(document["content"], arrays)
    return sealed(document, arrays)


def test_files_made_here_equal_those_that_save_makes():
    for name in ("pipeline", "mfcc"):
        assert forged(bytes_of(name), lambda node, arrays: None) == bytes_of(name)


@pytest.mark.parametrize("number", [0, 2, 10**9, -1, "1", None, [1]])
def test_other_formats_are_refused_with_the_version_that_wrote_them(number, path):
    document, arrays = opened(bytes_of("mfcc"))
    document.update(format=number, versions={"sklearn_cpc": "9.9"})
    assert_refused(sealed(document, arrays), path, r"format .*'sklearn_cpc': '9\.9'")


def test_a_message_does_not_repeat_the_file(path):
    with pytest.raises(ValueError, match="unknown") as caught:
        loaded(forged(bytes_of("mfcc"), put("class", value="x" * 10**5)), path)
    assert len(str(caught.value)) < 1500


MALFORMED = {
    "nothing": b"",
    "no JSON": b'{"format": 1',
    "no object": b"[]",
    "deep JSON": b"[" * 100_000 + b"]" * 100_000,
    "a long integer": b'{"format": 1, "versions": {}, "content": 1' + b"0" * 5000 + b"}",
    "bytes that are no text": b'{"format": 1, "versions": {}, "content": "\xff"}',
    "no content": b'{"format": 1, "versions": {}}',
    "no estimator": b'{"format": 1, "versions": {}, "content": null}',
    "a list": b'{"format": 1, "versions": {}, "content": []}',
    "too much": b" " * (container.MAX_DOCUMENT + 1),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_descriptions_are_refused(case, path):
    assert_refused(sealed(MALFORMED[case], {}), path)


def test_large_descriptions_take_bounded_time_and_memory(path):
    text = b'{"format": 1, "versions": {}, "content": [' + b"[]," * (container.MAX_DOCUMENT // 3 - 20) + b"[]]}"
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert_refused(sealed(text, {}), path)
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # KiB


def test_arrays_that_nothing_uses_are_refused(path):
    document, arrays = opened(bytes_of("mfcc"))
    assert_refused(sealed(document, {**arrays, "more": np.zeros(3)}), path, "nothing uses")


def inside(node):
    """Return the list or dict of pairs inside of what says its type."""
    while isinstance(node, dict):
        (node,) = node.values()
    return node


def put(*keys, value):
    """Return an edit that sets an entry of the description."""

    def edit(node, arrays):
        *way, last = keys
        for key in way:
            pairs = inside(node)
            node = pairs[key] if isinstance(key, int) else dict(pairs)[key]
        pairs = inside(node)
        if isinstance(last, int):
            pairs[last] = value
        else:
            pairs[:] = [pair for pair in pairs if pair[0] != last] + [[last, value]]

    return edit


def remove(*keys):
    def edit(node, arrays):
        for key in keys[:-1]:
            node = dict(inside(node))[key]
        inside(node)[:] = [pair for pair in inside(node) if pair[0] != keys[-1]]

    return edit


def drop(name):
    return lambda node, arrays: arrays.pop(name)


def scale(name, factor):
    return lambda node, arrays: arrays.update({name: arrays[name] * np.asarray(factor, arrays[name].dtype)})


def recipe(name, **parameters):
    pairs = [
        ["class", name],
        ["parameters", {"dict": list(map(list, parameters.items()))}],
        ["fitted", {"dict": []}],
    ]
    return {"object": {"dict": pairs}}


def text(dtype, *labels):
    return {"text": [dtype, list(labels)]}


def many_samples(node, arrays):
    put("parameters", "clip_duration", value=80000.0)(node, arrays)
    put("parameters", "encoder", "parameters", "sample_rate", value=192000)(node, arrays)


CPC, PROBE, MFCC = "small-corpus", "probe of text", "mfcc"
ENCODER, CONTEXT = ("parameters", "encoder"), ("parameters", "autoregressor")
STATE = "fitted/network_/predictor.weight"
HOSTILE = {
    "an unknown class": (MFCC, put("class", value="PCA"), "'PCA' is unknown"),
    "a class by module": (MFCC, put("class", value="os.system"), "unknown"),
    "a recipe for an estimator": (MFCC, put("class", value="GRUContext"), "parameter|argument"),
    "an estimator for a recipe": (CPC, put(*ENCODER, value=recipe("Pipeline", steps=[])), None),
    "a recipe in the wrong place": (CPC, put(*ENCODER, value=recipe("GRUContext")), "sample_rate"),
    "another class": (CPC, put("class", value="LinearProbe"), "argument"),
    "an unknown parameter": (MFCC, put("parameters", "__class__", value="x"), "argument"),
    "a directory to write to": (MFCC, put("parameters", "memory", value="/nowhere"), "directory"),
    "a directory of checkpoints": (CPC, put("parameters", "checkpoint", value="x"), "directory"),
    "a directory of a pipeline": ("pipeline", put("parameters", "memory", value="x"), "directory"),
    "an unknown attribute": (MFCC, put("fitted", "transform", value=1), "no attributes"),
    "a missing attribute": (PROBE, remove("fitted", "classes_"), "classes_"),
    "missing parameters": (MFCC, remove("parameters"), None),
    "a callback": (CPC, put("parameters", "callbacks", value="x"), "callbacks"),
    "a text for a number": (CPC, put("parameters", "n_context", value="6"), "'n_context' parameter"),
    "a float for an integer": (CPC, put("parameters", "n_context", value=6.0), "'n_context' parameter"),
    "infinity": (CPC, put("parameters", "lr", value=float("inf")), "'lr' parameter"),
    "NaN": (CPC, put("parameters", "clip_duration", value=float("nan")), "'clip_duration' parameter"),
    "a value of no kind": (CPC, put("parameters", "lr", value={"call": "exit"}), None),
    "a value of two kinds": (CPC, put("parameters", "lr", value={"array": "a", "tuple": []}), None),
    "a dict as a key": (PROBE, put("parameters", "class_weight", value={"dict": [[{"dict": []}, 1]]}), None),
    "many filters": (CPC, put(*ENCODER, "parameters", "n_filters", value=10**9), "'n_filters' parameter"),
    "no filters": (CPC, put(*ENCODER, "parameters", "n_filters", value=-1), "'n_filters' parameter"),
    "a wide context": (CPC, put(*CONTEXT, "parameters", "c_dim", value=2**14), "must be"),
    "many layers": (CPC, put(*CONTEXT, "parameters", "n_layers", value=10**12), "'n_layers' parameter"),
    "many strides": (CPC, put(*ENCODER, "parameters", "strides", value={"tuple": [1] * 10**5}), "'strides'"),
    "many futures": (CPC, put("parameters", "n_future", value=10**9), "'n_future' parameter"),
    "many steps": (CPC, put("parameters", "n_context", value=10**9), "'n_context' parameter"),
    "long clips": (CPC, put("parameters", "clip_duration", value=1e300), "clip_duration"),
    "clips of many samples": (CPC, many_samples, "clip_duration"),
    "a long window": (CPC, put(*ENCODER, "parameters", "window_duration", value=1e9), "window_duration"),
    "many bands": (CPC, put(*ENCODER, "parameters", "n_mels", value=10**7), "'n_mels' parameter"),
    "much smoothing": (CPC, put(*ENCODER, "parameters", "band_smoothing", value=10**10), "'band_smoothing'"),
    "a high rate": (CPC, put(*ENCODER, "parameters", "sample_rate", value=10**12), "'sample_rate' parameter"),
    "many coefficients": (MFCC, put("parameters", "n_mfcc", value=10**9), "'n_mfcc' parameter"),
    "one array less": (CPC, drop(STATE), "predictor.weight"),
    "one weight less": (CPC, remove("fitted", "network_", "predictor.weight"), "predictor.weight"),
    "weights of another shape": (
        CPC,
        lambda node, arrays: arrays.update({STATE: np.zeros((2, 2), "f4")}),
        "must be",
    ),
    "no generator": (CPC, drop("fitted/_random/1"), None),
    "a position beyond the generator": (CPC, put("fitted", "_random", 2, value=10**6), "generator"),
    "a position before it": (CPC, put("fitted", "_random", 2, value=-1), "generator"),
    "a generator without numbers": (CPC, put("fitted", "_random", 2, value="a"), None),
    "infinite weights": (CPC, scale(STATE, np.inf), "NaN or infinity"),
    "infinite scales": (PROBE, scale("fitted/scaler_/fitted/scale_", np.inf), "NaN or infinity"),
    "labels that take much room": (PROBE, put("fitted", "classes_", value=text("U99999999", *"abc")), "too large"),
    "labels that are objects": (PROBE, put("fitted", "classes_", value=text("O", [], [], [])), "something else"),
    "labels of a made-up type": (
        PROBE,
        put("fitted", "classes_", value=text("O,O,O", *"abc")),
        "no array of text",
    ),
    "labels twice": (PROBE, put("fitted", "classes_", value=text("U1", *"aab")), "different"),
    "more labels than outputs": (PROBE, put("fitted", "classes_", value=text("U1", *"abcd")), "must be"),
    "many features": (PROBE, put("fitted", "n_features_in_", value=2**62), "n_features_in_"),
    "more features": (PROBE, put("fitted", "n_features_in_", value=7), "scaler_|must be|shape"),
    "no features": (PROBE, put("fitted", "n_features_in_", value=0), "n_features_in_"),
    "names for other features": (
        PROBE,
        put("fitted", "feature_names_in_", value=text("O", "a")),
        "feature_names_in_",
    ),
    "names that are none": (PROBE, put("fitted", "feature_names_in_", value=[None] * 6), "feature_names_in_"),
    "a scaler of others": (PROBE, put("fitted", "scaler_", "fitted", "n_features_in_", value=3), "shape"),
    "no scaler": (PROBE, put("fitted", "scaler_", value=recipe("LSTMContext")), "scaler_"),
    "an unknown output": (
        "reducer",
        put("fitted", "_sklearn_output_config", value={"dict": [["transform", "x"]]}),
        "output",
    ),
    "a history that is none": (PROBE, put("fitted", "history_", value=[3]), "history_"),
    "no steps": ("pipeline", put("parameters", "steps", value=[]), "steps|empty"),
    "two steps of one name": ("pipeline", put("parameters", "steps", 1, 0, value="cpc"), "unique"),
    "a step of text": ("pipeline", put("parameters", "steps", 1, 1, value="os"), None),
    "a step without a name": ("pipeline", put("parameters", "steps", 1, 0, value=None), None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_descriptions_made_to_do_harm_are_refused(case, path):
    name, edit, message = HOSTILE[case]
    assert_refused(forged(bytes_of(name), edit), path, message)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_load_takes_no_integers_that_save_refuses(number, path):
    changed = copy.deepcopy(fitted("reducer")).set_params(max_epochs=number)
    with pytest.raises(TypeError, match=r"max_epochs is .* cannot be stored"):
        save(changed, path)
    data = forged(bytes_of("reducer"), put("parameters", "max_epochs", value=number))
    assert_refused(data, path, "integer of more than 64 bits")


def test_load_takes_no_arrays_of_types_that_save_refuses(path):
    def edit(node, arrays):
        (name,) = [name for name in arrays if name.endswith("mean_")]
        arrays[name] = arrays[name].astype(np.complex64)

    assert_refused(forged(bytes_of("reducer"), edit), path, "complex64|cut off")


NASTY = [None, True, -1, 0, 1, 10**9, 2**63, -0.5, 1e300, "", "x", "../x", [], [[]], {}, {"tuple": []}, {"a": 1}]


def replaced(data, way, value):
    document, arrays = opened(data)
    node = document
    for key in way[:-1]:
        node = node[key]
    node[way[-1]] = value
    return sealed(document, arrays)


@pytest.mark.parametrize("name", ["small-corpus", "report-conv1d-attention", "reducer", "nested pipeline"])
def test_any_value_anywhere_is_refused_or_loaded_and_takes_no_memory(name, path):
    data = bytes_of(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    random = np.random.default_rng(0)
    for way in places(opened(data)[0]):
        value = NASTY[random.integers(len(NASTY))]
        with contextlib.suppress(ValueError):
            loaded(replaced(data, way, value), path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


# What load does


def test_nothing_is_unpickled(path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("load unpickles")

    data = bytes_of("pipeline")
    for module, names in ((pickle, ("load", "loads", "Unpickler")), (torch, ("load",)), (joblib, ("load",))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(np, "load", refuse)
    assert_same_results(loaded(data, path), fitted("pipeline"))


WATCH = """
    import sys
    from sklearn_cpc import load

    def tried(path):
        try:
            load(path)
        except ValueError:
            pass

    load(sys.argv[1])  # imports what is imported late
    events = []
    watched = "open exec compile import os. subprocess. socket. ctypes. pickle. shutil. marshal.".split()
    sys.addaudithook(lambda name, args: events.append((name, args)) if name.startswith(tuple(watched)) else None)
    for path in sys.argv[1:]:
        tried(path)
        seen, events[:] = list(events), []
        assert [(name, args[0]) for name, args in seen] == [("open", path)], seen
"""


def test_no_code_is_run_and_no_other_file_is_touched(run_anew, tmp_path):
    edits = {case: HOSTILE[case] for case in ("a class by module", "an unknown parameter", "a step of text")}
    paths = [tmp_path / f"{number}.safetensors" for number in range(len(edits) + 1)]
    save(fitted("pipeline"), paths[0])
    for path, (name, edit, _) in zip(paths[1:], edits.values(), strict=True):
        path.write_bytes(forged(bytes_of(name), edit))
    ended = run_anew(textwrap.dedent(WATCH), tmp_path, *paths)
    assert ended.returncode == 0, ended.stderr
