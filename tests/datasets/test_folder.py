"""Contracts of `load_audio_folder`."""

from pathlib import Path

import pytest
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
        ([], r"0 folder\(s\) without audio and 0 audio file\(s\) outside of folders\."),
        (["dog/a.txt", "cat/b.txt"], r"2 folder\(s\) without audio \('cat', 'dog'\) and 0 audio"),
        (["a.wav", "b.wav", "c.wav", "d.wav"], r"4 audio file\(s\) .* \('a.wav', 'b.wav', 'c.wav', \.\.\.\)"),
    ],
)
def test_directory_without_class_folders_is_refused_with_counts(tmp_path, names, found):
    create_files(tmp_path, *names)
    with pytest.raises(ValueError, match=found) as caught:
        load_audio_folder(tmp_path)
    assert ".wav, .flac, .ogg, .mp3, .aiff, .aif" in str(caught.value)


def test_audio_outside_class_folders_is_left_out_with_a_warning(tmp_path):
    create_files(tmp_path, "dog/a.wav", "z.wav", "loose.wav", ".hidden.wav", "README.txt")
    with pytest.warns(UserWarning, match=r"2 audio file\(s\) outside .* \('loose.wav', 'z.wav'\)") as caught:
        corpus = load_audio_folder(tmp_path)
    assert relative_paths(corpus, tmp_path) == ["dog/a.wav"]
    assert caught[0].filename == __file__


def test_class_folders_without_audio_are_left_out_with_a_warning(tmp_path):
    create_files(tmp_path, "dog/a.wav", "cat/notes.txt", "bird/.b.wav")
    with pytest.warns(UserWarning, match=r"2 class folder\(s\) .* left out \('bird', 'cat'\)") as caught:
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
