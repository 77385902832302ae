"""Decode a sound file to mono float samples at one rate; formats and their quirks belong here."""

import errno
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile as sf
import soxr

from .._warnings import warn
from .containers import (
    UNKNOWN_LENGTH,
    EndlessFile,
    find_mp3_frames,
    find_truncation,
    length_tolerance,
    map_file,
    refuse_unread_sound,
    skip_id3_tags,
)
from .files import RemoteFile, base_name, fetched

MIN_RATE, MAX_RATE = 100, 10_000_000  # Hz; headers that state other rates are damaged
MAX_AMPLITUDE = 1e12  # full scale is 1; squares of much larger samples overflow float32
MIN_BYTES_PER_SECOND = 100  # of any format
# Errors of the system that are a file's fault; others, such as too many open files, are the machine's.
FILE_ERRORS = {
    *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EINVAL, errno.EILSEQ, errno.EIO, errno.ENXIO, errno.ESTALE),
}
SYSTEM_ERROR, NO_MEMORY = 2, 17  # numbers of libsndfile's errors
# First bytes by which libsndfile recognises a format without looking for a resource fork.
RECOGNISED = re.compile(rb"fLaC|OggS|RIFF....WAVE|FORM....AIF[FC]", re.DOTALL)
NEVER_TAGGED = tuple(b"RIFF RIFX RF64 riff FORM caff .snd Crea NIST PVF1 2BIT MATL".split())


class UnreadableAudioError(ValueError):
    """Some of ``n_total`` recordings cannot be used; the message lists each with its reason.

    The attribute ``reasons`` holds all reasons by path, even if the message is cut.
    """

    max_listed = 50  # a folder of a million missing files should not fill the screen

    def __init__(self, reasons, n_total, advice="repair them or leave them out"):
        self.reasons = reasons
        self.n_total = n_total
        self.advice = advice
        lines = format_reasons(dict(list(reasons.items())[: self.max_listed]))
        if len(reasons) > self.max_listed:
            lines.append(f"  and {len(reasons) - self.max_listed} more (all in the error's attribute `reasons`)")
        super().__init__(f"{len(reasons)} of {n_total} recordings cannot be used; {advice}:\n" + "\n".join(lines))

    def __reduce__(self):
        return type(self), (self.reasons, self.n_total, self.advice)


def format_reasons(reasons):
    """Return one line per path, with its reason."""
    return [f"  {printable(path)}: {reason}" for path, reason in reasons.items()]


def printable(path):
    """Return a path that fits on one line: quoted and escaped if necessary, and shortened if very long."""
    path = os.fspath(getattr(path, "url", path))
    if len(path) > 1000:
        path = f"{path[:500]}...{path[-500:]}"
    return path if path.isprintable() and path.strip() else repr(path)


def environment_number(name, default):
    """Return the positive number that an environment variable holds, or the default if it is not set."""
    text = os.environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise RuntimeError(f"the environment variable {name}={text!r} must be a number above 0, or not be set.")
    return number


@dataclass
class Levels:
    """What decoding shows about the level of a recording."""

    peak: float = -1.0  # largest absolute sample; full scale is 1; below 0 if it is not known
    file_rate: int = 0  # in Hz, if the recording has sound and is resampled to a lower rate
    kept_energy: float = 0.0  # share of the energy, without a constant offset, that is left then


def read_audio(path, sample_rate):
    """Decode a recording, mix it to mono and resample it to ``sample_rate`` in Hz.

    Returns a float32 array of shape (n_samples,). Memory use is about twice its size, whatever the header states.
    Raises a ValueError with the reason, without the path, if the recording cannot be used.
    """
    return np.concatenate([np.empty(0, np.float32), *decode(path, sample_rate)])


def decode(path, sample_rate, levels=None):
    """Yield the samples of a recording in float32 blocks, in bounded memory; see :func:`read_audio`.

    ``levels`` is filled. Some damage is found only at the end, after all blocks.
    """
    levels = levels or Levels()
    with fetched(path) as path, open_audio(path) as (audio, n_samples):
        check_duration(audio, n_samples, path)
        ratio, resampler = sample_rate / audio.samplerate, None
        if audio.samplerate != sample_rate:
            resampler = MeteredResampler(audio.samplerate, sample_rate, levels)
        n_read, n_resampled = 0, 0
        try:
            for block in mono_blocks(audio, n_samples):
                n_read += len(block)
                check_duration(audio, n_read)
                levels.peak = np.maximum(levels.peak, np.abs(block).max())  # unlike max(), keeps NaN
                if resampler is not None:
                    block = resampler.resample_chunk(block)
                    n_resampled += len(block)
                yield block
        except sf.LibsndfileError as error:
            raise ValueError(f"is damaged or cut short ({error.error_string.rstrip('.')}).") from error
        if resampler is not None:
            n_left = int(np.ceil(n_read * ratio)) - n_resampled  # the length that librosa gives
            rest = resampler.resample_chunk(np.empty(0, np.float32), last=True)[:n_left]
            yield np.concatenate([rest, np.zeros(n_left - len(rest), np.float32)])
        if damage := find_truncation(audio, n_samples, n_read):
            raise ValueError(f"is damaged or cut short ({damage}); copy it again from its source.")
        refuse_unread_sound(path, audio, n_read)
    if not n_read:
        raise ValueError("holds no samples.")
    check_peak(levels.peak)


def check_peak(peak):
    """Raise if the largest absolute sample is NaN, infinite or absurdly large."""
    if not peak < np.inf:
        raise ValueError("holds NaN or infinite samples.")
    if peak > MAX_AMPLITUDE:
        raise ValueError(f"holds samples as large as {peak:.3g}, where full scale is 1; scale them down.")


def mono_blocks(audio, n_left):
    """Yield the samples of an open file, mixed to mono, in blocks of 4 MB at most."""
    block_length = max(1, min(1 << 16, (1 << 20) // audio.channels))
    while n_left and len(block := audio.read(min(n_left, block_length), dtype="float32", always_2d=True)):
        n_left -= len(block)
        with np.errstate(over="ignore", invalid="ignore"):
            # Adding 0.0 turns -0.0 into 0.0, as the mean of several channels does.
            mono = block[:, 0] + 0.0 if audio.channels == 1 else block.mean(axis=1)
        yield mono


def read_duration(path):
    """Return the duration of a recording in seconds, mostly from its header, or raise a ValueError."""
    with fetched(path, whole=False) as path, open_audio(path) as (audio, n_samples):
        if n_samples == UNKNOWN_LENGTH:
            n_samples = sum(map(len, decode(path, audio.samplerate)))
        if audio.format not in ("FLAC", "OGG"):  # the check would read all of these files
            refuse_unread_sound(path, audio, n_samples)
        if not n_samples:
            raise ValueError("holds no samples.")
        check_duration(audio, n_samples)
        return n_samples / audio.samplerate


def read_header(path):
    """Return an open sound file whose attributes say what the header states."""
    with fetched(path, whole=False) as path, open_audio(path) as (audio, _):
        return audio


def measure(path):
    """Return the duration of a recording in seconds, or the reason why it cannot be used."""
    try:
        return read_duration(path)
    except ValueError as error:
        return str(error)


def check_duration(audio, n_samples, path=None):
    """Raise if so many samples last too long; with a path only if the file is large enough to hold them."""
    hours, limit = n_samples / audio.samplerate / 3600, environment_number("SKLEARN_CPC_MAX_HOURS", 24.0)
    if hours > limit and (path is None or inspect_file(path)[0] > MIN_BYTES_PER_SECOND * 3600 * hours):
        raise ValueError(
            f"lasts {hours:.3g} hours or more, and up to {limit:g} are read; cut it into pieces, set the "
            "environment variable SKLEARN_CPC_MAX_HOURS, or repair its header if it is not that long."
        )


def as_source(path):
    """Return what soundfile opens: the path of a local file, or a remote file from its beginning."""
    if isinstance(path, RemoteFile):
        path.seek(0)
        return path
    return path if os.name == "nt" else os.fsencode(path)


def open_sound(path, n_trials=3):
    """Open a sound file with libsndfile; raise an OSError or MemoryError if that is the machine's fault."""
    try:
        return SequentialSoundFile(as_source(path))
    except sf.LibsndfileError as error:
        if error.code == NO_MEMORY:
            raise MemoryError(f"there is not enough memory to open {printable(path)}") from error
        if error.code != SYSTEM_ERROR or not n_trials:
            raise
    with open(path, "rb"):  # raises with the reason, unless it is gone
        return open_sound(path, n_trials - 1)


class SequentialSoundFile(sf.SoundFile):
    """A sound file that is read from beginning to end.

    soundfile seeks after every read of a seekable file, which fails at the end of files of unknown length.
    """

    def seekable(self):
        """Return False."""
        return False


@contextmanager
def open_audio(path):
    """Open a sound file and count its samples, or raise a ValueError that says why it cannot be read."""
    size, head = inspect_file(path)
    refuse_hanging_files(path, head)
    try:
        audio = open_sound(path)
        n_samples = audio.frames
        if audio.format == "MP3":
            frames, n_stated, n_counted = find_mp3_frames(path)
            if not n_counted:
                raise ValueError("is mp3 of an unknown length, or is damaged; convert it, to wav for example.")
            states_less = n_counted > n_stated + length_tolerance(audio)
            if states_less or not n_stated:
                audio.close()
                audio, n_samples = SequentialSoundFile(EndlessFile(frames)), n_counted
            if states_less and n_stated:
                name = printable(path)
                warn(f"{name} states {n_stated} samples; all {n_samples} in it are read, maybe of several files.")
    except (sf.LibsndfileError, TypeError) as error:  # TypeError: formats without a header
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        if "does not exist" in reason:  # libsndfile's message for an mp3 without sound
            reason = "no sound found"
        reason += suggest_conversion(path)
        raise ValueError(f"is not audio that libsndfile can read, or is damaged ({reason}).") from error
    with audio:
        check_header(audio, size)
        yield audio, n_samples


def check_header(audio, file_size):
    """Raise if a header states something impossible, or more than the limits."""
    if not MIN_RATE <= audio.samplerate <= MAX_RATE:
        raise ValueError(
            f"states a sample rate of {audio.samplerate} Hz, and rates from {MIN_RATE} Hz to "
            f"{MAX_RATE // 10**6} MHz are read; repair its header."
        )
    if audio.channels > (limit := environment_number("SKLEARN_CPC_MAX_CHANNELS", 64)):
        raise ValueError(
            f"has {audio.channels} channels, and up to {limit:g} are read; mix it down, set the "
            "environment variable SKLEARN_CPC_MAX_CHANNELS, or repair its header if it has fewer."
        )
    compressed = audio.format in ("FLAC", "OGG", "MP3") or audio.subtype.startswith(("ALAC", "MPEG"))
    if not compressed and audio.frames > 8 * file_size:  # under 1 bit per sample: some decoders invent the rest
        found = f"{file_size} bytes are there for {audio.frames} samples"
        raise ValueError(f"is damaged or cut short ({found}); copy it again from its source.")


def inspect_file(path):
    """Return the size and first bytes of a file, or raise a ValueError if it cannot be read."""
    if isinstance(path, RemoteFile):
        return path.size, path[:12]
    head = b""
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):  # opening a named pipe would wait forever
            with open(path, "rb", buffering=0) as file:
                head = file.read(12)
    except FileNotFoundError:
        raise ValueError("does not exist.") from None
    except OSError as error:
        if error.errno not in FILE_ERRORS:
            raise
        raise ValueError(f"cannot be opened ({error.strerror}).") from error
    except ValueError as error:  # a null byte, or characters that the file system cannot store
        raise ValueError(f"is not a valid file name ({error}).") from error
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("is a directory; list the files in it.")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file.")
    if not status.st_size:
        raise ValueError("is an empty file.")
    return status.st_size, head


def refuse_hanging_files(path, head):
    """Raise for files on which libsndfile may hang.

    It searches forever for the end of damaged chunks after an ID3 tag. It also opens the resource fork of an
    unknown file, and waits for a writer if the fork is a named pipe.
    """
    if head.startswith(b"ID3"):
        with map_file(path) as data:
            start = skip_id3_tags(data)
            if data[start : start + 4] in NEVER_TAGGED:
                raise ValueError("has an ID3 tag but is not mp3; remove the tag.")
    if RECOGNISED.match(head) or isinstance(path, RemoteFile):
        return
    folder, name = os.path.split(os.fsencode(path))
    for fork in (b"._" + name, os.path.join(b".AppleDouble", name)):
        fork = os.path.join(folder, fork)
        if os.path.exists(fork) and not os.path.isfile(fork) and not os.path.isdir(fork):
            raise ValueError(f"has a resource fork that is not a file; remove {printable(os.fsdecode(fork))}.")


def suggest_conversion(path):
    """Return how to convert a file whose extension names a format that libsndfile does not read, or nothing."""
    stem, extension = os.path.splitext(base_name(os.fsdecode(getattr(path, "url", path))))
    if extension[1:].upper() in {"", "AIF", "OPUS", "OGA", "SND", *sf.available_formats()}:
        return ""
    return f"; convert it: ffmpeg -i {printable(stem + extension)} {printable(stem + '.flac')}"


class MeteredResampler:
    """A ``soxr.ResampleStream`` that measures how much energy it keeps."""

    def __init__(self, file_rate, sample_rate, levels):
        self._stream = soxr.ResampleStream(file_rate, sample_rate, 1, "float32", "HQ")
        self._file_rate, self._levels = file_rate, levels if sample_rate < file_rate else None
        self._sums = np.zeros((2, 3))  # of 1, samples and squares; before and after

    def resample_chunk(self, samples, last=False):
        """Resample a block; note the energy after the last."""
        resampled = self._stream.resample_chunk(samples, last=last)
        if self._levels is not None:
            with np.errstate(all="ignore"):
                for sums, block in zip(self._sums, (samples, resampled), strict=True):
                    sums += len(block), block.sum(), np.dot(block, block)
                before, after = self._sums[:, 2] / self._sums[:, 0] - (self._sums[:, 1] / self._sums[:, 0]) ** 2
                if last and before > 0:
                    self._levels.file_rate = self._file_rate
                    self._levels.kept_energy = max(self._levels.kept_energy, after / before)
        return resampled
