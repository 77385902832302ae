"""Contracts of the fetchers of public corpora, which here come from a server on this machine."""

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

import lending
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from lending import serving, tarred, zipped

from sklearn_cpc.datasets import (
    _download,
    _fetchers,
    fetch_esc50,
    fetch_fma_small,
    fetch_fsdd,
    fetch_gtzan,
    get_data_home,
)


class Case(NamedTuple):
    fetch: object
    name: str  # of the constant that describes the corpus
    pack: object
    contents: tuple  # what is in each archive
    n_classes: int
    n_per_class: int


FMA_FILES = (lending.fma_metadata_files, lending.fma_small_files)
CASES = {
    "esc50": Case(fetch_esc50, "ESC50", zipped, (lending.esc50_files,), 3, 4),
    "fsdd": Case(fetch_fsdd, "FSDD", zipped, (lending.fsdd_files,), 3, 4),
    "gtzan": Case(fetch_gtzan, "GTZAN", tarred, (lending.gtzan_files,), 2, 2),
    "fma_small": Case(fetch_fma_small, "FMA_SMALL", zipped, FMA_FILES, 2, 2),
}
REAL = {folder: getattr(_fetchers, case.name) for folder, case in CASES.items()}
every_corpus = pytest.mark.parametrize("folder", CASES)


@pytest.fixture(autouse=True)
def no_other_place(tmp_path, monkeypatch):
    """Whatever happens, neither the home of whoever runs this nor a proxy is involved."""
    monkeypatch.setenv("SKLEARN_CPC_DATA_HOME", str(tmp_path / "unasked"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    yield
    assert not (tmp_path / "unasked").exists()


@pytest.fixture(scope="module")
def server():
    with serving() as shelf:
        yield shelf


@pytest.fixture
def shelf(server, monkeypatch):
    """A shelf with small archives of all corpora, and constants that lead to them."""
    server.files, server.n_failures, server.cut, server.asked = {}, {}, set(), []
    for folder in CASES:
        point_to(server, monkeypatch, folder, *(CASES[folder].pack(files()) for files in CASES[folder].contents))
    return server


def point_to(server, monkeypatch, folder, *contents):
    """Put archives on the shelf, and let the corpus be there and be as small as they are."""
    case, real, archives = CASES[folder], REAL[folder], []
    for number, (archive, content) in enumerate(zip(real.archives, contents, strict=True)):
        address = f"/{folder}/{number}"
        server.files[address] = content
        known_hash = archive.known_hash and hashed_like(archive.known_hash, content)
        archives.append(archive._replace(url=server.url + address, known_hash=known_hash))
    small = real._replace(archives=tuple(archives), n_classes=case.n_classes, n_per_class=case.n_per_class)
    if real.known_digest:
        small = small._replace(known_digest=digest(case.contents[0]()))
    monkeypatch.setattr(_fetchers, case.name, small)


def hashed_like(known_hash, content):
    algorithm = known_hash.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def digest(files):
    recordings = {name.rsplit("/")[-1]: content for name, content in files.items() if name.endswith(".wav")}
    return hashlib.sha256(b"".join(name.encode() + recordings[name] for name in sorted(recordings))).hexdigest()


def unpack_with(monkeypatch, folder, unpack):
    corpus = getattr(_fetchers, CASES[folder].name)
    archives = tuple(archive._replace(unpack=unpack) for archive in corpus.archives)
    monkeypatch.setattr(_fetchers, CASES[folder].name, corpus._replace(archives=archives))


def fetch(folder, data_home, **options):
    return CASES[folder].fetch(data_home=data_home, **{"verbose": 0, "n_retries": 0, **options})


def names_of(corpus):
    return [Path(path).name for path in corpus.paths]


def left_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# What is returned


def test_esc50_gives_classes_folds_and_the_subset_of_ten(shelf, tmp_path):
    corpus = fetch("esc50", tmp_path)
    assert names_of(corpus)[:3] == ["1-100-A-0.wav", "1-100-B-0.wav", "1-101-A-1.wav"]
    assert corpus.target.tolist() == ["dog", "dog", "rain", "rain", "airplane", "airplane"] * 2
    assert corpus.groups.tolist() == ["1"] * 6 + ["2"] * 6
    assert corpus.fold.tolist() == [1] * 6 + [2] * 6
    assert corpus.esc10.tolist() == [True, True, True, True, False, False] * 2
    assert corpus.target_names == ["airplane", "dog", "rain"]


def test_esc10_is_the_part_of_esc50_that_is_marked_so(shelf, tmp_path):
    whole, part = fetch("esc50", tmp_path), fetch("esc50", tmp_path, subset="esc10")
    assert part.paths == np.array(whole.paths)[whole.esc10].tolist()
    for name in ("target", "groups", "fold", "esc10"):
        np.testing.assert_array_equal(part[name], whole[name][whole.esc10])
    assert part.target_names == ["dog", "rain"]
    assert fetch("esc50", tmp_path, subset="esc10", return_X_y=True)[0] == part.paths


def test_fsdd_gives_digits_speakers_and_takes(shelf, tmp_path):
    corpus = fetch("fsdd", tmp_path)
    assert names_of(corpus)[:4] == ["0_ann_0.wav", "0_ann_5.wav", "0_theo_0.wav", "0_theo_5.wav"]
    assert corpus.target.tolist() == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert corpus.groups.tolist() == ["ann", "ann", "theo", "theo"] * 3
    assert corpus.take.tolist() == [0, 5] * 6
    assert corpus.target_names == ["0", "1", "2"]


def test_gtzan_gives_genres_without_groups_and_names_what_cannot_be_read(shelf, tmp_path):
    corpus = fetch("gtzan", tmp_path)
    assert names_of(corpus) == ["blues.00007.wav", "blues.00054.wav", "jazz.00007.wav", "jazz.00054.wav"]
    assert corpus.target.tolist() == ["blues", "blues", "jazz", "jazz"]
    assert corpus.groups is None
    assert corpus.known_bad == corpus.paths[3:]


def test_fma_small_gives_genres_artists_the_official_split_and_licences(shelf, tmp_path):
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
def test_paths_lead_to_audio_and_go_with_arrays_of_str(shelf, tmp_path, folder):
    corpus = fetch(folder, tmp_path)
    assert all(type(path) is str for path in corpus.paths)
    for path in set(corpus.paths) - {str(tmp_path / "gtzan" / "genres" / "jazz" / "jazz.00054.wav")}:
        assert soundfile.info(path).samplerate == 8000
    arrays = [value for value in corpus.values() if isinstance(value, np.ndarray)]
    assert {array.shape for array in arrays} == {(len(corpus.paths),)}
    assert {array.dtype.kind for array in (corpus.target, corpus.groups) if array is not None} == {"U"}


@every_corpus
def test_paths_and_target_alone_on_request(shelf, tmp_path, folder):
    corpus = fetch(folder, tmp_path)
    X, y = fetch(folder, tmp_path, return_X_y=True)
    assert corpus.paths == X
    np.testing.assert_array_equal(y, corpus.target, strict=True)


@every_corpus
def test_the_description_names_source_licence_and_citation(shelf, tmp_path, folder):
    text = fetch(folder, tmp_path).DESCR
    for word in ("Source: https://", "Licence: ", "Cite: "):
        assert word in text


@every_corpus
def test_what_is_unpacked_is_what_is_needed(shelf, tmp_path, folder):
    fetch(folder, tmp_path)
    kept = {path.name for path in (tmp_path / folder).rglob("*") if path.is_file()}
    others = kept - {name for name in kept if name.endswith((".wav", ".mp3"))}
    assert others <= {"LICENSE", "README.md", "README.txt", "esc50.csv", "tracks.csv", "metadata.py"}
    assert not [name for name in kept if name.startswith(".")]


# Where corpora are kept


def test_the_data_home_is_the_argument_or_the_variable_or_in_the_home(monkeypatch, tmp_path):
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


def test_the_variable_counts_at_each_call(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_CPC_DATA_HOME", str(tmp_path / "new" / "home"))
    assert fetch("fsdd", None).paths[0].startswith(str(tmp_path / "new" / "home" / "fsdd"))


@every_corpus
def test_the_second_call_asks_nobody(shelf, tmp_path, folder):
    first = fetch(folder, tmp_path)
    n_asked = len(shelf.asked)
    again = fetch(folder, tmp_path, download_if_missing=False)
    assert n_asked == len(CASES[folder].contents) == len(shelf.asked)
    assert again.paths == first.paths
    assert left_in(tmp_path) == [folder]


@every_corpus
def test_without_leave_to_download_an_error_says_how_to_get_it_and_nothing_happens(shelf, tmp_path, folder):
    with pytest.raises(OSError, match=r"is not in .*Call with download_if_missing=True to download") as caught:
        fetch(folder, tmp_path / "home", download_if_missing=False)
    for address in (address for address in shelf.files if folder in address):
        assert f"{shelf.url}{address}" in str(caught.value)
    assert str(tmp_path / "home" / folder) in str(caught.value)
    assert not (tmp_path / "home").exists()
    assert shelf.asked == []


def test_a_corpus_unpacked_by_hand_counts_as_fetched(shelf, tmp_path):
    (tmp_path / "gtzan").mkdir()
    with tarfile.open(fileobj=io.BytesIO(shelf.files["/gtzan/0"]), mode="r:gz") as archive:
        for member in archive:  # companions of macOS and all
            archive.extract(
                member, tmp_path / "gtzan", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
            )
    assert len(fetch("gtzan", tmp_path, download_if_missing=False).paths) == 4


def test_a_recording_lost_since_is_noticed(shelf, tmp_path):
    Path(fetch("esc50", tmp_path).paths[0]).unlink()
    with pytest.raises(
        OSError, match=r"incomplete: it needs 3 classes of 4 .* 11 .* of 3 classes, but 3 of 'dog'"
    ):
        fetch("esc50", tmp_path)
    assert len(shelf.asked) == 1


@pytest.mark.parametrize("table", [b"", b"no,such,columns\n1,2,3\n", b"\xff\xfe"])
@pytest.mark.parametrize("folder", ["esc50", "fma_small"])
def test_a_table_that_is_none_is_refused_saying_what_to_do(shelf, tmp_path, folder, table):
    fetch(folder, tmp_path)
    next((tmp_path / folder).rglob("*.csv")).write_bytes(table)
    with pytest.raises(OSError, match=rf"(cannot be read|incomplete).*Delete .*{folder}' and call again"):
        fetch(folder, tmp_path)


# Downloads that go wrong


def assert_recovers(folder, data_home):
    """Nothing is left of the failure, and the next call is as good as the first would have been."""
    assert left_in(data_home) == []
    assert len(fetch(folder, data_home).paths) == CASES[folder].n_classes * CASES[folder].n_per_class
    assert left_in(data_home) == [folder]


@every_corpus
def test_a_transfer_that_breaks_off_leaves_nothing(shelf, tmp_path, folder):
    last = max(address for address in shelf.files if folder in address)
    shelf.cut = {last}
    with pytest.raises(OSError, match=rf"{last} .*Nothing was kept. Call again, or unpack http"):
        fetch(folder, tmp_path)
    shelf.cut = set()
    assert_recovers(folder, tmp_path)


@every_corpus
def test_half_an_archive_leaves_nothing(shelf, tmp_path, folder):
    last = max(address for address in shelf.files if folder in address)
    whole = shelf.files[last]
    shelf.files[last] = whole[: len(whole) // 2]
    with pytest.raises(OSError, match=r"(and not [0-9a-f]{40}|cannot be unpacked).*Nothing was kept"):
        fetch(folder, tmp_path)
    shelf.files[last] = whole
    assert_recovers(folder, tmp_path)


@pytest.mark.parametrize("folder", ["esc50", "fma_small"])
def test_another_file_than_is_known_is_refused_and_both_checksums_told(shelf, tmp_path, folder):
    last = max(address for address in shelf.files if folder in address)
    whole = shelf.files[last]
    shelf.files[last] = whole + b"more"
    known_hash = REAL[folder].archives[-1].known_hash
    algorithm, known = hashed_like(known_hash, whole).split(":")
    found = hashed_like(known_hash, whole + b"more").split(":")[1]
    with pytest.raises(OSError, match=f"whose {algorithm} is {found}, and not {known}: "):
        fetch(folder, tmp_path)
    shelf.files[last] = whole
    assert_recovers(folder, tmp_path)


def test_other_recordings_than_are_known_are_refused_however_they_are_packed(shelf, tmp_path, monkeypatch):
    files = lending.fsdd_files()
    name = next(name for name in files if name.endswith("1_ann_5.wav"))
    original = shelf.files["/fsdd/0"]
    shelf.files["/fsdd/0"] = zipped({**files, name: lending.audio(99)})
    with pytest.raises(OSError, match=r"sha256 [0-9a-f]{64}, and not [0-9a-f]{64}: .*not those of the release"):
        fetch("fsdd", tmp_path)
    assert left_in(tmp_path) == []
    shelf.files["/fsdd/0"] = zipped(dict(reversed(files.items())))
    assert shelf.files["/fsdd/0"] != original
    assert len(fetch("fsdd", tmp_path).paths) == 12


@pytest.mark.parametrize("folder", ["fsdd", "gtzan"])
def test_an_archive_without_all_recordings_is_refused(shelf, tmp_path, monkeypatch, folder):
    some = CASES[folder].contents[0]()
    del some[max(name for name in some if name.endswith(".wav") and "/." not in name)]
    whole = shelf.files[f"/{folder}/0"]
    shelf.files[f"/{folder}/0"] = CASES[folder].pack(some)
    with pytest.raises(OSError, match=r"incomplete: .*Nothing was kept"):
        fetch(folder, tmp_path)
    shelf.files[f"/{folder}/0"] = whole
    assert_recovers(folder, tmp_path)


def test_the_checksum_at_the_end_of_a_gzip_file_is_compared(shelf, tmp_path):
    whole = shelf.files["/gtzan/0"]
    shelf.files["/gtzan/0"] = whole[:-8] + bytes(4) + whole[-4:]
    with pytest.raises(OSError, match=r"cannot be unpacked .*CRC"):
        fetch("gtzan", tmp_path)
    shelf.files["/gtzan/0"] = whole
    assert_recovers("gtzan", tmp_path)


def test_a_page_instead_of_an_archive_is_refused(shelf, tmp_path):
    for folder in ("fsdd", "gtzan"):
        shelf.files[f"/{folder}/0"] = b"<html>moved</html>"
        with pytest.raises(OSError, match="cannot be unpacked"):
            fetch(folder, tmp_path)
    assert left_in(tmp_path) == []


def test_a_busy_server_is_asked_again_with_a_warning_where_the_call_is(shelf, tmp_path):
    shelf.n_failures = {"/fsdd/0": 2}
    with pytest.warns(UserWarning, match=r"503 .*Trying again in 0 s, up to \d more") as caught:
        corpus = fetch_fsdd(data_home=tmp_path, verbose=0, n_retries=3, delay=0)
    assert len(corpus.paths) == 12
    assert len(shelf.asked) == 3
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_retries_come_to_an_end(shelf, tmp_path):
    shelf.n_failures = {"/fsdd/0": 3}
    with pytest.warns(UserWarning, match="Trying again"), pytest.raises(OSError, match=r"503 .*Nothing was kept"):
        fetch("fsdd", tmp_path, n_retries=2, delay=0)
    assert len(shelf.asked) == 3
    assert_recovers("fsdd", tmp_path)


def test_the_wait_between_attempts_is_the_delay(shelf, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(_download.time, "sleep", waited.append)
    shelf.n_failures = {"/fsdd/0": 1}
    with pytest.warns(UserWarning, match="Trying again in 1.5 s"):
        fetch("fsdd", tmp_path, n_retries=1, delay=1.5)
    assert waited == [1.5]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@every_corpus
def test_an_interruption_leaves_nothing(shelf, tmp_path, monkeypatch, folder, error):
    unpack = REAL[folder].archives[0].unpack

    def break_off(path, content, patterns):
        unpack(path, content, patterns)
        assert re.fullmatch(rf"\.{folder}-\w+", content.parent.name)
        assert content.parent.parent == tmp_path  # a folder beside the final one can be renamed to it at once
        raise error

    unpack_with(monkeypatch, folder, break_off)
    with pytest.raises(error):
        fetch(folder, tmp_path)
    unpack_with(monkeypatch, folder, unpack)
    assert_recovers(folder, tmp_path)


def test_what_a_killed_process_left_is_not_taken_for_the_corpus(shelf, tmp_path):
    left = tmp_path / ".fsdd-a1b2c3" / "content"
    left.mkdir(parents=True)
    with pytest.raises(OSError, match="is not in"):
        fetch("fsdd", tmp_path, download_if_missing=False)
    assert len(fetch("fsdd", tmp_path).paths) == 12
    assert left.exists()  # another process may be at it


# Several at once


def test_whoever_comes_second_takes_what_the_first_has_fetched(shelf, tmp_path, monkeypatch):
    unpack = REAL["fsdd"].archives[0].unpack

    def be_overtaken(*arguments):
        unpack_with(monkeypatch, "fsdd", unpack)
        fetch("fsdd", tmp_path)
        (tmp_path / "fsdd" / "of the first").touch()
        unpack(*arguments)

    unpack_with(monkeypatch, "fsdd", be_overtaken)
    assert len(fetch("fsdd", tmp_path).paths) == 12
    assert (tmp_path / "fsdd" / "of the first").exists()
    assert left_in(tmp_path) == ["fsdd"]


def test_threads_may_fetch_the_same_corpus(shelf, tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch("esc50", tmp_path).paths)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(paths == found[0] for paths in found)
    assert left_in(tmp_path) == ["esc50"]


def test_a_folder_that_cannot_be_written_is_an_error(shelf, tmp_path):
    (tmp_path / "home").touch()
    with pytest.raises(OSError, match="home"):
        fetch("fsdd", tmp_path / "home")
    assert left_in(tmp_path) == ["home"]


# Archives that mean ill

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
def test_an_archive_that_leads_out_of_the_folder_is_refused(shelf, tmp_path, folder, name):
    case = CASES[folder]
    whole = shelf.files[f"/{folder}/0"]
    shelf.files[f"/{folder}/0"] = case.pack({**case.contents[0](), name: b"evil"})
    with pytest.raises(OSError, match=r"which would be written outside of its folder.*Nothing was kept"):
        fetch(folder, tmp_path / "home")
    assert left_in(tmp_path) == ["home"]
    shelf.files[f"/{folder}/0"] = whole
    assert_recovers(folder, tmp_path / "home")


def test_links_in_an_archive_are_left_out(shelf, tmp_path):
    file = io.BytesIO(gzip.decompress(shelf.files["/gtzan/0"]))
    with tarfile.open(fileobj=file, mode="a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo(f"genres/jazz/link{kind.decode()}.wav")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    shelf.files["/gtzan/0"] = gzip.compress(file.getvalue())
    assert len(fetch("gtzan", tmp_path).paths) == 4


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "b.wav", "/", "\\", "C:", "~"]), max_size=6),
    st.sampled_from("/\\"),
)
def test_a_wanted_name_lies_within_the_folder(parts, slash):
    name = slash.join(parts)
    try:
        wanted = _download._is_wanted(name, ("*.wav",))
    except ValueError:
        return
    inside = os.path.normpath(os.path.join("/folder", name.replace("\\", "/")))
    assert inside == "/folder" or inside.startswith("/folder/")
    assert not wanted or inside.endswith(".wav")


# Parameters and constants


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"subset": "esc20"}, ValueError, "subset='esc20' is unknown; use one of 'all', 'esc10'"),
        ({"n_retries": -1}, ValueError, "n_retries == -1, must be >= 0"),
        ({"n_retries": 1.5}, TypeError, "n_retries must be an instance of"),
        ({"delay": -1}, ValueError, "delay == -1, must be >= 0"),
    ],
)
def test_a_parameter_out_of_range_is_named_before_anything_is_asked(shelf, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        fetch("esc50", tmp_path, **options)
    assert shelf.asked == left_in(tmp_path) == []


@pytest.mark.parametrize(("verbose", "shows"), [(0, False), (1, True)])
def test_the_progress_bar_shows_on_request(shelf, tmp_path, capsys, verbose, shows):
    fetch("fsdd", tmp_path, verbose=verbose)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("100%" in shown.err) == shows
    assert bool(shown.err) == shows


@every_corpus
def test_parameters_are_documented_with_their_defaults(folder):
    function = CASES[folder].fetch
    text = inspect.getdoc(function).partition("Parameters\n")[2].partition("Returns\n")[0]
    documented = {name: eval(default) for name, default in re.findall(r"^(\w+) : .*default=(.*)$", text, re.M)}
    assert documented == {name: each.default for name, each in inspect.signature(function).parameters.items()}
    assert {each.kind for each in inspect.signature(function).parameters.values()} == {
        inspect.Parameter.KEYWORD_ONLY
    }


@every_corpus
def test_real_corpora_come_by_https_with_checksums_of_the_right_length(folder):
    corpus = REAL[folder]
    assert corpus.folder == folder
    for archive in corpus.archives:
        assert archive.url.startswith("https://")
        if archive.known_hash is not None:
            algorithm, _, digits = archive.known_hash.partition(":")
            assert len(bytes.fromhex(digits)) == hashlib.new(algorithm).digest_size
    if corpus.known_digest is not None:
        assert len(bytes.fromhex(corpus.known_digest)) == 32


def test_the_sizes_of_the_real_corpora_are_those_of_their_papers():
    assert {folder: corpus.n_classes * corpus.n_per_class for folder, corpus in REAL.items()} == {
        "esc50": 2000,
        "fsdd": 3000,
        "gtzan": 1000,
        "fma_small": 8000,
    }
