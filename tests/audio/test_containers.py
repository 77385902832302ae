"""Files that hold more sound than their headers state: it is all read, or they are refused."""

import shutil
import struct
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_array_equal
from sounds import RATE, change, noise, write

from sklearn_cpc import Clip, MFCCTransformer, sample_clips
from sklearn_cpc.audio.reading import UnreadableAudioError, read_audio, read_duration

JPEG = np.random.default_rng(2).bytes(3000)
ID3 = b"ID3\x03\0\0\0\0" + bytes([3000 >> 7, 3000 & 127]) + JPEG  # sizes have 7 bits per byte
APE = b"APETAGEX\xd0\7\0\0" + struct.pack("<I", 3000) + bytes(16) + JPEG
TAG = b"TAG" + bytes(125)  # ID3 version 1


def put(data, start, new):
    """Overwrite bytes."""
    return data[:start] + new + data[start + len(new) :]


def reason_of(path, read=read_audio):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read(path, RATE) if read is read_audio else read(path)
    return str(caught.value)


# mp3


def write_mp3(path, n_channels=1, rate=RATE, mode="VARIABLE"):
    """Write noise between silences, at which libsndfile's guess of the length is far off."""
    silence = np.zeros((20000, n_channels))
    samples = np.concatenate([silence, noise(20000, n_channels), silence, silence])
    return write(path, samples, rate, bitrate_mode=mode)


def remove_length(data):
    """Edit of an mp3 file: remove the frame that states its length."""
    return data[data.index(data[:2], max(data.find(b"Xing"), data.find(b"Info"))) :]


@pytest.mark.parametrize("mode", ["VARIABLE", "AVERAGE", "CONSTANT"])
@pytest.mark.parametrize(("rate", "n_channels"), [(8000, 1), (22050, 2), (44100, 1), (48000, 2)])
def test_mp3_without_stated_length_is_read_to_its_end(tmp_path, mode, rate, n_channels):
    path = write_mp3(tmp_path / "a.mp3", n_channels, rate, mode)
    stated = read_audio(path, rate)
    assert len(stated) == 80000
    read = read_audio(change(path, remove_length), rate)
    assert_array_equal(read[1105 : 1105 + 80000], stated)  # the codec's delay is stated in the same frame
    assert len(read) < 1105 + 80000 + 2 * 1152
    assert read_duration(path) == len(read) / rate


@pytest.mark.parametrize("tail", [b"", TAG, APE, APE + TAG, bytes(4096), JPEG])
@pytest.mark.parametrize("head", [b"", ID3, 2 * ID3])
def test_tags_around_mp3_without_stated_length_are_ignored(tmp_path, head, tail):
    path = change(write_mp3(tmp_path / "a.mp3"), remove_length)
    whole = read_audio(path, RATE)
    change(path, lambda data: head + data + tail)
    assert_array_equal(read_audio(path, RATE), whole)
    assert read_duration(path) == len(whole) / RATE


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("unknown", [bytes(12_000), 4 * JPEG], ids=["zeros", "junk"])
def test_mp3_without_stated_length_and_with_other_bytes_is_refused(tmp_path, unknown, share):
    path = change(write_mp3(tmp_path / "a.mp3"), remove_length)
    change(path, lambda data: data[: int(share * len(data))] + unknown + data[int(share * len(data)) :])
    with pytest.raises(ValueError, match=r"is damaged, or not mp3 \(1\d{4} of \d+ bytes"):
        read_audio(path, RATE)
    with pytest.raises(ValueError, match="is damaged, or not mp3"):
        read_duration(path)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_mp3_without_stated_length_and_with_a_lost_tail_is_refused(tmp_path, share):
    path = change(write_mp3(tmp_path / "a.mp3"), remove_length)
    change(path, lambda data: data[: int(share * len(data))].ljust(len(data) + 10_000, b"\0"))
    with pytest.raises(ValueError, match="is damaged, or not mp3"):
        read_audio(path, RATE)


def test_programs_named_mp3_are_refused(tmp_path):
    files = [file for file in sorted(Path(sys.base_prefix).rglob("*.so*")) if file.is_file()][:30]
    files += [Path(sys.executable)]
    for file in files:
        path = shutil.copy(file, tmp_path / "a.mp3")
        with pytest.raises(ValueError, match=r"damaged|length|not audio"):
            read_audio(path, RATE)


@pytest.mark.parametrize("tail", [TAG, APE, APE + TAG, bytes(100_000), JPEG])
def test_tags_after_mp3_of_stated_length_are_ignored(tmp_path, tail):
    path = write_mp3(tmp_path / "a.mp3")
    whole = read_audio(path, RATE)
    assert_array_equal(read_audio(change(path, lambda data: data + tail), RATE), whole)


@pytest.mark.parametrize("between", [b"", ID3, TAG, TAG + ID3, APE, bytes(2500), JPEG[:2500]])
def test_joined_mp3_files_are_read_to_their_end(tmp_path, between):
    path = write_mp3(tmp_path / "a.mp3")
    part = read_audio(change(path, remove_length), RATE)
    write_mp3(path)
    change(path, lambda data: between.join([data] * 3))
    with pytest.warns(UserWarning, match=r"states \d+ samples; all \d+ in it are read") as caught:
        read = read_audio(path, RATE)
    assert path in str(caught[0].message)
    assert len(read) == 3 * len(part)
    assert_array_equal(read[: len(part)], part)
    peaks = np.abs(read.reshape(3, -1)).max(axis=1)
    assert peaks.min() > 0.3
    with pytest.warns(UserWarning, match="are read"):
        assert read_duration(path) == len(read) / RATE
    assert len(read_audio(change(path, remove_length), RATE)) == 3 * len(part)


def test_mp3_header_that_states_too_little_is_reported(tmp_path):
    path = write_mp3(tmp_path / "a.mp3")

    def halve(data):
        start = data.index(b"Xing") + 8
        n_frames = int.from_bytes(data[start : start + 4], "big")
        return put(data, start, struct.pack(">I", n_frames // 2))

    with pytest.warns(UserWarning, match="are read"):
        assert len(read_audio(change(path, halve), RATE)) >= 80000


@pytest.mark.parametrize("other", [(1, 16000), (2, RATE)])
def test_joined_mp3_files_of_different_kinds_are_refused(tmp_path, other):
    with open(write_mp3(tmp_path / "b.mp3", *other), "rb") as file:
        second = file.read()
    path = change(write_mp3(tmp_path / "a.mp3"), lambda data: data + second)
    for read in (read_audio, read_duration):
        assert reason_of(path, read).startswith("holds several streams, of which only one would be read;")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_cut_mp3_of_stated_length_is_refused(tmp_path, cut):
    path = change(write_mp3(tmp_path / "a.mp3", mode="CONSTANT"), lambda data: data[: int(cut * len(data))])
    assert reason_of(path).startswith("is damaged or cut short (")


def test_mp3_of_low_rate_cut_by_more_than_four_frames_is_refused(tmp_path):
    path = write(tmp_path / "a.mp3", noise(RATE), bitrate_mode="CONSTANT")
    assert len(read_audio(path, RATE)) == RATE
    change(path, lambda data: data[: int(0.6 * len(data))])
    assert "of 8000 samples are there" in reason_of(path)


# All containers


CONTAINERS = {
    name: (name, "PCM_16")
    for name in (
        "WAV",
        "WAVEX",
        "RF64",
        "AIFF",
        "AU",
        "CAF",
        "W64",
        "SVX",
        "NIST",
        "AVR",
        "HTK",
        "MAT5",
        "PAF",
        "VOC",
    )
}
CONTAINERS |= {
    f"{name} {subtype}": (name, subtype)
    for name, subtypes in {
        "WAV": ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"],
        "AIFF": ["PCM_24", "FLOAT", "IMA_ADPCM"],
        "AU": ["ALAW", "G721_32"],
        "CAF": ["PCM_24", "DOUBLE"],
        "W64": ["PCM_U8", "FLOAT", "GSM610"],
        "FLAC": ["PCM_16", "PCM_24"],
        "OGG": ["VORBIS", "OPUS"],
    }.items()
    for subtype in subtypes
}
CHUNKED = ["WAV", "WAV PCM_U8", "WAV FLOAT", "WAV IMA_ADPCM", "WAVEX", "RF64", "AIFF", "AIFF PCM_24", "CAF"]


@pytest.fixture(params=CONTAINERS)
def container(request):
    """A name of CONTAINERS."""
    return request.param


def write_in(container, folder, n_samples=16000):
    name, subtype = CONTAINERS[container]
    return write(folder / f"a.{name.lower()}", noise(n_samples), 16000, format=name, subtype=subtype)


def chunk(container, name, content):
    """Return a chunk as the container writes it."""
    size = len(content)
    if container == "CAF":
        return name + struct.pack(">Q", size) + content
    order = ">" if container.startswith("AIFF") else "<"
    return name + struct.pack(order + "I", size) + content + bytes(size % 2)


def test_joined_files_are_never_read_in_part(tmp_path, container):
    path = write_in(container, tmp_path)
    whole = read_audio(path, 16000)
    change(path, lambda data: 2 * data)
    if container.startswith(("FLAC", "OGG")):
        expected = "holds several streams, of which only one would be read; split it, or convert it."
        assert reason_of(path) == expected
        return
    for read in (lambda path: len(read_audio(path, 16000)), lambda path: 16000 * read_duration(path)):
        try:
            n_samples = read(path)
        except ValueError:
            continue
        assert n_samples >= 2 * len(whole)  # libsndfile reads some formats to the end of the file


@pytest.mark.parametrize("between", [TAG, ID3, bytes(4000)])
@pytest.mark.parametrize("container", [*CHUNKED, "AU", "OGG VORBIS", "FLAC PCM_16"])
def test_joined_files_with_tags_in_between_are_refused(tmp_path, container, between):
    path = change(write_in(container, tmp_path), lambda data: data + between + data)
    assert reason_of(path).startswith(("is damaged", "holds several"))


@pytest.mark.parametrize("numerator", [0, 1, 2])
def test_header_that_states_too_little_never_shortens_sound(tmp_path, container, numerator):
    path = write_in(container, tmp_path)
    whole = read_audio(path, 16000)
    with open(path, "rb") as file:
        data = file.read()
    for start in range(4, 300):  # try every number of the header that may be a length or size
        for size, order in ((4, "little"), (4, "big"), (8, "little"), (8, "big")):
            value = int.from_bytes(data[start : start + size], order)
            if value == 16000 or not len(whole) // 4 < value <= 2 * len(data):  # 16000 is also the rate
                continue
            less = (value * numerator // 3 // 8 * 8).to_bytes(size, order)
            change(path, lambda _, start=start, less=less: put(data, start, less))
            try:
                read = read_audio(path, 16000)
            except ValueError:
                continue
            if soundfile.info(path).samplerate == 16000:
                assert len(read) >= len(whole), (start, size, order)


def test_wav_beyond_4_gib_with_wrapped_sizes_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(60 * RATE))
    with open(path, "r+b") as file:  # sparse: 4 GiB more than the header states
        file.seek(44 + 2 * 60 * RATE)
        file.write(noise(RATE).astype(np.float32).tobytes())
        file.truncate(44 + 2 * 60 * RATE + (1 << 32))
    for read in (read_audio, read_duration):
        assert "4294967296 of 4295927340 bytes follow the end that its header states" in reason_of(path, read)
    with pytest.raises(UnreadableAudioError, match="follow the end"):
        sample_clips([path], 1)


@pytest.mark.parametrize("riff_size", [0, 8, 36])
def test_wav_of_a_recorder_that_crashed_is_refused_or_read(tmp_path, riff_size):
    path = write(tmp_path / "a.wav", noise(48000))
    change(path, lambda data: put(put(data, 4, struct.pack("<I", riff_size)), 40, bytes(4)))
    if riff_size == 8:  # libsndfile knows this case
        assert len(read_audio(path, RATE)) == 48000
        assert read_duration(path) == 6.0
    else:
        expected = "is damaged or cut short (96000 of 96044 bytes follow the end that its header states)"
        assert reason_of(path).startswith(expected)
        assert reason_of(path, read_duration).startswith(expected)


@pytest.mark.parametrize("container", CHUNKED)
@pytest.mark.parametrize("names", ["LIST", "bext id3  LIST", "cue  abcd", "ANNO (c)  NAME"])
def test_chunks_after_the_sound_are_ignored(tmp_path, container, names):
    path = write_in(container, tmp_path, 16001)
    whole = read_audio(path, 16000)
    chunks = [chunk(container, f"{name:4}".encode(), JPEG[: 2000 + i]) for i, name in enumerate(names.split())]
    for tail in (b"", TAG, ID3, bytes(5000)):
        write_in(container, tmp_path, 16001)

        def add(data, tail=tail):
            n_missing = len(data) % 2 if container != "CAF" else 0
            return data + bytes(n_missing) + b"".join(chunks) + tail

        assert_array_equal(read_audio(change(path, add), 16000), whole)
        assert read_duration(path) == len(whole) / 16000


def test_second_sound_chunk_is_refused(tmp_path):
    for container, name in (("WAV", b"data"), ("AIFF", b"SSND"), ("RF64", b"data")):
        path = write_in(container, tmp_path)
        change(path, lambda data, c=container, n=name: data + chunk(c, n, JPEG))
        assert "damaged" in reason_of(path)


@pytest.mark.parametrize("container", ["NIST", "AVR", "MPC2K", "SVX", "VOC", "MAT4", "MAT5", "SDS", "WVE"])
def test_rare_formats_that_state_a_length_are_refused_if_cut(tmp_path, container):
    subtype = "ALAW" if container == "WVE" else "PCM_16"
    path = write(tmp_path / "a", noise(RATE), format=container, subtype=subtype)
    assert len(read_audio(path, RATE)) == RATE
    for share in (0.5, 0.9):
        change(path, lambda data, share=share: data[: int(share * len(data))])
        assert reason_of(path).startswith("is damaged or cut short (")


@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_au_of_either_byte_order_states_its_length(tmp_path, endian):
    path = write(tmp_path / "a.au", noise(4000), format="AU", subtype="PCM_16", endian=endian)
    change(path, lambda data: put(data, 8, struct.pack(">I" if endian == "BIG" else "<I", 4000)))
    assert "4000 of 8024 bytes follow the end that its header states" in reason_of(path)


def test_joined_mat4_files_are_refused_even_if_short(tmp_path):
    path = write(tmp_path / "a.mat", noise(2000), format="MAT4", subtype="PCM_16")
    assert "follow the end" in reason_of(change(path, lambda data: 2 * data))


def state_size(path, size):
    """Let the header of a wav file of 44 bytes state another size."""
    riff_size = struct.pack("<I", min(size + 36, 0xFFFFFFFF))
    return change(path, lambda data: put(put(data, 4, riff_size), 40, struct.pack("<I", size)))


@pytest.mark.parametrize("size", [2_147_450_000, 3_000_000_000, 4_000_000_000, 1_000_000_000])
def test_wav_of_gigabytes_that_is_cut_is_refused(tmp_path, size):
    path = state_size(write(tmp_path / "a.wav"), size)
    assert f"16000 of {size} bytes are there" in reason_of(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x80000000, 0x7FFFF000, 0x7FFFF024])
def test_wav_of_a_stream_is_read_to_its_end(tmp_path, size):
    path = write(tmp_path / "a.wav")
    whole = read_audio(path, RATE)
    assert_array_equal(read_audio(state_size(path, size), RATE), whole)


# ogg and flac


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.9])
def test_ogg_with_zeros_at_its_end_is_refused(tmp_path, subtype, fraction):
    path = write(tmp_path / "a.ogg", noise(160_000), 16000, format="OGG", subtype=subtype)
    change(path, lambda data: data[: int(fraction * len(data))].ljust(len(data), b"\0"))
    assert "damaged" in reason_of(path)


@pytest.mark.parametrize("tail", [TAG, APE, bytes(100_000), JPEG])
@pytest.mark.parametrize("container", ["FLAC PCM_16", "OGG VORBIS"])
def test_what_follows_complete_ogg_and_flac_is_ignored(tmp_path, container, tail):
    path = write_in(container, tmp_path)
    whole = read_audio(path, 16000)
    assert_array_equal(read_audio(change(path, lambda data: data + tail), 16000), whole)


@pytest.mark.parametrize("n_stated", [1, 4096, 5000, 8192, 40_000, 90_000])
def test_flac_that_states_too_few_samples_is_refused(tmp_path, n_stated):
    path = write(tmp_path / "a.flac", noise(100_000))
    change(path, lambda data: put(data, 22, struct.pack(">I", n_stated)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f"its header states {n_stated} samples, and more follow" in reason_of(path)


def flac_frames(data):
    """Return where the frames of a short flac file of one block size begin, and where the last ends."""
    starts = [data.index(b"\xff\xf8")]
    while (start := data.find(b"\xff\xf8" + data[starts[0] + 2 : starts[0] + 3], starts[-1] + 1)) >= 0:
        if data[start + 4] == len(starts):
            starts.append(start)
    return [*starts, len(data)]


@pytest.mark.parametrize("n_stated", [100, 3999])
def test_flac_that_states_less_than_its_first_frame_is_refused(tmp_path, n_stated):
    path = write(tmp_path / "a.flac", noise(4000))
    change(path, lambda data: put(data, 22, struct.pack(">I", n_stated)))
    assert f"its header states {n_stated} samples, and more follow" in reason_of(path)


@pytest.mark.parametrize("lost", [1, 3, 5])
def test_flac_without_one_of_its_frames_is_refused(tmp_path, lost):
    path = write(tmp_path / "a.flac", noise(6 * 4096))
    with open(path, "rb") as file:
        frames = flac_frames(file.read())
    assert len(frames) == 7
    change(path, lambda data: data[: frames[lost]] + data[frames[lost + 1] :])
    assert "damaged or cut short" in reason_of(path)


def checksum(data, n_bits, polynomial):
    """Divide bits as a polynomial; flac uses 8 bits for the headers of frames and 16 for frames."""
    value = int.from_bytes(data, "big") << n_bits
    for shift in range(8 * len(data) - 1, -1, -1):
        if value >> shift + n_bits & 1:
            value ^= (1 << n_bits | polynomial) << shift
    return value.to_bytes(n_bits // 8, "big")


def number_frames_by_samples(data):
    """Edit of a flac file of silence: mark its frames as of varying length, which are numbered by samples."""
    frames = flac_frames(data)
    edited = data[: frames[0]]
    for i, (start, stop) in enumerate(pairwise(frames)):
        frame = data[start:stop]
        assert frame[2] == 0xC4  # 4096 samples at 8 kHz, so that nothing follows the number
        header = b"\xff\xf9" + frame[2:4] + chr(4096 * i).encode()
        frame = header + checksum(header, 8, 7) + frame[6:-2]
        edited += frame + checksum(frame, 16, 0x8005)
    return edited


def test_flac_with_frames_of_varying_length_is_counted(tmp_path):
    path = change(write(tmp_path / "a.flac", np.zeros(6 * 4096)), number_frames_by_samples)
    assert len(read_audio(path, RATE)) == 6 * 4096
    change(path, lambda data: put(data, 22, struct.pack(">I", 2 * 4096)))
    assert "its header states 8192 samples, and more follow" in reason_of(path)


def test_flac_cut_from_the_middle_of_a_stream_is_read(tmp_path):
    path = write(tmp_path / "a.flac", noise(6 * 4096))
    whole = read_audio(path, RATE)

    def cut(data):
        frames = flac_frames(data)
        return put(data[: frames[0]] + data[frames[2] :], 22, struct.pack(">I", 4 * 4096))

    assert_array_equal(read_audio(change(path, cut), RATE), whole[2 * 4096 :])


@pytest.mark.parametrize("damage", ["states too little", "joined"])
def test_clip_of_flac_with_more_than_its_header_states_is_refused(tmp_path, damage):
    path = write(tmp_path / "a.flac", noise(10 * RATE))
    if damage == "joined":
        change(path, lambda data: 2 * data)
    else:
        change(path, lambda data: put(data, 22, struct.pack(">I", 4 * RATE)))
    with pytest.raises(UnreadableAudioError, match=r"more follow|several streams"):
        MFCCTransformer(sample_rate=RATE).fit_transform([Clip(path, 3.5, 2.0)])


def ogg_pages(data):
    starts = [i for i in range(len(data)) if data[i : i + 5] == b"OggS\0"]
    return [data[start:stop] for start, stop in zip(starts, [*starts[1:], len(data)], strict=True)]


def ogg_page(page, start, new):
    """Return a page of an ogg file with other bytes and the right checksum."""
    page = put(put(page, start, new), 22, bytes(4))
    return put(page, 22, checksum(page, 32, 0x04C11DB7)[::-1])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_whose_last_page_states_too_little_is_refused(tmp_path, subtype):
    path = write(tmp_path / "a.ogg", 0.01 * noise(6 * 48000), 48000, format="OGG", subtype=subtype)

    def shorten(data):
        *pages, last = ogg_pages(data)
        return b"".join(pages) + ogg_page(last, 6, struct.pack("<q", 2 * 48000))

    assert "positions that decrease" in reason_of(change(path, shorten))


def test_ogg_with_pages_of_another_stream_is_refused(tmp_path):
    path = write(tmp_path / "a.ogg", noise(6 * RATE), format="OGG", subtype="VORBIS")

    def renumber(data):
        *pages, last = ogg_pages(data)
        return b"".join(pages) + ogg_page(last, 14, b"abcd")

    assert "several streams" in reason_of(change(path, renumber))


def test_long_flac_with_many_frames_is_not_refused(tmp_path):
    samples = np.random.default_rng(0).integers(-3, 3, 1_200_000).astype(np.int16)
    path = write(tmp_path / "a.flac", samples, 48000)
    assert len(read_audio(path, 48000)) == len(samples) == soundfile.info(path).frames
    change(path, lambda data: put(data, 22, struct.pack(">I", 1_000_000)))
    assert "more follow" in reason_of(path)


@pytest.mark.parametrize("container", [*CHUNKED, "AU", "OGG VORBIS", "FLAC PCM_16"])
def test_files_cut_within_their_headers_are_refused(tmp_path, container):
    path = write_in(container, tmp_path)
    with open(path, "rb") as file:
        data = file.read()
    for n_bytes in [*range(1, 100), 1000, 4090, 4110]:
        change(path, lambda _, n_bytes=n_bytes: data[:n_bytes])
        assert reason_of(path)
