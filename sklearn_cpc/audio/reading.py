"""Reading: a file to mono float samples at one rate, or an error that names the file."""

import os
import re

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

    Attributes
    ----------
    reasons : dict of {str: str}
        Reason by path, complete even where the message is cut.
    """

    shown = 50  # a folder of a million missing files should not fill the screen

    def __init__(self, reasons, n_total):
        self.reasons = reasons
        self.n_total = n_total
        lines = [f"  {path}: {reason}" for path, reason in list(reasons.items())[: self.shown]]
        if len(reasons) > self.shown:
            lines.append(f"  and {len(reasons) - self.shown} more (all in the error's attribute `reasons`)")
        super().__init__(
            f"{len(reasons)} of {n_total} recordings cannot be used; repair or leave them out, or set "
            "on_error='nan' to keep their rows as NaN:\n" + "\n".join(lines)
        )

    def __reduce__(self):
        return type(self), (self.reasons, self.n_total)


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
    mono = samples.mean(axis=1)
    if rate != sample_rate:
        mono = librosa.resample(mono, orig_sr=rate, target_sr=sample_rate, res_type="soxr_hq")
    if not len(mono):
        raise ValueError(f"is too short to hold one sample at {sample_rate} Hz.")
    return np.ascontiguousarray(mono, dtype=np.float32)


def decode(path):
    """Decode a whole file to samples of shape (n_frames, n_channels), float32, and their rate in Hz."""
    with open_sound(path) as sound:
        try:
            samples = sound.read(dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            raise ValueError(f"is damaged or cut short ({error.error_string}).") from error
        if not len(samples):
            raise ValueError("holds no samples.")
        if reason := cut_short(sound, len(samples)):
            raise ValueError(f"is cut short ({reason}); copy it again from its source.")
        if not np.isfinite(samples).all():
            raise ValueError("holds NaN or infinite samples.")
        return samples, sound.samplerate


def duration_of(path):
    """Duration of a recording in seconds, from its header.

    Raises
    ------
    ValueError
        If the file is missing, not audio or empty; the message is the reason alone.
    """
    with open_sound(path) as sound:
        if not sound.frames:
            raise ValueError("holds no samples.")
        return sound.frames / sound.samplerate


def open_sound(path):
    """Open a sound file, or raise a ValueError that says why it cannot be read."""
    if os.path.isdir(path):
        raise ValueError("is a directory; list the files in it.")
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror}).") from error
    if empty:
        raise ValueError("is an empty file.")
    try:
        return sf.SoundFile(path)
    except (sf.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", error)
        raise ValueError(f"is not audio that libsndfile can read ({reason}).") from error


# Writers that do not know the length in advance put a number near 2^31 or 2^32 in the header.
UNKNOWN_LENGTH = 0x7FFF0000


def cut_short(sound, n_read):
    """Say why a decoded file looks truncated, or return None.

    libsndfile reads what is left of a truncated file without an error, so the header's claims are
    compared with what came: the data chunk of wav files, the end of ogg streams, the frame count of mp3.
    """
    log = sound.extra_info
    claim = re.search(r"^data : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if claim and int(claim[2]) < int(claim[1]) < UNKNOWN_LENGTH:
        return f"{claim[2]} of {claim[1]} bytes of samples are there"
    if "Last page lacks an end-of-stream bit" in log:
        return "the stream has no end"
    # An mp3's claim may be off by its encoder's padding, a few frames of 1152 samples.
    if n_read < sound.frames - 4 * 1152:
        return f"{n_read} of {sound.frames} samples are there"
    return None
