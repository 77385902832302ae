"""Reading: the samples of good files, and the reasons given for bad ones."""

import os
import pickle
import struct
import tempfile
import threading

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sounds import RATE, change, noise, write

from sklearn_cpc.audio.reading import UnreadableAudioError, read_audio, read_duration

FORMATS = {
    "8 bit": ("wav", "PCM_U8"),
    "16 bit": ("wav", "PCM_16"),
    "24 bit": ("wav", "PCM_24"),
    "32 bit": ("wav", "PCM_32"),
    "float": ("wav", "FLOAT"),
    "double": ("wav", "DOUBLE"),
    "mu-law": ("wav", "ULAW"),
    "flac 16": ("flac", "PCM_16"),
    "flac 24": ("flac", "PCM_24"),
    "vorbis": ("ogg", "VORBIS"),
    "opus": ("ogg", "OPUS"),
    "mp3": ("mp3", "MPEG_LAYER_III"),
    "aiff": ("aiff", "PCM_16"),
    "au": ("au", "PCM_16"),
    "caf": ("caf", "PCM_16"),
    "w64": ("w64", "PCM_16"),
    "rf64": ("rf64", "PCM_16"),
}
LOSS = {"8 bit": 0.01, "mu-law": 0.02, "vorbis": 0.05, "opus": 0.05, "mp3": 0.05}  # else 1e-4


@pytest.fixture(params=FORMATS)
def sound_format(request):
    """A name of FORMATS."""
    return request.param


def write_as(sound_format, folder, samples, rate=16000):
    ending, subtype = FORMATS[sound_format]
    return write(folder / f"a.{ending}", samples, rate, format=ending.upper(), subtype=subtype)


# Good files


@pytest.mark.parametrize("n_channels", [1, 2])
def test_every_format_gives_mono_float32(tmp_path, sound_format, n_channels):
    pitches = 2 * np.pi * np.array([440, 660][:n_channels]) / 16000
    samples = 0.4 * np.sin(np.arange(16000)[:, None] * pitches)  # (16000, n_channels)
    path = write_as(sound_format, tmp_path, samples)
    read = read_audio(path, 16000)
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    assert read.shape == (16000,)
    assert read_duration(path) == 1.0
    middle = slice(1000, -1000)  # lossy encoders distort the ends
    assert_allclose(read[middle], samples.mean(axis=1)[middle], atol=LOSS.get(sound_format, 1e-4))
    assert_allclose(read, soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("wanted", [4410, 22050])
def test_resampling_equals_librosa(tmp_path, rate, wanted):
    path = write(tmp_path / "a.wav", noise(rate // 2 + 7, 2), rate, subtype="FLOAT")
    read = read_audio(path, wanted)
    mono = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    assert_array_equal(read, librosa.resample(mono, orig_sr=rate, target_sr=wanted))
    assert len(read) == -(-len(mono) * wanted // rate)
    assert read.flags.c_contiguous


@pytest.mark.parametrize("n_channels", [3, 6])
def test_channels_are_averaged(tmp_path, n_channels):
    samples = noise(1000, n_channels)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert_allclose(read_audio(path, RATE), samples.mean(axis=1), atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    samples=arrays(np.int16, st.integers(1, 600)),
    rate=st.sampled_from([8000, 22050, 44100]),
    ending=st.sampled_from(["wav", "flac", "aiff"]),
)
def test_lossless_files_are_read_bit_for_bit(samples, rate, ending):
    with tempfile.TemporaryDirectory() as folder:
        path = write(os.path.join(folder, f"a.{ending}"), samples, rate)
        assert_array_equal(read_audio(path, rate), samples.astype(np.float32) / 32768)
        assert read_duration(path) == len(samples) / rate


@settings(max_examples=30, deadline=None)
@given(
    n_samples=st.integers(1, 3000),
    rate=st.sampled_from([8000, 44100, 192000]),
    wanted=st.integers(1000, 48000),
)
def test_any_length_is_resampled_to_any_rate(n_samples, rate, wanted):
    with tempfile.TemporaryDirectory() as folder:
        read = read_audio(write(os.path.join(folder, "a.wav"), noise(n_samples), rate), wanted)
    assert len(read) == int(np.ceil(n_samples * (wanted / rate)))  # as librosa rounds
    assert np.isfinite(read).all()


@pytest.mark.parametrize("subtype", ["VORBIS", "MPEG_LAYER_III", "PCM_16"])
def test_long_recordings_have_no_seams_between_blocks(tmp_path, subtype):
    ending = {"VORBIS": "ogg", "MPEG_LAYER_III": "mp3", "PCM_16": "flac"}[subtype]
    path = write(tmp_path / f"a.{ending}", noise(200_000, 2), 44100, subtype=subtype)
    whole = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    assert_array_equal(read_audio(path, 44100), whole)


def test_numpy_rates_and_pathlike_paths_are_accepted(tmp_path):
    path = tmp_path / "a.wav"
    write(path)
    for rate in (4410, np.int32(4410), np.int64(4410)):
        assert_array_equal(read_audio(path, rate), read_audio(str(path), 4410))


@pytest.mark.parametrize(
    "name",
    ["with space.wav", "häßlich-鳥.wav", "no ending", "wrong.mp3", "quote'\".wav", "two\nlines.wav", "-.wav"],
)
def test_file_names_do_not_matter(tmp_path, name):
    path = tmp_path / name
    write(path, format="WAV")
    assert len(read_audio(path, RATE)) == RATE
    assert read_duration(str(path)) == 1.0


def test_file_names_need_not_be_utf8(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    try:
        soundfile.write(path, noise(RATE), RATE)
    except soundfile.LibsndfileError:
        pytest.skip("this file system wants UTF-8")
    assert len(read_audio(os.fsdecode(path), RATE)) == RATE


def test_symbolic_links_are_followed(tmp_path):
    write(tmp_path / "a.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    assert len(read_audio(tmp_path / "link.wav", RATE)) == RATE


# Odd but intact files: they must not be called damaged


def state_size(size):
    """Edit of a wav file: state another size of the samples."""
    return lambda data: data[:40] + struct.pack("<I", size) + data[44:]


def state_file_size(size):
    """Edit of a wav file: state another size of the file."""
    return lambda data: data[:4] + struct.pack("<I", size) + data[8:]


ODD_WAVS = {
    **{f"size {size:#x}": state_size(size) for size in (0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)},
    **{f"file size {size:#x}": state_file_size(size) for size in (0, 1, 99999, 0xFFFFFFFF)},
    "header counted among the samples": state_size(2 * RATE + 44),
    "last byte of padding missing": state_size(2 * RATE + 1),
    "odd chunk at the end": lambda data: data + b"LIST" + struct.pack("<I", 3) + b"INF",
    "cut chunk at the end": lambda data: data + b"LIST" + struct.pack("<I", 500) + b"INFO",
    "junk at the end": lambda data: data + b"abc",
    "zeros at the end": lambda data: data + bytes(5000),
    "chunk before the samples": lambda data: data[:36] + b"junk" + struct.pack("<I", 8) + bytes(8) + data[36:],
}


@pytest.mark.parametrize("edit", ODD_WAVS.values(), ids=ODD_WAVS)
def test_slightly_wrong_wav_headers_are_accepted(tmp_path, edit):
    path = write(tmp_path / "a.wav", noise(RATE))
    whole = read_audio(path, RATE)
    assert_array_equal(read_audio(change(path, edit), RATE), whole)


@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFFF])
def test_streamed_wav_has_its_actual_duration(tmp_path, size):
    path = change(write(tmp_path / "a.wav"), lambda data: state_size(size)(state_file_size(size)(data)))
    assert read_duration(path) == 1.0


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(4096), bytes(100_000)], ids=["tag", "zeros", "many"])
@pytest.mark.parametrize("sound_format", ["flac 16", "vorbis", "mp3", "aiff", "au"])
def test_tags_and_zeros_after_the_sound_are_ignored(tmp_path, sound_format, tail):
    path = write_as(sound_format, tmp_path, noise(16000))
    whole = read_audio(path, 16000)
    assert_array_equal(read_audio(change(path, lambda data: data + tail), 16000), whole)


@pytest.mark.parametrize("sound_format", ["flac 16", "mp3"])
def test_tags_before_the_sound_are_ignored(tmp_path, sound_format):
    path = write_as(sound_format, tmp_path, noise(16000))
    whole = read_audio(path, 16000)
    tag = b"ID3\x03\0\0\0\0\x20\x00" + bytes(32 << 7)  # sizes have 7 bits per byte
    assert_array_equal(read_audio(change(path, lambda data: tag + data), 16000), whole)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_that_ends_between_pages_is_read_to_its_end(tmp_path, subtype):
    path = write(tmp_path / "a.ogg", noise(80000), 16000, format="OGG", subtype=subtype)
    whole = read_audio(path, 16000)
    change(path, lambda data: data[: data.rfind(b"OggS")])
    with pytest.warns(UserWarning, match="may be cut short, because its ogg stream has no end") as caught:
        read = read_audio(path, 16000)
    assert path in str(caught[0].message)
    assert 40000 < len(read) < 80000
    assert_array_equal(read[:40000], whole[:40000])


def remove_length(data):
    """Edit of a flac file: remove the length, as in a stream."""
    return data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]


def test_streamed_flac_of_unknown_length_is_read(tmp_path):
    path = write(tmp_path / "a.flac", noise(100_000))
    whole = read_audio(path, RATE)
    change(path, remove_length)
    assert_array_equal(read_audio(path, RATE), whole)
    assert read_duration(path) == 100_000 / RATE


def test_mp3_with_overestimated_length_is_not_called_cut_short(tmp_path):
    samples = np.concatenate([np.zeros(20000), noise(40000)[:, 0], np.zeros(40000)])
    path = write(tmp_path / "a.mp3", samples, 44100, bitrate_mode="VARIABLE")
    change(path, lambda data: data[data.index(b"Xing") - 21 + 417 :])  # the frame that states the length
    read = read_audio(path, 44100)
    assert read_duration(path) == len(read) / 44100
    assert len(samples) <= len(read) < len(samples) + 4 * 1152


# Bad files


def reason_of(path, read=read_audio):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read(path, RATE) if read is read_audio else read(path)
    assert str(path) not in str(caught.value)  # the caller adds the path
    return str(caught.value)


@pytest.mark.parametrize("read", [read_audio, read_duration])
def test_missing_empty_and_non_files_are_reported(tmp_path, read):
    assert reason_of(tmp_path / "none.wav", read) == "does not exist."
    assert reason_of(tmp_path, read) == "is a directory; list the files in it."
    (tmp_path / "empty.wav").touch()
    assert reason_of(tmp_path / "empty.wav", read) == "is an empty file."
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "none.wav")
    assert reason_of(tmp_path / "dangling.wav", read) == "does not exist."
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert "cannot be opened" in reason_of(tmp_path / "loop.wav", read)
    assert "cannot be opened" in reason_of(tmp_path / ("long" * 1000), read)
    write(tmp_path / "a.wav")
    assert "cannot be opened" in reason_of(tmp_path / "a.wav" / "b.wav", read)


@pytest.mark.parametrize("read", [read_audio, read_duration])
def test_named_pipe_is_refused_without_blocking(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.wav")
    reasons = []
    waiting = threading.Thread(target=lambda: reasons.append(reason_of(tmp_path / "pipe.wav", read)), daemon=True)
    waiting.start()
    waiting.join(timeout=10)
    assert reasons == ["is not a regular file."]


@pytest.fixture
def unprivileged():
    """A user without the rights of the superuser."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.fixture
def private(tmp_path):
    """A recording without read permission."""
    path = write(tmp_path / "a.wav")
    os.chmod(path, 0)
    return path


@pytest.mark.parametrize("read", [read_audio, read_duration])
def test_file_without_read_permission_is_reported(private, unprivileged, read):
    assert reason_of(private, read) == "cannot be opened (Permission denied)."


NOT_AUDIO = {
    "text": b"onset,offset,label\n0.0,1.0,dog\n" * 100,
    "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20,
    "zeros": bytes(50_000),
    "one byte": b"R",
    "noise": np.random.default_rng(0).bytes(50_000),
    "image": b"\xff\xd8\xff\xe0\x00\x10JFIF" + np.random.default_rng(1).bytes(50_000),
}


@pytest.mark.parametrize("ending", ["wav", "mp3", "ogg", "flac", "txt"])
@pytest.mark.parametrize("content", NOT_AUDIO.values(), ids=NOT_AUDIO)
def test_files_that_are_not_audio_are_reported(tmp_path, content, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    for read in (read_audio, read_duration):
        reason = reason_of(path, read)
        assert reason.startswith("is not audio that libsndfile can read")
        assert "does not exist" not in reason


def test_raw_samples_are_refused(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(noise(100).tobytes())
    assert reason_of(path).startswith("is not audio that libsndfile can read")


@pytest.mark.parametrize("ending", ["wav", "ogg", "aiff"])
def test_files_without_samples_are_reported(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", np.zeros(0))
    assert reason_of(path) == "holds no samples."
    assert reason_of(path, read_duration) == "holds no samples."


@pytest.mark.parametrize("size", [0, 2 * RATE, 0xFFFFFFFF])
def test_wav_with_only_a_header_is_reported(tmp_path, size):
    path = change(write(tmp_path / "a.wav"), lambda data: state_size(size)(data)[:44])
    missing = f"is damaged or cut short (0 of {size} bytes are there); copy it again from its source."
    assert reason_of(path) == (missing if size == 2 * RATE else "holds no samples.")
    assert reason_of(path, read_duration) == "holds no samples."


@pytest.mark.parametrize("sound_format", ["vorbis", "opus"])
def test_ogg_truncated_in_its_first_page_of_sound_is_reported(tmp_path, sound_format):
    path = write_as(sound_format, tmp_path, noise(80000))
    change(path, lambda data: data[: data.index(b"OggS", data.index(b"OggS", 100) + 4) + 2000])
    assert "damaged" in reason_of(path)


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.5, 0.7, 0.9, 0.95])
def test_truncated_files_of_every_format_are_reported(tmp_path, sound_format, fraction):
    path = write_as(sound_format, tmp_path, noise(80000, 2))
    change(path, lambda data: data[: int(fraction * len(data))])
    if sound_format == "mp3" and fraction > 0.9:
        return  # see LENGTH_TOLERANCE
    reason = reason_of(path)
    assert "damaged" in reason
    if fraction > 0.1 and sound_format != "caf":
        assert reason.startswith("is damaged or cut short (")


@pytest.mark.parametrize("sound_format", ["16 bit", "float", "flac 16", "vorbis", "opus", "aiff", "rf64"])
def test_missing_hundred_bytes_are_noticed(tmp_path, sound_format):
    path = change(write_as(sound_format, tmp_path, noise(80000)), lambda data: data[:-100])
    assert "cut short" in reason_of(path)


def test_reason_says_how_much_of_a_file_is_there(tmp_path):
    path = change(write(tmp_path / "a.wav", noise(RATE)), lambda data: data[: 44 + RATE])
    expected = f"is damaged or cut short ({RATE} of {2 * RATE} bytes are there); copy it again from its source."
    assert reason_of(path) == expected


@pytest.mark.parametrize("sound_format", ["flac 16", "vorbis", "opus"])
def test_checksums_reveal_damage_in_the_middle(tmp_path, sound_format):
    path = write_as(sound_format, tmp_path, noise(80000))

    def damage(data):
        middle = len(data) // 2
        return data[:middle] + bytes(200) + data[middle + 200 :]

    assert reason_of(change(path, damage)).startswith("is damaged or cut short (")


def test_flac_with_an_absurd_length_does_not_fill_the_memory(tmp_path):
    path = write(tmp_path / "a.flac")
    change(path, lambda data: data[:21] + bytes([data[21] | 0x0F]) + b"\xff" * 4 + data[26:])
    assert "8000 of 68719476735 samples are there" in reason_of(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", [RATE, 4410])
def test_nan_and_infinite_samples_are_reported(tmp_path, value, n_channels, rate):
    samples = noise(RATE, n_channels)
    samples[123, 0] = value
    samples[124] = -value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"^holds NaN or infinite samples\.$"):
        read_audio(path, rate)


def test_channels_with_an_overflowing_mean_are_reported(tmp_path):
    path = write(tmp_path / "a.wav", np.full((100, 2), 3e38), subtype="FLOAT")
    assert reason_of(path) == "holds NaN or infinite samples."


# The error


def test_error_lists_every_file_with_its_reason():
    error = UnreadableAudioError({"a.wav": "does not exist.", "b.wav": "is an empty file."}, 7)
    assert isinstance(error, ValueError)
    assert str(error) == (
        "2 of 7 recordings cannot be used; repair them or leave them out:\n"
        "  a.wav: does not exist.\n"
        "  b.wav: is an empty file."
    )


@pytest.mark.parametrize(("n_bad", "n_lines"), [(50, 51), (51, 52), (1000, 52)])
def test_long_messages_are_cut_but_reasons_are_complete(n_bad, n_lines):
    reasons = {f"{i}.wav": "does not exist." for i in range(n_bad)}
    error = UnreadableAudioError(reasons, 2000)
    assert error.reasons == reasons
    lines = str(error).splitlines()
    assert len(lines) == n_lines
    if n_bad > 50:
        assert lines[-1] == f"  and {n_bad - 50} more (all in the error's attribute `reasons`)"


def test_error_can_be_pickled():
    error = UnreadableAudioError({"a.wav": "does not exist."}, 7, "do better")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is UnreadableAudioError
    assert (str(copy), copy.reasons, copy.n_total) == (str(error), error.reasons, 7)


@pytest.mark.parametrize("name", ["song.m4a", "film.MP4"])
def test_formats_that_cannot_be_read_come_with_a_command_that_converts_them(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    with pytest.raises(
        ValueError, match=f"not audio that libsndfile can read.*; convert it: ffmpeg -i {name} .*.flac"
    ):
        read_audio(tmp_path / name, 8000)
