"""Fuzz the reading of audio: every file must give valid samples or an error that names it.

    python tests/fuzz_audio.py --seconds 60 --seed 0 --keep findings

Write recordings in every format that soundfile supports, add real ones from the folder in the environment
variable SKLEARN_CPC_DATA, damage them at random, and read them in processes with limited memory and time. A
crash, a hang, an unexpected exception, invalid samples and excessive memory use are findings. Findings are
listed, their files are copied to the folder --keep, and the exit status is 1. The same seed gives the same
inputs.
"""

import contextlib
import faulthandler
import json
import math
import multiprocessing
import os
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from multiprocessing.connection import wait
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from faults import Finding, make_parser, parse_options, print_figures

from sklearn_cpc import MFCCTransformer, sample_clips
from sklearn_cpc.audio.reading import UnreadableAudioError, read_audio
from sklearn_cpc.audio.store import AudioSource

RATE = 8000  # Hz; all files are read at this rate
MAX_HOURS = 1  # duration limit of recordings
MAX_ADDRESS_SPACE = 1 << 30  # bytes that a process may allocate after its start
MAX_FIXED_BYTES = 64 << 20  # memory that reading may take, besides a multiple of the size of the samples:
MAX_RELATIVE_BYTES = 4
TIMEOUT = 30  # seconds per file
CONTEXT = multiprocessing.get_context("fork")  # starts in milliseconds, with all libraries imported


# Intact recordings


def intact_files(folder, data=None):
    """Contents of recordings by label: the container and a description."""
    files = {}
    for container in sorted(soundfile.available_formats()):
        for subtype in sorted(soundfile.available_subtypes(container)):
            for n_channels in (1, 2):
                path = Path(folder, f"intact.{container.lower()}")
                samples = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, n_channels))
                try:
                    write(path, samples, format=container, subtype=subtype)
                except soundfile.LibsndfileError:  # soundfile lists some that it cannot write
                    continue
                if container != "RAW":  # no header
                    files[container, f"{subtype} {n_channels}"] = path.read_bytes()
    return files | real_files(data)


def write(path, samples, **options):
    """Write a file with as many text fields as its format supports."""
    with soundfile.SoundFile(path, "w", 16000, samples.shape[1], **options) as sound:
        for text in ("title", "artist", "comment", "date", "software"):
            with contextlib.suppress(soundfile.LibsndfileError):
                setattr(sound, text, text * 5)
        sound.write(samples)


def real_files(data, n_per_kind=5):
    """Contents of the smallest real recordings, by label."""
    files = {}
    for container, pattern in (("OGG", "esc10/*/*.ogg"), ("FLAC", "formats/*.flac"), ("WAV", "fsdd/*/*.wav")):
        paths = sorted(Path(data).glob(pattern), key=lambda path: path.stat().st_size) if data else []
        for path in paths[:n_per_kind]:
            files[container, path.name] = path.read_bytes()
    return files


# Damage: functions of a random generator, the bytes of a file and the bytes of another one

EXTREMES = (0, 1, 2, -1, 127, 128, 192, 255, 256, 1024, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
REALS = (0.0, -1.0, 1e-300, 1e300, 1e9, math.inf, math.nan)
FIELDS = {  # positions of important numbers, relative to a tag: (offset, size), in bytes
    b"RIFF": [(4, 4)],
    b"RF64": [(4, 4)],
    b"ds64": [(4, 4), (8, 8), (16, 8), (24, 8)],
    b"fmt ": [(4, 4), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2), (22, 2)],
    b"fact": [(4, 4), (8, 4)],
    b"LIST": [(4, 4)],
    b"INFO": [(8, 4)],
    b"PEAK": [(4, 4)],
    b"NAME": [(4, 4)],
    b"ANNO": [(4, 4)],
    b"info": [(4, 8), (12, 4)],
    b"data": [(4, 4), (4, 8)],
    b"FORM": [(4, 4)],
    b"COMM": [(4, 4), (8, 2), (10, 4), (14, 2), (16, 2), (18, 8)],
    b"SSND": [(4, 4), (8, 4), (12, 4)],
    b"BODY": [(4, 4)],
    b"VHDR": [(4, 4), (8, 4), (20, 2)],
    b".snd": [(4, 4), (8, 4), (12, 4), (16, 4), (20, 4)],
    b"caff": [(4, 2), (6, 2)],
    b"desc": [(4, 8), (12, 8), (20, 4), (24, 4), (28, 4), (32, 4), (36, 4), (40, 4)],
    b"pakt": [(4, 8), (12, 8), (20, 8), (28, 4), (32, 4)],
    b"kuki": [(4, 8), (12, 4), (20, 4), (24, 4)],
    b"fLaC": [(5, 2), (8, 2), (10, 2), (12, 2), (15, 2), (18, 4), (21, 1), (22, 4)],
    b"OggS": [(4, 1), (5, 1), (6, 8), (14, 4), (18, 4), (22, 4), (26, 1)],
    b"\x01vorbis": [(7, 4), (11, 1), (12, 4), (16, 4), (28, 1)],
    b"\x05vorbis": [(7, 1), (11, 2), (13, 2)],
    b"OpusHead": [(8, 1), (9, 1), (10, 2), (12, 4), (16, 2), (18, 1)],
    b"Xing": [(4, 4), (8, 4), (12, 4)],
    b"Info": [(4, 4), (8, 4), (12, 4)],
    b"ID3": [(3, 1), (5, 1), (6, 4)],
    b"2BIT": [(12, 2), (14, 2), (22, 4), (26, 4), (30, 4), (34, 4)],
    b"Creative Voice File": [(20, 2), (26, 1), (27, 3)],
    b"MATLAB 5.0": [(126, 2), (128, 4), (132, 4), (144, 4), (148, 4)],
}
CHUNKS = b"""LIST INFO adtl bext cart cue  smpl acid inst strc PEAK id3  DISP PAD  junk fact levl labl exif ICMT
    INAM MARK INST COMT APPL NAME AUTH ANNO (c)  FVER AESD basc chan info strg uuid free peak data SSND""".split()
CHUNKS = [chunk.ljust(4) for chunk in CHUNKS]
MAGICS = [
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"riff",
    b"FORM",
    b".snd",
    b"caff",
    b"fLaC",
    b"OggS",
    b"ID3\4",
    b"\xff\xfb\x90\x64",
]
ENDINGS = [
    *soundfile.available_formats(),
    "aif",
    "aifc",
    "snd",
    "sf",
    "vox",
    "gsm",
    "iff",
    "dat",
    "txt",
    "",
    "WAV",
]


HEAD_SIZES = (64, 512, 1 << 30)  # bytes at the start of a file to damage, mostly its header


def put(data, start, new):
    """Overwrite bytes, without making the file longer."""
    new = new[: max(0, len(data) - start)]
    return data[:start] + new + data[start + len(new) :]


def draw_position(random, data, head_size=None):
    """Draw a position in the first bytes of a file, or anywhere."""
    return random.randrange(max(1, min(len(data), head_size or len(data))))


def draw_extreme(random, size):
    """Draw an extreme number, as bytes."""
    order = random.choice("<>")
    if size == 8 and random.random() < 0.4:
        return struct.pack(order + "d", random.choice(REALS))
    value = random.choice(EXTREMES) % (1 << 8 * size)
    return value.to_bytes(size, "little" if order == "<" else "big")


def flip_bits(random, data, other):
    for _ in range(random.randint(1, 8)):
        at = draw_position(random, data, random.choice(HEAD_SIZES))
        data = put(data, at, bytes([(data[at] if at < len(data) else 0) ^ 1 << random.randrange(8)]))
    return data


def overwrite(random, data, other):
    return put(
        data, draw_position(random, data, random.choice(HEAD_SIZES)), random.randbytes(random.randint(1, 8))
    )


def blank(random, data, other):
    size = random.randint(1, max(1, len(data) // 2))
    return put(data, draw_position(random, data), random.choice([b"\0", b"\xff"]) * size)


def truncate(random, data, other):
    return data[: draw_position(random, data, random.choice(HEAD_SIZES))]


def cut_out(random, data, other):
    start = draw_position(random, data)
    return data[:start] + data[start + random.randint(1, max(1, len(data) // 2)) :]


def duplicate(random, data, other):
    start = draw_position(random, data)
    stop = start + random.randint(1, max(1, len(data) - start))
    return data[:stop] + data[start:stop] * random.randint(1, 3) + data[stop:]


def insert(random, data, other):
    at = draw_position(random, data, random.choice(HEAD_SIZES))
    return data[:at] + random.randbytes(random.randint(1, 300)) + data[at:]


def splice(random, data, other):
    return data[: draw_position(random, data)] + other[draw_position(random, other) :]


def set_extreme(random, data, other):
    return put(data, draw_position(random, data, 256), draw_extreme(random, random.choice([1, 2, 4, 8])))


def set_field(random, data, other):
    found = [tag for tag in FIELDS if tag in data]
    if not found:
        return set_extreme(random, data, other)
    tag = random.choice(found)
    at = data.find(tag, draw_position(random, data) if random.random() < 0.3 else 0)
    offset, size = random.choice(FIELDS[tag])
    return put(data, max(at, data.find(tag)) + offset, draw_extreme(random, size))


def insert_chunk(random, data, other):
    body = draw_extreme(random, 4) + random.randbytes(4 * random.randrange(20))
    at = random.choice([12, 12, 20, 36, 4, draw_position(random, data, 512), len(data)])
    return data[:at] + random.choice(CHUNKS) + body + data[at:]


def set_magic(random, data, other):
    return put(data, 0, random.choice(MAGICS))


def add_tag(random, data, other):
    size = random.randrange(300)
    stated = draw_extreme(random, 4) if random.random() < 0.5 else bytes([0, 0, size >> 7, size & 0x7F])
    return b"ID3\4\0\0" + stated + bytes(size) + data


def join(random, data, other):
    return data + random.choice([b"", bytes(300), b"TAG" + bytes(125)]) + random.choice([data, other])


def blank_end(random, data, other):
    return data[: draw_position(random, data)].ljust(len(data), b"\0")


def state_less(random, data, other):
    """Lower a number of the header that may be the size of the file or of its sound, or its length."""
    fields = [(at, size, order) for at in range(4, 300) for size in (3, 4, 8) for order in ("little", "big")]
    random.shuffle(fields)
    for at, size, order in fields:
        value = int.from_bytes(data[at : at + size], order)
        if 500 < value <= 4 * len(data):
            return put(data, at, (value * random.randrange(4) // 4).to_bytes(size, order))
    return data


def remove_mp3_length(random, data, other):
    """Remove the first frame, which states the length of an mp3 file."""
    return data[max(0, data.find(data[:2], 100)) :]


def empty(random, data, other):
    return b""


DAMAGE = {  # with relative frequencies
    flip_bits: 3,
    overwrite: 3,
    blank: 1,
    truncate: 2,
    cut_out: 1,
    duplicate: 1,
    insert: 2,
    splice: 1,
    set_extreme: 4,
    set_field: 8,
    insert_chunk: 1,
    set_magic: 1,
    add_tag: 1,
    join: 1,
    blank_end: 0.5,
    state_less: 2,
    remove_mp3_length: 0.5,
    empty: 0.05,
}


def damage_file(random, data, other):
    """Damage a file one to three times; returns its bytes and the names of the damage."""
    done = random.choices(list(DAMAGE), list(DAMAGE.values()), k=random.randint(1, 3))
    for damage in done:
        data = damage(random, data, other)
    if data.startswith(b"OggS") and random.random() < 0.6:  # otherwise wrong checksums hide all other damage
        return fix_checksums(data), [*(damage.__name__ for damage in done), "fix_checksums"]
    return data, [damage.__name__ for damage in done]


def make_crc_table():
    """Table for the CRC of ogg pages, most significant bit first."""
    table = np.arange(256, dtype=np.uint32) << 24
    for _ in range(8):
        table = (table << 1) ^ np.where(table >> 31, np.uint32(0x04C11DB7), np.uint32(0))
    return table.tolist()


CRC_TABLE = make_crc_table()


def fix_checksums(data):
    """Correct the checksums of all pages of an ogg file."""
    start = data.find(b"OggS")
    while 0 <= start <= len(data) - 27:
        sizes = data[start + 27 : start + 27 + data[start + 26]]
        stop = start + 27 + len(sizes) + sum(sizes)
        crc = 0
        for byte in data[start : start + 22] + bytes(4) + data[start + 26 : stop]:
            crc = (crc << 8 & 0xFFFFFFFF) ^ CRC_TABLE[crc >> 24 ^ byte]
        data = put(data, start + 22, struct.pack("<I", crc))
        start = data.find(b"OggS", stop)
    return data


# Reading in a separate process


def read_file(path):
    """Read a file; returns "read" and the number of samples, or "refused" and the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", f".*{re.escape(path)}.* (are|is) read", UserWarning)
        warnings.filterwarnings("ignore", "1 of 1 recordings (are digital silence|lose more than)", UserWarning)
        try:
            (samples,) = AudioSource(MFCCTransformer(), [path], RATE, reset=True).read().samples
        except UnreadableAudioError as error:
            check_duration(path)
            if f"\n  {path}: " not in str(error):
                raise Finding(f"does not name the file: {error}") from error
            return "refused", error.reasons[path]
        check(samples, path)
        check_duration(path)
    return "read", len(samples)


def check(samples, path):
    """Check that samples are a valid recording."""
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 1:
        raise Finding(f"not an array of float32 samples: {samples!r}")
    if not 0 < len(samples) <= MAX_HOURS * 3600 * RATE or not np.isfinite(samples).all():
        raise Finding(f"{len(samples)} samples, {np.isfinite(samples).sum()} of them finite")
    if len(samples) < 1 << 20 and not np.array_equal(read_audio(path, RATE), samples):
        raise Finding("different samples when read again")


def check_duration(path):
    """Read only the duration, which may be refused as well."""
    try:
        (clip,), _ = sample_clips([path], 1)
    except UnreadableAudioError:
        return
    if not 0 <= clip.onset <= MAX_HOURS * 3600:
        raise Finding(f"a clip that begins at {clip.onset} s")


def judge_file(path):
    """Return the outcome of a file, its detail, and the seconds and bytes that reading took."""
    reset_peak()
    before, start = memory("VmRSS"), time.perf_counter()
    try:
        outcome, detail = read_file(path)
    except Finding as finding:
        outcome, detail = "bad result", str(finding)
    except BaseException:
        outcome, detail = "exception", traceback.format_exc()
    seconds, grown = time.perf_counter() - start, max(0, memory("VmHWM") - before)
    if outcome == "refused" and "memory" in detail:
        outcome = "memory"
    if outcome == "read" and grown > MAX_FIXED_BYTES + MAX_RELATIVE_BYTES * 4 * detail:
        outcome, detail = "memory", f"{grown >> 20} MiB for {detail} samples"
    return outcome, detail, seconds, grown


def memory(name):
    """Return a memory size of this process in bytes, on Linux; 0 elsewhere."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.split(f"{name}:")[1].split()[0]) << 10


def reset_peak():
    """Reset the peak memory (VmHWM) of this process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def serve(pipe, error_log):
    """Judge files whose names are sent through a pipe, until it is closed."""
    with open(error_log, "w") as file:
        for stream in (1, 2):  # libraries write to both
            os.dup2(file.fileno(), stream)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory("VmSize"):
        limit = memory("VmSize") + MAX_ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        pipe.send(judge_file(path))


def warm_up(folder):
    """Trigger lazy imports, so that their memory and time are not attributed to a file."""
    path = Path(folder, "intact.wav")
    soundfile.write(path, np.zeros(2000), 2 * RATE)
    judge_file(str(path))


class Reader:
    """A process that reads one file at a time and may crash."""

    def __init__(self, error_log):
        self.error_log = error_log
        self.pipe, child_pipe = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(child_pipe, error_log), daemon=True)
        self.process.start()
        child_pipe.close()
        self.job = None

    def begin(self, job):
        self.job, self.start = job, time.perf_counter()
        self.pipe.send(job["path"])

    def outcome(self):
        """Return the outcome of the file, or None if it is not known yet."""
        seconds = time.perf_counter() - self.start
        if not self.pipe.poll():
            return ("hang", f"still not read after {seconds:.0f} s", seconds, 0) if seconds > TIMEOUT else None
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            log = Path(self.error_log).read_text(errors="replace")[-2000:]
            return "crash", f"exit status {self.process.exitcode}\n{log}", seconds, 0

    def stop(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


# The run


def jobs(files, folder, seed, first=0):
    """Write damaged files; yields a description of each."""
    labels = list(files)
    containers = sorted({container for container, _ in labels})
    number = first
    while True:
        random = Random(f"{seed} {number}")
        container = containers[number % len(containers)]
        if random.random() < 0.5:  # common formats
            container = random.choice(("WAV", "FLAC", "OGG", "MP3"))
        same_container = [label for label in labels if label[0] == container]
        label = random.choice(same_container)
        other = files[random.choice(labels)]
        data, done = damage_file(random, files[label], other)
        ending = container.lower() if random.random() < 0.7 else random.choice(ENDINGS)
        path = Path(folder, f"{number}.{ending}")
        path.write_bytes(data)
        yield {"path": str(path), "container": container, "file": label[1], "damage": done, "size": len(data)}
        number += 1


def fuzz(files, folder, seed, seconds=math.inf, count=math.inf, n_processes=2):
    """Read damaged files until a time or number is reached; yields their descriptions and outcomes."""
    queue, start, n_begun = jobs(files, folder, seed), time.perf_counter(), 0
    readers = [Reader(f"{folder}/stderr{i}") for i in range(n_processes)]
    try:
        while True:
            for reader in readers:
                if reader.job is None and n_begun < count and time.perf_counter() - start < seconds:
                    reader.begin(next(queue))
                    n_begun += 1
            busy = [reader for reader in readers if reader.job]
            if not busy:
                return
            wait([reader.pipe for reader in busy], timeout=1)
            for reader in busy:
                if (outcome := reader.outcome()) is not None:
                    yield {
                        **reader.job,
                        **dict(zip(("outcome", "detail", "seconds", "grown"), outcome, strict=True)),
                    }
                    os.remove(reader.job["path"])
                    reader.job = None
                    if outcome[0] in ("hang", "crash"):
                        reader.stop()
                        readers[readers.index(reader)] = Reader(reader.error_log)
    finally:
        for reader in readers:
            reader.stop()


GOOD = ("read", "refused")


def table(results):
    """Make a table of outcomes by container, with the longest time and the largest memory use."""
    counts, worst = defaultdict(Counter), defaultdict(lambda: (0, 0))
    for result in results:
        for row in (result["container"], "all"):
            counts[row][result["outcome"]] += 1
            seconds, grown = worst[row]
            worst[row] = max(seconds, result["seconds"]), max(grown, result["grown"])
    bad = sorted(set(counts["all"]) - set(GOOD))
    lines = [f"| container | inputs | {' | '.join([*GOOD, *bad, 'slowest, s', 'most memory, MiB'])} |"]
    lines.append("|---" * lines[0].count(" | ") + "|---|")
    for row in [*sorted(set(counts) - {"all"}), "all"]:
        cells = [row, sum(counts[row].values()), *(counts[row][outcome] for outcome in (*GOOD, *bad))]
        lines.append("| " + " | ".join(map(str, cells)) + f" | {worst[row][0]:.2f} | {worst[row][1] >> 20} |")
    return "\n".join(lines)


def save_finding(result, folder):
    """Copy the file of a finding, with its description."""
    os.makedirs(folder, exist_ok=True)
    copy = Path(folder, os.path.basename(result["path"]))
    shutil.copy(result["path"], copy)
    Path(f"{copy}.json").write_text(json.dumps({**result, "path": str(copy)}, indent=1))


def main(arguments=None):
    parser = make_parser(__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="number of reading processes")
    parser.add_argument("--keep", help="folder for files of findings")
    options = parse_options(parser, arguments)
    os.environ["SKLEARN_CPC_MAX_HOURS"] = str(MAX_HOURS)
    start, results, findings = time.perf_counter(), [], []
    with tempfile.TemporaryDirectory() as folder:
        files = intact_files(folder, os.environ.get("SKLEARN_CPC_DATA"))
        warm_up(folder)
        for result in fuzz(files, folder, options.seed, options.seconds, options.count, options.jobs):
            results.append(result)
            if result["outcome"] not in GOOD:
                findings.append(result)
                if options.keep:
                    save_finding(result, options.keep)
    seconds = time.perf_counter() - start
    print(table(results))
    print_figures(len(results), findings, seconds, options.seed)
    for finding in findings[:20]:
        print("\n{outcome}: {path}, {file}, {damage}\n{detail}".format_map(finding))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
