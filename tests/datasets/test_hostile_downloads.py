"""Whatever a server sends, a download ends: with the corpus, or with an OSError that names the address."""

import contextlib
import gc
import gzip
import io
import os
import struct
import tarfile
import threading
import time
import warnings
import zipfile

import numpy as np
import pytest
from file_server import make_audio, make_tar_gz, make_zip, serve_files

from sklearn_cpc.datasets import corpora, download, load_audio_folder
from sklearn_cpc.datasets.download import Corpus, load_corpus

# requests leaves connections that fail to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MEGABYTE = 2**20
FILES = {f"sounds/{name}/{number}.wav": make_audio(number) for name in ("cat", "dog") for number in range(2)}
PACKED = {"zip": make_zip(FILES), "tar": make_tar_gz(FILES)}
NEVER = threading.Event()


@pytest.fixture(autouse=True)
def isolate(monkeypatch):
    """Use no proxy, and be impatient."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    NEVER.clear()
    yield
    NEVER.set()  # servers that wait stop waiting
    for thread in threading.enumerate():
        if thread.name == "download":
            thread.join(10)
    gc.collect()  # connections that were given up, before the next test


@pytest.fixture(scope="module")
def server():
    with serve_files() as running:
        yield running


def small_corpus(url, kind="zip", **changes):
    facts = {
        "title": "Pets",
        "folder": "pets",
        "size": "1 MB",
        "max_bytes": MEGABYTE,
        "archives": {url: None},
        "unpack": {"zip": download.unzip, "tar": download.untar}[kind],
        "members": ("sounds/*/*.wav",),
        "read": lambda folder: load_audio_folder(folder / "sounds", extensions=".wav"),
        "n_classes": 2,
        "n_per_class": 2,
        "groups": "none",
        "description": "",
    }
    return Corpus(**{**facts, **changes})


def load(corpus, home, n_retries=0):
    return load_corpus(corpus, home, True, 0, n_retries, 0)


def fetch(server, content, home, kind="zip", **changes):
    """Fetch a corpus from a server that sends this content, or answers with this function."""
    known = server.answers if callable(content) else server.files
    known["/pets"] = content
    try:
        return load(small_corpus(f"{server.url}/pets", kind, **changes), home)
    finally:
        del known["/pets"]


def assert_refused(server, content, home, kind="zip", message="", **changes):
    message = f"{message}|bytes came in" if message else None  # the latter on a busy machine
    with pytest.raises(OSError, match=message) as caught:
        fetch(server, content, home, kind, **changes)
    assert f"{server.url}/pets" in str(caught.value)
    assert "Nothing was kept. Call again, or unpack" in str(caught.value)
    assert os.listdir(home) == []
    assert [path for path in home.parent.iterdir() if path != home] == []


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize("kind", PACKED)
def test_the_corpus_itself_is_fetched(server, home, kind):
    assert len(fetch(server, PACKED[kind], home, kind).paths) == 4


# Servers


def head(*lines):
    return "\r\n".join(["HTTP/1.0 200 OK", *lines, "", ""]).encode()


def repeat(stream, first, data, pause=0.0):
    stream.write(first)
    while not NEVER.is_set():
        stream.write(data)
        time.sleep(pause)


def ignore_closed(answer):
    def answered(stream):
        with contextlib.suppress(OSError):  # the client has gone
            answer(stream)

    return answered


BOMB = gzip.compress(bytes(20 * MEGABYTE), 1)
SERVERS = {
    "nothing at all": (lambda stream: NEVER.wait(60), "only 0 bytes came in"),
    "a head and nothing more": (
        lambda stream: (stream.write(head("Content-Length: 1000")), NEVER.wait(60)),
        "only 0 bytes came in",
    ),
    "byte after byte": (
        lambda stream: repeat(stream, head("Content-Length: 1000000"), b"x", 0.05),
        "bytes came in",
    ),
    "header after header": (
        lambda stream: repeat(stream, b"HTTP/1.0 200 OK\r\n", b"a: b\r\n", 0.05),
        "bytes came in|headers",
    ),
    "data without end": (lambda stream: repeat(stream, head(), bytes(MEGABYTE // 8)), "more than 1048576 bytes"),
    "more than the length": (
        lambda stream: repeat(stream, head("Content-Length: 9000000000"), bytes(MEGABYTE // 8)),
        "more than 1048576 bytes",
    ),
    "data that unpack to more": (
        lambda stream: stream.write(head("Content-Encoding: gzip") + BOMB),
        "more than 1048576 bytes",
    ),
    "less than the length": (
        lambda stream: stream.write(head(f"Content-Length: {len(PACKED['zip'])}") + PACKED["zip"][:-9]),
        "IncompleteRead|cannot be unpacked",
    ),
    "a length of text": (lambda stream: stream.write(head("Content-Length: x") + b"data"), None),
    "a length below zero": (lambda stream: stream.write(head("Content-Length: -5") + b"data"), None),
    "no answer of a server": (lambda stream: stream.write(b"SSH-2.0\r\n"), None),
    "an empty answer": (lambda stream: None, None),
    "an empty archive": (lambda stream: stream.write(head("Content-Length: 0")), "cannot be unpacked"),
    "a broken encoding": (lambda stream: stream.write(head("Content-Encoding: gzip") + b"data"), None),
    "broken chunks": (
        lambda stream: stream.write(head("Transfer-Encoding: chunked").replace(b"1.0", b"1.1") + b"zz\r\n"),
        None,
    ),
    "itself again": (lambda stream: stream.write(b"HTTP/1.0 302 Found\r\nLocation: /pets\r\n\r\n"), "redirects"),
    "another protocol": (
        lambda stream: stream.write(b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"),
        None,
    ),
}


@pytest.mark.parametrize("case", SERVERS)
def test_servers_that_misbehave_are_given_up(server, home, case):
    answer, message = SERVERS[case]
    start = time.monotonic()
    assert_refused(server, ignore_closed(answer), home, message=message)
    assert time.monotonic() - start < 10


def test_a_server_that_stalls_is_tried_again(server, home):
    corpus = small_corpus(f"{server.url}/later")
    stalls = [True]

    def answer(stream):
        if stalls:
            stalls.pop()
            NEVER.wait(60)
        else:
            stream.write(head() + PACKED["zip"])

    server.answers["/later"] = ignore_closed(answer)
    with pytest.warns(UserWarning, match=r"only 0 bytes came in 0\.3 s.*Trying again"):
        assert len(load(corpus, home, n_retries=1).paths) == 4


def test_a_slow_server_is_waited_for(server, home, monkeypatch):
    monkeypatch.setattr(download, "MIN_PROGRESS", 1)
    monkeypatch.setattr(download, "PATIENCE", 2)

    def answer(stream):
        stream.write(head())
        for start in range(0, len(content), 2**14):
            stream.write(content[start : start + 2**14])
            time.sleep(0.2)

    content = make_zip({**FILES, "noise": np.random.default_rng(0).bytes(200_000)})
    assert len(fetch(server, ignore_closed(answer), home).paths) == 4


def test_a_server_that_does_not_answer_is_named(home):
    url = "http://127.0.0.1:9/pets"  # the port that discards
    with pytest.raises(OSError, match=f"{url} cannot be downloaded .*Nothing was kept"):
        load(small_corpus(url), home)


# Archives


def zip_with(names, **attributes):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that occur twice
        for name, content in names:
            member = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(member, key, value)
            archive.writestr(member, content)
    return file.getvalue()


def changed(data, offset_local, offset_central, value):
    """Change a field of two bytes in every header of a zip file."""
    data = bytearray(data)
    for signature, offset in ((b"PK\3\4", offset_local), (b"PK\1\2", offset_central)):
        place = data.find(signature)
        while place >= 0:
            data[place + offset : place + offset + 2] = struct.pack("<H", value)
            place = data.find(signature, place + 1)
    return bytes(data)


def tar_with(members):
    """Pack members, pairs of a TarInfo and bytes that need not be as many as it states."""
    data = b"".join(info.tobuf() + content + bytes(-len(content) % 512) for info, content in members)
    return gzip.compress(data + bytes(1024))


def member(name, size=0, kind=tarfile.REGTYPE, **attributes):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


ZEROS = bytes(3 * MEGABYTE)
SOUND = "sounds/cat/0.wav"
ZIPS = {
    "encrypted": (changed(PACKED["zip"], 6, 8, 1), "encrypted"),
    "of an unknown compression": (changed(PACKED["zip"], 8, 10, 97), "compression"),
    "of a later version": (changed(PACKED["zip"], 4, 6, 255), "version"),
    "that unpacks to more": (zip_with([("sounds/cat/9.wav", ZEROS)], compress_type=8), "unpacks to more than"),
    "with a file twice": (zip_with([*FILES.items(), (SOUND, b"")]), "twice"),
    "with a file in other capitals": (zip_with([*FILES.items(), ("Sounds/cat/0.WAV", b"")]), "other capitals"),
    "with other slashes": (zip_with([*FILES.items(), ("sounds\\cat\\0.wav", b"")]), "twice"),
    "with a device of Windows": (zip_with([*FILES.items(), ("sounds/cat/aux.wav", b"")]), "every system"),
    "with a stream of Windows": (zip_with([*FILES.items(), ("sounds/cat/x:0.wav", b"")]), "every system"),
    "with a line break": (zip_with([*FILES.items(), ("sounds/cat/a\nb.wav", b"")]), "every system"),
    "with a file as folder": (
        zip_with([(SOUND, b""), (f"{SOUND}/sounds/cat/9.wav", b"")]),
        None,
    ),
    "cut off": (PACKED["zip"][:-30], "not a zip"),
    "of nothing": (zip_with([]), None),
}
SPARSE = {"major": "1", "minor": "0", "name": "sounds/cat/9.wav", "realsize": str(2**40)}
SPARSE = {f"GNU.sparse.{key}": value for key, value in SPARSE.items()}
TARS = {
    "that unpacks to more": (make_tar_gz({**FILES, "sounds/cat/9.wav": ZEROS}), "unpacks to more than"),
    "that is long": (make_tar_gz({"other": ZEROS, **FILES}), "unpacks to more than"),
    "that is sparse": (
        tar_with([(member("sounds/cat/9.wav", 512, pax_headers=SPARSE), b"0\n")]),
        "unpacks to more than",
    ),
    "of a long name": (tar_with([(member("x", 2**30, tarfile.GNUTYPE_LONGNAME), b"")]), "header of"),
    "of a long header": (tar_with([(member("x", 2**30, tarfile.XHDTYPE), bytes(512))]), "header of"),
    "with a file twice": (tar_with([(member(SOUND), b""), (member(SOUND), b"")]), "twice"),
    "with a link": (
        tar_with([(member(SOUND, kind=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")]),
        "cannot be read|incomplete",
    ),
    "with a pipe": (tar_with([(member(SOUND, kind=tarfile.FIFOTYPE), b"")]), "cannot be read|incomplete"),
    "with a size below zero": (tar_with([(member(SOUND, -1), b"")]), None),
    "cut off": (PACKED["tar"][:-200], None),
    "of nothing": (gzip.compress(b""), None),
}


@pytest.mark.parametrize("case", ZIPS)
def test_odd_zip_files_are_refused(server, home, case):
    data, message = ZIPS[case]
    assert_refused(server, data, home, "zip", message)


@pytest.mark.parametrize("case", TARS)
def test_odd_tar_files_are_refused(server, home, case):
    data, message = TARS[case]
    assert_refused(server, data, home, "tar", message)


@pytest.mark.parametrize("kind", PACKED)
def test_archives_of_very_many_files_are_refused(server, home, kind, monkeypatch):
    monkeypatch.setattr(download, "MAX_MEMBERS", 20)
    many = {**FILES, **{f"{number}": b"" for number in range(20)}}
    data = (make_zip if kind == "zip" else make_tar_gz)(many)
    assert_refused(server, data, home, kind, "more than 20 files")


@pytest.mark.parametrize("kind", PACKED)
def test_archives_with_any_bytes_changed_are_fetched_or_refused(server, home, kind):
    random, start = np.random.default_rng(0), time.monotonic()
    for _ in range(150):
        data = bytearray(PACKED[kind] if kind == "zip" else gzip.decompress(PACKED[kind]))
        headers = [place for place in range(len(data) - 46) if data[place : place + 2] == b"PK"] or [0]
        for _ in range(random.integers(1, 5)):
            place = int(random.choice(headers)) + int(random.integers(46 if kind == "zip" else 512))
            data[place] = random.choice([0, 1, 255, random.integers(256)])
        data = bytes(data) if kind == "zip" else gzip.compress(bytes(data), 1)
        with contextlib.suppress(OSError):  # and nothing else
            fetch(server, data, home / f"{len(os.listdir(home))}", kind)
        if time.monotonic() - start > 2:
            break


@pytest.mark.parametrize("kind", PACKED)
def test_a_full_disk_is_an_error_with_advice(server, home, kind, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.LimitedFile, "write", full)
    assert_refused(server, PACKED[kind], home, kind, r"/pets cannot be downloaded .*No space left")
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    assert_refused(server, PACKED[kind], home, kind, r"cannot be unpacked .*No space left")


def test_the_limits_of_the_real_corpora_are_above_their_sizes():
    units = {"MB": 10**6, "GB": 10**9}
    for corpus in (corpora.ESC50, corpora.FSDD, corpora.GTZAN, corpora.FMA_SMALL):
        words = corpus.size.replace("(", "").split()
        sizes = [float(words[place]) * units[words[place + 1]] for place in (0, 2)]
        assert 1.5 * max(sizes) <= corpus.max_bytes <= 3 * max(sizes)
