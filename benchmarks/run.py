"""Measure speed and memory, as ratios within one run, because machines differ and are noisy.

    make bench                                   # everything: about twenty minutes on two cores
    python benchmarks/run.py --only front-end    # one part

Results go to benchmarks/results/latest.json. Parts that are not measured keep their old results. With --page, the
results are also written to docs/speed.md.
"""

import argparse
import inspect
import json
import os
import platform
import time
from pathlib import Path

import matplotlib as mpl
import torch
from allocator import bench_allocator
from archive import bench_archive, bench_memory, bench_transform
from estimators import bench_estimators
from front_end import bench_front_end
from page import as_page, as_table, draw_archives
from processes import bench_distributed
from training import bench_loop, bench_steps

from sklearn_cpc.training.device import resolve_precision

HERE = Path(__file__).parent
PARTS = {
    "steps": ("Training", bench_steps),
    "loop": ("Overhead of the training loop", bench_loop),
    "distributed": ("Several processes", bench_distributed),
    "memory": ("Memory during training", bench_memory),
    "allocator": ("Keeping freed memory", bench_allocator),
    "front-end": ("Spectrograms", bench_front_end),
    "transform": ("Embedding", bench_transform),
    "archive": ("Archives", bench_archive),
    "estimators": ("Reducer and probe", bench_estimators),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", default=HERE / "results" / "latest.json")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write all results as a page, with a figure")
    options = parser.parse_args()
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    results["machine"] = describe_machine()
    for file in filter(None, (options.json, options.page)):
        file.parent.mkdir(parents=True, exist_ok=True)
    for part in options.only:
        start = time.perf_counter()
        results[part] = list(PARTS[part][1](options.rounds))
        print(f"\n{part} ({time.perf_counter() - start:.0f} s)\n{as_table(results[part])}", flush=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.page:
        write_page(results, options.page)


def write_page(results, page):
    """Write a page, and its figure into the images folder beside it."""
    figure = None
    if "archive" in results:
        mpl.use("Agg")
        figure = page.parent / "images" / "speed-archives.png"
        figure.parent.mkdir(exist_ok=True)
        draw_archives(results["archive"], figure)
        figure = figure.relative_to(page.parent)
    titles = {part: title for part, (title, _) in PARTS.items()}
    about = {part: inspect.getdoc(function) for part, (_, function) in PARTS.items()}
    page.write_text(as_page(results, titles, about, figure))


def describe_machine():
    """Describe the machine and the settings of the run."""
    return {
        "processor": f"{os.cpu_count()} cores of {processor_name()}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__.split("+")[0],
        "precision": resolve_precision("auto", torch.device("cpu")),
    }


def processor_name():
    """Return the name of the processor, as far as the system knows it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.describe_machine()


if __name__ == "__main__":
    main()
