"""A shortage of the machine stops the work with its own reason, and is never blamed on a recording."""

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sounds import RATE, noise, write

from sklearn_cpc import MFCCTransformer
from sklearn_cpc.audio import cache
from sklearn_cpc.audio.cache import StoredSamples
from sklearn_cpc.audio.reading import read_audio
from sklearn_cpc.audio.store import AudioSource

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Recordings in four formats. Do not modify."""
    folder = tmp_path_factory.mktemp("recordings")
    return [write(folder / f"a.{ending}", noise(5000, seed=1)) for ending in ("wav", "flac", "ogg", "mp3")]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@contextlib.contextmanager
def limited_open_files(n_free):
    """Let the process open only a few more files."""
    import resource

    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(n_free + 1)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), old[1]))
    held = []
    with contextlib.suppress(OSError):  # until none is left
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    try:
        for descriptor in free[:n_free]:
            os.close(descriptor)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
        for descriptor in [*held, *free[n_free:]]:
            os.close(descriptor)


@posix
@pytest.mark.parametrize("on_error", ["nan", "raise"])
@pytest.mark.parametrize("n_free", [0, 1, 2, 3])
def test_too_many_open_files_stop_with_that_reason(paths, n_free, on_error):
    model = MFCCTransformer(on_error=on_error)
    expected = model.fit_transform(paths)
    with limited_open_files(n_free):
        try:
            features = model.transform(paths)
        except OSError as error:
            assert error.errno == errno.EMFILE  # noqa: PT017  # with enough files there is no error
        else:
            assert n_free
            assert_array_equal(features, expected)
    assert_array_equal(model.transform(paths), expected)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTCONN, errno.ETIMEDOUT])
def test_errors_of_the_system_are_raised(paths, monkeypatch, number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("sklearn_cpc.audio.reading.open", fail, raising=False)
    with pytest.raises(OSError, match=os.strerror(number)):
        MFCCTransformer(on_error="nan").fit_transform(paths)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ELOOP, errno.ESTALE])
def test_errors_of_a_file_make_it_unusable(paths, monkeypatch, number):
    def fail(path, *args, **kwargs):
        if str(path).endswith("ogg"):
            raise OSError(number, os.strerror(number))
        return open(path, *args, **kwargs)

    monkeypatch.setattr("sklearn_cpc.audio.reading.open", fail, raising=False)
    with pytest.warns(UserWarning, match="1 recordings cannot be used"):
        features = MFCCTransformer(on_error="nan").fit_transform(paths)
    assert_array_equal(np.isnan(features).all(axis=1), [False, False, True, False])


def test_lack_of_memory_is_raised(paths, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError("no memory left")

    monkeypatch.setattr("sklearn_cpc.audio.cache.decode", fail)
    with pytest.raises(MemoryError, match="no memory left"):
        MFCCTransformer(on_error="nan").fit_transform(paths)


@posix
def test_little_memory_never_makes_a_recording_unusable(tmp_path):
    paths = [write(tmp_path / f"a.{ending}", noise(1_500_000, seed=1)) for ending in ("wav", "flac", "ogg", "mp3")]
    code = """
        import resource, sys, warnings
        import numpy as np
        from sklearn_cpc import MFCCTransformer
        from sklearn_cpc.audio.store import AudioSource
        warnings.simplefilter("error")

        def read(path):
            return AudioSource(MFCCTransformer(on_error="nan"), [path], 8000, reset=True).read().samples[0]

        paths = sys.argv[1:]
        expected = [read(path) for path in paths]
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        outcomes = set()
        for n_kilobytes in [0, 64, *range(200, 12_000, 800), 200_000]:
            for path, samples in zip(paths, expected):
                resource.setrlimit(resource.RLIMIT_AS, (used + 1024 * n_kilobytes, resource.RLIM_INFINITY))
                try:
                    found = read(path)
                except (MemoryError, OSError):
                    found = None
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                outcomes.add(found is None)
                assert found is None or np.array_equal(found, samples)
        print(sorted(outcomes))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), *paths]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["[False,", "True]"]


def test_full_directory_of_memory_keeps_the_limit_of_ram(paths, tmp_path, temporary, monkeypatch):
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", "1e-9")
    (tmp_path / "memory").write_text("not a directory")
    source = AudioSource(MFCCTransformer(memory=tmp_path / "memory"), paths, RATE, reset=False)
    with pytest.warns(UserWarning, match="4 of 4 decoded recordings cannot be stored in memory="):
        samples = source.read().samples
    assert all(isinstance(one, StoredSamples) and os.fspath(temporary) in one.file for one in samples)
    for one, path in zip(samples, paths, strict=True):
        assert_array_equal(np.asarray(one), read_audio(path, RATE))


def test_full_temporary_folder_stops_with_that_reason(paths, temporary, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", "1e-9")
    monkeypatch.setattr(cache, "atomic_write", full)
    with pytest.raises(OSError, match=r"exceed 1e-09 GB, and the temporary folder .* \(No space left"):
        AudioSource(MFCCTransformer(on_error="nan"), paths, RATE, reset=False).read()
