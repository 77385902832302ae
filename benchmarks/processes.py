"""Distributed training: two processes that share a training, against two that each do half of it alone."""

import json
import os
import subprocess
import sys

import numpy as np
import torch

from sklearn_cpc import make_cpc
from sklearn_cpc.training.device import resolve_precision

N_PROCESSES = 2
N_CLIPS, EPOCHS = 512, 3  # clips of a second
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={N_PROCESSES}"]


def bench_distributed(rounds):
    """An epoch of `make_cpc(distributed=True)` on two processes with one thread each.

    "Apart" are two processes that run at the same time and know nothing of each other. Each trains on half the
    clips, with half the batch size. That is the same work, so it shows what sharing costs: waiting for each other,
    sending gradients and windows, and drawing random numbers for all clips. "One process" has all clips and
    two threads. The shortest epoch counts.
    """
    command = [sys.executable, *LAUNCHER, __file__, str(rounds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"}  # as torch is imported first
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(process.stdout)


def measure(rounds):
    """Yield a row per precision. All ranks run this at the same time."""
    rank = torch.distributed.get_rank()
    samples = 0.1 * np.random.default_rng(0).standard_normal((N_CLIPS, 16000)).astype(np.float32)
    for precision in dict.fromkeys([resolve_precision("auto", torch.device("cpu")), "float32"]):
        cpc = make_cpc(max_epochs=EPOCHS, trim=None, precision=precision, random_state=0)
        half = make_cpc(**{**cpc.get_params(deep=False), "batch_size": cpc.batch_size // N_PROCESSES})
        apart, together, one = [], [], []
        for _ in range(rounds):
            apart += time_epochs(half, samples[rank::N_PROCESSES])
            together += time_epochs(cpc.set_params(distributed=True), samples)
            torch.set_num_threads(N_PROCESSES)
            one += time_epochs(cpc.set_params(distributed=False), samples, everywhere=False)
            torch.set_num_threads(1)
        slower = torch.tensor(min(apart))
        torch.distributed.all_reduce(slower, torch.distributed.ReduceOp.MAX)
        yield {
            "precision": precision,
            "together (s)": min(together),
            "apart (s)": slower.item(),
            "overhead of together over apart": min(together) / slower.item() - 1,
            "one process / together": min(one) / min(together),
        }


def time_epochs(cpc, samples, everywhere=True):
    """Fit, once all ranks are ready, and return the seconds of every epoch."""
    torch.distributed.barrier()
    if not everywhere and torch.distributed.get_rank():
        return [0.0]
    return [row["dur"] for row in cpc.fit(samples).history_]


if __name__ == "__main__":
    torch.distributed.init_process_group()
    rows = list(measure(int(sys.argv[1])))
    if torch.distributed.get_rank() == 0:
        print(json.dumps(rows))
    torch.distributed.destroy_process_group()
