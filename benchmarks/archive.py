"""Archives and networks: time and memory, each measured in a separate process."""

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
RATE = 22050  # of the files; the encoder has another rate
MINUTES = 20  # of distinct sound; the other files are links to these, to save disk space


def bench_transform(rounds, n_files=60):
    """`transform` of 60 files of 5 s at 44.1 kHz, against one by one and against decoding alone."""
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
            "one by one / together": times["alone"] / times["together"],
            "decoding, then the network / together": (times["decoding"] + times["network"]) / times["together"],
            "network alone / together": times["network"] / times["together"],
        }
    ]


def bench_archive(_rounds):
    """`transform` and an epoch of `fit` over archives of 2 to 20 hours, in files of a minute.

    `transform` runs the recommended network. `fit` trains a network so small that the figures measure reading.
    Peak memory is that of the entire process. The rows for 0 hours show a process that has imported the package
    and built the network, but has read only 2 minutes of sound.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = write_archive(folder, 60 * max(HOURS))
        return [measure_archive(method, hours, paths) for method in ("transform", "fit") for hours in (0, *HOURS)]


def measure_archive(method, hours, paths):
    """Measure a method on this many hours of sound."""
    seconds, peak = run_in_subprocess(method, paths[: 60 * hours] or paths[:2])
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
        paths = write_archive(folder, 2)
        return [
            {"configuration": name, "batch size": make_cpc(name).batch_size, "peak memory (MB)": peak}
            for name in CONFIGURATIONS
            for _, peak in [run_in_subprocess(name, paths)]
        ]


def write_archive(folder, n_minutes):
    """Write files of one minute each, and links to them."""
    random = np.random.default_rng(0)
    paths = [os.path.join(folder, f"{minute}.wav") for minute in range(n_minutes)]
    for path in paths[:MINUTES]:
        soundfile.write(path, 0.1 * random.standard_normal(60 * RATE), RATE)
    for minute, path in enumerate(paths[MINUTES:]):
        os.link(paths[minute % MINUTES], path)
    return paths


def run_in_subprocess(method, paths):
    """Run a method in a new process; return its seconds and its peak memory in MB."""
    request = json.dumps([method, paths])
    process = subprocess.run([sys.executable, __file__], input=request, capture_output=True, text=True, check=True)
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
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss starts from the peak of the parent process
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(peak.split()[1]) / 1e3
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


if __name__ == "__main__":
    main()
