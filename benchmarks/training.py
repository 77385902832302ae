"""Training steps: against a straightforward implementation, the report's times and a matrix product."""

import tempfile
import warnings
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from timing import best
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sklearn_cpc import make_cpc
from sklearn_cpc.audio.cache import StoredSamples
from sklearn_cpc.nn.network import ENCODERS, OBJECTIVES, build_network, get_sample_rate, resolve_recipe
from sklearn_cpc.training.allocator import keep_freed_memory
from sklearn_cpc.training.batches import ClipBatches
from sklearn_cpc.training.clip_geometry import ClipShape
from sklearn_cpc.training.device import resolve_precision
from sklearn_cpc.training.loop import train

CONFIGURATIONS = ("report-conv1d-gru", "report-conv2d-gru", "small-corpus")
# Seconds per step (8 clips of 4 s) of the report's TensorFlow code, model alone, on 2 cores of another machine.
REPORT_STEP = {"report-conv1d-gru": 2.27, "report-conv2d-gru": 1.02}
GEMM = 2048  # rows and columns of the matrices whose product gives the processor's peak


def bench_steps(rounds):
    """A training step with every configuration, in the precision that `"auto"` selects here and in float32.

    "Straightforward" is the same network trained as the report's code does: it encodes 51 windows for every clip
    of 30, because it encodes negatives again, and it decodes 8 recordings of 30 s in every step. The report's own
    step (TensorFlow, the model alone) took 2.27 s (1-D) and 1.02 s (2-D) on two cores of another machine. GFLOP/s
    counts the operations of convolutions and matrix products. The peak is that of a product of two matrices of
    2048 rows and columns. All competitors keep freed memory between steps, as `fit` does.
    """
    precisions = dict.fromkeys([resolve_precision("auto", torch.device("cpu")), "float32"])
    return [row for precision in precisions for row in time_steps(precision, rounds)]


def time_steps(precision, rounds):
    """Time the steps of all configurations in one precision."""
    gemm = make_product(precision)
    for name in CONFIGURATIONS:
        cpc = make_cpc(name)
        step, operations, seconds_heard = make_step(cpc, precision)
        flops = operations()
        rivals = {"ours": step, "gemm": gemm}
        if name in REPORT_STEP:
            rivals["naive"] = naive_step(cpc, precision)
        with keep_freed_memory():
            times = best(rounds, in_a_row=3, **rivals)  # training also runs one step after the other
        peak = 2 * GEMM**3 / times["gemm"]
        yield {
            "configuration": name,
            "precision": precision,
            "step (s)": times["ours"],
            "seconds of sound per second": seconds_heard / times["ours"],
            "straightforward / ours": times["naive"] / times["ours"] if "naive" in times else None,
            "report / ours": REPORT_STEP[name] / times["ours"] if name in REPORT_STEP else None,
            "GFLOP/s": flops / times["ours"] / 1e9,
            "peak (GFLOP/s)": peak / 1e9,
            "share of peak": flops / times["ours"] / peak,
        }


def make_product(precision):
    """Return a function that multiplies large matrices."""
    a, b = torch.randn(2, GEMM, GEMM, dtype=getattr(torch, precision))
    return lambda: a @ b


def build(cpc):
    """Build the network of an estimator."""
    rate = get_sample_rate(cpc.encoder)
    return build_network(
        cpc.encoder,
        cpc.autoregressor,
        get_objective(cpc),
        n_samples=round(cpc.clip_duration * rate),
        n_context=cpc.n_context,
        n_future=cpc.n_future,
        augmentation=None if cpc.augmentation is None else cpc.augmentation(rate),
    )


def get_objective(cpc):
    return resolve_recipe("objective", cpc.objective, OBJECTIVES)


def make_step(cpc, precision):
    """Build a training step on one batch; return it, a counter of its operations and its seconds of sound."""
    rate, n_steps = get_sample_rate(cpc.encoder), cpc.n_context + cpc.n_future
    network = build(cpc).train()
    shape = ClipShape.for_network(network)
    clips = 0.1 * torch.randn(cpc.batch_size, shape.n_samples)
    n_valid = torch.full((cpc.batch_size,), n_steps)
    loss = get_objective(cpc)(cpc.n_future)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            forecast = network(clips, n_valid)
        loss(forecast)[0].backward()
        optimizer.step()

    def operations():
        # Without oneDNN, recurrent networks run as matrix products and are counted too.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TF32")  # torch warns about another device
            with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
                loss(network(clips, n_valid))[0].backward()
        return counter.get_total_flops()

    return step, operations, cpc.batch_size * shape.n_samples / rate


def naive_step(cpc, precision):
    """Build the step of the report's code: it encodes 51 windows per clip and decodes 8 files of 30 s."""
    rate, n_steps = get_sample_rate(cpc.encoder), cpc.n_context + cpc.n_future
    n_windows = cpc.n_context + cpc.n_future * cpc.batch_size
    clip = round(cpc.clip_duration * rate)
    network = build(cpc)
    n_samples = clip // n_steps * n_windows
    encoder = ENCODERS[cpc.encoder]()(n_samples, n_windows)
    folder = tempfile.TemporaryDirectory()
    paths = [Path(folder.name) / f"{i}.wav" for i in range(cpc.batch_size)]
    for path in paths:
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(30 * 22050), 22050)
    parameters = [*encoder.parameters(), *network.autoregressor.parameters(), *network.predictor.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-5)

    def step(folder=folder):  # keeps the temporary folder alive as long as the step
        clips = [librosa.load(path, sr=rate)[0][:n_samples] for path in paths]
        clips = torch.from_numpy(np.stack([np.resize(clip, n_samples) for clip in clips]))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            z = encoder(clips)  # (batch, n_windows, z_dim)
            c = network.autoregressor(z[:, : cpc.n_context])[:, -1]
            predictions = network.predictor(c).unflatten(-1, (cpc.n_future, -1)).float()
        candidates = z[:, cpc.n_context :].float().unflatten(1, (cpc.batch_size, cpc.n_future))
        scores = torch.einsum("bkd,bnkd->bkn", predictions, candidates)
        truth = torch.zeros(scores[..., 0].numel(), dtype=int)
        nn.functional.cross_entropy(scores.flatten(0, 1), truth).backward()
        optimizer.step()

    return step


def bench_loop(rounds):
    """An epoch of `fit` over 256 clips of one second, against a bare training loop."""
    cpc = make_cpc("small-corpus", augmentation=None)
    rate = get_sample_rate(cpc.encoder)
    random = np.random.RandomState(0)
    in_ram = list(0.1 * random.standard_normal((256, rate)).astype(np.float32))
    folder = tempfile.TemporaryDirectory()
    files = [f"{folder.name}/{i}.f32" for i in range(len(in_ram))]
    on_disk = [
        StoredSamples.write(file, None, "", rate, [samples]) for file, samples in zip(files, in_ram, strict=True)
    ]
    precision = resolve_precision("auto", torch.device("cpu"))
    network = build(cpc).train()
    shape = ClipShape.for_network(network)
    loss = get_objective(cpc)(cpc.n_future)

    @keep_freed_memory()
    def bare():
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)
        for inputs, _ in ClipBatches(in_ram, shape, cpc.batch_size, random):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                forecast = network(**inputs)
            loss(forecast)[0].backward()
            optimizer.step()

    def ours(samples):
        batches = ClipBatches(samples, shape, cpc.batch_size, random)
        train(network, batches, loss, max_epochs=1, lr=1e-5, precision=precision)

    times = best(rounds, bare=bare, ram=lambda: ours(in_ram), disk=lambda: ours(on_disk))
    return [
        {"samples": where, "epoch (s)": times[name], "overhead over a bare loop": times[name] / times["bare"] - 1}
        for name, where in [("ram", "in RAM"), ("disk", "on disk")]
    ]
