"""Damage what the package has stored, use it, and compare the results with those of what is intact.

    python tests/fault_damage.py --seconds 60 --seed 0

Stored are a model, a checkpoint, an entry of memory=, and the dataset of an archive with its hidden copy. Bits,
blocks, sizes and whole contents change. A damaged file must be refused with an error that names it or be made
again; results that differ are findings.
"""

import functools
import os
import shutil
import sys
import warnings

import numpy as np
from corpus import rising_tones, small_cpc, write_samples
from faults import Finding, check_same, main
from fuzz_audio import blank, blank_end, cut_out, duplicate, empty, flip_bits, insert, join, splice, truncate

from sklearn_cpc import load
from sklearn_cpc.archive import cut_windows, embed_archive, embedding, read_archive


def flip_bit(random, data, other):
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def swap_blocks(random, data, other):
    size = random.randint(1, len(data) // 2)
    one = random.randint(0, len(data) - 2 * size)
    two = random.randint(one + size, len(data) - size)
    return (
        data[:one] + data[two : two + size] + data[one + size : two] + data[one : one + size] + data[two + size :]
    )


def replace_block(random, data, other):
    """Keep a block of what the file was before."""
    at = random.randrange(min(len(data), len(other)))
    size = random.randint(1, len(data) - at)
    return data[:at] + other[at : at + size] + data[at + size :]


DAMAGE = [flip_bit, swap_blocks, replace_block, flip_bits, blank, blank_end, truncate, cut_out, duplicate, insert]
DAMAGE += [splice, join, empty]


def prepare(folder):
    """Return trials that damage what is stored, each with functions that store it and use it."""
    paths = write_samples(folder, rising_tones(8))
    windows = cut_windows(paths, 0.15)
    one, other = (small_cpc(max_epochs=0, random_state=seed).fit(paths) for seed in range(2))

    def store_models(folder):
        for cpc, name in ((one, "model"), (other, "other")):
            cpc.save(folder / name)

    def use_model(folder):
        return load(folder / "model").transform(paths)

    def store_checkpoints(folder):
        for seed, name in enumerate(("checkpoint", "other")):
            small_cpc(max_epochs=2, checkpoint=folder / name, random_state=seed).fit(paths)

    def use_checkpoint(folder):
        trained = small_cpc(max_epochs=2, checkpoint=folder / "checkpoint").fit(paths)
        return [values.numpy() for values in trained.network_.state_dict().values()]

    def use_memory(folder):
        return one.set_params(memory=folder).transform(paths)

    def use_archive(folder):
        embedding.PART_SECONDS = 0.8  # two recordings
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* were written with")
            embed_archive(one, windows, folder / "data")
        table, embeddings = read_archive(folder / "data")
        return [table["path"].tolist(), table["onset"].to_numpy(), np.array(embeddings)]

    kinds = {
        "model": (store_models, use_model, "model"),
        "checkpoint": (store_checkpoints, use_checkpoint, "checkpoint/*/*.safetensors"),
        "entry of memory=": (use_memory, use_memory, "*/*.f32"),
        "part of an archive": (use_archive, use_archive, "data/*.parquet"),
        "copy of an archive": (use_archive, use_archive, ".data-*.npy"),
    }
    trials = {}
    for name, (store, use, pattern) in kinds.items():
        intact = folder / name
        intact.mkdir()
        store(intact)
        trials[name] = functools.partial(damage, intact, use, pattern, use(intact))
    return trials


def damage(intact, use, pattern, expected, folder, random):
    """Damage one file, and use what is stored."""
    shutil.copytree(intact, folder, dirs_exist_ok=True)
    file = random.choice(sorted(folder.glob(pattern)))
    others = [path.read_bytes() for path in folder.rglob(f"*{file.suffix}") if path.is_file() and path != file]
    data = file.read_bytes()
    file.write_bytes(random.choice(DAMAGE)(random, data, random.choice(others or [data])))
    try:
        check_same(use(folder), expected)
    except ValueError as error:
        if file.name not in str(error) and os.fspath(file.parent) not in str(error):
            raise Finding(f"the error does not name the file: {error}") from error
        return "refused"
    return "equal"


if __name__ == "__main__":
    sys.exit(main(prepare, __doc__))
