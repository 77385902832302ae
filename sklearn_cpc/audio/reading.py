"""Reading: a file to mono float samples at one rate, or an error that names the file."""

import os
import re
import stat

import librosa
import numpy as np
import soundfile as sf


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
        lines = [f"  {path}: {reason}" for path, reason in list(reasons.items())[: self.shown]]
        if len(reasons) > self.shown:
            lines.append(f"  and {len(reasons) - self.shown} more (all in the error's attribute `reasons`)")
        super().__init__(f"{len(reasons)} of {n_total} recordings cannot be used; {advice}:\n" + "\n".join(lines))

    def __reduce__(self):
        return type(self), (self.reasons, self.n_total, self.advice)


def read_audio(path, sample_rate):
    """Read a recording: decoded, mixed to mono and resampled.

    Parameters
    ----------
    path : str or path-like
        A file in any format of libsndfile (wav, flac, ogg, mp3, aiff and more).
    sample_rate : int
        Rate of the result, in Hz.

    Returns
    -------
    float32 ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If the file is missing, not audio, empty, cut short, or holds NaN or infinite samples. The message
        is the reason alone, without the path.
    """
    samples, rate = decode(path)
    if rate != sample_rate:
        samples = librosa.resample(samples, orig_sr=rate, target_sr=sample_rate, res_type="soxr_hq")
    return np.ascontiguousarray(samples, dtype=np.float32)


def decode(path):
    """Decode a whole file, mixed to mono: float32 samples of shape (n_samples,), and their rate in Hz."""
    with open_sound(path) as sound:
        try:
            samples = np.concatenate([np.empty(0, np.float32), *mono_blocks(sound)])
        except sf.LibsndfileError as error:
            raise ValueError(f"is damaged or cut short ({error.error_string.rstrip('.')}).") from error
        if reason := cut_short(path, sound, len(samples)):
            raise ValueError(f"is damaged or cut short ({reason}); copy it again from its source.")
        if not len(samples):
            raise ValueError("holds no samples.")
        if not np.isfinite(samples).all():
            raise ValueError("holds NaN or infinite samples.")
        return samples, sound.samplerate


def mono_blocks(sound, n_samples=1 << 16):
    """Read a sound file to its end, block by block, mixed to mono."""
    left = sound.frames
    with np.errstate(over="ignore", invalid="ignore"):
        while left and len(block := sound.read(min(left, n_samples), dtype="float32", always_2d=True)):
            left -= len(block)
            yield block.mean(axis=1)  # (n_samples, n_channels) to (n_samples,)


def duration_of(path):
    """Duration of a recording in seconds, from its header.

    Raises
    ------
    ValueError
        If the file is missing, not audio or empty, or its header does not say; the message is the reason
        alone.
    """
    with open_sound(path) as sound:
        if not sound.frames:
            raise ValueError("holds no samples.")
        if sound.frames == UNKNOWN_LENGTH:
            raise ValueError("does not say how long it is; convert it, to wav for example.")
        return sound.frames / sound.samplerate


class Stream(sf.SoundFile):
    """A sound file read from beginning to end.

    Where it can, soundfile seeks after every read, which fails at the end of files that do not say how
    long they are.
    """

    def seekable(self):
        """Say no."""
        return False


def open_sound(path):
    """Open a sound file, or raise a ValueError that says why it cannot be read."""
    status_of(path)
    try:
        return Stream(path if os.name == "nt" else os.fsencode(path))
    except (sf.LibsndfileError, TypeError) as error:  # TypeError: formats without a header
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        if "does not exist" in reason:  # what libsndfile says of an mp3 without sound
            reason = "no sound found"
        raise ValueError(f"is not audio that libsndfile can read, or is damaged ({reason}).") from error


def status_of(path):
    """Status (``os.stat``) of a file that can be opened and is not empty, or a ValueError that says why not."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ValueError("is a directory; list the files in it.")
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file.")  # opening a named pipe would wait for ever
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise ValueError("does not exist.") from None
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror}).") from error
    if not status.st_size:
        raise ValueError("is an empty file.")
    return status


# What libsndfile logs of the size of the samples (or of the file) that the header states, and of what is there.
STATED_SIZE = re.compile(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_SIZE = range(0x7FFF0000, 1 << 32)  # stated by writers that do not know the size in advance
UNKNOWN_LENGTH = (1 << 63) - 1  # libsndfile's word for it
SIZE_ERROR = 64  # some writers count the header among the samples
LENGTH_ERROR = 4 * 1152  # some mp3 encoders count their padding, up to a few frames


def cut_short(path, sound, n_read):
    """Say why a decoded file looks truncated, or return None.

    libsndfile reads what is left of a truncated file without an error, so what the file states is
    compared with what came: the size of wav files and their kin, the length of others.
    """
    for stated, there in STATED_SIZE.findall(sound.extra_info):
        if int(there) < int(stated) - SIZE_ERROR and int(stated) not in UNKNOWN_SIZE:
            return f"{there} of {stated} bytes are there"
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
        head = file.read(10)
        if head.startswith(b"ID3"):  # a tag before the audio, its size in 7 bits of each byte
            a, b, c, d = head[6:]
            file.seek(a << 21 | b << 14 | c << 7 | d, os.SEEK_CUR)
        return re.search(b"Xing|Info", file.read(4096)) is not None
