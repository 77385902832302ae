"""Contracts of `list_recordings`."""

import os
from pathlib import Path

import pytest
from folders import create_files

from sklearn_cpc.datasets import list_recordings


def test_folders_are_searched_for_all_audio(tmp_path):
    create_files(tmp_path, "b/2.wav", "a 1/deep/z.FLAC", "top.ogg", "notes.txt", ".hidden/x.wav", "b/._2.wav")
    found = [Path(path).relative_to(tmp_path).as_posix() for path in list_recordings(tmp_path)]
    assert found == ["a 1/deep/z.FLAC", "b/2.wav", "top.ogg"]


def test_files_are_taken_as_they_are_and_once(tmp_path):
    create_files(tmp_path, "a.wav", "b.wav")
    first = str(tmp_path / "a.wav")
    assert list_recordings(["missing.xyz", first, tmp_path]) == ["missing.xyz", first, str(tmp_path / "b.wav")]
    assert list_recordings(first) == [first]


def test_patterns_match_files_unless_they_are_names(tmp_path, monkeypatch):
    create_files(tmp_path, "b/1.wav", "b/deep/2.wav", "c[1].wav")
    monkeypatch.chdir(tmp_path)
    assert list_recordings("b/**/*.wav") == [os.path.join("b", "1.wav"), os.path.join("b", "deep", "2.wav")]
    assert list_recordings("c[1].wav") == ["c[1].wav"]


def test_relative_folders_are_searched(tmp_path, monkeypatch):
    create_files(tmp_path, "a.wav", "b/c.wav")
    monkeypatch.chdir(tmp_path / "b")
    assert list_recordings(".") == ["c.wav"]
    assert sorted(map(os.path.basename, list_recordings(os.pardir))) == ["a.wav", "c.wav"]


def test_sources_without_recordings_are_refused(tmp_path):
    create_files(tmp_path, "notes.txt")
    for source in (tmp_path, tmp_path / "*.wav"):
        with pytest.raises(ValueError, match="there are no recordings in"):
            list_recordings(source)


def test_files_that_may_be_audio_are_named(tmp_path):
    create_files(tmp_path, "a.wav", "b.m4a")
    with pytest.warns(UserWarning, match=r"1 file\(s\) that may be audio .*b\.m4a"):
        assert len(list_recordings(tmp_path)) == 1
