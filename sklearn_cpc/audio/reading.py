"""Reading: a file to mono float samples at one rate, or an error that names the file."""

import os
import re
import stat
from typing import NamedTuple

import numpy as np
import soundfile as sf
import soxr

RATES = 100, 10_000_000  # Hz; headers that state others are damaged
KNOWN = re.compile(rb"fLaC|OggS|RIFF....WAVE|FORM....AIF[FC]", re.DOTALL)  # by which libsndfile tells the format
UNTAGGED = tuple(b"RIFF RIFX RF64 riff FORM caff .snd Crea NIST PVF1 2BIT MATL".split())
LOUDEST = 1e12  # full scale is 1; squares of what is louder by far do not fit into float32


class UnreadableAudioError(ValueError):
    """Some recordings cannot be used; the message lists each with its reason.

    Parameters
    ----------
    reasons : dict of {str: str}
        Reason by path.
    n_total : int
        Recordings looked at.
    advice : str, default="repair them or leave them out"
        What to do about it.

    Attributes
    ----------
    reasons : dict of {str: str}
        Reason by path, complete even where the message is cut.
    """

    shown = 50  # a folder of a million missing files should not fill the screen

    def __init__(self, reasons, n_total, advice="repair them or leave them out"):
        self.reasons = reasons
        self.n_total = n_total
        self.advice = advice
        lines = lines_of(dict(list(reasons.items())[: self.shown]))
        if len(reasons) > self.shown:
            lines.append(f"  and {len(reasons) - self.shown} more (all in the error's attribute `reasons`)")
        super().__init__(f"{len(reasons)} of {n_total} recordings cannot be used; {advice}:\n" + "\n".join(lines))

    def __reduce__(self):
        return type(self), (self.reasons, self.n_total, self.advice)


def lines_of(reasons):
    """Lines for a message: each path with its reason."""
    return [f"  {printable(path)}: {reason}" for path, reason in reasons.items()]


def printable(path):
    """Return a name that can be shown on a line: as it is, or quoted and escaped, and cut if it is very long."""
    if len(path) > 1000:
        path = f"{path[:500]}...{path[-500:]}"
    return path if path.isprintable() and path.strip() else repr(path)


class Limits(NamedTuple):
    """The most that is read of a recording; whatever exceeds it is refused.

    Nothing is ever allocated by what a header states. The limits keep damaged headers, and files that grow
    without bounds when they are decoded, from filling the memory.

    Parameters
    ----------
    hours : float, default=24.0
        Duration of a recording.
    channels : int, default=64
        Channels of a recording.
    """

    hours: float = 24.0
    channels: int = 64

    @classmethod
    def of_environment(cls):
        """Limits set by the environment variables SKLEARN_CPC_MAX_HOURS and SKLEARN_CPC_MAX_CHANNELS."""
        standard = cls()
        return cls(
            limit_of("SKLEARN_CPC_MAX_HOURS", standard.hours),
            limit_of("SKLEARN_CPC_MAX_CHANNELS", standard.channels),
        )


def limit_of(name, default):
    """Return the number that an environment variable holds, or the default."""
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise RuntimeError(f"the environment variable {name}={text!r} must be a number above 0, or not be set.")
    return limit


def read_audio(path, sample_rate, limits=None):
    """Read a recording: decoded, mixed to mono and resampled.

    Memory grows with what comes out, about twice its size, not with the rate, the channels or the length
    that the file states.

    Parameters
    ----------
    path : str or path-like
        A file in any format of libsndfile (wav, flac, ogg, mp3, aiff and more).
    sample_rate : int
        Rate of the result, in Hz.
    limits : Limits, default=None
        The most that is read. None: 24 hours and 64 channels, or what the environment variables
        SKLEARN_CPC_MAX_HOURS and SKLEARN_CPC_MAX_CHANNELS say.

    Returns
    -------
    float32 ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If the file is missing, not audio, empty, cut short, beyond the limits, or holds NaN, infinite or
        absurdly large samples. The message is the reason alone, without the path.
    """
    return np.concatenate([np.empty(0, np.float32), *decode(path, sample_rate, limits)])


def decode(path, sample_rate, limits=None):
    """Read a recording block by block, in bounded memory; see :func:`read_audio`.

    What is wrong with it may show at its end only.

    Yields
    ------
    float32 ndarray of shape (n_samples_of_block,)
    """
    limits = limits or Limits.of_environment()
    with open_sound(path, limits) as sound:
        check_length(sound, sound.frames, limits, path)
        decoder = Decoder(sound, sample_rate, limits)
        try:
            yield from decoder.blocks()
        except sf.LibsndfileError as error:
            raise ValueError(f"is damaged or cut short ({error.error_string.rstrip('.')}).") from error
        if reason := cut_short(path, sound, decoder.n_read):
            raise ValueError(f"is damaged or cut short ({reason}); copy it again from its source.")
    if not decoder.n_read:
        raise ValueError("holds no samples.")
    if not decoder.largest <= LOUDEST:  # NaN is not
        loud = f"samples as large as {decoder.largest:.3g}, where full scale is 1; scale them down"
        raise ValueError(f"holds {loud if decoder.largest < np.inf else 'NaN or infinite samples'}.")


class Decoder:
    """A sound file on its way to mono samples at one rate, block by block.

    Parameters
    ----------
    sound : Stream
    sample_rate : int
        In Hz.
    limits : Limits

    Attributes
    ----------
    n_read : int
        Samples read, at the file's rate.
    largest : float
        The largest of their absolute values, or NaN if one is NaN.
    """

    def __init__(self, sound, sample_rate, limits):
        self.sound, self.rate, self.limits = sound, sample_rate, limits
        self.n_read, self.largest = 0, 0.0

    def blocks(self):
        """Read to the end; yields the samples block by block."""
        if self.sound.samplerate == self.rate:
            yield from self._mono()
            return
        resampler, n_yielded = soxr.ResampleStream(self.sound.samplerate, self.rate, 1, "float32", "HQ"), 0
        for block in self._mono():
            piece = resampler.resample_chunk(block)
            n_yielded += len(piece)
            yield piece
        left = int(np.ceil(self.n_read * (self.rate / self.sound.samplerate))) - n_yielded
        rest = resampler.resample_chunk(np.empty(0, np.float32), last=True)[:left]
        yield np.concatenate([rest, np.zeros(left - len(rest), np.float32)])

    def _mono(self):
        """Read a block after the other, mixed to mono."""
        n_frames = max(1, min(1 << 16, (1 << 20) // self.sound.channels))
        left = self.sound.frames
        while left and len(block := self.sound.read(min(left, n_frames), dtype="float32", always_2d=True)):
            left -= len(block)
            self.n_read += len(block)
            check_length(self.sound, self.n_read, self.limits)
            mono = mixed(block)
            self.largest = np.maximum(self.largest, np.abs(mono).max())  # which pass NaN on
            yield mono


def mixed(block):
    """Mean of the channels: (n_samples, n_channels) to (n_samples,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if block.shape[1] == 1:
            return block[:, 0] + 0.0  # which makes 0 of -0, as the mean of more channels does
        return block.mean(axis=1)


def duration_of(path, limits=None):
    """Duration of a recording in seconds, from its header.

    Raises
    ------
    ValueError
        If the file is missing, not audio, empty or beyond the limits (see :func:`read_audio`), or its header
        does not say; the message is the reason alone.
    """
    limits = limits or Limits.of_environment()
    with open_sound(path, limits) as sound:
        if not sound.frames:
            raise ValueError("holds no samples.")
        if sound.frames == UNKNOWN_LENGTH:
            raise ValueError("does not say how long it is; convert it, to wav for example.")
        check_length(sound, sound.frames, limits)
        return sound.frames / sound.samplerate


def check_length(sound, n_frames, limits, path=None):
    """Refuse so many samples of a sound; with a path only if the file is large enough to hold them."""
    hours = n_frames / sound.samplerate / 3600
    if hours > limits.hours and (path is None or os.path.getsize(path) > LEAST_BYTES * 3600 * hours):
        raise ValueError(
            f"lasts {hours:.3g} hours or more, and up to {limits.hours:g} are read; cut it into pieces, set the "
            "environment variable SKLEARN_CPC_MAX_HOURS, or repair its header if it is not that long."
        )


class Stream(sf.SoundFile):
    """A sound file read from beginning to end.

    Where it can, soundfile seeks after every read, which fails at the end of files that do not say how
    long they are.
    """

    def seekable(self):
        """Say no."""
        return False


def open_sound(path, limits):
    """Open a sound file, or raise a ValueError that says why it cannot be read."""
    status, head = look_at(path)
    check_tags(path, head)
    check_side_files(path, head)
    try:
        sound = Stream(path if os.name == "nt" else os.fsencode(path))
    except (sf.LibsndfileError, TypeError) as error:  # TypeError: formats without a header
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        if "does not exist" in reason:  # what libsndfile says of an mp3 without sound
            reason = "no sound found"
        raise ValueError(f"is not audio that libsndfile can read, or is damaged ({reason}).") from error
    try:
        check_header(sound, status.st_size, limits)
    except ValueError:
        sound.close()
        raise
    return sound


def check_header(sound, size, limits):
    """Refuse headers that state what cannot be, or more than is read."""
    least, most = RATES
    if not least <= sound.samplerate <= most:
        raise ValueError(
            f"states a sample rate of {sound.samplerate} Hz, and rates from {least} Hz to {most // 10**6} MHz are "
            "read; repair its header."
        )
    if sound.channels > limits.channels:
        raise ValueError(
            f"has {sound.channels} channels, and up to {limits.channels:g} are read; mix it down, set the "
            "environment variable SKLEARN_CPC_MAX_CHANNELS, or repair its header if it has fewer."
        )
    compressed = sound.format in ("FLAC", "OGG", "MP3") or sound.subtype.startswith(("ALAC", "MPEG"))
    if not compressed and sound.frames > 8 * size:  # no bit for a sample; some decoders make up what is not there
        raise ValueError(
            f"is damaged or cut short ({size} bytes are there for {sound.frames} samples); copy it again from its "
            "source."
        )


def look_at(path):
    """Status (``os.stat``) of a file and its first bytes, or a ValueError that says why it cannot be read."""
    head = b""
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            with open(path, "rb", buffering=0) as file:
                head = file.read(12)
    except FileNotFoundError:
        raise ValueError("does not exist.") from None
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror}).") from error
    except ValueError as error:  # a byte of 0, or letters that the file system cannot hold
        raise ValueError(f"is not a name that a file can have ({error}).") from error
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("is a directory; list the files in it.")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file.")
    if not status.st_size:
        raise ValueError("is an empty file.")
    return status, head


def check_tags(path, head):
    """Refuse ID3 tags before wav, aiff and their kin: libsndfile looks for the end of damaged ones for ever."""
    if not head.startswith(b"ID3"):
        return
    with open(path, "rb") as file:
        skip_tags(file)
        if file.read(4) in UNTAGGED:
            raise ValueError("has an ID3 tag where none belongs, before a file that is not mp3; remove the tag.")


def check_side_files(path, head):
    """Refuse a file of unknown kind whose resource fork is a named pipe: libsndfile would wait for a writer."""
    if KNOWN.match(head):
        return
    folder, name = os.path.split(os.fsencode(path))
    for fork in (b"._" + name, os.path.join(b".AppleDouble", name)):
        fork = os.path.join(folder, fork)
        if os.path.exists(fork) and not os.path.isfile(fork) and not os.path.isdir(fork):
            raise ValueError(
                f"lies beside {printable(os.fsdecode(fork))}, which is not a regular file; remove that."
            )


def skip_tags(file):
    """Move to the first byte of a file after its ID3 tags."""
    start = 0
    while (head := file.read(10)).startswith(b"ID3") and len(head) == 10:
        a, b, c, d = (byte & 0x7F for byte in head[6:])  # their size, of 7 bits each
        start += 10 + (a << 21 | b << 14 | c << 7 | d)
        file.seek(start)
    file.seek(start)


# What libsndfile logs of the size of the samples (or of the file) that the header states, and of what is there.
STATED_SIZE = re.compile(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_SIZE = range(0x7FFF0000, 1 << 32)  # stated by writers that do not know the size in advance
UNKNOWN_LENGTH = (1 << 63) - 1  # libsndfile's word for it
SIZE_ERROR = 64  # some writers count the header among the samples
LENGTH_ERROR = 4 * 1152  # some mp3 encoders count their padding, up to a few frames
LEAST_BYTES = 100  # of a second of sound, in any format


def cut_short(path, sound, n_read):
    """Say why a decoded file looks truncated, or return None.

    libsndfile reads what is left of a truncated file without an error, so what the file states is
    compared with what came: the size of wav files and their kin, the length of others.
    """
    log = sound.extra_info
    for stated, there in STATED_SIZE.findall(log):
        if int(there) < int(stated) - SIZE_ERROR and int(stated) not in UNKNOWN_SIZE:
            return f"{there} of {stated} bytes are there"
    if sound.format == "OGG" and "reports a hole" in log:
        return "pages are missing"  # what some decoders fill with remains of memory
    if sound.format == "OGG" and lacks_end_of_page(path):
        return "its last page is not complete"
    known = states_length(path) if sound.format == "MP3" else sound.frames != UNKNOWN_LENGTH
    if known and n_read < sound.frames - LENGTH_ERROR:
        return f"{n_read} of {sound.frames} samples are there"
    return None


def lacks_end_of_page(path):
    """Whether an ogg file ends in the middle of a page."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 65307))  # the most a page can have
        tail = file.read()
    start = tail.rfind(b"OggS\0")
    page = tail[start:]
    n_segments = page[26] if len(page) > 26 else 0  # their sizes follow, a byte each
    return start >= 0 and len(page) < 27 + n_segments + sum(page[27 : 27 + n_segments])


def states_length(path):
    """Whether an mp3 says how long it is; else libsndfile guesses from its first bit rate."""
    with open(path, "rb") as file:
        skip_tags(file)
        return re.search(b"Xing|Info", file.read(4096)) is not None
