"""Kill trainings at random moments, resume them, and compare the weights with those of a training in one go.

    python tests/kill_and_resume.py --kills 20 --seed 0

Every training is a process of its own that is killed (SIGKILL) once, at a moment drawn from the time that a
whole training takes, reading and writing included. Another process then fits again with the same settings. It must
remove all that the killed one has left: decoded sound, unfinished files and locks.
"""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from corpus import rising_tones, small_cpc, write_samples

from sklearn_cpc import Augmentation
from sklearn_cpc.persistence.container import unpack
from sklearn_cpc.training.checkpoint import FILE

N_EPOCHS = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        tempfile.tempdir = str(scratch / "temporary")
        os.mkdir(tempfile.tempdir)
        os.environ["SKLEARN_CPC_RAM_GB"] = "1e-9"  # all decoded sound is on disk
        paths = write_samples(scratch, rising_tones(12))
        small_cpc(max_epochs=0).fit(paths)  # imports all that the processes need
        start = time.perf_counter()
        Process(train, paths, scratch / "whole", scratch / "whole.pt").wait()
        seconds, whole = time.perf_counter() - start, torch.load(scratch / "whole.pt")
        n_same = n_left = 0
        for kill in range(options.kills):
            folder, result = scratch / f"{kill}", scratch / f"{kill}.pt"
            process = Process(train, paths, folder, result)
            time.sleep(random.uniform(0, seconds))
            process.kill()
            n_done, n_found = epochs_in(folder), len(leftovers(scratch))
            n_left += n_found
            Process(train, paths, folder, result).wait()
            same = all(torch.equal(values, whole[name]) for name, values in torch.load(result).items())
            same = same and leftovers(scratch) == []
            n_same += same
            print(
                f"killed with {n_done} of {N_EPOCHS} epochs done and {n_found} files left: "
                f"{'same weights, no files left' if same else 'OTHER weights or files left'}",
                flush=True,
            )
    print(f"{n_left} files were left by killed processes")
    print(f"{n_same} of {options.kills} ended with the weights of a training in one go")
    raise SystemExit(n_same != options.kills)


def train(paths, folder, result):
    """Fit with checkpoints, and write the weights at the end."""
    how = {"schedule": "cosine", "augmentation": Augmentation(noise=(10, 40)), "validation_fraction": 0.2}
    cpc = small_cpc(max_epochs=N_EPOCHS, checkpoint=folder, **how).fit(paths)
    cpc.save(f"{folder}/model.safetensors")
    torch.save(cpc.network_.state_dict(), result)


def leftovers(scratch):
    """Names of locks, of unfinished files and of what is in the temporary folder."""
    return [path for path in scratch.rglob("*") if ".sklearn_cpc-" in str(path) or path.suffix == ".lock"]


def epochs_in(folder):
    """Epochs that a checkpoint holds."""
    path = folder / FILE
    return len(unpack(path.read_bytes())[0]["history"]) if path.exists() else 0


class Process:
    """Calls a function in a process forked from this one, which need not import anything anew."""

    def __init__(self, function, *arguments):
        self.pid = os.fork()
        if not self.pid:
            function(*arguments)
            os._exit(0)

    def wait(self):
        """Wait for its end."""
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, status

    def kill(self):
        """End it at once, wherever it is."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


if __name__ == "__main__":
    main()
