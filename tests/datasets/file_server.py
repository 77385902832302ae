"""Small archives with the layout of the real ones, and a local server for them."""

import csv
import gzip
import io
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import soundfile

from sklearn_cpc.datasets.corpora import ESC50_COMMIT, FSDD_RELEASE


class FileServer:
    """Files by address, the faults of some of them, and the requests so far."""

    def __init__(self, url):
        self.url = url
        self.files = {}
        self.n_failures = {}  # number of "busy" answers before the file is sent
        self.truncated = set()  # addresses whose transfer stops half way
        self.answers = {}  # functions that write the answer to a stream
        self.requests = []


@contextmanager
def serve_files():
    """Serve files from a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests.append(self.path)
            if self.path in server.answers:
                server.answers[self.path](self.wfile)
                return
            if server.n_failures.get(self.path, 0):
                server.n_failures[self.path] -= 1
                self.send_error(503)
                return
            content = server.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in server.truncated else content)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        server = FileServer(f"http://127.0.0.1:{http_server.server_port}")
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        http_server.shutdown()
        thread.join()


def make_audio(seed, kind="WAV"):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.5, 0.5, 800), 8000, format=kind)
    return file.getvalue()


def make_zip(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def make_tar_gz(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(file.getvalue())


def make_csv(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def esc50_files():
    """Three classes of four recordings, in two folds; two of the classes are in ESC-10."""
    top = f"ESC-50-{ESC50_COMMIT}"
    rows = [
        (f"{fold}-{100 + target}-{take}-{target}.wav", fold, target, name, name != "airplane", 100 + target, take)
        for fold in (1, 2)
        for target, name in enumerate(["dog", "rain", "airplane"])
        for take in "AB"
    ]
    columns = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    return {
        f"{top}/": b"",
        f"{top}/.circleci/config.yml": b"version: 2",
        f"{top}/LICENSE": b"CC BY-NC",
        f"{top}/README.md": b"ESC-50",
        f"{top}/meta/esc50.csv": make_csv([columns, *rows]),
        f"{top}/meta/esc50-human.xlsx": b"table",
        **{f"{top}/audio/{row[0]}": make_audio(seed) for seed, row in enumerate(rows)},
    }


def fsdd_files():
    """Three digits, two recordings of each by two speakers."""
    top = f"free-spoken-digit-dataset-{FSDD_RELEASE}"
    names = [f"{digit}_{who}_{take}.wav" for digit in range(3) for who in ("theo", "ann") for take in (0, 5)]
    return {
        f"{top}/README.md": b"FSDD",
        f"{top}/utils/trimmer.py": b"import os",
        **{f"{top}/recordings/{name}": make_audio(seed) for seed, name in enumerate(names)},
    }


def gtzan_files():
    """Two genres of two recordings, one of which is not audio, with the hidden files that macOS adds."""
    names = [f"{genre}/{genre}.{number:05d}.wav" for genre in ("jazz", "blues") for number in (54, 7)]
    return {
        "./._genres": b"finder",
        "genres/.DS_Store": b"finder",
        "genres/bextract_single.mf": b"list",
        **{f"genres/{name.replace('/', '/._')}": b"finder" for name in names},
        **{f"__MACOSX/genres/{name}": b"finder" for name in names},
        **{f"genres/{name}": make_audio(seed) for seed, name in enumerate(names)},
        "genres/jazz/jazz.00054.wav": b"not audio",
    }


FMA_TRACKS = [  # id, artist, split, subset, genre, licence
    (2, 1, "training", "medium", "Rock", "Attribution"),
    (5, 1, "training", "small", "Rock", "Attribution"),
    (140, 54, "validation", "small", "Folk", "Attribution-NonCommercial"),
    (98565, 6, "test", "small", "Folk", "Public Domain"),
    (133297, 6, "test", "small", "Rock", "Attribution"),
    (140000, 9, "training", "large", "", "Attribution"),
]


def fma_metadata_files():
    """A table with three header rows, and with line breaks, commas and quotes in its texts."""
    header = [
        ("", "album", "artist", "artist", "set", "set", "track", "track", "track"),
        ("", "id", "bio", "id", "split", "subset", "genre_top", "license", "title"),
        ("track_id", "", "", "", "", "", "", "", ""),
    ]
    bio = 'He says "hello",\r\nand plays.\n'
    rows = [
        (number, 7, bio, artist, split, subset, genre, licence, "small")
        for number, artist, split, subset, genre, licence in FMA_TRACKS
    ]
    return {
        "fma_metadata/README.txt": b"FMA",
        "fma_metadata/raw_tracks.csv": b"raw",
        "fma_metadata/tracks.csv": make_csv([*header, *rows]),
    }


def fma_small_files():
    """Two genres of two recordings."""
    numbers = [f"{track[0]:06d}" for track in FMA_TRACKS if track[3] == "small"]
    return {
        "fma_small/README.txt": b"FMA",
        "fma_small/checksums": b"sha1",
        **{f"fma_small/{name[:3]}/{name}.mp3": make_audio(int(name), "MP3") for name in numbers},
    }
