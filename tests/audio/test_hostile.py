"""Hostile audio: damaged, forged and odd files give good samples or an error, in bounded memory and time."""

import os
import re
import socket
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fuzz_audio import memory, reset_peak
from numpy.testing import assert_allclose, assert_array_equal
from sounds import RATE, noise, read_files, write

from sklearn_cpc import MFCCTransformer, sample_clips
from sklearn_cpc.audio.clips import Clip, as_clips
from sklearn_cpc.audio.reading import (
    SequentialSoundFile,
    UnreadableAudioError,
    printable,
    read_audio,
    read_duration,
)

READERS = [lambda path: read_audio(path, RATE), read_duration]


def reason_of(path, read=READERS[0]):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read(path)
    return str(caught.value)


def change(path, start, new):
    """Overwrite bytes of a file; returns its path."""
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(new)
    return path


# Anything


FAULTS = """
import os, sys, tempfile, time
import numpy as np

os.environ.pop("SKLEARN_CPC_DATA", None)
import fuzz_audio as fuzz

def fault(path):  # by the number of the file
    number = int(os.path.basename(path).split(".")[0])
    if number == 1:
        os.abort()
    if number == 2:
        time.sleep(60)
    if number == 3:
        raise KeyError(path)
    if number == 4:
        fuzz.check(np.array([np.nan], np.float32), path)
    if number == 5:
        np.ones(10 << 20)
        return "read", 1
    if number == 6:
        return "read", len(np.zeros(1 << 40))
    return "read", 1

original, timeout = fuzz.read_file, fuzz.TIMEOUT
fuzz.read_file, fuzz.TIMEOUT = fault, 2
with tempfile.TemporaryDirectory() as folder:
    files = {("WAV", "noise"): bytes(range(256)), ("MP3", ""): b"x", ("OGG", ""): b"x", ("FLAC", ""): b"x"}
    results = list(fuzz.fuzz(files, folder, seed=0, count=12))
    print(sorted((int(os.path.basename(r["path"]).split(".")[0]), r["outcome"]) for r in results))
fuzz.read_file, fuzz.TIMEOUT = original, timeout
sys.exit(fuzz.main(["--count", "300", "--seed", "0"]))
"""


def test_fuzzer_has_no_findings_and_notices_faults(run_anew, tmp_path):
    run = run_anew(FAULTS, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    faults, *_, figures = run.stdout.splitlines()
    expected = ["read", "crash", "hang", "exception", "bad result", "memory", "exception", *["read"] * 5]
    assert faults == str(list(enumerate(expected)))
    assert figures.startswith("300 inputs, 0 findings")


# Headers


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("n_channels", [65, 192, 1024])
def test_too_many_channels_are_refused_until_the_limit_is_raised(tmp_path, monkeypatch, read, n_channels):
    path = write(tmp_path / "a.wav", noise(100, n_channels))
    reason = reason_of(path, read)
    assert reason.startswith(f"has {n_channels} channels, and up to 64 are read; mix it down, set the ")
    assert "SKLEARN_CPC_MAX_CHANNELS" in reason
    monkeypatch.setenv("SKLEARN_CPC_MAX_CHANNELS", str(n_channels))
    expected = read(path)
    monkeypatch.setenv("SKLEARN_CPC_MAX_CHANNELS", "1024")
    assert_array_equal(read(path), expected)


@pytest.mark.parametrize("n_channels", [1, 2, 15, 16, 17, 63, 64])
def test_any_number_of_channels_up_to_the_limit_is_averaged(tmp_path, n_channels):
    samples = noise(70_000, n_channels)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert_array_equal(read_audio(path, RATE), samples.astype(np.float32).mean(axis=1))


def test_forged_number_of_channels_allocates_nothing(tmp_path):
    path = change(write(tmp_path / "a.wav"), 22, struct.pack("<H", 65535))
    assert reason_of(path).startswith("is not audio that libsndfile can read, or is damaged")
    with limited_growth(32 << 20):
        reason_of(change(path, 22, struct.pack("<H", 1024)))


@pytest.mark.parametrize("read", READERS)
def test_recordings_beyond_the_duration_limit_are_refused(tmp_path, monkeypatch, read):
    path = write(tmp_path / "a.wav", noise(10 * RATE))
    monkeypatch.setenv("SKLEARN_CPC_MAX_HOURS", "0.0025")
    reason = reason_of(path, read)
    assert reason.startswith(
        "lasts 0.00278 hours or more, and up to 0.0025 are read; cut it into pieces, set the "
    )
    monkeypatch.setenv("SKLEARN_CPC_MAX_HOURS", str(10 / 3600))
    assert len(read_audio(path, RATE)) == 10 * RATE
    monkeypatch.setenv("SKLEARN_CPC_MAX_HOURS", "0.001")
    assert "up to 0.001 are read" in reason_of(path, read)


def test_default_duration_limit_is_a_day(tmp_path):
    path = sparse_wav(tmp_path / "a.wav", 24 * 3600 * 100, rate=100)
    assert read_duration(path) == 24 * 3600
    with limited_growth(32 << 20):
        assert reason_of(sparse_wav(path, 25 * 3600 * 100, rate=100)).startswith("lasts 25 hours or more")


def test_duration_limit_holds_for_files_of_unknown_length(tmp_path, monkeypatch):
    path = write(tmp_path / "a.flac", noise(100_000))
    rate_and_length = bytes([0xF0]) + bytes(4)  # the upper half of the first byte is the depth
    change(path, 21, rate_and_length)
    assert len(read_audio(path, RATE)) == 100_000
    monkeypatch.setenv("SKLEARN_CPC_MAX_HOURS", str(10 / 3600))
    assert "lasts" in reason_of(path)


@pytest.mark.parametrize("rate", [1, 99, 10_000_001, 2**31 - 1])
@pytest.mark.parametrize("read", READERS)
def test_absurd_sample_rates_are_refused(tmp_path, read, rate):
    path = change(write(tmp_path / "a.wav"), 24, struct.pack("<I", rate))
    expected = f"states a sample rate of {rate} Hz, and rates from 100 Hz to 10 MHz are read; repair its header."
    assert reason_of(path, read) == expected


@pytest.mark.parametrize("rate", [0, 2**31, 2**32 - 1])
def test_zero_and_overflowing_sample_rates_are_refused(tmp_path, rate):
    assert reason_of(change(write(tmp_path / "a.wav"), 24, struct.pack("<I", rate)))


@pytest.mark.parametrize("rate", [100, 10_000_000])
def test_sample_rates_at_the_limits_are_read(tmp_path, rate):
    path = write(tmp_path / "a.wav", noise(1000), rate)
    assert len(read_audio(path, RATE)) == int(np.ceil(1000 * RATE / rate))


def test_more_samples_than_bits_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.au", noise(4000), subtype="G721_32")
    assert len(read_audio(path, RATE)) >= 4000
    size = os.path.getsize(path)
    monkeypatch.setattr(SequentialSoundFile, "frames", 8 * size + 1)
    for read in READERS:
        assert reason_of(path, read).startswith(
            f"is damaged or cut short ({size} bytes are there for {8 * size + 1}"
        )


@pytest.mark.parametrize(
    ("name", "value"), [("HOURS", "many"), ("HOURS", "0"), ("CHANNELS", "-1"), ("CHANNELS", "nan")]
)
def test_invalid_limit_in_the_environment_is_an_error(tmp_path, monkeypatch, name, value):
    path = write(tmp_path / "a.wav")
    monkeypatch.setenv(f"SKLEARN_CPC_MAX_{name}", value)
    with pytest.raises(RuntimeError, match=f"SKLEARN_CPC_MAX_{name}='{value}' must be a number above 0"):
        MFCCTransformer().fit([path])
    with pytest.raises(RuntimeError, match="must be a number above 0"):
        sample_clips([path], 1)


# Memory


class limited_growth:
    """Fail if the memory of this process grows by more bytes in the block, on Linux."""

    def __init__(self, most):
        self.most = most

    def __enter__(self):
        reset_peak()
        self.before = memory("VmRSS")

    def __exit__(self, *error):
        assert memory("VmHWM") - self.before <= self.most


def sparse_wav(path, n_samples, n_channels=1, rate=48000):
    """Write a wav of silence as a sparse file; returns its path."""
    size = 2 * n_channels * n_samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, n_channels, rate, 2 * n_channels * rate, 2 * n_channels, 16)
    with open(path, "wb") as file:
        file.write(struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size))
        file.truncate(44 + size)
    return str(path)


@pytest.mark.parametrize("n_channels", [2, 16])
def test_memory_use_is_about_twice_the_result(tmp_path, n_channels):
    minutes = 20 if n_channels == 2 else 2
    path = sparse_wav(tmp_path / "a.wav", minutes * 60 * 48000, n_channels)
    read_audio(write(tmp_path / "b.wav"), 4000)  # warm-up
    with limited_growth((32 << 20) + 2 * 4 * minutes * 60 * 4000):  # the recording is 230 MB
        assert len(read_audio(path, 4000)) == minutes * 60 * 4000


# Tags and resource forks


def id3(size):
    """Return an ID3 tag of some bytes, all zero."""
    return b"ID3\x04\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


@pytest.mark.parametrize("n_tags", [1, 3])
@pytest.mark.parametrize("ending", ["wav", "aiff", "caf", "w64", "rf64", "svx", "au", "voc", "nist", "mat5"])
def test_id3_tags_before_chunked_formats_are_refused(tmp_path, ending, n_tags):
    path = Path(write(tmp_path / f"a.{ending}"))
    path.write_bytes(n_tags * id3(20) + path.read_bytes())
    for read in READERS:
        assert reason_of(path, read) == "has an ID3 tag but is not mp3; remove the tag."
    path.write_bytes(path.read_bytes()[: n_tags * 30 + 50])  # truncated, where libsndfile would hang
    assert reason_of(path).startswith("has an ID3 tag")


@pytest.mark.parametrize("size", [1, 200_000, 2**27, 2**28 - 1])
def test_id3_tags_with_forged_sizes_allocate_nothing(tmp_path, size):
    path = Path(write(tmp_path / "a.mp3", format="MP3"))
    path.write_bytes(id3(0)[:6] + id3(size)[6:10] + path.read_bytes())
    with limited_growth(32 << 20):
        samples, reasons = read_files([str(path)], RATE)
    assert all(len(signal) <= 2 * RATE for signal in samples.values())
    assert all("not audio that libsndfile can read" in reason for reason in reasons.values())


@pytest.mark.parametrize("content", [b"not audio ", b"RIFF----AVI ", b"riff", b"FORM"])
@pytest.mark.parametrize("ending", ["wav", "sd2", "mp3"])
@pytest.mark.parametrize("fork", ["._{}", ".AppleDouble/{}"])
def test_named_pipe_as_resource_fork_does_not_block(tmp_path, fork, ending, content):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content * 100)
    beside = tmp_path / fork.format(path.name)
    beside.parent.mkdir(exist_ok=True)
    os.mkfifo(beside)
    assert reason_of(path) == f"has a resource fork that is not a file; remove {beside}."
    beside.unlink()
    beside.write_text("not a fork")
    assert reason_of(path).startswith("is not audio")


def test_ogg_with_missing_pages_is_refused(tmp_path):
    for subtype in ("VORBIS", "OPUS"):
        path = Path(write(tmp_path / "a.ogg", noise(80000), 16000, format="OGG", subtype=subtype))
        data = path.read_bytes()
        pages = [match.start() for match in re.finditer(b"OggS", data)]
        path.write_bytes(data[: pages[3]] + data[pages[4] :])
        assert "damaged or cut short" in reason_of(path)


# Paths that are not regular files


@pytest.fixture
def odd(tmp_path):
    """Paths that are not regular files, with the expected reasons."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.relpath(tmp_path / "socket.wav"))  # socket names must be short
    links = {"a.wav": "b.wav", "b.wav": "a.wav", "own.wav": "own.wav", "none.wav": "gone.wav", "up.wav": "."}
    for name, target in {**links, "zero.wav": "/dev/zero", "to-fifo.wav": "fifo.wav"}.items():
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "fifo.wav")
    yield {
        **dict.fromkeys(["a.wav", "b.wav", "own.wav"], "cannot be opened (Too many levels of symbolic links)."),
        **dict.fromkeys(["socket.wav", "zero.wav", "fifo.wav", "to-fifo.wav"], "is not a regular file."),
        "none.wav": "does not exist.",
        "up.wav": "is a directory; list the files in it.",
        "x" * 300: "cannot be opened (File name too long).",
        "x.wav/" * 2000: "cannot be opened (File name too long).",
        "zero\0byte.wav": "is not a valid file name (embedded null byte).",
    }
    listening.close()


def test_paths_that_are_not_regular_files_are_listed_without_blocking(tmp_path, odd):
    odd = {os.path.join(tmp_path, name): reason for name, reason in odd.items()} | {"": "does not exist."}
    start = time.perf_counter()
    with pytest.raises(UnreadableAudioError) as caught:
        MFCCTransformer(n_jobs=2).fit(list(odd))
    assert caught.value.reasons == odd
    with pytest.raises(UnreadableAudioError) as caught:
        sample_clips(list(odd), 1)
    assert caught.value.reasons == odd
    assert time.perf_counter() - start < 5


def test_invalid_file_name_is_reported(tmp_path):
    assert reason_of(str(tmp_path / "\ud800.wav")).startswith("is not a valid file name (")


# Names


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("plain.wav", "plain.wav"),
        ("with space, 'quotes' and häßlich-鳥.wav", "with space, 'quotes' and häßlich-鳥.wav"),
        ("C:\\back\\slash.wav", "C:\\back\\slash.wav"),
        ("two\nlines.wav", r"'two\nlines.wav'"),
        ("\x1b[2Jclear.wav", r"'\x1b[2Jclear.wav'"),
        ("not-utf8-\udce9.wav", r"'not-utf8-\udce9.wav'"),
        ("\u202egnp.wav", r"'\u202egnp.wav'"),
        ("", "''"),
        (" ", "' '"),
        ("x" * 1000, "x" * 1000),
        ("x" * 5000 + "y" * 5000, "x" * 500 + "..." + "y" * 500),
    ],
)
def test_printable_paths_fit_on_one_line(path, shown):
    assert printable(path) == shown


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"two\nlines.wav", b"\xff\xfe", b"tab\t.wav"])
def test_messages_can_show_any_file_name(tmp_path, capsys, name):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    Path(path).write_text("not audio")
    for X in ([path], [os.fsencode(path)], [Path(path)], [Clip(path, 1.0)]):
        with pytest.raises(UnreadableAudioError) as caught:
            MFCCTransformer().fit(X)
        assert list(caught.value.reasons) == [path]
        assert len(str(caught.value).splitlines()) == 2
        print(str(caught.value).encode("utf-8"))  # raw surrogates would fail here
    good = write(tmp_path / "good.wav")
    with pytest.warns(UserWarning, match="1 recordings cannot be used") as caught:
        MFCCTransformer(on_error="nan").fit_transform([path, good])
    assert repr(path)[1:-1] in str(caught[0].message)
    with pytest.raises(ValueError, match=r"onset=-1\.0 s must be 0 or more") as caught:
        as_clips([(path, -1.0)])
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"two\nlines.wav", b"\xff\xfe", "\U0001f426.wav".encode()])
def test_recordings_of_any_name_are_cached(tmp_path, name):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    write(tmp_path / "a.wav")
    os.rename(tmp_path / "a.wav", path)
    for _ in range(2):
        samples, reasons = read_files([path], RATE, memory=tmp_path / "memory")
        assert_array_equal(samples[path], read_audio(path, RATE))
        assert reasons == {}


# Numbers


def with_value(path, value, n_channels=1, subtype="FLOAT"):
    samples = noise(2 * RATE, n_channels)
    samples[RATE, 0] = value
    return write(path, samples, subtype=subtype)


@pytest.mark.parametrize("rate", [RATE, 4410])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_one_nan_or_infinite_sample_is_refused(tmp_path, value, subtype, rate):
    path = with_value(tmp_path / "a.wav", value, 2, subtype)
    assert read_files([path], rate) == ({}, {path: "holds NaN or infinite samples."})


@pytest.mark.parametrize("rate", [RATE, 4410])
@pytest.mark.parametrize("value", [1e30, -1e30, 3.4e38, 1.1e12])
def test_samples_whose_squares_overflow_are_refused(tmp_path, value, rate):
    path = with_value(tmp_path / "a.wav", value)
    _, reasons = read_files([path], rate)
    assert reasons == {
        path: f"holds samples as large as {abs(value):.3g}, where full scale is 1; scale them down."
    }


def test_doubles_beyond_the_range_of_float32_are_refused(tmp_path):
    assert reason_of(with_value(tmp_path / "a.wav", 1e300, subtype="DOUBLE")) == "holds NaN or infinite samples."


@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-30, 1e6, 2.0**31, 9e11])
def test_samples_of_any_other_scale_give_finite_features(tmp_path, scale):
    path = write(tmp_path / "a.wav", noise(RATE) * scale, subtype="FLOAT")
    samples = read_audio(path, 4410)
    assert_allclose(
        samples, read_audio(write(tmp_path / "b.wav", subtype="FLOAT"), 4410) * scale, atol=1e-6 * scale + 1e-42
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".* digital silence")  # the smallest are rounded to 0
        assert np.isfinite(MFCCTransformer(sample_rate=4410, n_fft=512, n_mels=40).fit_transform([path])).all()


def test_signalling_nan_is_refused_without_a_warning(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(1000), subtype="FLOAT")
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:-4] + struct.pack("<I", 0x7FA00000))
    assert reason_of(path) == "holds NaN or infinite samples."


def test_minus_zero_becomes_zero(tmp_path):
    path = write(tmp_path / "a.wav", np.full(10, -0.0), subtype="FLOAT")
    assert not np.signbit(read_audio(path, RATE)).any()


# Formats


def test_every_format_and_encoding_of_libsndfile_is_read(tmp_path):
    n_read = 0
    for container in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(container):
            path = str(tmp_path / f"a.{container.lower()}")
            try:
                soundfile.write(path, noise(4000), 16000, format=container, subtype=subtype)
                expected, rate = soundfile.read(path, dtype="float32")
            except (soundfile.LibsndfileError, TypeError):  # soundfile lists some that it cannot write or read
                continue
            assert_allclose(read_audio(path, rate), expected, atol=2e-7, err_msg=f"{container} {subtype}")
            n_read += 1
    assert n_read > 50
