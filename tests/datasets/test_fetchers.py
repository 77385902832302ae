"""Contracts of the fetchers of public corpora, tested with small corpora from a local server."""

import gzip
import hashlib
import inspect
import io
import os
import re
import tarfile
import threading
from pathlib import Path
from typing import NamedTuple

import file_server
import numpy as np
import pytest
import soundfile
from file_server import make_tar_gz, make_zip, serve_files
from hypothesis import given
from hypothesis import strategies as st

from sklearn_cpc.datasets import (
    download,
    fetch_esc50,
    fetch_fma_small,
    fetch_fsdd,
    fetch_gtzan,
    fetchers,
    get_data_home,
)


class Case(NamedTuple):
    fetch: object
    name: str  # of the constant that describes the corpus
    pack: object
    contents: tuple  # what is in each archive
    n_classes: int
    n_per_class: int


FMA_FILES = (file_server.fma_metadata_files, file_server.fma_small_files)
CASES = {
    "esc50": Case(fetch_esc50, "ESC50", make_zip, (file_server.esc50_files,), 3, 4),
    "fsdd": Case(fetch_fsdd, "FSDD", make_zip, (file_server.fsdd_files,), 3, 4),
    "gtzan": Case(fetch_gtzan, "GTZAN", make_tar_gz, (file_server.gtzan_files,), 2, 2),
    "fma_small": Case(fetch_fma_small, "FMA_SMALL", make_zip, FMA_FILES, 2, 2),
}
REAL = {folder: getattr(fetchers, case.name) for folder, case in CASES.items()}
every_corpus = pytest.mark.parametrize("folder", CASES)


@pytest.fixture(autouse=True)
def isolate(tmp_path, monkeypatch):
    """Use neither the home directory of the user nor a proxy."""
    monkeypatch.setenv("SKLEARN_CPC_DATA_HOME", str(tmp_path / "default"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    yield
    assert not (tmp_path / "default").exists()


@pytest.fixture(scope="module")
def running_server():
    with serve_files() as server:
        yield server


@pytest.fixture
def server(running_server, monkeypatch):
    """Serve small archives of all corpora, and let the fetchers download these."""
    server = running_server
    server.files, server.n_failures, server.truncated, server.requests = {}, {}, set(), []
    for folder, case in CASES.items():
        real, archives = REAL[folder], {}
        for number, (known_hash, files) in enumerate(zip(real.archives.values(), case.contents, strict=True)):
            address, content = f"/{folder}/{number}", case.pack(files())
            server.files[address] = content
            archives[server.url + address] = known_hash and hash_as(known_hash, content)
        small = real._replace(archives=archives, n_classes=case.n_classes, n_per_class=case.n_per_class)
        if real.recordings_sha256:
            small = small._replace(recordings_sha256=hash_recordings(case.contents[0]()))
        monkeypatch.setattr(fetchers, case.name, small)
    return server


def hash_as(known_hash, content):
    algorithm = known_hash.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def hash_recordings(files):
    recordings = {name.rsplit("/")[-1]: content for name, content in files.items() if name.endswith(".wav")}
    return hashlib.sha256(b"".join(name.encode() + recordings[name] for name in sorted(recordings))).hexdigest()


def unpack_with(monkeypatch, folder, unpack):
    name = CASES[folder].name
    monkeypatch.setattr(fetchers, name, getattr(fetchers, name)._replace(unpack=unpack))


def fetch(folder, data_home, **options):
    return CASES[folder].fetch(data_home=data_home, **{"verbose": 0, "n_retries": 0, **options})


def file_names(corpus):
    return [Path(path).name for path in corpus.paths]


def list_folder(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# Returned values


def test_esc50_has_classes_folds_and_esc10(server, tmp_path):
    corpus = fetch("esc50", tmp_path)
    assert file_names(corpus)[:3] == ["1-100-A-0.wav", "1-100-B-0.wav", "1-101-A-1.wav"]
    assert corpus.target.tolist() == ["dog", "dog", "rain", "rain", "airplane", "airplane"] * 2
    assert corpus.groups.tolist() == ["1"] * 6 + ["2"] * 6
    assert corpus.fold.tolist() == [1] * 6 + [2] * 6
    assert corpus.esc10.tolist() == [True, True, True, True, False, False] * 2
    assert corpus.target_names == ["airplane", "dog", "rain"]


def test_subset_esc10_lists_only_the_recordings_marked_so(server, tmp_path):
    full, esc10 = fetch("esc50", tmp_path), fetch("esc50", tmp_path, subset="esc10")
    assert esc10.paths == np.array(full.paths)[full.esc10].tolist()
    for name in ("target", "groups", "fold", "esc10"):
        np.testing.assert_array_equal(esc10[name], full[name][full.esc10])
    assert esc10.target_names == ["dog", "rain"]
    assert fetch("esc50", tmp_path, subset="esc10", return_X_y=True)[0] == esc10.paths


def test_fsdd_has_digits_speakers_and_takes(server, tmp_path):
    corpus = fetch("fsdd", tmp_path)
    assert file_names(corpus)[:4] == ["0_ann_0.wav", "0_ann_5.wav", "0_theo_0.wav", "0_theo_5.wav"]
    assert corpus.target.tolist() == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert corpus.groups.tolist() == ["ann", "ann", "theo", "theo"] * 3
    assert corpus.take.tolist() == [0, 5] * 6
    assert corpus.target_names == ["0", "1", "2"]


def test_gtzan_has_genres_no_groups_and_a_known_bad_file(server, tmp_path):
    corpus = fetch("gtzan", tmp_path)
    assert file_names(corpus) == ["blues.00007.wav", "blues.00054.wav", "jazz.00007.wav", "jazz.00054.wav"]
    assert corpus.target.tolist() == ["blues", "blues", "jazz", "jazz"]
    assert corpus.groups is None
    assert corpus.known_bad == corpus.paths[3:]


def test_fma_small_has_genres_artists_splits_and_licences(server, tmp_path):
    corpus = fetch("fma_small", tmp_path)
    folder = tmp_path / "fma_small" / "fma_small"
    names = ["000/000005.mp3", "000/000140.mp3", "098/098565.mp3", "133/133297.mp3"]
    assert corpus.paths == [str(folder / name) for name in names]
    assert corpus.target.tolist() == ["Rock", "Folk", "Folk", "Rock"]
    assert corpus.groups.tolist() == ["1", "54", "6", "6"]
    assert corpus.split.tolist() == ["training", "validation", "test", "test"]
    assert corpus.track_id.tolist() == [5, 140, 98565, 133297]
    assert corpus.license.tolist() == ["Attribution", "Attribution-NonCommercial", "Public Domain", "Attribution"]
    assert corpus.known_bad == corpus.paths[2:]


@every_corpus
def test_paths_are_audio_files_and_labels_are_str_arrays(server, tmp_path, folder):
    corpus = fetch(folder, tmp_path)
    assert all(type(path) is str for path in corpus.paths)
    for path in set(corpus.paths) - {str(tmp_path / "gtzan" / "genres" / "jazz" / "jazz.00054.wav")}:
        assert soundfile.info(path).samplerate == 8000
    arrays = [value for value in corpus.values() if isinstance(value, np.ndarray)]
    assert {array.shape for array in arrays} == {(len(corpus.paths),)}
    assert {array.dtype.kind for array in (corpus.target, corpus.groups) if array is not None} == {"U"}


@every_corpus
def test_return_X_y_returns_paths_and_target(server, tmp_path, folder):
    corpus = fetch(folder, tmp_path)
    X, y = fetch(folder, tmp_path, return_X_y=True)
    assert corpus.paths == X
    np.testing.assert_array_equal(y, corpus.target, strict=True)


@every_corpus
def test_description_has_source_licence_and_citation(server, tmp_path, folder):
    text = fetch(folder, tmp_path).DESCR
    for word in ("Source: https://", "Licence: ", "Cite: "):
        assert word in text


@every_corpus
def test_only_needed_files_are_unpacked(server, tmp_path, folder):
    fetch(folder, tmp_path)
    kept = {path.name for path in (tmp_path / folder).rglob("*") if path.is_file()}
    others = kept - {name for name in kept if name.endswith((".wav", ".mp3"))}
    assert others <= {"LICENSE", "README.md", "README.txt", "esc50.csv", "tracks.csv", "metadata.py"}
    assert not [name for name in kept if name.startswith(".")]


# Folders


def test_data_home_is_argument_or_variable_or_default(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("USERPROFILE", "/home/anna")
    assert get_data_home(tmp_path) == str(tmp_path)
    assert get_data_home("~/corpora") == "/home/anna/corpora"
    monkeypatch.setenv("SKLEARN_CPC_DATA_HOME", "~/by variable")
    assert get_data_home() == "/home/anna/by variable"
    assert get_data_home("elsewhere") == "elsewhere"
    for unset in (lambda name: monkeypatch.setenv(name, ""), monkeypatch.delenv):
        unset("SKLEARN_CPC_DATA_HOME")
        assert Path(get_data_home()) == Path("/home/anna/sklearn_cpc_data")


def test_environment_variable_is_read_at_each_call(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_CPC_DATA_HOME", str(tmp_path / "new" / "home"))
    assert fetch("fsdd", None).paths[0].startswith(str(tmp_path / "new" / "home" / "fsdd"))


@every_corpus
def test_second_call_needs_no_server(server, tmp_path, folder):
    first = fetch(folder, tmp_path)
    n_requests = len(server.requests)
    again = fetch(folder, tmp_path, download_if_missing=False)
    assert n_requests == len(CASES[folder].contents) == len(server.requests)
    assert again.paths == first.paths
    assert list_folder(tmp_path) == [folder]


@every_corpus
def test_missing_corpus_is_an_error_if_it_must_not_be_downloaded(server, tmp_path, folder):
    with pytest.raises(OSError, match=r"is not in .*Call with download_if_missing=True to download") as caught:
        fetch(folder, tmp_path / "home", download_if_missing=False)
    for address in (address for address in server.files if folder in address):
        assert f"{server.url}{address}" in str(caught.value)
    assert str(tmp_path / "home" / folder) in str(caught.value)
    assert not (tmp_path / "home").exists()
    assert server.requests == []


def test_corpus_unpacked_by_hand_is_found(server, tmp_path):
    (tmp_path / "gtzan").mkdir()
    with tarfile.open(fileobj=io.BytesIO(server.files["/gtzan/0"]), mode="r:gz") as archive:
        for member in archive:  # including the hidden files of macOS
            archive.extract(
                member, tmp_path / "gtzan", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
            )
    assert len(fetch("gtzan", tmp_path, download_if_missing=False).paths) == 4


def test_deleted_recording_is_noticed(server, tmp_path):
    Path(fetch("esc50", tmp_path).paths[0]).unlink()
    with pytest.raises(
        OSError, match=r"incomplete: it needs 3 classes of 4 .* 11 .* of 3 classes, but 3 of 'dog'"
    ):
        fetch("esc50", tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("table", [b"", b"no,such,columns\n1,2,3\n", b"\xff\xfe"])
@pytest.mark.parametrize("folder", ["esc50", "fma_small"])
def test_damaged_table_is_refused_with_advice(server, tmp_path, folder, table):
    fetch(folder, tmp_path)
    next((tmp_path / folder).rglob("*.csv")).write_bytes(table)
    with pytest.raises(OSError, match=rf"(cannot be read|incomplete).*Delete .*{folder}' and call again"):
        fetch(folder, tmp_path)


# Failed downloads


def assert_recovers(folder, data_home):
    """A failed call leaves no files, and the next call succeeds."""
    assert list_folder(data_home) == []
    assert len(fetch(folder, data_home).paths) == CASES[folder].n_classes * CASES[folder].n_per_class
    assert list_folder(data_home) == [folder]


@every_corpus
def test_interrupted_transfer_leaves_no_files(server, tmp_path, folder):
    last = max(address for address in server.files if folder in address)
    server.truncated = {last}
    with pytest.raises(OSError, match=rf"{last} .*Nothing was kept. Call again, or unpack http"):
        fetch(folder, tmp_path)
    server.truncated = set()
    assert_recovers(folder, tmp_path)


@every_corpus
def test_truncated_archive_leaves_no_files(server, tmp_path, folder):
    last = max(address for address in server.files if folder in address)
    intact = server.files[last]
    server.files[last] = intact[: len(intact) // 2]
    with pytest.raises(OSError, match=r"(instead of [0-9a-f]{40}|cannot be unpacked).*Nothing was kept"):
        fetch(folder, tmp_path)
    server.files[last] = intact
    assert_recovers(folder, tmp_path)


@pytest.mark.parametrize("folder", ["esc50", "fma_small"])
def test_archive_with_wrong_hash_is_refused_with_both_hashes(server, tmp_path, folder):
    last = max(address for address in server.files if folder in address)
    intact = server.files[last]
    server.files[last] = intact + b"more"
    known_hash = list(REAL[folder].archives.values())[-1]
    algorithm, known = hash_as(known_hash, intact).split(":")
    found = hash_as(known_hash, intact + b"more").split(":")[1]
    with pytest.raises(OSError, match=f"whose {algorithm} is {found} instead of {known}: "):
        fetch(folder, tmp_path)
    server.files[last] = intact
    assert_recovers(folder, tmp_path)


def test_recordings_are_hashed_independently_of_their_archive(server, tmp_path, monkeypatch):
    files = file_server.fsdd_files()
    name = next(name for name in files if name.endswith("1_ann_5.wav"))
    original = server.files["/fsdd/0"]
    server.files["/fsdd/0"] = make_zip({**files, name: file_server.make_audio(99)})
    with pytest.raises(OSError, match=r"sha256 [0-9a-f]{64} instead of [0-9a-f]{64}: .*not those of the release"):
        fetch("fsdd", tmp_path)
    assert list_folder(tmp_path) == []
    server.files["/fsdd/0"] = make_zip(dict(reversed(files.items())))
    assert server.files["/fsdd/0"] != original
    assert len(fetch("fsdd", tmp_path).paths) == 12


@pytest.mark.parametrize("folder", ["fsdd", "gtzan"])
def test_archive_with_a_missing_recording_is_refused(server, tmp_path, monkeypatch, folder):
    some = CASES[folder].contents[0]()
    del some[max(name for name in some if name.endswith(".wav") and "/." not in name)]
    intact = server.files[f"/{folder}/0"]
    server.files[f"/{folder}/0"] = CASES[folder].pack(some)
    with pytest.raises(OSError, match=r"incomplete: .*Nothing was kept"):
        fetch(folder, tmp_path)
    server.files[f"/{folder}/0"] = intact
    assert_recovers(folder, tmp_path)


def test_checksum_at_the_end_of_a_gzip_file_is_compared(server, tmp_path):
    intact = server.files["/gtzan/0"]
    server.files["/gtzan/0"] = intact[:-8] + bytes(4) + intact[-4:]
    with pytest.raises(OSError, match=r"cannot be unpacked .*CRC"):
        fetch("gtzan", tmp_path)
    server.files["/gtzan/0"] = intact
    assert_recovers("gtzan", tmp_path)


def test_web_page_instead_of_an_archive_is_refused(server, tmp_path):
    for folder in ("fsdd", "gtzan"):
        server.files[f"/{folder}/0"] = b"<html>moved</html>"
        with pytest.raises(OSError, match="cannot be unpacked"):
            fetch(folder, tmp_path)
    assert list_folder(tmp_path) == []


def test_busy_server_is_retried_with_a_warning_at_the_call(server, tmp_path):
    server.n_failures = {"/fsdd/0": 2}
    with pytest.warns(UserWarning, match=r"503 .*Trying again in 0 s, up to \d more") as caught:
        corpus = fetch_fsdd(data_home=tmp_path, verbose=0, n_retries=3, delay=0)
    assert len(corpus.paths) == 12
    assert len(server.requests) == 3
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_number_of_retries_is_limited(server, tmp_path):
    server.n_failures = {"/fsdd/0": 3}
    with pytest.warns(UserWarning, match="Trying again"), pytest.raises(OSError, match=r"503 .*Nothing was kept"):
        fetch("fsdd", tmp_path, n_retries=2, delay=0)
    assert len(server.requests) == 3
    assert_recovers("fsdd", tmp_path)


def test_delay_is_the_wait_between_attempts(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(download.time, "sleep", waited.append)
    server.n_failures = {"/fsdd/0": 1}
    with pytest.warns(UserWarning, match="Trying again in 1.5 s"):
        fetch("fsdd", tmp_path, n_retries=1, delay=1.5)
    assert waited == [1.5]


@pytest.mark.parametrize("installed", [False, True])
def test_download_of_killed_process_is_removed(server, tmp_path, installed):
    if installed:
        fetch("fsdd", tmp_path)
    scratch = tmp_path / ".sklearn_cpc-0123456789abcdef"
    scratch.mkdir()
    (scratch / "archive").write_bytes(b"half")
    scratch.with_suffix(".lock").touch()  # no process holds it
    fetch("fsdd", tmp_path)
    assert list_folder(tmp_path) == ["fsdd"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@every_corpus
def test_interrupted_unpacking_leaves_no_files(server, tmp_path, monkeypatch, folder, error):
    unpack = REAL[folder].unpack

    def stop_after_unpacking(path, content, patterns):
        unpack(path, content, patterns)
        assert re.fullmatch(r"\.sklearn_cpc-\w+", content.parent.name)
        assert content.parent.parent == tmp_path  # a folder beside the final one can be renamed to it at once
        raise error

    unpack_with(monkeypatch, folder, stop_after_unpacking)
    with pytest.raises(error):
        fetch(folder, tmp_path)
    unpack_with(monkeypatch, folder, unpack)
    assert_recovers(folder, tmp_path)


def test_leftovers_of_a_killed_process_are_ignored(server, tmp_path):
    left = tmp_path / ".fsdd-a1b2c3" / "content"
    left.mkdir(parents=True)
    with pytest.raises(OSError, match="is not in"):
        fetch("fsdd", tmp_path, download_if_missing=False)
    assert len(fetch("fsdd", tmp_path).paths) == 12
    assert left.exists()  # another process may be using it


# Concurrent calls


def test_slower_process_uses_the_corpus_of_the_faster_one(server, tmp_path, monkeypatch):
    unpack = REAL["fsdd"].unpack

    def unpack_after_another_process(*arguments):
        unpack_with(monkeypatch, "fsdd", unpack)
        fetch("fsdd", tmp_path)
        (tmp_path / "fsdd" / "from the faster process").touch()
        unpack(*arguments)

    unpack_with(monkeypatch, "fsdd", unpack_after_another_process)
    assert len(fetch("fsdd", tmp_path).paths) == 12
    assert (tmp_path / "fsdd" / "from the faster process").exists()
    assert list_folder(tmp_path) == ["fsdd"]


def test_threads_can_fetch_the_same_corpus(server, tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch("esc50", tmp_path).paths)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(paths == found[0] for paths in found)
    assert list_folder(tmp_path) == ["esc50"]


def test_data_home_that_cannot_be_written_is_an_error(server, tmp_path):
    (tmp_path / "home").touch()
    with pytest.raises(OSError, match="home"):
        fetch("fsdd", tmp_path / "home")
    assert list_folder(tmp_path) == ["home"]


# Malicious archives

OUTSIDE = [
    "../evil.wav",
    "a/../../evil.wav",
    "/evil.wav",
    "..\\evil.wav",
    "C:/evil.wav",
    "C:\\evil.wav",
    "\\evil.wav",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("folder", ["fsdd", "gtzan"])
def test_archive_with_a_name_outside_of_the_folder_is_refused(server, tmp_path, folder, name):
    case = CASES[folder]
    intact = server.files[f"/{folder}/0"]
    server.files[f"/{folder}/0"] = case.pack({**case.contents[0](), name: b"evil"})
    with pytest.raises(OSError, match=r"which would be written outside of its folder.*Nothing was kept"):
        fetch(folder, tmp_path / "home")
    assert list_folder(tmp_path) == ["home"]
    server.files[f"/{folder}/0"] = intact
    assert_recovers(folder, tmp_path / "home")


def test_links_in_an_archive_are_not_unpacked(server, tmp_path):
    file = io.BytesIO(gzip.decompress(server.files["/gtzan/0"]))
    with tarfile.open(fileobj=file, mode="a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo(f"genres/jazz/link{kind.decode()}.wav")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    server.files["/gtzan/0"] = gzip.compress(file.getvalue())
    assert len(fetch("gtzan", tmp_path).paths) == 4


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "b.wav", "/", "\\", "C:", "~"]), max_size=6),
    st.sampled_from("/\\"),
)
def test_needed_names_are_inside_the_folder(parts, slash):
    name = slash.join(parts)
    try:
        wanted = download.is_needed(name, ("*.wav",))
    except ValueError:
        return
    inside = os.path.normpath(os.path.join("/folder", name.replace("\\", "/")))
    assert inside == "/folder" or inside.startswith("/folder/")
    assert not wanted or inside.endswith(".wav")


# Parameters and constants


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"subset": "esc20"}, "subset"),
        ({"n_retries": -1}, "n_retries"),
        ({"n_retries": 1.5}, "n_retries"),
        ({"delay": -1}, "delay"),
        ({"delay": float("nan")}, "delay"),
        ({"delay": float("inf")}, "delay"),
        ({"data_home": 3}, "data_home"),
        ({"return_X_y": "no"}, "return_X_y"),
        ({"download_if_missing": None}, "download_if_missing"),
    ],
)
def test_invalid_parameter_is_named_before_any_request(server, tmp_path, options, name):
    with pytest.raises(ValueError, match=f"'{name}' parameter of fetch_esc50 must be"):
        fetch("esc50", **{"data_home": tmp_path, **options})
    assert server.requests == list_folder(tmp_path) == []


@pytest.mark.parametrize(("verbose", "shows"), [(0, False), (1, True)])
def test_verbose_shows_a_progress_bar(server, tmp_path, capsys, verbose, shows):
    fetch("fsdd", tmp_path, verbose=verbose)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("100%" in shown.err) == shows
    assert bool(shown.err) == shows


@every_corpus
def test_every_parameter_is_documented_with_its_default(folder):
    function = CASES[folder].fetch
    text = inspect.getdoc(function).partition("Parameters\n")[2].partition("Returns\n")[0]
    documented = {name: eval(default) for name, default in re.findall(r"^(\w+) : .*default=(.*)$", text, re.M)}
    assert documented == {name: each.default for name, each in inspect.signature(function).parameters.items()}
    assert {each.kind for each in inspect.signature(function).parameters.values()} == {
        inspect.Parameter.KEYWORD_ONLY
    }


@every_corpus
def test_docstring_is_complete_numpydoc(server, tmp_path, folder):
    function = CASES[folder].fetch
    parts = re.split(r"^(\w+)\n-+$", inspect.getdoc(function), flags=re.M)
    assert parts[1::2] == ["Parameters", "Returns", "Raises", "Notes", "Examples"]
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    attributes = re.findall(r"^    (\w+) : ", sections["Returns"], re.M)
    assert sorted(attributes) == sorted(fetch(folder, tmp_path))
    assert REAL[folder].description.strip() == sections["Notes"].strip()
    assert f">>> corpus = {function.__name__}()" in sections["Examples"]
    assert not re.search(r"\{\w*\}", inspect.getdoc(function))


@every_corpus
def test_real_corpora_use_https_and_hashes_of_the_right_length(folder):
    corpus = REAL[folder]
    assert corpus.folder == folder
    for url, known_hash in corpus.archives.items():
        assert url.startswith("https://")
        if known_hash is not None:
            algorithm, _, digits = known_hash.partition(":")
            assert len(bytes.fromhex(digits)) == hashlib.new(algorithm).digest_size
    if corpus.recordings_sha256 is not None:
        assert len(bytes.fromhex(corpus.recordings_sha256)) == 32


def test_real_corpora_have_the_sizes_of_their_papers():
    assert {folder: corpus.n_classes * corpus.n_per_class for folder, corpus in REAL.items()} == {
        "esc50": 2000,
        "fsdd": 3000,
        "gtzan": 1000,
        "fma_small": 8000,
    }
