"""Archives and networks: time and memory, each measured in a process of its own."""

import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from timing import best
from training import CONFIGURATIONS

from sklearn_cpc import CPCTransformer, GRUContext, LogMelEncoder, make_cpc
from sklearn_cpc.audio.store import AudioSource

HOURS = (2, 5, 10, 20)
RATE = 22050  # of the files; the encoder's is another
MINUTES = 20  # that are different; the others are links to them, to spare the disk


def bench_transform(rounds, n_files=60):
    """`transform` of 60 files of 5 s at 44.1 kHz, against one after the other, and decoding alone."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.flac" for i in range(n_files)]
        for path in paths:
            soundfile.write(path, 0.1 * random.standard_normal(5 * 44100), 44100)
        cpc = make_cpc(max_epochs=0, random_state=0).fit(paths[:2])
        samples = 0.1 * random.standard_normal((n_files, 5 * cpc.sample_rate_)).astype(np.float32)
        times = best(
            rounds,
            together=lambda: cpc.transform(paths),
            alone=lambda: [cpc.transform([path]) for path in paths],
            decoding=lambda: AudioSource(cpc, paths, cpc.sample_rate_, reset=False).read(),
            network=lambda: cpc.fit(samples[:2]).transform(samples),
        )
    return [
        {
            "seconds of sound per second": 5 * n_files / times["together"],
            "one after the other / together": times["alone"] / times["together"],
            "decoding, then the network / together": (times["decoding"] + times["network"]) / times["together"],
            "network alone / together": times["network"] / times["together"],
        }
    ]


def bench_archive(_rounds):
    """`transform` and an epoch of `fit` over archives of 2 to 20 hours, in files of a minute.

    `transform` is that of the recommended network; `fit` trains a network so small that reading is what is
    measured. Peak memory is that of the whole process; a process that has imported the package and built the
    network, but read 2 minutes of sound only, is given for 0 hours.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = archive_in(folder, 60 * max(HOURS))
        return [archived(method, hours, paths) for method in ("transform", "fit") for hours in (0, *HOURS)]


def archived(method, hours, paths):
    """Measure a method on so many hours of sound."""
    seconds, peak = measured(method, paths[: 60 * hours] or paths[:2])
    return {
        "method": method,
        "hours of sound": hours,
        "time (s)": seconds,
        "seconds of sound per second": 3600 * hours / seconds if hours else None,
        "peak memory (MB)": peak,
    }


def bench_memory(_rounds):
    """Peak memory of a process that trains a configuration for one epoch on 2 minutes of sound."""
    with tempfile.TemporaryDirectory() as folder:
        paths = archive_in(folder, 2)
        return [
            {"configuration": name, "batch size": make_cpc(name).batch_size, "peak memory (MB)": peak}
            for name in CONFIGURATIONS
            for _, peak in [measured(name, paths)]
        ]


def archive_in(folder, n_minutes):
    """Write files of a minute each, and links to them."""
    random = np.random.default_rng(0)
    paths = [os.path.join(folder, f"{minute}.wav") for minute in range(n_minutes)]
    for path in paths[:MINUTES]:
        soundfile.write(path, 0.1 * random.standard_normal(60 * RATE), RATE)
    for minute, path in enumerate(paths[MINUTES:]):
        os.link(paths[minute % MINUTES], path)
    return paths


def measured(method, paths):
    """Run a method in a process of its own; returns its seconds and the most memory it had, in MB."""
    asked = json.dumps([method, paths])
    process = subprocess.run([sys.executable, __file__], input=asked, capture_output=True, text=True, check=True)
    return json.loads(process.stdout)


def transform(paths):
    """Embed with the recommended network."""
    make_cpc(max_epochs=0, random_state=0).fit(paths[:1]).transform(paths)


def fit(paths):
    """Train a small network for an epoch."""
    encoder = LogMelEncoder(n_filters=16, z_dim=16, n_mels=16)
    small = CPCTransformer(encoder, GRUContext(16), clip_duration=2.0, batch_size=32, max_epochs=1, random_state=0)
    small.fit(paths)


def train(name, paths):
    """Train a configuration for an epoch."""
    make_cpc(name, max_epochs=1, random_state=0).fit(paths)


MEASURED = {
    "transform": transform,
    "fit": fit,
    **{name: functools.partial(train, name) for name in CONFIGURATIONS},
}


def main():
    method, paths = json.load(sys.stdin)
    start = time.perf_counter()
    MEASURED[method](paths)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, peak_memory()]))


def peak_memory():
    """Most memory this process has had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # where the other figure begins with that of the process it was forked from
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(peak.split()[1]) / 1e3
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


if __name__ == "__main__":
    main()
