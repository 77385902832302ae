"""Recordings behind URLs give the samples of local files, with few requests, and failures are told apart."""

import os
import threading
import uuid
import zipfile

import fsspec
import pytest
from corpus import rising_tones, small_cpc
from numpy.testing import assert_array_equal
from range_server import serve
from sounds import RATE, noise, write

from sklearn_cpc import Clip, MFCCTransformer, sample_clips
from sklearn_cpc.archive import cut_windows
from sklearn_cpc.audio import files
from sklearn_cpc.audio.files import RemoteError
from sklearn_cpc.audio.reading import UnreadableAudioError, read_audio, read_duration

N_LONG = 640_000  # samples; more than SMALL_BYTES in 16 bits
LONG = {"wav": {}, "flac": {}, "aiff": {}, "w64": {}, "caf": {}, "au": {}, "rf64": {"format": "RF64"}}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(files, "WAITS", (0.0, 0.0, 0.0))


@pytest.fixture
def http():
    pytest.importorskip("aiohttp", reason="http needs aiohttp")
    with serve() as server:
        yield server


@pytest.fixture(scope="module")
def long_files(tmp_path_factory):
    """Files of 80 s by ending. Not to be changed."""
    folder = tmp_path_factory.mktemp("long")
    samples = noise(N_LONG)
    return {ending: write(folder / f"a.{ending}", samples, **options) for ending, options in LONG.items()}


@pytest.fixture
def memory():
    """The URL of a folder of the test's own in memory, and a function that puts files there."""
    folder = f"memory://{uuid.uuid4().hex}"
    yield folder, lambda name, path: fsspec.filesystem("memory").pipe(f"{folder}/{name}", read(path))
    fsspec.filesystem("memory").rm(folder, recursive=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def mfcc(**parameters):
    return MFCCTransformer(sample_rate=RATE, n_mfcc=4, n_fft=256, n_mels=8, **parameters)


# The same samples


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_remote_recordings_give_samples_of_local_ones(tmp_path, memory, http, ending):
    path = write(tmp_path / f"a.{ending}", noise(20_000, 2))
    folder, put = memory
    put(f"a.{ending}", path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, f"sub/a.{ending}")
    archived = f"zip://sub/a.{ending}::"
    urls = [
        f"{folder}/a.{ending}",
        http.add(f"a.{ending}", read(path)),
        f"{archived}{tmp_path}/a.zip",
        archived + http.add("a.zip", read(tmp_path / "a.zip")),
        f"file://{path}",
    ]
    clips = [(onset, 0.5) for onset in (0.0, 0.7, 1.9)]
    for rate in (RATE, 5000):
        model = mfcc().set_params(sample_rate=rate)
        expected = model.fit_transform([(path, *clip) for clip in clips])
        for url in urls:
            assert_array_equal(read_audio(url, rate), read_audio(path, rate))
            assert read_duration(url) == read_duration(path)
            assert_array_equal(model.transform([(url, *clip) for clip in clips]), expected)


@pytest.mark.parametrize("ending", LONG)
def test_clips_of_long_recordings_fetch_only_what_they_need(long_files, http, ending):
    path = long_files[ending]
    url = http.add(f"a.{ending}", read(path))
    clips = [(30.3, 2.0), (31.0, 1.5)]
    for rate in (RATE, 5000):
        model = mfcc().set_params(sample_rate=rate)
        http.n_bytes, http.requests = 0, []
        features = model.fit_transform([(url, *clip) for clip in clips])
        assert http.n_bytes < 0.8 * os.path.getsize(path)
        assert len(http.requests) <= 6
        assert_array_equal(features, model.fit_transform([(path, *clip) for clip in clips]))


@pytest.mark.parametrize("ending", LONG)
def test_windows_are_cut_by_headers_alone(long_files, http, ending):
    url = http.add(f"a.{ending}", read(long_files[ending]))
    windows, expected = cut_windows([url], 7.0), cut_windows([long_files[ending]], 7.0)
    assert (windows["path"] == url).all()
    assert_array_equal(windows[["onset", "duration"]], expected[["onset", "duration"]])
    assert http.n_bytes <= 2 * files.BLOCK_BYTES
    assert len(http.requests) <= 3


def test_whole_long_recordings_are_fetched_once(long_files, http, monkeypatch):
    monkeypatch.setattr(files, "COPY_BYTES", 1 << 18)
    url = http.add("a.wav", read(long_files["wav"]))
    assert_array_equal(read_audio(url, RATE), read_audio(long_files["wav"], RATE))
    assert http.n_bytes == os.path.getsize(long_files["wav"])


def test_server_without_ranges_sends_whole_recordings(long_files, http):
    http.knows_ranges = False
    url, clip = http.add("a.flac", read(long_files["flac"])), (40.0, 1.0)
    assert read_duration(url) == 80.0
    assert_array_equal(mfcc().fit_transform([(url, *clip)]), mfcc().fit_transform([(long_files["flac"], *clip)]))


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_threads_fetch_at_the_same_time(tmp_path, http, monkeypatch, knows_ranges):
    urls = [http.add(name, read(write(tmp_path / name))) for name in ("a.wav", "b.wav")]
    monkeypatch.setattr(files, "COPY_BYTES", 1000)  # without ranges, the rest is then fetched in one piece
    http.knows_ranges, http.before = knows_ranges, threading.Barrier(2, timeout=20).wait
    mfcc(n_jobs=2).fit(urls)


def test_embeddings_of_remote_recordings_are_those_of_local_ones(tmp_path, memory):
    folder, put = memory
    paths = [write(tmp_path / f"{i}.wav", row, 1000) for i, row in enumerate(rising_tones(6))]
    for i, path in enumerate(paths):
        put(f"{i}.wav", path)
    urls = [f"{folder}/{i}.wav" for i in range(len(paths))]
    cpc = small_cpc(validation_fraction=0.0, n_jobs=2)
    assert_array_equal(cpc.fit_transform(urls), cpc.fit_transform(paths))
    clips, _ = sample_clips(urls, 2, duration=0.2)
    local, _ = sample_clips(paths, 2, duration=0.2)
    assert_array_equal(cpc.transform(clips), cpc.transform(local))


def test_threads_may_read_one_archive(tmp_path):
    paths = [write(tmp_path / f"{i}.flac", noise(4000, seed=i)) for i in range(12)]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i, path in enumerate(paths):
            archive.write(path, f"{i}.flac")
    urls = [f"zip://{i}.flac::{tmp_path}/a.zip" for i in range(len(paths))]
    assert_array_equal(mfcc(n_jobs=4).fit_transform(urls), mfcc().fit_transform(paths))


# Damage


@pytest.mark.parametrize("ending", ["wav", "flac"])
@pytest.mark.parametrize("damage", ["cut", "joined"])
def test_damaged_long_recordings_are_refused_as_local_ones(long_files, tmp_path, http, ending, damage):
    content = read(long_files[ending])
    part = content[: len(content) * 3 // 4]
    content = part if damage == "cut" else content + part
    (tmp_path / "a").write_bytes(content)
    reasons = []
    for path in (str(tmp_path / "a"), http.add("a", content)):
        with pytest.raises(UnreadableAudioError) as error:
            mfcc().fit([(path, 2.0, 1.0)])
        reasons.append(error.value.reasons[path])
    assert reasons[0] == reasons[1]


def test_remote_recordings_that_are_no_audio_have_reasons(tmp_path, http):
    missing, folder = f"{http.url}/missing.wav", "memory://some_folder"
    fsspec.filesystem("memory").pipe(f"{folder}/a.txt", b"text")
    text, empty = http.add("a.m4a", b"text" * 9), http.add("empty.wav", b"")
    good = http.add("good.wav", read(write(tmp_path / "good.wav")))
    urls = [missing, good, folder, text, empty, "nope://a/b.wav", f"zip://x.wav::{good}"]
    with pytest.raises(UnreadableAudioError) as error:
        mfcc().fit(urls)
    reasons = error.value.reasons
    assert set(reasons) == set(urls) - {good}
    assert reasons[missing] == "does not exist."
    assert reasons[folder] == "is a directory; list the files in it."
    assert reasons[empty] == "is an empty file."
    assert "ffmpeg -i a.m4a a.flac" in reasons[text]
    assert "nope" in reasons["nope://a/b.wav"]
    assert "not a zip file" in reasons[urls[-1]]


# Failures of the network


@pytest.mark.parametrize("failures", [[503], [503, 0, 500], [0, 0, 429]])
def test_transient_failures_are_tried_again(long_files, http, failures):
    url = http.add("a.wav", read(long_files["wav"]))
    expected = mfcc().fit_transform([(long_files["wav"], 9.0, 1.0)])
    for n_good in range(1, 5):  # the requests that are answered before
        http.requests = []
        http.before = lambda n_good=n_good: http.failures.extend(failures if len(http.requests) == n_good else [])
        assert_array_equal(mfcc().fit_transform([(url, 9.0, 1.0)]), expected)


@pytest.mark.parametrize("on_error", ["raise", "nan"])
@pytest.mark.parametrize("status", [0, 503])
def test_lasting_failure_is_no_fault_of_a_recording(tmp_path, http, status, on_error):
    url = http.add("a.wav", read(write(tmp_path / "a.wav")))
    http.failures = [status] * 100
    with pytest.raises(RemoteError, match=f"cannot read '{url}'.*try again"):
        mfcc(on_error=on_error).fit([url])
    with pytest.raises(RemoteError):
        cut_windows([url], 1.0, on_error="nan")


def test_failure_in_the_middle_is_no_fault_of_a_recording(long_files, http):
    url = http.add("a.flac", read(long_files["flac"]))
    for n_good in range(1, 4):
        http.requests = []
        http.before = lambda n_good=n_good: http.failures.extend([0] * 100 if len(http.requests) == n_good else [])
        with pytest.raises(RemoteError, match="try again"):
            mfcc(on_error="nan").fit([(url, 9.0, 2.0), (url, 60.0, 2.0)])
        http.failures = []


def test_ctrl_c_while_libsndfile_reads_is_raised(long_files, http, monkeypatch):
    url = http.add("a.wav", read(long_files["wav"]))

    def interrupt():
        if len(http.requests) == 3:
            raise KeyboardInterrupt

    fetch = files.RemoteFile._fetch
    monkeypatch.setattr(files.RemoteFile, "_fetch", lambda *args: (interrupt(), fetch(*args))[1])
    with pytest.raises(KeyboardInterrupt):
        mfcc().fit([(url, 40.0, 1.0)])


@pytest.mark.parametrize("status", [401, 403])
def test_lack_of_permission_is_told_at_once(tmp_path, http, status):
    url = http.add("a.wav", read(write(tmp_path / "a.wav")))
    http.failures = [status] * 100
    with pytest.raises(RemoteError, match="give credentials"):
        mfcc(on_error="nan").fit([url])
    assert len(http.requests) == 2  # what fsspec asks to find out about a file


def test_missing_package_of_a_protocol_is_named(monkeypatch):
    with pytest.raises(ImportError, match=r"cannot read 'abfs://x/a.wav': .*adlfs"):
        mfcc(on_error="nan").fit(["abfs://x/a.wav"])


# What was decoded is kept


@pytest.mark.parametrize("has_tag", [True, False])
def test_memory_recognises_objects_that_were_replaced(tmp_path, http, has_tag):
    first, second = (write(tmp_path / f"{seed}.wav", noise(RATE, seed=seed)) for seed in (1, 2))
    url = http.add("a.wav", read(first))
    model = mfcc(memory=str(tmp_path / "memory"))
    expected = mfcc().fit_transform([first])
    if not has_tag:
        http.tags.clear()
    assert_array_equal(model.fit_transform([url]), expected)
    http.n_bytes = 0
    assert_array_equal(model.fit_transform([url]), expected)
    assert (http.n_bytes == 0) == has_tag
    http.add("a.wav", read(second))
    if not has_tag:
        http.tags.clear()
    assert_array_equal(model.fit_transform([url]), mfcc().fit_transform([second]))


def test_replaced_archive_is_opened_again(tmp_path):
    url, results = f"zip://a.wav::{tmp_path}/a.zip", []
    for seed in (1, 2):
        path = write(tmp_path / f"{seed}.wav", noise(RATE + seed, seed=seed))
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(path, "a.wav")
        assert_array_equal(read_audio(url, RATE), read_audio(path, RATE))
        results.append(path)
    assert len(results) == 2


def test_copies_are_removed(tmp_path, http, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    good, bad = http.add("a.wav", read(write(tmp_path / "a.wav"))), http.add("b.mp3", b"x" * 5000)
    with pytest.warns(UserWarning, match="cannot be used"):
        mfcc(on_error="nan").fit_transform([good, bad])
    assert list((tmp_path / "scratch").iterdir()) == []


# Local files


@pytest.mark.parametrize("name", ["a::b.wav", "zip::a.wav", "c.wav::d.wav"])
def test_local_names_with_colons_are_no_urls(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    assert len(read_audio(name, RATE)) == RATE
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    write(tmp_path / "s3:" / "bucket" / "a.wav")
    assert len(read_audio("s3://bucket/a.wav", RATE)) == RATE
    with pytest.raises(ValueError, match="does not exist"):
        read_audio("C://a.wav", RATE)


def test_local_files_use_no_file_system_of_fsspec(tmp_path, monkeypatch):
    monkeypatch.setattr(fsspec.core, "url_to_fs", None)
    path = write(tmp_path / "a.wav")
    mfcc(memory=str(tmp_path / "memory")).fit([Clip(path, 0.1, 0.2), path])


# S3


@pytest.fixture(scope="module")
def s3():
    """A bucket on a local server, as environment variables describe it."""
    pytest.importorskip("s3fs", reason="s3 needs s3fs")
    server_module = pytest.importorskip("moto.server", reason="the S3 server needs moto")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patch.setenv(name, value)
        fs = fsspec.filesystem("s3")
        fs.mkdir("recordings")
        yield fs
    server.stop()


def test_recordings_on_s3_are_those_of_local_files(long_files, s3, tmp_path):
    short = write(tmp_path / "b.ogg")
    paths = [long_files["wav"], long_files["flac"], short]
    urls = [f"s3://recordings/site/{os.path.basename(path)}" for path in paths]
    for path, url in zip(paths, urls, strict=True):
        s3.put(path, url)
    assert_array_equal(mfcc().fit_transform(urls), mfcc().fit_transform(paths))
    clips = [[(path, 0.5, 0.25) for path in some] for some in (urls, paths)]
    assert_array_equal(*map(mfcc().fit_transform, clips))
    model = mfcc(memory=str(tmp_path / "memory"))
    before = model.fit_transform(urls[2:])
    s3.put(write(tmp_path / "c.ogg", noise(RATE, seed=9)), urls[2])
    assert (model.fit_transform(urls[2:]) != before).any()
    with pytest.raises(UnreadableAudioError, match=r"s3://recordings/missing.wav: does not exist"):
        mfcc().fit(["s3://recordings/missing.wav"])
