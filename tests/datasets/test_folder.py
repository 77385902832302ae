"""Contracts of `load_audio_folder`."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from folders import assert_same_corpus, create_files, relative_paths

from sklearn_cpc.datasets import load_audio_folder


def test_classes_are_sorted_folders_of_sorted_files(tmp_path):
    create_files(tmp_path, "b cat/2.wav", "b cat/10.flac", "a dog/z.ogg", "a dog/site 1/deep/y.WAV")
    corpus = load_audio_folder(tmp_path)
    assert relative_paths(corpus, tmp_path) == [
        "a dog/site 1/deep/y.WAV",
        "a dog/z.ogg",
        "b cat/10.flac",
        "b cat/2.wav",
    ]
    assert corpus.target.tolist() == ["a dog", "a dog", "b cat", "b cat"]
    assert corpus.target.dtype.kind == "U"
    assert corpus.target_names == ["a dog", "b cat"]
    assert corpus.groups is None
    assert all(type(path) is str for path in corpus.paths)


def test_hidden_and_other_files_are_skipped_silently(tmp_path):
    skipped = [
        ".cache/a.wav",
        "dog/.hidden.wav",
        "dog/._a.wav",
        "dog/.git/b.wav",
        "dog/README.txt",
        "notes.md",
    ]
    create_files(tmp_path, "dog/a.wav", *skipped)
    assert relative_paths(load_audio_folder(tmp_path), tmp_path) == ["dog/a.wav"]


def test_hidden_parent_directory_does_not_hide_the_corpus(tmp_path):
    create_files(tmp_path, ".hidden/dog/a.wav")
    assert len(load_audio_folder(tmp_path / ".hidden").paths) == 1


def test_folder_named_like_an_audio_file_is_not_a_file(tmp_path):
    create_files(tmp_path, "dog/take.wav/a.wav", "cat.wav/b.wav")
    assert relative_paths(load_audio_folder(tmp_path), tmp_path) == ["cat.wav/b.wav", "dog/take.wav/a.wav"]


@pytest.mark.parametrize("extensions", [[".xyz"], (".XYZ",), ".xyz", ["xyz"]])
def test_extensions_can_be_chosen_and_ignore_case(tmp_path, extensions):
    create_files(tmp_path, "dog/a.wav", "dog/b.xyz", "dog/c.Xyz")
    corpus = load_audio_folder(tmp_path, extensions=extensions)
    assert relative_paths(corpus, tmp_path) == ["dog/b.xyz", "dog/c.Xyz"]


def test_every_format_that_libsndfile_writes_is_listed_and_read(tmp_path):
    endings = {
        "AIFF": "aiff aif aifc AIF",
        "AU": "au snd",
        "CAF": "caf",
        "FLAC": "flac",
        "MP3": "mp3",
        "NIST": "sph nist",
        "OGG": "ogg oga",
        "RF64": "rf64",
        "SVX": "iff 8svx svx",
        "VOC": "voc",
        "W64": "w64",
        "WAV": "wav wave WAV",
    }
    endings |= {name: name.lower() for name in soundfile.available_formats() if name not in endings}
    (tmp_path / "dog").mkdir()
    samples = np.sin(np.arange(8000) / 5) / 2
    for name in endings.keys() - {"RAW", "MAT4", "MAT5"}:
        for ending in endings[name].split():
            soundfile.write(tmp_path / "dog" / f"{name}.{ending}", samples, 8000, format=name)
    soundfile.write(tmp_path / "dog" / "OPUS.opus", samples, 8000, format="OGG", subtype="OPUS")
    soundfile.write(tmp_path / "dog" / "LAYER2.mp2", samples, 8000, format="MP3")
    corpus = load_audio_folder(tmp_path)
    assert relative_paths(corpus, tmp_path) == sorted(
        f"dog/{name}"
        for name in os.listdir(tmp_path / "dog")
        if name[0] != "."  # a resource fork
    )
    assert all(soundfile.info(path).frames >= 8000 for path in corpus.paths)


def test_other_audio_is_left_out_with_a_count_and_names(tmp_path):
    names = ["dog/a.m4a", "dog/b.AAC", "dog/deep/c.wma", "dog/x.mp4"]
    create_files(tmp_path, "dog/a.wav", "dog/cover.jpg", "dog/a.txt", "dog/.hidden.m4a", *names)
    expected = r"4 other file\(s\), which may be audio \('dog/a.m4a', 'dog/b.AAC', 'dog/deep/c.wma', \.\.\.\)"
    with pytest.warns(UserWarning, match=expected) as caught:
        assert relative_paths(load_audio_folder(tmp_path), tmp_path) == ["dog/a.wav"]
    assert caught[0].filename == __file__
    # Extensions that the caller chose are neither too few nor unreadable.
    assert len(load_audio_folder(tmp_path, extensions=".wav").paths) == 1
    assert len(load_audio_folder(tmp_path, extensions=[".wav", ".m4a"]).paths) == 2


def test_formats_that_this_libsndfile_lacks_are_reported(tmp_path, monkeypatch):
    create_files(tmp_path, "dog/a.wav", "dog/b.mp3")
    formats = {"WAV": "", "FLAC": ""}
    monkeypatch.setattr(soundfile, "available_formats", lambda: formats)
    with pytest.warns(UserWarning, match=r"1 other file\(s\), which may be audio \('dog/b.mp3'\)"):
        assert len(load_audio_folder(tmp_path).paths) == 1


def test_links_are_followed_and_each_real_file_is_listed_once(tmp_path):
    corpus, outside = tmp_path / "corpus", tmp_path / "outside"
    create_files(tmp_path, "corpus/dog/b/real.wav", "corpus/cat/c.wav", "outside/deep/o.wav", "outside/single.wav")
    for link, target in {
        "dog/a": corpus / "dog" / "b",  # sorts before the real folder
        "dog/away": outside,
        "dog/away again": outside / "deep",
        "dog/single.wav": outside / "single.wav",
        "dog/a.wav": corpus / "dog" / "b" / "real.wav",
        "dog/itself": corpus / "dog",
        "dog/parent": corpus,
        "dog/root": Path("/"),
        "dog/b/up": corpus / "dog" / "b",
        "../outside/deep/back": corpus,
        "../outside/deep/loop": outside,
        "bird": outside / "deep",
    }.items():
        (corpus / link).symlink_to(target, target_is_directory=True)
    with pytest.warns(UserWarning, match=r"2 names in .* lead to files of several classes \('bird/o.wav', 'dog/"):
        found = load_audio_folder(corpus)
    listed = dict(zip(relative_paths(found, corpus), found.target, strict=True))
    real = {name: os.path.relpath(os.path.realpath(corpus / name), tmp_path) for name in listed}
    assert listed["cat/c.wav"] == "cat"
    assert listed["bird/o.wav"] == "bird"
    assert "dog/b/real.wav" in listed
    of_dogs = sorted(real[name] for name, label in listed.items() if label == "dog")
    assert of_dogs == ["corpus/dog/b/real.wav", "outside/deep/o.wav", "outside/single.wav"]
    assert sorted(listed.values()) == ["bird", "cat", "dog", "dog", "dog"]


def test_links_to_nothing_and_pipes_are_left_out_with_a_warning(tmp_path):
    create_files(tmp_path, "dog/a.wav")
    (tmp_path / "dog" / "gone.wav").symlink_to(tmp_path / "missing.wav")
    (tmp_path / "dog" / "loop.wav").symlink_to(tmp_path / "dog" / "loop.wav")
    os.mkfifo(tmp_path / "dog" / "pipe.wav")
    with pytest.warns(
        UserWarning,
        match=r"3 other file\(s\), which may be audio \('dog/gone.wav', 'dog/loop.wav', 'dog/pipe.wav'\)",
    ):
        assert relative_paths(load_audio_folder(tmp_path), tmp_path) == ["dog/a.wav"]


@pytest.mark.parametrize("extensions", [None, ".wav"])
def test_links_to_folders_that_are_gone_are_reported(tmp_path, extensions):
    create_files(tmp_path, "dog/a.wav")
    for name in ("robin", "dog/more", "dog/README.md"):
        (tmp_path / name).symlink_to(tmp_path / "gone" / name, target_is_directory=True)
    with pytest.warns(UserWarning, match=r"3 other file\(s\), .* \('robin', 'dog/README.md', 'dog/more'\)"):
        assert relative_paths(load_audio_folder(tmp_path, extensions=extensions), tmp_path) == ["dog/a.wav"]


def test_files_of_unknown_kind_are_reported(tmp_path):
    names = ["dog/noending", "dog/b.mpg", "c.zip"]
    create_files(tmp_path, "dog/a.wav", "dog/b.amb", "dog/c.caff", "dog/LICENSE", "meta.CSV", *names)
    with pytest.warns(UserWarning, match=r"3 other file\(s\), .* \('c.zip', 'dog/b.mpg', 'dog/noending'\)"):
        found = load_audio_folder(tmp_path)
    assert relative_paths(found, tmp_path) == ["dog/a.wav", "dog/b.amb", "dog/c.caff"]


def test_hard_links_are_listed_once_in_a_class_and_reported_in_two(tmp_path):
    create_files(tmp_path, "dog/a.wav", "cat/b.wav")
    os.link(tmp_path / "dog" / "a.wav", tmp_path / "dog" / "again.wav")
    assert relative_paths(load_audio_folder(tmp_path), tmp_path) == ["cat/b.wav", "dog/a.wav"]
    os.link(tmp_path / "dog" / "a.wav", tmp_path / "cat" / "c.wav")
    with pytest.warns(UserWarning, match=r"2 names in .* several classes \('cat/c.wav', 'dog/a.wav'\)") as caught:
        found = load_audio_folder(tmp_path)
    assert relative_paths(found, tmp_path) == ["cat/b.wav", "cat/c.wav", "dog/a.wav"]
    assert caught[0].filename == __file__


def test_unreadable_folder_is_an_error_that_names_it(tmp_path, monkeypatch):
    create_files(tmp_path, "dog/a.wav", "dog/locked/b.wav")
    iterate = Path.iterdir

    def refuse(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return iterate(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PermissionError, match="locked"):
        load_audio_folder(tmp_path)


@pytest.mark.parametrize(
    ("group_from", "groups"),
    [
        (r"^(\d+)-", ["1", "12"]),
        (r"^\d+", ["1", "12"]),
        (r"_(\w+)_(\w+)\.", ["anna", "bob"]),
        (r"(?:_)\w", ["_a", "_b"]),
    ],
)
def test_group_is_first_capture_or_match_in_the_file_name(tmp_path, group_from, groups):
    create_files(tmp_path, "9-dog/1-7_anna_x.wav", "9-dog/12-8_bob_y.wav")
    assert load_audio_folder(tmp_path, group_from=group_from).groups.tolist() == groups


def test_directory_can_be_str_or_path(tmp_path):
    create_files(tmp_path, "dog/1-a.wav")
    first, second = (load_audio_folder(kind(tmp_path), group_from=r"^(\d+)-") for kind in (str, Path))
    assert_same_corpus(first, second)


def test_path_that_is_not_a_directory_is_refused(tmp_path):
    create_files(tmp_path, "a.wav")
    for path in (tmp_path / "a.wav", tmp_path / "missing"):
        with pytest.raises(ValueError, match=f"{path.name}' is not a directory"):
            load_audio_folder(path)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], r"it has no folders\."),
        (["dog/a.txt", "cat/b.txt"], r"2 class folder\(s\) without audio \('cat', 'dog'\)\."),
        (["dog/a.m4a"], r"1 class folder\(s\) without audio \('dog'\), 1 other file\(s\), .* \('dog/a.m4a'\)\."),
        (["a.wav", "b.wav", "c.wav", "d.wav"], r"4 audio file\(s\) .* \('a.wav', 'b.wav', 'c.wav', \.\.\.\)"),
    ],
)
def test_directory_without_class_folders_is_refused_with_counts(tmp_path, names, found):
    create_files(tmp_path, *names)
    with pytest.raises(ValueError, match=found) as caught:
        load_audio_folder(tmp_path)
    assert all(f"{ending}" in str(caught.value) for ending in (".wav", ".flac", ".mp3", ".aif", ".opus"))


def test_audio_outside_class_folders_is_left_out_with_a_warning(tmp_path):
    create_files(tmp_path, "dog/a.wav", "z.wav", "loose.wav", ".hidden.wav", "README.txt")
    with pytest.warns(UserWarning, match=r"2 audio file\(s\) outside .* \('loose.wav', 'z.wav'\)") as caught:
        corpus = load_audio_folder(tmp_path)
    assert relative_paths(corpus, tmp_path) == ["dog/a.wav"]
    assert caught[0].filename == __file__


def test_class_folders_without_audio_are_left_out_with_a_warning(tmp_path):
    create_files(tmp_path, "dog/a.wav", "cat/notes.txt", "bird/.b.wav")
    with pytest.warns(UserWarning, match=r"Left out .* 2 class folder\(s\) .* \('bird', 'cat'\)") as caught:
        corpus = load_audio_folder(tmp_path)
    assert corpus.target_names == ["dog"]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("group_from", [r"^(\d+)-", r"^\d+", r"^(\d+)?"])
def test_files_without_a_group_are_counted_and_named(tmp_path, group_from):
    create_files(tmp_path, "dog/1-a.wav", *(f"dog/{letter}.wav" for letter in "edcb"))
    with pytest.raises(ValueError, match=r"4 of 5 file names \('b.wav', 'c.wav', 'd.wav', \.\.\.\)"):
        load_audio_folder(tmp_path, group_from=group_from)


def test_invalid_regular_expression_is_refused_and_quoted(tmp_path):
    create_files(tmp_path, "dog/a.wav")
    with pytest.raises(ValueError, match=r"group_from='\(' is not a valid regular expression: missing \)"):
        load_audio_folder(tmp_path, group_from="(")


@pytest.mark.parametrize(
    "parameters", [{"directory": 3}, {"group_from": 1}, {"extensions": 5}, {"extensions": [".wav", 5]}]
)
def test_parameter_of_the_wrong_type_is_named(tmp_path, parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"'{name}' parameter of load_audio_folder must be"):
        load_audio_folder(**{"directory": tmp_path, **parameters})
