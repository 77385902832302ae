"""Distributed training: two processes that share a training, against two that each do half of it alone."""

import json
import os
import subprocess
import sys

import numpy as np
import torch

from sklearn_cpc import make_cpc

N_PROCESSES = 2
N_CLIPS, EPOCHS = 128, 4  # clips of a second
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={N_PROCESSES}"]


def bench_distributed(rounds):
    """`fit` of `make_cpc()` with `distributed=True` on two processes with one thread each.

    "Apart" are two processes that run at the same time, without a word to each other, each on half the clips with
    half the batch size. They do the same work, so no training that is shared can be faster. The overhead is what
    sharing costs: waiting for each other, embeddings and gradients that are sent, and negatives from the clips
    of both. "One process" has all clips and as many threads as there are processes. The shortest epoch counts.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *LAUNCHER, __file__, str(rounds)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(process.stdout)


def measure(rounds):
    """Yield a row per precision; all ranks run this at the same time."""
    torch.distributed.init_process_group()
    rank = torch.distributed.get_rank()
    samples = 0.1 * np.random.default_rng(0).standard_normal((N_CLIPS, 16000)).astype(np.float32)
    for precision in ("bfloat16", "float32"):
        cpc = make_cpc(max_epochs=EPOCHS, trim=None, precision=precision, random_state=0)
        half = make_cpc(**{**cpc.get_params(deep=False), "batch_size": cpc.batch_size // N_PROCESSES})
        times = {"together": [], "apart": [], "one": []}
        for _ in range(rounds):
            times["apart"] += fit(half, samples[rank::N_PROCESSES])
            times["together"] += fit(cpc.set_params(distributed=True), samples)
            torch.set_num_threads(N_PROCESSES)
            times["one"] += fit(cpc.set_params(distributed=False), samples, first_rank_only=True)
            torch.set_num_threads(1)
        shortest = {name: min(seconds) for name, seconds in times.items()}
        slowest = torch.tensor(shortest["apart"])
        torch.distributed.all_reduce(slowest, torch.distributed.ReduceOp.MAX)
        yield {
            "precision": precision,
            "epoch together (s)": shortest["together"],
            "apart (s)": slowest.item(),
            "overhead of together over apart": shortest["together"] / slowest.item() - 1,
            "one process / together": shortest["one"] / shortest["together"],
        }


def fit(cpc, samples, first_rank_only=False):
    """Fit, when all ranks are ready; return the seconds of every epoch."""
    torch.distributed.barrier()
    if first_rank_only and torch.distributed.get_rank():
        return [0.0]
    return [row["dur"] for row in cpc.fit(samples).history_]


if __name__ == "__main__":
    rows = list(measure(int(sys.argv[1])))
    if torch.distributed.get_rank() == 0:
        print(json.dumps(rows))
    torch.distributed.destroy_process_group()
