"""Write a synthetic corpus of recognisable classes of sound, to try things on."""

from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy import signal
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_scalar

from ._folder import as_bunch


def make_synthetic_corpus(
    directory: str | PathLike[str],
    *,
    n_per_class: int = 20,
    n_groups: int = 5,
    duration: float = 5.0,
    sample_rate: int = 22050,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Write a small corpus of eight recognisable classes of sound, recorded at several sites.

    The classes are alarm (falling sweeps), bird, clock, dog, fire, melody (plucked strings), rain and siren
    (rising sweeps). Each recording draws its own pitch, pace, timing and loudness. Each site has its own
    background noise, equalisation and reverberation, so scores should be cross-validated by group.

    Averaged spectra do not tell all classes apart: an alarm is a siren played backwards, and a clock and a
    fire may click alike, the one regularly and the other not.

    Parameters
    ----------
    directory : str or path-like
        Where to write ``<class>/<group>-<index>.wav``, 16-bit mono files; made if need be. Files of these
        names are overwritten, and all others are left as they are.
    n_per_class : int, default=20
        Number of recordings of each class.
    n_groups : int, default=5
        Number of recording sites, over which the recordings of each class are spread evenly.
    duration : float, default=5.0
        Length of each recording, in seconds.
    sample_rate : int, default=22050
        Samples per second, in Hz; at least 8000.
    random_state : int, RandomState instance or None, default=None
        Seed of the sounds and of the sites. Pass an int for the same files at every call. A recording depends
        on this seed, its class, its index, its site, `duration` and `sample_rate`, and on no other recording.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        What :func:`load_audio_folder` returns for these files:

        paths : list of str, of length 8 * n_per_class
            The files written.
        target : str ndarray of shape (8 * n_per_class,)
            Class of each file.
        groups : str ndarray of shape (8 * n_per_class,)
            Site of each file: "1", "2", ...
        target_names : list of str, of length 8
            The classes, sorted.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    See Also
    --------
    load_audio_folder : List the audio files of a corpus on disk.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cpc.datasets import make_synthetic_corpus
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     corpus = make_synthetic_corpus(directory, n_per_class=2, duration=0.5, random_state=0)
    >>> len(corpus.paths)
    16
    >>> corpus.target_names
    ['alarm', 'bird', 'clock', 'dog', 'fire', 'melody', 'rain', 'siren']
    """
    check_scalar(n_per_class, "n_per_class", Integral, min_val=1)
    check_scalar(n_groups, "n_groups", Integral, min_val=1)
    check_scalar(duration, "duration", Real, min_val=0, include_boundaries="neither")
    check_scalar(sample_rate, "sample_rate", Integral, min_val=8000)
    seed = _draw_seed(random_state)
    n_samples = max(1, round(duration * sample_rate))
    sites = [_make_site(np.random.default_rng([seed, group]), sample_rate) for group in range(n_groups)]
    written = {}
    for name in sorted(SYNTHESISERS):
        folder = Path(directory) / name
        folder.mkdir(parents=True, exist_ok=True)
        write = partial(_write_recording, folder, sites, n_samples, sample_rate, seed)
        written[name] = sorted(map(write, range(n_per_class)), key=str)
    return as_bunch(written, r"^\d+")


# Recording a sound at a site


class _Site(NamedTuple):
    response: np.ndarray  # impulse response: equalisation and reverberation
    noise_slope: float  # power of the noise falls as 1 / frequency ** slope
    noise_level: float  # root mean square, for a sound whose peak is 1


def _draw_seed(random_state):
    """Draw a seed, without touching the global generator when there is no random state."""
    if random_state is None:
        return np.random.SeedSequence().entropy
    return int(check_random_state(random_state).randint(2**31 - 1))


def _make_site(rng, sample_rate):
    bands = np.linspace(0, 1, 6)
    equaliser = signal.firwin2(63, bands, 10 ** (rng.uniform(-15, 0, len(bands)) / 20))
    tail = _decay(int(0.3 * sample_rate), sample_rate, rng.uniform(0.03, 0.1))
    room = rng.uniform(0.01, 0.04) * tail * rng.standard_normal(len(tail))
    room[0] = 1.0
    return _Site(np.convolve(equaliser, room), rng.uniform(0, 2), 10 ** (rng.uniform(-50, -30) / 20))


def _write_recording(folder, sites, n_samples, sample_rate, seed, index):
    group = index % len(sites)
    rng = np.random.default_rng([seed, *folder.name.encode(), index])
    sound = SYNTHESISERS[folder.name](rng, n_samples, sample_rate)
    path = folder / f"{group + 1}-{index + 1:04d}.wav"
    soundfile.write(path, _hear(rng, sound, sites[group]), sample_rate, subtype="PCM_16")
    return path


def _hear(rng, sound, site):
    heard = _to_peak(signal.fftconvolve(sound, site.response)[: len(sound)])
    noise = _coloured_noise(rng, len(sound), site.noise_slope)
    level = site.noise_level * rng.lognormal(0, 0.3)
    return _to_peak(heard + level * noise, rng.uniform(0.15, 0.9))


def _to_peak(sound, peak=1.0):
    return sound * (peak / max(np.abs(sound).max(), 1e-9))


# Building blocks of sounds


def _seconds(n_samples, sample_rate):
    return np.arange(n_samples) / sample_rate


def _decay(n_samples, sample_rate, time_constant):
    return np.exp(-_seconds(n_samples, sample_rate) / time_constant)


def _coloured_noise(rng, n_samples, slope):
    """Draw noise of unit power that falls as ``1 / frequency ** slope`` above 1 / 400 of the sample rate."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    spectrum /= np.maximum(np.arange(len(spectrum)), n_samples / 400) ** (slope / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / max(noise.std(), 1e-9)


def _filtered_noise(rng, n_samples, sample_rate, cutoff, kind):
    sections = signal.butter(2, cutoff, kind, fs=sample_rate, output="sos")
    noise = signal.sosfilt(sections, rng.standard_normal(n_samples))
    return noise / max(noise.std(), 1e-9)


def _tone(frequency, sample_rate, harmonics):
    """Sum harmonics of a frequency, in Hz, that changes at each sample; those near Nyquist are left out."""
    phase = 2 * np.pi * np.cumsum(frequency) / sample_rate
    heard = [
        level * np.sin(k * phase) * (k * frequency < 0.45 * sample_rate)
        for k, level in enumerate(harmonics, start=1)
    ]
    return np.sum(heard, axis=0)


def _steady_onsets(rng, duration, interval, jitter, pause=0.0, phrase=np.inf):
    """Draw times, in seconds, that are `interval` apart, with pauses after `phrase` of them on average."""
    gaps = interval * rng.lognormal(0, jitter, 2 * int(duration / interval) + 2)
    gaps += pause * rng.lognormal(0, 0.3, len(gaps)) * (rng.random(len(gaps)) < 1 / phrase)
    onsets = np.cumsum(gaps) - gaps[0] + rng.uniform(0, min(interval, duration / 2))
    return onsets[onsets < duration]


def _random_onsets(rng, duration, rate):
    """Draw times, in seconds, that know nothing of each other, `rate` of them per second."""
    return rng.uniform(0, duration, max(1, rng.poisson(rate * duration)))


def _clicks(rng, onsets, levels, n_samples, sample_rate):
    """Let some resonant object be struck at the onsets."""
    pitches = rng.uniform(1500, 3500) * np.array([[1.0], [rng.uniform(1.3, 1.7)]])
    pitches = np.minimum(pitches, 0.45 * sample_rate)
    times = _seconds(int(0.05 * sample_rate), sample_rate)
    ring = np.sin(2 * np.pi * pitches * times).sum(axis=0) * np.exp(-times / rng.uniform(0.002, 0.008))
    strokes = np.zeros(n_samples)
    np.add.at(strokes, (onsets * sample_rate).astype(int), levels)
    return _to_peak(signal.fftconvolve(strokes, ring)[:n_samples])


def _play(events, onsets, n_samples, sample_rate):
    """Add up events, each from its onset on."""
    sound = np.zeros(n_samples)
    for event, start in zip(events, (onsets * sample_rate).astype(int), strict=True):
        end = min(start + len(event), n_samples)
        sound[start:end] += event[: end - start]
    return sound


# The classes of sound


def _sweeps(rng, n_samples, sample_rate, *, rising):
    """Sweep a harmonic tone over and over, from low to high or from high to low."""
    position = (_seconds(n_samples, sample_rate) / rng.uniform(0.4, 1.5) + rng.random()) % 1
    frequency = rng.uniform(400, 800) * rng.uniform(1.6, 2.8) ** (position if rising else 1 - position)
    return _tone(frequency, sample_rate, rng.uniform(0.3, 0.7) ** np.arange(8))


def _bird(rng, n_samples, sample_rate):
    """Sing phrases of short chirps."""
    length = rng.uniform(0.05, 0.15)
    interval, pause = length * rng.uniform(1.2, 2.0), rng.uniform(0.3, 1.2)
    onsets = _steady_onsets(rng, n_samples / sample_rate, interval, 0.1, pause, phrase=6)
    place = np.linspace(0, 1, int(length * sample_rate))
    low, ratio, bend = rng.uniform(1500, 2800), rng.uniform(0.7, 1.5), rng.uniform(0.5, 2.0)
    chirp = _tone(low * ratio ** (place**bend), sample_rate, [1.0, 0.1]) * np.sin(np.pi * place) ** 2
    levels = rng.uniform(0.4, 1, len(onsets))
    return _play([level * chirp for level in levels], onsets, n_samples, sample_rate)


def _clock(rng, n_samples, sample_rate):
    """Tick and tock at a steady pace, with some whirring of the works."""
    onsets = _steady_onsets(rng, n_samples / sample_rate, rng.uniform(0.15, 0.5), 0.005)
    levels = np.where(np.arange(len(onsets)) % 2, rng.uniform(0.4, 1), 1.0)
    whirr = _filtered_noise(rng, n_samples, sample_rate, rng.uniform(150, 500), "low")
    return _clicks(rng, onsets, levels, n_samples, sample_rate) + rng.uniform(0, 0.03) * whirr


def _dog(rng, n_samples, sample_rate):
    """Bark: a rough harmonic voice through two formants, its pitch rising and then falling."""
    length = rng.uniform(0.12, 0.3)
    interval, pause = length * rng.uniform(1.3, 2.5), rng.uniform(0.3, 1.2)
    onsets = _steady_onsets(rng, n_samples / sample_rate, interval, 0.1, pause, phrase=3)
    place = np.linspace(0, 1, int(length * sample_rate))
    pitch = rng.uniform(250, 600) * (1 + 0.4 * np.sin(np.pi * place**0.7))
    voice = _tone(pitch, sample_rate, 0.8 ** np.arange(15))
    voice += rng.uniform(0.3, 1.5) * rng.standard_normal(len(voice))
    formants = rng.uniform([500, 1200], [1100, 2400])
    throat = [signal.iirpeak(formant, 3, fs=sample_rate) for formant in formants]
    bark = sum(signal.lfilter(*peak, voice) for peak in throat) * np.sin(np.pi * place**0.5)
    levels = rng.uniform(0.5, 1, len(onsets))
    return _play([level * bark for level in levels], onsets, n_samples, sample_rate)


def _fire(rng, n_samples, sample_rate):
    """Crackle at random times over a low rumble."""
    onsets = _random_onsets(rng, n_samples / sample_rate, rng.uniform(3, 10))
    levels = rng.lognormal(0, 0.3, len(onsets))
    rumble = _filtered_noise(rng, n_samples, sample_rate, rng.uniform(150, 500), "low")
    return _clicks(rng, onsets, levels, n_samples, sample_rate) + rng.uniform(0.02, 0.12) * rumble


def _melody(rng, n_samples, sample_rate):
    """Pluck the strings of a pentatonic scale, going up and down at random."""
    onsets = _steady_onsets(rng, n_samples / sample_rate, rng.uniform(0.15, 0.4), 0.02)
    degrees = np.abs(np.cumsum(rng.integers(-2, 3, len(onsets)))) % 10
    semitones = np.array([0, 2, 4, 7, 9])[degrees % 5] + 12 * (degrees // 5)
    frequencies = rng.uniform(200, 400) * 2 ** (semitones / 12)
    damping = rng.uniform(0.985, 0.998)
    notes = [_pluck(rng, frequency, damping, sample_rate) for frequency in frequencies]
    return _play(notes, onsets, n_samples, sample_rate)


def _pluck(rng, frequency, damping, sample_rate):
    """Pluck a string as Karplus and Strong (1983) did: noise goes round a delay line that smooths it."""
    period = int(sample_rate / frequency)
    noise = rng.uniform(-1, 1, period)
    burst = np.zeros(sample_rate)
    burst[:period] = noise - noise.mean()
    feedback = np.r_[1.0, np.zeros(period - 1), -damping / 2, -damping / 2]
    return signal.lfilter([1.0], feedback, burst) * np.linspace(1, 0, sample_rate)


def _rain(rng, n_samples, sample_rate):
    """Patter drops on some surface, in the hiss of many that are farther away."""
    onsets = _random_onsets(rng, n_samples / sample_rate, rng.uniform(30, 100))
    levels = rng.lognormal(0, 0.5, len(onsets))
    hiss = _filtered_noise(rng, n_samples, sample_rate, rng.uniform(500, 2000), "high")
    return _clicks(rng, onsets, levels, n_samples, sample_rate) + rng.uniform(0.04, 0.2) * hiss


SYNTHESISERS: dict[str, Callable[..., np.ndarray]] = {
    "alarm": partial(_sweeps, rising=False),
    "bird": _bird,
    "clock": _clock,
    "dog": _dog,
    "fire": _fire,
    "melody": _melody,
    "rain": _rain,
    "siren": partial(_sweeps, rising=True),
}
