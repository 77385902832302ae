"""Stop work at random moments, do it again, and compare the results with those of work in one go.

    python tests/fault_kills.py --seconds 60 --seed 0

The work is training with checkpoints, embedding with memory=, saving models, and embedding an archive. Processes
get SIGKILL, SIGTERM or SIGINT (Ctrl-C) once or twice, at moments drawn from the time that the whole work takes.
Another process then does the same work in the same folder. It must end with the results of one go, and remove all
that the others have left: decoded sound, unfinished files and locks.
"""

import functools
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pyarrow.parquet  # noqa: F401  # before the work, which would import it late
from corpus import rising_tones, small_cpc, write_samples
from faults import Finding, Process, check_clean, check_same, leftovers, main

from sklearn_cpc import Augmentation, load
from sklearn_cpc.archive import EmbeddingIndex, cut_windows, embed_archive, embedding, read_archive

SIGNALS = signal.SIGKILL, signal.SIGTERM, signal.SIGINT


def make_work(folder):
    """Return functions by name that work in a folder of their own and return all results."""
    paths = write_samples(folder, rising_tones(16))
    windows = cut_windows(paths, 0.15)
    models = [small_cpc(max_epochs=0, random_state=seed).fit(paths) for seed in range(2)]
    how = {"schedule": "cosine", "augmentation": Augmentation(noise=(10, 40)), "validation_fraction": 0.2}

    def fit(folder):
        cpc = small_cpc(max_epochs=8, checkpoint=folder / "checkpoint", **how).fit(paths)
        return {name: values.numpy() for name, values in cpc.network_.state_dict().items()}

    def transform(folder):
        small = small_cpc(max_epochs=0, memory=folder / "memory").fit(paths)
        return small.transform(paths)

    def save(folder):
        path = folder / "model.safetensors"
        if path.exists():
            load(path)
        for i in range(9):
            models[i % 2].save(path)
        return load(path).transform(paths[:3])

    def embed(folder):
        embedding.PART_SECONDS = 0.8  # two recordings
        embed_archive(models[0], windows, folder / "data")
        table, embeddings = read_archive(folder / "data")
        found = EmbeddingIndex(folder / "data").query(embeddings[:2], 3)
        files = {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}
        return [list(files), list(files.values()), table["path"].tolist(), embeddings, found["row"].to_numpy()]

    return {"fit with checkpoint=": fit, "transform with memory=": transform, "save": save, "embed_archive": embed}


def prepare(folder):
    return {name: functools.partial(stop, *measured(work, folder)) for name, work in make_work(folder).items()}


def measured(work, folder):
    """Return work, the seconds that it takes and its results."""
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as whole:
        expected = Process(work, Path(whole)).result()
        check_clean(Path(whole))
    return work, time.perf_counter() - start, expected


def stop(work, seconds, expected, folder, random):
    """Stop work once or twice, and do it again."""
    outcome = "none in time"
    for _ in range(random.randint(1, 2)):
        process = Process(work, folder)
        time.sleep(random.uniform(0, seconds))
        os.kill(process.pid, random.choice(SIGNALS))
        succeeded, result = process.end() or (False, None)
        if succeeded:  # it was faster than the signal
            check_same(result, expected)
            continue
        if result and not result.endswith("KeyboardInterrupt\n"):
            raise Finding(result)
        if outcome != "left files":
            outcome = "left files" if leftovers(folder) else "left nothing"
    check_same(Process(work, folder).result(), expected)
    check_clean(folder)
    return outcome


if __name__ == "__main__":
    sys.exit(main(prepare, __doc__))
