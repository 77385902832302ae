"""The archives of agile.py: made of short recordings at known times in noise, or a person's own."""

import re
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import soundfile

from sklearn_cpc.archive import read_annotations
from sklearn_cpc.datasets import make_synthetic_corpus

LOUDNESS = (5, 20)  # dB of a sound above the noise
TRIM = 30  # dB below its loudest part: what is quieter at both ends of a sound is left out


class Archive(NamedTuple):
    """Recordings, which of them are for testing only, and what is where in them."""

    paths: np.ndarray  # (n_recordings,)
    is_test: np.ndarray  # (n_recordings,)
    annotations: pd.DataFrame | None  # path, onset, duration and label; None if nothing is known


class Sounds(NamedTuple):
    """Short recordings of one sound each, with their labels and groups."""

    paths: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None  # recordings of a group are all for search or all for testing


def read_archive(options, scratch):
    """Return the archive that the options describe."""
    random = np.random.default_rng(0)
    if options.recordings:
        paths = np.array(sorted(set(map(str, options.recordings))))
        known = options.annotations and read_annotations(options.annotations, recordings=paths)
        is_test = np.zeros(len(paths), bool)
        if not options.ask:
            is_test[random.permutation(len(paths))[: len(paths) // 2]] = True
        return Archive(paths, is_test, known)
    if options.audio:
        sounds = read_folder(options.audio, options.label_from, options.group_from)
    else:
        n_per_class = 8 if options.quick else 40
        corpus = make_synthetic_corpus(
            f"{scratch}/sounds", n_per_class=n_per_class, duration=2.0, sample_rate=16000, random_state=0
        )
        sounds = Sounds(np.array(corpus.paths), corpus.target, corpus.groups)
    return write_archive(sounds, options, Path(scratch, "archive"), random)


def read_folder(folder, label_from, group_from):
    """List the sounds in a folder; their labels and groups are in their names, or labels are sub-folders."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3"))
    labels = [find(label_from, path.name) if label_from else path.parent.name for path in paths]
    groups = np.array([find(group_from, path.name) for path in paths]) if group_from else None
    return Sounds(np.array(list(map(str, paths))), np.array(labels), groups)


def find(pattern, name):
    """Return the first group of a regular expression in a name, or all of its match."""
    match = re.search(pattern, name)
    if match is None:
        raise SystemExit(f"agile.py: {pattern} finds nothing in the file name {name}")
    return match[min(1, match.re.groups)]


def write_archive(sounds, options, folder, random):
    """Write recordings of noise with all sounds, each of them once, half of them in recordings for testing."""
    folder.mkdir(parents=True)
    groups = np.arange(len(sounds.paths)) if sounds.groups is None else sounds.groups
    distinct = random.permutation(np.unique(groups))
    for_testing = np.isin(groups, distinct[: len(distinct) // 2])
    hours = options.hours or len(sounds.paths) * 5 / 3600
    paths, is_test, rows = [], [], []
    for part in (False, True):
        chosen = random.permutation(np.flatnonzero(for_testing == part))
        n_recordings = max(2, round(hours / 2 * 3600 / options.minutes / 60))
        for number, members in enumerate(np.array_split(chosen, n_recordings)):
            path = str(folder / f"{'test' if part else 'search'}-{number:03d}.flac")
            seconds = hours / 2 * 3600 / n_recordings
            placed = write_recording(path, sounds, members, seconds, options.sample_rate, random)
            paths, is_test, rows = [*paths, path], [*is_test, part], rows + placed
    annotations = pd.DataFrame(rows, columns=["path", "onset", "duration", "label"])
    return Archive(np.array(paths), np.array(is_test), annotations)


def write_recording(path, sounds, members, seconds, rate, random):
    """Write noise with some of the sounds at random times; return path, onset, duration and label of each."""
    clips = [read_sound(sounds.paths[member], rate) for member in members]
    free = max(seconds - sum(map(len, clips)) / rate, 1.0) * rate
    gaps = np.diff(np.sort(random.uniform(0, free, len(clips))), prepend=0.0).astype(int)
    noise = make_noise(int(free) + sum(map(len, clips)), random)
    start, rows = 0, []
    for member, clip, gap in zip(members, clips, gaps, strict=True):
        start += gap
        gain = 10 ** (random.uniform(*LOUDNESS) / 20) / max(np.sqrt(np.mean(clip**2)), 1e-9)
        noise[start : start + len(clip)] += gain * clip
        rows.append((path, start / rate, len(clip) / rate, str(sounds.labels[member])))
        start += len(clip)
    soundfile.write(path, 0.9 * noise / np.abs(noise).max(), rate, subtype="PCM_16")
    return rows


def read_sound(path, rate):
    """Return the samples of a sound without the silence at its ends."""
    samples, file_rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = librosa.resample(samples.mean(axis=1), orig_sr=file_rate, target_sr=rate)
    return librosa.effects.trim(samples, top_db=TRIM)[0]


def make_noise(n_samples, random):
    """Draw noise whose power falls with the frequency, by another slope in every recording; its RMS is 1."""
    n_fast = 1 << (n_samples - 1).bit_length()
    spectrum = np.fft.rfft(random.standard_normal(n_fast).astype(np.float32))
    spectrum /= np.maximum(np.arange(len(spectrum)), len(spectrum) / 200) ** random.uniform(0, 1)
    noise = np.fft.irfft(spectrum, n_fast)[:n_samples]
    return noise / noise.std()
