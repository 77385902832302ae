"""How fast it is, as ratios within one run: machines differ and are noisy, ratios less so.

    make bench                                   # all of it: ten minutes or so on two cores
    python benchmarks/run.py --only front-end    # one part

Every figure is the best of several rounds, in which the rivals take turns. Results go to
benchmarks/results/latest.json, and docs/speed.md is written from them.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sklearn_cpc import AutoencoderReducer, LinearProbe, make_cpc
from sklearn_cpc.autoencoder import Autoencoder
from sklearn_cpc.nn.batches import ClipBatches, ClipShape, TensorBatches
from sklearn_cpc.nn.frontends import LogMel
from sklearn_cpc.nn.network import ENCODERS, InfoNCELoss, build_network, sample_rate_of
from sklearn_cpc.nn.training import resolve_precision, train
from sklearn_cpc.probe import Probe

CPU = torch.device("cpu")
HERE = Path(__file__).parent
CONFIGURATIONS = ("report-conv1d-gru", "report-conv2d-gru", "small-corpus")
# Seconds per step of 8 clips of 4 s of the report's TensorFlow code, model alone, measured elsewhere on 2 cores.
REPORT_STEP = {"report-conv1d-gru": 2.27, "report-conv2d-gru": 1.02}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", default=HERE / "results" / "latest.json")
    parser.add_argument("--page", type=Path, metavar="FILE", help="also write the results as a page")
    options = parser.parse_args()
    results = {"machine": machine()}
    for part in options.only:
        start = time.perf_counter()
        results[part] = PARTS[part](options.rounds)
        print(f"\n{part} ({time.perf_counter() - start:.0f} s)\n{as_table(results[part])}", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.page:
        options.page.write_text(as_page(results))


def machine():
    """What the figures are of."""
    name = next((line.split(":")[1].strip() for line in cpu_info() if line.startswith("model name")), "")
    precision = resolve_precision("auto", CPU)
    return {
        "processor": name or platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
    }


def cpu_info():
    """Lines that describe the processor, where there are some."""
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def best(rounds, **rivals):
    """Shortest time of each function, in seconds; they take turns."""
    times = {name: [] for name in rivals}
    for _ in range(rounds + 1):  # the first is to warm up
        for name, function in rivals.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: min(values[1:]) for name, values in times.items()}


# Training


def bench_training(rounds):
    """A step of training: against one that encodes negatives anew and decodes files, and against GEMM."""
    precision = resolve_precision("auto", CPU)
    peak = gemm_peak(precision)
    rows = []
    for name in CONFIGURATIONS:
        cpc = make_cpc(name).set_params(clip_duration=4.0) if name.startswith("report") else make_cpc(name)
        step, flops, seconds_heard = training_step(cpc, precision)
        rivals = {"ours": step}
        if name.startswith("report"):
            rivals["naive"] = naive_step(cpc, precision)
        times = best(rounds, **rivals)
        rate = flops / times["ours"]
        rows.append(
            {
                "configuration": name,
                "step (s)": times["ours"],
                "audio s per s": seconds_heard / times["ours"],
                "naive / ours": times["naive"] / times["ours"] if "naive" in times else None,
                "report's code, elsewhere / ours": REPORT_STEP[name] / times["ours"]
                if name in REPORT_STEP
                else None,
                "GFLOP/s": rate / 1e9,
                "share of GEMM peak": rate / peak,
            }
        )
    return rows


def gemm_peak(precision):
    """Multiplications and additions per second of a large matrix product."""
    size = 2048
    a, b = torch.randn(2, size, size, dtype=getattr(torch, precision))
    seconds = best(5, gemm=lambda: a @ b)["gemm"]
    return 2 * size**3 / seconds


def training_step(cpc, precision):
    """Build a step of training on a batch; returns it, its floating-point operations and seconds of sound."""
    rate, n_steps = sample_rate_of(cpc.encoder), cpc.n_context + cpc.n_future
    augmentation = None if cpc.augmentation is None else cpc.augmentation(rate)
    n_samples = round(cpc.clip_duration * rate)
    options = n_samples, cpc.n_context, cpc.n_future, cpc.predict_from, cpc.projection, augmentation
    network = build_network(cpc.encoder, cpc.autoregressor, *options).train()
    shape = ClipShape.of(network.encoder, n_samples, n_steps)
    clips = 0.1 * torch.randn(cpc.batch_size, shape.n_samples)
    n_valid = torch.full((cpc.batch_size,), n_steps)
    loss = InfoNCELoss(cpc.n_future, negatives=cpc.negatives, n_across=cpc.n_across, similarity=cpc.similarity)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            forecast = network(clips, n_valid)
        loss(forecast)[0].backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    return step, counter.get_total_flops(), cpc.batch_size * shape.n_samples / rate


def naive_step(cpc, precision):
    """The same maths as the report's code does it: 51 windows per clip encoded, and 8 files of 30 s decoded."""
    rate, n_steps = sample_rate_of(cpc.encoder), cpc.n_context + cpc.n_future
    n_windows = cpc.n_context + cpc.n_future * cpc.batch_size
    network = build_network(cpc.encoder, cpc.autoregressor, round(4 * rate), cpc.n_context, cpc.n_future, "last")
    n_samples = round(4 * rate) // n_steps * n_windows
    encoder = ENCODERS[cpc.encoder]()(n_samples, n_windows)
    folder = tempfile.TemporaryDirectory()
    paths = [Path(folder.name) / f"{i}.wav" for i in range(cpc.batch_size)]
    for path in paths:
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(30 * 22050), 22050)
    parameters = [*encoder.parameters(), *network.autoregressor.parameters(), *network.predictor.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-5)

    def step(folder=folder):  # which lives as long as the step
        clips = [librosa.load(path, sr=rate)[0][:n_samples] for path in paths]
        clips = torch.from_numpy(np.stack([np.resize(clip, n_samples) for clip in clips]))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            z = encoder(clips)  # (batch, n_windows, z_dim)
            c = network.autoregressor(z[:, : cpc.n_context])[:, -1]
            predictions = network.predictor(c).unflatten(-1, (cpc.n_future, -1)).float()
        candidates = z[:, cpc.n_context :].float().unflatten(1, (cpc.batch_size, cpc.n_future))
        scores = torch.einsum("bkd,bnkd->bkn", predictions, candidates)
        nn.functional.cross_entropy(
            scores.flatten(0, 1), torch.zeros(scores[..., 0].numel(), dtype=int)
        ).backward()
        optimizer.step()

    return step


def bench_loop(rounds):
    """What skorch adds to every batch: an epoch of fit against a bare loop over the same batches."""
    cpc = make_cpc("small-corpus", augmentation=None)
    rate, n_steps = 16000, cpc.n_context + cpc.n_future
    random = np.random.RandomState(0)
    recordings = list(0.1 * random.standard_normal((256, rate)).astype(np.float32))
    precision = resolve_precision("auto", CPU)
    network = build_network(cpc.encoder, cpc.autoregressor, rate, cpc.n_context, cpc.n_future, "all").train()
    shape = ClipShape.of(network.encoder, rate, n_steps)
    batches = ClipBatches(recordings, shape, cpc.batch_size, random)
    options = {"negatives": "mixed", "n_across": 64, "similarity": "cosine"}
    loss = InfoNCELoss(cpc.n_future, **options)

    def bare():
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)
        for inputs, _ in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                forecast = network(**inputs)
            loss(forecast)[0].backward()
            optimizer.step()

    def ours():
        train(network, batches, loss, max_epochs=1, lr=1e-5, precision=precision)

    times = best(rounds, bare=bare, ours=ours)
    return [{"epoch of 256 clips": "skorch", "s": times["ours"], "overhead": times["ours"] / times["bare"] - 1}]


# Front end


def bench_front_end(rounds):
    """Log-mel spectrograms of a batch, against librosa's one by one."""
    rows = []
    for title, rate, n_fft, hop, n_mels in [
        ("LogMelEncoder", 16000, 512, 160, 64),
        ("Conv2dEncoder", 22050, 2048, 46, 64),
    ]:
        clips = 0.1 * np.random.default_rng(0).standard_normal((8, 4 * rate)).astype(np.float32)
        module, tensor = LogMel(rate, n_fft, hop, n_mels), torch.from_numpy(clips)
        how = {"sr": rate, "n_fft": n_fft, "hop_length": hop, "n_mels": n_mels, "pad_mode": "constant"}

        def ours(module=module, tensor=tensor):
            with torch.inference_mode():
                return module(tensor).numpy()

        def theirs(clips=clips, how=how):
            power = [librosa.feature.melspectrogram(y=clip, **how) for clip in clips]
            return np.stack([librosa.power_to_db(one, top_db=None) for one in power])

        times = best(rounds, ours=ours, librosa=theirs)
        rows.append(
            {
                "frames of": title,
                "ms per s of sound": 1000 * times["ours"] / 32,
                "librosa / ours": times["librosa"] / times["ours"],
                "largest difference (dB)": float(np.abs(ours() - theirs()).max()),
            }
        )
    return rows


# Reducer and probe


def bench_estimators(rounds, n_rows=90_000, n_features=512):
    """The report's 90,000 embeddings through autoencoder and probe: an epoch against a bare loop."""
    random = np.random.default_rng(0)
    X = random.standard_normal((n_rows, n_features)).astype(np.float32)
    y = random.integers(0, 10, n_rows)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    networks = {
        "AutoencoderReducer": (
            Autoencoder(n_features, (256, 256, 128, 64), 32, (64, 128, 256), 0.1),
            rows,
            nn.MSELoss(),
        ),
        "LinearProbe": (Probe(n_features, 10, 0.1), labels, nn.CrossEntropyLoss()),
    }
    estimators = {
        "AutoencoderReducer": AutoencoderReducer(max_epochs=1, random_state=0, device="cpu"),
        "LinearProbe": LinearProbe(max_epochs=1, random_state=0, device="cpu"),
    }
    results = []
    for name, (network, targets, criterion) in networks.items():

        def bare(network=network, targets=targets, criterion=criterion):
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
            for inputs, wanted in TensorBatches(rows, targets, 32):
                optimizer.zero_grad()
                criterion(network(inputs), wanted).backward()
                optimizer.step()

        times = best(max(1, rounds - 2), bare=bare, ours=lambda name=name: estimators[name].fit(X, y))
        results.append(
            {"estimator": name, "epoch (s)": times["ours"], "overhead": times["ours"] / times["bare"] - 1}
        )
    return results


# Embedding an archive


def bench_transform(rounds, n_files=60):
    """Embed files of 5 s: against decoding alone, and against one file at a time."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.flac" for i in range(n_files)]
        for path in paths:
            soundfile.write(path, 0.1 * random.standard_normal(5 * 44100), 44100)
        cpc = make_cpc(max_epochs=0, random_state=0).fit(paths[:2])

        def decode():
            for path in paths:
                librosa.load(path, sr=16000)

        times = best(
            rounds,
            together=lambda: cpc.transform(paths),
            alone=lambda: [cpc.transform([path]) for path in paths],
            decoding=decode,
        )
    return [
        {
            "files of 5 s": n_files,
            "s of sound per s": 5 * n_files / times["together"],
            "one at a time / together": times["alone"] / times["together"],
            "together / decoding with librosa": times["together"] / times["decoding"],
        }
    ]


PARTS = {
    "front-end": bench_front_end,
    "training": bench_training,
    "loop": bench_loop,
    "estimators": bench_estimators,
    "transform": bench_transform,
}


# Pages


def as_table(rows):
    """Markdown."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(as_text, row.values()))} |" for row in rows)])


def as_text(value):
    """Three digits of a number, nothing for None."""
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def as_page(results):
    """Write a page of the guide."""
    about = results["machine"]
    parts = [
        "# Speed",
        f"Measured by `make bench` on {about['processor']}, {about['threads']} thread(s), torch {about['torch']}, "
        f"{about['precision']} in training. Ratios within one run, of the best of several rounds.",
    ]
    for part, rows in results.items():
        if part != "machine":
            parts += [f"## {PARTS[part].__doc__.split(':')[0].rstrip('.')}", PARTS[part].__doc__, as_table(rows)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
