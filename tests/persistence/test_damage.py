"""A file that is not what was written is refused: damaged, cut off, or made to do harm."""

import contextlib
import functools
import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import assert_same_results, fitted
from safetensors.numpy import save as as_safetensors
from sklearn_cpc.persistence._file import BEFORE_DIGEST, MAX_HEADER, pack, unpack
from sklearn_cpc.persistence._saving import from_bytes

from sklearn_cpc import load, save
from sklearn_cpc.persistence import _file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@functools.cache
def bytes_of(name):
    with tempfile.TemporaryDirectory() as folder:
        save(fitted(name), Path(folder, "model"))
        return Path(folder, "model").read_bytes()


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
            with pytest.raises(ValueError, match=r"checksum|cut off|not written"):
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
        assert_refused(data, path, "no file of sklearn_cpc.save|not written by sklearn_cpc.save")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="not a file"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def test_a_large_file_that_is_none_of_ours_is_not_read(path, monkeypatch):
    with path.open("wb") as file:
        file.write((2**20).to_bytes(8, "little"))
        file.truncate(2**40)  # sparse: a terabyte that takes no room
    with pytest.raises(ValueError, match="not written by"):
        load(path)
    with path.open("wb") as file:
        file.write(bytes_of("mfcc"))
        file.truncate(2**40)
    with pytest.raises(ValueError, match="cut off or damaged"):
        load(path)


# Files made to do harm: their checksum is right


def forged(data, edit):
    """Return a file whose description and arrays were edited."""
    node, arrays = unpack(data)
    arrays = {name: array.copy() for name, array in arrays.items()}
    edit(node, arrays)
    return pack(node, arrays)


def signed(data):
    """Return a file with the digest it should have."""
    start = data.find(BEFORE_DIGEST) + len(BEFORE_DIGEST)
    blank = data[:start] + b"0" * 64 + data[start + 64 :]
    return data[:start] + hashlib.sha256(blank).hexdigest().encode() + data[start + 64 :]


def file_of(header, payload=b""):
    """Return a file with any header."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return signed(len(header).to_bytes(8, "little") + header + payload)


def document(**changes):
    node = {"class": "MFCCTransformer", "parameters": {}, "state": {}}
    whole = {"sha256": "0" * 64, "format": 1, "versions": {"sklearn_cpc": "9.9"}, "estimator": node, **changes}
    return json.dumps(whole)


def header_of(text, **tensors):
    return {"__metadata__": {"sklearn_cpc": text}, **tensors}


def test_files_made_here_are_as_those_that_save_makes(path):
    assert loaded(file_of(header_of(document())), path).n_mfcc == 20
    for name in ("pipeline", "mfcc"):
        data = bytes_of(name)
        assert forged(data, lambda node, arrays: None) == data == signed(data)


@pytest.mark.parametrize("number", [0, 2, 10**9, -1, 1.0, "1", None, True, [1]])
def test_other_formats_are_refused_with_the_release_that_reads_them(number, path):
    assert_refused(file_of(header_of(document(format=number))), path, r"format .*'sklearn_cpc': '9\.9'")


def test_a_message_does_not_repeat_the_file(path):
    with pytest.raises(ValueError, match="unknown") as caught:
        loaded(forged(bytes_of("mfcc"), put("class", value="x" * 10**5)), path)
    assert len(str(caught.value)) < 1500


def deep(depth):
    return "[" * depth + "]" * depth


MALFORMED = {
    "no JSON": (header_of('{"sha256": "' + "0" * 64), None),
    "deep JSON": (header_of(document(other=0)[:-2] + deep(100_000) + "}"), "nested more than 64"),
    "a deep header": (
        b'{"__metadata__":{"sklearn_cpc":"{\\"sha256\\": \\"' + b"0" * 64 + b'":' + b"[" * 10**6,
        "nested",
    ),
    "a key twice": (header_of(document()[:-1] + ', "format": 1}'), "'format' twice"),
    "a tensor twice": (json.dumps(header_of(document(), a=0)).encode()[:-1] + b', "a": 1}', "'a' twice"),
    "NaN": (header_of(document(estimator=float("nan"))), "NaN"),
    "infinity": (header_of(document()[:-1] + ', "x": 1e999}'), "1e999"),
    "a long integer": (header_of(document()[:-1] + f', "x": 1{"0" * 5000}}}'), "5001 digits"),
    "no metadata": (b'{"a":"{\\"sha256\\": \\"' + b"0" * 64 + b'"}', "malformed"),
    "metadata that is no text": (
        b'{"__metadata__":{"sklearn_cpc":1},"a":"{\\"sha256\\": \\"' + b"0" * 64 + b'"}',
        None,
    ),
    "no estimator": (header_of(document(estimator=None)), "NoneType"),
    "a list": (header_of(document(estimator=[])), "list"),
    "bytes that are no text": (b'{"a":"{\\"sha256\\": \\"' + b"0" * 64 + b'\xff"}', "utf-8"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_headers_are_refused(case, path):
    header, message = MALFORMED[case]
    assert_refused(file_of(header), path, message)


def tensor(dtype="F32", shape=(2,), start=0, stop=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": tensor()},  # nothing needs it
        {"a": tensor(stop=4)},
        {"a": tensor(shape=(2**62, 4))},
        {"a": tensor(shape=(2**40,), stop=2**42)},
        {"a": tensor(shape=(-2,))},
        {"a": tensor(start=4, stop=12)},
        {"a": tensor(), "b": tensor()},
        {"a": tensor(stop=8), "b": tensor(start=4, stop=12)},
        {"a": tensor(dtype="U8", shape=(8,))},
        {"a": tensor(dtype="O")},
        {"a": tensor(shape=())},
        {"a": tensor(shape=(2.0,))},
        {"a": {}},
        {"a": 3},
    ],
)
def test_tensors_that_cannot_be_are_refused(tensors, path):
    assert_refused(file_of(header_of(document(), **tensors), b"\0" * 8), path)


def test_a_header_that_is_too_long_is_refused(path):
    assert_refused(file_of(header_of(document(versions={"x": "0" * MAX_HEADER}))), path, "longer than")


def put(*keys, value):
    """Return an edit that sets an entry of the description."""

    def edit(node, arrays):
        *way, last = keys
        for key in way:
            node = node[key]
        node[last] = value

    return edit


def drop(name):
    return lambda node, arrays: arrays.pop(name)


def scale(name, factor):
    return lambda node, arrays: arrays.update({name: arrays[name] * np.float32(factor)})


CPC, PROBE, MFCC = "small-corpus", "probe of text", "mfcc"
ENCODER, CONTEXT = ("parameters", "encoder", "recipe"), ("parameters", "autoregressor", "recipe")
HOSTILE = {
    "an unknown class": (MFCC, put("class", value="PCA"), "'PCA' is unknown"),
    "a class by module": (MFCC, put("class", value="os.system"), "unknown"),
    "a recipe for an estimator": (MFCC, put("class", value="GRUContext"), "unknown"),
    "an estimator for a recipe": (CPC, put(*ENCODER, 0, value="Pipeline"), "unknown"),
    "a recipe in the wrong place": (CPC, put(*ENCODER, value=["GRUContext", {}]), "encoder is of type GRUContext"),
    "another class": (CPC, put("class", value="LinearProbe"), "no parameters"),
    "an unknown key": (MFCC, put("code", value="print(1)"), "described by"),
    "an unknown parameter": (MFCC, put("parameters", "__class__", value="x"), "no parameters"),
    "a parameter that is not stored": (MFCC, put("parameters", "memory", value="/tmp"), "memory"),
    "an unknown attribute": (MFCC, put("state", "transform", value=1), "no attributes"),
    "a derived attribute": (CPC, put("state", "_clip_shape", value=[1, 2]), "no attributes"),
    "a missing attribute": (PROBE, lambda node, arrays: node["state"].pop("classes_"), "lacks classes_"),
    "a callback": (CPC, put("parameters", "callbacks", value=["x"]), "callbacks"),
    "a text for a number": (CPC, put("parameters", "n_context", value="6"), "n_context is '6'"),
    "a float for an integer": (CPC, put("parameters", "n_context", value=6.0), "n_context is 6.0"),
    "infinity": (CPC, put("parameters", "lr", value={"float": "inf"}), "lr is inf"),
    "a value of no kind": (CPC, put("parameters", "lr", value={"call": "exit"}), "stands for nothing"),
    "a value of two kinds": (CPC, put("parameters", "lr", value={"float": "nan", "tuple": []}), "stands for"),
    "a name without its recipe": (CPC, put("parameters", "encoder", value="logmel"), "encoder is 'logmel'"),
    "a dict as a key": (PROBE, put("parameters", "class_weight", value={"dict": [[{}, 1]]}), "as a key"),
    "a key twice": (PROBE, put("parameters", "class_weight", value={"dict": [[1, 1], [1, 2]]}), "twice"),
    "many filters": (CPC, put(*ENCODER, 1, "n_filters", value=10**9), "built"),
    "more filters": (CPC, put(*ENCODER, 1, "n_filters", value=2**63), "cannot be built"),
    "no filters": (CPC, put(*ENCODER, 1, "n_filters", value=-1), "'n_filters' parameter"),
    "a wide context": (CPC, put(*CONTEXT, 1, "c_dim", value=10**8), "c_dim"),
    "many layers": (CPC, put(*CONTEXT, 1, "n_layers", value=10**12), "n_layers"),
    "many strides": (CPC, put(*ENCODER, 1, "strides", value={"tuple": [1] * 10**5}), "1000 at most"),
    "many futures": (CPC, put("parameters", "n_future", value=10**9), "cannot be built"),
    "long clips": (CPC, put("parameters", "clip_duration", value=1e300), "clip_duration"),
    "a long window": (CPC, put(*ENCODER, 1, "window_duration", value=1e9), "samples of a window"),
    "many bands": (CPC, put(*ENCODER, 1, "n_mels", value=10**7), "n_mels"),
    "much smoothing": (CPC, put(*ENCODER, 1, "band_smoothing", value=10**10), "band_smoothing"),
    "many threads": (CPC, put("parameters", "n_jobs", value=10**9), "n_jobs"),
    "one array less": (CPC, drop("network_/predictor.weight"), r"predictor\.weight is missing"),
    "no generator": (CPC, drop("_random"), "_random is missing"),
    "a position beyond the generator": (CPC, put("state", "_random", value=[10**6, 0, 0.0]), "generator"),
    "a position before it": (CPC, put("state", "_random", value=[-1, 0, 0.0]), "generator"),
    "a generator without numbers": (CPC, put("state", "_random", value=["a", 0, 0.0]), "_random"),
    "infinite weights": (CPC, scale("network_/predictor.weight", np.inf), "NaN or infinity"),
    "infinite scales": (PROBE, scale("scaler_/scale_", np.inf), "scale_ (is float|holds)"),
    "labels that take much room": (
        PROBE,
        put("state", "classes_", value={"dtype": "<U99999999", "values": ["a", "b", "c"]}),
        "99999999 characters",
    ),
    "labels that are objects": (
        PROBE,
        put("state", "classes_", value={"dtype": "|O", "values": [[], [], []]}),
        "other labels",
    ),
    "labels of a made-up type": (
        PROBE,
        put("state", "classes_", value={"dtype": "O,O,O", "values": ["a", "b", "c"]}),
        "other labels",
    ),
    "labels twice": (PROBE, put("state", "classes_", "values", value=["a", "a", "b"]), "there twice"),
    "labels that overflow": (
        PROBE,
        put("state", "classes_", value={"dtype": "|i1", "values": [1, 2, 300]}),
        None,
    ),
    "more labels than outputs": (PROBE, put("state", "classes_", "values", value=list("abcd")), "shape"),
    "many features": (PROBE, put("state", "n_features_in_", value=2**62), "6 features"),
    "no features": (PROBE, put("state", "n_features_in_", value=0), "less than 1"),
    "names for other features": (PROBE, put("state", "feature_names_in_", value=["a"]), "1 names for 6"),
    "names that are none": (PROBE, put("state", "feature_names_in_", value=[None] * 6), "names"),
    "a scaler of others": (PROBE, put("state", "scaler_", "state", "n_features_in_", value=3), "shape"),
    "no scaler": (PROBE, put("state", "scaler_", "class", value="LinearProbe"), "is a 'LinearProbe'"),
    "an unknown output": (MFCC, put("state", "_sklearn_output_config", value={"transform": "x"}), "output"),
    "a history that is none": (PROBE, put("state", "history_", value=[3]), "history_"),
    "two steps of one name": ("pipeline", put("steps", 1, 0, value="cpc"), "two of one name"),
    "no steps": ("pipeline", put("steps", value=[]), "no steps"),
    "a step of text": ("pipeline", put("steps", 1, 1, value="os"), "an estimator is a str"),
    "a step without a name": ("pipeline", put("steps", 1, 0, value=None), "steps"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_descriptions_made_to_do_harm_are_refused(case, path):
    name, edit, message = HOSTILE[case]
    assert_refused(forged(bytes_of(name), edit), path, message)


NASTY = [
    None,
    True,
    -1,
    0,
    1,
    10**9,
    2**63,
    -0.5,
    1e300,
    "",
    "x",
    "../x",
    [],
    [[]],
    {},
    {"tuple": []},
    {"float": "nan"},
]


def places(node, way=()):
    """Ways to every entry of a description."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*way, key)
        yield from places(value, (*way, key))


@pytest.mark.parametrize("name", ["small-corpus", "report-conv1d-attention", "reducer", "nested pipeline"])
def test_whatever_stands_anywhere_is_refused_or_loaded_and_takes_no_memory(name, path):
    data = bytes_of(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    random = np.random.default_rng(0)
    for way in places(unpack(data)[0]):
        for value in random.choice(np.array(NASTY, dtype=object), 2, replace=False):
            with contextlib.suppress(ValueError):
                loaded(forged(data, put(*way, value=value)), path)
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


def test_no_code_is_run_and_no_other_file_is_touched(tmp_path):
    edits = {
        case: HOSTILE[case] for case in ("a class by module", "a parameter that is not stored", "a step of text")
    }
    paths = [tmp_path / f"{number}.safetensors" for number in range(len(edits) + 1)]
    save(fitted("pipeline"), paths[0])
    for path, (name, edit, _) in zip(paths[1:], edits.values(), strict=True):
        path.write_bytes(forged(bytes_of(name), edit))
    command = [sys.executable, "-c", textwrap.dedent(WATCH), *map(str, paths)]
    root = Path(_file.__file__).parents[2]
    subprocess.run(command, check=True, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"})
