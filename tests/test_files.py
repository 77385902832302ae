"""What a killed process leaves is removed by the next one, and nothing else is."""

import multiprocessing
import os
import signal
import tempfile
import threading
import time

import pytest

from sklearn_cpc._files import ScratchFolder, atomic_write, claim, release, remove_abandoned

posix = pytest.mark.skipif(os.name == "nt", reason="needs processes that fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def keep_scratch_folder(parent):
    scratch = ScratchFolder(parent)
    with open(os.path.join(scratch.path, "file"), "wb") as file:
        file.write(b"x")
    return scratch


def write_half(parent):
    writing = atomic_write(os.path.join(parent, "target"), durable=True)
    writing.__enter__().write(b"half")
    return writing


def lock(parent):
    return claim(os.path.join(parent, "training.lock"))


MAKERS = [keep_scratch_folder, write_half, lock]


class Holder:
    """A process that makes something, and waits to be killed."""

    def __init__(self, make, parent):
        context = multiprocessing.get_context("fork")
        self.ready = context.Event()
        self.process = context.Process(target=self.hold, args=(make, parent), daemon=True)
        self.process.start()
        assert self.ready.wait(60)

    def hold(self, make, parent):
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup lets its children ignore it
        kept = make(parent)
        self.ready.set()
        time.sleep(600)
        del kept

    def kill(self, number=signal.SIGKILL):
        os.kill(self.process.pid, number)
        self.process.join()


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, getattr(signal, "SIGHUP", None)])
@pytest.mark.parametrize("make", MAKERS)
def test_files_of_killed_process_are_removed(make, number, tmp_path):
    holder = Holder(make, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    remove_abandoned(tmp_path)
    with pytest.raises(FileExistsError):
        claim(next(tmp_path.glob("*.lock")))
    assert sorted(tmp_path.rglob("*")) == before != []
    holder.kill(number)
    remove_abandoned(tmp_path)
    if make is lock:
        release(lock(tmp_path))
    assert os.listdir(tmp_path) == []


@posix
def test_samples_of_killed_reading_are_removed_from_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Holder(lambda parent: keep_scratch_folder(None), tmp_path).kill()
    assert os.listdir(tmp_path) != []
    remove_abandoned()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("make", MAKERS)
def test_files_of_other_threads_stay(make, tmp_path):
    kept = []
    thread = threading.Thread(target=lambda: kept.append(make(tmp_path)))
    thread.start()
    thread.join()
    before = sorted(tmp_path.rglob("*"))
    remove_abandoned(tmp_path)
    with pytest.raises(FileExistsError):
        claim(next(tmp_path.glob("*.lock")))
    assert sorted(tmp_path.rglob("*")) == before != []
    if make is lock:
        release(kept[0])
    del kept[:]
    assert os.listdir(tmp_path) == []


@posix
def test_files_stay_while_a_fork_of_their_process_lives(tmp_path):
    kept = keep_scratch_folder(tmp_path)
    holder = Holder(lambda parent: None, tmp_path)
    holder.kill()
    assert os.path.exists(kept.path)


def test_files_that_only_look_alike_stay(tmp_path):
    for name in (".sklearn_cpc-", "sklearn_cpc-0123456789abcdef.lock", ".sklearn_cpc-model.lock", "a.lock"):
        (tmp_path / name).touch()
    (tmp_path / ".sklearn_cpc-0123456789abcdef").mkdir()  # without a lock
    before = sorted(tmp_path.iterdir())
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


@posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs the rights to give files away")
def test_files_of_other_users_stay(tmp_path):
    path = tmp_path / ".sklearn_cpc-0123456789abcdef.lock"
    path.touch()
    os.chown(path, 65534, 65534)
    remove_abandoned(tmp_path)
    with pytest.raises(FileExistsError):
        claim(path)
    assert path.exists()


@posix
def test_links_and_pipes_are_neither_followed_nor_removed(tmp_path):
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "file").touch()
    links = [tmp_path / f".sklearn_cpc-{number:016x}.lock" for number in range(3)]
    links[0].touch()
    links[0].with_suffix("").symlink_to(tmp_path / "stranger")
    links[1].symlink_to(tmp_path / "stranger" / "file")
    os.mkfifo(links[2])
    remove_abandoned(tmp_path)
    assert os.listdir(tmp_path / "stranger") == ["file"]
    assert [os.path.lexists(link) for link in links] == [False, True, True]


@posix
def test_scratch_is_private_and_a_written_file_follows_the_umask(tmp_path):
    mask = os.umask(0o022)
    try:
        scratch = ScratchFolder(tmp_path)
        with atomic_write(tmp_path / "target", durable=False) as file:
            file.write(b"whole")
    finally:
        os.umask(mask)
    assert os.stat(scratch.path).st_mode & 0o777 == 0o700
    assert os.stat(f"{scratch.path}.lock").st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "target").st_mode & 0o777 == 0o644


@posix
def test_file_systems_without_locks_work(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    kept = keep_scratch_folder(tmp_path)
    held = lock(tmp_path)
    remove_abandoned(tmp_path)
    with pytest.raises(FileExistsError):
        lock(tmp_path)
    release(held)
    assert os.path.exists(kept.path)
    with atomic_write(tmp_path / "target", durable=True) as file:
        file.write(b"whole")
    del kept
    assert os.listdir(tmp_path) == ["target"]


@posix
def test_exactly_one_of_many_threads_claims_an_abandoned_file(tmp_path):
    for _ in range(10):
        Holder(lock, tmp_path).kill()
        barrier, held, refused = threading.Barrier(4), [], []

        def compete(barrier=barrier, held=held, refused=refused):
            barrier.wait()
            try:
                held.append(lock(tmp_path))
            except FileExistsError as error:
                refused.append(error)

        threads = [threading.Thread(target=compete) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(held), len(refused)) == (1, 3)
        release(held[0])
