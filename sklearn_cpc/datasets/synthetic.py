"""Write a synthetic corpus of recognisable sounds, for examples and tests."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from .._constraints import check_parameters, integers
from .folder import as_bunch


@check_parameters(
    directory=[str, PathLike],
    n_per_class=[integers(1, 1_000_000)],
    n_groups=[integers(1, 10_000)],
    duration=[Interval(Real, 0, 86_400, closed="right")],
    sample_rate=[integers(8000, 10_000_000)],
    random_state=["random_state"],
)
def make_synthetic_corpus(
    directory, *, n_per_class=20, n_groups=5, duration=5.0, sample_rate=22050, random_state=None
):
    """Write a small corpus of eight recognisable classes of sound, recorded at several sites.

    The classes are alarm (falling sweeps), bird, clock, dog, fire, melody (plucked strings), rain and siren
    (rising sweeps). Pitch, pace, timing and loudness vary from recording to recording. Each site has its own
    background noise, equalisation and reverberation, so cross-validate scores by group. Averaged spectra do not
    tell all classes apart: an alarm is a siren played backwards, and a clock clicks regularly, unlike a fire.

    Parameters
    ----------
    directory : str or path-like
        Folder for the files ``<class>/<group>-<index>.wav`` (16-bit, mono), created if it is missing. Existing
        files of these names are overwritten; all other files are kept.
    n_per_class : int, default=20
        Number of recordings of each class.
    n_groups : int, default=5
        Number of recording sites, over which the recordings of each class are spread evenly.
    duration : float, default=5.0
        Length of each recording, in seconds.
    sample_rate : int, default=22050
        Samples per second, in Hz; at least 8000.
    random_state : int, RandomState instance or None, default=None
        Seed of the sounds and sites; an int writes the same files at every call. A recording depends on this
        seed, its class, index and site, `duration` and `sample_rate`, but not on any other recording.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        What :func:`load_audio_folder` returns for these files; `groups` are the sites "1", "2" and so on.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cpc.datasets import make_synthetic_corpus
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     corpus = make_synthetic_corpus(directory, n_per_class=2, duration=0.5, random_state=0)
    >>> corpus.target_names
    ['alarm', 'bird', 'clock', 'dog', 'fire', 'melody', 'rain', 'siren']
    """
    # A new generator for None leaves NumPy's global generator unchanged.
    generator = np.random.RandomState() if random_state is None else check_random_state(random_state)
    seed = int(generator.randint(2**31 - 1))
    n_samples = max(1, round(duration * sample_rate))
    sites = [draw_site(np.random.default_rng([seed, group]), sample_rate) for group in range(n_groups)]
    recordings = []
    for name, synthesise in SYNTHESISERS.items():
        folder = Path(directory, name)
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(n_per_class):
            group = index % n_groups
            rng = np.random.default_rng([seed, *name.encode(), index])
            sound = record(rng, synthesise(rng, n_samples, sample_rate), sites[group])
            path = folder / f"{group + 1}-{index + 1:04d}.wav"
            soundfile.write(path, sound, sample_rate, subtype="PCM_16")
            recordings.append((str(path), name, str(group + 1)))
    return as_bunch(*zip(*sorted(recordings), strict=True))


def draw_site(rng, sample_rate):
    """Draw the impulse response of a site, the slope of the spectrum of its noise, and the level of its noise."""
    bands = np.linspace(0, 1, 6)
    equaliser = signal.firwin2(63, bands, 10 ** (rng.uniform(-15, 0, len(bands)) / 20))
    seconds = np.arange(int(0.3 * sample_rate)) / sample_rate
    decay = np.exp(-seconds / rng.uniform(0.03, 0.1))
    reverberation = rng.uniform(0.01, 0.04) * decay * rng.standard_normal(len(decay))
    reverberation[0] = 1.0
    return np.convolve(equaliser, reverberation), rng.uniform(0, 2), 10 ** (rng.uniform(-50, -30) / 20)


def record(rng, sound, site):
    """Add the reverberation and the noise of a site to a sound, at a random level."""
    impulse_response, noise_slope, noise_level = site
    sound = normalise_peak(signal.fftconvolve(sound, impulse_response)[: len(sound)])
    # The power of the noise falls as 1 / frequency ** slope above 1 / 400 of the sample rate.
    spectrum = np.fft.rfft(rng.standard_normal(len(sound)))
    spectrum /= np.maximum(np.arange(len(spectrum)), len(sound) / 400) ** (noise_slope / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, len(sound))
    noise /= max(noise.std(), 1e-9)
    level = noise_level * rng.lognormal(0, 0.3)
    return normalise_peak(sound + level * noise, rng.uniform(0.15, 0.9))


def normalise_peak(sound, peak=1.0):
    """Scale a sound to a peak."""
    return sound * (peak / max(np.abs(sound).max(), 1e-9))


def filtered_noise(rng, n_samples, sample_rate, cutoff, kind):
    """Draw white noise through a low-pass or high-pass filter, with unit power."""
    sections = signal.butter(2, cutoff, kind, fs=sample_rate, output="sos")
    noise = signal.sosfilt(sections, rng.standard_normal(n_samples))
    return noise / max(noise.std(), 1e-9)


def tone(frequency, sample_rate, levels):
    """Sum the harmonics of a fundamental frequency, in Hz per sample. Harmonics near Nyquist are left out."""
    phase = 2 * np.pi * np.cumsum(frequency) / sample_rate
    harmonics = [
        level * np.sin(k * phase) * (k * frequency < 0.45 * sample_rate) for k, level in enumerate(levels, start=1)
    ]
    return np.sum(harmonics, axis=0)


def steady_onsets(rng, duration, interval, jitter, pause=0.0, phrase=np.inf):
    """Draw onsets, in seconds, at a regular interval, with a pause after every `phrase` onsets on average."""
    gaps = interval * rng.lognormal(0, jitter, 2 * int(duration / interval) + 2)
    gaps += pause * rng.lognormal(0, 0.3, len(gaps)) * (rng.random(len(gaps)) < 1 / phrase)
    onsets = np.cumsum(gaps) - gaps[0] + rng.uniform(0, min(interval, duration / 2))
    return onsets[onsets < duration]


def clicks(rng, onsets, levels, n_samples, sample_rate):
    """Strike a resonant object at each onset."""
    pitches = rng.uniform(1500, 3500) * np.array([[1.0], [rng.uniform(1.3, 1.7)]])
    pitches = np.minimum(pitches, 0.45 * sample_rate)
    seconds = np.arange(int(0.05 * sample_rate)) / sample_rate
    ring = np.sin(2 * np.pi * pitches * seconds).sum(axis=0) * np.exp(-seconds / rng.uniform(0.002, 0.008))
    strokes = np.zeros(n_samples)
    np.add.at(strokes, (onsets * sample_rate).astype(int), levels)
    return normalise_peak(signal.fftconvolve(strokes, ring)[:n_samples])


def mix(events, onsets, n_samples, sample_rate):
    """Add up events that start at the onsets."""
    sound = np.zeros(n_samples)
    for event, start in zip(events, (onsets * sample_rate).astype(int), strict=True):
        end = min(start + len(event), n_samples)
        sound[start:end] += event[: end - start]
    return sound


# The classes of sound. Changing the order of random draws would change the sounds.


def sweeps(rng, n_samples, sample_rate, *, rising):
    """Sweep a harmonic tone over and over, from low to high or from high to low."""
    seconds = np.arange(n_samples) / sample_rate
    progress = (seconds / rng.uniform(0.4, 1.5) + rng.random()) % 1
    frequency = rng.uniform(400, 800) * rng.uniform(1.6, 2.8) ** (progress if rising else 1 - progress)
    return tone(frequency, sample_rate, rng.uniform(0.3, 0.7) ** np.arange(8))


def bird(rng, n_samples, sample_rate):
    """Sing phrases of short chirps."""
    length = rng.uniform(0.05, 0.15)
    interval, pause = length * rng.uniform(1.2, 2.0), rng.uniform(0.3, 1.2)
    onsets = steady_onsets(rng, n_samples / sample_rate, interval, 0.1, pause, phrase=6)
    progress = np.linspace(0, 1, int(length * sample_rate))
    low, ratio, bend = rng.uniform(1500, 2800), rng.uniform(0.7, 1.5), rng.uniform(0.5, 2.0)
    chirp = tone(low * ratio ** (progress**bend), sample_rate, [1.0, 0.1]) * np.sin(np.pi * progress) ** 2
    levels = rng.uniform(0.4, 1, len(onsets))
    return mix([level * chirp for level in levels], onsets, n_samples, sample_rate)


def clock(rng, n_samples, sample_rate):
    """Tick and tock regularly over the quiet whirr of the clockwork."""
    onsets = steady_onsets(rng, n_samples / sample_rate, rng.uniform(0.15, 0.5), 0.005)
    levels = np.where(np.arange(len(onsets)) % 2, rng.uniform(0.4, 1), 1.0)
    whirr = filtered_noise(rng, n_samples, sample_rate, rng.uniform(150, 500), "low")
    return clicks(rng, onsets, levels, n_samples, sample_rate) + rng.uniform(0, 0.03) * whirr


def dog(rng, n_samples, sample_rate):
    """Bark in phrases: a noisy harmonic voice with a rising and falling pitch and two formants."""
    length = rng.uniform(0.12, 0.3)
    interval, pause = length * rng.uniform(1.3, 2.5), rng.uniform(0.3, 1.2)
    onsets = steady_onsets(rng, n_samples / sample_rate, interval, 0.1, pause, phrase=3)
    progress = np.linspace(0, 1, int(length * sample_rate))
    pitch = rng.uniform(250, 600) * (1 + 0.4 * np.sin(np.pi * progress**0.7))
    voice = tone(pitch, sample_rate, 0.8 ** np.arange(15))
    voice += rng.uniform(0.3, 1.5) * rng.standard_normal(len(voice))
    formants = rng.uniform([500, 1200], [1100, 2400])
    filters = [signal.iirpeak(formant, 3, fs=sample_rate) for formant in formants]
    bark = sum(signal.lfilter(*coefficients, voice) for coefficients in filters) * np.sin(np.pi * progress**0.5)
    levels = rng.uniform(0.5, 1, len(onsets))
    return mix([level * bark for level in levels], onsets, n_samples, sample_rate)


def melody(rng, n_samples, sample_rate):
    """Pluck strings on a random walk over a pentatonic scale (Karplus and Strong, 1983)."""
    onsets = steady_onsets(rng, n_samples / sample_rate, rng.uniform(0.15, 0.4), 0.02)
    degrees = np.abs(np.cumsum(rng.integers(-2, 3, len(onsets)))) % 10
    semitones = np.array([0, 2, 4, 7, 9])[degrees % 5] + 12 * (degrees // 5)
    frequencies = rng.uniform(200, 400) * 2 ** (semitones / 12)
    damping = rng.uniform(0.985, 0.998)
    notes = []
    for period in (sample_rate / frequencies).astype(int):
        noise = rng.uniform(-1, 1, period)
        burst = np.zeros(sample_rate)
        burst[:period] = noise - noise.mean()
        feedback = np.r_[1.0, np.zeros(period - 1), -damping / 2, -damping / 2]  # a delay line that smooths
        notes.append(signal.lfilter([1.0], feedback, burst) * np.linspace(1, 0, sample_rate))
    return mix(notes, onsets, n_samples, sample_rate)


def random_clicks(rng, n_samples, sample_rate, *, rate, level_spread, cutoff, kind, noise_level):
    """Click at random times over filtered noise. Pairs are ranges; `rate` is in clicks per second."""
    duration = n_samples / sample_rate
    onsets = rng.uniform(0, duration, max(1, rng.poisson(rng.uniform(*rate) * duration)))
    levels = rng.lognormal(0, level_spread, len(onsets))
    noise = filtered_noise(rng, n_samples, sample_rate, rng.uniform(*cutoff), kind)
    return clicks(rng, onsets, levels, n_samples, sample_rate) + rng.uniform(*noise_level) * noise


# Flames crackle over a low rumble, and raindrops patter over a high hiss.
FIRE = {"rate": (3, 10), "level_spread": 0.3, "cutoff": (150, 500), "kind": "low", "noise_level": (0.02, 0.12)}
RAIN = {"rate": (30, 100), "level_spread": 0.5, "cutoff": (500, 2000), "kind": "high", "noise_level": (0.04, 0.2)}

SYNTHESISERS: dict[str, Callable[..., np.ndarray]] = {
    "alarm": partial(sweeps, rising=False),
    "bird": bird,
    "clock": clock,
    "dog": dog,
    "fire": partial(random_clicks, **FIRE),
    "melody": melody,
    "rain": partial(random_clicks, **RAIN),
    "siren": partial(sweeps, rising=True),
}
