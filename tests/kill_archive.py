"""Kill the embedding of an archive at random moments, continue it, and compare the dataset with an unbroken one.

    python tests/kill_archive.py --kills 20 --seed 0

Every dataset is begun by a process of its own that is killed (SIGKILL) up to three times, each at a moment drawn
from the time that the whole work takes. Another process finishes it.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from corpus import rising_tones, small_cpc, write_samples
from kill_and_resume import Process

from sklearn_cpc.archive import cut_windows, embed_archive, embedding, read_archive

N_RECORDINGS = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    embedding.PART_SECONDS = 0.8  # two recordings
    random = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        windows = cut_windows(write_samples(scratch, rising_tones(N_RECORDINGS)), 0.15)
        cpc = small_cpc(max_epochs=0).fit(windows[:4])
        start = time.perf_counter()
        Process(embed_archive, cpc, windows, scratch / "whole").wait()
        seconds, whole = time.perf_counter() - start, files_in(scratch / "whole")
        n_kills = n_same = n_datasets = 0
        while n_kills < options.kills:
            folder, counts = scratch / f"{n_datasets}", []
            for _ in range(min(int(random.integers(1, 4)), options.kills - n_kills)):
                process = Process(embed_archive, cpc, windows, folder)
                time.sleep(random.uniform(0, seconds))
                process.kill()
                counts.append(len(files_in(folder)))
            n_kills += len(counts)
            n_datasets += 1
            Process(embed_archive, cpc, windows, folder).wait()
            same = files_in(folder) == whole and not list(folder.glob(".sklearn_cpc-*"))
            same = same and len(read_archive(folder)[1]) == len(windows)
            n_same += same
            print(f"killed with {counts} of {len(whole)} parts: {'same' if same else 'OTHER'} dataset", flush=True)
    print(f"{n_kills} kills: {n_same} of {n_datasets} datasets are those of work in one go")
    raise SystemExit(n_same != n_datasets)


def files_in(folder):
    """Contents of the parts of a dataset, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


if __name__ == "__main__":
    main()
