"""Measure training and embedding on a GPU, check the results against those of the CPU, and write JSON.

    python benchmarks/gpu.py --json gpu.json            # under five minutes on a GPU
    python benchmarks/gpu.py --json gpu.json --tiny     # on a CPU: shows only that the script works

Every row has the time, the share of the device's peak (of a product of matrices in bfloat16, measured in the same
run) and the peak memory. "Resident" recordings stay on the GPU, as in every fit there; "copied" ones do not.
"""

import argparse
import json
import platform
import tempfile
import time
import warnings
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode
from training import CONFIGURATIONS, build, get_objective

from sklearn_cpc import make_cpc
from sklearn_cpc.archive import cut_windows, embed_archive
from sklearn_cpc.nn.network import get_sample_rate
from sklearn_cpc.training import clip_geometry
from sklearn_cpc.training.clip_geometry import ClipShape
from sklearn_cpc.training.device import move, resolve_device, resolve_precision

SAMPLES = "resident", "copied"
VARIANTS = "as it is", "compiled"  # the encoder, as docs/gpu.md describes
WARM_UP = 3  # calls that do not count
MAX_DIFFERENCE = {"loss": 1e-3, "embedding": 1e-3}  # of the CPU's results, relative to the largest number


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU")
    parser.add_argument("--seconds", type=float, default=240.0, help="no measurement starts after this time")
    options = parser.parse_args()
    device, end = resolve_device(options.device), time.monotonic() + options.seconds
    peak = measure_peak(device, 256 if options.tiny else 8192)
    results = {"machine": describe(device), "peak of a product in bfloat16 (TFLOP/s)": peak / 1e12}
    parts = {"checks": check_results, "fit": time_fit, "transform": time_transform, "archive": time_archive}
    parts |= {"steps": time_steps}  # with the slow compilation at the end
    for name, part in parts.items():
        results[name] = []
        rows = part(device, options.tiny, peak)
        while time.monotonic() < end and (row := next(rows, None)):
            results[name].append(row)
            print(name, row, flush=True)
            options.json.write_text(json.dumps(results, indent=1) + "\n")


def make(tiny, name="small-corpus", **parameters):
    """Return an estimator, with a small network if ``tiny``."""
    cpc = make_cpc(name, **parameters)
    return cpc.set_params(encoder__n_filters=8, encoder__z_dim=8, autoregressor__c_dim=8) if tiny else cpc


def describe(device):
    """Describe the device and the versions."""
    about = {"device": platform.processor() or platform.machine(), "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about |= {"device": properties.name, "memory (GB)": properties.total_memory / 1e9}
    return about


def measure(function, device):
    """Return the time of a call in seconds and the peak memory in MB, after a warm-up."""
    for _ in range(WARM_UP):
        function()
    is_gpu = device.type == "cuda"
    if is_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    n_calls, start = 0, time.perf_counter()
    while (time.perf_counter() - start < 1 and is_gpu) or not n_calls:
        for _ in range(10 if is_gpu else 1):  # a GPU is waited for once in ten calls
            function()
            n_calls += 1
        if is_gpu:
            torch.cuda.synchronize(device)
    elapsed = (time.perf_counter() - start) / n_calls
    return elapsed, torch.cuda.max_memory_allocated(device) / 1e6 if is_gpu else None


def measure_peak(device, size):
    """Return the operations per second of a product of matrices in bfloat16."""
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    return 2 * size**3 / measure(lambda: a @ b, device)[0]


def count_waits(function, device):
    """Count how often a call waits for the GPU; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def make_batch(cpc, network, batch_size):
    """Return clips and their numbers of steps."""
    shape = ClipShape.for_network(network)
    generator = torch.Generator().manual_seed(0)
    clips = 0.1 * torch.randn(batch_size, shape.n_samples, generator=generator)
    return clips, torch.full((batch_size,), shape.n_steps)


def check_results(device, tiny, peak):
    """Compare losses and embeddings in float32 with the CPU's."""
    for name in ["small-corpus"] if tiny else CONFIGURATIONS:
        cpc = make(tiny, name, random_state=0, augmentation=None, max_epochs=0, precision="float32", device="cpu")
        torch.manual_seed(0)
        network = build(cpc).eval()
        clips, n_valid = make_batch(cpc, network, 4)
        objective = get_objective(cpc).set_params(n_across=None)  # draws nothing
        losses = []
        for place in (torch.device("cpu"), device):
            with torch.no_grad():
                forecast = network.to(place)(move(clips, place), move(n_valid, place))
                losses.append(float(objective(cpc.n_future)(forecast)[0]))
        sound = clips.numpy()
        embeddings = [cpc.fit(sound).set_params(device=str(place)).transform(sound) for place in ("cpu", device)]
        difference = {
            "loss": abs(losses[1] - losses[0]) / abs(losses[0]),
            "embedding": float(np.abs(embeddings[1] - embeddings[0]).max() / np.abs(embeddings[0]).max()),
        }
        is_equal = all(difference[key] <= MAX_DIFFERENCE[key] for key in difference)
        yield {"configuration": name, "equal": is_equal, **difference}


def time_steps(device, tiny, peak):
    """Time training steps on a batch that is on the device."""
    precision = resolve_precision("auto", device)
    for variant in VARIANTS:
        for name in ["small-corpus"] if tiny else CONFIGURATIONS:
            for batch_size in (4,) if tiny else (32, 128, 512):
                if variant == "compiled" and not tiny and batch_size != 128:
                    continue  # compiling takes longer than all the rest
                backend = None if variant == "as it is" else "eager" if tiny else "inductor"
                row = {"configuration": name, "batch size": batch_size, "variant": variant, "precision": precision}
                try:
                    yield {**row, **time_step(make(tiny, name), backend, batch_size, precision, device, peak)}
                except torch.OutOfMemoryError:
                    yield {**row, "error": "out of memory"}


def time_step(cpc, backend, batch_size, precision, device, peak):
    """Time a training step of a network, with an encoder that a backend has compiled unless it is None."""
    network = build(cpc).to(device).train()
    keys = list(network.state_dict())
    loss, optimizer = get_objective(cpc)(cpc.n_future), torch.optim.Adam(network.parameters(), fused=True)
    batch = [part.to(device) for part in make_batch(cpc, network, batch_size)]
    with FlopCounterMode(display=False) as counter:
        loss(network(*batch))[0].backward()
    if backend is not None:
        network.encoder.compile(backend=backend)

    def step():
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            forecast = network(*batch)
        loss(forecast)[0].backward()
        optimizer.step()

    seconds, memory = measure(step, device)
    return {
        "step (s)": seconds,
        "seconds of sound per second": batch[0].numel() / get_sample_rate(cpc.encoder) / seconds,
        "share of peak": counter.get_total_flops() / seconds / peak,
        "waits for the GPU per step": count_waits(step, device),
        "peak memory (MB)": memory,
        "keeps the names of weights": list(network.state_dict()) == keys,
    }


def keep(samples):
    """Let recordings be "resident" on the device in a block, or every clip be "copied" to it."""
    return mock.patch.object(clip_geometry, "free_memory", return_value=2**40 if samples == "resident" else 0)


def time_fit(device, tiny, peak):
    """Time three epochs of fit over recordings in RAM."""
    for batch_size, samples in product((4,) if tiny else (32, 512), SAMPLES):
        cpc = make(tiny, max_epochs=3, batch_size=batch_size, device=str(device), random_state=0)
        rate = get_sample_rate(cpc.encoder)
        sound = 0.1 * np.random.default_rng(0).standard_normal((8 if tiny else 2048, 4 * rate), np.float32)
        cpc.fit(sound[: 2 * batch_size])  # a warm-up
        with keep(samples):
            times = time_once(partial(cpc.fit, sound), 3 * sound.size / rate, device)
        yield {"batch size": batch_size, "samples": samples, **times}


def time_transform(device, tiny, peak):
    """Time transform of recordings in RAM, for which decoding does not count."""
    for batch_size, samples in product((8,) if tiny else (8, 64, 512), SAMPLES):
        cpc = make(tiny, max_epochs=0, batch_size=batch_size, device=str(device), random_state=0)
        rate = get_sample_rate(cpc.encoder)
        sound = 0.1 * np.random.default_rng(0).standard_normal((8 if tiny else 2048, 4 * rate), np.float32)
        transform = partial(cpc.fit(sound[:4]).transform, sound)
        cpc.transform(sound[:64])
        with keep(samples):
            times = time_once(transform, sound.size / rate, device)
            waits = count_waits(transform, device)
        yield {"batch size": batch_size, "samples": samples, **times, "waits for the GPU": waits}


def time_archive(device, tiny, peak):
    """Time embed_archive over wav files of a minute, decoding included."""
    if find_spec("pyarrow") is None:
        yield {"error": "pyarrow is not installed"}
        return
    with tempfile.TemporaryDirectory() as folder:
        minutes, rate = (1 if tiny else 240), 16000
        noise = 0.1 * np.random.default_rng(0).standard_normal(60 * rate)
        paths = [f"{folder}/{i}.wav" for i in range(minutes)]
        for path in paths:
            soundfile.write(path, noise, rate)
        for n_jobs in (1,) if tiny else (1, 8):
            cpc = make(tiny, max_epochs=0, batch_size=64, device=str(device), n_jobs=n_jobs, random_state=0)
            cpc.fit(paths[:1])
            windows = cut_windows(paths, 5.0)
            target = f"{folder}/embeddings-{n_jobs}"
            embed = time_once(partial(embed_archive, cpc, windows, target), 60 * minutes, device)
            yield {"threads that decode": n_jobs, **embed}


def time_once(function, seconds_of_sound, device):
    """Time one call, which ends with results on the CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    function()
    elapsed = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    return {
        "time (s)": elapsed,
        "seconds of sound per second": seconds_of_sound / elapsed,
        "peak memory (MB)": memory,
    }


if __name__ == "__main__":
    main()
