"""The cache of decoded recordings survives damage, full disks and killed processes."""

import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import time
import zlib
from pathlib import Path
from random import Random

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sounds import RATE, noise, read_files, write

from sklearn_cpc import MFCCTransformer
from sklearn_cpc.audio import cache
from sklearn_cpc.audio.reading import decode, read_audio

posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and named pipes")


@pytest.fixture
def paths(tmp_path):
    """Four recordings of 1000 to 1300 samples."""
    return [write(tmp_path / f"{i}.wav", noise(1000 + 100 * i, seed=i)) for i in range(4)]


@pytest.fixture
def memory(tmp_path):
    """A directory that does not exist yet."""
    return tmp_path / "memory"


@pytest.fixture
def decoded(monkeypatch):
    """Paths that have been decoded, in order."""
    calls = []

    def recording(read):
        def record(path, sample_rate, **options):
            calls.append(path)
            return read(path, sample_rate, **options)

        return record

    monkeypatch.setattr(cache, "decode", recording(decode))
    monkeypatch.setattr(cache, "read_audio", recording(read_audio))
    return calls


@pytest.fixture
def unprivileged():
    """Recordings and a cache directory of a user without the rights of the superuser."""
    user, nobody = os.geteuid(), 65534
    folder = tempfile.mkdtemp()
    paths = [write(f"{folder}/{i}.wav", noise(1000 + 100 * i, seed=i)) for i in range(4)]
    memory = Path(folder, "memory")
    memory.mkdir()
    if user == 0:
        os.chmod(folder, 0o755)
        os.chown(memory, nobody, nobody)
        os.seteuid(nobody)
    yield paths, memory
    os.seteuid(user)
    memory.chmod(0o755)
    shutil.rmtree(folder)


def entries(memory):
    return sorted(Path(memory).rglob("*.f32"))


def leftovers(memory):
    """What lies beside the entries."""
    names = os.listdir(memory / "sklearn_cpc")
    return [name for name in names if not name.endswith(".f32") and name != ".gitignore"]


def replace(file, content):
    """Replace a file by a new one with this content."""
    file.unlink()
    file.write_bytes(content)


def assert_read(paths, memory, n_decoded=None, decoded=None):
    """Check that the samples are those of the files, and how many files are decoded."""
    before = len(decoded or ())
    samples, reasons = read_files(paths, RATE, memory=memory)
    assert reasons == {}
    for path in paths:
        assert_array_equal(samples[path], read_audio(path, RATE))
    if decoded is not None:
        assert len(decoded) - before == n_decoded
    return samples


# Entries


def test_entry_holds_only_samples_and_checksum(paths, memory):
    assert_read(paths, memory)
    sizes = [4 * 1000 + 400 * i + 4 for i in range(4)]
    assert sorted(file.stat().st_size for file in entries(memory)) == sizes
    assert leftovers(memory) == []
    assert (memory / "sklearn_cpc" / ".gitignore").read_text() == "*\n"


@posix
@pytest.mark.parametrize(("opened", "expected"), [(None, 0o600), (0o750, 0o640), (0o777, 0o644)])
def test_entries_are_private_unless_their_folder_is_opened(paths, memory, opened, expected):
    mask = os.umask(0o022)
    try:
        assert_read(paths[:1], memory)
        assert (memory / "sklearn_cpc").stat().st_mode & 0o777 == 0o700
        if opened:
            (memory / "sklearn_cpc").chmod(opened)
        entries(memory)[0].unlink()
        assert_read(paths, memory)
    finally:
        os.umask(mask)
    assert {file.stat().st_mode & 0o777 for file in entries(memory)} == {expected}


def damaged_versions(random, content):
    """Damaged versions of an entry, by name."""
    at, bit = random.randrange(len(content)), 1 << random.randrange(8)
    size = random.randrange(1, 500)
    return {
        "truncated": content[:at],
        "flipped": content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :],
        "zeros": bytes(len(content)),
        "zeros to the end": content[:at].ljust(len(content), b"\0") + b"\1",
        "garbage": random.randbytes(len(content)),
        "empty": b"",
        "longer": content + random.randbytes(size),
        "middle missing": content[: at // 2] + content[at // 2 + 4 * size :]
        if at // 2 + 4 * size < len(content)
        else b"",
        "prefixed": b"RIFF" + content,
    }


@pytest.mark.parametrize("damage", damaged_versions(Random(0), bytes(10)))
def test_damaged_entries_are_decoded_again_and_replaced(paths, memory, decoded, damage):
    assert_read(paths, memory, 4, decoded)
    for seed in range(20):
        file = Random(seed).choice(entries(memory))
        replace(file, damaged_versions(Random(seed), file.read_bytes())[damage])
        assert_read(paths, memory, 1, decoded)
        assert_read(paths, memory, 0, decoded)
    assert leftovers(memory) == []


@posix
def test_entry_that_is_not_a_regular_file_is_replaced(paths, memory, decoded):
    assert_read(paths, memory)
    pipe, link, gone = entries(memory)[:3]
    for file in (pipe, link, gone):
        file.unlink()
    os.mkfifo(pipe)
    link.symlink_to(link)
    assert_read(paths, memory, 3, decoded)
    assert_read(paths, memory, 0, decoded)


def test_folder_with_the_name_of_an_entry_warns(paths, memory):
    assert_read(paths, memory)
    file = entries(memory)[0]
    file.unlink()
    file.mkdir()
    with pytest.warns(UserWarning, match="1 of 4 decoded recordings cannot be stored in memory="):
        assert_read(paths, memory)


@posix
def test_entry_without_read_permission_is_replaced(unprivileged, decoded):
    paths, memory = unprivileged
    assert_read(paths, memory, 4, decoded)
    entries(memory)[0].chmod(0)
    cache.count_samples.cache_clear()
    assert_read(paths, memory, 1, decoded)
    assert entries(memory)[0].stat().st_mode & 0o400


def test_checksum_is_verified_again_only_if_the_entry_changes(paths, memory, monkeypatch):
    assert_read(paths[:1], memory)
    checks, crc32 = [], zlib.crc32
    monkeypatch.setattr(cache.zlib, "crc32", lambda *block: checks.append(block) or crc32(*block))
    for _ in range(3):
        assert_read(paths[:1], memory)
    assert len(checks) == 1
    os.utime(entries(memory)[0])
    assert_read(paths[:1], memory)
    assert len(checks) == 2


# Directories


@posix
def test_read_only_directory_warns_once(unprivileged):
    paths, memory = unprivileged
    memory.chmod(0o555)
    with pytest.warns(UserWarning, match="cannot be stored") as caught:
        samples = assert_read(paths, memory)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith(
        f"4 of 4 decoded recordings cannot be stored in memory={memory!r} and will be decoded again ("
    )
    assert "Permission denied" in message
    assert all(type(signal) is np.ndarray for signal in samples.values())


@posix
def test_complete_cache_works_in_a_read_only_directory(unprivileged, decoded):
    paths, memory = unprivileged
    assert_read(paths, memory, 4, decoded)
    for folder in (memory, memory / "sklearn_cpc"):
        folder.chmod(0o555)
    cache.count_samples.cache_clear()
    assert_read(paths, memory, 0, decoded)
    for folder in (memory, memory / "sklearn_cpc"):
        folder.chmod(0o755)


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_impossible_directory_warns(paths, tmp_path, name):
    (tmp_path / "file").write_text("not a directory")
    with pytest.warns(UserWarning, match="4 of 4 decoded recordings cannot be stored"):
        assert_read(paths, tmp_path / name)


def test_full_disk_warns_and_leaves_no_partial_file(paths, memory, monkeypatch):
    assert_read(paths[:1], memory)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.warns(
        UserWarning, match=r"3 of 4 decoded .* \(\[Errno 28\] No space left on device\); free some space"
    ):
        assert_read(paths, memory)
    assert leftovers(memory) == []
    assert len(entries(memory)) == 1


def test_interrupt_leaves_no_partial_file(paths, memory, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_files(paths, RATE, memory=memory)
    assert leftovers(memory) == entries(memory) == []


@posix
def test_folder_of_the_cache_that_is_a_link_is_refused(paths, memory, tmp_path):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "file").write_text("precious")
    os.utime(stranger / "file", (0, 0))
    memory.mkdir()
    (memory / "sklearn_cpc").symlink_to(stranger)
    with pytest.warns(UserWarning, match=r"4 of 4 decoded .*sklearn_cpc is a link.*; remove the link"):
        assert_read(paths, memory)
    assert os.listdir(stranger) == ["file"]


@posix
def test_link_to_the_directory_itself_is_followed(paths, memory, tmp_path, decoded):
    (tmp_path / "disk").mkdir()
    memory.symlink_to(tmp_path / "disk")
    assert_read(paths, memory, 4, decoded)
    assert_read(paths, memory, 0, decoded)


@posix
def test_planted_links_neither_change_nor_remove_other_files(paths, memory, tmp_path, decoded):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "file").write_text("precious")
    assert_read(paths, memory, 4, decoded)
    folder, (symbolic, hard, _, _) = memory / "sklearn_cpc", entries(memory)
    for file in (symbolic, hard):
        file.unlink()
    symbolic.symlink_to(stranger / "file")
    hard.hardlink_to(stranger / "file")
    for number in range(2):
        (folder / f".sklearn_cpc-{number:016x}").symlink_to(stranger)
    (folder / f".sklearn_cpc-{0:016x}.lock").touch()
    (folder / f".sklearn_cpc-{1:016x}.lock").symlink_to(stranger / "file")
    os.mkfifo(folder / f".sklearn_cpc-{2:016x}.lock")
    assert_read(paths, memory, 2, decoded)
    assert_read(paths, memory, 0, decoded)
    assert os.listdir(stranger) == ["file"]
    assert (stranger / "file").read_text() == "precious"


# Recordings that change


def test_touched_short_recording_is_not_decoded_again(paths, memory, decoded):
    assert_read(paths, memory, 4, decoded)
    os.utime(paths[0], (0, 0))
    assert_read(paths, memory, 0, decoded)


@pytest.mark.parametrize("n_samples", [1000, 300_000])
@pytest.mark.parametrize("kind", ["directory", "joblib"])
def test_replaced_recording_of_same_size_and_time_is_decoded_again(n_samples, kind, memory, tmp_path):
    for seed in range(3):
        path = write(tmp_path / "recording.wav", noise(n_samples, seed=seed))
        os.utime(path, (0, 0))
        assert_read([path], memory if kind == "directory" else joblib.Memory(memory, verbose=0))


@posix
def test_recording_changed_anywhere_at_the_same_time_is_decoded_again(memory, tmp_path):
    path = Path(write(tmp_path / "recording.wav", noise(300_000)))
    assert_read([str(path)], memory)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    time.sleep(0.02)  # longer than the clock of the file system may stand still
    path.write_bytes(content)
    os.utime(path, (0, 0))
    assert_read([str(path)], memory)


def test_recording_replaced_by_one_of_same_length_in_use_is_an_error(paths, memory):
    samples = assert_read(paths[:1], memory)
    entries(memory)[0].unlink()
    write(paths[0], noise(1000, seed=9))
    with pytest.raises(RuntimeError, match="has changed while it was in use"):
        np.asarray(samples[paths[0]])


def test_directory_can_be_shared_with_the_cache_of_a_pipeline(paths, memory, decoded):
    joblib.Memory(memory, verbose=0).cache(len)([1])
    assert_read(paths, memory, 4, decoded)
    joblib.Memory(memory, verbose=0).clear(warn=False)
    assert_read(paths, memory)


# In use


def test_entry_removed_while_in_use_is_written_again(paths, memory, decoded, monkeypatch):
    monkeypatch.chdir(os.path.dirname(paths[0]))
    samples = assert_read([os.path.basename(path) for path in paths], memory)
    for file in entries(memory):
        file.unlink()
    monkeypatch.chdir(memory)
    for path in paths:
        assert_array_equal(samples[os.path.basename(path)], read_audio(path, RATE))
    assert decoded[4:] == paths
    assert len(entries(memory)) == 4


def test_recording_is_decoded_if_its_entry_cannot_be_restored(paths, memory, monkeypatch):
    samples = assert_read(paths, memory)
    shutil.rmtree(memory)
    memory.write_text("not a directory")
    for path in paths:
        assert_array_equal(samples[path], read_audio(path, RATE))


def test_recording_that_changes_while_in_use_is_an_error(paths, memory):
    samples = assert_read(paths, memory)
    entries(memory)[0].unlink()
    for path in paths:
        write(path, noise(500))
    with pytest.raises(RuntimeError, match=r"\.wav has changed while it was in use; start again"):
        [np.asarray(samples[path]) for path in paths]


@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 100), lambda file: replace(file, b"damaged")])
def test_entry_damaged_while_in_use_is_decoded_again(paths, memory, decoded, damage):
    samples = assert_read(paths, memory)
    for file in entries(memory):
        damage(file)
    for path in paths:
        assert_array_equal(samples[path][10:20], read_audio(path, RATE)[10:20])
        assert_array_equal(samples[path], read_audio(path, RATE))
    assert decoded[4:] == paths  # once, as the entry is complete again
    assert_read(paths, memory)


def test_entry_rewritten_by_another_process_is_still_used(paths, memory, decoded):
    samples = assert_read(paths, memory)
    for file in entries(memory):
        replace(file, file.read_bytes())
    for path in paths:
        assert_array_equal(samples[path], read_audio(path, RATE))
    assert len(decoded) == 4


def test_pickle_of_stored_samples_holds_no_samples(paths, memory):
    samples = assert_read(paths, memory)[paths[0]]
    copy = pickle.loads(pickle.dumps(samples[10:20]))
    assert_array_equal(copy, read_audio(paths[0], RATE)[10:20])
    assert len(pickle.dumps(samples)) < 1000


# joblib.Memory


def joblib_entries(memory):
    return sorted(Path(memory).rglob("output.pkl"))


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_damaged_joblib_entries_are_decoded_again(paths, memory, mmap_mode):
    def kept():
        return joblib.Memory(memory, mmap_mode=mmap_mode, verbose=0)

    assert_read(paths, kept())
    first, second, third, _ = joblib_entries(memory)
    for file, content in {first: b"", second: b"garbage", third: third.read_bytes()[:99]}.items():
        replace(file, content)
    assert_read(paths, kept())
    joblib.dump("not samples", joblib_entries(memory)[0])
    with pytest.warns(UserWarning, match=r"1 of 4 decoded .* \('str' object has no attribute 'dtype'\)"):
        assert_read(paths, kept())


def test_joblib_memory_that_cannot_store_samples_warns(paths, memory, monkeypatch):
    kept = joblib.Memory(memory, mmap_mode="r", verbose=0)
    kept.store_backend.dump_item = lambda *args, **kwargs: None
    monkeypatch.setattr("joblib.memory.MemorizedFunc._load_item", lambda *arguments: {}["missing"])
    with pytest.warns(UserWarning, match=r"4 of 4 decoded .* \('missing'\)"):
        assert_read(paths, kept)


def test_bad_recording_is_not_blamed_on_joblib(memory, tmp_path):
    (tmp_path / "text.wav").write_text("text")
    _, reasons = read_files([str(tmp_path / "text.wav")], RATE, memory=joblib.Memory(memory, verbose=0))
    assert reasons[str(tmp_path / "text.wav")].startswith("is not audio")


# Processes


def read_until_killed(paths, expected, memory, seed, results):
    """Read and compare forever; randomly damages and removes entries."""
    random = Random(seed)
    while True:
        samples, reasons = read_files(paths, RATE, memory=memory)
        same = [np.array_equal(samples[path], array) for path, array in zip(paths, expected, strict=True)]
        if reasons or not all(same):
            results.put((reasons, same))
        for file in entries(memory):
            if random.random() < 0.1:
                damaged = memory / f"{seed}"
                damaged.write_bytes(random.randbytes(random.randrange(4000)))
                os.replace(damaged, file)
            elif random.random() < 0.1:
                file.unlink(missing_ok=True)
        results.put(None)


@posix
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_processes_never_corrupt_a_shared_directory(tmp_path, memory):
    paths = [write(tmp_path / f"{i}.wav", noise(30_000, seed=i)) for i in range(4)]
    expected = [read_audio(path, RATE) for path in paths]
    context, random = multiprocessing.get_context("fork"), Random(0)
    results = [context.SimpleQueue() for _ in range(4)]  # one per process: a killed process may hold its lock
    memory.mkdir()

    def started(number):
        arguments = paths, expected, memory, number, results[number]
        process = context.Process(target=read_until_killed, args=arguments, daemon=True)
        process.start()
        return process

    processes = [started(number) for number in range(4)]
    n_killed, n_read, end = 0, 0, time.monotonic() + 60
    while n_killed < 12 or n_read < 25:
        assert time.monotonic() < end, f"{n_killed} killed, {n_read} read"
        time.sleep(random.uniform(0, 0.05))
        victim = random.randrange(4)
        assert processes[victim].exitcode is None, "died on its own"
        os.kill(processes[victim].pid, signal.SIGKILL)
        processes[victim].join()
        n_killed += 1
        while not results[victim].empty():
            assert results[victim].get() is None
            n_read += 1
        results[victim] = context.SimpleQueue()
        processes[victim] = started(victim)
    for process in processes:
        process.kill()
        process.join()
    assert_read(paths, memory)
    assert leftovers(memory) == []


def test_silent_reading_does_not_take_the_lock_of_tqdm(paths, memory, monkeypatch):
    monkeypatch.setattr("tqdm.auto.tqdm", None)  # a killed process may have held its lock
    assert_read(paths, memory)
    assert_read(paths, None)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_parallel_grid_search_with_shared_directory_gives_same_scores(corpus, memory):
    def scores(memory, n_jobs):
        pipeline = make_pipeline(MFCCTransformer(sample_rate=RATE, n_fft=512, n_mels=40), LogisticRegression())
        pipeline.set_params(mfcctransformer__memory=memory)
        search = GridSearchCV(
            pipeline, {"mfcctransformer__n_mfcc": [5, 20]}, cv=2, n_jobs=n_jobs, error_score="raise"
        )
        with joblib.parallel_config("multiprocessing"):
            return search.fit(corpus.paths, corpus.y).cv_results_["mean_test_score"]

    expected = scores(None, None)
    for _ in range(2):
        assert_array_equal(scores(memory, 2), expected)
        for file in entries(memory)[::3]:
            replace(file, file.read_bytes()[:-1000])
