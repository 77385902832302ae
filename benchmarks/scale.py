"""Calculate what archives of up to a million hours need, from figures measured here and in docs/speed.md.

python benchmarks/scale.py
"""

import tempfile
import time
import tracemalloc

import numpy as np
import pandas as pd
import soundfile

from sklearn_cpc import MFCCTransformer, make_cpc
from sklearn_cpc.archive import EmbeddingIndex, embed_archive, embedding
from sklearn_cpc.archive.embedding import find_parts
from sklearn_cpc.archive.windows import clip_columns

TRANSFORM = 550  # seconds of sound per second on two cores: docs/speed.md, 20 hours
FIT = 1453  # the same of an epoch of fit, which is about reading
CORE_HOUR = 0.04  # dollars, a usual price of a rented core
MONTH = 0.02  # dollars per GB of object storage and month, a usual price
RATE, WINDOW = 16000, 1.0  # Hz, seconds
HOURS = [10**power for power in range(7)]


def main():
    n_features = make_cpc(max_epochs=0).fit(np.zeros((2, RATE), np.float32) + 0.1).get_feature_names_out().size
    row_bytes, part_seconds, search_rows = measure_table(), measure_parts(), measure_search(n_features)
    print(f"{n_features} features; {row_bytes:.0f} bytes of memory per window in a call of embed_archive")
    print(
        f"{1000 * part_seconds:.2f} ms to check a part; {search_rows / 1e6:.1f} million rows searched per second"
    )
    rows = []
    for hours in HOURS:
        n_windows = hours * 3600 / WINDOW
        embeddings = n_windows * n_features * 2 / 1e9  # GB, float16
        core_hours = 2 * hours / TRANSFORM
        rows.append(
            {
                "hours": hours,
                "core hours to embed": core_hours,
                "dollars": core_hours * CORE_HOUR,
                "embeddings (GB)": embeddings,
                "dollars per month": embeddings * MONTH,
                "decoded for fit (GB)": hours * 3600 * RATE * 4 / 1e9,
                "hours per epoch of fit": hours / FIT,
                "table of windows (GB)": n_windows * row_bytes / 1e9,
                "parts": hours / 2,
                "to check parts (s)": hours / 2 * part_seconds,
                "a query (s)": n_windows / search_rows,
            }
        )
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    simulate_stops()


def measure_table(n_rows=100_000):
    """Return the peak memory that a table takes while it is read, in bytes per window."""
    table = pd.DataFrame({"path": "a.wav", "onset": np.arange(n_rows) * WINDOW, "duration": WINDOW})
    tracemalloc.start()
    clip_columns(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / n_rows


def measure_parts(n_parts=50):
    """Return the seconds that it takes to check one part of a dataset."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.wav" for i in range(n_parts)]
        for path in paths:
            soundfile.write(path, 0.1 * np.ones(800), 8000)
        windows = pd.DataFrame({"path": paths, "onset": 0.0, "duration": 0.1})
        embedding.PART_SECONDS = 0.1
        model = MFCCTransformer(sample_rate=8000, n_mfcc=4, n_fft=256, n_mels=8).fit(paths[:1])
        embed_archive(model, windows, f"{folder}/data")
        start = time.perf_counter()
        assert len(find_parts(f"{folder}/data")) == n_parts
        return (time.perf_counter() - start) / n_parts


def measure_search(n_features, n_rows=200_000):
    """Return the rows that one core searches per second."""
    index = EmbeddingIndex(np.random.default_rng(0).standard_normal((n_rows, n_features), np.float32).astype("f2"))
    start = time.perf_counter()
    for _ in range(5):
        index.query(np.ones(n_features), k=10)
    return 5 * n_rows / (time.perf_counter() - start)


def simulate_stops(hours=1_000_000, n_machines=500, hours_to_stop=1.0):
    """Simulate machines that stop at random and lose the part at work: how much of the work is done twice."""
    random, part_hours = np.random.default_rng(0), 2 / TRANSFORM
    n_parts, spent = hours // 2 // n_machines, np.zeros(n_machines)
    for machine in range(n_machines):
        n_left = n_parts
        while n_left:
            until_stop = random.exponential(hours_to_stop)
            n_done = min(n_left, int(until_stop / part_hours))
            n_left -= n_done
            spent[machine] += until_stop if n_left else n_done * part_hours
    again = spent.mean() / (n_parts * part_hours) - 1
    print(f"{n_machines} machines, stopped every {hours_to_stop:g} h: {spent.max():.1f} h, {again:.2%} done twice")


if __name__ == "__main__":
    main()
