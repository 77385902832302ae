"""Decode stretches of a sound file without what lies before them, where the format allows it."""

import math

import numpy as np
import soundfile as sf

from .containers import refuse_unread_sound
from .files import SEEKABLE, fetched
from .reading import MeteredResampler, as_source, check_peak, inspect_file, read_duration

MAX_PHASES = 1000  # of a resampling filter; soxr interpolates between more, and then drifts in long files


def count_seekable_samples(path, sample_rate):
    """Return the length of a recording in samples at a rate, or None if it must be decoded from its beginning."""
    with fetched(path, whole=False) as path:
        _, head = inspect_file(path)
        if head[:4] not in SEEKABLE:
            return None
        try:
            read_duration(path)
            with sf.SoundFile(as_source(path)) as audio:
                if audio.format == "FLAC":  # read_duration has checked the others
                    refuse_unread_sound(path, audio, audio.frames)
                audio.seek(audio.frames - 1)
                is_complete = len(audio.read(1)) == 1 and "should be" not in audio.extra_info
                is_exact = audio.subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW"))
                length = math.ceil(audio.frames * (sample_rate / audio.samplerate))
                is_aligned = sample_rate // math.gcd(audio.samplerate, sample_rate) <= MAX_PHASES
                return length if is_complete and is_exact and is_aligned else None
        except (ValueError, sf.LibsndfileError):  # decoding it from its beginning gives the reason
            return None


def decode_spans(path, sample_rate, spans, levels):
    """Yield the samples of spans (start, stop at ``sample_rate``) of a file, which :func:`decode` would give.

    Only these are decoded. They are equal bit for bit without resampling, else to 1e-6 of full scale.
    ``levels`` is filled.
    """
    with fetched(path, whole=False) as path, sf.SoundFile(as_source(path)) as audio:
        ratio = sample_rate / audio.samplerate
        max_length = max(1, int((1 << 22) * min(1.0, ratio) / audio.channels))
        divisor = math.gcd(audio.samplerate, sample_rate)
        step, file_step = sample_rate // divisor, audio.samplerate // divisor  # of equal duration
        n_resampled = int(audio.frames / (audio.samplerate / sample_rate) + 0.5)  # the rest is padding
        margin = 0 if ratio == 1 else math.ceil(1000 * max(1.0, ratio))  # samples; more than the filter's length
        pieces = ((i, min(i + max_length, stop)) for start, stop in spans for i in range(start, stop, max_length))
        for start, stop in pieces:
            n_steps = max(0, start - margin) // step
            first, last = n_steps * file_step, min(audio.frames, math.ceil((stop + margin) / ratio))
            try:
                audio.seek(first)
                block = audio.read(last - first, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                raise ValueError(f"is damaged or cut short ({error.error_string.rstrip('.')}).") from error
            if len(block) < last - first:
                raise ValueError(f"is damaged or cut short ({first + len(block)} samples are there).")
            samples = block[:, 0] + 0.0 if audio.channels == 1 else block.mean(axis=1)
            levels.peak = np.maximum(levels.peak, np.abs(samples).max())
            check_peak(levels.peak)
            if ratio != 1:
                resampler = MeteredResampler(audio.samplerate, sample_rate, levels)
                samples = resampler.resample_chunk(samples, last=True)
            samples = samples[start - n_steps * step : min(stop, n_resampled) - n_steps * step]
            yield np.concatenate([samples, np.zeros(stop - start - len(samples), np.float32)])
